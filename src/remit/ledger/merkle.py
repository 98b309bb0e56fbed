"""The Merkle tree of RFC 6962 over SHA-256: heads, proofs, and the checks of RFC 9162 (2.1.3.2 and 2.1.4.2).

Hashes are 32 raw bytes. A tree of `size` leaves is kept as its frontier: the roots of its complete subtrees, largest
first, one for each 1 bit of `size`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from remit.errors import VerificationError

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

_sha256 = hashlib.sha256


def leaf_hash(record: bytes) -> bytes:
    """`SHA-256(0x00 || record)`."""
    return _sha256(b"\x00" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """`SHA-256(0x01 || left || right)`."""
    return _sha256(b"\x01" + left + right).digest()


class Frontier:
    """A tree that only grows, in 32 bytes for each 1 bit of its size."""

    __slots__ = ("peaks", "size")

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self.peaks = list(peaks)
        if len(self.peaks) != size.bit_count() or any(len(peak) != HASH_SIZE for peak in self.peaks):
            raise VerificationError(
                f"a tree of {size} leaves has {size.bit_count()} complete subtrees; got {len(self.peaks)} hashes"
            )

    @classmethod
    def from_bytes(cls, size: int, peaks: bytes) -> Frontier:
        """Read what `to_bytes` wrote. Raises `VerificationError` when size and hashes do not belong together."""
        return cls(size, [peaks[at : at + HASH_SIZE] for at in range(0, len(peaks), HASH_SIZE)])

    def to_bytes(self) -> bytes:
        """The peaks, concatenated."""
        return b"".join(self.peaks)

    def copy(self) -> Frontier:
        """A frontier that grows apart from this one."""
        return Frontier(self.size, self.peaks)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        size, peaks = self.size, self.peaks
        while size & 1:
            leaf = _sha256(b"\x01" + peaks.pop() + leaf).digest()
            size >>= 1
        peaks.append(leaf)
        self.size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaf hashes, level by level: the same tree as one `append` after the other, sooner."""
        nodes, peaks, rest = list(leaves), self.peaks, self.size
        self.size += len(nodes)
        fresh: list[bytes] = []
        while nodes:
            if rest & 1:
                nodes.insert(0, peaks.pop())
            if len(nodes) & 1:
                fresh.append(nodes.pop())
            nodes = [
                _sha256(b"\x01" + left + right).digest() for left, right in zip(nodes[::2], nodes[1::2], strict=True)
            ]
            rest >>= 1
        fresh.reverse()
        peaks += fresh

    def root(self) -> bytes:
        """The tree head (RFC 6962, 2.1); SHA-256 of nothing when there is no leaf."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = _sha256(b"\x01" + peak + root).digest()
        return root


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The tree head over these leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def _split(size: int) -> int:
    """The largest power of two below `size` (≥ 2)."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of leaf `index` in the tree over all of `leaves`, the leaf's sibling first (RFC 9162, 2.1.3.1)."""
    if not 0 <= index < len(leaves):
        raise VerificationError(f"no leaf {index} in a tree of {len(leaves)}", index=index)
    path: list[bytes] = []
    start, end = 0, len(leaves)
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(root_of(leaves[middle:end]))
            end = middle
        else:
            path.append(root_of(leaves[start:middle]))
            start = middle
    path.reverse()
    return path


def consistency_proof(leaves: Sequence[bytes], first: int) -> list[bytes]:
    """That the tree over the first `first` leaves is a prefix of the tree over all of them (RFC 9162, 2.1.4.1)."""
    if not 0 <= first <= len(leaves):
        raise VerificationError(f"no tree of {first} leaves within one of {len(leaves)}")
    if first in (0, len(leaves)):
        return []
    path: list[bytes] = []
    start, end, whole = 0, len(leaves), True
    while first != end - start:
        middle = _split(end - start)
        if first <= middle:
            path.append(root_of(leaves[start + middle : end]))
            end = start + middle
        else:
            path.append(root_of(leaves[start : start + middle]))
            first -= middle
            start += middle
            whole = False
    if not whole:
        path.append(root_of(leaves[start:end]))
    path.reverse()
    return path


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check an audit path (RFC 9162, 2.1.3.2). Raises `VerificationError` unless `leaf` is at `index` under `root`."""
    if not 0 <= index < size:
        raise VerificationError(f"no leaf {index} in a tree of {size}", index=index)
    _require_hashes([leaf, root, *proof], index)
    position, last, found = index, size - 1, leaf
    for step in proof:
        if last == 0:
            raise VerificationError(f"the inclusion proof of record {index} is too long", index=index)
        if position & 1 or position == last:
            found = node_hash(step, found)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            found = node_hash(found, step)
        position >>= 1
        last >>= 1
    if last != 0 or found != root:
        raise VerificationError(f"record {index} is not under the signed root of size {size}", index=index)


def verify_consistency(first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `first` leaves is a prefix of that of `second` (RFC 9162, 2.1.4.2).

    Raises `VerificationError` when history was rewritten, or when the proof is not one.
    """
    _require_hashes([first_root, second_root, *proof], None)
    if not 0 <= first <= second:
        raise VerificationError(f"the log shrank: size {second} after size {first}")
    if first in (0, second):
        expected = EMPTY_ROOT if first == 0 else second_root
        if proof or first_root != expected:
            raise VerificationError(f"the heads of size {first} and {second} do not agree")
        return
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        raise VerificationError(f"no proof that the log of size {second} continues that of size {first}")
    position, last = first - 1, second - 1
    while position & 1:
        position >>= 1
        last >>= 1
    old = new = path[0]
    for step in path[1:]:
        if last == 0:
            raise VerificationError("the consistency proof is too long")
        if position & 1 or position == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            new = node_hash(new, step)
        position >>= 1
        last >>= 1
    if last != 0 or old != first_root or new != second_root:
        raise VerificationError(
            f"the log of size {second} does not continue that of size {first}: history was rewritten"
        )


def _require_hashes(hashes: Sequence[bytes], index: int | None) -> None:
    if any(len(found) != HASH_SIZE for found in hashes):
        raise VerificationError("a hash in the proof is not 32 bytes long", index=index)
