"""`govern`: an MCP server behind the gate, in its own process."""

from __future__ import annotations

from typing import TypeVar, cast

from mcp.server import MCPServer, Server

import remit
from remit_mcp.door import Door
from remit_mcp.grants import Grants
from remit_mcp.seat import Seat, seat_lifespan, seat_methods

S = TypeVar("S")


def govern(
    x: S,
    app: remit.App | None = None,
    session: remit.Session | None = None,
    server: str | None = None,
    grants: Grants | None = None,
) -> S:
    """Put an `MCPServer` or low-level `Server` behind the gate; returns the same server.

    Call it last: no middleware may be added afterwards. From then on each `tools/call`, `resources/read` and
    `prompts/get` is decided, recorded and only then run, and so are `server.call_tool`, `read_resource` and
    `get_prompt` inside the process.

    Args:
        x:
            The server.
        app:
            The opened Remit; needed with `grants`.
        session:
            The one session that all requests run in. Without `session` and `grants` it is the current one.
        server:
            The operator's name for it, the first half of every tool key: `[a-z0-9_-]+`, `local` when omitted.
        grants:
            A resolver: `from_template(…)`, `by_reference()`, `fixed(…)`, or a `Grants` of your own.

    Raises `UsageError` for anything that is no MCP server, or a server that is governed already.
    """
    if not isinstance(x, MCPServer | Server):
        raise remit.UsageError(f"remit_mcp governs MCPServer and Server of mcp 2.x, not {type(x).__qualname__}")
    if any(isinstance(seated, Seat) for seated in x.middleware):
        raise remit.UsageError(f"{x.name!r} is governed already; a second gate would decide every call twice")
    door = Door(server, app=app, session=session, grants=grants)
    x.middleware.append(Seat(x, door))
    seat_lifespan(x, door)
    if isinstance(x, MCPServer):
        seat_methods(x, door)
    return cast(S, x)
