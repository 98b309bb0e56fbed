"""A client that speaks raw frames, so that a test says exactly what goes out and sees what comes back."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import remit
import remit_mcp

ODD = Path(__file__).with_name("odd_server.py")


class Wire:
    """The client's end of a connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, log: Path) -> None:
        self._reader = reader
        self._writer = writer
        self._log = log
        self._ids = 0

    async def send(self, message: dict[str, Any] | bytes) -> None:
        """One frame; a mapping gets its `jsonrpc` member."""
        frame = message if isinstance(message, bytes) else json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._writer.write(frame + b"\n")
        await self._writer.drain()

    async def raw(self) -> bytes:
        """The next frame as it came."""
        async with asyncio.timeout(20):
            return await self._reader.readline()

    async def next(self) -> dict[str, Any]:
        """The next frame."""
        line = await self.raw()
        assert line, "the proxy ended the connection"
        found: dict[str, Any] = json.loads(line)
        return found

    async def ask(self, method: str, params: Any = None, **more: Any) -> dict[str, Any]:
        """Send a request and return its answer, the frames before it kept apart."""
        self._ids += 1
        own = more.pop("id", self._ids)
        await self.send({"id": own, "method": method, **({} if params is None else {"params": params}), **more})
        while True:
            frame = await self.next()
            if frame.get("id") == own and "method" not in frame:
                return frame

    async def call(self, tool: str, arguments: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Call a tool; the result."""
        answer = await self.ask(
            "tools/call", {"name": tool, **({} if arguments is None else {"arguments": arguments}), **more}
        )
        result: dict[str, Any] = answer["result"]
        return result

    def seen(self) -> list[dict[str, Any]]:
        """What reached the server."""
        if not self._log.exists():
            return []
        return [json.loads(line) for line in self._log.read_bytes().splitlines()]

    def seen_methods(self) -> list[str | None]:
        """The methods that reached the server."""
        return [message.get("method") for message in self.seen()]

    async def end(self) -> None:
        """Leave."""
        self._writer.close()
        await self._writer.wait_closed()


@asynccontextmanager
async def through_proxy(
    app: remit.App,
    grants: remit_mcp.Grants,
    folder: Path,
    *,
    command: list[str] | None = None,
    name: str = "odd",
    accept_tools: bool = False,
) -> AsyncIterator[Wire]:
    """A raw connection through a proxy in this process to `odd_server.py` (or `command`) in another."""
    log = folder / "arrived.jsonl"
    to_proxy, from_proxy = os.pipe(), os.pipe()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
    with (
        os.fdopen(to_proxy[0], "rb", 0) as stdin,
        os.fdopen(from_proxy[1], "wb", 0) as stdout,
        os.fdopen(to_proxy[1], "wb", 0) as sending,
        os.fdopen(from_proxy[0], "rb", 0) as receiving,
    ):
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), receiving)
        out, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), sending
        )
        running = asyncio.create_task(
            remit_mcp.proxy(
                command or [sys.executable, "-E", "-S", str(ODD), str(log)],
                app=app,
                grants=grants,
                name=name,
                stdin=stdin,
                stdout=stdout,
                accept_tools=accept_tools,
            )
        )
        wire = Wire(reader, asyncio.StreamWriter(out, protocol, None, loop), log)
        try:
            yield wire
        finally:
            await wire.end()
            async with asyncio.timeout(20):
                await running
            transport.close()
