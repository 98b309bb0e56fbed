"""Detached Ed25519 signatures over typed bytes, as DSSE defines them (secure-systems-lab/dsse, protocol.md: PAE).

Bytes are signed, never objects: what is verified is exactly what is stored.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from remit.errors import IdentityError, UsageError, VerificationError

GRANT_TYPE: Final = "application/vnd.remit.grant.v1+json"
STATEMENT_TYPE: Final = "application/vnd.remit.statement.v1+json"


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """DSSE's PAE: length-prefixed type and payload, so that no byte can move between the two."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


class VerifyingKey:
    """A public Ed25519 key, written as the standard base64 of its 32 bytes."""

    def __init__(self, public_key: Ed25519PublicKey) -> None:
        self._key = public_key
        raw = public_key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.text = base64.b64encode(raw).decode()
        self.key_id = hashlib.sha256(raw).hexdigest()[:16]

    @classmethod
    def parse(cls, text: str) -> VerifyingKey:
        """Read a key from its base64 text. Raises `IdentityError` when it is not one."""
        try:
            raw = base64.b64decode(text.strip(), validate=True)
            return cls(Ed25519PublicKey.from_public_bytes(raw))
        except (binascii.Error, ValueError) as error:
            raise IdentityError(
                f"not a public key: got {text[:20]!r}…, expected 32 bytes of Ed25519 public key in base64"
            ) from error

    def verify(self, payload_type: str, payload: bytes, signature: str) -> None:
        """Raises `VerificationError` unless `signature` (base64) is this key's over exactly these bytes."""
        try:
            raw = base64.b64decode(signature, validate=True)
            self._key.verify(raw, pre_authentication_encoding(payload_type, payload))
        except (binascii.Error, ValueError, InvalidSignature) as error:
            raise VerificationError(f"the signature by key {self.key_id} does not match what is stored") from error


class SigningKey:
    """A private Ed25519 key and its public half."""

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._key = private_key
        self.public = VerifyingKey(private_key.public_key())

    @property
    def key_id(self) -> str:
        """First 16 hex digits of the SHA-256 of the public key."""
        return self.public.key_id

    @classmethod
    def generate(cls) -> SigningKey:
        """A new random key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Read a PKCS#8 PEM file. Raises `UsageError` naming the file when it cannot be read as one."""
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read a private key from {path}: {error}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise UsageError(f"{path} holds another kind of key; expected an Ed25519 private key")
        return cls(key)

    def save(self, path: Path) -> None:
        """Write PKCS#8 PEM, readable by its owner only. An existing file is never overwritten (`UsageError`)."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)  # appears whole or not at all, and never over another file
        except FileExistsError as error:
            raise UsageError(f"{path} exists already; a key is never overwritten") from error
        finally:
            draft.unlink()

    @classmethod
    def load_or_create(cls, path: Path) -> SigningKey:
        """Read the key at `path`, or make one there; two processes that race end with the same key."""
        if not path.exists():
            try:
                cls.generate().save(path)
            except UsageError:
                if not path.exists():
                    raise
        return cls.load(path)

    def seed(self) -> bytes:
        """The 32 private bytes, for a library that signs other formats with the same key. Never for a record."""
        return self._key.private_bytes_raw()

    def sign(self, payload_type: str, payload: bytes) -> str:
        """The signature over these bytes, in base64."""
        return base64.b64encode(self._key.sign(pre_authentication_encoding(payload_type, payload))).decode()
