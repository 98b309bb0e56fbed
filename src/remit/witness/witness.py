"""What a witness decides about a head that it is shown, apart from how it is shown.

```
(1) read        old size, proof and checkpoint, each in its only form                    else 400
(2) origin      a log that this witness knows                                            else 404
(3) signature   by a key that this witness trusts for heads of that size of that log     else 403
(4) old size    not more than the new one                                                else 400
                … and exactly that of the last head that this witness cosigned           else 409, with that size
(5) proof       the new head continues the last one                                      else 422
(6) persist     the new head, durably, in the same transaction as (4) and (5)
(7) answer      the cosignature, over the head and the time
```
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.errors import EvidenceUnavailable, UsageError, VerificationError
from remit.ledger import files
from remit.ledger.epochs import Epoch
from remit.ledger.merkle import EMPTY_ROOT, verify_consistency
from remit.ledger.notes import (
    ALGORITHM_COSIGNATURE,
    Checkpoint,
    Cosigner,
    Note,
    decode_base64,
    read_checkpoint,
    read_note,
    require_name,
)
from remit.witness.state import Seen, State
from remit.witness.wire import origin_hash, read_submission

logger = logging.getLogger("remit.witness")

MAX_CLOCK_LAG: Final = 300
"""Seconds that the clock may be behind the last cosignature; beyond, nothing is cosigned until it is set right."""

_PRIVATE: Final = "PRIVATE+KEY+"


class Refused(Exception):
    """A head that is not cosigned: the status to answer with, why, and for 409 the size that is known."""

    def __init__(self, status: int, why: str, *, known: int | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.known = known


class Witness:
    """See the module's docstring. `logs` are the keys that it trusts, several of one log included."""

    def __init__(self, cosigner: Cosigner, logs: Iterable[Epoch], state: State, clock: Callable[[], datetime]) -> None:
        self.cosigner = cosigner
        self._keys: dict[str, list[Epoch]] = {}
        for epoch in logs:
            self._keys.setdefault(epoch.verifier.name, []).append(epoch)
        if not self._keys:
            raise UsageError("a witness needs to know at least one log: --log VKEY")
        self._places = {origin_hash(origin): origin for origin in self._keys}
        self._state = state
        self._clock = clock

    def add_checkpoint(self, body: bytes) -> bytes:
        """The cosignature line on the head that was submitted. Raises `Refused`, `EvidenceUnavailable`."""
        try:
            submission = read_submission(body)  # (1)
            note = read_note(submission.note)
            head = read_checkpoint(note.body)
        except (VerificationError, UnicodeDecodeError) as error:
            raise Refused(400, str(error)) from error
        self._require_trusted(head, note)  # (2), (3)
        if submission.old > head.size:  # (4)
            raise Refused(400, f"the old size {submission.old} is more than the checkpoint's {head.size}")
        lines = b""

        def judge(seen: Seen) -> Seen:
            nonlocal lines
            if submission.old != seen.size:
                raise Refused(409, f"the last head cosigned here has {seen.size} records", known=seen.size)
            self._require_consistent(seen, head, submission.proof)  # (5)
            moment = self._moment(seen)
            lines = self.cosigner.line(note.body, moment)
            return Seen(head.size, head.root, moment, self._kept(submission.note, note) + lines)

        try:
            self._state.advance(head.origin, judge)  # (6)
        except Refused as refused:
            logger.warning("not cosigned (%d, %s):\n%s", refused.status, refused, submission.note.decode())
            raise
        return lines  # (7)

    def checkpoint(self, place: str) -> bytes | None:
        """The newest head of the log whose origin has this hash, with the log's signature and the cosignature."""
        origin = self._places.get(place)
        return self._state.get(origin).note or None if origin is not None else None

    def _require_trusted(self, head: Checkpoint, note: Note) -> None:
        trusted = self._keys.get(head.origin)
        if trusted is None:
            raise Refused(404, f"this witness does not know the log {head.origin}")
        signed = False
        for epoch in trusted:
            for signature in note.by(epoch.verifier):
                try:
                    epoch.verifier.verify(note.body, signature)
                except VerificationError as error:
                    raise Refused(403, str(error)) from error
                signed = signed or epoch.contains(head.size)
        if not signed:
            raise Refused(403, f"no key that this witness trusts for heads of {head.size} records has signed this one")

    def _require_consistent(self, seen: Seen, head: Checkpoint, proof: tuple[bytes, ...]) -> None:
        try:
            if head.size == 0 and head.root != EMPTY_ROOT:
                raise VerificationError("the root of a log without records is not that of nothing")
            verify_consistency(seen.size, seen.root, head.size, head.root, proof)
        except VerificationError as error:
            raise Refused(422, str(error)) from error

    def _kept(self, submitted: bytes, note: Note) -> bytes:
        """The note without the signatures of strangers: what this witness has verified, and nothing else."""
        lines = submitted[len(note.body) + 1 :].split(b"\n")
        keys = {(epoch.verifier.name, epoch.verifier.key_id) for epoch in self._keys[read_checkpoint(note.body).origin]}
        ours = [
            line + b"\n" for line, (name, raw) in zip(lines, note.signatures, strict=False) if (name, raw[:4]) in keys
        ]
        return note.body + b"\n" + b"".join(ours)

    def _moment(self, seen: Seen) -> int:
        """Now, and never before the last time: a cosignature says that this is the newest head at its time."""
        now = int(self._clock().timestamp())
        if now + MAX_CLOCK_LAG < seen.time:
            raise EvidenceUnavailable(
                f"the clock says {now}, but the last cosignature is of {seen.time}: set the clock right"
            )
        return max(now, seen.time, 1)


def make_key(path: Path, name: str) -> Cosigner:
    """A new key in a file that does not exist yet, in the form of Go's note package. Raises `UsageError`."""
    key = Ed25519PrivateKey.generate()
    cosigner = Cosigner(require_name(name), key)
    seed = key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    encoded = base64.b64encode(ALGORITHM_COSIGNATURE + seed).decode()
    text = f"{_PRIVATE}{name}+{cosigner.key.key_id.hex()}+{encoded}\n"
    files.make_folder(path.absolute().parent)
    if not files.write_new(path.absolute(), text.encode()):
        raise UsageError(f"{path} exists already; a witness's key is never replaced by another one")
    return cosigner


def load_key(path: Path) -> Cosigner:
    """The key in a file that `make_key` wrote. Raises `UsageError`."""
    try:
        text = path.read_text(encoding="utf-8").removesuffix("\n")
        name, key_id, encoded = text.removeprefix(_PRIVATE).split("+", 2)
        raw = decode_base64(encoded, "the private key")
        if not text.startswith(_PRIVATE) or raw[:1] != ALGORITHM_COSIGNATURE:
            raise VerificationError("expected PRIVATE+KEY+NAME+KEYID+BASE64 of algorithm 4")
        cosigner = Cosigner(name, Ed25519PrivateKey.from_private_bytes(raw[1:]))
        if cosigner.key.key_id.hex() != key_id:
            raise VerificationError("its key id does not fit")
    except (OSError, ValueError, VerificationError) as error:
        raise UsageError(f"cannot read the witness's key {path}: {error}") from error
    return cosigner


def open_witness(
    key_file: Path, state_file: Path, logs: Iterable[Epoch], *, name: str | None, clock: Callable[[], datetime]
) -> Witness:
    """The witness whose key and memory lie in these files; both are made where neither exists, under `name`.

    Raises `UsageError` when only one of them is there: a key without its memory would cosign a second history.
    """
    if not key_file.exists() and not state_file.exists():
        if name is None:
            raise UsageError(f"no witness's key at {key_file} yet; --name NAME makes one, such as witness.acme.com/w1")
        return Witness(make_key(key_file, name), logs, State(state_file, create=True), clock)
    cosigner = load_key(key_file)
    if name is not None and name != cosigner.key.name:
        raise UsageError(f"the witness in {key_file} is called {cosigner.key.name}, not {name}")
    return Witness(cosigner, logs, State(state_file), clock)
