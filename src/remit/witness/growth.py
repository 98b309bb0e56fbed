"""From the last head that a witness cosigned to the newest one, at the cost of what came between and not of the log.

A consistency proof (RFC 9162, 2.1.4.1) names complete subtrees only: those left of the old size are peaks of the old
tree, which its frontier holds, and those right of it consist of leaves that are new.
"""

from __future__ import annotations

from collections.abc import Sequence

from remit.ledger.merkle import Frontier, root_of


def grow(old: Frontier, leaves: Sequence[bytes]) -> tuple[list[bytes], Frontier]:
    """That the tree `old` followed by these leaf hashes continues it, and the frontier of that tree."""
    grown = old.copy()
    for leaf in leaves:
        grown.append(leaf)
    return _proof(old, leaves), grown


def _proof(old: Frontier, leaves: Sequence[bytes]) -> list[bytes]:
    if old.size == 0 or not leaves:
        return []
    peaks = _peaks(old)
    path: list[bytes] = []
    start, end, whole = 0, old.size + len(leaves), True
    while old.size != end:
        middle = start + (1 << (end - start - 1).bit_length() - 1)
        if old.size <= middle:
            path.append(root_of(leaves[middle - old.size : end - old.size]))
            end = middle
        else:
            path.append(peaks[start, middle])
            start, whole = middle, False
    if not whole:
        path.append(peaks[start, end])
    path.reverse()
    return path


def _peaks(frontier: Frontier) -> dict[tuple[int, int], bytes]:
    """The complete subtrees of a tree by the leaves that they span."""
    found: dict[tuple[int, int], bytes] = {}
    start = 0
    for peak in frontier.peaks:
        end = start + (1 << (frontier.size - start).bit_length() - 1)
        found[start, end] = peak
        start = end
    return found
