"""Proofs from a tree that is hashed once: every complete subtree is kept, so that a proof only looks hashes up.

The files are c2sp.org/tlog-proof@v1 and, for consistency, what an add-checkpoint request of c2sp.org/tlog-witness says.
`remit.ledger.merkle` proves the same from the leaf hashes alone; the tests compare the two.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from hashlib import sha256

from remit.errors import VerificationError
from remit.ledger.merkle import EMPTY_ROOT, HASH_SIZE, node_hash


class Tree:
    """All complete subtrees of a log, 64 bytes a leaf. Grows by `extend`; proves within any size it has reached."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels: list[bytearray] = [bytearray()]
        self._right: tuple[int, dict[tuple[int, int], bytes]] = (0, {})
        self.extend(leaves)

    @property
    def size(self) -> int:
        """How many leaves."""
        return len(self._levels[0]) // HASH_SIZE

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaf hashes, then complete what they complete, one level after the other."""
        self._levels[0] += b"".join(leaves)
        level = 0
        while len(self._levels[level]) >= 2 * HASH_SIZE:
            below = self._levels[level]
            if level + 1 == len(self._levels):
                self._levels.append(bytearray())
            above = self._levels[level + 1]
            raw = bytes(below[2 * len(above) : len(below) - len(below) % (2 * HASH_SIZE)])
            above += b"".join(
                [sha256(b"\x01" + raw[at : at + 2 * HASH_SIZE]).digest() for at in range(0, len(raw), 2 * HASH_SIZE)]
            )
            level += 1

    def nodes(self, level: int, start: int, end: int) -> bytes:
        """Hashes of the complete subtrees of 2^`level` leaves, from number `start` to before `end`, concatenated."""
        return bytes(self._levels[level][start * HASH_SIZE : end * HASH_SIZE])

    def leaf(self, index: int) -> bytes:
        """One leaf hash."""
        return self.nodes(0, index, index + 1)

    def root(self, size: int | None = None) -> bytes:
        """The head of the first `size` leaves; of all of them by default."""
        size = self.size if size is None else size
        self._require(size)
        return self._hash(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """The audit path of leaf `index` among the first `size`, its sibling first (RFC 9162, 2.1.3.1)."""
        size = self.size if size is None else size
        self._require(size)
        if not 0 <= index < size:
            raise VerificationError(f"no leaf {index} in a tree of {size}", index=index)
        path: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                path.append(self._hash(middle, end))
                end = middle
            else:
                path.append(self._hash(start, middle))
                start = middle
        path.reverse()
        return path

    def consistency(self, first: int, size: int | None = None) -> list[bytes]:
        """That the first `size` leaves continue the first `first` (RFC 9162, 2.1.4.1)."""
        size = self.size if size is None else size
        self._require(size)
        if not 0 <= first <= size:
            raise VerificationError(f"no tree of {first} leaves within one of {size}")
        if first in (0, size):
            return []
        path: list[bytes] = []
        start, end, whole = 0, size, True
        while first != end - start:
            middle = _split(end - start)
            if first <= middle:
                path.append(self._hash(start + middle, end))
                end = start + middle
            else:
                path.append(self._hash(start, start + middle))
                first -= middle
                start += middle
                whole = False
        if not whole:
            path.append(self._hash(start, end))
        path.reverse()
        return path

    def _require(self, size: int) -> None:
        if not 0 <= size <= self.size:
            raise VerificationError(f"no tree of {size} leaves here; there are {self.size}")

    def _hash(self, start: int, end: int) -> bytes:
        """The head of leaves `start` to before `end`, where `start` is a multiple of the largest power of two in it."""
        count = end - start
        if count & (count - 1) == 0:
            level = count.bit_length() - 1
            return self.nodes(level, start >> level, (start >> level) + 1)
        if self._right[0] != end:  # the right edge of one size is the same for all of its proofs
            self._right = (end, {})
        known = self._right[1]
        found = known.get((start, end))
        if found is None:
            middle = start + _split(count)
            right = self._hash(middle, end)
            found = known[start, end] = node_hash(self._hash(start, middle), right)
        return found


def _split(size: int) -> int:
    return 1 << (size - 1).bit_length() - 1


def inclusion_text(index: int, path: Sequence[bytes], checkpoint: bytes) -> bytes:
    """An inclusion proof as c2sp.org/tlog-proof@v1, without extra data."""
    return b"c2sp.org/tlog-proof@v1\nindex %d\n%b\n%b" % (index, _lines(path), checkpoint)


def consistency_text(first: int, path: Sequence[bytes], checkpoint: bytes) -> bytes:
    """A consistency proof from `first` records to the checkpoint, as an add-checkpoint request has it."""
    return b"old %d\n%b\n%b" % (first, _lines(path), checkpoint)


def _lines(path: Sequence[bytes]) -> bytes:
    return b"".join(base64.b64encode(step) + b"\n" for step in path)
