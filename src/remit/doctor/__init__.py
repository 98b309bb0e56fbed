"""`remit doctor`: what endangers recording, its proof, or the gate, each with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from remit.doctor import ledger, proving, reachable
from remit.doctor.findings import Finding, State

if TYPE_CHECKING:
    from remit.app import App


def examine(app: App | None) -> Iterator[Finding]:
    """Findings on an opened ledger (None: there is none yet), and on what agents can reach beside it."""
    if app is not None:
        yield from ledger.look(app)
        yield from proving.look(app)
    yield from reachable.look(app)


__all__ = ["Finding", "State", "examine"]
