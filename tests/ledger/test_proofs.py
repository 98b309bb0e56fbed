"""Proofs that are looked up in a tree, against those that are computed anew; and the tiles of a log."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.errors import VerificationError
from remit.ledger.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from remit.ledger.proofs import Tree, consistency_text, inclusion_text
from remit.ledger.tiles import entry_bundles, hash_tiles, tile_path
from remit.remit_verify import check_consistency, check_inclusion, read_consistency, read_proof

LEAVES = [leaf_hash(b"%d" % n) for n in range(70)]


def test_every_proof_of_every_size_up_to_70_is_the_same() -> None:
    """However the tree grew, and whichever earlier size is asked for."""
    tree = Tree()
    for at in range(0, 70, 7):
        tree.extend(LEAVES[at : at + 7])
    for size in range(1, 71):
        assert tree.root(size) == root_of(LEAVES[:size])
        for index in range(size):
            assert tree.inclusion(index, size) == inclusion_proof(LEAVES[:size], index)
        for first in range(size + 1):
            assert tree.consistency(first, size) == consistency_proof(LEAVES[:size], first)


@pytest.mark.requirement("R6")
def test_the_verifier_in_one_file_and_the_ledger_s_agree() -> None:
    """Two implementations, one answer, for every leaf and pair of sizes up to 40."""
    tree = Tree(LEAVES[:40])
    for size in range(1, 41):
        root = tree.root(size)
        for index in range(size):
            path = tree.inclusion(index, size)
            verify_inclusion(LEAVES[index], index, size, path, root)
            check_inclusion(LEAVES[index], index, size, path, root)
        for first in range(1, size + 1):
            path = tree.consistency(first, size)
            verify_consistency(first, tree.root(first), size, root, path)
            check_consistency(first, tree.root(first), size, root, path)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), st.data())
@settings(max_examples=50, deadline=None)
def test_a_tree_that_grew_by_any_steps_is_the_same_tree(steps: list[int], data: st.DataObject) -> None:
    """Growing in blocks of any size, empty ones included."""
    leaves = [leaf_hash(b"%d" % n) for n in range(sum(steps))]
    tree, at = Tree(), 0
    for step in steps:
        tree.extend(leaves[at : at + step])
        at += step
    assert tree.size == len(leaves)
    assert tree.root() == root_of(leaves)
    if leaves:
        index = data.draw(st.integers(0, len(leaves) - 1))
        assert tree.inclusion(index) == inclusion_proof(leaves, index)


def test_what_is_not_there_is_not_proved() -> None:
    """Sizes and indexes outside the tree."""
    tree = Tree(LEAVES[:5])
    for asking in (
        lambda: tree.inclusion(5),
        lambda: tree.inclusion(-1),
        lambda: tree.inclusion(3, 3),
        lambda: tree.consistency(6),
        lambda: tree.root(6),
        lambda: tree.consistency(1, 6),
    ):
        with pytest.raises(VerificationError, match=r"no (leaf|tree)"):
            asking()


def test_proofs_are_written_as_the_specifications_say() -> None:
    """c2sp.org/tlog-proof@v1 and the lines of add-checkpoint, to the byte; and read back."""
    checkpoint = b"acme.com/log\n7\nAA==\n\n\xe2\x80\x94 acme.com/log AAAAAAA=\n"
    path = [b"\x00" * 32, b"\xff" * 32]
    lines = b"".join(base64.b64encode(step) + b"\n" for step in path)
    assert inclusion_text(4, path, checkpoint) == b"c2sp.org/tlog-proof@v1\nindex 4\n" + lines + b"\n" + checkpoint
    assert consistency_text(4, path, checkpoint) == b"old 4\n" + lines + b"\n" + checkpoint
    found = read_proof(inclusion_text(4, path, checkpoint), "it")
    assert (found.index, list(found.path), found.checkpoint) == (4, path, checkpoint)
    assert read_proof(inclusion_text(0, [], checkpoint), "it").path == ()
    assert read_consistency(consistency_text(4, path, checkpoint), "it") == (4, tuple(path), checkpoint)


def test_tiles_have_the_names_and_widths_that_the_specification_gives() -> None:
    """Its own examples: tile 1234067, and the tiles of a log of 70,000 records and of 256."""
    assert tile_path(1234067) == "x001/x234/067"
    assert [tile_path(n) for n in (0, 999, 1000, 1_000_000)] == ["000", "999", "x001/000", "x001/x000/000"]
    tree = Tree([bytes([n % 256]) * 32 for n in range(70_000)])
    tiles = {tile.path: tile.content for tile in hash_tiles(tree)}
    assert len(tiles) == 273 + 1 + 1 + 1 + 1
    assert len(tiles["tile/0/272"]) == 8_192
    assert len(tiles["tile/0/273.p/112"]) == 112 * 32
    assert len(tiles["tile/1/000"]) == 8_192
    assert len(tiles["tile/1/001.p/17"]) == 17 * 32
    assert tiles["tile/2/000.p/1"] == root_of([tiles["tile/1/000"][at : at + 32] for at in range(0, 8_192, 32)])
    assert [tile.path for tile in hash_tiles(Tree([LEAVES[0]] * 256))] == ["tile/0/000", "tile/1/000.p/1"]


def test_entries_stand_behind_their_length() -> None:
    """256 to a bundle; what is too long for two bytes is refused."""
    bundles = list(entry_bundles([b"one", b"", *([b"x"] * 255)]))
    assert [tile.path for tile in bundles] == ["tile/entries/000", "tile/entries/001.p/1"]
    assert bundles[0].content.startswith(b"\x00\x03one\x00\x00\x00\x01x")
    with pytest.raises(VerificationError, match="does not fit"):
        list(entry_bundles([bytes(65_536)]))
