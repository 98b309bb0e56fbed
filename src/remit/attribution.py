"""Who stands behind the calls of a session, and how each of them is known: kept with the session, told in every record.

`known` says for principal, agent and workload whether they were *claimed* or proved, and by what. After a token was
presented or exchanged, `delegation` says through whom the authority went: the subject, the ordered actors, whom the
token is meant for, and the keyed digests of every token on the way, never a token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from remit.errors import IdentityError
from remit.ledger.canonical import canonical
from remit.parties import Agent, Method, Workload


@dataclass(frozen=True, slots=True)
class Presented:
    """What a verified token proved to a session that was opened with it. `digest` is keyed; the token is not here."""

    principal: str
    agents: tuple[Agent, ...]
    issuer: str
    subject: str
    audience: tuple[str, ...]
    scopes: frozenset[str]
    digest: str
    expires: str
    once: str | None = None
    """The keyed digest of its `jti`, where the token may be used once only."""

    def as_record(self) -> dict[str, Any]:
        """The leaf form."""
        return {
            "issuer": self.issuer,
            "subject": self.subject,
            "audience": list(self.audience),
            "scopes": sorted(self.scopes),
            "expires": self.expires,
            "digest": self.digest,
            "actors": [agent.as_record() for agent in self.agents],
            **({"once": self.once} if self.once is not None else {}),
        }


@dataclass(frozen=True, slots=True)
class Attribution:
    """See the module. `exchange` names the record of the last exchange; None before the first."""

    principal: Method = "claimed"
    agent: Method = "claimed"
    workload: Method = "claimed"
    subject: str | None = None
    actors: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    exchange: str | None = None

    @classmethod
    def opening(cls, principal: Method, workload: Workload, presented: Presented | None) -> Attribution:
        """Of a session that begins."""
        if presented is None:
            return cls(principal, "claimed", workload.method)
        return cls(
            principal="token",
            agent="token" if presented.agents else "claimed",
            workload=workload.method,
            subject=presented.subject,
            actors=tuple(agent.id for agent in presented.agents),
            audience=presented.audience,
            tokens=(presented.digest,),
        )

    def exchanged(
        self,
        subject: str,
        actors: tuple[str, ...],
        audience: tuple[str, ...],
        tokens: tuple[str, ...],
        record: str,
        *,
        named: bool,
    ) -> Attribution:
        """Of the same session after an exchange: subject and workload stay, actors are only ever added.

        `named` says whether the new token names who acts now.
        """
        return replace(
            self,
            principal="token",
            agent="token" if named else self.agent,
            subject=subject,
            actors=actors,
            audience=audience,
            tokens=tokens,
            exchange=record,
        )

    def as_record(self) -> dict[str, Any]:
        """What every call's record says: `known`, and `delegation` where a token is behind the session."""
        found: dict[str, Any] = {"known": {"principal": self.principal, "agent": self.agent, "workload": self.workload}}
        if self.tokens:
            found["delegation"] = {
                "subject": self.subject,
                "actors": list(self.actors),
                "audience": list(self.audience),
                "tokens": list(self.tokens),
                "exchange": self.exchange,
            }
        return found

    def stored(self) -> str:
        """As a session's row keeps it."""
        return canonical(self.as_record()).decode()


def of_row(row: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """What the records of this session's calls say of who is behind them. Not to be changed."""
    return _parsed(row["identity"]) if row is not None and row["identity"] else {}


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Mapping[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def read(row: Mapping[str, Any]) -> Attribution:
    """The attribution of a session's row."""
    found = of_row(row)
    known, through = found.get("known", {}), found.get("delegation", {})
    return Attribution(
        principal=known.get("principal", "claimed"),
        agent=known.get("agent", "claimed"),
        workload=known.get("workload", "claimed"),
        subject=through.get("subject"),
        actors=tuple(through.get("actors", ())),
        audience=tuple(through.get("audience", ())),
        tokens=tuple(through.get("tokens", ())),
        exchange=through.get("exchange"),
    )


def conflict(presented: Presented, principal: str, agent: str) -> tuple[str, IdentityError] | None:
    """What a token says otherwise than the grant it is used with: about whom, and the refusal. None: they agree."""
    if presented.principal != principal:
        return "principal", IdentityError(
            f"the token speaks for {presented.principal}, the grant is {principal}'s", code="identity_conflict"
        )
    if presented.agents and presented.agents[-1].id != agent:
        return "agent", IdentityError(
            f"the token was issued to {presented.agents[-1].id}, the grant to {agent}", code="identity_conflict"
        )
    return None


__all__ = ["Attribution", "Presented", "conflict", "of_row", "read"]
