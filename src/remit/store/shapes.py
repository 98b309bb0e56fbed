"""Rows as dicts, and the SQL that loads and stores them, compiled once a table from its SQLAlchemy declaration.

The writer runs these statements on the driver's own cursor: per row, SQLAlchemy's execution costs more than SQLite's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from sqlalchemy import JSON, Boolean, Table, bindparam, insert, select, update
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from remit.errors import UsageError
from remit.store.tables import Base

Row = dict[str, Any]

CHUNKS: Final = (64, 16, 4, 1)
"""Rows per INSERT. Each statement gives the interpreter lock up and takes it back, so many rows go in one."""


def text_time(moment: datetime) -> str:
    """RFC 3339 in UTC with six digits of fraction, as every table and leaf writes it. Sorts as time does."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


class Shape:
    """One table: its columns, how their values are stored, and its statements."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.name = table.name
        self.columns = tuple(column.name for column in table.columns)
        (self.key,) = (column.name for column in table.primary_key.columns)
        self.blank: Row = dict.fromkeys(self.columns)
        self._known = frozenset(self.columns)
        self._required = frozenset(c.name for c in table.columns if not c.nullable and not c.primary_key)
        self._json = frozenset(c.name for c in table.columns if isinstance(c.type, JSON))
        self._bool = frozenset(c.name for c in table.columns if isinstance(c.type, Boolean))
        self.load = _compiled(select(table).where(table.c[self.key] == bindparam("wanted")))
        self._updates: dict[tuple[str, ...], str] = {}
        self._inserts: dict[int, str] = {}

    def check(self, values: Mapping[str, Any]) -> None:
        """Raises `UsageError` when a value has no column, or would overwrite the key."""
        if not self._known >= values.keys() or self.key in values:
            odd = sorted((values.keys() - self._known) | (values.keys() & {self.key}))
            raise UsageError(f"table {self.name} has no column {', '.join(odd)} to put a value into")

    def whole(self, values: Mapping[str, Any]) -> bool:
        """Whether these values are enough for a row of their own."""
        return values.keys() >= self._required

    def loaded(self, stored: Sequence[Any]) -> Row:
        """A row as it was put."""
        row = dict(zip(self.columns, stored, strict=True))
        for name in self._json:
            row[name] = orjson.loads(row[name])
        for name in self._bool:
            if row[name] is not None:
                row[name] = bool(row[name])
        return row

    def normal(self, values: Row) -> Row:
        """Values as they will be read back: times become text."""
        for name, value in values.items():
            if isinstance(value, datetime):
                values[name] = text_time(value)
        return values

    def stored(self, row: Row, names: Iterable[str]) -> tuple[Any, ...]:
        """Parameters for some columns of a row."""
        if not self._json:
            return tuple([row[name] for name in names])
        return tuple([orjson.dumps(row[name]).decode() if name in self._json else row[name] for name in names])

    def insert(self, rows: int) -> str:
        """INSERT for so many rows at once."""
        found = self._inserts.get(rows)
        if found is None:
            single = _compiled(insert(self.table))
            head, _, places = single.partition(" VALUES ")
            found = self._inserts[rows] = f"{head} VALUES {', '.join([places] * rows)}"
        return found

    def upsert(self, names: tuple[str, ...]) -> str:
        """What makes an INSERT change these columns of a row that is there already."""
        columns = ", ".join(f'"{name}" = excluded."{name}"' for name in names)
        return f' ON CONFLICT ("{self.key}") DO UPDATE SET {columns}'

    def update(self, names: tuple[str, ...]) -> str:
        """UPDATE of these columns of one row, whose key is the last parameter."""
        found = self._updates.get(names)
        if found is None:
            values: list[tuple[str, Any]] = [
                (name, bindparam(f"new_{name}")) for name in names
            ]  # in this order, not in the table's
            statement = update(self.table).where(self.table.c[self.key] == bindparam("wanted")).ordered_values(*values)
            found = self._updates[names] = _compiled(statement)
        return found


def insert_all(
    execute: Callable[[str, Sequence[Any]], Any], shape: Shape, rows: Sequence[Sequence[Any]], conflict: str = ""
) -> None:
    """Insert rows, in as few statements as the sizes in `CHUNKS` make of them. `conflict`: see `Shape.upsert`."""
    at, left = 0, len(rows)
    for size in CHUNKS:
        while left >= size:
            if size == 1:
                execute(shape.insert(1) + conflict, rows[at])
            else:
                execute(shape.insert(size) + conflict, [value for row in rows[at : at + size] for value in row])
            at += size
            left -= size


_DIALECT: Final = SQLiteDialect_pysqlite(paramstyle="qmark")


def _compiled(statement: Any) -> str:
    assert isinstance(_DIALECT, SQLiteDialect)
    return str(statement.compile(dialect=_DIALECT))


SHAPES: Final[Mapping[str, Shape]] = {name: Shape(table) for name, table in Base.metadata.tables.items()}
"""Every table by name."""


def shape_of(table: str) -> Shape:
    """The shape of a table. Raises `UsageError` for one that does not exist."""
    found = SHAPES.get(table)
    if found is None:
        raise UsageError(f"no table {table!r}; expected one of {', '.join(sorted(SHAPES))}")
    return found
