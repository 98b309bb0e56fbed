"""What code needs of a transaction when it only reads and sets rows of read models."""

from __future__ import annotations

from typing import Any, Protocol


class ReadModels(Protocol):
    """Rows by table and key: those of a transaction, or, for `remit fsck`, those that the records show."""

    def get(self, table: str, key: str) -> dict[str, Any] | None:
        """A row; None when there is none."""

    def put(self, table: str, key: str, /, **values: Any) -> None:
        """Set columns of a row, which is made where there is none."""
