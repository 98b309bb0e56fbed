"""Which key signs which heads: an epoch is a key and the sizes of the checkpoints that it may sign.

```
VKEY            signs every head
VKEY@FROM-TO    signs heads of FROM records and more, but fewer than TO
VKEY@FROM-      … and no end yet
```

A key that was rotated away signs nothing beyond its epoch, whoever holds it, and a new one nothing before. Without
that bound a stolen old key could sign a new history, and a new key an old one (CVE-2023-31439 was such a mistake).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from remit.errors import VerificationError
from remit.ledger.notes import Checkpoint, Verifier, open_checkpoint, read_checkpoint, read_note

_RANGE: Final = re.compile(r"(?P<vkey>.+)@(?P<start>0|[1-9][0-9]{0,18})-(?P<end>[1-9][0-9]{0,18})?\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Epoch:
    """`verifier` signs heads of `start` records and more, but fewer than `end` (None: no end yet)."""

    verifier: Verifier
    start: int = 0
    end: int | None = None

    @classmethod
    def parse(cls, text: str) -> Epoch:
        """Read `VKEY`, `VKEY@FROM-` or `VKEY@FROM-TO`. Raises `VerificationError`."""
        found = _RANGE.match(text)
        if found is None:
            return cls(Verifier.parse(text))
        start, end = int(found["start"]), found["end"]
        epoch = cls(Verifier.parse(found["vkey"]), start, int(end) if end is not None else None)
        if epoch.end is not None and epoch.end <= epoch.start:
            raise VerificationError(f"the key {epoch.verifier.name}@{start}-{end} signs no head: its end is its start")
        return epoch

    @property
    def text(self) -> str:
        """As `parse` reads it."""
        return f"{self.verifier.vkey}@{self.start}-{'' if self.end is None else self.end}"

    def contains(self, size: int) -> bool:
        """Whether this key signs heads of `size` records."""
        return self.start <= size and (self.end is None or size < self.end)


@dataclass(frozen=True, slots=True)
class LogKeys:
    """The keys of one log, each for its own sizes, earliest first."""

    epochs: tuple[Epoch, ...]

    def __post_init__(self) -> None:
        if not self.epochs:
            raise VerificationError("no key of the log is given, so nothing can be verified")
        if any(epoch.verifier.name != self.origin for epoch in self.epochs):
            names = sorted({epoch.verifier.name for epoch in self.epochs})
            raise VerificationError(f"the keys belong to different logs: {', '.join(names)}")
        for before, after in pairwise(self.epochs):
            if before.end is None or before.end > after.start:
                raise VerificationError(
                    f"two keys of {self.origin} sign heads of {after.start} records: "
                    f"give each the sizes that it signs, as VKEY@FROM-TO (`remit key list` shows them)"
                )

    @classmethod
    def of(cls, verifier: Verifier) -> LogKeys:
        """One key for everything."""
        return cls((Epoch(verifier),))

    @classmethod
    def parse(cls, texts: Iterable[str]) -> LogKeys:
        """Read keys in any order; see `Epoch.parse`. Raises `VerificationError`, also when two sign the same sizes."""
        return cls(tuple(sorted(map(Epoch.parse, texts), key=lambda epoch: epoch.start)))

    @property
    def origin(self) -> str:
        """The log's name, which no rotation changes."""
        return self.epochs[0].verifier.name

    @property
    def current(self) -> Verifier:
        """The newest key."""
        return self.epochs[-1].verifier

    def at(self, size: int) -> Verifier:
        """The key that signs heads of `size` records. Raises `VerificationError` when none of these does."""
        for epoch in self.epochs:
            if epoch.contains(size):
                return epoch.verifier
        raise VerificationError(f"no key that is known here signs heads of {size} records of {self.origin}")

    def open(self, note: bytes) -> Checkpoint:
        """The checkpoint in a note that was signed by the key of just its size. Raises `VerificationError`."""
        said = read_note(note)
        size = read_checkpoint(said.body).size
        verifier = self.at(size)
        if not said.by(verifier):
            for epoch in self.epochs:
                if said.by(epoch.verifier):
                    raise VerificationError(
                        f"the head of {size} records is signed by key {epoch.verifier.key_id.hex()}, which signs "
                        f"{_range(epoch)}; heads of that size are signed by {verifier.key_id.hex()}"
                    )
            if any(name == self.origin for name, _ in said.signatures):
                raise VerificationError(
                    f"the head of {size} records of {self.origin} is signed by no key that is known here: someone else "
                    "signed it, or the log's key may have been rotated (whoever runs it has the list: `remit key list`)"
                )
        return open_checkpoint(note, verifier)

    def rotated(self, verifier: Verifier, start: int) -> LogKeys:
        """These keys, and `verifier` for heads of `start` records and more."""
        if any(epoch.verifier == verifier for epoch in self.epochs):
            raise VerificationError(f"key {verifier.key_id.hex()} was a key of this log before; make a new one")
        *before, last = self.epochs
        return LogKeys((*before, Epoch(last.verifier, last.start, start), Epoch(verifier, start)))


def _range(epoch: Epoch) -> str:
    if epoch.end is None:
        return f"heads of {epoch.start} records and more"
    return f"heads of {epoch.start} to {epoch.end - 1} records"
