"""Sessions: a time-bound run of an agent under one grant, opened, joined, detached and closed on the record."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, Unpack

from sqlalchemy import func, select
from sqlmodel import col

from remit import nesting, opening
from remit.approvals import approved_call
from remit.attribution import Presented
from remit.authority.brief import brief
from remit.authority.calls import Decision, SessionFacts
from remit.authority.compile import CompiledGrant
from remit.authority.durations import show_moment
from remit.calls import CallOptions, CallRequest
from remit.current import CURRENT
from remit.errors import Denied, UsageError
from remit.facts import read_facts
from remit.ids import new_id
from remit.parties import Workload
from remit.store.tables import ApprovalRow, RecordRow, SessionRow
from remit.waiting import RAISE, Waiting, read_on_ask

if TYPE_CHECKING:
    from remit.app import App
    from remit.exchanging import Exchanged
    from remit.issuing import Grant
    from remit.ledger import Txn
    from remit.requesting import GrantRequest
    from remit.resources.definitions import ToolDefinition
    from remit.tokens import TokenEndpoint, TokenVerifier


MAX_STANDING_REFUSALS: Final = 20
"""Refusals by an ended, closed or revoked authority that one process records for one session."""


class _Opened(NamedTuple):
    """What opening came to. `writer` is set where the session began, so that this writer need not join it."""

    id: str
    row: Mapping[str, Any]
    chain: tuple[CompiledGrant, ...]
    writer: str | None = None


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
        presenting: Callable[[], opening.Shown] | None = None,
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
        self._around = nesting.Around(None, None, entered=False)
        self._standing_refusals: dict[str, int] = {}
        self._opened = False
        self._row: Mapping[str, Any] = {}
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
            self._close_when_answered()

    async def aresume(
        self, approval_id: str, run: Callable[..., Any], *, secrets: Mapping[str, Any] | None = None
    ) -> Any:
        """As `resume`, for async code."""
        request = await asyncio.to_thread(self._approved, approval_id, run, secrets)
        try:
            return await self._app.gate.acall(self.open(), request)
        finally:
            await asyncio.shield(asyncio.to_thread(self._close_when_answered))

    def _close_when_answered(self) -> None:
        """An unkeyed session that its block left open for an approval ends with the last one."""
        ledger = self._app.deployment.ledger
        row = ledger.run(lambda txn: txn.get("sessions", self.id))
        if row is not None and row["detached"] and row["state"] == "open" and not self._waits():
            self.close("block ended")

    def _detach(self) -> None:
        """The block has ended, and a person has not answered yet."""
        ledger, session_id = self._app.deployment.ledger, self.id
        draft = ledger.draft("session.context", session=session_id, data={"claimed": [], "detached": True})

        def detach(txn: Txn) -> None:
            txn.append(draft)
            txn.put("sessions", session_id, detached=True)

        ledger.run(detach)

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
        return self._open_in(nesting.Around.here(entered=False))

    def _open_in(self, around: nesting.Around) -> Self:
        if not self._opened:
            with self._opening:  # two threads that use a session first open one, not two
                if not self._opened:
                    self._app.recover()
                    if self._presenting is not None:
                        self._wanted_grant, self._presented = self._presenting()
                    self._around = around
                    self._take(opening.run(self._app.deployment, self._presented, self._open))
                    if self._first_context:
                        self.context(**self._first_context)
        return self

    def _take(self, opened: _Opened) -> None:
        """Remember what is durable now: a transaction that failed has opened nothing."""
        self._id, self._row, self.chain = opened.id, opened.row, opened.chain
        if opened.writer is not None:
            self._writers.add(opened.writer)
        self._opened = True

    def _open(self, txn: Txn) -> _Opened:
        row = self._existing(txn)
        if row is None:
            assert self._wanted_grant is not None
            opened = self._begin(txn, self._wanted_grant)
            opening.use_once(txn, self._presented, opened.id)
            return opened
        if self._wanted_grant is not None and row["grant_id"] != self._wanted_grant:
            raise UsageError(
                f"session key {self._key!r} belongs to grant {row['grant_id']}, not to {self._wanted_grant}; "
                "one session runs under one grant"
            )
        opening.rejoin(self._app.deployment, txn, self._presented, row, self._workload or Workload.this_process())
        return _Opened(row["id"], row, self._app.deployment.chain(txn, row["grant_id"]))

    def _existing(self, txn: Txn) -> Mapping[str, Any] | None:
        if self._id is not None:
            row = txn.get("sessions", self._id)
            if row is None:
                raise UsageError(f"no session {self._id!r} is in this ledger; `remit session list` shows them")
            return row
        if self._key is None:
            return None
        key = self._keyed()
        for (found,) in txn.rows(select(col(SessionRow.id)).where(col(SessionRow.session_key) == key)):
            row = txn.get("sessions", found)
            if row is None or row["state"] == "closed":
                continue
            over = _over(txn, row)
            if over is None:
                return row
            close_session(self._app, txn, found, over)  # the key is free again
        return None

    def _keyed(self) -> str | None:
        """The session's key as records and tables hold it: they do not tell what it says."""
        return None if self._key is None else self._app.deployment.ledger.keyed("session-key", self._key)

    def _begin(self, txn: Txn, grant_id: str) -> _Opened:
        deployment = self._app.deployment
        deployment.record_configuration(txn)
        chain = deployment.chain(txn, grant_id)
        acting = chain[-1].terms
        opening.refuse_unusable(txn, chain)
        if self._around.entered and self._around.session is not None:
            nesting.refuse_stranger(chain, self, self._around.session)
        parent = nesting.parent_of(deployment, txn, chain, self._around)
        session_id = new_id("s")
        workload = self._workload or Workload.this_process()
        known = opening.attributed(deployment, txn, chain, workload, self._presented)
        ends = min(link.terms.expires for link in chain)
        row = {
            "grant_id": acting.id,
            "session_key": self._keyed(),
            "state": "open",
            "principal": acting.principal,
            "agent": acting.agent,
            "workload": workload.id,
            "identity": known.stored(),
            "mode": "enforce",
            "opened": show_moment(txn.now),
            "ends": show_moment(ends),
            "idle_seconds": int(self._idle.total_seconds()) if self._idle else None,
            "parent": parent["session"] if parent is not None else None,
        }
        txn.append(
            deployment.ledger.draft(
                "session.opened",
                session=session_id,
                data={
                    "grant": acting.id,
                    "version": acting.version,
                    "chain": [link.digest for link in chain],
                    **({"through": [link.terms.agent for link in chain[:-1]]} if len(chain) > 1 else {}),
                    **({"parent": parent} if parent is not None else {}),
                    "principal": acting.principal,
                    "agent": acting.agent,
                    "workload": workload.as_record(),
                    **known.as_record(),
                    **({"token": self._presented.as_record()} if self._presented is not None else {}),
                    "mode": "enforce",
                    "key": row["session_key"],
                    **({"idle_seconds": row["idle_seconds"]} if self._idle else {}),
                    "ends": show_moment(ends),
                    "catalogue": deployment.catalogue.digest,
                    "development": deployment.development,
                    **deployment.guarded(),
                },
            )
        )
        txn.put("sessions", session_id, **row)
        return _Opened(session_id, row, chain, txn.writer)

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

    def end_if_idle(self, txn: Txn) -> None:
        """Called inside the transaction of each call: closes the session when it was idle too long."""
        row = self._timed(txn)
        if row is not None and _idle_too_long(txn, row):
            close_session(self._app, txn, row["id"], "idle")

    def note_call(self, txn: Txn) -> None:
        """Called with each record of a call: the session is not idle."""
        row = self._timed(txn)
        if row is not None:
            txn.put("sessions", row["id"], last_call=show_moment(txn.now))

    def fades(self, txn: Txn) -> bool:
        """Whether the session would be idle before long although it is asked of all the time: a question that is put
        again leaves no record, and only records count."""
        row = self._timed(txn)
        return row is not None and txn.now - _last_call(row) > timedelta(seconds=row["idle_seconds"]) / 4

    def _timed(self, txn: Txn) -> Mapping[str, Any] | None:
        """The session's row, where it is open and ends by being idle."""
        assert self._id is not None
        row = txn.get("sessions", self._id)
        return row if row is not None and row["state"] == "open" and row["idle_seconds"] is not None else None

    def join(self, txn: Txn) -> None:
        """Called inside the transaction of each call: a writer's first record in a session says that it takes part.

        A transaction may fail, or run again; so the writer is only known to take part once `note_joined` says so.
        """
        if txn.writer in self._writers:
            return
        assert self._id is not None
        own = select(col(RecordRow.rid)).where(col(RecordRow.session) == self._id, col(RecordRow.writer) == txn.writer)
        if not txn.rows(own.limit(1)):
            workload = (self._workload or Workload.this_process()).as_record()
            txn.append(
                self._app.deployment.ledger.draft("session.joined", session=self._id, data={"workload": workload})
            )

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
            nesting.refuse_stranger(self.chain, self, outer)
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
            self._end_block("block ended" if error is None else f"block left by {type(error).__name__}")

    def _end_block(self, reason: str) -> None:
        if self._waits():
            self._detach()
        else:
            self.close(reason)

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
        reason = "block ended" if error is None else f"block left by {type(error).__name__}"
        await asyncio.shield(asyncio.to_thread(self._end_block, reason))

    @contextlib.contextmanager
    def activate(self) -> Iterator[Self]:
        """Make this the current session in a thread or generator of its own; closes nothing at its end."""
        token = self._make_current()
        try:
            yield self
        finally:
            with contextlib.suppress(ValueError):  # a generator may be closed in another context than it began in
                CURRENT.reset(token)

    def _waits(self) -> bool:
        """Whether a question is open, or an approval unused, whose time has not passed."""
        pending = select(col(ApprovalRow.id)).where(
            col(ApprovalRow.session_id) == self._id, col(ApprovalRow.state).in_(("requested", "approved"))
        )

        def waits(txn: Txn) -> bool:
            return bool(txn.rows(pending.where(col(ApprovalRow.expires) > show_moment(txn.now)).limit(1)))

        return self._app.deployment.ledger.run(waits)

    # -- closing

    def close(self, reason: str = "closed") -> None:
        """End the session: no call is permitted after this record. Closing twice changes nothing."""
        session_id = self.id
        self._app.deployment.ledger.run(lambda txn: close_session(self._app, txn, session_id, reason))

    def stands_refused(self, code: str) -> bool:
        """Whether this process has recorded enough refusals for a reason that is not about the call itself.

        The record says that calls go on being refused; a looping agent does not flood the ledger.
        """
        bound = 1 if code == "session_suspended" else MAX_STANDING_REFUSALS
        self._standing_refusals[code] = self._standing_refusals.get(code, 0) + 1
        return self._standing_refusals[code] > bound

    def stands_open(self) -> None:
        """The session is open (again): the next refusals of that kind are recorded again."""
        self._standing_refusals.clear()


def _over(txn: Txn, row: Mapping[str, Any]) -> str | None:
    """Why a session that is not closed yet has come to its end; None while it has not."""
    if row["ends"] is not None and row["ends"] <= show_moment(txn.now):
        return "grant ended"
    return "idle" if _idle_too_long(txn, row) else None


def _idle_too_long(txn: Txn, row: Mapping[str, Any]) -> bool:
    if row["idle_seconds"] is None:
        return False
    return txn.now - _last_call(row) > timedelta(seconds=row["idle_seconds"])


def _last_call(row: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(row["last_call"] or row["opened"])


def close_session(app: App, txn: Txn, session_id: str, reason: str, by: Mapping[str, Any] | None = None) -> None:
    """Append `session.closed`, with the last sequence number of every writer that took part, so that a gap shows."""
    row = txn.get("sessions", session_id)
    if row is None:
        raise UsageError(f"no session {session_id!r} is in this ledger")
    if row["state"] == "closed":
        return
    lasts = txn.rows(
        select(col(RecordRow.writer), func.max(col(RecordRow.sseq)))
        .where(col(RecordRow.session) == session_id)
        .group_by(col(RecordRow.writer))
    )
    data: dict[str, Any] = {"writers": {row[0]: row[1] for row in lasts}, "why": _closing_word(reason)}
    if by is not None:
        data["by"] = dict(by)
    txn.append(app.deployment.ledger.draft("session.closed", session=session_id, data=data, private={"reason": reason}))
    txn.put("sessions", session_id, state="closed", closed=show_moment(txn.now), reason=reason, session_key=None)


def _closing_word(reason: str) -> str:
    known = {"block ended": "block_ended", "grant ended": "grant_ended", "idle": "idle"}
    return known.get(reason, "block_failed" if reason.startswith("block left by") else "closed")


def _never(**_: Any) -> None:
    raise AssertionError("explain runs nothing")
