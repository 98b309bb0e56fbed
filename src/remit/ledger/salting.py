"""Salts and commitments: how a leaf fixes a value that it does not hold."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

_SHA256: Final = SHA256()


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


def names_of(path: str) -> tuple[str, ...]:
    """The names in an RFC 6901 JSON pointer. Raises `ValueError`."""
    if not path.startswith("/"):
        raise ValueError(f"{path!r} is not a JSON pointer; expected one such as /arguments/amount")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/"))
