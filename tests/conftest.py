"""What every test may ask for: a development app on a real SQLite file in `tmp_path`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import remit
from remit.fsck import compare
from remit.review.replay import reproduce
from remit.testing import Clock, temporary


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
