"""The governed server as a child process: its pipes, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from remit.errors import UsageError
from remit_mcp.frames import MAX_FRAME, lines

GRACE: Final = 2.0
"""Seconds that a server has to end after its stdin was closed, and again after SIGTERM (MCP 2025-11-25, lifecycle)."""


class Upstream:
    """One running server. `start` it; `close` ends it and whatever it started."""

    def __init__(self, process: asyncio.subprocess.Process, command: Sequence[str]) -> None:
        self._process = process
        self._command = command[0]
        self._stopping = False

    @classmethod
    async def start(cls, command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> Upstream:
        """Start `command`. Its stderr is this process's. Raises `UsageError` when it cannot be started.

        The child gets this process's environment without `REMIT_*`: what governs a server is not the server's business.
        """
        given = os.environ if environment is None else environment
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={name: value for name, value in given.items() if not name.startswith("REMIT_")},
                limit=MAX_FRAME,
                start_new_session=True,
            )
        except OSError as error:
            raise UsageError(f"the server {command[0]!r} cannot be started: {error.strerror or error}") from error
        return cls(process, command)

    def lines(self) -> AsyncIterator[bytes]:
        """What it writes, frame by frame, until its stdout ends."""
        assert self._process.stdout is not None
        return lines(self._process.stdout)

    async def send(self, frame: bytes) -> None:
        """Write one frame. A server that has gone is noticed where its answers are awaited."""
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(frame)
            await self._process.stdin.drain()

    def how_it_ended(self) -> str:
        """For people: that it ended, and how."""
        code = self._process.returncode
        if code is None:
            return f"the server {self._command!r} closed its output"
        return f"the server {self._command!r} ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}"

    async def end_of_input(self) -> None:
        """Tell it that no more will come."""
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.close()

    async def close(self) -> None:
        """Close its stdin, wait, then SIGTERM and SIGKILL its process group."""
        await self.end_of_input()
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)
            if await self._gone():
                return

    async def _gone(self) -> bool:
        try:
            await asyncio.wait_for(self._process.wait(), GRACE)
        except TimeoutError:
            return False
        return True
