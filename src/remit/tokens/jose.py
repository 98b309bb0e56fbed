"""JSON Web Signatures and keys: the one module that talks to PyJWT. Every failure is an `IdentityError` in a sentence.

What a token says of its own verification is never believed: the algorithm belongs to the key (RFC 8725 section 3.1),
the key to the key set, and a header that brings keys along (`jwk`, `jku`, `x5u`, `x5c`) or asks for extensions
(`crit`) is refused.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, NamedTuple, NoReturn

from remit.errors import IdentityError, UsageError
from remit.ledger.canonical import canonical
from remit.signing import SigningKey, VerifyingKey

try:
    import jwt
    from jwt import PyJWK
    from jwt.algorithms import OKPAlgorithm
    from jwt.exceptions import InvalidSignatureError, PyJWTError
except ImportError as error:
    raise UsageError("tokens need PyJWT and httpx, which are not installed: pip install 'remit[tokens]'") from error

MAX_TOKEN: Final = 16_384
"""Bytes of a token. Grants of dozens of clauses fit; what is longer is no token that anybody issues."""

ALGORITHMS: Final[Mapping[str, tuple[str, str | None]]] = {
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "RS256": ("RSA", None),
    "PS256": ("RSA", None),
}
"""Signatures that can be verified, with the only kind of key that each may be verified by. No MAC, no `none`.

`Ed25519` is the name that RFC 9864 gives to what `EdDSA` means here; issuers write either.
"""

_ED25519: Final = frozenset({"EdDSA", "Ed25519"})

_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]{1,}\.[A-Za-z0-9_-]{1,}\.[A-Za-z0-9_-]{1,}\Z")
_HEADERS: Final = frozenset({"alg", "kid", "typ", "cty", "x5t", "x5t#S256"})
_MIN_RSA_BITS: Final = 2048
_SIGNATURES: Final = jwt.PyJWS(algorithms=[name for name in ALGORITHMS if name != "Ed25519"])
_SIGNATURES.register_algorithm("Ed25519", OKPAlgorithm())
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class Opened(NamedTuple):
    """A token whose signature holds: header and claims, read strictly."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]


class Key:
    """One public key of an issuer, from its JWK (RFC 7517). Raises `IdentityError` for one that may not verify."""

    __slots__ = ("_made", "jwk", "kid", "thumbprint")

    def __init__(self, jwk: Mapping[str, Any]) -> None:
        self.jwk = public_jwk(jwk)
        kid = jwk.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise IdentityError("a key's kid is no text")
        self.kid = kid
        self.thumbprint = thumbprint(self.jwk)
        self._made: dict[str, PyJWK] = {}
        if not self.algorithms:
            raise IdentityError(
                f"no signature here is verified by a key of type {jwk.get('kty')} {jwk.get('crv') or ''}"
            )

    @property
    def algorithms(self) -> tuple[str, ...]:
        """What this key may verify: its own `alg` where it names one, else what its type allows."""
        named = self.jwk.get("alg")
        allowed = _ED25519 if named in _ED25519 else {named}
        fits = [name for name, (kty, crv) in ALGORITHMS.items() if self._is(kty, crv)]
        return tuple(name for name in fits if named is None or name in allowed)

    def _is(self, kty: str, crv: str | None) -> bool:
        return self.jwk.get("kty") == kty and (crv is None or self.jwk.get("crv") == crv)

    def verify(self, token: str, algorithm: str) -> bytes:
        """The payload of `token`, if this key signed it with `algorithm`. Raises `IdentityError`."""
        if algorithm not in self.algorithms:
            raise IdentityError(f"the token says {algorithm}, which the key {self.kid or self.thumbprint} is not for")
        try:
            made = self._made.get(algorithm)
            if made is None:
                parsed_as = "EdDSA" if algorithm in _ED25519 else algorithm
                made = self._made[algorithm] = PyJWK({**self.jwk, "alg": parsed_as}, parsed_as)
                if self.jwk["kty"] == "RSA" and made.key.key_size < _MIN_RSA_BITS:
                    raise IdentityError(f"the issuer's RSA key is shorter than {_MIN_RSA_BITS} bits")
            payload: bytes = _SIGNATURES.decode_complete(token, made.key, algorithms=[algorithm])["payload"]
        except InvalidSignatureError as error:
            raise IdentityError("the token's signature is not its issuer's") from error
        except (PyJWTError, ValueError, TypeError, KeyError) as error:
            raise IdentityError(f"the token or its issuer's key cannot be read: {error}") from error
        return payload


class KeySet:
    """The keys of one issuer (RFC 7517 section 5). Keys that cannot verify are left out, as the RFC says."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        listed = document.get("keys")
        if not isinstance(listed, list) or len(listed) > 100:
            raise IdentityError("a key set is {keys: [...]} with at most 100 keys")
        self.keys: tuple[Key, ...] = tuple(key for entry in listed if (key := _usable(entry)) is not None)
        kids = [key.kid for key in self.keys if key.kid is not None]
        if len(set(kids)) < len(kids):
            raise IdentityError("two keys of the issuer have the same kid, so neither can be told from the other")
        if not self.keys:
            raise IdentityError("the issuer's key set holds no public key that could verify a token")

    def find(self, kid: str | None) -> Key | None:
        """The key that a token names; the only one when it names none. None when there is no such key."""
        if kid is None:
            return self.keys[0] if len(self.keys) == 1 else None
        return next((key for key in self.keys if key.kid == kid), None)


def _usable(entry: Any) -> Key | None:
    if not isinstance(entry, Mapping) or entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops")
    if isinstance(operations, list) and "verify" not in operations:
        return None
    try:
        return Key(entry)
    except IdentityError:
        return None


def read_header(token: str) -> Mapping[str, Any]:
    """A token's header, before anything is verified: well-formed, bounded, no `none`, no key of its own."""
    if not isinstance(token, str) or not token.isascii():
        raise IdentityError("this is no token: expected three parts of base64url text with dots between")
    if len(token) > MAX_TOKEN:
        raise IdentityError(f"the token is {len(token)} bytes long; expected at most {MAX_TOKEN}")
    if not _COMPACT.match(token):
        raise IdentityError("this is no token: expected three parts of base64url text with dots between")
    header = parse_strict(_decoded(token.split(".")[0]), "the token's header")
    if unknown := header.keys() - _HEADERS:
        raise IdentityError(f"the token's header has {min(unknown)!r}, which is not accepted here")
    if header.get("alg") not in ALGORITHMS:
        raise IdentityError(
            f"the token is signed with {str(header.get('alg'))[:40]!r}; expected one of {', '.join(ALGORITHMS)}"
        )
    for name in ("kid", "typ"):
        value = header.get(name)
        if value is not None and (not isinstance(value, str) or not 0 < len(value) <= 256):
            raise IdentityError(f"the token's {name} is no short text")
    return header


def open_token(token: str, key: Key, *, algorithms: Collection[str]) -> Opened:
    """Header and claims of a token that `key` signed. Raises `IdentityError`."""
    header = read_header(token)
    if header["alg"] not in algorithms:
        raise IdentityError(f"the token is signed with {header['alg']}; this issuer signs with {', '.join(algorithms)}")
    return Opened(header, parse_strict(key.verify(token, header["alg"]), "the token"))


def sign(
    key: SigningKey, claims: Mapping[str, Any], *, typ: str, algorithm: Literal["EdDSA", "Ed25519"] = "EdDSA"
) -> str:
    """A compact JWS (EdDSA, RFC 8037) over the claims in canonical form."""
    made = PyJWK(private_jwk(key), "EdDSA")
    return _SIGNATURES.encode(
        canonical(dict(claims)), made.key, algorithm=algorithm, headers={"typ": typ, "kid": key.key_id}
    )


# -- JSON and keys


def parse_strict(text: bytes, what: str) -> dict[str, Any]:
    """A JSON object with no member twice, no NaN, nothing that two readers could read differently."""
    try:
        found = json.loads(text.decode("utf-8"), object_pairs_hook=_members, parse_constant=_no_constant)
    except IdentityError as error:
        raise IdentityError(f"{what} {error}") from None
    except (ValueError, RecursionError) as error:
        raise IdentityError(f"{what} is not JSON") from error
    if not isinstance(found, dict):
        raise IdentityError(f"{what} is not a JSON object")
    return found


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise IdentityError(f"says {twice[:60]!r} twice")
    return found


def _no_constant(text: str) -> NoReturn:
    raise IdentityError(f"holds {text}, which is no JSON number")


def _decoded(segment: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError as error:
        raise IdentityError("the token's header is not base64url") from error


def b64url(content: bytes) -> str:
    """Base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def public_jwk(jwk: Mapping[str, Any]) -> dict[str, Any]:
    """The JWK as it may be published. Raises `IdentityError` for a secret, and where private parts came along."""
    if not isinstance(jwk, Mapping) or jwk.get("kty") not in ("OKP", "EC", "RSA"):
        raise IdentityError("this is no public key as a JWK: expected a mapping with kty OKP, EC or RSA")
    if jwk.keys() & _PRIVATE:
        raise IdentityError("the JWK holds a private key; pass its public half")
    return dict(jwk)


def jwk_of(key: VerifyingKey) -> dict[str, Any]:
    """A public Ed25519 key as a JWK (RFC 8037), with its id."""
    raw = base64.b64decode(key.text)
    return {"kty": "OKP", "crv": "Ed25519", "x": b64url(raw), "kid": key.key_id, "alg": "EdDSA", "use": "sig"}


def private_jwk(key: SigningKey) -> dict[str, Any]:
    """Both halves, for PyJWT alone."""
    return {**jwk_of(key.public), "d": b64url(key.seed())}


_THUMBPRINT_MEMBERS: Final = {"OKP": ("crv", "kty", "x"), "EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n")}


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """The SHA-256 thumbprint of a public JWK (RFC 7638)."""
    try:
        members = {name: jwk[name] for name in _THUMBPRINT_MEMBERS[jwk["kty"]]}
    except KeyError as error:
        raise IdentityError(f"the JWK has no {error}") from error
    if not all(isinstance(value, str) for value in members.values()):
        raise IdentityError("the JWK's members are no text")
    return b64url(hashlib.sha256(canonical(members)).digest())


__all__ = [
    "ALGORITHMS",
    "MAX_TOKEN",
    "Key",
    "KeySet",
    "Opened",
    "b64url",
    "jwk_of",
    "open_token",
    "parse_strict",
    "public_jwk",
    "read_header",
    "sign",
    "thumbprint",
]
