"""The log as far as it has been walked: settles what each stretch left to settle, in the order of the records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from remit.errors import VerificationError
from remit.ledger.keys import Pin
from remit.ledger.merkle import EMPTY_ROOT, Frontier, node_hash
from remit.ledger.walking import (
    Brought,
    Claim,
    Closed,
    First,
    Opened,
    Place,
    Signed,
    Stretch,
    Writer,
    misplaced,
    opened_late,
    require_next,
)


class Unsigned(VerificationError):
    """Some of the records `first` to `last` are not what a checkpoint signs."""

    def __init__(self, head: Any, first: int, last: int) -> None:
        super().__init__(
            f"the records up to {last} do not give the root that the checkpoint of {head} signs: "
            f"one of the records {first} to {last} was changed",
            index=first,
        )
        self.first = first
        self.last = last


@dataclass(slots=True)
class Trace:
    """What the records said, for the steps after them."""

    pin: Pin
    frontier: Frontier = field(default_factory=Frontier)
    writers: dict[str, Writer] = field(default_factory=dict)
    sessions: dict[str, dict[str, int]] = field(default_factory=dict)
    artefacts: dict[str, int] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)
    rotations: dict[int, Any] = field(default_factory=dict)
    rotations_signed: set[int] = field(default_factory=set)
    private: int = 0
    checkpoints: int = 0
    signed: int = 0
    signed_frontier: bytes = b""
    root: bytes = EMPTY_ROOT
    pinned_seen: bool = False
    relaxed: int = 0
    lost: int = 0

    def join(self, stretch: Stretch) -> None:
        """Go on with the stretch that follows. Raises `VerificationError`: the first thing in it that is wrong."""
        before = b"".join(self.frontier.peaks)
        self.rotations.update(stretch.rotations)
        for claim in stretch.claims:
            self._settle(claim)
        if stretch.failure is not None:
            raise stretch.failure
        if stretch.signed_peaks:
            self.signed_frontier = before + stretch.signed_peaks
        self._grow(Frontier.from_bytes(stretch.size, stretch.peaks))
        self._add(stretch)

    def await_index(self, stretch: Stretch) -> int:
        """Records that have no index yet: all but their place in the tree is settled. Returns how many there are."""
        for claim in stretch.claims:
            self._settle(claim)
        if stretch.failure is not None:
            raise stretch.failure
        self._add(stretch)
        return stretch.size

    def _add(self, stretch: Stretch) -> None:
        self.writers.update(stretch.writers)
        for session, counts in stretch.sessions.items():
            self.sessions.setdefault(session, {}).update(counts)
        self.erased |= stretch.erased
        self.private += stretch.private
        self.relaxed += stretch.relaxed
        self.lost += stretch.lost

    def _grow(self, own: Frontier) -> None:
        """The stretch's own subtrees, appended: whole ones may make a larger one with those that are there.

        This holds for a stretch that begins at a multiple of its length.
        """
        frontier = self.frontier
        heights = [height for height in reversed(range(own.size.bit_length())) if own.size >> height & 1]
        for height, node in zip(heights, own.peaks, strict=True):
            rest = frontier.size >> height
            while rest & 1:
                node = node_hash(frontier.peaks.pop(), node)
                rest >>= 1
            frontier.peaks.append(node)
            frontier.size += 1 << height

    def _settle(self, claim: Claim) -> None:
        match claim:
            case Signed():
                self._head(claim)
            case First(index, name, wseq, prev, time):
                require_next(self.writers.get(name) or Writer(), index, name, wseq, prev, time)
            case Place(index, session, writer, sseq):
                expected = self.sessions.get(session, {}).get(writer, 0)
                if sseq != expected:
                    raise misplaced(index, session, sseq, expected)
            case Opened(index, session):
                if self.sessions.get(session):
                    raise opened_late(index, session)
            case Closed(index, session, said, here):
                counts = self.sessions.get(session, {}) | here
                last = {name: count - 1 for name, count in counts.items()}
                if said != last:
                    raise VerificationError(
                        f"record {index} closes session {session} after {said}; the records show {last}", index=index
                    )
            case Brought(index, digest):
                if not isinstance(digest, str) or digest in self.artefacts:
                    raise VerificationError(
                        f"record {index} names artefact {digest!r}, which an earlier one brought", index=index
                    )
                self.artefacts[digest] = index

    def _head(self, claim: Signed) -> None:
        """(7)"""
        size, signed, root = claim.size, claim.signed, claim.fold
        for peak in reversed(self.frontier.peaks):
            root = node_hash(peak, root)
        if signed.size != size or signed.root != root:
            raise Unsigned(claim.row, self.signed, size - 1)
        if size == self.pin.size:
            if root != self.pin.root:
                raise VerificationError(
                    f"the head of {size} records is not the one that was seen before: history was rewritten", index=0
                )
            self.pinned_seen = True
        if size - 1 in self.rotations:
            self.rotations_signed.add(size - 1)
        self.checkpoints += 1
        self.signed = size
        self.root = root
