"""A Remit in development mode, a grant for the odd server, and short words for reading its ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.testing import Clock, temporary

RAVI = "user:ravi@acme.com"
TRIAGE = {
    "task": "Try the odd server",
    "principal": RAVI,
    "agent": "agent:triage",
    "expires_in": "20m",
}


@pytest.fixture
def anyio_backend() -> str:
    """The proxy is asyncio's."""
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    """A clock that the test moves."""
    return Clock()


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> Iterator[remit.App]:
    """A temporary Remit."""
    with temporary(tmp_path, clock=clock) as opened:
        yield opened


@pytest.fixture
def granted() -> Callable[..., dict[str, Any]]:
    """A grant document with these tools."""

    def document(tools: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {**TRIAGE, **more, "tools": tools}

    return document


@pytest.fixture
def issue(app: remit.App, granted: Callable[..., dict[str, Any]]) -> Callable[..., remit.Grant]:
    """Issue a grant with these tools."""

    def issued(tools: dict[str, Any], **more: Any) -> remit.Grant:
        return app.issue(granted(tools, **more), credential=RAVI)

    return issued


@pytest.fixture
def recorded(app: remit.App) -> Callable[[str], list[dict[str, Any]]]:
    """The data of every record of one type."""

    def records(kind: str) -> list[dict[str, Any]]:
        return [dict(record.data) for record in app.records() if record.type == kind]

    return records
