"""What every test may ask for: a development app on a real store, with its keys in `tmp_path`."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import remit
from remit.fsck import compare
from remit.review.replay import reproduce
from remit.testing import Clock
from tests import stores
from tests.stores import temporary


def pytest_configure() -> None:
    """A run that was started in the background ignores interrupts, and so would every program that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that speak of SQLite's files stay out of a run on PostgreSQL."""
    if stores.ON_POSTGRESQL:
        left_out = [item for item in items if item.get_closest_marker("sqlite") is not None]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item.get_closest_marker("sqlite") is None]


@pytest.fixture(autouse=True)
def databases_go(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test kept on a server is gone after it."""
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if folder is not None and stores.ON_POSTGRESQL:
        stores.drop_below(folder)


@pytest.fixture
def clock() -> Clock:
    """A clock that stands until the test moves it."""
    return Clock()


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> Iterator[remit.App]:
    """A fresh ledger that accepts claimed identities."""
    with temporary(tmp_path, clock=clock) as opened:
        yield opened


@pytest.fixture(autouse=True)
def every_decision_is_reproduced(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test's app decided, its records give again (invariant 6), and they rebuild every read model."""
    opened = request.getfixturevalue("app") if "app" in request.fixturenames else None
    yield
    if isinstance(opened, remit.App) and request.node.get_closest_marker("changes_evidence") is None:
        reproduce(opened)
        assert [finding.sentence for finding in compare(opened.ledger).findings] == []
