"""What the server lists as its tools, read from the listings that pass, and asked for where none has passed yet."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import remit
from remit_mcp.definitions import Definitions
from remit_mcp.wire import ENVELOPE

Ask = Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any]]]

MAX_PAGES: Final = 100


class Listing:
    """The definitions of one server's tools as they were last listed."""

    def __init__(self, server: str) -> None:
        self._definitions = Definitions(server)
        self._tools: dict[str, Mapping[str, Any]] = {}
        self._current = False

    def changed(self) -> None:
        """The server says that its tools are not what they were."""
        self._current = False

    @property
    def current(self) -> bool:
        """Whether what is known here is what the server would list now."""
        return self._current

    def absorb(self, params: Mapping[str, Any] | None, result: Any) -> None:
        """One page of a listing that the client asked for, with the params that it asked with."""
        if not isinstance(result, Mapping) or not isinstance(result.get("tools"), list):
            return
        for tool in result["tools"]:
            if isinstance(tool, Mapping) and isinstance(tool.get("name"), str):
                self._tools[tool["name"]] = tool
        if result.get("nextCursor") is None:
            self._current = True

    async def ask(self, ask: Ask, params: Mapping[str, Any] | None) -> None:
        """List all pages, in the era of the request whose params are given."""
        meta = (params or {}).get("_meta")
        sent = meta if isinstance(meta, Mapping) else {}
        envelope = {key: value for key, value in sent.items() if key.startswith(ENVELOPE)}
        cursor: str | None = None
        self._current = True  # a server without a listing is asked once, not before every call
        for _ in range(MAX_PAGES):
            page: dict[str, Any] = {"cursor": cursor} if cursor is not None else {}
            reply = await ask("tools/list", {**page, "_meta": envelope} if envelope else page)
            result = reply.get("result")
            self.absorb(None, result)
            cursor = result.get("nextCursor") if isinstance(result, Mapping) else None
            if not isinstance(cursor, str):
                return

    def definitions(self) -> list[remit.ToolDefinition]:
        """Every definition that can be read; what cannot is refused when it is called."""
        found = []
        for tool in self._tools:
            with contextlib.suppress(remit.GrantError):
                definition = self.definition(tool)
                found += [definition] if definition is not None else []
        return found

    def definition(self, tool: str) -> remit.ToolDefinition | None:
        """The definition of `tool`, or None when the server does not list it."""
        found = self._tools.get(tool)
        if found is None:
            return None
        schema, description = found.get("inputSchema"), found.get("description")
        return self._definitions.of(
            tool,
            schema if isinstance(schema, Mapping) else None,
            description if isinstance(description, str) else None,
        )
