"""What the tests of tokens share: an issuer whose tokens a test can bend, and an app with a grant to hand on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import remit
from remit.signing import SigningKey
from remit.testing import Clock
from remit.tokens import TokenVerifier
from remit.tokens.jose import jwk_of
from tests.stores import temporary

ISSUER = "https://login.acme.com"
US = "https://agents.acme.com"
TRIAGE, BILLING = "spiffe://acme.com/agents/triage", "spiffe://acme.com/agents/billing"

GRANT: dict[str, Any] = {
    "task": "Refund invoice 42",
    "principal": "user:alice@acme.com",
    "agent": TRIAGE,
    "expires_in": "20m",
    "delegation": {"depth": 1},
    "tools": {
        "billing.get": {"arguments": {"invoice": 42}},
        "billing.post": [
            {"name": "small", "arguments": {"invoice": 42, "amount": {"min": 1, "below": 20}}, "limits": {"calls": 1}},
            {
                "name": "large",
                "arguments": {"invoice": 42, "amount": {"min": 20, "max": 50}},
                "approval": {"by": "role:finance"},
            },
        ],
    },
}


class TestIssuer:
    """Signs with PyJWT, on the test's own terms: any header, any claims."""

    __test__ = False

    def __init__(self) -> None:
        self.key = SigningKey.generate()
        self.private = Ed25519PrivateKey.from_private_bytes(self.key.seed())

    @property
    def jwks(self) -> dict[str, Any]:
        """Its key set."""
        return {"keys": [jwk_of(self.key.public)]}

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Those of a good access token; a change to None leaves the claim out."""
        now = int(time.time())
        found = {
            "iss": ISSUER,
            "sub": "alice@acme.com",
            "aud": US,
            "iat": now,
            "exp": now + 600,
            "jti": "t-1",
            "scope": "invoices:read",
            "act": {"sub": TRIAGE},
            **changed,
        }
        return {name: value for name, value in found.items() if value is not None}

    def sign(self, headers: Mapping[str, Any] | None = None, **changed: Any) -> str:
        """A token."""
        return jwt.encode(
            self.claims(**changed),
            self.private,
            algorithm="EdDSA",
            headers={"kid": self.key.key_id, "typ": "at+jwt", **(headers or {})},
        )


@pytest.fixture
def issuer() -> TestIssuer:
    """An identity provider."""
    return TestIssuer()


@pytest.fixture
def verifier(issuer: TestIssuer) -> TokenVerifier:
    """What believes that provider's tokens for us."""
    return TokenVerifier(ISSUER, US, issuer.jwks)


@pytest.fixture
def clock() -> Clock:
    """A clock that stands until the test moves it."""
    return Clock()


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> Iterator[remit.App]:
    """A development app."""
    with temporary(tmp_path, clock=clock, people={"bob@acme.com": {"roles": ["finance"]}}) as opened:
        yield opened


@pytest.fixture
def grant(app: remit.App) -> remit.Grant:
    """Alice's grant for the triage agent."""
    return app.issue(GRANT, credential="user:alice@acme.com")


def data(app: remit.App, kind: str) -> list[dict[str, Any]]:
    """Leaf data of every record of one type."""
    return [record.data for record in app.records() if record.type == kind]


def everything(app: remit.App) -> str:
    """All that the ledger holds, read and unread, as one text: where no token may be."""
    return "\n".join(f"{record.body!r} {record.disclosed()!r}" for record in app.records())
