"""The statements that a writer sends to PostgreSQL, put together once a table from its declaration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from remit.store.shapes import SHAPES, Shape

MAX_ROWS: Final = 64
"""Rows of one INSERT. Numbers of rows are powers of two, so that the server prepares few statements and keeps them."""


Statement = tuple[str, list[Any]]
"""A query, and its parameters."""


class Statements:
    """What is sent for one table. Placeholders are psycopg's `%s`."""

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
        """INSERT for so many rows at once, which changes the columns `changing` of rows that are there already."""
        found = self._inserts.get((rows, changing))
        if found is None:
            columns = ", ".join(f'"{name}"' for name in self.columns)
            places = "(" + ", ".join(["%s"] * len(self.columns)) + ")"
            found = f'INSERT INTO "{self.shape.name}" ({columns}) VALUES {", ".join([places] * rows)}'  # noqa: S608
            if changing:
                sets = ", ".join(f'"{name}" = excluded."{name}"' for name in changing)
                found += f' ON CONFLICT ("{self.shape.key}") DO UPDATE SET {sets}'
            self._inserts[rows, changing] = found
        return found

    def insert_all(self, rows: Sequence[Sequence[Any]], changing: tuple[str, ...] = ()) -> Iterator[Statement]:
        """Statements that insert rows in their order."""
        at = 0
        while at < len(rows):
            count = min(MAX_ROWS, 1 << ((len(rows) - at).bit_length() - 1))
            yield self.insert(count, changing), [value for row in rows[at : at + count] for value in row]
            at += count


STATEMENTS: Final[Mapping[str, Statements]] = {name: Statements(shape) for name, shape in SHAPES.items()}
"""Every table by name."""
