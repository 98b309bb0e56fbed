"""Key sets, metadata and token endpoints over HTTP: cached, bounded, never redirected, and silent about secrets."""

from __future__ import annotations

import gzip
from typing import Any

import httpx
import pytest
import respx

from remit.errors import IdentityError, UsageError
from remit.signing import SigningKey
from remit.tokens import RemoteKeys, TokenEndpoint, TokenVerifier
from remit.tokens.jose import jwk_of
from remit.tokens.keys import KEEP, PAUSE, STALE
from remit.tokens.web import MAX_ANSWER
from tests.tokens.conftest import ISSUER, US, TestIssuer

JWKS = f"{ISSUER}/jwks.json"
PACKED = gzip.compress(b" " * 9_000_000)
"""Small as sent, nine megabytes unpacked."""


class Seconds:
    """A clock for caches."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    """Stands until the test moves it."""
    return Seconds()


@pytest.fixture
def remote(seconds: Seconds) -> TokenVerifier:
    """A verifier that fetches its keys."""
    return TokenVerifier(ISSUER, US, RemoteKeys(JWKS, clock=seconds))


class TestKeySet:
    """A JWKS at a URL."""

    @respx.mock
    def test_is_fetched_once_while_it_is_fresh(
        self, issuer: TestIssuer, remote: TokenVerifier, seconds: Seconds
    ) -> None:
        """A hundred tokens cost one request; an old set is fetched again."""
        route = respx.get(JWKS).respond(json=issuer.jwks)
        for _ in range(100):
            remote.verify(issuer.sign())
        assert route.call_count == 1

        seconds.now += KEEP
        remote.verify(issuer.sign())
        assert route.call_count == 2

    @respx.mock
    def test_new_key_is_found_and_withdrawn_one_is_dropped(
        self, issuer: TestIssuer, remote: TokenVerifier, seconds: Seconds
    ) -> None:
        """A key id that is not known makes the set be fetched early; what is gone from it proves nothing."""
        respx.get(JWKS).respond(json=issuer.jwks)
        before = issuer.sign()
        remote.verify(before)

        rotated = TestIssuer()
        respx.get(JWKS).respond(json=rotated.jwks)
        seconds.now += PAUSE
        assert remote.verify(rotated.sign()).subject == "alice@acme.com"
        with pytest.raises(IdentityError, match="names the key"):
            remote.verify(before)

    @respx.mock
    def test_invented_key_ids_do_not_become_requests(
        self, issuer: TestIssuer, remote: TokenVerifier, seconds: Seconds
    ) -> None:
        """A flood of forged tokens costs the issuer one request every half minute."""
        route = respx.get(JWKS).respond(json=issuer.jwks)
        remote.verify(issuer.sign())
        seconds.now += PAUSE
        for number in range(50):
            with pytest.raises(IdentityError, match="names the key"):
                remote.verify(issuer.sign({"kid": f"made-up-{number}"}))
        assert route.call_count == 2

    @respx.mock
    def test_last_keys_serve_for_an_hour_when_the_issuer_is_away(
        self, issuer: TestIssuer, remote: TokenVerifier, seconds: Seconds
    ) -> None:
        """Then nothing is believed any more."""
        respx.get(JWKS).respond(json=issuer.jwks)
        remote.verify(issuer.sign())
        respx.get(JWKS).mock(side_effect=httpx.ConnectError("down"))
        seconds.now += KEEP + 1
        remote.verify(issuer.sign())
        seconds.now += STALE
        with pytest.raises(IdentityError, match="cannot be reached: ConnectError"):
            remote.verify(issuer.sign())

    @respx.mock
    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (httpx.Response(302, headers={"location": "https://evil.example/jwks"}), "redirects are not followed"),
            (httpx.Response(500, json={}), "status 500"),
            (httpx.Response(200, content=b"x" * (MAX_ANSWER + 1)), "more than 262144 bytes"),
            (httpx.Response(200, content=b"<html>"), "is not JSON"),
            (
                httpx.Response(200, content=PACKED, headers={"content-encoding": "gzip"}),
                "not JSON",
            ),
            (httpx.Response(200, content=b'{"keys":[],"keys":[]}'), "says 'keys' twice"),
            (httpx.Response(200, json={"keys": []}), "no public key"),
            (httpx.Response(200, json={"keys": "all"}), "at most 100 keys"),
            (httpx.Response(200, json=[]), "not a JSON object"),
            (httpx.ReadTimeout("slow"), "cannot be reached: ReadTimeout"),
        ],
    )
    def test_that_is_no_key_set_proves_nothing(
        self, answer: Any, reason: str, issuer: TestIssuer, remote: TokenVerifier
    ) -> None:
        """Whatever comes, it is a sentence; a redirect is not followed."""
        elsewhere = respx.get("https://evil.example/jwks").respond(json=issuer.jwks)
        respx.get(JWKS).mock(side_effect=[answer])
        with pytest.raises(IdentityError, match=reason):
            remote.verify(issuer.sign())
        assert not elsewhere.called

    @pytest.mark.parametrize(
        "url",
        [
            "http://login.acme.com/jwks",
            "ftp://x/y",
            "https://u:p@x/y",
            "https:///x",
            "https://x/#f",
            "http://10.0.0.1/",
        ],
    )
    def test_only_https_or_this_machine(self, url: str) -> None:
        """Keys that came in the clear are anybody's."""
        with pytest.raises(UsageError):
            RemoteKeys(url)


class TestMetadata:
    """RFC 8414 and OpenID Connect Discovery."""

    @respx.mock
    def test_names_the_key_set(self, issuer: TestIssuer) -> None:
        """The one of OpenID is asked where there is no other."""
        respx.get(f"{ISSUER}/.well-known/oauth-authorization-server").respond(404, json={})
        respx.get(f"{ISSUER}/.well-known/openid-configuration").respond(json={"issuer": ISSUER, "jwks_uri": JWKS})
        respx.get(JWKS).respond(json=issuer.jwks)
        assert TokenVerifier.discover(ISSUER, US).verify(issuer.sign()).issuer == ISSUER

    @respx.mock
    @pytest.mark.parametrize(
        ("found", "reason"),
        [
            ({"issuer": "https://evil.example", "jwks_uri": JWKS}, "another issuer"),
            ({"issuer": ISSUER}, "names no jwks_uri"),
            ({"issuer": ISSUER, "jwks_uri": "http://10.0.0.1/keys"}, "unusable jwks_uri"),
        ],
    )
    def test_of_another_issuer_is_refused(self, found: dict[str, str], reason: str) -> None:
        """RFC 8414 section 3.3."""
        respx.get(f"{ISSUER}/.well-known/oauth-authorization-server").respond(json=found)
        with pytest.raises(IdentityError, match=reason):
            TokenVerifier.discover(ISSUER, US)


class TestEndpoint:
    """The token endpoint, as a client."""

    URL = f"{ISSUER}/token"

    @respx.mock
    def test_secret_goes_as_basic_and_nowhere_else(self) -> None:
        """RFC 6749 section 2.3.1, RFC 8693 section 2.1."""
        route = respx.post(self.URL).respond(
            json={
                "access_token": "new-token",
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "token_type": "Bearer",
                "scope": "a b",
            }
        )
        endpoint = TokenEndpoint(self.URL, client_id="agent", client_secret="s3cret")
        given = endpoint.exchange("old-token", audience=["https://x", "https://y"], scope=["b", "a"])

        sent = route.calls.last.request
        form = dict(httpx.QueryParams(sent.content.decode()).multi_items())
        assert sent.headers["authorization"].startswith("Basic ")
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:token-exchange"
        assert httpx.QueryParams(sent.content.decode()).get_list("audience") == ["https://x", "https://y"]
        assert form["scope"] == "a b"
        assert "s3cret" not in sent.content.decode()
        assert given.scope == {"a", "b"}
        assert "new-token" not in repr(given)
        assert "s3cret" not in repr(endpoint)

    @respx.mock
    def test_key_signs_an_assertion(self) -> None:
        """RFC 7523: short-lived, for this endpoint, with an id of its own."""
        key = SigningKey.generate()
        route = respx.post(self.URL).respond(400, json={"error": "invalid_grant"})
        with pytest.raises(IdentityError, match=r"refuses the exchange: invalid_grant \(status 400\)"):
            TokenEndpoint(self.URL, client_id="agent", client_key=key).exchange("old", audience=["https://x"])

        form = dict(httpx.QueryParams(route.calls.last.request.content.decode()).multi_items())
        own = TokenVerifier("agent", self.URL, {"keys": [jwk_of(key.public)]})
        assert own.verify(form["client_assertion"]).subject == "agent"
        assert "authorization" not in route.calls.last.request.headers

    @respx.mock
    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (httpx.Response(200, json={}), "without an access_token"),
            (httpx.Response(200, json={"access_token": "x"}), "other than an access token"),
            (httpx.Response(200, json={"access_token": ["x"]}), "without an access_token"),
            (httpx.Response(307, headers={"location": "https://evil.example"}), "redirects"),
            (httpx.Response(400, json={"error": "x" * 100}), "no error code"),
            (httpx.ConnectTimeout("slow"), "cannot be reached"),
        ],
    )
    def test_anything_but_a_token_is_an_error(self, answer: Any, reason: str) -> None:
        """And its sentence holds neither token nor secret."""
        respx.post(self.URL).mock(side_effect=[answer])
        with pytest.raises(IdentityError, match=reason) as refused:
            TokenEndpoint(self.URL, client_id="agent", client_secret="s3cret").exchange("old-token", audience=["x"])
        assert "s3cret" not in str(refused.value)
        assert "old-token" not in str(refused.value)

    def test_needs_exactly_one_proof_of_the_client(self) -> None:
        """No public clients: an exchange is somebody's act."""
        with pytest.raises(UsageError, match="one proof"):
            TokenEndpoint(self.URL, client_id="agent")
        with pytest.raises(UsageError, match="one proof"):
            TokenEndpoint(self.URL, client_id="agent", client_secret="s", client_key=SigningKey.generate())
