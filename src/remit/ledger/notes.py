"""Signed notes, checkpoints, cosignatures and verifier keys as C2SP defines them (c2sp.org/signed-note,
c2sp.org/tlog-checkpoint, c2sp.org/tlog-cosignature).

```
body  = origin "\\n" size "\\n" base64(root) "\\n"
note  = body "\\n" "— " name " " base64(key id [4] || ed25519(body) [64]) "\\n" …
cosig = "— " name " " base64(key id [4] || time [8] || ed25519("cosignature/v1\\ntime " time "\\n" body) [64]) "\\n"
keyid = SHA-256(name || "\\n" || algorithm || public key)[:4]      algorithm: 0x01 a log's, 0x04 a witness's
vkey  = name "+" hex(key id) "+" base64(algorithm || public key)
```

One text for one note: base64 is canonical or refused, lines end in "\\n" only, control characters are refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from remit.errors import VerificationError
from remit.ledger.merkle import HASH_SIZE

MAX_NOTE: Final = 1_000_000
"""Bytes of note that are looked at. C2SP asks verifiers to bound what they read."""

MAX_SIGNATURES: Final = 100
ALGORITHM_ED25519: Final = b"\x01"
ALGORITHM_COSIGNATURE: Final = b"\x04"

_DASH: Final = "— "
_NAME: Final = re.compile(r"[^\s+\x00-\x20\x7f]{1,200}\Z")
_DECIMAL: Final = re.compile(r"(0|[1-9][0-9]{0,18})\Z")


def decode_base64(text: str, what: str) -> bytes:
    """Standard base64 in its only canonical form: no other alphabet, no line breaks, no unused bits set."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise VerificationError(f"{what} is not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise VerificationError(f"{what} is not canonical base64")
    return raw


def require_name(name: str) -> str:
    """A key name or origin: no spaces, no plus, no control characters. Raises `VerificationError`."""
    if not _NAME.match(name):
        raise VerificationError(
            f"{name!r} is not a log's name: expected text without spaces, plus and control characters"
        )
    return name


@dataclass(frozen=True, slots=True)
class _Key:
    """A public key under a name. What it signs depends on its algorithm."""

    name: str
    public_key: bytes

    algorithm: ClassVar[bytes]
    called: ClassVar[str]

    @property
    def key_id(self) -> bytes:
        """Four bytes that pick the key's signature out of a note."""
        return hashlib.sha256(self.name.encode() + b"\n" + self.algorithm + self.public_key).digest()[:4]

    @property
    def vkey(self) -> str:
        """The verifier key as text, the form in which it is pinned and handed to auditors."""
        encoded = base64.b64encode(self.algorithm + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Read a vkey. Raises `VerificationError` unless it is the canonical text of such a key."""
        parts = vkey.split("+", 2)
        if len(parts) != 3:
            raise VerificationError("not a verifier key: expected NAME+KEYID+BASE64")
        name, key_id, encoded = parts
        raw = decode_base64(encoded, "the key in the verifier key")
        if raw[:1] != cls.algorithm or len(raw) != 33:
            raise VerificationError(f"the verifier key {name} is not {cls.called}")
        found = cls(require_name(name), raw[1:])
        if found.key_id.hex() != key_id:
            raise VerificationError(
                f"the verifier key says key id {key_id!r}; its name and key give {found.key_id.hex()}"
            )
        return found

    def _check(self, message: bytes, signature: bytes, what: str) -> None:
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise VerificationError(f"the {what} of {self.name} does not match the note") from error


@dataclass(frozen=True, slots=True)
class Verifier(_Key):
    """The public key of a log, under its name."""

    algorithm = ALGORITHM_ED25519
    called = "the Ed25519 key of a log (algorithm 1)"

    def verify(self, body: bytes, signature: bytes) -> None:
        """Raises `VerificationError` unless `signature` (64 bytes) is this key's over `body`."""
        self._check(body, signature, "signature")


@dataclass(frozen=True, slots=True)
class WitnessKey(_Key):
    """The public key of a witness, under its name."""

    algorithm = ALGORITHM_COSIGNATURE
    called = "the Ed25519 key of a witness (algorithm 4)"

    def verify(self, body: bytes, signature: bytes) -> int:
        """When the witness saw this to be the newest head: seconds since the epoch, as `signature` (8 + 64 bytes) says.

        Raises `VerificationError` unless it is this key's cosignature on a checkpoint with this body.
        """
        moment = int.from_bytes(signature[:8], "big")
        if not 0 < moment < 1 << 63:
            raise VerificationError(f"the cosignature of {self.name} says no time at which it was made")
        self._check(_cosigned(body, moment), signature[8:], "cosignature")
        return moment


class Cosigner:
    """Cosigns checkpoints under a witness's name."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self.key = WitnessKey(require_name(name), _raw(key))
        self._sign = key.sign

    def line(self, body: bytes, moment: int) -> bytes:
        """The cosignature on a checkpoint with this body, as the line that goes to the end of its note."""
        signature = self.key.key_id + moment.to_bytes(8, "big") + self._sign(_cosigned(body, moment))
        return f"{_DASH}{self.key.name} ".encode() + base64.b64encode(signature) + b"\n"


def _cosigned(body: bytes, moment: int) -> bytes:
    return b"cosignature/v1\ntime %d\n%b" % (moment, body)


class Signer:
    """Signs notes under a log's name."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self.verifier = Verifier(require_name(name), _raw(key))
        self._sign = key.sign
        self._prefix = self.verifier.key_id
        self._line = f"\n{_DASH}{name} ".encode()

    def note(self, body: bytes) -> bytes:
        """The signed note over `body`, which ends in a newline."""
        return body + self._line + base64.b64encode(self._prefix + self._sign(body)) + b"\n"

    def checkpoint(self, size: int, root: bytes) -> bytes:
        """The signed tree head."""
        return self.note(checkpoint_body(self.verifier.name, size, root))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint says: this log, this many leaves, this root."""

    origin: str
    size: int
    root: bytes


def checkpoint_body(origin: str, size: int, root: bytes) -> bytes:
    """The bytes of a checkpoint that are signed."""
    return b"%s\n%d\n%s\n" % (origin.encode(), size, base64.b64encode(root))


class Note(NamedTuple):
    """A note taken apart: the text that is signed, and (name, key id and signature) of each line below it."""

    body: bytes
    signatures: tuple[tuple[str, bytes], ...]

    def by(self, key: _Key) -> list[bytes]:
        """The signatures that say they are this key's."""
        return [raw[4:] for name, raw in self.signatures if name == key.name and raw[:4] == key.key_id]


def read_note(note: bytes) -> Note:
    """Take a note apart; no signature is checked. Raises `VerificationError` when it is malformed."""
    text = _note_text(note)
    body, gap, tail = text.rpartition("\n\n")
    if not gap or not tail.endswith("\n"):
        raise VerificationError("not a signed note: no blank line between text and signatures")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise VerificationError(f"the note has {len(lines)} signatures; at most {MAX_SIGNATURES} are read")
    return Note((body + "\n").encode(), tuple(map(_signature, lines)))


def open_note(note: bytes, verifier: Verifier) -> bytes:
    """The body of a note that `verifier` signed. Signatures by other keys are left aside, as C2SP asks.

    Raises `VerificationError` when the note is malformed, or not signed by this key exactly once.
    """
    found = read_note(note)
    ours = found.by(verifier)
    if len(ours) != 1:
        raise VerificationError(f"the note carries {len(ours)} signatures by {verifier.name}; expected exactly one")
    verifier.verify(found.body, ours[0])
    return found.body


def cosignatures(note: bytes, keys: Iterable[WitnessKey]) -> dict[WitnessKey, int]:
    """Which of these witnesses cosigned the checkpoint, and when (seconds since the epoch; the latest, if several).

    Other signatures are left aside. Raises `VerificationError` for a malformed note, and for a line that names one of
    these keys and is not its cosignature.
    """
    found = read_note(note)
    read_checkpoint(found.body)
    moments = {key: [key.verify(found.body, one) for one in found.by(key)] for key in keys}
    return {key: max(times) for key, times in moments.items() if times}


def open_checkpoint(note: bytes, verifier: Verifier) -> Checkpoint:
    """The checkpoint in a note that `verifier` signed, whose first line must be the verifier's name.

    Raises `VerificationError`. Extension lines are refused: this log writes none.
    """
    found = read_checkpoint(open_note(note, verifier))
    if found.origin != verifier.name:
        raise VerificationError(f"the checkpoint is of log {found.origin!r}; expected {verifier.name!r}")
    return found


def read_checkpoint(body: bytes) -> Checkpoint:
    """The checkpoint that the text of a note is. Raises `VerificationError`. Extension lines are refused."""
    lines = body.decode().split("\n")
    if len(lines) != 4 or lines[3]:
        raise VerificationError("not a checkpoint: expected three lines, origin, size and root")
    origin, size, root = lines[:3]
    return Checkpoint(origin, read_size(size), read_root(root))


def read_size(text: str) -> int:
    """A number of leaves, as every format here writes it. Raises `VerificationError`."""
    if not _DECIMAL.match(text):
        raise VerificationError("the size in the checkpoint is not a plain decimal number")
    return int(text)


def read_root(text: str) -> bytes:
    """A hash, as every format here writes it. Raises `VerificationError`."""
    raw = decode_base64(text, "the root in the checkpoint")
    if len(raw) != HASH_SIZE:
        raise VerificationError("the root in the checkpoint is not 32 bytes long")
    return raw


def _note_text(note: bytes) -> str:
    if len(note) > MAX_NOTE:
        raise VerificationError(f"the note is {len(note)} bytes long; at most {MAX_NOTE} are read")
    try:
        text = note.decode()
    except UnicodeDecodeError as error:
        raise VerificationError("the note is not UTF-8") from error
    if any(char < " " and char != "\n" for char in text):
        raise VerificationError("the note contains control characters")
    return text


def _signature(line: str) -> tuple[str, bytes]:
    if not line.startswith(_DASH):
        raise VerificationError("a signature line does not begin with an em dash and a space")
    name, space, encoded = line[len(_DASH) :].partition(" ")
    raw = decode_base64(encoded, "a signature")
    if not space or not _NAME.match(name) or len(raw) < 5:
        raise VerificationError("a signature line is not NAME BASE64")
    return name, raw


def _raw(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
