"""Fixtures of `tests/bundle`, for attacks on what they make."""

from __future__ import annotations

from tests.bundle.conftest import app, exporting, people, session_id

__all__ = ["app", "exporting", "people", "session_id"]
