"""People whom an identity provider vouches for: the same acts, the same roles file, another proof."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import remit
from remit import Credential
from remit.errors import IdentityError, UsageError
from remit.testing import Clock
from remit.tokens import TokenVerifier
from tests.stores import temporary
from tests.tokens.conftest import GRANT, ISSUER, US, TestIssuer, data, everything


@pytest.fixture
def strict(tmp_path: Path, clock: Clock) -> Iterator[remit.App]:
    """Not a development app: only what is proved counts."""
    people = {"bob@acme.com": {"roles": ["finance"]}, "alice@acme.com": {"roles": ["support"]}}
    with temporary(tmp_path, clock=clock, development=False, people=people) as opened:
        yield opened


def person(issuer: TestIssuer, verifier: TokenVerifier, who: str, **changed: Any) -> Credential:
    """Somebody signed in at the provider."""
    return Credential.from_token(issuer.sign(sub=who, act=None, **changed), verifier)


@pytest.mark.requirement("I5")
def test_token_proves_who_issues_and_who_approves(
    strict: remit.App, issuer: TestIssuer, verifier: TokenVerifier
) -> None:
    """The record names issuer, key and keyed digest; roles are those of the people file."""
    alice, bob = person(issuer, verifier, "alice@acme.com"), person(issuer, verifier, "bob@acme.com", roles=["admin"])
    grant = strict.issue(GRANT, credential=alice)
    with strict.session(grant) as session:
        with pytest.raises(remit.ApprovalRequired) as asked:
            session.call("billing.post", {"invoice": 42, "amount": 30}, run=lambda **_: "done")
        strict.approve(asked.value.approval_id, credential=bob)
        assert session.resume(asked.value.approval_id, run=lambda **_: "done") == "done"

    [issued] = data(strict, "grant.issued")
    assert issued["issuer"] | {"token": "", "key": ""} == {
        "subject": "user:alice@acme.com",
        "authenticated": True,
        "method": "token",
        "roles": ["support"],
        "issuer": ISSUER,
        "token": "",
        "key": "",
    }
    assert data(strict, "approval.decided")[0]["by"]["roles"] == ["finance"]
    assert data(strict, "session.opened")[0]["known"]["principal"] == "token"
    assert issuer.sign(sub="alice@acme.com", act=None).rpartition(".")[2] not in everything(strict)


def test_role_that_only_the_token_claims_is_none(
    strict: remit.App, issuer: TestIssuer, verifier: TokenVerifier
) -> None:
    """Whoever can make the provider say "finance" cannot make the people file say it."""
    alice = person(issuer, verifier, "alice@acme.com")
    eve = person(issuer, verifier, "eve@acme.com", roles=["finance"], groups=["finance"])
    grant = strict.issue(GRANT, credential=alice)
    with strict.session(grant) as session:
        with pytest.raises(remit.ApprovalRequired) as asked:
            session.call("billing.post", {"invoice": 42, "amount": 30}, run=lambda **_: "done")
        with pytest.raises(IdentityError):
            strict.approve(asked.value.approval_id, credential=eve)


def test_token_that_ended_meanwhile_proves_nothing(
    strict: remit.App, issuer: TestIssuer, verifier: TokenVerifier, clock: Clock
) -> None:
    """It was good when the person signed in."""
    alice = person(issuer, verifier, "alice@acme.com", exp=int(time.time()) + 60)
    clock.forward(minutes=2)
    with pytest.raises(IdentityError, match="ended at"):
        strict.issue(GRANT, credential=alice)
    assert data(strict, "grant.issued") == []


@pytest.mark.requirement("I8")
def test_token_in_an_agents_hands_is_no_persons_act(
    strict: remit.App, issuer: TestIssuer, verifier: TokenVerifier
) -> None:
    """With `act` it says that an agent acts for Alice; agents do not issue or approve."""
    delegated = Credential.from_token(issuer.sign(), verifier)
    with pytest.raises(IdentityError, match="acts for alice@"):
        strict.issue(GRANT, credential=delegated)


def test_token_that_serves_once_serves_one_act(strict: remit.App, issuer: TestIssuer) -> None:
    """And without a jti it serves none."""
    once = TokenVerifier(ISSUER, US, issuer.jwks, single_use=True)
    alice = person(issuer, once, "alice@acme.com")
    strict.issue(GRANT, credential=alice)
    with pytest.raises(IdentityError, match="used before"):
        strict.issue(GRANT, credential=alice)
    with pytest.raises(IdentityError, match="no jti"):
        strict.issue(GRANT, credential=person(issuer, once, "alice@acme.com", jti=None))


def test_signing_in_is_recorded_either_way(
    strict: remit.App, issuer: TestIssuer, verifier: TokenVerifier, clock: Clock
) -> None:
    """`app.authenticate` takes either credential."""
    alice = person(issuer, verifier, "alice@acme.com", exp=int(time.time()) + 60)
    assert strict.authenticate(alice) == "user:alice@acme.com"
    clock.forward(minutes=5)
    with pytest.raises(IdentityError):
        strict.authenticate(alice)
    assert data(strict, "auth.succeeded")[0]["by"]["method"] == "token"
    assert data(strict, "auth.failed")[0]["method"] == "token"


def test_token_has_no_key_to_enrol_or_sign_with(issuer: TestIssuer, verifier: TokenVerifier) -> None:
    """And shows nothing of itself."""
    alice = person(issuer, verifier, "alice@acme.com")
    assert repr(alice) == f"Credential('user:alice@acme.com', token of {ISSUER})"
    with pytest.raises(UsageError, match="no key to enrol"):
        _ = alice.public_key
    with pytest.raises(UsageError, match="signs nothing"):
        alice.sign(b"x")
