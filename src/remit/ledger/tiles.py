"""A whole log as static files (c2sp.org/tlog-tiles): tiles of 256 hashes, and bundles of 256 entries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from remit.errors import VerificationError
from remit.ledger.proofs import Tree

HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT


class Tile(NamedTuple):
    """One file: its path, such as `tile/0/x001/234.p/17`, and its bytes."""

    path: str
    content: bytes


def tile_path(number: int) -> str:
    """The number of a tile as a path: 1234067 is `x001/x234/067`."""
    groups = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        groups.append(f"x{number % 1000:03d}")
    return "/".join(reversed(groups))


def hash_tiles(tree: Tree) -> Iterator[Tile]:
    """Every tile of hashes, level by level. Levels are of 2^8, so hashes of every eighth level of the tree."""
    level, count = 0, tree.size
    while count:
        for number in range((count + WIDTH - 1) // WIDTH):
            start, end = number * WIDTH, min((number + 1) * WIDTH, count)
            yield Tile(f"tile/{level}/{_name(number, end - start)}", tree.nodes(HEIGHT * level, start, end))
        level += 1
        count //= WIDTH


def entry_bundles(records: Iterable[bytes]) -> Iterator[Tile]:
    """Every bundle of entries: each entry behind its length in two bytes. Raises `VerificationError`."""
    number = 0
    waiting: list[bytes] = []
    for record in records:
        if len(record) > 0xFFFF:
            raise VerificationError(f"a record of {len(record)} bytes does not fit into tlog-tiles")
        waiting.append(len(record).to_bytes(2, "big") + record)
        if len(waiting) == WIDTH:
            yield Tile(f"tile/entries/{_name(number, WIDTH)}", b"".join(waiting))
            number, waiting = number + 1, []
    if waiting:
        yield Tile(f"tile/entries/{_name(number, len(waiting))}", b"".join(waiting))


def _name(number: int, width: int) -> str:
    return tile_path(number) + ("" if width == WIDTH else f".p/{width}")
