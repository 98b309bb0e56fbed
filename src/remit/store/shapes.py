"""Rows as dicts, and the SQL that loads and stores them, compiled once a table from its SQLAlchemy declaration.

The writer runs these statements on the driver's own cursor: per row, SQLAlchemy's execution costs more than SQLite's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from sqlalchemy import JSON, Boolean, Table, bindparam, insert, select
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from remit.errors import UsageError
from remit.store.tables import Base

Row = dict[str, Any]

MAX_ROWS: Final = 64
"""Rows of one INSERT. Each statement gives the interpreter lock up and has to wait for it again, so few are better."""


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
        self._inserts: dict[tuple[int, tuple[str, ...]], str] = {}

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
            if isinstance(row[name], str):  # else the driver has read it
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

    def stored(self, row: Row) -> tuple[Any, ...]:
        """The parameters that insert a row, in the order of the columns."""
        if not self._json:
            return tuple([row[name] for name in self.columns])
        return tuple([orjson.dumps(row[name]).decode() if name in self._json else row[name] for name in self.columns])

    def insert(self, rows: int, changing: tuple[str, ...] = ()) -> str:
        """INSERT for so many rows at once, which changes the columns `changing` of rows that are there already."""
        found = self._inserts.get((rows, changing))
        if found is None:
            head, _, places = _compiled(insert(self.table)).partition(" VALUES ")
            found = f"{head} VALUES {', '.join([places] * rows)}"
            if changing:
                columns = ", ".join(f'"{name}" = excluded."{name}"' for name in changing)
                found += f' ON CONFLICT ("{self.key}") DO UPDATE SET {columns}'
            self._inserts[rows, changing] = found
        return found


def insert_all(
    execute: Callable[[str, Sequence[Any]], Any],
    shape: Shape,
    rows: Sequence[Sequence[Any]],
    changing: tuple[str, ...] = (),
) -> None:
    """Insert rows, in as few statements as `MAX_ROWS` allows. `changing`: see `Shape.insert`."""
    for at in range(0, len(rows), MAX_ROWS):
        part = rows[at : at + MAX_ROWS]
        execute(shape.insert(len(part), changing), [value for row in part for value in row])


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
