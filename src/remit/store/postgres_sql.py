"""The statements that a writer sends to PostgreSQL, put together once a table from its declaration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from remit.store.shapes import SHAPES, Shape

MAX_ROWS: Final = 64
"""Rows of one INSERT: as many as a batch has under load, so that most need one statement for a table."""


Statement = tuple[str, list[Any]]
"""A query, and its parameters."""


class Statements:
    """What is sent for one table. Placeholders are psycopg's `%s`, and the server's own `$1` in what inserts."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._drawn = {"rid"} if shape.name == "record" else set()  # the sequence gives it
        self.columns = tuple(name for name in shape.columns if name not in self._drawn)
        columns = ", ".join(f'"{name}"' for name in shape.columns)
        select = f'SELECT {columns} FROM "{shape.name}" WHERE "{shape.key}"'  # noqa: S608 - names of our own tables
        self.load = f"{select} = %s"
        self._alone = f'{select} = ANY(%s) ORDER BY "{shape.key}" FOR UPDATE'
        self._shared = f'{select} = ANY(%s) ORDER BY "{shape.key}" FOR SHARE'
        self._inserts: dict[tuple[int, tuple[str, ...]], str] = {}

    def lock(self, alone: bool) -> str:
        """Read rows by their keys, and keep others from changing them, or also from relying on them."""
        return self._alone if alone else self._shared

    def insert(self, rows: int, changing: tuple[str, ...] = ()) -> str:
        """INSERT for so many rows at once, which changes the columns `changing` of rows that are there already.

        For `psycopg.RawCursor`: looking for `%s` in so long a text takes longer than everything else.
        """
        found = self._inserts.get((rows, changing))
        if found is None:
            columns = ", ".join(f'"{name}"' for name in self.columns)
            width = len(self.columns)
            places = (", ".join(f"${row * width + at + 1}" for at in range(width)) for row in range(rows))
            found = f'INSERT INTO "{self.shape.name}" ({columns}) VALUES ({"), (".join(places)})'  # noqa: S608
            if changing:
                sets = ", ".join(f'"{name}" = excluded."{name}"' for name in changing)
                found += f' ON CONFLICT ("{self.shape.key}") DO UPDATE SET {sets}'
            self._inserts[rows, changing] = found
        return found

    def insert_all(self, rows: Sequence[Sequence[Any]], changing: tuple[str, ...] = ()) -> Iterator[Statement]:
        """Statements that insert rows in their order."""
        for at in range(0, len(rows), MAX_ROWS):
            part = rows[at : at + MAX_ROWS]
            yield self.insert(len(part), changing), [value for row in part for value in row]


STATEMENTS: Final[Mapping[str, Statements]] = {name: Statements(shape) for name, shape in SHAPES.items()}
"""Every table by name."""
