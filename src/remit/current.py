"""Which session a call belongs to: the explicit one, else the configured one, else that of the block it runs in."""

from __future__ import annotations

import contextvars
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from remit.errors import Denied, Remedy, UsageError

if TYPE_CHECKING:
    from remit.app import App
    from remit.sessions import Session

CURRENT: Final[contextvars.ContextVar[Session | None]] = contextvars.ContextVar("remit_session", default=None)


def current_session() -> Session:
    """The session of the block this runs in. Raises `Denied` (`no_grant`) when there is none."""
    session = CURRENT.get()
    if session is None:
        raise _no_session()
    return session


def _no_session() -> Denied:
    return Denied(
        "No session is open here, so nothing is granted; run inside `with app.session(grant):`.",
        code="no_grant",
        rule="remit/no_grant",
        remedy=Remedy("request_grant"),
    )


def resolve_session(
    explicit: Session | None = None, configured_id: str | None = None, app: App | None = None
) -> Session:
    """The session of a call: the explicit one, else the configured id, else the current one.

    Two that differ are refused (`UsageError`); none is `Denied` (`no_grant`), on the record where an app is known.
    """
    current = CURRENT.get()
    if explicit is not None and configured_id is not None and explicit.id != configured_id:
        raise UsageError(f"two sessions claim this call: {explicit.id} (explicit) and {configured_id} (configured)")
    chosen = explicit
    if chosen is None and configured_id is not None:
        if current is not None and current.id == configured_id:
            chosen = current
        else:
            owner = app or (current.app if current is not None else None)
            if owner is None:
                raise UsageError(f"session {configured_id} is named, but no app to find it in; pass app= to govern()")
            chosen = owner.join(configured_id)
    if chosen is None:
        chosen = current
    elif current is not None and current.id != chosen.id:
        raise UsageError(f"two sessions claim this call: {chosen.id} and the current one, {current.id}")
    if chosen is None:
        raise _no_session()
    return chosen


def no_grant(app: App | None, tool: str, arguments: Mapping[str, Any]) -> Denied:
    """The refusal of a call that has no session; recorded where it is known in which ledger."""
    denied = _no_session()
    if app is not None:
        app.record_no_grant(tool, arguments, denied)
    return denied
