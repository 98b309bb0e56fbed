"""One witness of a ledger: where it is, the way from there to the newest head, and what it knows that we do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import select

from remit.errors import EvidenceUnavailable, VerificationError
from remit.ledger.merkle import Frontier, leaf_hash
from remit.ledger.notes import Checkpoint, WitnessKey
from remit.store.tables import Base
from remit.witness.client import OtherSize, WitnessClient
from remit.witness.growth import grow
from remit.witness.keeping import Keeper

if TYPE_CHECKING:
    from remit.ledger import Ledger

_CHECKPOINT: Final = Base.metadata.tables["checkpoint"].c
_EMPTY: Final = Checkpoint("", 0, b"")


class Head(NamedTuple):
    """A signed head as the store holds it."""

    checkpoint: Checkpoint
    note: bytes

    @property
    def size(self) -> int:
        """How many records it covers."""
        return self.checkpoint.size


def newest_head(ledger: Ledger) -> Head:
    """The newest signed head of a ledger; that of nothing while there is none."""
    query = select(_CHECKPOINT.size, _CHECKPOINT.note).order_by(_CHECKPOINT.size.desc()).limit(1)
    rows = ledger.read().rows(query)
    return Head(ledger.keys.open(rows[0][1]), bytes(rows[0][1])) if rows else Head(_EMPTY, b"")


class HistoryProved(EvidenceUnavailable):
    """Raised when a witness shows a head, `shown`, that this log signed and that is not one of this ledger's."""

    def __init__(self, message: str, shown: bytes) -> None:
        super().__init__(message)
        self.shown = shown


class Seat:
    """One witness: its client, and the tree that it cosigned last, as far as is known here."""

    def __init__(self, ledger: Ledger, keeper: Keeper, key: WitnessKey, url: str, timeout: float) -> None:
        self._ledger = ledger
        self._keeper = keeper
        self.key = key
        self.client = WitnessClient(key, url, timeout=timeout)
        self.tree = Frontier()
        self.busy = False
        self.failed: str | None = None

    def recall(self) -> None:
        """Where the witness was when somebody last asked it for this ledger."""
        self.tree = self._keeper.tree(self.key)

    def cosign(self, head: Head) -> None:
        """Have a head cosigned, and keep the cosignature. Raises `NotCosigned`, `VerificationError`."""
        old = self.tree
        if old.size > head.size:  # it cosigned a later head for another process, or the ledger was taken back
            old = Frontier()
        while True:
            proof, grown = grow(old, self._leaves(old.size, head.size))
            if grown.root() != head.checkpoint.root:
                if old.size == 0:
                    raise VerificationError(
                        f"the records do not give the root of the head of {head.size}; run `remit verify`"
                    )
                old = Frontier()
                continue
            try:
                moment, line = self.client.add_checkpoint(old.size, proof, head.note)
                break
            except OtherSize as other:
                if other.known > head.size or other.known == old.size:
                    raise
                old = self._tree(old if old.size <= other.known else Frontier(), other.known)
        self.tree = grown
        self._keeper.keep(self.key, head.size, moment, line, grown)

    def recognise(self) -> bool:
        """A witness that knows of more, or of something else, is asked what it saw. True: a later head of this log.

        Its word alone is no proof of anything; our own signature under a head that is not ours is: `HistoryProved`.
        """
        shown = self.client.newest(self._ledger.origin)
        if shown is None:
            return False
        try:
            seen = self._ledger.keys.open(shown)
        except VerificationError:
            return False
        newest = newest_head(self._ledger)
        if seen.size <= newest.size:
            tree = self._reach(self.tree, seen)
            if tree is not None:
                self.tree = tree
                return True
        happened = "records were taken back" if seen.size > newest.size else "there are two histories"
        raise HistoryProved(
            f"witness {self.key.name} cosigned a head of {seen.size} records that this log signed and this ledger of "
            f"{newest.size} does not hold: {happened}. Nothing is recorded any more; keep the witness's checkpoint",
            shown,
        )

    def _reach(self, known: Frontier, seen: Checkpoint) -> Frontier | None:
        """The tree of a head that a witness showed, when it is this ledger's."""
        for tree in (known, Frontier()):
            if tree.size <= seen.size:
                grown = self._tree(tree, seen.size)
                if grown.root() == seen.root:
                    return grown
        return None

    def _tree(self, tree: Frontier, size: int) -> Frontier:
        grown = tree.copy()
        for leaf in self._leaves(tree.size, size):
            grown.append(leaf)
        return grown

    def _leaves(self, start: int, end: int) -> list[bytes]:
        found: list[bytes] = []
        if start < end:
            for record in self._ledger.records(start=start, placed=True):
                found.append(leaf_hash(record.body))
                if len(found) == end - start:
                    break
        if len(found) != end - start:
            raise VerificationError(f"records {start} to {end - 1} are not all there; run `remit verify`")
        return found
