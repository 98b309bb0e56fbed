"""Comparing what is stored with what the records show, column by column."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import JSON, Boolean, Table, select, type_coerce
from sqlalchemy.types import NullType

from remit.fsck import limits, meanings
from remit.fsck.findings import Finding, Untold
from remit.fsck.fold import Fold
from remit.fsck.rows import UNKNOWN
from remit.fsck.tables import NOUNS, REBUILT
from remit.store.shapes import SHAPES, Row
from remit.store.tables import Base

if TYPE_CHECKING:
    from remit.ledger.reading import Reader

MAX_SHOWN: Final = 160
"""Characters of a value in a sentence."""

Stored = Mapping[str, Mapping[str, Row]]
"""Tables of rows by key, as they lie in the store."""


def read_stored(reader: Reader) -> Stored:
    """Every read model as it lies in the store, values as the database has them."""
    return {name: _read(reader, Base.metadata.tables[name]) for name in REBUILT}


def _read(reader: Reader, table: Table) -> dict[str, Row]:
    """A value that does not fit its column is a finding, so nothing is converted on the way."""
    [key] = (column.name for column in table.primary_key.columns)
    raw = select(*(type_coerce(column, NullType()).label(column.name) for column in table.columns))
    return {str(row[key]): row for row in reader.mappings(raw)}


class Comparison:
    """One comparison: what differs, and what nobody can tell."""

    def __init__(self, fold: Fold, stored: Stored) -> None:
        self._fold = fold
        self._stored = stored
        self._untold: dict[tuple[str, str], int] = {}
        limits.blur(fold)
        self.findings = [finding for table in REBUILT for finding in self._table(table)]

    @property
    def untold(self) -> list[Untold]:
        """What could not be compared."""
        return [Untold(table, column, rows) for (table, column), rows in sorted(self._untold.items())]

    def _table(self, table: str) -> Iterator[Finding]:
        there, recorded = self._stored[table], self._fold.rows.of(table)
        for key in sorted({*there, *recorded}):
            row, expected = there.get(key), recorded.get(key)
            if row is None and expected is not None:
                yield from self._missing(table, key, expected)
            elif row is not None and expected is None:
                yield from self._extra(table, key, row)
            elif row is not None and expected is not None:
                yield from self._columns(table, key, row, expected)

    def _missing(self, table: str, key: str, expected: Row) -> Iterator[Finding]:
        if table == "counters" and expected["value"] is UNKNOWN:
            self._note(table, "value")
            return
        said = f"{NOUNS[table]} {_short(key)} is missing: {meanings.of_missing(table)}"
        yield Finding(table, key, None, None, _plain(expected), said)

    def _extra(self, table: str, key: str, row: Row) -> Iterator[Finding]:
        if table == "touches" and row["record_id"] in self._fold.untold:
            self._note(table, "touch")
            return
        if table == "counters" and limits.untold(self._fold, key):
            self._note(table, "value")
            return
        said = f"{NOUNS[table]} {_short(key)} follows from no record: {meanings.of_extra(table)}"
        yield Finding(table, key, None, _plain(row), None, said)

    def _columns(self, table: str, key: str, row: Row, expected: Row) -> Iterator[Finding]:
        columns = SHAPES[table].table.columns
        for name, recorded in expected.items():
            if recorded is UNKNOWN:
                self._note(table, name)
                continue
            stored = _value(columns[name].type, row[name])
            if type(stored) is not type(recorded) or stored != recorded:
                yield _differs(table, key, name, stored, recorded)

    def _note(self, table: str, column: str) -> None:
        self._untold[table, column] = self._untold.get((table, column), 0) + 1


def _differs(table: str, key: str, column: str, stored: Any, recorded: Any) -> Finding:
    meaning = meanings.of_column(table, column, stored, recorded)
    what = f"{NOUNS[table]} {_short(key)}"
    if table == "counters":
        said = f"{what} holds {_short(stored)}, the records show {_short(recorded)}: {meaning}"
    else:
        said = f"{what}: {column} is {_say(stored)}, the records show {_say(recorded)}: {meaning}"
    return Finding(table, key, column, _plain(stored), _plain(recorded), said)


def _value(kind: Any, stored: Any) -> Any:
    """A value as it was put, where it has the form in which it is stored."""
    if isinstance(kind, Boolean) and stored in (0, 1):
        return bool(stored)
    if isinstance(kind, JSON) and isinstance(stored, str):
        try:
            return json.loads(stored)
        except ValueError:
            return stored
    return stored


def _say(value: Any) -> str:
    return (
        "nothing" if value is None else _short(value) if isinstance(value, str) else _short(json.dumps(_plain(value)))
    )


def _short(value: Any) -> str:
    text = str(value).replace("\x1f", " = ")
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}… ({len(text)} characters)"


def _plain(value: Any) -> Any:
    """A value that JSON can say."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is UNKNOWN:
        return None
    return value if value is None or isinstance(value, str | int | float | bool) else repr(value)
