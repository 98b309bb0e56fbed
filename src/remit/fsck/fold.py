"""Folding the log into rows: every record in order, each by the one function that knows what its type does to a table.

What a function here does is what the writing path did when the record was appended, told from the record alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from remit.authority.terms import GrantTerms
from remit.errors import RemitError
from remit.fsck.findings import Finding
from remit.fsck.rows import UNKNOWN, Rows
from remit.ledger.canonical import canonical
from remit.ledger.hiding import hides

if TYPE_CHECKING:
    from remit.ledger import Ledger, Record


class Fold:
    """What the records came to so far."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.rows = Rows()
        self.records = 0
        self.size = 0
        """The index after the last record that has one."""
        self._ahead: set[str] = set()
        self.issue_keys: dict[str, str] = {}
        """Which grant holds an issue key."""
        self.spends: dict[str, tuple[tuple[str, str], ...]] = {}
        """What each call took when it last began, for the case that it did not run."""
        self.standing: dict[tuple[str | None, str | None], str] = {}
        """The verdict on each (session, call) that nothing has superseded."""
        self.blurred: set[str] = set()
        """Grants with counters that nobody can tell any more: amounts of a call under them were erased."""
        self.blurred_rates: set[str] = set()
        """Grants of which not even the moments of rates can be told."""
        self.unread: list[Finding] = []
        """Records that no read model could be told from."""
        self.untold: set[str] = set()
        """Records whose accesses cannot be told, so that neither can what the index holds of them."""

    def catch_up(self) -> int:
        """Fold every record that is new. Returns how many were."""
        before = self.records
        for record in self.ledger.records(start=self.size):
            if record.placed:
                self.size = record.index + 1
            if record.id in self._ahead:
                continue  # it was folded before a sequencer gave it its index
            if not record.placed:
                self._ahead.add(record.id)
            self._take(record)
            self.records += 1
        return self.records - before

    def _take(self, record: Record) -> None:
        for handler in HANDLERS.get(record.type, ()):
            try:
                handler(self, record)
            except (KeyError, IndexError, TypeError, ValueError, ArithmeticError, AssertionError, RemitError) as error:
                self._unread(record, error)

    def _unread(self, record: Record, error: Exception) -> None:
        """A record that verifies and does not say what this version records under its type."""
        said = f"record {record.id} ({record.type}) cannot be read as one ({type(error).__name__}: {error})"
        self.unread.append(Finding("record", record.id, None, None, None, f"{said}, so what follows from it is untold"))

    def terms(self, digest: str) -> GrantTerms | None:
        """The terms behind a digest; None where their content cannot be read any more."""
        try:
            return GrantTerms.from_bytes(self.ledger.artefact(digest))
        except RemitError:
            return None

    def above(self, grant_id: str | None) -> list[str]:
        """A grant and its ancestors."""
        found: list[str] = []
        while grant_id is not None and grant_id not in found:
            row = self.rows.get("grants", grant_id)
            found.append(grant_id)
            grant_id = row["parent"] if row is not None else None
        return found


Handler = Callable[[Fold, "Record"], None]

HANDLERS: dict[str, list[Handler]] = {}
"""By record type, in the order in which they were declared. Types without one change no read model."""


def on(*types: str) -> Callable[[Handler], Handler]:
    """Declare a handler for records of these types."""

    def declare(handler: Handler) -> Handler:
        for kind in types:
            HANDLERS.setdefault(kind, []).append(handler)
        return handler

    return declare


def private(record: Record) -> dict[str, Any] | None:
    """What a record keeps apart; None where it was erased or its key is not here."""
    return record.disclosed()


def told(said: dict[str, Any] | None, name: str) -> Any:
    """One value that a record keeps apart, whole; else UNKNOWN: erased, or a secret that was kept nowhere."""
    if said is None or name not in said or hides(canonical(said[name])):
        return UNKNOWN
    return said[name]
