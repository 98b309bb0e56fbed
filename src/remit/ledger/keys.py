"""A ledger's home: its keys, and the pin that says from outside the database which log this is and how far it got.

```
log.key     Ed25519 private key (PKCS#8 PEM) that signs checkpoints; log.next.key the one after it, once there is one
kek.key     32 bytes that wrap record keys; destroying it erases every payload
index.key   32 bytes that key call identities, content digests and the index of touched resources
pin.json    {"origin", "vkey", "epochs", "size", "root"}: the trust root of every open and verify (the key now, and
            which key signed heads from which size on), and the last head seen
locks/      commit.lock, pin.lock, create.lock, one lease per writer
```

Files are 0600 and appear whole. `pin.json` is written last: its presence says that the ledger was created.
"""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.errors import UsageError, VerificationError
from remit.ledger import files
from remit.ledger.epochs import LogKeys
from remit.ledger.merkle import EMPTY_ROOT
from remit.ledger.notes import Signer, Verifier, require_name
from remit.ledger.salting import keyed_hash


@dataclass(frozen=True, slots=True)
class Pin:
    """Which log this is, and the last head of it that was seen here."""

    keys: LogKeys
    size: int
    root: bytes

    @property
    def verifier(self) -> Verifier:
        """The key that signs now."""
        return self.keys.current

    def to_json(self) -> bytes:
        """The pin as it lies in `pin.json`."""
        content = {
            "origin": self.keys.origin,
            "vkey": self.verifier.vkey,
            "epochs": [{"vkey": epoch.verifier.vkey, "from": epoch.start} for epoch in self.keys.epochs],
            "size": self.size,
            "root": self.root.hex(),
        }
        return json.dumps(content, indent=2).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes, path: Path) -> Pin:
        """Read a pin. Raises `VerificationError` naming the file when it is damaged."""
        try:
            found: dict[str, Any] = json.loads(content)
            first, *later = found["epochs"]
            keys = LogKeys.of(Verifier.parse(first["vkey"]))
            for epoch in later:
                keys = keys.rotated(Verifier.parse(epoch["vkey"]), int(epoch["from"]))
            pin = cls(keys, int(found["size"]), bytes.fromhex(found["root"]))
            said = (found["origin"], found["vkey"], first["from"])
        except (VerificationError, ValueError, TypeError, KeyError) as error:
            raise VerificationError(f"the pin {path} is damaged: {error}") from error
        if said != (keys.origin, keys.current.vkey, 0) or pin.size < 0 or len(pin.root) != 32:
            raise VerificationError(f"the pin {path} is damaged: origin, size or root do not fit its key")
        return pin


class Home:
    """The folder that holds a ledger's keys, pin and locks, apart from the database."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.locks = path / "locks"
        self._index_key: bytes | None = None

    @property
    def commit_lock(self) -> Path:
        """Held around every transaction that writes, and while a connection that could checkpoint closes."""
        return self.locks / "commit.lock"

    # -- making

    def create(self, origin: str | None, *, wraps: bool = True) -> None:
        """Make keys where there are none, without `kek.key` where another key `wraps`. For the pin see `pin_new`."""
        if origin is not None:
            require_name(origin)
        files.make_folder(self.path)
        files.make_folder(self.locks)
        files.write_new(self.path / "log.key", _private_key())
        if wraps:
            files.write_new(self.path / "kek.key", os.urandom(32))
        files.write_new(self.path / "index.key", os.urandom(32))

    def pin_new(self, origin: str | None) -> Pin:
        """Pin a ledger that has no record yet under `origin`, or under a name of its own."""
        name = origin or f"remit.local/{uuid.uuid4()}"
        signer = Signer(name, self._log_key())
        pin = Pin(LogKeys.of(signer.verifier), 0, EMPTY_ROOT)
        if not files.write_new(self._pin_path, pin.to_json()):
            raise UsageError(f"a ledger was created in {self.path} before; open it instead")
        return pin

    @property
    def created(self) -> bool:
        """Whether a ledger was created here: its pin exists."""
        return self._pin_path.exists()

    # -- keys

    @property
    def signs(self) -> bool:
        """Whether the log's key is here. A host that only appends to a shared database needs none."""
        return (self.path / "log.key").exists()

    def key_name(self) -> str:
        """What tells the log's key from any other, whatever the log is called."""
        return Signer("log", self._log_key()).verifier.vkey

    def signer(self, verifier: Verifier) -> Signer:
        """The log's signing key. Raises `VerificationError` when it is not the one that was pinned."""
        for _ in range(2):  # another process may move the one to the place of the other in between
            for signer in (Signer(verifier.name, self._log_key()), self.next_signer(verifier.name)):
                if signer is not None and signer.verifier == verifier:
                    return signer
        raise VerificationError(f"the key in {self.path / 'log.key'} is not the one that {self._pin_path} pins")

    def next_signer(self, name: str) -> Signer | None:
        """The key that the log's key is to be rotated to; None while there is none."""
        path = self.path / "log.next.key"
        try:
            return Signer(name, self._log_key(path))
        except UsageError:
            if path.exists():
                raise
            return None

    def make_next_key(self, name: str) -> Verifier:
        """Make the key that the log's key is to be rotated to, where there is none yet."""
        files.write_new(self.path / "log.next.key", _private_key())
        found = self.next_signer(name)
        assert found is not None
        return found.verifier

    def rotate(self, verifier: Verifier, start: int) -> LogKeys:
        """From heads of `start` records on `verifier` signs, whose private key was made by `make_next_key`.

        The old private key is gone afterwards. Doing it again changes nothing.
        """
        files.make_folder(self.locks)
        with files.locked(self.locks / "pin.lock"):
            pin = self.pin()
            if pin.keys.current != verifier:
                pin = Pin(pin.keys.rotated(verifier, start), pin.size, pin.root)
                files.replace(self._pin_path, pin.to_json())
            after = self.next_signer(verifier.name)
            if after is not None and after.verifier == verifier:
                files.move(self.path / "log.next.key", self.path / "log.key")
        return pin.keys

    def _log_key(self, path: Path | None = None) -> Ed25519PrivateKey:
        path = path or self.path / "log.key"
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read the log key {path}: {error}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise UsageError(f"{path} is not an Ed25519 private key")
        return key

    def key_encryption_key(self) -> bytes | None:
        """The key that wraps record keys; None when it is not here (destroyed, or held by somebody else)."""
        path = self.path / "kek.key"
        return self._secret(path) if path.exists() else None

    def keyed(self, *parts: str | bytes) -> str:
        """HMAC-SHA-256 under the index key over length-prefixed parts, in hex."""
        if self._index_key is None:
            self._index_key = self._secret(self.path / "index.key")
        message = b""
        for part in parts:
            raw = part.encode() if isinstance(part, str) else part
            message += b"%d:%b" % (len(raw), raw)
        return keyed_hash(self._index_key, message).hex()

    def _secret(self, path: Path) -> bytes:
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read the key {path}: {error.strerror}") from error
        if len(raw) != 32:
            raise UsageError(f"{path} holds {len(raw)} bytes; expected a key of 32")
        return raw

    # -- the pin

    @property
    def _pin_path(self) -> Path:
        return self.path / "pin.json"

    def pin(self) -> Pin:
        """The pin. Raises `VerificationError` when it is missing or damaged: without it there is no trust root."""
        try:
            content = self._pin_path.read_bytes()
        except FileNotFoundError:
            raise VerificationError(
                f"no pin at {self._pin_path}: nothing outside the database says which log this is. "
                "Restore the file, or give the home that the ledger was created with"
            ) from None
        except OSError as error:
            raise VerificationError(f"cannot read the pin {self._pin_path}: {error.strerror}") from error
        return Pin.from_json(content, self._pin_path)

    def advance_pin(self, size: int, root: bytes) -> None:
        """Remember a later head. An earlier one, or a home that cannot be written, changes nothing."""
        if size <= self.pin().size or not os.access(self.path, os.W_OK):
            return
        files.make_folder(self.locks)
        with files.locked(self.locks / "pin.lock"):
            pin = self.pin()
            if size > pin.size:
                files.replace(self._pin_path, Pin(pin.keys, size, root).to_json())


def _private_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
