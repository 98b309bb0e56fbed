"""What a job, or a batch of jobs, has written and the database does not have yet."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from remit.store.shapes import SHAPES, Row, Shape, insert_all

_RECORD = SHAPES["record"]
_LEAF = SHAPES["leaf"]
_PAYLOAD = SHAPES["payload"]
_ARTEFACT = SHAPES["artefact"]

Key = tuple[str, str]


class Changed:
    """A row of a read model as it is now, and what of it is not stored yet.

    `fresh`: there is none in the database. Not `known`: nobody has looked; only the `given` columns are sure.
    """

    __slots__ = ("columns", "fresh", "given", "known", "row", "shape")

    def __init__(self, shape: Shape, row: Row, *, fresh: bool, known: bool) -> None:
        self.shape = shape
        self.row = row
        self.fresh = fresh
        self.known = known
        self.columns: set[str] = set()
        self.given: set[str] = set()

    def set(self, values: Row) -> None:
        """Change columns."""
        self.row.update(values)
        self.columns.update(values)
        if not self.known:
            self.given.update(values)


class Pending:
    """Rows to insert, and read-model rows to insert or update, in the order in which they came."""

    __slots__ = ("artefacts", "erased", "hashes", "last", "payloads", "records", "rows", "size")

    def __init__(self) -> None:
        self.hashes: list[bytes] = []
        self.records: list[tuple[Any, ...]] = []
        self.payloads: list[tuple[str, bytes, bytes]] = []
        self.artefacts: dict[str, tuple[str, bytes]] = {}
        self.rows: dict[Key, Changed] = {}
        self.erased: list[str] = []
        self.size = 0
        self.last = False
        """Whether the last record has to stay the last one under its head."""

    @property
    def empty(self) -> bool:
        """Whether nothing was put or appended, written out or not."""
        return not (self.hashes or self.rows or self.artefacts or self.erased)

    def absorb(self, other: Pending) -> None:
        """Take over what a job has written."""
        self.hashes += other.hashes
        self.records += other.records
        self.payloads += other.payloads
        self.artefacts.update(other.artefacts)
        self.erased += other.erased
        self.size += other.size
        self.last = self.last or other.last
        rows = self.rows
        for key, changed in other.rows.items():
            earlier = rows.get(key)
            if earlier is not None:
                changed.fresh = earlier.fresh
                changed.columns |= earlier.columns
            rows[key] = changed

    def leaf(self, record_id: str) -> tuple[int | None, bytes] | None:
        """Index, where it is known, and bytes of a record that waits to be written."""
        for row in self.records:
            if row[1] == record_id:
                return row[0], row[-1]
        return None

    def flush(self, cursor: sqlite3.Cursor) -> None:
        """Write everything into the open transaction. Hashes and rows stay known, as written."""
        execute = cursor.execute
        if self.records:
            insert_all(execute, _RECORD, self.records)
            insert_all(execute, _LEAF, [(row[0], row[0]) for row in self.records])  # in this store, in one order
        if self.payloads:
            insert_all(execute, _PAYLOAD, self.payloads)
        if self.artefacts:
            insert_all(execute, _ARTEFACT, list(self.artefacts.values()))
        if self.erased:
            cursor.executemany(
                "UPDATE payload SET ciphertext = NULL, wrapped_key = NULL WHERE record_id = ?",
                [(record,) for record in self.erased],
            )
        if self.rows:
            self._flush_rows(cursor)
        self.records, self.payloads, self.artefacts, self.erased = [], [], {}, []

    def _flush_rows(self, cursor: sqlite3.Cursor) -> None:
        for shape, changing, rows in self.groups():
            insert_all(cursor.execute, shape, rows, changing)

    def groups(self) -> Iterator[tuple[Shape, tuple[str, ...], list[tuple[Any, ...]]]]:
        """Read-model rows to write, by table and by which columns change, in the order in which they have to be."""
        groups: dict[tuple[int, Shape, tuple[str, ...]], list[tuple[Any, ...]]] = {}
        for changed in self.rows.values():
            if changed.columns:
                shape = changed.shape
                changing = () if changed.known and changed.fresh else tuple(sorted(changed.columns))
                # Rows that are there come first: one may give up the unique value that a new one takes.
                order = 2 if not changing else 0 if changed.known else 1
                groups.setdefault((order, shape, changing), []).append(shape.stored(changed.row))
                changed.fresh, changed.columns = False, set()
        for (_, shape, changing), rows in sorted(groups.items(), key=lambda group: group[0][0]):
            yield shape, changing, rows
