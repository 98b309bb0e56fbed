"""`remit mcp proxy`: any MCP server that speaks stdio, behind the gate, without touching it.

The proxy's process holds ledger and keys; the server is its child and knows nothing of either.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import remit
from remit_mcp.door import Door
from remit_mcp.frames import MAX_FRAME
from remit_mcp.grants import Grants, from_template
from remit_mcp.relay import Relay
from remit_mcp.upstream import GRACE, Upstream

logger = logging.getLogger("remit.mcp")


async def proxy(
    command: Sequence[str],
    *,
    app: remit.App,
    grants: Grants | None = None,
    session: remit.Session | None = None,
    name: str = "local",
    stdin: BinaryIO | None = None,
    stdout: BinaryIO | None = None,
    environment: Mapping[str, str] | None = None,
    accept_tools: bool = False,
) -> bool:
    """Start the server `command` and relay one client's connection to it until either side ends.

    Every `tools/call`, `resources/read` and `prompts/get` is decided, recorded and only then sent on; everything else
    passes. Tools are listed as the server lists them.

    Args:
        command:
            The server's program and arguments.
        app:
            The opened Remit; it stays open.
        grants:
            Which grant counts, usually `from_template(…)`.
        session:
            In its place, the session that the whole connection belongs to; it is not closed when the connection ends.
        name:
            The operator's name for the server: the first half of every tool key.
        stdin, stdout:
            The client's side: pipes, by default this process's. Nothing but protocol is written to `stdout`.
        environment:
            The server's environment, by default this process's; `REMIT_*` is left out in any case.
        accept_tools:
            Accept the definition of a tool that was never seen here. Otherwise its calls are `tool_changed` until a
            person accepts it (`remit tool accept`), except where the app is opened with `development=True`. A tool
            that *changed* waits for a person in any case.

    Returns whether the client ended the connection (False: the server did). Raises `UsageError` when the server cannot
    be started, or when neither or both of `grants` and `session` are given.
    """
    if grants is None and session is None:
        raise remit.UsageError("nothing says which grant counts; pass grants= or session=")
    door = Door(name, app=app, grants=grants, session=session, foreign=True, accept_tools=accept_tools)
    client = await _Client.connect(stdin or sys.stdin.buffer, stdout or sys.stdout.buffer)
    try:
        upstream = await Upstream.start(command, environment=environment)
        with _stopped_by_signal():
            return await Relay(door, upstream, client.send).run(client.reader)
    finally:
        await client.close()


class _Client:
    """The client's pipes. A client that reads no more is no error: the end of its writing ends the connection."""

    def __init__(
        self, reader: asyncio.StreamReader, reading: asyncio.ReadTransport, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self._reading = reading
        self._writer = writer

    @classmethod
    async def connect(cls, stdin: BinaryIO, stdout: BinaryIO) -> _Client:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=MAX_FRAME)
        try:
            reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), stdin)
            writing, protocol = await loop.connect_write_pipe(
                lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), stdout
            )
        except ValueError as error:
            raise remit.UsageError(f"the proxy talks to its client over pipes, which these are not: {error}") from error
        writing.set_write_buffer_limits(0)  # a frame counts as sent when the pipe has it
        return cls(reader, reading, asyncio.StreamWriter(writing, protocol, None, loop))

    async def send(self, frame: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self._writer.write(frame)
            await self._writer.drain()

    async def close(self) -> None:
        self._reading.close()
        self._writer.close()
        with contextlib.suppress(ConnectionError, TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), GRACE)


@contextlib.contextmanager
def _stopped_by_signal() -> Iterator[None]:
    """SIGTERM and SIGINT end the connection in good order: open calls get their outcome, the session is closed."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    numbers = (signal.SIGTERM, signal.SIGINT)
    with contextlib.suppress(ValueError, RuntimeError):  # only the main thread can
        for number in numbers:
            loop.add_signal_handler(number, task.cancel)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError, RuntimeError):
            for number in numbers:
                loop.remove_signal_handler(number)


def run_stdio(
    command: Sequence[str],
    *,
    grant: str | Path | None = None,
    session: str | None = None,
    name: str = "local",
    parameters: Mapping[str, Any] | None = None,
    catalogue: str | Path | Sequence[str | Path] | None = None,
    url: str | None = None,
    idle: str = "30m",
    people: str | Path | None = None,
    policies: str | Path | Sequence[str | Path] | None = None,
    environment: str = "unspecified",
    credential: remit.Credential | str | None = None,
    development: bool = False,
    accept_tools: bool = False,
) -> int:
    """What `remit mcp proxy` runs: open the ledger, govern one connection over this process's stdin and stdout.

    `grant` is a template that is issued for each burst of work; `session` in its place the id of a session that is
    open elsewhere, which the connection joins: then this process can neither issue nor approve anything.

    Whatever else the process prints goes to stderr, logs included. Returns the exit code: 0 when the client ended the
    connection or a signal did, 1 when the server ended by itself.
    """
    if not command:
        raise remit.UsageError("no server to start; expected its command after --")
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="remit mcp proxy: %(message)s")
    if (grant is None) == (session is None):
        raise remit.UsageError("which grant counts? give --grant FILE, or --session ID of an open session; one of them")
    grants = None
    if grant is not None:
        grants = from_template(Path(grant), parameters, idle=idle, credential=credential)
    can = ("session", "issue") if session is None else ("session",)
    sources = [catalogue] if isinstance(catalogue, str | Path) else list(catalogue or ())
    ended_by_client = True
    with (
        _only_protocol() as (stdin, stdout),
        remit.open(
            url,
            can=can,
            catalogue=sources,
            people=people,
            policies=policies,
            environment=environment,
            development=development,
        ) as app,
        contextlib.suppress(asyncio.CancelledError),
    ):
        joined = app.join(session) if session is not None else None
        relayed = proxy(
            command,
            app=app,
            grants=grants,
            session=joined,
            name=name,
            stdin=stdin,
            stdout=stdout,
            accept_tools=accept_tools,
        )
        ended_by_client = asyncio.run(relayed)
    return 0 if ended_by_client else 1


@contextlib.contextmanager
def _only_protocol() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """stdin and stdout for the protocol alone: stray output of this process goes to stderr, stray input is empty."""
    sys.stdout.flush()
    kept = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(kept[0]), "rb") as stdin, os.fdopen(os.dup(kept[1]), "wb") as stdout:
            yield stdin, stdout
    finally:
        for number, fd in enumerate(kept):
            os.dup2(fd, number)
            os.close(fd)


proxy.run_stdio = run_stdio  # type: ignore[attr-defined]  # `remit_mcp.proxy` is the function; the runner goes with it
