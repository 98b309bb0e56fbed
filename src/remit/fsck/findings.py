"""What a check found: values that differ, and values that nobody can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from remit.fsck.tables import TOLD_BY_TEXT


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference. `column` is None where the whole row is missing, or is there without a record."""

    table: str
    row: str
    column: str | None
    stored: Any
    recorded: Any
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Untold:
    """Values that nobody can tell any more, because the text that they follow from was erased or has no key here."""

    table: str
    column: str
    rows: int

    @property
    def sentence(self) -> str:
        """What cannot be told, and why."""
        why = TOLD_BY_TEXT.get((self.table, self.column), "text")
        return (
            f"{self.table}.{self.column} of {self.rows} rows cannot be told: {why} was erased, or its key is not here"
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {"table": self.table, "column": self.column, "rows": self.rows, "sentence": self.sentence}
