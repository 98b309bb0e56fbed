"""Sessions inside sessions: the child of a delegation, opened where its parent's session is current.

A child session's record says which session and which call it came from: the one around it, or the one in which its
grant was delegated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from remit.current import CURRENT
from remit.errors import UsageError
from remit.gate import current_call

if TYPE_CHECKING:
    from remit.authority.compile import CompiledGrant
    from remit.deployment import Deployment
    from remit.ledger import Txn
    from remit.sessions import Session


@dataclass(frozen=True, slots=True)
class Around:
    """What is current where a session is opened. `entered`: it becomes the current one itself."""

    session: Session | None
    call: str | None
    entered: bool

    @classmethod
    def here(cls, *, entered: bool) -> Around:
        """In this context, which the writer's thread cannot see."""
        return cls(CURRENT.get(), current_call.get(), entered)


def is_child(chain: Sequence[CompiledGrant], outer: Session) -> bool:
    """Whether a session under `chain` was delegated by the grant that `outer` runs under."""
    return len(chain) > 1 and chain[-2].id == outer.grant_id


def refuse_stranger(chain: Sequence[CompiledGrant], deployment: Deployment, outer: Session) -> None:
    """Raises `UsageError` unless a session under `chain` may be current inside `outer`."""
    if deployment is not outer.app.deployment or not is_child(chain, outer):
        raise UsageError(
            f"a session of grant {chain[-1].id} is opened inside session {outer.id} of grant {outer.grant_id}; "
            "a nested session must be a delegated child of it (close the outer one first, or use another context)"
        )


def parent_of(
    deployment: Deployment, txn: Txn, chain: Sequence[CompiledGrant], around: Around
) -> dict[str, str | None] | None:
    """`{session, call, known}` of the session that a new one comes from; None for one that nobody handed on.

    `known` says how: it was opened inside it (`nested`), or its grant was delegated there (`delegated`).
    """
    if len(chain) < 2:
        return None
    outer = around.session
    if outer is not None and outer.app.deployment is deployment and is_child(chain, outer):
        return {"session": outer.id, "call": _own(txn, outer.id, around.call), "known": "nested"}
    row = txn.get("grants", chain[-1].id)
    record = deployment.ledger.record(row["record_id"]) if row is not None else None
    if record is None or record.data.get("session") is None:
        return None
    return {"session": record.data["session"], "call": record.data.get("call"), "known": "delegated"}


def call_of(session_id: str) -> Callable[[Txn], str | None]:
    """A question for later: which call of this session the present code runs in."""
    call = current_call.get()
    return lambda txn: _own(txn, session_id, call)


def _own(txn: Txn, session_id: str, call: str | None) -> str | None:
    row: Any = txn.get("calls", call) if call is not None else None
    return call if row is not None and row["session_id"] == session_id else None


__all__ = ["Around", "call_of", "is_child", "parent_of", "refuse_stranger"]
