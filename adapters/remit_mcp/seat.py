"""The seat inside a server of the MCP SDK: the innermost middleware, and the methods that reach tools without the wire.

Server middleware is provisional in mcp 2.x; everything here that leans on it, or on a private name, is in this module.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

import anyio
from mcp.server import MCPServer, Server
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import PaginatedRequestParams
from mcp_types.methods import SPEC_CLIENT_NOTIFICATION_METHODS
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

import remit
from remit.ids import new_id
from remit_mcp.definitions import Definitions
from remit_mcp.door import Door, Request
from remit_mcp.grants import Caller
from remit_mcp.wire import (
    DENIAL_META,
    DENIED,
    GOVERNED,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    PASSED,
    MalformedRequest,
    asked,
    claims,
    denial,
    denied_result,
    read_result,
    read_task_status,
    shown,
    task_id,
    with_arguments,
)

logger = logging.getLogger("remit.mcp")

Context = ServerRequestContext[Any, Any]

CONNECTION: Final = "dev.remit/connection"

CLOSING: Final = 5.0
"""Seconds that closing the last sessions may take when a server ends; the SDK allows connections as much."""

_permitted: contextvars.ContextVar[Permit | None] = contextvars.ContextVar("remit_mcp_permitted", default=None)


class Permit:
    """One call that the gate has let through on the wire; the method that runs it takes the permit, once."""

    def __init__(self, name: str, arguments: Mapping[str, Any]) -> None:
        self._wanted: tuple[str, Mapping[str, Any]] | None = (name, arguments)

    def take(self, name: str, arguments: Mapping[str, Any]) -> bool:
        """Whether exactly this call was let through and has not run yet."""
        if self._wanted != (name, arguments):
            return False
        self._wanted = None
        return True


class Seat:
    """Middleware of one governed server."""

    def __init__(self, server: MCPServer[Any] | Server[Any], door: Door) -> None:
        self._server = server
        self._door = door
        self._definitions = Definitions(door.name)

    async def __call__(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Let pass, govern, or refuse one message."""
        if ctx.request_id is None:
            return await self._notification(ctx, call_next)
        if self._server.middleware[-1] is not self:
            raise MCPError(
                code=INTERNAL_ERROR,
                message="Remit is not the innermost middleware of this server any more, so it cannot vouch for what "
                "runs; call remit.govern() after every other middleware was added",
            )
        if ctx.method in GOVERNED:
            return await self._governed(ctx, call_next)
        if ctx.method in ("tasks/result", "tasks/get"):
            return await self._task(ctx, call_next)
        if ctx.method in PASSED:
            return await call_next(ctx)
        return await self._unknown(ctx, call_next)

    async def _notification(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        if ctx.method not in SPEC_CLIENT_NOTIFICATION_METHODS:
            logger.warning("dropped notification %r, which the MCP specification does not know", ctx.method)
            return None
        return await call_next(ctx)

    # -- governed requests

    async def _governed(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        try:
            tool, arguments = asked(ctx.method, ctx.params)
        except MalformedRequest as error:
            raise MCPError(code=INVALID_PARAMS, message=str(error)) from error
        caller, fresh = _caller(ctx)

        async def run(**decided: Any) -> HandlerResult:
            token = _permitted.set(_permit(ctx.method, tool, decided))
            try:
                return await call_next(dataclasses.replace(ctx, params=with_arguments(ctx.method, ctx.params, decided)))
            finally:
                _permitted.reset(token)

        if fresh is not None:
            fresh(lambda: self._door.close(caller.key))
        call_id = f"{type(ctx.request_id).__name__}:{ctx.request_id}" if caller.connection is not None else None
        request = Request(ctx.method, tool, arguments, caller, call_id, ctx.params)
        try:
            if ctx.method == "tools/call":
                request = await self._pinned(ctx, request)
            return await self._door.call(request, run)
        except remit.RemitError as error:
            return self._refused(ctx, error)

    def _refused(self, ctx: Context, error: remit.RemitError) -> dict[str, Any]:
        if not isinstance(error, remit.Denied):
            logger.error("%s could not be governed: %s", ctx.method, error)
        if ctx.method == "tools/call":
            return denied_result(error, modern=ctx.protocol_version in MODERN_PROTOCOL_VERSIONS)
        raise MCPError(code=DENIED, message=str(error), data={DENIAL_META: denial(error)}) from error

    async def _pinned(self, ctx: Context, request: Request) -> Request:
        if isinstance(self._server, MCPServer):
            listed = await self._server.list_tools()
        else:
            entry = self._server.get_request_handler("tools/list")
            listed = await _all_pages(entry.handler, ctx) if entry is not None else []
        return await pinned(self._door, self._definitions, request, listed)

    async def _task(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """A call that became a task gets its outcome when the task's end is first told."""
        caller, _ = _caller(ctx)
        task = task_id(ctx.params)
        waiting = self._door.pending_task(caller, task) if task is not None else None
        if task is None or waiting is None:
            return await call_next(ctx)
        request = Request("tools/call", waiting.tool, waiting.arguments, caller, params=ctx.params)
        try:
            if ctx.method == "tasks/result":
                return await self._door.continue_task(request, task, lambda: call_next(ctx))
            result = await call_next(ctx)
            if isinstance(result, Mapping) and read_task_status(result)[0] != "pending":
                await self._door.continue_task(request, task, _returning(result), classify=read_task_status)
            return result
        except remit.RemitError as error:
            raise MCPError(code=DENIED, message=str(error), data={DENIAL_META: denial(error)}) from error

    async def _unknown(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """A request that nothing here knows: governed as the tool `<name>.<method>`, so refused unless granted."""
        caller, fresh = _caller(ctx)
        if fresh is not None:
            fresh(lambda: self._door.close(caller.key))
        given = {name: value for name, value in (ctx.params or {}).items() if name != "_meta"}

        async def run(**decided: Any) -> HandlerResult:
            params = None if ctx.params is None else {**ctx.params, **decided}
            return await call_next(dataclasses.replace(ctx, params=params))

        try:
            request = Request(ctx.method, ctx.method, given, caller, params=ctx.params)
            return await self._door.call(request, run)
        except remit.RemitError as error:
            raise MCPError(code=METHOD_NOT_FOUND, message=str(error), data={DENIAL_META: denial(error)}) from error


async def pinned(door: Door, definitions: Definitions, request: Request, listed: list[Any]) -> Request:
    """`request` with its tool's definition as listed now. Raises `Denied`, recorded, where that has no reading."""
    for found in listed:
        if found.name == request.tool:
            try:
                definition = definitions.of(request.tool, found.input_schema, found.description)
            except remit.GrantError as error:
                raise await door.unreadable(request, error) from error
            return dataclasses.replace(request, definition=definition)
    return request


def _returning(result: Any) -> Callable[[], Awaitable[Any]]:
    async def run() -> Any:
        return result

    return run


def _permit(method: str, tool: str, decided: Mapping[str, Any]) -> Permit:
    if method == "tools/call":
        return Permit(tool, decided)
    if method == "resources/read":
        return Permit(str(decided["uri"]), {})
    return Permit(str(decided["name"]), decided.get("arguments") or {})


async def _all_pages(handler: Callable[[Context, Any], Awaitable[Any]], ctx: Context) -> list[Any]:
    found: list[Any] = []
    cursor: str | None = None
    while True:
        page = await handler(ctx, PaginatedRequestParams(cursor=cursor))
        found += page.tools
        cursor = page.next_cursor
        if cursor is None:
            return found


# -- who asks


def _caller(ctx: Context) -> tuple[Caller, Callable[[Callable[[], Awaitable[None]]], None] | None]:
    """Who sent this, and, on a connection that is seen for the first time, how to be told of its end.

    Only the handshake era has connections. Their object is not public: without it a request has no stable identity,
    which costs idempotence and nothing else.
    """
    token = get_access_token()
    said, brought = claims(ctx.params), shown(ctx.params)
    info = getattr(ctx.session.client_params, "client_info", None)
    client = f"{info.name} {info.version}" if info is not None else None
    principal = agent = None
    if token is not None:
        act = (token.claims or {}).get("act")
        acting = act.get("sub") if isinstance(act, Mapping) else None
        agent = _named(acting if isinstance(acting, str) else token.client_id, "agent", ("spiffe://", "agent:"))
        principal = _named(token.subject, "user", ("user:", "service:")) if token.subject is not None else None
    connection = getattr(ctx.session, "_connection", None)
    if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS or connection is None:
        return Caller(None, principal, agent, said, client, *brought), None
    known = connection.state.get(CONNECTION)
    if known is not None:
        return Caller(known, principal, agent, said, client, *brought), None
    connection.state[CONNECTION] = opened = new_id("m")
    return Caller(opened, principal, agent, said, client, *brought), connection.exit_stack.push_async_callback


def _named(text: str, kind: str, known: tuple[str, ...]) -> str:
    return text if text.startswith(known) else f"{kind}:{text}"


# -- calls that do not come over the wire


def seat_methods(server: MCPServer[Any], door: Door) -> None:
    """Put `call_tool`, `read_resource` and `get_prompt` of this server behind the gate too, for callers in the process.

    What the wire has let through passes, once. There is no client to read an error result here: `Denied` is raised.
    """
    call_tool, read_resource, get_prompt = server.call_tool, server.read_resource, server.get_prompt
    definitions = Definitions(door.name)

    async def governed_call(name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        permit = _permitted.get()
        if permit is not None and permit.take(name, arguments):
            return await call_tool(name, arguments, context)

        async def run(**decided: Any) -> Any:
            return await call_tool(name, decided, context)

        request = Request("tools/call", name, arguments, Caller(), inside=True)
        request = await pinned(door, definitions, request, await server.list_tools())
        return await door.call(request, run, classify=_read_model)

    async def governed_read(uri: Any, context: Any = None) -> Any:
        permit = _permitted.get()
        if permit is not None and permit.take(str(uri), {}):
            return await read_resource(uri, context)

        async def run(**decided: Any) -> Any:
            return await read_resource(decided["uri"], context)

        return await door.call(
            Request("resources/read", "resources/read", {"uri": str(uri)}, Caller(), inside=True), run
        )

    async def governed_prompt(name: str, arguments: dict[str, Any] | None = None, context: Any = None) -> Any:
        permit = _permitted.get()
        if permit is not None and permit.take(name, arguments or {}):
            return await get_prompt(name, arguments, context)

        async def run(**decided: Any) -> Any:
            return await get_prompt(decided["name"], decided.get("arguments"), context)

        given = {"name": name, **({} if arguments is None else {"arguments": arguments})}
        return await door.call(Request("prompts/get", "prompts/get", given, Caller(), inside=True), run)

    seated = {"call_tool": governed_call, "read_resource": governed_read, "get_prompt": governed_prompt}
    for name, method in seated.items():
        setattr(server, name, method)


def seat_lifespan(server: MCPServer[Any] | Server[Any], door: Door) -> None:
    """Close what sessions are left when the server ends: in the modern era no connection's end says so."""
    lowlevel: Server[Any] = server._lowlevel_server if isinstance(server, MCPServer) else server
    inner, running = lowlevel.lifespan, 0

    @contextlib.asynccontextmanager
    async def lifespan(served: Server[Any]) -> AsyncIterator[Any]:
        nonlocal running
        running += 1
        try:
            async with inner(served) as state:
                yield state
        finally:
            running -= 1
            if not running:
                with anyio.move_on_after(CLOSING, shield=True):
                    await door.close_all()

    lowlevel.lifespan = lifespan


def _read_model(result: Any) -> Any:
    dump = getattr(result, "model_dump", None)
    with contextlib.suppress(Exception):
        return read_result(dump(by_alias=True, mode="json") if dump is not None else None)
    return "ok", None
