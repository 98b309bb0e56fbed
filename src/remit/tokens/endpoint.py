"""A token endpoint that exchanges tokens (RFC 8693), with the client's own authentication (RFC 6749, RFC 7523)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

import httpx

from remit.errors import IdentityError, UsageError
from remit.ids import new_id
from remit.signing import SigningKey
from remit.tokens.jose import sign
from remit.tokens.web import TIMEOUT, check_url, request_json

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name, not a token
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Response:
    """What the endpoint gave. `scope` is None where it says nothing, which means: as requested."""

    token: str = field(repr=False)
    scope: frozenset[str] | None


class TokenEndpoint:
    """Where tokens are exchanged, and how this client proves itself there.

    `client_secret` goes as HTTP Basic (`client_secret_basic`); with `client_key` the client signs a short-lived
    assertion instead (`private_key_jwt`), so that no secret travels; `client_algorithm` is the name that the endpoint
    knows its signature by: the old one, or that of RFC 9864. Secrets appear in no message and no record.
    """

    def __init__(
        self,
        url: str,
        *,
        client_id: str,
        client_secret: str | None = None,
        client_key: SigningKey | None = None,
        client_algorithm: Literal["EdDSA", "Ed25519"] = "EdDSA",
        client: httpx.Client | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self.url = check_url(url, "the token endpoint")
        self.client_id = client_id
        if (client_secret is None) == (client_key is None):
            raise UsageError("a token endpoint needs one proof of its client: client_secret= or client_key=")
        self._secret = client_secret
        self._key = client_key
        self._algorithm = client_algorithm
        self._client = client
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"TokenEndpoint({self.url!r}, client_id={self.client_id!r})"

    def exchange(
        self,
        subject_token: str,
        *,
        audience: Iterable[str],
        scope: Iterable[str] = (),
        actor_token: str | None = None,
    ) -> Response:
        """Ask for another token (RFC 8693 section 2.1). Raises `IdentityError` with the endpoint's own error code."""
        form: dict[str, Any] = {
            "grant_type": GRANT_TYPE,
            "subject_token": subject_token,
            "subject_token_type": ACCESS_TOKEN,
            "requested_token_type": ACCESS_TOKEN,
            "audience": list(audience),
        }
        if wanted := sorted(scope):
            form["scope"] = " ".join(wanted)
        if actor_token is not None:
            form |= {"actor_token": actor_token, "actor_token_type": JWT}
        auth = None
        if self._secret is not None:
            auth = (self.client_id, self._secret)
        else:
            form |= {"client_assertion_type": ASSERTION, "client_assertion": self._assertion()}
        status, answer = request_json(
            "POST",
            self.url,
            what="the token endpoint",
            client=self._client,
            form=form,
            auth=auth,
            timeout=self._timeout,
        )
        return _read(self.url, status, answer)

    def _assertion(self) -> str:
        assert self._key is not None
        now = int(datetime.now(UTC).timestamp())  # the endpoint's clock is the world's, not the ledger's
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.url,
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
            "jti": new_id("t"),
        }
        return sign(self._key, claims, typ="JWT", algorithm=self._algorithm)


def _read(url: str, status: int, answer: Mapping[str, Any]) -> Response:
    if status != 200:
        code = answer.get("error")
        said = code if isinstance(code, str) and code.isascii() and len(code) <= 60 else "no error code"
        raise IdentityError(f"the token endpoint at {url} refuses the exchange: {said} (status {status})")
    token, scope = answer.get("access_token"), answer.get("scope")
    if not isinstance(token, str) or not token:
        raise IdentityError(f"the token endpoint at {url} answers without an access_token")
    if answer.get("issued_token_type") not in (ACCESS_TOKEN, JWT):
        raise IdentityError(f"the token endpoint at {url} issued something other than an access token")
    if str(answer.get("token_type", "")).lower() not in ("bearer", "dpop"):
        raise IdentityError(f"the token endpoint at {url} issued a token that is neither Bearer nor DPoP")
    if scope is not None and not isinstance(scope, str):
        raise IdentityError(f"the token endpoint at {url} answers with a scope that is no text")
    return Response(token, None if scope is None else frozenset(scope.split()))


__all__ = ["TokenEndpoint"]
