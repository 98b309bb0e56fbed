"""Wherever recording can fail, the tool does not run; where it ran already, the caller is told so, and nothing follows.

One row for each failure and store, at two moments: before the intent, and between intent and outcome. The tool leaves
a trace on disk, so that whether it ran is no matter of belief.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import remit
from remit.fsck import check
from remit.testing import Clock
from tests.failclosed import failures
from tests.failclosed.failures import Fails, Place
from tests.postgres import Server

pytestmark = [
    pytest.mark.requirement("I2"),
    pytest.mark.requirement("R10"),
    pytest.mark.requirement("code:evidence_unavailable"),
]

GRANT: dict[str, Any] = {
    "task": "Write notes",
    "principal": "user:ravi@acme.com",
    "agent": "spiffe://acme.com/agents/notes",
    "expires_in": "1d",
    "limits": {"calls": 5},
    "tools": {"notes.write": "any"},
}


class Row(NamedTuple):
    """`says` is part of the sentence that the caller gets."""

    store: str
    failure: str
    fails: Fails
    says: str


TABLE: tuple[Row, ...] = (
    Row("sqlite", "disk full", failures.disk_full, "cannot be written"),
    Row("sqlite", "database unlinked", failures.unlinked("database"), "is gone"),
    Row("sqlite", "write-ahead log unlinked", failures.unlinked("log"), "is gone"),
    Row("sqlite", "commit lock unlinked", failures.unlinked("lock"), "is gone"),
    Row("sqlite", "database replaced", failures.replaced("database"), "was replaced"),
    Row("sqlite", "write-ahead log replaced", failures.replaced("log"), "was replaced"),
    Row("sqlite", "commit lock replaced", failures.replaced("lock"), "was replaced"),
    Row("sqlite", "locked by another program", failures.locked, "locked"),
    Row("sqlite", "hanging", failures.hanging, "did not get to it in time"),
    Row("sqlite", "clock far back", failures.clock_back, "set the clock right"),
    Row("postgresql", "database down", failures.server_down, "cannot be|not known"),
    Row("postgresql", "connection lost", failures.connection_lost, "cannot be|not known"),
    Row("postgresql", "hanging", failures.server_hanging, "in time|cannot be|not known"),
    Row("postgresql", "locked by another program", failures.server_locked, "lock|in time"),
    Row("postgresql", "read-only", failures.server_read_only, "read-only|cannot be"),
    Row("postgresql", "clock far back", failures.clock_back, "set the clock right"),
)


def _named(row: Row) -> str:
    return f"{row.store}: {row.failure}"


class Notes:
    """A tool that leaves a trace for each time that it ran; `during` happens while it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.during: Callable[[], object] = bool
        folder.mkdir()

    def __call__(self, text: str) -> str:
        (self.folder / f"{self.ran}-{text}").touch()
        self.during()
        return text

    @property
    def ran(self) -> int:
        """How often."""
        return len(list(self.folder.iterdir()))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of this module's own: it is killed and stopped."""
    started = Server()
    yield started
    started.remove()


_numbers = itertools.count()


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A folder, or a database on the server, as the row wants it."""
    row: Row = request.getfixturevalue("row")
    if row.store == "sqlite":
        return Place(tmp_path, Clock(), None)
    server = request.getfixturevalue("server")
    name = f"failclosed{next(_numbers)}"
    server.execute(f"CREATE DATABASE {name}")
    return Place(tmp_path, Clock(), server, name)


@pytest.fixture(name="opened")
def _opened(place: Place) -> Iterator[remit.App]:
    """An app on the row's store."""
    with remit.open(place.url, home=place.home, development=True, clock=place.clock) as app:
        yield app


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    """The tool."""
    return Notes(tmp_path / "traces")


def _session(app: remit.App) -> remit.Session:
    return app.session(app.issue(GRANT, credential="user:ravi@acme.com"), key="notes").open()


def _spent(app: remit.App) -> list[str]:
    return [record.data["status"] for record in app.records() if record.type == "call.outcome"]


@pytest.mark.parametrize("row", TABLE, ids=_named)
def test_before_the_intent_the_tool_does_not_run(opened: remit.App, place: Place, notes: Notes, row: Row) -> None:
    """The refusal says that nothing ran; once it is mended, the same session goes on, and the gap is on record."""
    session = _session(opened)
    session.call("notes.write", {"text": "before"}, run=notes)
    with row.fails(place), pytest.raises(remit.EvidenceUnavailable, match=row.says) as refused:
        session.call("notes.write", {"text": "during"}, run=notes)
    assert refused.value.executed is False
    assert notes.ran == 1
    _goes_on(session, notes)
    assert notes.ran == 2
    assert _gaps(opened) >= 1
    assert check(opened.ledger).whole


@pytest.mark.parametrize("row", TABLE, ids=_named)
def test_between_intent_and_outcome_the_caller_is_told_that_it_ran(
    opened: remit.App, place: Place, notes: Notes, row: Row
) -> None:
    """The session takes no further call until the outcome is written; then there is exactly one outcome a call."""
    session = _session(opened)
    with ExitStack() as broken:
        notes.during = lambda: broken.enter_context(row.fails(place))
        with pytest.raises(remit.EvidenceUnavailable, match=row.says) as told:
            session.call("notes.write", {"text": "during"}, run=notes)
        notes.during = bool
        assert told.value.executed is True
        assert "do not call it again" in str(told.value)
        with pytest.raises(remit.EvidenceUnavailable) as blocked:
            session.call("notes.write", {"text": "after"}, run=notes)
        assert blocked.value.executed is False
        assert notes.ran == 1
    _goes_on(session, notes)
    assert notes.ran == 2
    assert _spent(opened) == ["ok", "ok"]
    assert check(opened.ledger).whole


def _goes_on(session: remit.Session, notes: Notes) -> None:
    """Mended: the next call runs. What was lost may be found out only by the first attempt, which then runs nothing."""
    failed = [_attempt(session, notes) for _ in range(3) if notes.ran < 2]
    assert failed[-1] is None
    assert [error.executed for error in failed if error is not None] == [False] * (len(failed) - 1)


def _attempt(session: remit.Session, notes: Notes) -> remit.EvidenceUnavailable | None:
    try:
        session.call("notes.write", {"text": "again"}, run=notes)
    except remit.EvidenceUnavailable as error:
        return error
    return None


def _gaps(app: remit.App) -> int:
    return sum(record.data.get("lost", 0) for record in app.records() if record.type == "recorder.gap")


def test_the_table_names_every_failure_that_was_promised() -> None:
    """Those of the requirement; the ones that a table of storage cannot hold have tests of their own."""
    words = " / ".join(row.failure for row in TABLE)
    for promised in (
        "disk full",
        "read-only",
        "unlinked",
        "replaced",
        "locked",
        "database down",
        "connection lost",
        "hanging",
        "clock",
    ):
        assert promised in words
