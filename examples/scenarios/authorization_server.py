"""A small real authorisation server on this machine, for the token exchange scenario and its tests.

Authlib does OAuth: client authentication (secret or signed assertion), the token endpoint, its errors. On top stands
one extension grant, RFC 8693, which Authlib does not have. Keys are published under `/jwks.json` and can be rotated.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Request
from authlib.oauth2.rfc6749.errors import (
    InvalidClientError,
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    OAuth2Error,
)
from authlib.oauth2.rfc6749.grants import BaseGrant, TokenEndpointMixin
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
ASSERTION = JWTBearerClientAssertion.CLIENT_AUTH_METHOD
LIFE = 900

Claims = dict[str, Any]


@dataclass
class Client(ClientMixin):
    """A registered client: an agent, with a secret or a public key, and whom it may reach."""

    client_id: str
    agent: str
    secret: str | None = None
    public_jwk: Mapping[str, Any] | None = None
    audiences: frozenset[str] = frozenset()

    def check_client_secret(self, client_secret: str) -> bool:
        return self.secret is not None and secrets.compare_digest(self.secret, client_secret)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == ("client_secret_basic" if self.secret is not None else ASSERTION)

    def check_grant_type(self, grant_type: str) -> bool:
        return bool(grant_type == EXCHANGE)


@dataclass
class Issuer:
    """What the server signs with and remembers. `tamper` lets a test make it misbehave."""

    url: str = ""
    keys: list[ECKey] = field(default_factory=list)
    clients: dict[str, Client] = field(default_factory=dict)
    assertions: set[str] = field(default_factory=set)
    jwks_asked: int = 0
    now: Callable[[], float] = time.time
    tamper: Callable[[Claims], Claims] = dict
    say_scope: bool = True

    def rotate(self, *, keep_old: bool = True) -> None:
        """Sign with a new key from now on; the old one stays published, or is withdrawn."""
        made = ECKey.generate_key("P-256", {"kid": secrets.token_hex(4), "alg": "ES256", "use": "sig"})
        self.keys = [made, *(self.keys if keep_old else [])]

    def jwks(self) -> Claims:
        """The public keys."""
        self.jwks_asked += 1
        return {"keys": [key.as_dict(private=False) for key in self.keys]}

    def sign(self, claims: Mapping[str, Any]) -> str:
        """An access token (RFC 9068)."""
        now = int(self.now())
        whole = {"iss": self.url, "iat": now, "exp": now + LIFE, "jti": secrets.token_hex(8), **claims}
        return jwt.encode({"alg": "ES256", "kid": self.keys[0].kid, "typ": "at+jwt"}, whole, self.keys[0])

    def read(self, token: str) -> Claims:
        """The claims of one of this server's own tokens."""
        try:
            claims = jwt.decode(token, KeySet([*self.keys]), algorithms=["ES256"]).claims
        except (JoseError, ValueError) as error:
            raise InvalidGrantError("not a token of this server") from error
        if claims["exp"] <= self.now():
            raise InvalidGrantError("the token has ended")
        return claims


class TokenExchangeGrant(BaseGrant, TokenEndpointMixin):
    """RFC 8693: the subject stays, the calling client becomes the actor, nothing grows."""

    GRANT_TYPE = EXCHANGE
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", ASSERTION)

    def validate_token_request(self) -> None:
        self.request.client = client = self.authenticate_token_endpoint_client()
        form = self.request.payload.data
        if form.get("subject_token_type") != ACCESS_TOKEN or "subject_token" not in form:
            raise InvalidRequestError("subject_token and its type are required")
        self.subject = self.server.issuer.read(form["subject_token"])
        self.audience = self.request.payload.datalist.get("audience", [])
        if not self.audience or not client.audiences.issuperset(self.audience):
            raise InvalidGrantError("this client does not reach that audience")
        had = set(self.subject.get("scope", "").split())
        self.scopes = set((form.get("scope") or self.subject.get("scope", "")).split())
        if not self.scopes <= had:
            raise InvalidScopeError()
        may_act = self.subject.get("may_act")
        if may_act is not None and may_act.get("sub") != client.agent:
            raise InvalidGrantError("the subject token does not let this client act")

    def create_token_response(self) -> tuple[int, Claims, Any]:
        issuer, client = self.server.issuer, self.request.client
        act: Claims = {"sub": client.agent}
        before = self.subject.get("act")
        if before is not None:
            act = before if before["sub"] == client.agent else {**act, "act": before}
        claims = {
            "sub": self.subject["sub"],
            "aud": self.audience[0] if len(self.audience) == 1 else self.audience,
            "client_id": client.client_id,
            "scope": " ".join(sorted(self.scopes)),
            "exp": self.subject["exp"],
            "act": act,
        }
        claims = issuer.tamper(claims)
        body = {
            "access_token": issuer.sign(claims),
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": max(0, int(claims["exp"] - issuer.now())),
        }
        if issuer.say_scope and "scope" in claims:
            body["scope"] = claims["scope"]
        return 200, body, self.TOKEN_RESPONSE_HEADER


class SignedAssertion(JWTBearerClientAssertion):
    """`private_key_jwt`: the client signs for this endpoint, each assertion once."""

    def __init__(self, issuer: Issuer) -> None:
        super().__init__()
        self.issuer = issuer

    def get_audiences(self) -> list[str]:
        return [f"{self.issuer.url}/token", self.issuer.url]

    def validate_jti(self, claims: Claims, jti: str) -> bool:
        fresh = jti not in self.issuer.assertions
        self.issuer.assertions.add(jti)
        return fresh

    def process_assertion_claims(self, assertion: str, resolve_key: Any) -> Claims:
        try:
            claims: Claims = jwt.decode(assertion, resolve_key, algorithms=["Ed25519"]).claims
        except (JoseError, ValueError) as error:
            raise InvalidClientError(description="the assertion is not the client's") from error
        self.verify_claims(claims)
        return claims

    def resolve_client_public_key(self, client: Client) -> Mapping[str, Any]:
        return client.public_jwk or {}


class LocalServer(AuthorizationServer):
    """Authlib's server, over the standard library's HTTP server in place of a web framework."""

    def __init__(self, issuer: Issuer) -> None:
        super().__init__()
        self.issuer = issuer
        self.register_grant(TokenExchangeGrant)
        self.register_client_auth_method(ASSERTION, SignedAssertion(issuer))

    def query_client(self, client_id: str) -> Client | None:
        return self.issuer.clients.get(client_id)

    def save_token(self, token: Claims, request: OAuth2Request) -> None:
        """Tokens are self-contained; nothing is kept."""

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: Any) -> OAuth2Request:
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> tuple[int, Any]:
        return status, body


class Request(OAuth2Request):
    """One POST as Authlib reads it. It insists on https, which a proxy in front would speak."""

    def __init__(self, body: str, headers: Mapping[str, str], url: str) -> None:
        super().__init__("POST", url.replace("http://", "https://", 1), headers=dict(headers))
        several = parse_qs(body)
        self.payload = BasicOAuth2Payload({name: values[0] for name, values in several.items()})
        self.payload._datalist = several

    @property
    def form(self) -> Mapping[str, str]:
        return self.payload.data


class Handler(BaseHTTPRequestHandler):
    """`POST /token`, `GET /jwks.json`, and the metadata that names both."""

    server: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        oauth: LocalServer = self.server.oauth
        headers = {name.title(): value for name, value in self.headers.items()}
        try:
            status, answer = oauth.create_token_response(Request(body, headers, f"{oauth.issuer.url}{self.path}"))
        except OAuth2Error as error:
            status, answer, _ = error()
        self._answer(status, dict(answer))

    def do_GET(self) -> None:
        issuer: Issuer = self.server.oauth.issuer
        pages: dict[str, Callable[[], Claims]] = {
            "/jwks.json": issuer.jwks,
            "/.well-known/oauth-authorization-server": lambda: {
                "issuer": issuer.url,
                "jwks_uri": f"{issuer.url}/jwks.json",
                "token_endpoint": f"{issuer.url}/token",
            },
        }
        found = pages.get(self.path)
        self._answer(200, found()) if found is not None else self._answer(404, {"error": "not_found"})

    def _answer(self, status: int, body: Claims) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class says so
        """Quiet."""


@contextmanager
def running(*clients: Client) -> Iterator[Issuer]:
    """The server on a free port of this machine, with these clients, until the block ends."""
    issuer = Issuer(clients={client.client_id: client for client in clients})
    issuer.rotate()
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    issuer.url = f"http://127.0.0.1:{http.server_port}"
    http.oauth = LocalServer(issuer)  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        http.shutdown()
        http.server_close()
        thread.join(5)
