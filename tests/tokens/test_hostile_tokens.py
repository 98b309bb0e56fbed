"""Tokens that must prove nothing: each row is one way in which somebody would like to be believed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.errors import IdentityError, UsageError
from remit.signing import SigningKey
from remit.tokens import TokenVerifier
from remit.tokens.jose import Key, KeySet, jwk_of, private_jwk
from tests.tokens.conftest import BILLING, ISSUER, TRIAGE, US, TestIssuer

Forge = Callable[[TestIssuer], str]


def b64(value: Any) -> str:
    """A segment."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned(issuer: TestIssuer, alg: str) -> str:
    """A token that says it needs no signature."""
    return f"{b64({'alg': alg, 'typ': 'at+jwt', 'kid': issuer.key.key_id})}.{b64(issuer.claims())}."


def by_public_key(issuer: TestIssuer) -> str:
    """HS256 with the bytes of the public key as the secret (CVE-2015-9235)."""
    secret = base64.b64decode(issuer.key.public.text)
    head = f"{b64({'alg': 'HS256', 'kid': issuer.key.key_id})}.{b64(issuer.claims())}"
    return f"{head}.{b64(hmac.new(secret, head.encode(), hashlib.sha256).digest())}"


def signed_raw(issuer: TestIssuer, payload: bytes, header: bytes | None = None) -> str:
    """Any bytes as the payload, with a good signature over them."""
    head = header or json.dumps({"alg": "EdDSA", "kid": issuer.key.key_id}).encode()
    signing = f"{b64(head)}.{b64(payload)}"
    return f"{signing}.{b64(issuer.private.sign(signing.encode()))}"


def by_other_key(issuer: TestIssuer, **headers: Any) -> str:
    """Signed by somebody else under the issuer's key id."""
    other = Ed25519PrivateKey.generate()
    return jwt.encode(
        issuer.claims(), other, algorithm="EdDSA", headers={"kid": issuer.key.key_id, "typ": "at+jwt", **headers}
    )


def swapped(issuer: TestIssuer) -> str:
    """The claims of one token under the signature of another."""
    one, other = issuer.sign().split("."), issuer.sign(sub="mallory@acme.com").split(".")
    return f"{one[0]}.{other[1]}.{one[2]}"


def twice(issuer: TestIssuer) -> str:
    """`sub` stands twice: the last counts for one reader, the first for another."""
    text = json.dumps(issuer.claims())
    return signed_raw(issuer, f'{text[:-1]}, "sub": "mallory@acme.com"}}'.encode())


def actor_chain(depth: int) -> dict[str, Any]:
    """`act` inside `act` inside `act`."""
    node: dict[str, Any] = {"sub": TRIAGE}
    for _ in range(depth - 1):
        node = {"sub": BILLING, "act": node}
    return node


NOW = int(time.time())
HOSTILE: dict[str, tuple[Forge, str]] = {
    "alg none": (lambda i: unsigned(i, "none"), "three parts"),
    "alg None in another case": (lambda i: unsigned(i, "NoNe") + "AA", "signed with 'NoNe'"),
    "HS256 with the public key": (by_public_key, "signed with 'HS256'"),
    "another key under the same kid": (by_other_key, "signature is not its issuer's"),
    "unknown kid": (lambda i: by_other_key(i, kid="other"), "names the key 'other'"),
    "kid that is a path": (lambda i: i.sign({"kid": "../../dev/null"}), "names the key '../../dev/null'"),
    "kid that is a query": (lambda i: i.sign({"kid": "x' OR '1'='1"}), "names the key"),
    "kid of no length": (lambda i: i.sign({"kid": ""}), "kid is no short text"),
    "a key of its own (jwk)": (
        lambda i: by_other_key(i, jwk=jwk_of(SigningKey.generate().public)),
        "header has 'jwk'",
    ),
    "keys from elsewhere (jku)": (lambda i: by_other_key(i, jku="https://evil.example/jwks"), "header has 'jku'"),
    "certificates from elsewhere (x5u)": (lambda i: i.sign({"x5u": "https://evil.example"}), "header has 'x5u'"),
    "extensions (crit)": (lambda i: i.sign({"crit": ["exp"], "exp": 1}), "header has"),
    "claims of another token": (swapped, "signature is not its issuer's"),
    "duplicate claim": (twice, "says 'sub' twice"),
    "duplicate header": (
        lambda i: signed_raw(i, json.dumps(i.claims()).encode(), b'{"alg":"EdDSA","alg":"none"}'),
        "says 'alg' twice",
    ),
    "NaN as a time": (lambda i: signed_raw(i, b'{"iss":"x","exp":NaN}'), "holds NaN"),
    "claims that are a list": (lambda i: signed_raw(i, b"[1]"), "not a JSON object"),
    "claims that are no text": (lambda i: signed_raw(i, b"\xff\xfe"), "not JSON"),
    "nested without end": (lambda i: signed_raw(i, b'{"a":' + b"[" * 5000), "not JSON"),
    "huge": (lambda i: i.sign(extra="x" * 20_000), "expected at most 16384"),
    "no token at all": (lambda i: "hello", "three parts"),
    "five parts (JWE)": (lambda i: "a.b.c.d.e", "three parts"),
    "padding": (lambda i: i.sign() + "==", "three parts"),
    "line break": (lambda i: i.sign() + "\n", "three parts"),
    "not ASCII": (lambda i: i.sign() + "ä", "three parts"),
    "wrong audience": (lambda i: i.sign(aud="https://billing.acme.com"), "meant for 'https://billing.acme.com'"),
    "no audience": (lambda i: i.sign(aud=None), "meant for nobody"),
    "empty audience": (lambda i: i.sign(aud=[]), "meant for nobody"),
    "audience with a prefix of ours": (lambda i: i.sign(aud=f"{US}.evil.example"), "meant for"),
    "audience in other case": (lambda i: i.sign(aud=US.upper()), "meant for"),
    "wrong issuer": (lambda i: i.sign(iss="https://login.evil.example"), "issued by"),
    "issuer with a slash more": (lambda i: i.sign(iss=f"{ISSUER}/"), "issued by"),
    "no issuer": (lambda i: i.sign(iss=None), "issued by None"),
    "expired": (lambda i: i.sign(exp=NOW - 120), "ended at"),
    "never ends": (lambda i: i.sign(exp=None), "never ends"),
    "end as text": (lambda i: i.sign(exp=str(NOW + 600)), "expected seconds"),
    "end as true": (lambda i: signed_raw(i, json.dumps({**i.claims(), "exp": True}).encode()), "expected seconds"),
    "end beyond the calendar": (lambda i: i.sign(exp=10**20), "no moment on the calendar"),
    "not yet valid": (lambda i: i.sign(nbf=NOW + 3600), "begins at"),
    "issued in the future": (lambda i: i.sign(iat=NOW + 3600), "still to come"),
    "nobody": (lambda i: i.sign(sub=None), "names nobody"),
    "subject that is a list": (
        lambda i: signed_raw(i, json.dumps({**i.claims(), "sub": ["alice"]}).encode()),
        "expected a short text",
    ),
    "scope that is a list": (lambda i: i.sign(scope=["a"]), "scope is"),
    "actor without a name": (lambda i: i.sign(act={"iss": "x"}), "has no sub"),
    "actor that is text": (lambda i: i.sign(act="agent"), "act is no JSON object"),
    "actors without end": (lambda i: i.sign(act=actor_chain(17)), "at most 16 actors"),
    "another type of token": (lambda i: i.sign({"typ": "remit-grant+jwt"}), "expected an access token"),
    "a logout token": (lambda i: i.sign({"typ": "logout+jwt"}), "expected an access token"),
}


@pytest.mark.requirement("I5")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_token_proves_nothing(name: str, issuer: TestIssuer, verifier: TokenVerifier) -> None:
    """A sentence says why; it never holds the token."""
    forge, reason = HOSTILE[name]
    token = forge(issuer)
    with pytest.raises(IdentityError) as refused:
        verifier.verify(token)

    assert reason in str(refused.value)
    assert len(token) < 40 or token not in str(refused.value)


def test_good_token_says_who_and_through_whom(issuer: TestIssuer, verifier: TokenVerifier) -> None:
    """Subject, audience, scopes, and the actors with the earliest first."""
    found = verifier.verify(
        issuer.sign(aud=[US, "https://x"], scope="a b", act={"sub": BILLING, "act": {"sub": TRIAGE}})
    )

    assert found.principal == "user:alice@acme.com"
    assert found.audience == (US, "https://x")
    assert found.scopes == {"a", "b"}
    assert [agent.id for agent in found.agents] == [TRIAGE, BILLING]
    assert all(agent.authenticated for agent in found.agents)
    assert found.text not in repr(found)


def test_wrong_audience_has_a_code_of_its_own(issuer: TestIssuer, verifier: TokenVerifier) -> None:
    """Somebody else's token is told apart from a forged one."""
    with pytest.raises(IdentityError) as refused:
        verifier.verify(issuer.sign(aud="https://billing.acme.com"))
    assert refused.value.code == "audience_mismatch"


def test_clocks_may_differ_by_half_a_minute(issuer: TestIssuer, verifier: TokenVerifier) -> None:
    """And by no more."""
    assert verifier.verify(issuer.sign(exp=int(time.time()) - 10)).subject
    with pytest.raises(IdentityError, match="ended at"):
        verifier.verify(issuer.sign(exp=int(time.time()) - 40))


class TestKeys:
    """Which keys may verify."""

    def test_algorithm_belongs_to_the_key(self, issuer: TestIssuer) -> None:
        """An RSA key never verifies what says EdDSA, whatever the header claims."""
        private = rsa.generate_private_key(65537, 2048)
        jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key()))
        verifier = TokenVerifier(ISSUER, US, {"keys": [{**jwk, "kid": issuer.key.key_id}]})
        with pytest.raises(IdentityError, match="is not for"):
            verifier.verify(issuer.sign())
        good = jwt.encode(issuer.claims(), private, algorithm="RS256", headers={"kid": issuer.key.key_id})
        assert verifier.verify(good).subject == "alice@acme.com"

    def test_algorithm_that_the_issuer_does_not_use_is_refused(self, issuer: TestIssuer) -> None:
        """The verifier's own list is the shorter one."""
        verifier = TokenVerifier(ISSUER, US, issuer.jwks, algorithms=["ES256"])
        with pytest.raises(IdentityError, match="this issuer signs with ES256"):
            verifier.verify(issuer.sign())

    def test_short_rsa_key_is_refused(self, issuer: TestIssuer) -> None:
        """1024 bits are no proof any more."""
        private = rsa.generate_private_key(65537, 1024)
        jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key()))
        forged = f"{b64({'alg': 'RS256', 'kid': 'r'})}.{b64(issuer.claims())}.{b64(b'x' * 128)}"
        with pytest.raises(IdentityError, match="shorter than 2048"):
            TokenVerifier(ISSUER, US, {"keys": [{**jwk, "kid": "r"}]}).verify(forged)

    def test_key_set_leaves_out_what_cannot_verify(self, issuer: TestIssuer) -> None:
        """Secrets, encryption keys and unknown types are no keys here; with nothing left the set is refused."""
        odd: list[Any] = [
            {"kty": "oct", "k": "c2VjcmV0", "kid": "o"},
            {**jwk_of(issuer.key.public), "use": "enc", "kid": "e"},
            {**private_jwk(issuer.key), "kid": "p"},
            {"kty": "OKP", "crv": "X25519", "x": "AA", "kid": "x"},
            "no key",
        ]
        assert [key.kid for key in KeySet({"keys": [*odd, jwk_of(issuer.key.public)]}).keys] == [issuer.key.key_id]
        with pytest.raises(IdentityError, match="no public key"):
            KeySet({"keys": odd})

    def test_two_keys_with_one_kid_are_refused(self) -> None:
        """Neither could be told from the other."""
        twin = [{**jwk_of(SigningKey.generate().public), "kid": "k"} for _ in range(2)]
        with pytest.raises(IdentityError, match="same kid"):
            KeySet({"keys": twin})

    def test_thumbprint_is_that_of_the_rfc(self) -> None:
        """RFC 8037 appendix A.3."""
        key = Key({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
        assert key.thumbprint == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_verifier_without_audience_cannot_be_made(issuer: TestIssuer) -> None:
    """There is no way to ask for "any audience"."""
    for audience in ("", [], [""]):
        with pytest.raises(UsageError, match="an issuer and an audience"):
            TokenVerifier(ISSUER, audience, issuer.jwks)


class TestJwtSvid:
    """A workload's own token (SPIFFE JWT-SVID)."""

    def test_proves_a_workload(self, issuer: TestIssuer) -> None:
        """`sub` is a SPIFFE ID in the trust domain; `iss` may be missing."""
        domain = TokenVerifier("spiffe://acme.com", US, issuer.jwks)
        found = domain.workload(issuer.sign(iss=None, act=None, sub="spiffe://acme.com/workloads/7"))
        assert (found.id, found.method, found.authenticated) == ("spiffe://acme.com/workloads/7", "spiffe", True)

    @pytest.mark.parametrize(
        "sub", ["alice@acme.com", "spiffe://evil.example/w", "spiffe://acme.com", "SPIFFE://acme.com/w"]
    )
    def test_of_anybody_else_is_refused(self, sub: str, issuer: TestIssuer) -> None:
        """Another trust domain, or no SPIFFE ID at all."""
        with pytest.raises(IdentityError):
            TokenVerifier("spiffe://acme.com", US, issuer.jwks).workload(issuer.sign(iss=None, sub=sub))
