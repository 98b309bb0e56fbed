"""The bodies that travel between a log and a witness (c2sp.org/tlog-witness).

```
POST /add-checkpoint     "old " size "\\n" (base64(hash) "\\n")* "\\n" checkpoint
  200                    cosignature lines
  400 malformed · 403 not signed by a trusted key · 404 unknown log · 409 other old size · 422 not consistent
GET /<sha256(origin)>/checkpoint      the newest checkpoint that was cosigned, with log signature and cosignature
```
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

from remit.errors import VerificationError
from remit.ledger.notes import read_root, read_size

MAX_BODY: Final = 65_536
"""Bytes of a request or an answer that are read: a proof of 63 hashes and a note of many signatures fit."""

MAX_PROOF: Final = 63
"""Hashes in a consistency proof, by the specification."""

SIZE_TYPE: Final = "text/x.tlog.size"
"""The media type of an answer 409."""


class Submission(NamedTuple):
    """A checkpoint, the size of the one that the sender takes for the witness's newest, and the way from there."""

    old: int
    proof: tuple[bytes, ...]
    note: bytes


def write_submission(old: int, proof: Sequence[bytes], note: bytes) -> bytes:
    """The body of a request to add a checkpoint."""
    lines = b"".join(base64.b64encode(step) + b"\n" for step in proof)
    return b"old %d\n%b\n%b" % (old, lines, note)


def read_submission(body: bytes) -> Submission:
    """Read what `write_submission` wrote. Raises `VerificationError` unless it is in its only form."""
    head, gap, note = body.partition(b"\n\n")
    if not gap:
        raise VerificationError("not a submission: no blank line between the proof and the checkpoint")
    try:
        first, *proof = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise VerificationError("the lines before the checkpoint are not ASCII") from error
    word, space, size = first.partition(" ")
    if word != "old" or not space:
        raise VerificationError("not a submission: the first line is not `old SIZE`")
    if len(proof) > MAX_PROOF:
        raise VerificationError(f"the proof has {len(proof)} lines; at most {MAX_PROOF} are read")
    return Submission(read_size(size), tuple(read_root(line) for line in proof), note)


def origin_hash(origin: str) -> str:
    """The name of a log in a witness's addresses."""
    return hashlib.sha256(origin.encode()).hexdigest()
