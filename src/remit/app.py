"""What `remit.open(…)` gives: an `App`, the handle through which everything else is reached.

What persons do through it is in `remit.issuers` and `remit.overseers`; here is what an agent's process does.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from remit import recovery
from remit.authority.durations import read_span
from remit.burying import Burying
from remit.custodians import CustodianActs
from remit.deployment import Deployment, Listener, logger
from remit.errors import Denied, EvidenceUnavailable, UsageError
from remit.gate import Gate
from remit.issuers import IssuerActs
from remit.issuing import Grant
from remit.ledger import Ledger
from remit.overseers import OverseerActs
from remit.parties import Workload
from remit.sessions import Session

if TYPE_CHECKING:
    from remit.exchanging import Exchanged
    from remit.ledger import Record, Verified
    from remit.tokens import TokenEndpoint, TokenVerifier

EVENTS: Final = ("approval.requested", "call.denied", "call.outcome", "grant.requested")
"""What `App.on` listens for."""

_opened: weakref.WeakSet[App] = weakref.WeakSet()


class App(IssuerActs, OverseerActs, CustodianActs):
    """An opened Remit. Close it, or use it as a context manager: closing flushes and records that recording ended."""

    def __init__(self, url: str, deployment: Deployment) -> None:
        self.url = url
        self.deployment = deployment
        self.gate = Gate(deployment)
        self._recovered_by: int | None = None
        self._burying: Burying | None = None
        self._lock = threading.Lock()
        _opened.add(self)

    @property
    def ledger(self) -> Ledger:
        """The evidence behind this app."""
        return self.deployment.ledger

    @property
    def development(self) -> bool:
        """Whether claimed identities are accepted here."""
        return self.deployment.development

    # -- sessions

    def session(
        self,
        grant: Grant | str | None = None,
        *,
        key: str | None = None,
        workload: str | Workload | None = None,
        idle: str | timedelta | None = None,
        context: Mapping[str, Any] | None = None,
        token: str | None = None,
        verifier: TokenVerifier | None = None,
        proof: str | None = None,
        on_ask: str = "raise",
    ) -> Session:
        """A session under `grant` (or its id). With `key`, the same one is rejoined across requests and processes.

        `on_ask` says what its calls do that need an approval: `raise` `ApprovalRequired` at once, or `wait:45s` for the
        answer, wherever it is given, and raise it then. A call may say otherwise.
        `token` is an access token that says who asks (`verifier` says whose tokens are believed), or, without a
        `grant`, a grant token: then `proof` shows that its key is held. Either is verified when the session opens.
        """
        self.deployment.require("session")
        grant_id = grant.id if isinstance(grant, Grant) else grant
        if grant_id is not None and not isinstance(grant_id, str):
            raise UsageError(f"a session needs a grant or the id of one; got a {type(grant).__name__}")
        for name, text in (("key", key), ("workload", workload)):
            if isinstance(text, str) and not (text.isascii() or _encodable(text)):
                raise UsageError(f"{name}={text!r} cannot be encoded as UTF-8; expected plain text")
        presenting = None
        if token is not None:
            from remit import tokening

            presenting = tokening.presenting(self.deployment, grant_id, token, verifier, proof)
        elif grant_id is None or verifier is not None or proof is not None:
            raise UsageError("a session needs a grant or the id of one, or token= that carries one")
        return Session(
            self,
            grant_id,
            key=key,
            workload=workload,
            idle=read_span("idle", idle),
            context=context,
            presenting=presenting,
            on_ask=on_ask,
        )

    def join(self, session_id: str, *, on_ask: str = "raise") -> Session:
        """A session that was opened before, here or elsewhere, by its id."""
        self.deployment.require("session")
        return Session(self, None, session_id=session_id, on_ask=on_ask)

    def exchange(
        self,
        session: Session | str,
        token: str,
        *,
        endpoint: TokenEndpoint,
        verifier: TokenVerifier,
        audience: str | Iterable[str],
        scope: Iterable[str] = (),
        actor_token: str | None = None,
        issued_by: TokenVerifier | None = None,
    ) -> Exchanged:
        """See `Session.exchange`; for a session by its id."""
        found = self.join(session) if isinstance(session, str) else session
        return found.exchange(
            token,
            endpoint=endpoint,
            verifier=verifier,
            audience=audience,
            scope=scope,
            actor_token=actor_token,
            issued_by=issued_by,
        )

    def recover(self) -> None:
        """Settle what dead writers left: their calls without an outcome become `unknown`. Precedes the first write.

        From then on that is looked after from time to time, as long as this app is open.
        """
        with self._lock:
            if self._recovered_by == os.getpid():
                return
            recovery.recover(self.deployment)
            self._recovered_by = os.getpid()
            if self._burying is None:
                self._burying = Burying(self.deployment)

    def record_no_grant(self, tool: str, arguments: Mapping[str, Any], denied: Denied) -> None:
        """Record the refusal of a call that had no session at all."""
        recovery.record_no_grant(self.deployment, tool, arguments, denied)

    # -- evidence

    def records(self, session_id: str | None = None) -> Iterator[Record]:
        """The ledger's records in order, of one session or of all."""
        return self.ledger.records(session=session_id)

    def verify(self, *, jobs: int = 1) -> Verified:
        """Recompute everything, with `jobs` processes. Raises `VerificationError` saying where it breaks."""
        return self.ledger.verify(jobs=jobs)

    def on(self, event: str, listener: Listener) -> None:
        """Call `listener(details)` after a fact is durable: one of `EVENTS`."""
        if event not in EVENTS:
            raise UsageError(f"no event {event!r}; expected {', '.join(EVENTS[:-1])} or {EVENTS[-1]}")
        self.deployment.listeners.setdefault(event, []).append(listener)

    # -- life

    def close(self) -> None:
        """Flush, record that the recorder stopped, and let go of the files."""
        _opened.discard(self)
        try:
            self.gate.settle()
        except EvidenceUnavailable as error:
            logger.error("outcomes that are owed could not be recorded: %s", error)
        try:
            self.ledger.close()
        except EvidenceUnavailable as error:  # every caller has had an answer; only the word "stopped" is missing
            logger.error("the recorder could not record that it stopped: %s", error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def only_app() -> App | None:
    """The one app that is open in this process; None when there is none, or more than one."""
    apps = list(_opened)
    return apps[0] if len(apps) == 1 else None


def _encodable(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


__all__ = ["EVENTS", "App", "only_app"]
