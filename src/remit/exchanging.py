"""Token exchange (RFC 8693) as a recorded step of a session.

(1) verify the token that is given, (2) compare it with the session: its principal, its acting agent, its tokens so far,
(3) ask the endpoint, (4) verify what comes back, (5) refuse what is wider, (6) record, and only then hand it out.
A refusal at any step is a record too. Records keep subject, workload, ordered actors, audience, scopes and keyed
digests of the tokens, never a token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from remit import attribution
from remit.attribution import Attribution
from remit.authority.durations import show_moment
from remit.errors import DelegationWidened, Denied, GrantError, IdentityError, RemitError, UsageError
from remit.opening import refuse_unusable
from remit.parties import named_agent
from remit.tokens.endpoint import TokenEndpoint
from remit.tokens.verifying import TokenVerifier, VerifiedToken
from remit.tokens.widening import widenings

if TYPE_CHECKING:
    from remit.ledger import Txn
    from remit.sessions import Session

MAX_AUDIENCES: Final = 16
MAX_SCOPES: Final = 200


@dataclass(frozen=True, slots=True)
class Exchanged:
    """The token that an exchange gave, recorded. `token` is a secret: it is in no record and not in `repr`."""

    record_id: str
    audience: tuple[str, ...]
    scopes: frozenset[str]
    actors: tuple[str, ...]
    expires: datetime
    token: str = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """For an HTTP request to the audience: `{"authorization": "Bearer …"}`."""
        return {"authorization": f"Bearer {self.token}"}


def exchange(
    session: Session,
    token: str,
    *,
    endpoint: TokenEndpoint,
    verifier: TokenVerifier,
    audience: Sequence[str],
    scope: frozenset[str],
    actor_token: str | None,
    issued_by: TokenVerifier | None,
) -> Exchanged:
    """See `Session.exchange`."""
    if not audience or len(audience) > MAX_AUDIENCES or not all(isinstance(name, str) and name for name in audience):
        raise UsageError(f"an exchange is for somebody: audience= names 1 to {MAX_AUDIENCES} of them")
    if len(scope) > MAX_SCOPES:
        raise UsageError(f"an exchange asks for at most {MAX_SCOPES} scopes; got {len(scope)}")
    return _Exchange(session, token, endpoint, verifier, tuple(audience), scope, actor_token, issued_by).run()


class _Exchange:
    """One exchange. What is known of it so far goes into the record, however it ends."""

    def __init__(
        self,
        session: Session,
        token: str,
        endpoint: TokenEndpoint,
        verifier: TokenVerifier,
        audience: tuple[str, ...],
        scope: frozenset[str],
        actor_token: str | None,
        issued_by: TokenVerifier | None,
    ) -> None:
        self.session = session
        self.ledger = session.app.ledger
        self.token = token
        self.endpoint = endpoint
        self.verifier = verifier
        self.audience = audience
        self.scope = scope
        self.actor_token = actor_token
        self.issued_by = issued_by or verifier
        self.digests = [self.ledger.keyed("token", token)]
        self.old: VerifiedToken | None = None
        self.new: VerifiedToken | None = None
        self.actors: tuple[str, ...] = ()
        self.widened: list[str] = []

    def run(self) -> Exchanged:
        try:
            self.old = old = self.verifier.verify(self.token, now=self.ledger.now())  # (1)
            self.ledger.run(self._compare)  # (2)
            actor = self._actor()
            response = self.endpoint.exchange(  # (3)
                self.token, audience=self.audience, scope=self.scope, actor_token=self.actor_token
            )
            self.digests.append(self.ledger.keyed("token", response.token))
            self.new = new = self.issued_by.received(response.token, now=self.ledger.now())  # (4)
            self._refuse_wider(old, new, response.scope, actor)  # (5)
            return self.ledger.run(self._record)  # (6)
        except RemitError as error:
            self._record_refusal(error)
            raise

    # -- (2) the session and the token

    def _compare(self, txn: Txn) -> None:
        """Raises unless the session may go on and this is its token. Sets who has acted so far."""
        session, old = self.session, self.old
        assert old is not None
        session.take_up(txn)
        session.take_up(txn)
        refuse_unusable(txn, session.chain)
        row = txn.get("sessions", session.id)
        if row is None or row["state"] != "open":
            state = "closed" if row is None else str(row["state"])
            raise Denied(
                f"Session {session.id} is {state}; no token is exchanged in it.",
                code="session_suspended" if state == "suspended" else "session_closed",
                rule="remit/exchange",
            )
        before = attribution.read(row)
        if old.principal != session.principal:
            raise _conflict(f"the token speaks for {old.principal}, the session is {session.principal}'s")
        if before.tokens and self.digests[0] not in before.tokens:
            raise _conflict("the token is not one that this session was opened with or was given in an exchange")
        acting = before.actors[-1] if before.actors else session.agent
        agents = tuple(agent.id for agent in old.agents) or (acting,)
        if not before.tokens and agents[-1] != acting:
            raise _conflict(f"the token was issued to {agents[-1]}, the session is {acting}'s")
        self.actors = agents

    def _actor(self) -> str | None:
        """Who is to act: the subject of the actor token, which this issuer has to have signed for the endpoint."""
        if self.actor_token is None:
            return None
        judge = self.verifier.for_audience((*self.verifier.audience, self.verifier.issuer, self.endpoint.url))
        return judge.verify(self.actor_token, now=self.ledger.now()).subject

    # -- (5) narrower or refused

    def _refuse_wider(
        self, old: VerifiedToken, new: VerifiedToken, response_scope: frozenset[str] | None, actor: str | None
    ) -> None:
        found = widenings(
            old,
            new,
            requested_audience=frozenset(self.audience),
            requested_scope=self.scope,
            response_scope=response_scope,
            actor=actor,
        )
        if found:
            self.widened = sorted({each.about for each in found})
            problems = [each.reason for each in found]
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise DelegationWidened(f"the exchanged token is wider: {problems[0]}{more}", problems=problems)
        added = tuple(named_agent(link.subject) for link in new.actors[len(old.actors) :])
        if added == self.actors[-1:]:
            added = ()  # the client of the first token is now named as the actor that it was
        after = (*self.actors, *added)
        depth = self.session.chain[-1].terms.delegation.depth
        if added and len(after) - 1 - self._own_place(after) > depth:
            raise GrantError(
                f"the grant may be handed on {depth} times, and the exchange hands it on to {after[-1]}; "
                "a grant with `delegation: {depth: …}` says how often",
                code="delegation_too_deep",
            )
        self.actors = after

    def _own_place(self, actors: tuple[str, ...]) -> int:
        """Where in the chain the session's own agent stands; who comes after it was handed the authority on."""
        return actors.index(self.session.agent) if self.session.agent in actors else 0

    # -- (6) the record

    def _record(self, txn: Txn) -> Exchanged:
        session, new = self.session, self.new
        assert new is not None
        assert self.old is not None
        session.take_up(txn)
        session.take_up(txn)
        refuse_unusable(txn, session.chain)
        row = txn.get("sessions", session.id)
        if row is None or row["state"] != "open":
            raise Denied(f"Session {session.id} ended meanwhile.", code="session_closed", rule="remit/exchange")
        before = attribution.read(row)
        way = before.tokens.index(self.digests[0]) if self.digests[0] in before.tokens else 0
        tokens = (*before.tokens[:way], *self.digests)
        draft = self.ledger.draft("identity.exchanged", session=session.id, data={})
        after: Attribution = before.exchanged(
            self.old.subject, self.actors, new.audience, tokens, draft.id, named=bool(new.agents)
        )
        draft.data.update({**self._data(row), "effect": "permit", "after": after.as_record()})
        appended = txn.append(draft)
        txn.put("sessions", session.id, identity=after.stored())
        return Exchanged(appended.id, new.audience, new.scopes, self.actors, new.expires, new.text)

    def _record_refusal(self, error: RemitError) -> None:
        session = self.session

        def job(txn: Txn) -> None:
            row = txn.get("sessions", session.id)
            data = {**self._data(row), "effect": "deny", "code": error.code}
            if self.widened:
                data["widened"] = self.widened
            txn.append(
                self.ledger.draft("identity.exchanged", session=session.id, data=data, private={"reason": str(error)})
            )

        self.ledger.run(job)

    def _data(self, row: Mapping[str, Any] | None) -> dict[str, Any]:
        session, old, new = self.session, self.old, self.new
        acting = session.chain[-1].terms
        data: dict[str, Any] = {
            "principal": session.principal,
            "agent": session.agent,
            "workload": session.workload,
            "known": attribution.of_row(row).get("known", {}),
            "grant": acting.id,
            "version": acting.version,
            "actors": list(self.actors),
            "asked": {"audience": list(self.audience), "scopes": sorted(self.scope)},
            "endpoint": self.endpoint.url,
            "client": self.endpoint.client_id,
            "tokens": list(self.digests),
        }
        if old is not None:
            data["from"] = _shown(old)
        if new is not None:
            data["to"] = _shown(new)
        return data


def _shown(token: VerifiedToken) -> dict[str, Any]:
    scopes = sorted(token.scopes)
    return {
        "issuer": token.issuer,
        "subject": token.subject,
        "audience": list(token.audience[:MAX_AUDIENCES]),
        "scopes": scopes[:MAX_SCOPES],
        "more_scopes": max(0, len(scopes) - MAX_SCOPES),
        "expires": show_moment(token.expires),
        "actors": [link.subject for link in token.actors],
        "bound": token.confirmation is not None,
    }


def _conflict(sentence: str) -> IdentityError:
    return IdentityError(sentence, code="identity_conflict")


__all__ = ["Exchanged", "exchange"]
