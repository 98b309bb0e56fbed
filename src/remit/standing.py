"""Standing refusals: what refuses every call of a session, whatever the call is, because its authority does not hold.

The record says that calls go on being refused; a looping agent does not flood the ledger.
"""

from __future__ import annotations

from typing import Final

STANDING: Final = frozenset({"grant_expired", "not_yet_valid", "grant_revoked", "session_closed", "session_suspended"})
"""Refusals that come before anything about the call itself: a re-entry has to pass them too."""

MAX_STANDING_REFUSALS: Final = 20
"""Refusals by an ended, closed or revoked authority that one process records for one session."""


class StandingRefusals:
    """How many of them this process has recorded for one session, by code."""

    def __init__(self) -> None:
        self._recorded: dict[str, int] = {}

    def enough(self, code: str) -> bool:
        """Count one more. Whether so many are on record that this one need not be."""
        bound = 1 if code == "session_suspended" else MAX_STANDING_REFUSALS
        self._recorded[code] = self._recorded.get(code, 0) + 1
        return self._recorded[code] > bound

    def over(self) -> None:
        """The authority holds (again): the next refusals of that kind are recorded again."""
        self._recorded.clear()


__all__ = ["STANDING", "StandingRefusals"]
