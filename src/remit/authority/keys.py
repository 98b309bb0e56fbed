"""Tool keys: `server.tool`, split at the first dot. Keys match byte for byte; there are no patterns but `crm.*`."""

from __future__ import annotations

import re
from typing import Final

from remit.errors import GrantError

_SERVER: Final = re.compile(r"[a-z0-9_-]{1,64}\Z")
_TOOL: Final = re.compile(r"[!-)+-~]{1,200}\Z")  # printable ASCII without space and without `*`


def tool_key(text: str) -> str:
    """`crm.read_ticket` as it is, `read_ticket` as `local.read_ticket`.

    Raises `GrantError` for anything that could not be one tool's key: an empty part, a server name outside
    `[a-z0-9_-]+`, white space, `*`, or a character outside printable ASCII.
    """
    server, dot, tool = text.partition(".")
    if not dot:
        server, tool = "local", text
    if not _SERVER.match(server):
        raise GrantError(
            f"{_shown(text)} is not a tool key: the server name {_shown(server)} has characters outside a-z 0-9 _ -; "
            "expected server.tool, such as crm.read_ticket"
        )
    if not _TOOL.match(tool):
        raise GrantError(
            f"{_shown(text)} is not a tool key: got the tool name {_shown(tool)}, expected 1 to 200 printable ASCII "
            "characters without space or *, such as crm.read_ticket"
        )
    return f"{server}.{tool}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")


def grant_tool_key(text: str) -> str:
    """As `tool_key`, for a key under `tools:`, where `crm.*` stands for every tool of one server.

    Raises `GrantError`, also for any other use of `*`.
    """
    if text.endswith(".*") and _SERVER.match(text[:-2]):
        return text
    if "*" in text:
        raise GrantError(
            f"{text!r} is not a tool key: only SERVER.* stands for several tools, such as crm.*; "
            "name the others one by one"
        )
    return tool_key(text)


def server_wildcard(key: str) -> str:
    """The key that stands for every tool of the same server: `crm.*` for `crm.read_ticket`."""
    return key.partition(".")[0] + ".*"
