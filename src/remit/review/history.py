"""Which sessions a question about usage is about: those of a grant, of every grant of a template, or named ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select
from sqlmodel import col

from remit.authority.terms import GrantTerms
from remit.errors import UsageError
from remit.store.tables import GrantRow, SessionRow

if TYPE_CHECKING:
    from remit.deployment import Deployment


@dataclass(frozen=True, slots=True)
class History:
    """Grants, oldest first, in their newest version, and the sessions that ran under them."""

    subject: str
    grants: Mapping[str, GrantTerms]
    sessions: tuple[Mapping[str, Any], ...]

    @property
    def newest(self) -> GrantTerms:
        """The grant that was issued last."""
        return list(self.grants.values())[-1]


def find(deployment: Deployment, name: str | None, sessions: Iterable[str] = ()) -> History:
    """Raises `UsageError` when this ledger has no such grant, template or session."""
    wanted = list(sessions)
    if name is None and not wanted:
        raise UsageError("name a grant or a template, or sessions")
    reading = deployment.ledger.read()
    ran = select(SessionRow).order_by(col(SessionRow.id))
    if wanted:
        found = reading.mappings(ran.where(col(SessionRow.id).in_(wanted)))
        if missing := set(wanted) - {row["id"] for row in found}:
            raise UsageError(f"no session {min(missing)!r} is in this ledger; `remit session list` shows them")
        ids = {row["grant_id"] for row in found if row["grant_id"] is not None}
        rows = reading.mappings(select(GrantRow).where(col(GrantRow.id).in_(ids)).order_by(col(GrantRow.id)))
        if name is not None and any(name not in (row["id"], row["template"]) for row in rows):
            raise UsageError(f"not all of these sessions ran under {name}")
    else:
        matching = or_(col(GrantRow.id) == name, col(GrantRow.template) == name)
        rows = reading.mappings(select(GrantRow).where(matching).order_by(col(GrantRow.id)))
        found = reading.mappings(ran.where(col(SessionRow.grant_id).in_([row["id"] for row in rows])))
    if not rows:
        raise UsageError(f"no grant or template {name!r} is in this ledger; `remit session list` names grants")
    terms = {row["id"]: GrantTerms.from_bytes(deployment.ledger.artefact(row["digest"])) for row in rows}
    return History(name or ", ".join(wanted), terms, tuple(found))


__all__ = ["History", "find"]
