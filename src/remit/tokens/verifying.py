"""What a token proves: issuer, audience, time, subject and the ordered actors (RFC 7519, 8693, 9068; RFC 8725)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import httpx

from remit.authority.durations import say_moment
from remit.errors import IdentityError, NotCanonical, UsageError
from remit.parties import Agent, Workload, named_agent, named_principal
from remit.spiffe import parse_spiffe_id
from remit.tokens.jose import ALGORITHMS, open_token, read_header
from remit.tokens.keys import FixedKeys, Keys, RemoteKeys
from remit.tokens.web import check_url, request_json

LEEWAY: Final = timedelta(seconds=30)
"""How far the clocks of issuer and verifier may differ."""

MAX_ACTORS: Final = 16
"""Actors in one chain."""

ACCESS_TYPES: Final = frozenset({"at+jwt", "application/at+jwt", "jwt", "application/jwt"})
"""`typ` of access tokens (RFC 9068), beside none at all."""


class Actor(NamedTuple):
    """One link of the `act` chain: who acted, and whose name for them it is."""

    subject: str
    issuer: str


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a verified token says. The token itself is kept out of sight: no record and no message shows it."""

    issuer: str
    subject: str
    audience: tuple[str, ...]
    expires: datetime
    issued_at: datetime | None
    jti: str | None
    scopes: frozenset[str]
    actors: tuple[Actor, ...]
    """In the order in which they acted: the first received the token from its subject, the last acts now."""
    client: str | None
    key: str
    claims: Mapping[str, Any] = field(repr=False)
    text: str = field(repr=False)

    @property
    def principal(self) -> str:
        """The subject as Remit names it: `user:alice@acme.com`."""
        return named_principal(self.subject)

    @property
    def agents(self) -> tuple[Agent, ...]:
        """The actors as agents, first to last; where the token names none, the client that it was issued to."""
        named = [(actor.subject, actor.issuer) for actor in self.actors]
        if not named and self.client is not None:
            named = [(self.client, self.issuer)]
        return tuple(Agent(named_agent(subject), "token", issuer) for subject, issuer in named)

    @property
    def confirmation(self) -> Mapping[str, Any] | None:
        """`cnf` (RFC 7800): the key that the presenter has to prove; None for a bearer token."""
        found = self.claims.get("cnf")
        return found if isinstance(found, Mapping) else None


class TokenVerifier:
    """Decides whether a token is one of `issuer`'s, meant for `audience`, and valid now.

    Args:
        issuer:
            The exact `iss`.
        audience:
            Who we are: one of these has to be among the token's `aud`.
        keys:
            A JWKS (mapping), its URL, or a `Keys` of your own. Fetched keys are cached; see `RemoteKeys`.
        algorithms:
            Signatures that this issuer uses, of `EdDSA Ed25519 ES256 ES384 RS256 PS256`.
        types:
            Accepted `typ` headers; a token without one passes only where access tokens are meant (the default).
        single_use:
            A token with the same `jti` opens one session, or proves one act, and no second.
    """

    def __init__(
        self,
        issuer: str,
        audience: str | Iterable[str],
        keys: Mapping[str, Any] | str | Keys,
        *,
        algorithms: Iterable[str] = ("EdDSA", "Ed25519", "ES256", "RS256", "PS256"),
        types: Iterable[str] | None = None,
        single_use: bool = False,
        leeway: timedelta = LEEWAY,
    ) -> None:
        self.issuer = issuer
        self.audience = (audience,) if isinstance(audience, str) else tuple(audience)
        self.algorithms = tuple(algorithms)
        if not issuer or not self.audience or not all(self.audience):
            raise UsageError("a token verifier needs an issuer and an audience: who signs, and for whom")
        if unknown := set(self.algorithms) - ALGORITHMS.keys():
            raise UsageError(f"{min(unknown)!r} is no algorithm here; expected some of {', '.join(ALGORITHMS)}")
        self._types = frozenset(name.lower() for name in types) if types is not None else None
        self.single_use = single_use
        self._leeway = leeway
        if isinstance(keys, Mapping):
            self._keys: Keys = FixedKeys(keys)
        else:
            self._keys = RemoteKeys(keys) if isinstance(keys, str) else keys

    def __repr__(self) -> str:
        return f"TokenVerifier({self.issuer!r}, audience={list(self.audience)})"

    @classmethod
    def discover(
        cls, issuer: str, audience: str | Iterable[str], *, client: httpx.Client | None = None, **options: Any
    ) -> TokenVerifier:
        """A verifier with the key set that the issuer's metadata names (RFC 8414, OpenID Connect Discovery)."""
        check_url(issuer, "the issuer")
        base = httpx.URL(issuer)
        path = base.path.rstrip("/")
        places = (
            base.copy_with(path=f"/.well-known/oauth-authorization-server{path}"),
            base.copy_with(path=f"{path}/.well-known/openid-configuration"),
        )
        for place in places:
            status, found = request_json("GET", str(place), what="the issuer's metadata", client=client)
            if status == 200:
                break
        else:
            raise IdentityError(f"{issuer} publishes no metadata under {places[0].path} or {places[1].path}")
        if found.get("issuer") != issuer:
            raise IdentityError(
                f"the metadata of {issuer} is that of another issuer, {str(found.get('issuer'))[:120]!r}"
            )
        where = found.get("jwks_uri")
        if not isinstance(where, str):
            raise IdentityError(f"the metadata of {issuer} names no jwks_uri")
        try:
            keys = RemoteKeys(where, client=client)
        except UsageError as error:
            raise IdentityError(f"the metadata of {issuer} names an unusable jwks_uri: {error}") from error
        return cls(issuer, audience, keys, **options)

    def for_audience(self, audience: str | Iterable[str]) -> TokenVerifier:
        """The same issuer and keys, for tokens that are meant for somebody else: what an exchange returns."""
        return TokenVerifier(
            self.issuer,
            audience,
            self._keys,
            algorithms=self.algorithms,
            types=self._types,
            single_use=self.single_use,
            leeway=self._leeway,
        )

    def verify(self, token: str, *, now: datetime | None = None) -> VerifiedToken:
        """What `token` proves. Raises `IdentityError`; its code is `audience_mismatch` for a token meant for others.

        (1) form and header, (2) the issuer's key, (3) signature, (4) issuer, (5) audience, (6) time, (7) subject and
        actors.
        """
        return self._verify(token, now or datetime.now(UTC))

    def received(self, token: str, *, now: datetime) -> VerifiedToken:
        """As `verify`, for a token that was asked for on behalf of others: whom it is meant for is still to be compared
        with whom it was asked for. Not for tokens that somebody presents."""
        return self._verify(token, now, audience_needed=False)

    def _verify(
        self, token: str, now: datetime, *, issuer_needed: bool = True, audience_needed: bool = True
    ) -> VerifiedToken:
        header = read_header(token)  # (1)
        self._check_type(header.get("typ"))
        key = self._keys.find(header.get("kid"))  # (2)
        claims = open_token(token, key, algorithms=self.algorithms).claims  # (3)
        if claims.get("iss") != self.issuer and (issuer_needed or "iss" in claims):  # (4)
            raise IdentityError(f"the token was issued by {_shown(claims.get('iss'))}; expected {self.issuer}")
        audience = _audience(claims)
        if audience_needed and not set(audience) & set(self.audience):  # (5)
            raise IdentityError(
                f"the token is meant for {', '.join(map(_shown, audience))}; this is {' or '.join(self.audience)}",
                code="audience_mismatch",
            )
        expires, issued = self.check_time(claims, now)  # (6)
        subject = _text(claims, "sub")  # (7)
        if subject is None:
            raise IdentityError("the token names nobody: it has no sub")
        return VerifiedToken(
            issuer=self.issuer,
            subject=subject,
            audience=audience,
            expires=expires,
            issued_at=issued,
            jti=_text(claims, "jti"),
            scopes=scopes_of(claims),
            actors=actors_of(claims, self.issuer),
            client=_text(claims, "client_id") or _text(claims, "azp"),
            key=key.kid or key.thumbprint,
            claims=claims,
            text=token,
        )

    def workload(self, svid: str, *, now: datetime | None = None) -> Workload:
        """The workload that a JWT-SVID proves (SPIFFE JWT-SVID, section 3): `sub` is its SPIFFE ID.

        JWT-SVIDs need not say `iss`. Where `issuer` is a trust domain (`spiffe://acme.com`), the subject has to lie
        in it; otherwise `iss` is compared as for any token. Raises `IdentityError`.
        """
        domain = self.issuer.startswith("spiffe://")
        found = self._verify(svid, now or datetime.now(UTC), issuer_needed=not domain)
        try:
            name = parse_spiffe_id(found.subject)
        except NotCanonical as error:
            raise IdentityError(f"the token is no JWT-SVID: {error}") from error
        if domain and self.issuer != f"spiffe://{name.trust_domain}":
            raise IdentityError(f"{name} is not in the trust domain {self.issuer}")
        return Workload(str(name), "spiffe", self.issuer)

    def _check_type(self, typ: str | None) -> None:
        if self._types is None:
            if typ is not None and typ.lower() not in ACCESS_TYPES:
                raise IdentityError(f"the token is of type {typ[:60]!r}; expected an access token (at+jwt, or JWT)")
        elif typ is None or typ.lower() not in self._types:
            raise IdentityError(f"the token is of type {_shown(typ)}; expected {', '.join(sorted(self._types))}")

    def check_time(self, claims: Mapping[str, Any], now: datetime) -> tuple[datetime, datetime | None]:
        """When the token ends and when it was issued. Raises `IdentityError` unless it is valid at `now`."""
        expires, begins, issued = (_moment(claims, name) for name in ("exp", "nbf", "iat"))
        if expires is None:
            raise IdentityError("the token never ends: it has no exp")
        if now >= expires + self._leeway:
            raise IdentityError(f"the token ended at {say_moment(expires)}")
        if begins is not None and now < begins - self._leeway:
            raise IdentityError(f"the token begins at {say_moment(begins)}")
        if issued is not None and now < issued - self._leeway:
            raise IdentityError(f"the token was issued at {say_moment(issued)}, which is still to come")
        return expires, issued


def _moment(claims: Mapping[str, Any], name: str) -> datetime | None:
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise IdentityError(f"the token's {name} is {_shown(value)}; expected seconds since 1970 as a number")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise IdentityError(f"the token's {name} is no moment on the calendar") from error


def _audience(claims: Mapping[str, Any]) -> tuple[str, ...]:
    value = claims.get("aud")
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not found or not all(isinstance(item, str) and item for item in found):
        raise IdentityError("the token is meant for nobody: it has no aud, or one that is no text")
    return tuple(found)


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= 512:
        raise IdentityError(f"the token's {name} is {_shown(value)}; expected a short text")
    return value


def scopes_of(claims: Mapping[str, Any]) -> frozenset[str]:
    """The set behind `scope`: words with spaces between (RFC 8693 section 4.2). Raises `IdentityError`."""
    value = claims.get("scope", "")
    if not isinstance(value, str):
        raise IdentityError(f"the token's scope is {_shown(value)}; expected words with spaces between")
    return frozenset(value.split())


def actors_of(claims: Mapping[str, Any], issuer: str) -> tuple[Actor, ...]:
    """The nested `act` (RFC 8693 section 4.1) as a list, the earliest first. Raises `IdentityError`."""
    found: list[Actor] = []
    node = claims.get("act")
    if "act" in claims and not isinstance(node, Mapping):
        raise IdentityError("the token's act is no JSON object")
    while node is not None:
        if not isinstance(node, Mapping) or len(found) >= MAX_ACTORS:
            raise IdentityError(f"the token's act is no chain of at most {MAX_ACTORS} actors")
        subject = _text(node, "sub")
        if subject is None:
            raise IdentityError("an actor in the token's act has no sub")
        found.append(Actor(subject, _text(node, "iss") or issuer))
        node = node.get("act")
    return tuple(reversed(found))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}…"


__all__ = ["LEEWAY", "MAX_ACTORS", "Actor", "TokenVerifier", "VerifiedToken", "actors_of", "scopes_of"]
