"""What the ledger's tests share: a fresh ledger in a temporary folder, and short words for what they do with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from remit.ledger import Appended, Ledger, Txn
from remit.store.stores import store_of
from tests import stores


class Place:
    """Where a test keeps its ledger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "evidence.db"
        self.url = stores.url_for(folder, "evidence.db")
        self.home = Path(f"{self.database}.remit") if not stores.ON_POSTGRESQL else store_of(self.url).default_home()

    def create(self, **options: Any) -> Ledger:
        """A new ledger."""
        return Ledger.create(self.url, origin="acme.com/remit-test", **options)

    def open(self, **options: Any) -> Ledger:
        """The ledger again."""
        return Ledger.open(self.url, **options)

    def tamper(self, *statements: str, keep_triggers: bool = False) -> None:
        """What somebody with write access to the store could do."""
        stores.tamper(self.folder, *statements, name="evidence.db", keep_triggers=keep_triggers)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows as another program sees them."""
        return stores.query(self.folder, statement, name="evidence.db")


class MovedClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        """Forward or back."""
        self.now += timedelta(**by)


def note(ledger: Ledger, session: str | None = None, **data: Any) -> Callable[[Txn], Appended]:
    """A job that appends one record."""
    draft = ledger.draft("auth.succeeded", session=session, data=data)
    return lambda txn: txn.append(draft)


def append(ledger: Ledger, session: str | None = None, **data: Any) -> Appended:
    """Append one record and wait until it is durable."""
    return ledger.run(note(ledger, session, **data))


def index_of(ledger: Ledger, appended: Appended) -> int:
    """Where a record lies, once it has its place."""
    ledger.wait_sequenced([appended.id])
    record = ledger.record(appended.id)
    assert record is not None
    assert appended.index in (None, record.index)
    return record.index


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A folder without a ledger."""
    return Place(tmp_path)


@pytest.fixture
def ledger(place: Place) -> Iterator[Ledger]:
    """An opened, empty ledger."""
    with place.create() as found:
        yield found
