"""Proofs from a frontier: the same as from all leaves."""

from __future__ import annotations

from remit.ledger.merkle import Frontier, consistency_proof, leaf_hash, root_of
from remit.witness.growth import grow


def test_every_small_tree_grows_into_every_larger_one_with_the_proof_that_all_leaves_give() -> None:
    """Exhaustive to 40 leaves: proof and root are those of the whole list."""
    leaves = [leaf_hash(b"%d" % number) for number in range(40)]
    for size in range(len(leaves) + 1):
        old = Frontier()
        for first in range(size + 1):
            proof, grown = grow(old, leaves[first:size])
            assert proof == consistency_proof(leaves[:size], first)
            assert grown.root() == root_of(leaves[:size])
            if first < size:
                old.append(leaves[first])
