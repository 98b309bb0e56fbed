"""The tree of RFC 6962 and the proofs of RFC 9162: exhaustively for small trees, by property for larger ones."""

from __future__ import annotations

import hashlib
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.errors import VerificationError
from remit.ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [leaf_hash(bytes([n])) for n in range(70)]


def by_definition(leaves: list[bytes]) -> bytes:
    """MTH as RFC 6962 section 2.1 writes it down."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + by_definition(leaves[:k]) + by_definition(leaves[k:])).digest()


@cache
def root(size: int) -> bytes:
    """The head of the first `size` leaves."""
    return root_of(LEAVES[:size])


def test_published_vectors_hold() -> None:
    """Roots of the test vectors of Certificate Transparency (RFC 6962 reference data)."""
    data = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    leaves = [leaf_hash(bytes.fromhex(item)) for item in data]
    expected = {
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }
    assert {size: root_of(leaves[:size]).hex() for size in expected} == expected
    assert root_of([]) == EMPTY_ROOT


@pytest.mark.requirement("R6")
def test_every_leaf_of_every_tree_up_to_70_is_proved_and_no_other() -> None:
    """For every size and index the proof holds for its leaf and for no neighbour."""
    for size in range(1, 71):
        assert root(size) == by_definition(LEAVES[:size])
        for index in range(size):
            proof = inclusion_proof(LEAVES[:size], index)
            verify_inclusion(LEAVES[index], index, size, proof, root(size))
            with pytest.raises(VerificationError):
                verify_inclusion(LEAVES[(index + 1) % 70], index, size, proof, root(size))
            if size > 1:
                with pytest.raises(VerificationError):
                    verify_inclusion(LEAVES[index], (index + 1) % size, size, proof, root(size))


@pytest.mark.requirement("R6")
def test_every_pair_of_trees_up_to_70_is_consistent_and_no_rewritten_one() -> None:
    """For every pair of sizes the proof holds, and does not with another old or new root."""
    other = leaf_hash(b"other")
    for second in range(71):
        for first in range(second + 1):
            proof = consistency_proof(LEAVES[:second], first)
            verify_consistency(first, root(first), second, root(second), proof)
            with pytest.raises(VerificationError):
                verify_consistency(first, other, second, root(second), proof)
            if 0 < first < second:
                with pytest.raises(VerificationError):
                    verify_consistency(first, root(first), second, other, proof)
                with pytest.raises(VerificationError):
                    verify_consistency(first, root(first), second, root(second), proof[:-1])


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=300), st.data())
@settings(max_examples=60, deadline=None)
def test_proofs_of_larger_trees_hold_and_break_with_any_change(content: list[bytes], data: st.DataObject) -> None:
    """A changed hash, a missing one, an added one: each breaks the proof."""
    leaves = [leaf_hash(item) for item in content]
    index = data.draw(st.integers(0, len(leaves) - 1))
    first = data.draw(st.integers(1, len(leaves)))
    head = root_of(leaves)
    proof = inclusion_proof(leaves, index)
    verify_inclusion(leaves[index], index, len(leaves), proof, head)
    for broken in _variants(proof):
        with pytest.raises(VerificationError):
            verify_inclusion(leaves[index], index, len(leaves), broken, head)
    between = consistency_proof(leaves, first)
    verify_consistency(first, root_of(leaves[:first]), len(leaves), head, between)
    for broken in _variants(between):
        with pytest.raises(VerificationError):
            verify_consistency(first, root_of(leaves[:first]), len(leaves), head, broken)


def _variants(proof: list[bytes]) -> list[list[bytes]]:
    added = [*proof, EMPTY_ROOT]
    if not proof:
        return [added]
    flipped = [bytes([proof[0][0] ^ 1]) + proof[0][1:], *proof[1:]]
    return [added, flipped, proof[1:], proof[:-1], [proof[0][:31], *proof[1:]]]


@pytest.mark.requirement("R6")
def test_every_flipped_bit_of_a_proof_is_refused() -> None:
    """All bits of an inclusion and of a consistency proof in a tree of 70, one after the other."""
    inclusion = inclusion_proof(LEAVES, 41)
    consistency = consistency_proof(LEAVES, 37)
    for proof, check in (
        (inclusion, lambda found: verify_inclusion(LEAVES[41], 41, 70, found, root(70))),
        (consistency, lambda found: verify_consistency(37, root(37), 70, root(70), found)),
    ):
        raw = b"".join(proof)
        for bit in range(len(raw) * 8):
            changed = bytearray(raw)
            changed[bit // 8] ^= 1 << bit % 8
            hashes = [bytes(changed[at : at + 32]) for at in range(0, len(changed), 32)]
            with pytest.raises(VerificationError):
                check(hashes)


def test_a_frontier_grows_to_the_same_heads_and_survives_being_stored() -> None:
    """Appending needs only the frontier: a few hashes, however long the log."""
    frontier = Frontier()
    for size, leaf in enumerate(LEAVES):
        assert frontier.root() == root(size)
        frontier = Frontier.from_bytes(frontier.size, frontier.to_bytes())
        frontier.append(leaf)
        assert len(frontier.peaks) <= 7
    with pytest.raises(VerificationError):
        Frontier.from_bytes(3, b"\0" * 32)
    with pytest.raises(VerificationError):
        Frontier.from_bytes(1, b"\0" * 31)


def test_proofs_of_what_is_not_there_are_refused() -> None:
    """Indexes and sizes outside the tree raise, on both sides."""
    with pytest.raises(VerificationError):
        inclusion_proof(LEAVES, 70)
    with pytest.raises(VerificationError):
        consistency_proof(LEAVES, 71)
    with pytest.raises(VerificationError):
        verify_inclusion(LEAVES[0], 0, 0, [], EMPTY_ROOT)
    with pytest.raises(VerificationError):
        verify_consistency(2, root(2), 1, root(1), [])
    assert node_hash(LEAVES[0], LEAVES[1]) == root(2)
