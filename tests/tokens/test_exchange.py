"""Token exchange with a real authorisation server: what survives it, what is refused, what is on record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from examples.scenarios.authorization_server import Client, Issuer, running

import remit
from remit.errors import DelegationWidened, GrantError, IdentityError, UsageError
from remit.parties import Workload
from remit.signing import SigningKey
from remit.testing import Clock
from remit.tokens import TokenEndpoint, TokenVerifier
from remit.tokens.jose import jwk_of
from tests.tokens.conftest import BILLING, GRANT, TRIAGE, US, data, everything

API = "https://billing.acme.com"
SECRET = "s3cret-of-the-billing-agent"
MAILER = "spiffe://acme.com/agents/mailer"
MAILER_KEY = SigningKey.generate()


@pytest.fixture
def idp() -> Iterator[Issuer]:
    """An authorisation server on this machine."""
    clients = (
        Client("billing-agent", BILLING, secret=SECRET, audiences=frozenset({API, "https://ledger.acme.com"})),
        Client(
            "mailer",
            MAILER,
            public_jwk={**jwk_of(MAILER_KEY.public), "alg": "Ed25519"},
            audiences=frozenset({"https://mail.acme.com"}),
        ),
    )
    with running(*clients) as issuer:
        yield issuer


@pytest.fixture
def believed(idp: Issuer) -> TokenVerifier:
    """Whose access tokens this deployment believes."""
    return TokenVerifier.discover(idp.url, US)


@pytest.fixture
def endpoint(idp: Issuer) -> TokenEndpoint:
    """The billing agent's way to exchange."""
    return TokenEndpoint(f"{idp.url}/token", client_id="billing-agent", client_secret=SECRET)


def first(idp: Issuer, **changed: Any) -> str:
    """Alice's access token in the triage agent's hands."""
    claims = {
        "sub": "alice@acme.com",
        "aud": US,
        "client_id": "triage",
        "scope": "invoices:read refunds:write",
        "act": {"sub": TRIAGE},
        **changed,
    }
    return idp.sign({name: value for name, value in claims.items() if value is not None})


class TestAllowed:
    """An exchange that gives no more."""

    @pytest.mark.requirement("R5")
    def test_keeps_subject_and_workload_and_adds_the_actor(
        self, app: remit.App, grant: remit.Grant, idp: Issuer, believed: TokenVerifier, endpoint: TokenEndpoint
    ) -> None:
        """Calls before it name the first agent, calls after it both, in their order."""
        token = first(idp)
        workload = Workload("spiffe://acme.com/workloads/7", "spiffe", "spiffe://acme.com")
        with app.session(grant, token=token, verifier=believed, workload=workload) as session:
            session.call("billing.get", {"invoice": 42}, run=lambda invoice: invoice)
            given = session.exchange(token, endpoint=endpoint, verifier=believed, audience=API, scope=["invoices:read"])
            session.call("billing.get", {"invoice": 42}, run=lambda invoice: invoice)

        assert given.actors == (TRIAGE, BILLING)
        assert given.scopes == {"invoices:read"}
        assert given.headers == {"authorization": f"Bearer {given.token}"}
        before, after = data(app, "call.intent")
        digests = [app.ledger.keyed("token", text) for text in (token, given.token)]
        assert before["delegation"]["actors"] == [TRIAGE]
        assert before["delegation"]["tokens"] == digests[:1]
        assert after["delegation"] == {
            "subject": "alice@acme.com",
            "actors": [TRIAGE, BILLING],
            "audience": [API],
            "tokens": digests,
            "exchange": given.record_id,
        }
        for call in (before, after):
            assert (call["principal"], call["workload"]) == ("user:alice@acme.com", workload.id)
            assert call["known"] == {"principal": "token", "agent": "token", "workload": "spiffe"}
        [record] = data(app, "identity.exchanged")
        assert record["effect"] == "permit"
        assert record["from"]["scopes"] == ["invoices:read", "refunds:write"]
        assert record["to"]["scopes"] == ["invoices:read"]
        assert record["actors"] == [TRIAGE, BILLING]
        app.verify()

    def test_no_token_is_in_the_ledger(
        self, app: remit.App, grant: remit.Grant, idp: Issuer, believed: TokenVerifier, endpoint: TokenEndpoint
    ) -> None:
        """Neither whole nor its signature, neither in a leaf nor in what can be erased; and no secret."""
        token = first(idp)
        with app.session(grant, token=token, verifier=believed) as session:
            given = session.exchange(token, endpoint=endpoint, verifier=believed, audience=API)
        found = everything(app)
        for text in (token, given.token):
            assert text not in found
            assert text.rpartition(".")[2] not in found
        assert SECRET not in found
        assert given.token not in repr(given)

    def test_may_go_on_through_a_third_agent(
        self, app: remit.App, idp: Issuer, believed: TokenVerifier, endpoint: TokenEndpoint
    ) -> None:
        """Each hop begins with the whole chain before it; the last client proves itself with a key."""
        deep = app.issue({**GRANT, "delegation": {"depth": 2}}, credential="user:alice@acme.com")
        token = first(idp)
        mailer = TokenEndpoint(
            f"{idp.url}/token", client_id="mailer", client_key=MAILER_KEY, client_algorithm="Ed25519"
        )
        with app.session(deep, token=token, verifier=believed) as session:
            second = session.exchange(token, endpoint=endpoint, verifier=believed, audience=API)
            third = session.exchange(
                second.token, endpoint=mailer, verifier=believed.for_audience(API), audience="https://mail.acme.com"
            )
            session.call("billing.get", {"invoice": 42}, run=lambda invoice: invoice)
        assert third.actors == (TRIAGE, BILLING, MAILER)
        [call] = data(app, "call.intent")
        assert call["delegation"]["actors"] == [TRIAGE, BILLING, MAILER]
        assert len(call["delegation"]["tokens"]) == 3

    def test_is_seen_by_whoever_joins_the_session(
        self, app: remit.App, grant: remit.Grant, idp: Issuer, believed: TokenVerifier, endpoint: TokenEndpoint
    ) -> None:
        """The chain belongs to the session, not to the process that made it."""
        token = first(idp)
        with app.session(grant, token=token, verifier=believed, key="thread:1") as session:
            app.exchange(session.id, token, endpoint=endpoint, verifier=believed, audience=API)
        with remit.open(app.url, development=True) as elsewhere, elsewhere.session(grant, key="thread:1") as joined:
            joined.call("billing.get", {"invoice": 42}, run=lambda invoice: invoice)
        assert data(app, "call.intent")[0]["delegation"]["actors"] == [TRIAGE, BILLING]

    def test_survives_a_rotation_of_keys(
        self,
        app: remit.App,
        grant: remit.Grant,
        idp: Issuer,
        believed: TokenVerifier,
        endpoint: TokenEndpoint,
    ) -> None:
        """A token under a new key is verified after one more look at the key set."""
        token = first(idp)
        idp.rotate()
        with app.session(grant, token=token, verifier=TokenVerifier.discover(idp.url, US)) as session:
            assert session.exchange(token, endpoint=endpoint, verifier=believed, audience=API).actors[-1] == BILLING

    def test_scope_that_is_not_said_is_the_one_asked_for(
        self, app: remit.App, grant: remit.Grant, idp: Issuer, believed: TokenVerifier, endpoint: TokenEndpoint
    ) -> None:
        """RFC 8693 section 2.2.1."""
        idp.say_scope = False
        idp.tamper = lambda claims: {name: value for name, value in claims.items() if name != "scope"}
        token = first(idp)
        with app.session(grant, token=token, verifier=believed) as session:
            session.exchange(token, endpoint=endpoint, verifier=believed, audience=API, scope=["invoices:read"])
            idp.say_scope = True
            idp.tamper = lambda claims: {**claims, "scope": "invoices:read admin"}
            with pytest.raises(DelegationWidened, match="admin"):
                session.exchange(token, endpoint=endpoint, verifier=believed, audience=API, scope=["invoices:read"])


Tamper = Callable[[dict[str, Any]], dict[str, Any]]

WIDER: dict[str, tuple[Tamper, list[str]]] = {
    "scope": (lambda c: {**c, "scope": f"{c['scope']} admin"}, ["scope"]),
    "more of the old scope than was asked": (lambda c: {**c, "scope": "invoices:read refunds:write"}, ["scope"]),
    "one audience more": (lambda c: {**c, "aud": [API, "https://vault.acme.com"]}, ["audience"]),
    "another audience": (lambda c: {**c, "aud": "https://vault.acme.com"}, ["audience"]),
    "a longer life": (lambda c: {**c, "exp": int(time.time()) + 7200}, ["expiry"]),
    "another subject": (lambda c: {**c, "sub": "bob@acme.com"}, ["subject"]),
    "no actors any more": (lambda c: {k: v for k, v in c.items() if k != "act"}, ["actors"]),
    "the first actor dropped": (lambda c: {**c, "act": {"sub": BILLING}}, ["actors"]),
    "the first actor replaced": (lambda c: {**c, "act": {"sub": BILLING, "act": {"sub": MAILER}}}, ["actors"]),
    "actors in another order": (lambda c: {**c, "act": {"sub": TRIAGE, "act": {"sub": BILLING}}}, ["actors"]),
    "two actors more": (lambda c: {**c, "act": {"sub": MAILER, "act": c["act"]}}, ["actors"]),
    "details that were not there": (
        lambda c: {**c, "authorization_details": [{"type": "payment", "amount": 1000}]},
        ["authorization_details"],
    ),
    "everything at once": (
        lambda c: {**c, "sub": "bob@acme.com", "scope": "admin", "exp": int(time.time()) + 7200},
        ["expiry", "scope", "subject"],
    ),
}


class TestWidening:
    """An exchange that gives more is refused, whatever the server says."""

    @pytest.mark.requirement("R5")
    @pytest.mark.requirement("code:delegation_widened")
    @pytest.mark.parametrize("name", WIDER)
    def test_is_refused_and_recorded(
        self,
        name: str,
        app: remit.App,
        grant: remit.Grant,
        idp: Issuer,
        believed: TokenVerifier,
        endpoint: TokenEndpoint,
    ) -> None:
        """The token is not handed out, and later calls are attributed as before."""
        idp.tamper, about = WIDER[name]
        token = first(idp)
        with app.session(grant, token=token, verifier=believed) as session:
            with pytest.raises(DelegationWidened) as refused:
                session.exchange(token, endpoint=endpoint, verifier=believed, audience=API, scope=["invoices:read"])
            session.call("billing.get", {"invoice": 42}, run=lambda invoice: invoice)

        assert refused.value.code == "delegation_widened"
        assert len(refused.value.problems) >= len(about)
        [record] = data(app, "identity.exchanged")
        assert (record["effect"], record["code"], record["widened"]) == ("deny", "delegation_widened", about)
        assert len(record["tokens"]) == 2
        assert data(app, "call.intent")[0]["delegation"]["actors"] == [TRIAGE]
        app.verify()

    @pytest.mark.requirement("code:delegation_too_deep")
    def test_to_another_agent_takes_a_grant_that_may_be_handed_on(
        self, app: remit.App, idp: Issuer, believed: TokenVerifier, endpoint: TokenEndpoint
    ) -> None:
        """What the authorisation server allows is not what the principal allowed."""
        own = app.issue({**GRANT, "delegation": {"depth": 0}}, credential="user:alice@acme.com")
        token = first(idp)
        with app.session(own, token=token, verifier=believed) as session, pytest.raises(GrantError) as refused:
            session.exchange(token, endpoint=endpoint, verifier=believed, audience=API)
        assert refused.value.code == "delegation_too_deep"
        assert data(app, "identity.exchanged")[0]["code"] == "delegation_too_deep"

    def test_by_an_actor_whom_the_token_does_not_name_is_refused(
        self, app: remit.App, grant: remit.Grant, idp: Issuer, believed: TokenVerifier, endpoint: TokenEndpoint
    ) -> None:
        """`may_act` (RFC 8693 section 4.4) is held to here too, should the server forget it."""
        token = first(idp, may_act={"sub": BILLING})
        idp.tamper = lambda claims: {**claims, "act": {"sub": MAILER, "act": {"sub": TRIAGE}}}
        with (
            app.session(grant, token=token, verifier=believed) as session,
            pytest.raises(DelegationWidened, match="may_act"),
        ):
            session.exchange(token, endpoint=endpoint, verifier=believed, audience=API)

    def test_without_the_actor_whose_token_was_sent_is_refused(
        self, app: remit.App, grant: remit.Grant, idp: Issuer, believed: TokenVerifier, endpoint: TokenEndpoint
    ) -> None:
        """Whoever proved themselves to the server has to be the one who acts."""
        token = first(idp)
        actor = idp.sign({"sub": MAILER, "aud": idp.url})
        with (
            app.session(grant, token=token, verifier=believed) as session,
            pytest.raises(DelegationWidened, match="does not say that"),
        ):
            session.exchange(token, endpoint=endpoint, verifier=believed, audience=API, actor_token=actor)


class TestIdentity:
    """Only the session's own token is exchanged in it."""

    @pytest.mark.requirement("code:identity_conflict")
    @pytest.mark.parametrize("changed", [{"sub": "bob@acme.com"}, {"act": {"sub": MAILER}}])
    def test_token_of_somebody_else_opens_nothing(
        self, changed: dict[str, Any], app: remit.App, grant: remit.Grant, idp: Issuer, believed: TokenVerifier
    ) -> None:
        """The conflict is a record."""
        with pytest.raises(IdentityError) as refused:
            app.session(grant, token=first(idp, **changed), verifier=believed).open()
        assert refused.value.code == "identity_conflict"
        assert len(data(app, "identity.conflict")) == 1
        assert data(app, "session.opened") == []

    @pytest.mark.parametrize("changed", [{"sub": "bob@acme.com"}, {"act": {"sub": MAILER}}, {"scope": "admin"}])
    def test_another_token_is_not_exchanged(
        self,
        changed: dict[str, Any],
        app: remit.App,
        grant: remit.Grant,
        idp: Issuer,
        believed: TokenVerifier,
        endpoint: TokenEndpoint,
    ) -> None:
        """Not even one of the same subject with more scope: it is not the one that this session began with."""
        with (
            app.session(grant, token=first(idp), verifier=believed) as session,
            pytest.raises(IdentityError) as refused,
        ):
            session.exchange(first(idp, **changed), endpoint=endpoint, verifier=believed, audience=API)
        assert refused.value.code == "identity_conflict"
        assert data(app, "identity.exchanged")[0]["effect"] == "deny"

    def test_token_of_somebody_else_does_not_rejoin_a_session(
        self, app: remit.App, grant: remit.Grant, idp: Issuer, believed: TokenVerifier
    ) -> None:
        """Neither does one of the same subject in another agent's hands; a fresh one of the same two does."""
        with app.session(grant, token=first(idp), verifier=believed, key="thread:1"):
            pass
        for changed in ({"sub": "bob@acme.com"}, {"act": {"sub": MAILER}}):
            with pytest.raises(IdentityError) as refused:
                app.session(grant, token=first(idp, **changed), verifier=believed, key="thread:1").open()
            assert refused.value.code == "identity_conflict"
        with app.session(grant, token=first(idp), verifier=believed, key="thread:1"):
            pass
        assert len(data(app, "session.opened")) == 1
        assert len(data(app, "identity.conflict")) == 2

    def test_session_without_a_token_may_begin_with_an_exchange(
        self, app: remit.App, grant: remit.Grant, idp: Issuer, believed: TokenVerifier, endpoint: TokenEndpoint
    ) -> None:
        """Then the token has to be the session's principal's and agent's; from there on both are authenticated."""
        with app.session(grant) as session:
            with pytest.raises(IdentityError, match="issued to"):
                session.exchange(first(idp, act={"sub": MAILER}), endpoint=endpoint, verifier=believed, audience=API)
            session.exchange(first(idp, act=None, client_id=TRIAGE), endpoint=endpoint, verifier=believed, audience=API)
            session.call("billing.get", {"invoice": 42}, run=lambda invoice: invoice)
        [call] = data(app, "call.intent")
        assert call["known"]["agent"] == "token"
        assert call["delegation"]["actors"] == [TRIAGE, BILLING]

    def test_closed_session_and_revoked_grant_exchange_nothing(
        self, app: remit.App, grant: remit.Grant, idp: Issuer, believed: TokenVerifier, endpoint: TokenEndpoint
    ) -> None:
        """The server is not even asked."""
        token = first(idp)
        session = app.session(grant, token=token, verifier=believed).open()
        session.close()
        with pytest.raises(remit.Denied) as refused:
            session.exchange(token, endpoint=endpoint, verifier=believed, audience=API)
        assert refused.value.code == "session_closed"

        other = app.session(grant, token=token, verifier=believed).open()
        app.revoke(grant.id, reason="done", credential="user:alice@acme.com")
        with pytest.raises(remit.Denied) as refused:
            other.exchange(token, endpoint=endpoint, verifier=believed, audience=API)
        assert refused.value.code == "grant_revoked"

    @pytest.mark.parametrize("secret", ["wrong", "", None])
    def test_client_that_cannot_prove_itself_gets_nothing(
        self, secret: str | None, app: remit.App, grant: remit.Grant, idp: Issuer, believed: TokenVerifier
    ) -> None:
        """The server's refusal is a sentence, and a record without its secret."""
        proof: dict[str, Any] = (
            {"client_secret": secret} if secret is not None else {"client_key": SigningKey.generate()}
        )
        client = "billing-agent" if secret is not None else "mailer"
        wrong = TokenEndpoint(f"{idp.url}/token", client_id=client, **proof)
        token = first(idp)
        with (
            app.session(grant, token=token, verifier=believed) as session,
            pytest.raises(IdentityError, match="refuses the exchange: invalid_client"),
        ):
            session.exchange(token, endpoint=wrong, verifier=believed, audience=API)
        assert data(app, "identity.exchanged")[0]["effect"] == "deny"

    def test_expired_token_is_not_exchanged(
        self,
        app: remit.App,
        grant: remit.Grant,
        idp: Issuer,
        believed: TokenVerifier,
        endpoint: TokenEndpoint,
        clock: Clock,
    ) -> None:
        """Time is the ledger's."""
        token = first(idp)
        with app.session(grant, token=token, verifier=believed) as session:
            clock.forward(minutes=16)
            with pytest.raises(IdentityError, match="ended at"):
                session.exchange(token, endpoint=endpoint, verifier=believed, audience=API)

    def test_token_beside_a_grant_needs_a_verifier(self, app: remit.App, grant: remit.Grant) -> None:
        """Nobody's tokens are believed by default."""
        with pytest.raises(UsageError, match="verifier="):
            app.session(grant, token="x.y.z")
        with pytest.raises(UsageError, match="needs a grant"):
            app.session()
