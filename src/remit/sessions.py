"""Sessions: a time-bound run of an agent under one grant, opened, joined, detached and closed on the record."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from remit import closing, nesting, opening, presenting
from remit.approvals import approved_call
from remit.attribution import Presented
from remit.authority.brief import brief
from remit.authority.calls import Decision, SessionFacts
from remit.authority.compile import CompiledGrant
from remit.calls import CallOptions, CallRequest
from remit.current import CURRENT
from remit.errors import Denied, UsageError
from remit.facts import read_facts
from remit.parties import Workload
from remit.presenting import Shown
from remit.standing import StandingRefusals
from remit.waiting import RAISE, Waiting, read_on_ask

if TYPE_CHECKING:
    from remit.app import App
    from remit.exchanging import Exchanged
    from remit.issuing import Grant
    from remit.ledger import Txn
    from remit.requesting import GrantRequest
    from remit.resources.definitions import ToolDefinition
    from remit.tokens import TokenEndpoint, TokenVerifier


class Session:
    """One session. Made by `App.session`; opened when it is entered or first used.

    As a context manager (plain or async) it is the current session inside its block. An unkeyed session closes at
    the end of its block, except while an approval is pending; a keyed one detaches and can be rejoined anywhere.
    """

    def __init__(
        self,
        app: App,
        grant_id: str | None,
        *,
        key: str | None = None,
        workload: str | Workload | None = None,
        idle: timedelta | None = None,
        session_id: str | None = None,
        context: Mapping[str, Any] | None = None,
        on_ask: str = RAISE,
        presenting: Callable[[], Shown] | None = None,
    ) -> None:
        self._app = app
        self._wanted_grant = grant_id
        self._key = key
        self._idle = idle
        self._on_ask = read_on_ask(on_ask)
        self._id = session_id
        self._first_context = context
        self._workload = Workload(workload) if isinstance(workload, str) else workload
        self._presenting = presenting
        self._presented: Presented | None = None
        self._tokens: list[contextvars.Token[Session | None]] = []
        self._writers: set[str] = set()
        self._opening = threading.RLock()
        self.standing = StandingRefusals()
        self._opened = False
        self.chain: tuple[CompiledGrant, ...] = ()
        self.around = SessionFacts()
        """What guardrails could read when a call was last decided: a first guess for the next one."""

    # -- who and what

    @property
    def id(self) -> str:
        """The session's public, stable id."""
        self.open()
        assert self._id is not None
        return self._id

    @property
    def app(self) -> App:
        """The app it belongs to."""
        return self._app

    @property
    def grant_id(self) -> str:
        """The grant it runs under."""
        self.open()
        return self.chain[-1].terms.id

    @property
    def principal(self) -> str:
        """Whose authority is used."""
        self.open()
        return self.chain[-1].terms.principal

    @property
    def agent(self) -> str:
        """Who uses it."""
        self.open()
        return self.chain[-1].terms.agent

    @property
    def workload(self) -> str:
        """The process that acts here: each process that joins a session is its own workload, claimed unless proved."""
        return (self._workload or Workload.this_process()).id

    def __repr__(self) -> str:
        return f"Session({self._id or 'not opened'}, key={self._key!r})"

    # -- calls

    def call(
        self, tool: str, arguments: Mapping[str, Any], run: Callable[..., Any], **options: Unpack[CallOptions]
    ) -> Any:
        """One governed call: `run(**arguments)`, if the grant allows it and its record is durable.

        With `call_id` (and a `scope` in which it is unique) the call is idempotent: it runs once, however often it is
        asked for, and later requests get the stored result. The other options: `CallOptions`. Raises `Denied`,
        `ApprovalRequired`, `EvidenceUnavailable`, or what `run` raised.
        """
        request = CallRequest(tool, arguments, run, **options)
        return self._app.gate.call(self._ready(tool, arguments), request, self._waiting(request))

    async def acall(
        self, tool: str, arguments: Mapping[str, Any], run: Callable[..., Any], **options: Unpack[CallOptions]
    ) -> Any:
        """As `call`, for async code; `run` may be an async function or a plain one (which runs in a thread)."""
        if not self._opened:
            await asyncio.to_thread(self._ready, tool, arguments)
        request = CallRequest(tool, arguments, run, **options)
        return await self._app.gate.acall(self, request, self._waiting(request))

    def _waiting(self, request: CallRequest) -> Waiting | None:
        """How long this call waits for an answer when it needs one; None: not at all."""
        span = self._on_ask if request.on_ask is None else read_on_ask(request.on_ask)
        return None if span is None else Waiting(self._app.deployment, span)

    def _ready(self, tool: str, arguments: Mapping[str, Any]) -> Self:
        """Open for a call. Where the grant does not allow that, the refusal of the call is on record all the same."""
        try:
            return self.open()
        except Denied as denied:
            self._app.record_no_grant(tool, arguments, denied)
            raise

    def explain(self, tool: str, arguments: Mapping[str, Any], *, definition: ToolDefinition | None = None) -> Decision:
        """What `call` would decide now. Decides, runs and records nothing."""
        request = CallRequest(tool, arguments, _never, definition=definition)
        return self._app.gate.explain(self.open(), request)

    def resume(self, approval_id: str, run: Callable[..., Any], *, secrets: Mapping[str, Any] | None = None) -> Any:
        """Run exactly the call that was approved, once, after deciding again with the approval as input.

        `secrets` are its secret arguments, which were kept nowhere; others than those that were asked about do not run.
        """
        try:
            return self._app.gate.call(self.open(), self._approved(approval_id, run, secrets))
        finally:
            closing.end_when_answered(self._app.deployment, self.id)

    async def aresume(
        self, approval_id: str, run: Callable[..., Any], *, secrets: Mapping[str, Any] | None = None
    ) -> Any:
        """As `resume`, for async code."""
        request = await asyncio.to_thread(self._approved, approval_id, run, secrets)
        try:
            return await self._app.gate.acall(self.open(), request)
        finally:
            await asyncio.shield(asyncio.to_thread(closing.end_when_answered, self._app.deployment, self.id))

    def _approved(self, approval_id: str, run: Callable[..., Any], secrets: Mapping[str, Any] | None) -> CallRequest:
        approval, request = approved_call(self._app.deployment, approval_id, run, secrets)
        if approval.session_id != self.id:
            raise UsageError(f"approval {approval_id} belongs to session {approval.session_id}, not to {self.id}")
        return request

    def brief(self) -> str:
        """What is granted, what needs approval and what remains, for a system prompt. Granted values only."""
        session = self.open()

        def job(txn: Txn) -> str:
            session.take_up(txn)
            return brief(session.chain, read_facts(txn, session))

        return self._app.deployment.ledger.run(job)

    def context(
        self,
        *,
        user_turn: str | None = None,
        model: str | None = None,
        agent_version: str | None = None,
        refs: Mapping[str, str] | None = None,
    ) -> None:
        """Record what was asked and which agent acted: claimed, and erasable."""
        said = {
            "user_turn": user_turn,
            "model": model,
            "agent_version": agent_version,
            "refs": dict(refs or {}),
        }
        known = {name: value for name, value in said.items() if value}
        ledger = self._app.deployment.ledger
        draft = ledger.draft("session.context", session=self.id, data={"claimed": sorted(known)}, private=known)
        ledger.run(lambda txn: txn.append(draft))

    def request(self, changes: Mapping[str, Any] | None = None, *, reason: str) -> GrantRequest:
        """Ask whoever may issue the grant for other terms: `changes` in the words of a grant, where the agent knows
        them, and why. Nothing is given by asking: a person answers with `App.amend` or `App.refuse_request`.

        Raises `Denied` when the session has ended or too many requests wait, `GrantError` for changes that do not read.
        """
        from remit import requesting  # issuing, and whatever reads grants, is not needed to run calls

        return requesting.request(self.open(), changes, reason)

    def delegate(
        self,
        source: str | Path | Mapping[str, Any] | bytes,
        parameters: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
    ) -> Grant:
        """Hand on part of what this session may do, as its acting agent: see `App.delegate`. The record names this
        session and the call that it is made in.

        Raises `DelegationWidened` with every reason, `GrantError`, `Denied` when the session or its grant has ended.
        """
        from remit import delegating  # issuing is not needed to run calls

        return delegating.delegate_from(self.open(), source, parameters, key=key)

    def exchange(
        self,
        token: str,
        *,
        endpoint: TokenEndpoint,
        verifier: TokenVerifier,
        audience: str | Iterable[str],
        scope: Iterable[str] = (),
        actor_token: str | None = None,
        issued_by: TokenVerifier | None = None,
    ) -> Exchanged:
        """Exchange the session's access token for one with another audience or actor (RFC 8693), on the record.

        Later calls of the session are attributed to the whole chain; principal and workload stay. `verifier` judges
        `token`, and `issued_by` what comes back (the same issuer when omitted). Raises `DelegationWidened` when that
        could do more, `GrantError` (`delegation_too_deep`) when the grant may not be handed on to another agent,
        `IdentityError`, `Denied`. See `remit.exchanging`.
        """
        from remit import exchanging  # needs `remit[tokens]`

        return exchanging.exchange(
            self.open(),
            token,
            endpoint=endpoint,
            verifier=verifier,
            audience=[audience] if isinstance(audience, str) else list(audience),
            scope=frozenset(scope),
            actor_token=actor_token,
            issued_by=issued_by,
        )

    # -- opening

    def open(self) -> Self:
        """Open or rejoin. Raises `Denied` when the grant does not (any more) allow it, `GrantError`, `UsageError`."""
        return self if self._opened else self._open_in(nesting.Around.here(entered=False))

    def _open_in(self, around: nesting.Around) -> Self:
        if not self._opened:
            with self._opening:  # two threads that use a session first open one, not two
                if not self._opened:
                    self._app.recover()
                    if self._presenting is not None:
                        self._wanted_grant, self._presented = self._presenting()
                    self._take(presenting.run(self._app.deployment, self._presented, self._opening_job(around)))
                    if self._first_context:
                        self.context(**self._first_context)
        return self

    def _opening_job(self, around: nesting.Around) -> Callable[[Txn], opening.Opened]:
        wanted = opening.Wanted(
            session_id=self._id,
            grant_id=self._wanted_grant,
            key=self._key,
            idle=self._idle,
            workload=self._workload,
            presented=self._presented,
            around=around,
        )
        return lambda txn: opening.open_or_rejoin(self._app.deployment, txn, wanted)

    def _take(self, opened: opening.Opened) -> None:
        """Remember what is durable now: a transaction that failed has opened nothing."""
        self._id, self.chain = opened.id, opened.chain
        if opened.writer is not None:
            self._writers.add(opened.writer)
        self._opened = True

    def take_up(self, txn: Txn, chain: tuple[CompiledGrant, ...] | None = None) -> bool:
        """Called inside the transaction of each call: whether `chain` (what the call was matched with) still is what
        its grants say. Where one was amended, the session goes on with the newest versions."""
        chain = self.chain if chain is None else chain
        for link in chain:
            grant = txn.get("grants", link.id)
            if grant is not None and grant["digest"] != link.digest:
                self.chain = self._app.deployment.chain(txn, chain[-1].id)
                return False
        self.chain = chain
        return True

    def join(self, txn: Txn) -> None:
        """Called inside the transaction of each call: a writer's first record in a session says that it takes part.

        A transaction may fail, or run again; so the writer is only known to take part once `note_joined` says so.
        """
        if txn.writer in self._writers:
            return
        assert self._id is not None
        opening.join(self._app.deployment, txn, self._id, self._workload)

    def note_joined(self, writer: str) -> None:
        """A transaction of `writer` in this session is durable."""
        self._writers.add(writer)

    # -- being current

    def __enter__(self) -> Self:
        self._open_in(nesting.Around.here(entered=True))
        self._tokens.append(self._make_current())
        return self

    def _make_current(self) -> contextvars.Token[Session | None]:
        outer = CURRENT.get()
        if outer is not None and outer.id != self.id:
            nesting.refuse_stranger(self.chain, self._app.deployment, outer)
        return CURRENT.set(self)

    def _leave_current(self) -> None:
        """Undo one entering: of this context where there is one, for several threads or tasks may be inside."""
        with self._opening:
            for place in reversed(range(len(self._tokens))):
                with contextlib.suppress(ValueError):
                    CURRENT.reset(self._tokens[place])
                    del self._tokens[place]
                    return
            self._tokens.pop()  # left in another context than it was entered in, as a closed generator is

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave_current()
        if not self._tokens and self._key is None:
            closing.end_block(self._app.deployment, self.id, _left(error))

    async def __aenter__(self) -> Self:
        if not self._opened:
            await asyncio.to_thread(self._open_in, nesting.Around.here(entered=True))
        self._tokens.append(self._make_current())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave_current()
        if self._tokens or self._key is not None:
            return
        ending = asyncio.to_thread(closing.end_block, self._app.deployment, self.id, _left(error))
        await asyncio.shield(ending)

    @contextlib.contextmanager
    def activate(self) -> Iterator[Self]:
        """Make this the current session in a thread or generator of its own; closes nothing at its end."""
        token = self._make_current()
        try:
            yield self
        finally:
            with contextlib.suppress(ValueError):  # a generator may be closed in another context than it began in
                CURRENT.reset(token)

    # -- closing

    def close(self, reason: str = "closed") -> None:
        """End the session: no call is permitted after this record. Closing twice changes nothing."""
        deployment, session_id = self._app.deployment, self.id
        deployment.ledger.run(lambda txn: closing.close_session(deployment, txn, session_id, reason))


def _left(error: BaseException | None) -> str:
    """Why a session ends that ends with its block."""
    return "block ended" if error is None else f"block left by {type(error).__name__}"


def _never(**_: Any) -> None:
    raise AssertionError("explain runs nothing")
