"""For users' own tests: a temporary Remit with a clock that the test sets, two assertions about calls, and
`reproduce(app)`, which takes every recorded decision again and raises `VerificationError` when one comes out otherwise.

The pytest fixture `remit_app` comes with `pytest_plugins = ["remit.testing"]`. No test needs to wait for time to pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import remit
from remit.errors import ApprovalRequired, Denied
from remit.review.replay import reproduce

if TYPE_CHECKING:
    from remit.app import App
    from remit.sessions import Session


class Clock:
    """A clock that stands until it is moved. Time in evidence never goes back, so neither does this one."""

    def __init__(self, start: datetime | None = None) -> None:
        self.now = start or datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        """`clock.forward(minutes=21)`: the arguments of `timedelta`."""
        step = timedelta(**span)
        if step < timedelta(0):
            raise ValueError("a clock in evidence never goes back")
        self.now += step


@contextmanager
def temporary(folder: Path, *, url: str | None = None, clock: Clock | None = None, **options: Any) -> Iterator[App]:
    """A development app on a SQLite file in `folder`, or on what `url` names; `options` as for `remit.open`."""
    options.setdefault("development", True)
    app = remit.open(url or f"sqlite:///{folder / 'remit.db'}", clock=clock, **options)
    try:
        yield app
    finally:
        app.close()


def permits(session: Session, tool: str, arguments: Mapping[str, Any]) -> None:
    """Assert that the session's grant permits this call. Nothing runs, nothing is recorded."""
    decision = session.explain(tool, arguments)
    if decision.effect != "permit":
        raise AssertionError(f"{tool} is not permitted: {decision.effect} {decision.code or ''} ({decision.reason})")


def denies(session: Session, tool: str, arguments: Mapping[str, Any], code: str | None = None) -> None:
    """Assert that the session's grant refuses this call, with this code where one is named."""
    decision = session.explain(tool, arguments)
    if decision.effect != "deny":
        raise AssertionError(f"{tool} is not refused: {decision.effect} by {decision.clause}")
    if code is not None and decision.code != code:
        raise AssertionError(f"{tool} is refused {decision.code}, not {code}: {decision.reason}")


try:
    import pytest
except ImportError:  # the module's other helpers need no pytest
    pass
else:

    @pytest.fixture
    def remit_clock() -> Clock:
        """A clock that the test moves."""
        return Clock()

    @pytest.fixture
    def remit_app(tmp_path: Path, remit_clock: Clock) -> Iterator[App]:
        """A temporary development app under `remit_clock`."""
        with temporary(tmp_path, clock=remit_clock) as app:
            yield app


__all__ = ["ApprovalRequired", "Clock", "Denied", "denies", "permits", "reproduce", "temporary"]
