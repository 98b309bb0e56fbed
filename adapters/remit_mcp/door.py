"""From one governed MCP request to the gate and back: session, identity, continuation. Seat and proxy share it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar, cast

import remit
from remit import pins
from remit.app import only_app
from remit.current import CURRENT, resolve_session
from remit.gate import current_call
from remit.ledger import Txn
from remit_mcp.grants import Caller, Grants
from remit_mcp.pending import Pending, PendingCall
from remit_mcp.wire import RESERVED, Status, read_result, request_state, task_id

R = TypeVar("R")

Classify = Callable[[Any], tuple[Status, str | None]]

CLOSED_AT_END: Final = "connection ended"


@dataclass(frozen=True, slots=True)
class Request:
    """One governed request, read. `call_id` is None where nothing identifies it across a resend."""

    method: str
    tool: str
    arguments: Mapping[str, Any]
    caller: Caller
    call_id: str | None = None
    params: Mapping[str, Any] | None = None
    definition: remit.ToolDefinition | None = None
    inside: bool = False
    """Made in this process, not over the wire: it belongs to the session it is made in, where there is one."""


class Found(NamedTuple):
    """The session of a request, and whether the resolver found it (and is to be told of the request's end)."""

    session: remit.Session
    resolved: bool


class Door:
    """The way to the gate for everything that one governed server, or one proxy, is asked.

    `foreign`: somebody else wrote the server, so a person accepts each tool's definition before its first call
    (`remit tool accept`), unless `accept_tools` says that first sight does.
    """

    def __init__(
        self,
        name: str | None,
        *,
        app: remit.App | None = None,
        session: remit.Session | None = None,
        grants: Grants | None = None,
        foreign: bool = False,
        accept_tools: bool = False,
    ) -> None:
        if session is not None and grants is not None:
            raise remit.UsageError("session= and grants= both say which grant counts; pass one of them")
        found = app or (session.app if session is not None else only_app())
        if grants is not None and found is None:
            raise remit.UsageError("grants= needs to know in which ledger to look; pass app=remit.open(…)")
        self.name = name or "local"
        self.pending = Pending()
        self._foreign = foreign
        self._accept_tools = accept_tools
        self._noted: set[str] = set()
        self._app = found
        self._session = session
        self._grants = grants
        self._sessions: dict[tuple[str, str], remit.Session] = {}
        self._opening = threading.Lock()
        self._entered = False

    def key(self, tool: str) -> str:
        """The tool's key under the name that the operator gave."""
        return f"{self.name}.{tool}"

    # -- one request

    async def call(self, request: Request, run: Callable[..., Awaitable[R]], *, classify: Classify = read_result) -> R:
        """Run `request` if its grant allows it. Raises `Denied` and the rest of the tree; every refusal is recorded."""
        found = await self._find(request)
        state = request_state(request.params)
        key = self.key(request.tool)
        waiting = None if state is None else self.pending.take(found.session.id, key, request.arguments, state)
        try:
            return await self._enter(found, key, request, run, classify, waiting)
        except remit.Denied:
            if waiting is not None:  # it has not gone on: it may still
                self.pending.remember(waiting, state=state or "", task=None)
            raise

    async def continue_task(
        self, request: Request, task: str, run: Callable[[], Awaitable[R]], *, classify: Classify = read_result
    ) -> R:
        """Fetch what came of a task (`tasks/result`): the call that began it is decided again and gets its outcome.

        A task that no call here is waiting for is passed on: whatever it did was decided when it began.
        """
        waiting = self.pending_task(request.caller, task)
        if waiting is None:
            return await run()
        found = await self._find(request)

        async def fetch(**_: Any) -> R:
            return await run()

        resumed = Request("tools/call", waiting.tool, waiting.arguments, request.caller, params=request.params)
        mine = waiting if waiting.session_id == found.session.id else None
        result = await self._enter(found, waiting.tool, resumed, fetch, classify, mine)
        self.pending.settle(waiting.session_id, task)
        return result

    def pending_task(self, caller: Caller, task: str) -> PendingCall | None:
        """The call that became this task, in one of the caller's sessions."""
        for (owner, _), session in list(self._sessions.items()):
            if owner == caller.key and (found := self.pending.task(session.id, task)) is not None:
                return found
        around = self._session or CURRENT.get()
        return self.pending.task(around.id, task) if around is not None else None

    async def _enter(
        self,
        found: Found,
        key: str,
        request: Request,
        run: Callable[..., Awaitable[R]],
        classify: Classify,
        waiting: PendingCall | None,
    ) -> R:
        session = found.session

        async def within(**arguments: Any) -> R:
            with session.activate():
                result = await run(**arguments)
            call_id = current_call.get()
            if call_id is not None and classify(result)[0] == "pending":
                self._remember(PendingCall(session.id, key, dict(request.arguments), call_id), result)
            return result

        try:
            result = await session.acall(
                key,
                request.arguments,
                within,
                call_id=request.call_id,
                scope=request.caller.connection,
                classify=classify,
                definition=request.definition,
                continues=waiting.call_id if waiting is not None else None,
                claimed=request.caller.claimed,
                foreign=self._foreign and request.method == "tools/call" and waiting is None,
                accept_new=self._accept_tools,
            )
        except remit.Denied as denied:
            self._ended(found, request.caller, denied.code)
            raise
        except BaseException:
            self._ended(found, request.caller, None)
            raise
        self._ended(found, request.caller, None)
        return cast(R, result)

    def _remember(self, call: PendingCall, result: Any) -> None:
        reply = result.get("result", result) if isinstance(result, Mapping) else {}
        state = reply.get("requestState")
        self.pending.remember(call, state=state if isinstance(state, str) else "", task=task_id(reply))

    def _ended(self, found: Found, caller: Caller, code: str | None) -> None:
        if self._grants is not None and found.resolved:
            self._grants.ended(found.session.app, caller, code)

    # -- sessions

    async def _find(self, request: Request) -> Found:
        try:
            if request.method == "tools/call" and request.tool in RESERVED:
                raise _ambiguous(self.key(request.tool))
            if self._grants is None:
                if self._session is not None and not self._entered:
                    await asyncio.to_thread(self._session.open)
                    self._entered = True
                return Found(resolve_session(explicit=self._session, app=self._app), resolved=False)
            if CURRENT.get() is None:
                return Found(await asyncio.to_thread(self._open, request.caller), resolved=True)
            if request.inside:
                return Found(resolve_session(app=self._app), resolved=False)
            raise remit.UsageError("the server runs inside a session and has grants= too; only one of them can count")
        except remit.Denied as denied:
            await self._record(request, denied)
            raise

    def _open(self, caller: Caller) -> remit.Session:
        assert self._grants is not None
        assert self._app is not None
        with self._opening:
            grant_id = self._grants.find(self._app, caller)
            session = self._sessions.get((caller.key, grant_id))
            if session is None:
                if self._grants.one_at_a_time:
                    self._close(caller.key, "idle")
                session = self._new(grant_id, caller)
            return session

    def _new(self, grant_id: str, caller: Caller) -> remit.Session:
        assert self._grants is not None
        assert self._app is not None
        said = {"refs": {"client": caller.client}} if caller.client else None
        try:
            session = self._grants.open(self._app, caller, grant_id, said).open()
        except remit.RemitError as error:
            self._grants.ended(self._app, caller, error.code)
            raise
        self._sessions[caller.key, grant_id] = session
        return session

    async def unreadable(self, request: Request, error: remit.GrantError) -> remit.Denied:
        """The refusal, recorded, of a call to a tool whose definition cannot be pinned."""
        denied = remit.Denied(
            f"The definition that the server gives of {self.key(request.tool)} cannot be read ({error}).",
            code="evaluator_error",
            rule="remit/definition",
        )
        await self._record(request, denied)
        return denied

    async def listed(self, definitions: Iterable[remit.ToolDefinition]) -> None:
        """A foreign server lists these tools: what is new or changed waits for a person, who finds it on record."""
        fresh = [one for one in definitions if one.digest not in self._noted]
        if not self._foreign or self._app is None or not fresh:
            return
        deployment, accept_new = self._app.deployment, self._accept_tools

        def job(txn: Txn) -> None:
            for one in fresh:
                pins.note_listed(deployment, txn, one, accept_new=accept_new)

        await asyncio.to_thread(deployment.ledger.run, job)
        self._noted.update(one.digest for one in fresh)

    async def _record(self, request: Request, denied: remit.Denied) -> None:
        if denied.call_id is not None or self._app is None:
            return
        await asyncio.to_thread(self._app.record_no_grant, self.key(request.tool), request.arguments, denied)

    async def close(self, caller_key: str) -> None:
        """The connection is over: its sessions are closed on the record."""
        await asyncio.to_thread(self._close, caller_key, CLOSED_AT_END)

    async def close_all(self) -> None:
        """The server is over: whatever is left is closed."""
        for owner in {owner for owner, _ in list(self._sessions)}:
            await self.close(owner)

    def _close(self, caller_key: str, reason: str) -> None:
        for owner, grant_id in [key for key in self._sessions if key[0] == caller_key]:
            self._sessions.pop((owner, grant_id)).close(reason)


def _ambiguous(key: str) -> remit.Denied:
    return remit.Denied(
        f"A tool may not have the name of a request: {key} would mean two things.",
        code="tool_not_granted",
        rule="remit/ambiguous_key",
    )


__all__ = ["Door", "Request"]
