"""`remit mcp inspect`: the tools of a live server, as a draft of their catalogue entries. Nothing is called."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx2
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.shared.exceptions import MCPError
from mcp.types import Tool as Listed

import remit
from remit.resources.drafting import Hints, Tool

PATIENCE: Final = 60.0
"""Seconds for a server to start and to list its tools."""


def inspect(
    command: Sequence[str] = (), *, address: str | None = None, environment: Mapping[str, str] | None = None
) -> list[Tool]:
    """The tools that a server lists, which is started for it (`command`) or asked over Streamable HTTP (`address`).

    `environment` is the server's, by default this process's; `REMIT_*` is left out in any case. Raises `UsageError`
    when the server does not start, does not answer, or does not speak MCP.
    """
    if bool(command) == (address is not None):
        raise remit.UsageError("which server? give its command after --, or its address; one of them")
    try:
        return asyncio.run(asyncio.wait_for(_tools(_server(command, address, environment)), PATIENCE))
    except* (OSError, MCPError, httpx2.HTTPError, TimeoutError, ValueError) as group:
        cause: BaseException = group
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        what = " ".join(command) or address
        said = str(cause) or f"no answer within {PATIENCE:.0f} s"
        raise remit.UsageError(f"{what} lists no tools: {said}") from cause


def _server(command: Sequence[str], address: str | None, environment: Mapping[str, str] | None) -> Any:
    if address is not None:
        return address
    kept = {name: value for name, value in (environment or os.environ).items() if not name.startswith("REMIT_")}
    return StdioServerParameters(command=command[0], args=list(command[1:]), env=kept)


async def _tools(server: Any) -> list[Tool]:
    found: list[Tool] = []
    async with Client(server) as client:
        cursor: str | None = None
        while True:
            page = await client.list_tools(cursor=cursor)
            found += [_tool(listed) for listed in page.tools]
            cursor = page.next_cursor
            if not cursor:
                return found


def _tool(listed: Listed) -> Tool:
    said = listed.annotations
    hints = (
        Hints(said.read_only_hint, said.destructive_hint, said.idempotent_hint, said.open_world_hint)
        if said is not None
        else Hints()
    )
    return Tool(listed.name, listed.input_schema, listed.description or "", hints)


__all__ = ["inspect"]
