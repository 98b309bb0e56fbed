"""Read models in memory: what they must hold by the records, with what nobody can tell any more marked as such."""

from __future__ import annotations

from typing import Any, Final

from remit.store.shapes import SHAPES, Row


class Unknown:
    """Stands for a value that cannot be told: the text behind it was erased, or its key is not here."""

    _only: Unknown | None = None

    def __new__(cls) -> Unknown:
        if cls._only is None:
            cls._only = super().__new__(cls)
        return cls._only

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


class Rows:
    """Tables of rows by their key, with the `get` and `put` of a transaction: code that needs no more serves both."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Row]] = {}

    def get(self, table: str, key: str) -> Row | None:
        """A row by its key; None when there is none."""
        return self.tables.get(table, {}).get(key)

    def put(self, table: str, key: str, /, **values: Any) -> None:
        """Set columns of a row, which is made where there is none."""
        shape = SHAPES[table]
        shape.check(values)
        rows = self.tables.setdefault(table, {})
        row = rows.get(key)
        if row is None:
            row = rows[key] = {**shape.blank, shape.key: key}
        row.update(shape.normal(values))

    def of(self, table: str) -> dict[str, Row]:
        """Every row of a table by its key."""
        return self.tables.get(table, {})
