"""Proof of possession (RFC 7800): a token that names a key (`cnf`) is worth nothing without a proof by that key.

The proof is a small JWT of its own, shaped after DPoP (RFC 9449): for whom (`aud`), when (`iat`), which token (`ath`),
and a `jti` that is accepted once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from remit import presenting
from remit.authority.durations import show_moment
from remit.errors import IdentityError
from remit.ids import new_id
from remit.signing import SigningKey
from remit.tokens.jose import Key, b64url, open_token, sign
from remit.tokens.verifying import TokenVerifier, VerifiedToken

if TYPE_CHECKING:
    from remit.deployment import Deployment

PROOF_TYPE: Final = "remit-proof+jwt"
WINDOW: Final = timedelta(seconds=60)
"""How old a proof may be, and how far ahead its maker's clock."""


def prove(token: str, key: SigningKey, *, audience: str, now: datetime | None = None) -> str:
    """A proof, good once and for a minute, that the holder of `key` presents `token` to `audience`."""
    at = int((now or datetime.now(UTC)).timestamp())
    return sign(key, {"aud": audience, "iat": at, "jti": new_id("p"), "ath": _hash(token)}, typ=PROOF_TYPE)


def check_proof(deployment: Deployment, verifier: TokenVerifier, found: VerifiedToken, proof: str | None) -> None:
    """Raises `IdentityError` unless `proof` is a fresh one, by the key in the token's `cnf`, for exactly this token."""
    confirmation = found.confirmation or {}
    jwk = confirmation.get("jwk")
    if not isinstance(jwk, Mapping):
        raise IdentityError("the token is bound to a key that it does not show (cnf without jwk)")
    if proof is None:
        raise IdentityError("the token is bound to a key; pass proof=, which remit.tokens.prove makes with that key")
    opened = open_token(proof, Key(jwk), algorithms=verifier.algorithms)
    claims, now = opened.claims, deployment.ledger.now()
    if opened.header.get("typ") != PROOF_TYPE:
        raise IdentityError(f"the proof is of type {str(opened.header.get('typ'))[:60]!r}; expected {PROOF_TYPE}")
    if claims.get("aud") not in verifier.audience:
        raise IdentityError("the proof was made for somebody else", code="audience_mismatch")
    if claims.get("ath") != _hash(found.text):
        raise IdentityError("the proof was made for another token")
    at, jti = claims.get("iat"), claims.get("jti")
    if type(at) is not int or abs(now.timestamp() - at) > WINDOW.total_seconds():
        raise IdentityError("the proof is not of this minute; make a new one for each use")
    if not isinstance(jti, str) or not 0 < len(jti) <= 128:
        raise IdentityError("the proof has no jti")
    once = deployment.ledger.keyed("proof", found.text, jti)
    until = show_moment(now + 2 * WINDOW)
    about = {"method": "proof", "token": deployment.ledger.keyed("token", found.text)}
    deployment.ledger.run(lambda txn: presenting.use_now(deployment, txn, once, expires=until, about=about))


def _hash(token: str) -> str:
    return b64url(hashlib.sha256(token.encode()).digest())


__all__ = ["PROOF_TYPE", "check_proof", "prove"]
