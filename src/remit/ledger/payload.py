"""What a leaf only commits to: the commitments in the leaf, and the erasable, encrypted text beside it.

Each record has its own 32 random bytes, the record key.

```
salt(path)       = HMAC-SHA-256(record key, path)              path: "/arguments", "/arguments/amount" (RFC 6901)
commitment(path) = HMAC-SHA-256(salt(path), JCS(value))        in the leaf, in hex
ciphertext       = nonce || AES-256-GCM(HMAC-SHA-256(record key, "payload"), JCS({name: value…}), AAD = record id)
wrapped key      = the record key under the key-encryption key, bound to the record id (`remit.ledger.wrapping`)
```

A value is disclosed by its path, itself and its salt. Destroying the wrapped key erases every value of the record,
while the leaf, and with it every proof, stays as it is. Secret parts are in neither (`remit.ledger.hiding`): the leaf
says under `hidden` that there were some, and who or which rule said so.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Set
from typing import Any, Final, NamedTuple, Protocol

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from remit.errors import Unrepresentable, UsageError, VerificationError
from remit.ledger.canonical import canonical
from remit.ledger.hiding import hide, hides, said_of
from remit.ledger.salting import commitment, keyed_hash, names_of, pointer, salt
from remit.ledger.values import MAX_SIZE, TAG, Encoded, Hidden, encode
from remit.ledger.wrapping import LocalKey, NotThisKey, Wrapping

MAX_NAMED: Final = 64
"""Keys of one value that get a commitment of their own."""

MAX_PAYLOAD: Final = 4 * MAX_SIZE
"""Bytes of all private values of one record together."""

_NONCE: Final = 12
_PAYLOAD_AAD: Final = b"remit payload v1\n"
_KEY_AAD: Final = b"remit record key v1\n"


class Detector(Protocol):
    """What recognises secrets by their shape in the values of a record."""

    def hidden_in(self, encoded: Encoded) -> tuple[Hidden, ...]:
        """Where a value holds one."""
        ...


class Sealed(NamedTuple):
    """The private part of one record: for the leaf, and for the payload table."""

    commitments: dict[str, Any]
    ciphertext: bytes
    wrapped_key: bytes


class Sealer:
    """Seals and opens private values under the key-encryption key of a home."""

    def __init__(self, key: bytes | Wrapping) -> None:
        self._wrapping: Wrapping = LocalKey(key) if isinstance(key, bytes) else key
        self.detector: Detector | None = None
        """Looks through every value that was not looked through before; None where the deployment turned it off."""

    @property
    def wrapping(self) -> Wrapping:
        """What wraps record keys."""
        return self._wrapping

    @property
    def key_id(self) -> str:
        """Which key wraps record keys."""
        return self._wrapping.id

    def seal(self, record_id: str, private: Mapping[str, Any], named: Set[str], *, scan: bool = False) -> Sealed:
        """Commit to every value and encrypt them together, without what is hidden.

        Keys of a mapping that are in `named` (at most `MAX_NAMED`, in order) get a commitment each. With `scan`, the
        detector looks for secrets first. Raises `Unrepresentable`, `EvidenceUnavailable` (the key service).
        """
        random = os.urandom(32 + _NONCE)
        key, nonce = random[:32], random[32:]
        commitments: dict[str, Any] = {}
        pieces: list[bytes] = []
        for name in sorted(private):
            value = private[name]
            encoded = value if isinstance(value, Encoded) else Encoded(encode(value))
            if scan and not encoded.scanned and self.detector is not None:
                encoded.hidden += self.detector.hidden_in(encoded)
                encoded.scanned = True
            tree, content = encoded.tree, encoded.canonical
            if encoded.hidden:
                tree = hide(tree, encoded.hidden, key, name)
                content = canonical(tree)
            commitments[name] = _commit(key, name, tree, content, named)
            pieces.append(canonical(name) + b":" + content)
        plaintext = b"{" + b",".join(pieces) + b"}"
        if len(plaintext) > MAX_PAYLOAD:
            raise Unrepresentable(
                f"the private values of one record come to {len(plaintext)} bytes; expected at most {MAX_PAYLOAD}",
                code="too_large",
            )
        bound = record_id.encode()
        payload_key = keyed_hash(key, b"payload")
        ciphertext = nonce + AESGCM(payload_key).encrypt(nonce, plaintext, _PAYLOAD_AAD + bound)
        return Sealed(commitments, ciphertext, self._wrapping.wrap(key, _KEY_AAD + bound))

    def open(
        self, record_id: str, commitments: Mapping[str, Any], ciphertext: bytes, wrapped_key: bytes
    ) -> dict[str, Any]:
        """The encoded values of a record, each checked against its commitments. Raises `VerificationError`."""
        bound = record_id.encode()
        try:
            key = self._wrapping.unwrap(wrapped_key, _KEY_AAD + bound)
            payload_key = keyed_hash(key, b"payload")
            plaintext = AESGCM(payload_key).decrypt(ciphertext[:_NONCE], ciphertext[_NONCE:], _PAYLOAD_AAD + bound)
            values: dict[str, Any] = orjson.loads(plaintext)
        except (InvalidTag, ValueError) as error:
            why = str(error) if isinstance(error, NotThisKey) else "it was changed, or is not its own"
            raise VerificationError(f"the payload of record {record_id} cannot be opened: {why}") from error
        _check(record_id, key, commitments, values)
        return values

    def salt_of(self, record_id: str, wrapped_key: bytes, path: str) -> bytes:
        """The salt of one committed value, which discloses that value and nothing else.

        Raises `UsageError` for a path that no leaf commits to, `VerificationError` when the key cannot be unwrapped.
        """
        try:
            names = names_of(path)
        except ValueError as error:
            raise UsageError(str(error)) from error
        if len(names) > 2:
            raise UsageError(f"{path} is committed to as a part of {pointer(*names[:2])}; disclose that whole")
        try:
            key = self._wrapping.unwrap(wrapped_key, _KEY_AAD + record_id.encode())
        except (InvalidTag, ValueError) as error:
            raise VerificationError(f"the key of record {record_id} cannot be unwrapped: {error}") from error
        return salt(key, path)

    def rewrap(self, record_id: str, wrapped_key: bytes) -> bytes:
        """The same record key under today's key-encryption key. Raises `VerificationError`."""
        bound = _KEY_AAD + record_id.encode()
        try:
            return self._wrapping.wrap(self._wrapping.unwrap(wrapped_key, bound), bound)
        except (InvalidTag, ValueError) as error:
            raise VerificationError(f"the key of record {record_id} cannot be unwrapped: {error}") from error


def _commit(key: bytes, name: str, tree: Any, content: bytes, named: Set[str]) -> dict[str, Any]:
    path = pointer(name)
    found: dict[str, Any] = {"commitment": commitment(salt(key, path), content)}
    if type(tree) is list:
        found["count"] = len(tree)
    elif type(tree) is dict and named and TAG not in tree:
        chosen = sorted(named & tree.keys())[:MAX_NAMED]
        if chosen:
            found["each"] = {item: commitment(salt(key, pointer(name, item)), canonical(tree[item])) for item in chosen}
    if hides(content):
        found["hidden"] = said_of(tree)
    return found


def _check(record_id: str, key: bytes, commitments: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    if not isinstance(values, dict) or values.keys() != commitments.keys():
        raise VerificationError(f"the payload of record {record_id} holds other values than its leaf commits to")
    for name, committed in commitments.items():
        tree = values[name]
        each = committed.get("each", {})
        if not isinstance(each, dict) or (each and not isinstance(tree, dict)):
            raise VerificationError(f"the leaf of record {record_id} commits to parts of a value that has none")
        found = _commit(key, name, tree, canonical(tree), each.keys())
        if found != committed:
            raise VerificationError(f"{name} of record {record_id} is not what the leaf commits to")
