"""What a leaf only commits to: the commitments in the leaf, and the erasable, encrypted text beside it.

Each record has its own 32 random bytes, the record key.

```
salt(path)       = HMAC-SHA-256(record key, path)              path: "/arguments", "/arguments/amount" (RFC 6901)
commitment(path) = HMAC-SHA-256(salt(path), JCS(value))        in the leaf, in hex
ciphertext       = nonce || AES-256-GCM(HMAC-SHA-256(record key, "payload"), JCS({name: value…}), AAD = record id)
wrapped key      = nonce || AES-256-GCM(key-encryption key, record key, AAD = record id)
```

A value is disclosed by its path, itself and its salt. Destroying the wrapped key erases every value of the record,
while the leaf, and with it every proof, stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Set
from typing import Any, Final, NamedTuple

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from remit.errors import Unrepresentable, VerificationError
from remit.ledger.canonical import canonical
from remit.ledger.values import MAX_SIZE, Encoded, encode

MAX_NAMED: Final = 64
"""Keys of one value that get a commitment of their own."""

MAX_PAYLOAD: Final = 4 * MAX_SIZE
"""Bytes of all private values of one record together."""

_NONCE: Final = 12
_SHA256: Final = SHA256()
_PAYLOAD_AAD: Final = b"remit payload v1\n"
_KEY_AAD: Final = b"remit record key v1\n"


class Sealed(NamedTuple):
    """The private part of one record: for the leaf, and for the payload table."""

    commitments: dict[str, Any]
    ciphertext: bytes
    wrapped_key: bytes


def keyed_hash(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA-256. The standard library's gives up the interpreter lock each time, which many threads pay for."""
    keyed = HMAC(key, _SHA256)
    keyed.update(message)
    return keyed.finalize()


def salt(record_key: bytes, path: str) -> bytes:
    """The salt of one path, 32 bytes. Knowing it says nothing about any other path."""
    return keyed_hash(record_key, path.encode())


def commitment(salt_: bytes, content: bytes) -> str:
    """The commitment to a value, given the canonical JSON of its encoding."""
    return keyed_hash(salt_, content).hex()


def pointer(*names: str) -> str:
    """An RFC 6901 JSON pointer."""
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)


class Sealer:
    """Seals and opens private values under the key-encryption key of a home."""

    def __init__(self, key_encryption_key: bytes) -> None:
        self._wrapping = AESGCM(key_encryption_key)

    def seal(self, record_id: str, private: Mapping[str, Any], named: Set[str]) -> Sealed:
        """Commit to every value and encrypt them together.

        Keys of a mapping that are in `named` (at most `MAX_NAMED`, in order) get a commitment each.
        Raises `Unrepresentable`.
        """
        random = os.urandom(32 + 2 * _NONCE)
        key, nonce, wrapping_nonce = random[:32], random[32 : 32 + _NONCE], random[32 + _NONCE :]
        commitments: dict[str, Any] = {}
        pieces: list[bytes] = []
        for name in sorted(private):
            value = private[name]
            encoded = value if isinstance(value, Encoded) else Encoded(encode(value))
            content = encoded.canonical
            commitments[name] = _commit(key, name, encoded.tree, content, named)
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
        wrapped = wrapping_nonce + self._wrapping.encrypt(wrapping_nonce, key, _KEY_AAD + bound)
        return Sealed(commitments, ciphertext, wrapped)

    def open(
        self, record_id: str, commitments: Mapping[str, Any], ciphertext: bytes, wrapped_key: bytes
    ) -> dict[str, Any]:
        """The encoded values of a record, each checked against its commitments. Raises `VerificationError`."""
        bound = record_id.encode()
        try:
            key = self._wrapping.decrypt(wrapped_key[:_NONCE], wrapped_key[_NONCE:], _KEY_AAD + bound)
            payload_key = keyed_hash(key, b"payload")
            plaintext = AESGCM(payload_key).decrypt(ciphertext[:_NONCE], ciphertext[_NONCE:], _PAYLOAD_AAD + bound)
            values: dict[str, Any] = orjson.loads(plaintext)
        except (InvalidTag, ValueError) as error:
            raise VerificationError(
                f"the payload of record {record_id} cannot be opened: it was changed, or is not its own"
            ) from error
        _check(record_id, key, commitments, values)
        return values


def _commit(key: bytes, name: str, tree: Any, content: bytes, named: Set[str]) -> dict[str, Any]:
    path = pointer(name)
    found: dict[str, Any] = {"commitment": commitment(salt(key, path), content)}
    if type(tree) is list:
        found["count"] = len(tree)
    elif type(tree) is dict and named and "$remit" not in tree:
        chosen = sorted(named & tree.keys())[:MAX_NAMED]
        if chosen:
            found["each"] = {item: commitment(salt(key, pointer(name, item)), canonical(tree[item])) for item in chosen}
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
