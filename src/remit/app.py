"""`remit.open(…)` and what it gives: an `App`, the handle through which everything else is reached."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from remit import amending, answering, approvals, closing, delegating, issuing, peopling, pins, recovery, requesting
from remit.approvals import Approval
from remit.authority.durations import parse_span
from remit.authority.guardrails import OwnFiles
from remit.deployment import CAPABILITIES, Deployment, Listener, logger
from remit.errors import Denied, EvidenceUnavailable, UsageError
from remit.gate import Gate
from remit.identity import Authenticator, Credential, People
from remit.issuing import Grant
from remit.ledger import Ledger
from remit.parties import Workload
from remit.requesting import GrantRequest
from remit.resources.catalogue import Catalogue
from remit.review import verdicts
from remit.sessions import Session
from remit.signing import SigningKey, VerifyingKey

if TYPE_CHECKING:
    from remit.authority.cedar import CedarGuardrails
    from remit.exchanging import Exchanged
    from remit.ledger import Record, Verified
    from remit.tokens import TokenEndpoint, TokenVerifier

EVENTS: Final = ("approval.requested", "call.denied", "call.outcome", "grant.requested")
"""What `App.on` listens for."""

_opened: weakref.WeakSet[App] = weakref.WeakSet()


def open(  # noqa: A001 - `remit.open` reads as what it does
    url: str | None = None,
    *,
    can: Iterable[str] | None = None,
    development: bool = False,
    catalogue: str | Path | Mapping[str, Any] | Iterable[str | Path | Mapping[str, Any]] | None = None,
    people: str | Path | Mapping[str, Any] | None = None,
    policies: str | Path | Iterable[str | Path] | None = None,
    environment: str = "unspecified",
    home: str | Path | None = None,
    clock: Callable[[], datetime] | None = None,
) -> App:
    """Open a ledger, making it when it does not exist yet.

    Args:
        url:
            `sqlite:///remit.db`; `$REMIT_URL` when omitted, else `remit.db` in the user's data directory.
        can:
            What the handle may do, of `session issue approve review configure`; everything when omitted. An agent's
            process gets `{"session"}`.
        development:
            Accept claimed identities (bare strings). Every output shows it.
        catalogue:
            One or several catalogue files or mappings: how tool arguments become resources.
        people:
            `policies/people.yaml`, or the mapping in it: who holds which role.
        policies:
            Guardrails: `*.cedar` files or folders of them, such as `policies/guardrails`. They only take away.
        environment:
            Where this runs (`production`, `staging`, …): what guardrails read as `context.session.environment`.
        home:
            The folder of keys, locks and the pinned head; `<database>.remit` beside the database when omitted.
        clock:
            For tests: gives the time instead of the system (timezone-aware UTC).

    Raises `UsageError`, `GrantError` (catalogue, policies), `VerificationError` (not the ledger that was pinned).
    """
    url = url or os.environ.get("REMIT_URL") or default_url()
    if not url.startswith("sqlite:///"):
        raise UsageError(f"cannot open {url!r}: expected sqlite:///PATH")
    if isinstance(can, str):
        raise UsageError(f"can={can!r} is a text; expected a set of capabilities, such as can={{{can!r}}}")
    capabilities = frozenset(can) if can is not None else CAPABILITIES
    if unknown := capabilities - CAPABILITIES:
        raise UsageError(f"can={sorted(unknown)} names no capability; expected some of {sorted(CAPABILITIES)}")
    roles = people if isinstance(people, People) else _people(people)
    known = Catalogue.load(*_sources(catalogue))
    guardrails = _guardrails(policies)
    ledger = Ledger.open_or_create(url, home=Path(home) if home is not None else None, clock=clock)
    issue_key, issue_public = _issue_keys(ledger.home, may_issue="issue" in capabilities)
    deployment = Deployment(
        ledger=ledger,
        catalogue=known,
        authenticator=Authenticator(origin=ledger.origin, people=roles, development=development),
        can=capabilities,
        development=development,
        issue_key=issue_key,
        issue_public=issue_public,
        own_files=OwnFiles([*ledger.files(), *_sources(policies)]),
        guardrails=guardrails,
        environment=environment,
    )
    _warn_of_misfits(deployment)
    return App(url, deployment)


def default_url() -> str:
    """The user's own ledger: `$XDG_DATA_HOME/remit/remit.db`, by default below `~/.local/share`."""
    folder = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "remit"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return f"sqlite:///{folder / 'remit.db'}"


def _issue_keys(home: Path, *, may_issue: bool) -> tuple[SigningKey | None, VerifyingKey]:
    """The deployment's key for grants. A handle that cannot issue reads the public half only, where there is one."""
    public = home / "issue.pub"
    if not may_issue and public.exists():
        return None, VerifyingKey.parse(public.read_text(encoding="ascii"))
    key = SigningKey.load_or_create(home / "issue.key")
    if not public.exists():
        with contextlib.suppress(OSError):  # a deployment that is read-only here has its public key elsewhere
            public.write_text(key.public.text, encoding="ascii")
    return (key if may_issue else None), key.public


def _people(people: str | Path | Mapping[str, Any] | None) -> People:
    if people is None:
        return People()
    return People.of(people) if isinstance(people, Mapping) else People.load(people)


def _guardrails(policies: str | Path | Iterable[str | Path] | None) -> CedarGuardrails | None:
    if policies is None:
        return None
    from remit.authority.cedar import CedarGuardrails  # its library is large, and only loaded where it is used

    return CedarGuardrails.load(*_sources(policies))


def _warn_of_misfits(deployment: Deployment) -> None:
    """Log every guardrail that does not fit a tool whose definition is accepted here. Such calls are refused one by one
    anyway; a tool that changed must not keep everything else from opening."""
    if deployment.guardrails is None:
        return
    from remit.authority.cedar.schemas import check_tools

    for problem in check_tools(deployment.guardrails.policies, deployment.accepted_schemas()):
        logger.warning("%s", problem)


def _sources(catalogue: Any) -> tuple[Any, ...]:
    if catalogue is None:
        return ()
    if isinstance(catalogue, str | Path | Mapping):
        return (catalogue,)
    return tuple(catalogue)


class App:
    """An opened Remit. Close it, or use it as a context manager: closing flushes and records that recording ended."""

    def __init__(self, url: str, deployment: Deployment) -> None:
        self.url = url
        self.deployment = deployment
        self.gate = Gate(deployment)
        self._recovered_by: int | None = None
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

    # -- grants

    def issue(
        self,
        source: str | Path | Mapping[str, Any] | bytes,
        parameters: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        credential: Credential | str | None = None,
    ) -> Grant:
        """Issue a grant from a file, YAML text, bytes or mapping: signed and recorded.

        With `key`, issuing is repeatable: the same content gives the live grant again, other content is an error.
        Raises `GrantError` with line and reason, `IdentityError`.
        """
        return issuing.issue(self.deployment, source, parameters, key=key, credential=credential)

    def amend(
        self,
        grant: Grant | str,
        changes: str | Path | Mapping[str, Any] | bytes | None = None,
        parameters: Mapping[str, Any] | None = None,
        *,
        without: Iterable[str] = (),
        version: int | None = None,
        request: GrantRequest | str | None = None,
        reason: str | None = None,
        credential: Credential | str | None = None,
    ) -> Grant:
        """The next version of a grant under the same id: its sessions go on with it from their next call.

        `changes` names what becomes other (task, window, limits, bindings, delegation; under `tools` each tool that is
        named is added or replaced), and `without` the tools that are taken away. A source that names the principal is a
        whole grant and replaces everything. `expires_in` counts from now. The version that this is written for is that
        of `grant`, or of `request` (whose own changes are taken where none are given), or `version`: another one in the
        meantime is an error. Raises `GrantError`, `IdentityError` (only who may issue it may widen it).
        """
        asked = self.request(request) if isinstance(request, str) else request
        name = grant.id if isinstance(grant, Grant) else grant
        if asked is not None and asked.grant_id != name:
            raise UsageError(f"request {asked.id} is about grant {asked.grant_id}, not about {name}")
        if version is None:
            version = grant.version if isinstance(grant, Grant) else asked.version if asked is not None else None
        if version is None:
            raise UsageError("say which version of the grant this was written for: version=, or pass the Grant itself")
        return amending.amend(
            self.deployment,
            name,
            changes,
            parameters,
            without=without,
            version=version,
            request=asked,
            reason=reason,
            credential=credential,
        )

    def delegate(
        self,
        grant: Grant | str,
        source: str | Path | Mapping[str, Any] | bytes,
        parameters: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        credential: Credential | str | None = None,
    ) -> Grant:
        """Hand a grant on, narrower: a child grant for another agent, below `grant` and never able to do more.

        `source` is a grant in any form that `issue` takes, without `principal`, `self` and `bindings`, which are the
        parent's. Each of its clauses is narrower than one clause of the parent whole; limits, approvals and bounds of
        the parent are said again or made tighter, and it ends no later. Limits count on parent and child together.
        Raises `DelegationWidened` with every reason (`.problems`; `delegation_too_deep`, `delegate_only` by `.code`),
        `GrantError`, `IdentityError`.
        """
        name = grant.id if isinstance(grant, Grant) else grant
        return delegating.delegate(self.deployment, name, source, parameters, key=key, credential=credential)

    def requests(self, grant_id: str | None = None) -> list[GrantRequest]:
        """What agents asked for (`Session.request`) and nobody has answered, oldest first."""
        return requesting.listed(self.deployment, grant_id=grant_id, state="requested")

    def request(self, request_id: str) -> GrantRequest:
        """One request as it stands."""
        return requesting.load(self.deployment, request_id)

    def refuse_request(
        self, request_id: str, *, reason: str | None = None, credential: Credential | str | None = None
    ) -> GrantRequest:
        """Answer an agent's request with no. `App.amend(…, request=…)` answers with yes."""
        return requesting.refuse(self.deployment, request_id, reason=reason, credential=credential)

    def revoke(self, grant_id: str, *, reason: str, credential: Credential | str | None = None) -> Grant:
        """Withdraw a grant: its sessions are refused from the next call on."""
        return issuing.revoke(self.deployment, grant_id, reason=reason, credential=credential)

    def grant(self, grant_id: str) -> Grant:
        """One grant as it stands."""
        return issuing.load(self.deployment, grant_id)

    # -- tokens (`remit[tokens]`; imported where they are used, so that the core does without)

    def token(
        self,
        grant: Grant | str,
        *,
        audience: str | Iterable[str],
        confirm: Mapping[str, Any] | None = None,
        expires_in: str | timedelta | None = None,
        credential: Credential | str | None = None,
    ) -> str:
        """A grant as a signed JWT, to cross a process: for `audience`, bound to the public JWK `confirm` where given.

        It ends with the grant, after `expires_in`, or after a day. The record keeps its keyed digest, never the token.
        Raises `GrantError`, `IdentityError`, `UsageError`.
        """
        from remit import tokening

        name, span = grant.id if isinstance(grant, Grant) else grant, _idle(expires_in)
        return tokening.token(
            self.deployment, name, audience=audience, confirm=confirm, expires_in=span, credential=credential
        )

    def jwks(self) -> dict[str, Any]:
        """The key set to publish, so that others can verify this deployment's tokens (issuer: the ledger's origin)."""
        from remit import tokening

        return tokening.jwks(self.deployment)

    def verifier(self, audience: str | Iterable[str] | None = None, *, single_use: bool = True) -> TokenVerifier:
        """What accepts this deployment's own grant tokens, meant for `audience` (itself when omitted)."""
        from remit import tokening

        return tokening.own_verifier(self.deployment, audience, single_use=single_use)

    def grant_of(self, token: str, *, verifier: TokenVerifier | None = None, proof: str | None = None) -> Grant:
        """The grant in this ledger that a grant token stands for, once the token is verified. Nothing is opened.

        Raises `IdentityError` (`audience_mismatch` for a token meant for others), `GrantError`.
        """
        from remit import tokening

        return tokening.find(self.deployment, token, verifier, proof)

    def accept(
        self,
        token: str,
        *,
        verifier: TokenVerifier,
        proof: str | None = None,
        credential: Credential | str | None = None,
    ) -> Grant:
        """Take over the grant that another deployment's token carries: issued here, recorded with where it came from.

        Its limits count here from nothing. Accepting it again gives the same grant. Raises `IdentityError` for a token
        that `verifier` refuses or that holds a constraint which is not known here.
        """
        from remit import tokening

        return tokening.accept(self.deployment, token, verifier=verifier, proof=proof, credential=credential)

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
            idle=_idle(idle),
            context=context,
            presenting=presenting,
            on_ask=on_ask,
        )

    def join(self, session_id: str, *, on_ask: str = "raise") -> Session:
        """A session that was opened before, here or elsewhere, by its id."""
        self.deployment.require("session")
        return Session(self, None, session_id=session_id, on_ask=on_ask)

    def close_session(self, session_id: str, reason: str, *, credential: Credential | str | None = None) -> None:
        """End a session from outside."""
        self.deployment.require("configure")
        closing.close_by_person(self.deployment, session_id, reason, credential)

    def resume_session(self, session_id: str, *, credential: Credential | str | None = None) -> None:
        """Let a suspended session go on: its count of refusals starts anew."""
        self.deployment.require("configure")
        recovery.resume_session(self.deployment, session_id, credential)

    def recover(self) -> None:
        """Settle what dead writers left: their calls without an outcome become `unknown`. Precedes the first write."""
        with self._lock:
            if self._recovered_by == os.getpid():
                return
            recovery.recover(self.deployment)
            self._recovered_by = os.getpid()

    def record_no_grant(self, tool: str, arguments: Mapping[str, Any], denied: Denied) -> None:
        """Record the refusal of a call that had no session at all."""
        recovery.record_no_grant(self.deployment, tool, arguments, denied)

    # -- approvals

    def pending(self, session_id: str | None = None) -> list[Approval]:
        """Questions that wait for a person, oldest first."""
        return approvals.listed(self.deployment, session_id=session_id, state="requested")

    def approval(self, approval_id: str) -> Approval:
        """One approval as it stands."""
        return approvals.load(self.deployment, approval_id)

    def approve(
        self, approval_id: str, *, credential: Credential | str | None = None, shown: str | None = None
    ) -> Approval:
        """Answer yes, as a person whom the clause or guardrail names. `Session.resume` then runs the call.

        `shown` is `Approval.shown` of what the person looked at: the answer counts for exactly that. Raises
        `IdentityError`, `Denied` (`approval_expired`, `approval_mismatch`).
        """
        self.deployment.require("approve")
        return answering.answer(
            self.deployment, approval_id, approve=True, credential=credential, reason=None, shown=shown
        )

    def refuse(
        self,
        approval_id: str,
        *,
        credential: Credential | str | None = None,
        reason: str | None = None,
        shown: str | None = None,
    ) -> Approval:
        """Answer no: one person's no is enough."""
        self.deployment.require("approve")
        return answering.answer(
            self.deployment, approval_id, approve=False, credential=credential, reason=reason, shown=shown
        )

    # -- people, tools, verdicts

    def enrol(self, person: str, public_key: str, *, credential: Credential | str | None = None) -> str:
        """Enrol a person's public key (base64). Returns their subject, such as `user:bob@acme.com`."""
        self.deployment.require("configure")
        return peopling.enrol(self.deployment, person, public_key, credential)

    def remove(self, person: str, *, credential: Credential | str | None = None) -> None:
        """Remove a person: their key proves nothing from now on."""
        self.deployment.require("configure")
        peopling.remove(self.deployment, person, credential)

    def authenticate(self, credential: Credential) -> str:
        """Check that `credential` proves an enrolled person, and record it. Returns the subject."""
        return peopling.authenticate(self.deployment, credential)

    def accept_tool(self, tool: str, *, credential: Credential | str | None = None) -> None:
        """Accept the definition that a tool has now; until then a changed tool is refused."""
        self.deployment.require("configure")
        pins.accept(self.deployment, tool, credential)

    def resolve(
        self,
        call_id: str,
        outcome: Literal["ok", "tool_error", "not_run"],
        *,
        reason: str,
        credential: Credential | str | None = None,
    ) -> None:
        """A person settles a call whose outcome is unknown."""
        self.deployment.require("configure")
        recovery.resolve(self.deployment, call_id, outcome, reason, credential)

    def verdict(
        self,
        session_id: str,
        verdict: str,
        *,
        reason: str | None = None,
        comment: str | None = None,
        call_id: str | None = None,
        credential: Credential | str | None = None,
    ) -> str:
        """What a reviewer decided of a session, or of one call in it. Returns the id of the record."""
        self.deployment.require("review")
        return verdicts.give(
            self.deployment,
            session_id,
            verdict,
            reason=reason,
            comment=comment,
            call_id=call_id,
            credential=credential,
        )

    # -- evidence

    def records(self, session_id: str | None = None) -> Iterator[Record]:
        """The ledger's records in order, of one session or of all."""
        return self.ledger.records(session=session_id)

    def verify(self) -> Verified:
        """Recompute everything. Raises `VerificationError` saying where it breaks."""
        return self.ledger.verify()

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


def _idle(idle: str | timedelta | None) -> timedelta | None:
    if idle is None or isinstance(idle, timedelta):
        return idle
    try:
        return parse_span(idle)
    except ValueError as error:
        raise UsageError(f"idle: {error}") from error


__all__ = ["App", "default_url", "only_app", "open"]
