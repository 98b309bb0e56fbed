"""A grant leaves as a token and comes in as one: signed, bound, for one audience, and never wider than it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import remit
from remit.authority.source import read_grant
from remit.authority.templates import instantiate
from remit.authority.terms import GrantTerms, issue_terms
from remit.errors import GrantError, IdentityError, UsageError
from remit.signing import SigningKey
from remit.testing import Clock, denies, permits
from remit.tokens import TokenVerifier, prove
from remit.tokens.jose import b64url, jwk_of, private_jwk, sign
from remit.tokens.projection import DETAILS_TYPE, TOKEN_TYPE, constraint_in, content_from, details_of, grant_claims
from tests.stores import temporary
from tests.tokens.conftest import GRANT, TRIAGE, data, everything

OTHER = "https://tools.acme.com"


def claims_of(token: str) -> dict[str, Any]:
    """What it says, unverified."""
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def deployment_verifier(app: remit.App, audience: str = OTHER, *, single_use: bool = False) -> TokenVerifier:
    """What another deployment would be configured with: our name, our keys."""
    return TokenVerifier(
        app.ledger.origin, audience, app.jwks(), types=[TOKEN_TYPE], algorithms=["EdDSA"], single_use=single_use
    )


def bent(app: remit.App, token: str, change: Callable[[dict[str, Any]], object]) -> str:
    """The token with other claims, signed anew by the deployment's own key."""
    claims = claims_of(token)
    change(claims)
    key = app.deployment.issue_key
    assert key is not None
    return sign(key, claims, typ=TOKEN_TYPE)


class TestOut:
    """`app.token`."""

    def test_says_whose_for_whom_and_what(self, app: remit.App, grant: remit.Grant) -> None:
        """RFC 8693 act, RFC 7800 cnf, RFC 9396 details, and the chain's depth."""
        holder = SigningKey.generate()
        token = app.token(grant, audience=OTHER, confirm=jwk_of(holder.public), credential="user:alice@acme.com")
        claims = claims_of(token)

        assert jwt.get_unverified_header(token)["alg"] == "EdDSA"
        assert jwt.get_unverified_header(token)["typ"] == TOKEN_TYPE
        assert (claims["iss"], claims["aud"], claims["sub"]) == (app.ledger.origin, OTHER, "user:alice@acme.com")
        assert claims["act"] == {"sub": TRIAGE}
        assert claims["cnf"]["jwk"]["x"] == jwk_of(holder.public)["x"]
        assert (claims["del_depth"], claims["del_max_depth"]) == (0, 1)
        assert claims["exp"] == int(grant.expires.timestamp())
        [details] = claims["authorization_details"]
        assert details["type"] == DETAILS_TYPE
        small = details["tools"]["billing.post"][0]
        assert small["arguments"]["invoice"] == {"constraint_type": "exact", "value": 42}
        assert small["arguments"]["amount"]["constraints"] == [
            {"constraint_type": "range", "min": 1},
            {"constraint_type": "remit:below", "bound": 20},
        ]

    def test_is_on_record_by_digest_only(self, app: remit.App, grant: remit.Grant) -> None:
        """The ledger can tell that it was this token, and cannot give it away."""
        token = app.token(grant, audience=OTHER, expires_in="5m", credential="user:alice@acme.com")
        [record] = data(app, "token.issued")

        assert record["grant"] == grant.id
        assert record["audience"] == [OTHER]
        assert record["digest"] == app.ledger.keyed("token", token)
        assert record["by"]["subject"] == "user:alice@acme.com"
        assert token not in everything(app)
        assert token.rpartition(".")[2] not in everything(app)
        app.verify()

    def test_ends_with_its_grant_or_sooner(self, app: remit.App, grant: remit.Grant, clock: Clock) -> None:
        """Nothing outlives the authority."""
        short = claims_of(app.token(grant, audience=OTHER, expires_in="5m"))
        assert short["exp"] - short["iat"] == 300
        clock.forward(minutes=21)
        with pytest.raises(GrantError, match="has ended"):
            app.token(grant, audience=OTHER)

    def test_of_a_revoked_grant_is_not_issued(self, app: remit.App, grant: remit.Grant) -> None:
        """A signature would say that it is in force."""
        app.revoke(grant.id, reason="done", credential="user:alice@acme.com")
        with pytest.raises(GrantError, match="revoked"):
            app.token(grant, audience=OTHER)

    @pytest.mark.parametrize("confirm", [{"kty": "oct", "k": "AA"}, {"kty": "OKP", "crv": "Ed25519"}, {}])
    def test_is_bound_to_public_keys_only(self, confirm: Any, app: remit.App, grant: remit.Grant) -> None:
        """A key that nobody could prove, or that is a secret, is refused before anything is signed."""
        with pytest.raises(IdentityError):
            app.token(grant, audience=OTHER, confirm=confirm)
        with pytest.raises(IdentityError, match="private"):
            app.token(grant, audience=OTHER, confirm=private_jwk(SigningKey.generate()))
        assert data(app, "token.issued") == []

    def test_needs_a_handle_that_may_issue_and_an_audience(
        self, app: remit.App, grant: remit.Grant, tmp_path: Path
    ) -> None:
        """An agent's process cannot sign."""
        with pytest.raises(UsageError, match="meant for somebody"):
            app.token(grant, audience=[])
        with (
            remit.open(app.url, can={"session"}, development=True) as agent,
            pytest.raises(UsageError, match="cannot issue"),
        ):
            agent.token(grant, audience=OTHER)


@pytest.mark.requirement("R5")
def test_handed_on_grant_names_every_agent_on_the_way() -> None:
    """The acting agent outside, who handed it on inside; depth so far and in all; the parent's terms by digest."""
    now = datetime.now(UTC)

    def terms(agent: str, depth: int, parent: str | None) -> GrantTerms:
        result = instantiate(read_grant({**GRANT, "agent": agent, "delegation": {"depth": depth}}), {})
        name = f"g-{agent.removeprefix('agent:')}"
        return issue_terms(result, grant_id=name, version=1, issued_at=now, issuer="user:a@acme.com", parent=parent)

    root = terms("agent:one", 2, None)
    child = terms("agent:two", 1, root.id)
    claims = grant_claims([root, child])
    assert claims["act"] == {"sub": "agent:two", "act": {"sub": "agent:one"}}
    assert (claims["del_depth"], claims["del_max_depth"]) == (1, 2)
    assert claims["par_hash"] == b64url(bytes.fromhex(root.digest.removeprefix("sha256:")))
    assert "par_hash" not in grant_claims([root])


class TestIn:
    """`app.session(token=…)` where the grant was issued."""

    def test_opens_a_session_under_the_grant(self, app: remit.App, grant: remit.Grant) -> None:
        """In another process, which may do nothing else."""
        token = app.token(grant, audience=app.ledger.origin)
        with remit.open(app.url, can={"session"}, development=True) as agent, agent.session(token=token) as session:
            assert session.grant_id == grant.id
            assert session.call("billing.get", {"invoice": 42}, run=lambda invoice: invoice) == 42
        [opened] = data(app, "session.opened")
        assert opened["known"] == {"principal": "token", "agent": "token", "workload": "claimed"}
        assert opened["token"]["digest"] == app.ledger.keyed("token", token)
        assert token not in everything(app)

    @pytest.mark.requirement("code:audience_mismatch")
    def test_for_another_audience_is_refused(self, app: remit.App, grant: remit.Grant) -> None:
        """The refusal is on record."""
        token = app.token(grant, audience=OTHER)
        with pytest.raises(IdentityError, match="meant for") as refused, app.session(token=token):
            pass
        assert refused.value.code == "audience_mismatch"
        assert [failed["code"] for failed in data(app, "auth.failed")] == ["audience_mismatch"]
        assert data(app, "session.opened") == []

    def test_opens_one_session_and_no_second(self, app: remit.App, grant: remit.Grant) -> None:
        """The same jti again is a replay; a keyed session may be rejoined with it."""
        token = app.token(grant, audience=app.ledger.origin)
        with app.session(token=token, key="thread:1"):
            pass
        with app.session(token=token, key="thread:1"):
            pass
        with pytest.raises(IdentityError, match="used before"), app.session(token=token):
            pass
        assert len(data(app, "session.opened")) == 1
        assert len(data(app, "auth.failed")) == 1

    def test_bound_to_a_key_needs_a_fresh_proof(self, app: remit.App, grant: remit.Grant, clock: Clock) -> None:
        """By that key, for that token, for us, of this minute, once."""
        holder, thief, us = SigningKey.generate(), SigningKey.generate(), app.ledger.origin
        token = app.token(grant, audience=us, confirm=jwk_of(holder.public))
        other = app.token(grant, audience=us, confirm=jwk_of(holder.public))
        good = prove(token, holder, audience=us, now=clock.now)
        wrong = {
            "needs": None,
            "signature": prove(token, thief, audience=us, now=clock.now),
            "another token": prove(other, holder, audience=us, now=clock.now),
            "somebody else": prove(token, holder, audience=OTHER, now=clock.now),
            "this minute": prove(token, holder, audience=us, now=clock.now.replace(year=2020)),
            "type": token,
        }
        for proof in wrong.values():
            with pytest.raises(IdentityError):
                app.session(token=token, proof=proof).open()

        assert app.grant_of(token, proof=good).id == grant.id
        with pytest.raises(IdentityError, match="used before"):
            app.session(token=token, proof=good).open()
        app.session(token=token, proof=prove(token, holder, audience=us, now=clock.now)).open()

    def test_access_token_is_no_grant(self, app: remit.App, grant: remit.Grant) -> None:
        """The type of token is part of what is signed."""
        key = app.deployment.issue_key
        assert key is not None
        token = sign(key, claims_of(app.token(grant, audience=app.ledger.origin)), typ="at+jwt")
        with pytest.raises(IdentityError, match="of type"):
            app.session(token=token).open()

    def test_revoked_grant_authorises_nothing(self, app: remit.App, grant: remit.Grant) -> None:
        """A good token of a withdrawn grant opens nothing."""
        token = app.token(grant, audience=app.ledger.origin)
        app.revoke(grant.id, reason="done", credential="user:alice@acme.com")
        with pytest.raises(remit.Denied) as refused:
            app.session(token=token).open()
        assert refused.value.code == "grant_revoked"

    def test_after_its_end_is_refused(self, app: remit.App, grant: remit.Grant, clock: Clock) -> None:
        """By the ledger's clock."""
        token = app.token(grant, audience=app.ledger.origin, expires_in="1m")
        clock.forward(minutes=2)
        with pytest.raises(IdentityError, match="ended at"):
            app.session(token=token).open()


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(claims: dict[str, Any]) -> None:
        *way, last = path.split("/")
        node: Any = claims
        for step in way:
            node = node[int(step)] if isinstance(node, list) else node[step]
        node[last] = value

    return change


POST = "authorization_details/0/tools/billing.post/0"
BENT: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown constraint type": (
        _set(f"{POST}/arguments/invoice", {"constraint_type": "cel", "expression": "true"}),
        "type 'cel', which is not known here",
    ),
    "unknown extension": (
        _set(f"{POST}/arguments/invoice", {"constraint_type": "remit:magic", "bound": 1}),
        "not known",
    ),
    "constraint without a type": (_set(f"{POST}/arguments/invoice", {"value": 42}), "no constraint_type"),
    "member that nobody knows": (
        _set(f"{POST}/arguments/invoice", {"constraint_type": "exact", "value": 42, "or": 43}),
        "other members",
    ),
    "wildcard with a member": (_set(f"{POST}/arguments/invoice", {"constraint_type": "wildcard", "x": 1}), "not known"),
    "range without an edge": (_set(f"{POST}/arguments/invoice", {"constraint_type": "range"}), "not known"),
    "constraint in a list": (_set(f"{POST}/arguments/invoice", []), "no constraint_type"),
    "another type of details": (_set("authorization_details/0/type", "payment_initiation"), "details are of type"),
    "two entries": (lambda claims: claims["authorization_details"].append({}), "one entry"),
    "no entries": (_set("authorization_details", []), "one entry"),
    "no tools": (_set("authorization_details/0/tools", {}), "names no tools"),
    "no clauses": (_set("authorization_details/0/tools/billing.get", []), "no list of clauses"),
    "key that nobody knows": (_set("authorization_details/0/also", "any"), "unknown keys: also"),
    "other principal": (_set("sub", "user:mallory@acme.com"), "whose grant"),
    "other agent": (_set("act", {"sub": "agent:mallory"}), "whose grant"),
    "no agent": (lambda claims: claims.pop("act"), "no act"),
    "no grant": (lambda claims: claims.pop("grant"), "names no grant"),
    "no jti": (lambda claims: claims.pop("jti"), "no jti"),
}


@pytest.mark.parametrize("name", BENT)
def test_token_that_is_not_understood_whole_authorises_nothing(name: str, app: remit.App, grant: remit.Grant) -> None:
    """Even one that is signed with the right key."""
    change, reason = BENT[name]
    token = bent(app, app.token(grant, audience=app.ledger.origin), change)
    with pytest.raises(IdentityError, match=reason):
        app.session(token=token).open()
    assert data(app, "session.opened") == []


class TestAcrossDeployments:
    """`app.accept`: the grant of another ledger, taken over."""

    @pytest.fixture
    def other(self, tmp_path: Path, clock: Clock) -> Any:
        """A second deployment, which believes the first."""
        folder = tmp_path / "other"
        folder.mkdir()
        with temporary(folder, clock=clock) as opened:
            yield opened

    def test_same_calls_are_permitted_there(self, app: remit.App, grant: remit.Grant, other: remit.App) -> None:
        """And the same are refused; the record says where it came from."""
        token, believed = app.token(grant, audience=OTHER), deployment_verifier(app)
        taken = other.accept(token, verifier=believed, credential="user:op@acme.com")

        assert (taken.principal, taken.agent, taken.task) == (grant.principal, grant.agent, grant.task)
        assert abs(taken.expires - grant.expires).total_seconds() < 1
        with other.session(token=token, verifier=believed) as session:
            assert session.grant_id == taken.id
            permits(session, "billing.get", {"invoice": 42})
            permits(session, "billing.post", {"invoice": 42, "amount": 19})
            denies(session, "billing.get", {"invoice": 43}, "argument_out_of_bounds")
            denies(session, "billing.put", {}, "tool_not_granted")
            assert session.explain("billing.post", {"invoice": 42, "amount": 30}).effect == "ask"
        [issued] = data(other, "grant.issued")
        assert issued["from_token"]["issuer"] == app.ledger.origin
        assert issued["from_token"]["of"] == grant.id
        assert token not in everything(other)
        other.verify()

    def test_accepting_twice_gives_one_grant_with_one_budget(
        self, app: remit.App, grant: remit.Grant, other: remit.App
    ) -> None:
        """A fresh token of the same grant does not bring fresh limits."""
        believed = deployment_verifier(app)
        taken = {
            other.accept(app.token(grant, audience=OTHER), verifier=believed, credential="user:op@acme.com").id
            for _ in range(3)
        }
        assert len(taken) == 1

    def test_without_acceptance_there_is_no_session(self, app: remit.App, grant: remit.Grant, other: remit.App) -> None:
        """A verified token is no permission to import authority."""
        with pytest.raises(GrantError, match="was not accepted here"):
            other.session(token=app.token(grant, audience=OTHER), verifier=deployment_verifier(app)).open()

    def test_by_whom_nobody_trusts_is_refused(self, app: remit.App, grant: remit.Grant, other: remit.App) -> None:
        """Its own verifier believes itself only."""
        with pytest.raises(IdentityError):
            other.accept(app.token(grant, audience=OTHER), verifier=other.verifier(OTHER))

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (_set("del_max_depth", 5), "two things of how deep"),
            (_set("del_depth", -1), "how deep"),
            (_set("authorization_details/0/delegation", {"depth": 9, "may_use": True}), "two things"),
            (_set(f"{POST}/arguments/invoice", {"constraint_type": "remit:matches", "bound": "("}), "matches"),
        ],
    )
    def test_contradiction_is_refused(
        self, change: Any, reason: str, app: remit.App, grant: remit.Grant, other: remit.App
    ) -> None:
        """Depth is said twice, and has to be said alike; bounds are read as strictly as in a file."""
        token = bent(app, app.token(grant, audience=OTHER), change)
        with pytest.raises((IdentityError, GrantError), match=reason):
            other.accept(token, verifier=deployment_verifier(app), credential="user:op@acme.com")
        assert data(other, "grant.issued") == []


CONSTRAINTS: list[Any] = [
    "any",
    "text",
    7,
    2.5,
    2.0,
    True,
    ["a", "b"],
    {"not_one_of": ["a"]},
    {"min": 1, "max": 9},
    {"above": 1, "below": 9},
    {"type": "integer", "min": 2},
    {"like": "a*"},
    {"matches": "[a-z]+"},
    {"max_len": 3},
    {"under": "/srv"},
    {"url": {"hosts": ["acme.com"]}},
    {"email": {"domains": ["acme.com"]}},
    {"subset": ["a", "b"]},
    {"contains": ["a"]},
    {"each": {"max_len": 3}},
    {"keys": {"a": 1, "b": {"optional": True, "any": True}}},
    {"absent": True},
    {"any_of": [1, "x", {"above": 3}]},
    {"all_of": [{"min": 1}, {"max": 3}]},
    {"optional": True, "eq": "x"},
    9007199254740993,
    "self",
    {"one_of": ["self", "b@acme.com"]},
]


@given(st.lists(st.sampled_from(CONSTRAINTS), min_size=1, max_size=6), st.booleans())
def test_grant_comes_back_from_its_claims_as_it_was(bounds: list[Any], any_others: bool) -> None:
    """Every constraint word survives the way through JSON, whatever it stands beside."""
    document = {
        **GRANT,
        "self": ["alice@acme.com"],
        "limits": {"calls": 9, "shared": [{"tools": ["a.b", "c.d"], "calls": 2}]},
        "tools": {
            "a.b": {
                "arguments": {f"x{number}": bound for number, bound in enumerate(bounds)},
                "resources": ["read crm://tickets/*"],
                **({"other_arguments": "any"} if any_others else {}),
            },
            "c.d": "any",
        },
    }
    result = instantiate(read_grant(document), {})
    terms = issue_terms(result, grant_id="g-1", version=1, issued_at=datetime.now(UTC), issuer="user:a@acme.com")
    back = content_from(json.loads(json.dumps({"authorization_details": [details_of(terms)]})))
    content = terms.document.to_json()
    assert back == {name: content[name] for name in back}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_json_but_a_constraint_is_read_as_one(node: Any) -> None:
    """Anything else is refused with a sentence, never with a traceback."""
    with pytest.raises(IdentityError):
        constraint_in(node)
