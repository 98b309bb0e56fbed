"""Grant resolvers: which grant an MCP request runs under. Without one, every governed request is `no_grant`.

```python
govern(server, app=app, server="crm", grants=from_template("grants/triage.yaml", parameters={"ticket": 88}))
```
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import remit
from remit.authority.durations import parse_span
from remit.authority.refusal import Refusal

logger = logging.getLogger("remit.mcp")

HELD: Final = frozenset({"grant_revoked", "session_suspended", "session_closed"})
"""Refusals by which a person, or a limit, stopped the work: no fresh grant takes the place of the stopped one."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request, as far as that is known.

    `principal` and `agent` are authenticated: they come from a verified access token, and are None without one (stdio,
    in-process). What a client says of itself in `_meta` is in `claimed`. `connection` is a random id of the connection
    that the request came over; in the modern era, where requests stand alone, it is None.
    """

    connection: str | None = None
    principal: str | None = None
    agent: str | None = None
    claimed: Mapping[str, str] = field(default_factory=dict)
    client: str | None = None
    token: str | None = field(default=None, repr=False)
    proof: str | None = field(default=None, repr=False)
    """The grant token that the request brought, and the proof that its key is held. Secrets: never recorded."""

    @property
    def key(self) -> str:
        """What this caller's requests have in common: their connection, else their authenticated identity."""
        return self.connection or f"{self.agent or ''}\x1f{self.principal or ''}"


class Grants(ABC):
    """Finds the grant of a request. Subclass it for a rule of your own."""

    one_at_a_time: bool = False
    """Whether a caller that gets another grant is done with the one before, whose session is closed then."""

    @abstractmethod
    def find(self, app: remit.App, caller: Caller) -> str:
        """The id of the grant. Raises `Denied` when there is none. Called in a worker thread."""

    def open(self, app: remit.App, caller: Caller, grant_id: str, context: Mapping[str, Any] | None) -> remit.Session:
        """The session for a grant that was found and has none yet. Called in a worker thread."""
        del caller
        return app.session(grant_id, context=context)

    def ended(self, app: remit.App, caller: Caller, code: str | None) -> None:  # noqa: B027 - few need to know
        """Told once after each `find` that gave a grant: `code` is None when the tool ran, else why it was refused."""


class _Fixed(Grants):
    def __init__(self, grant: remit.Grant | str) -> None:
        self._id = grant if isinstance(grant, str) else grant.id

    def find(self, app: remit.App, caller: Caller) -> str:
        return self._id


def fixed(grant: remit.Grant | str) -> Grants:
    """Every request runs under this one grant (or grant id): for a server with one user and one task."""
    return _Fixed(grant)


class _ByReference(Grants):
    def find(self, app: remit.App, caller: Caller) -> str:
        said = caller.claimed.get("grant")
        if said is None:
            raise no_grant("The request names no grant; expected its id in _meta under dev.remit/grant.")
        try:
            grant = app.grant(said)
        except remit.GrantError:
            raise no_grant("The request names a grant that is not in this ledger.") from None
        mine = caller.agent == grant.agent and caller.principal in (None, grant.principal)
        if caller.agent is None or not mine:
            raise remit.Denied(
                "The request names a grant that was not made out to whoever sent it.",
                code="identity_conflict",
                rule="remit/by_reference",
                remedy=remit.Remedy("request_grant"),
            )
        return grant.id


def by_reference() -> Grants:
    """The client names its grant: the id in `_meta` under `dev.remit/grant`.

    The id is no secret and no proof. It is honoured only when the access token's agent (`act.sub`, else the client id)
    is the grant's agent, and its subject, where it has one, the grant's principal. Anything else, also a request
    without a token, is refused `identity_conflict`.
    """
    return _ByReference()


@dataclass(slots=True)
class _Burst:
    grant: remit.Grant
    last: datetime
    held: bool = False
    open: int = 0

    def is_over(self, now: datetime, idle: timedelta) -> bool:
        """Whether nothing runs, nothing ran for `idle`, and nobody stopped it."""
        return not self.held and not self.open and now - self.last >= idle


class _FromTemplate(Grants):
    one_at_a_time = True

    def __init__(
        self,
        source: str | Path | Mapping[str, Any],
        parameters: Mapping[str, Any] | Callable[[Caller], Mapping[str, Any]] | None,
        idle: timedelta,
        credential: remit.Credential | str | None,
    ) -> None:
        self._source = source
        self._parameters = parameters
        self._idle = idle
        self._credential = credential
        self._bursts: dict[str, _Burst] = {}
        self._lock = threading.Lock()

    def find(self, app: remit.App, caller: Caller) -> str:
        with self._lock:
            burst = self._bursts.get(caller.key)
            now = app.ledger.now()
            if burst is None or burst.is_over(now, self._idle):
                burst = self._bursts[caller.key] = _Burst(self._issue(app, caller), now)
            burst.open += 1
            return burst.grant.id

    def ended(self, app: remit.App, caller: Caller, code: str | None) -> None:
        with self._lock:
            burst = self._bursts.get(caller.key)
            if burst is None:
                return
            now = app.ledger.now()
            burst.open -= 1
            burst.held = code in HELD and now < burst.grant.expires
            if code is None:  # a refused call is no work: it does not keep an ended grant's burst alive
                burst.last = now

    def _issue(self, app: remit.App, caller: Caller) -> remit.Grant:
        parameters = self._parameters(caller) if callable(self._parameters) else self._parameters
        try:
            return app.issue(self._source, parameters, credential=self._credential)
        except (remit.GrantError, remit.IdentityError, remit.UsageError) as error:
            source = "its mapping" if isinstance(self._source, Mapping) else self._source
            logger.error("no grant could be issued from %s: %s", source, error)
            raise no_grant("No grant could be issued here; the operator finds the reason in the log.") from error


def from_template(
    source: str | Path | Mapping[str, Any],
    parameters: Mapping[str, Any] | Callable[[Caller], Mapping[str, Any]] | None = None,
    *,
    idle: str | timedelta = "30m",
    credential: remit.Credential | str | None = None,
) -> Grants:
    """A fresh grant from a template for each burst of work.

    A burst belongs to one connection (without one, to one authenticated caller) and is over when nothing ran for
    `idle`. When a grant ends before its burst does, calls are refused `grant_expired` until then. A grant that was
    revoked, or whose session was suspended or closed, is never replaced by a fresh one.

    Args:
        source:
            The template: a file, or a mapping.
        parameters:
            Values of its parameters, or a function from the `Caller` to them.
        idle:
            How long a pause ends a burst: `"30m"`, `"2h"`, or a timedelta.
        credential:
            Who issues; needed outside development.
    """
    return _FromTemplate(source, parameters, idle if isinstance(idle, timedelta) else _span(idle), credential)


def _span(text: str) -> timedelta:
    try:
        return parse_span(text)
    except Refusal as error:
        raise remit.UsageError(f"idle={text!r} is no span of time: {error}") from error


def no_grant(reason: str) -> remit.Denied:
    """The refusal where no grant is found."""
    return remit.Denied(reason, code="no_grant", rule="remit/no_grant", remedy=remit.Remedy("request_grant"))
