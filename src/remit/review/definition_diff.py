"""What changed in a tool's definition, word by word, for the person who accepts it."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import select
from sqlmodel import col

from remit.errors import UsageError
from remit.pins import definition_of
from remit.store.tables import ToolRow

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.resources.definitions import ToolDefinition

Change = tuple[Literal["same", "removed", "added"], str]

_WORDS: Final = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class DefinitionDiff:
    """The accepted definition beside the one that was seen last. `accepted` is None for a tool that is new here."""

    tool: str
    state: str
    accepted: str | None
    seen: str
    description: tuple[Change, ...]
    schema: tuple[Change, ...]

    @property
    def only_text(self) -> bool:
        """Whether the shape of the arguments is the same, and only words changed."""
        return self.state == "changed" and not any(kind != "same" for kind, _ in self.schema)

    def as_dict(self) -> dict[str, Any]:
        """JSON: lists of [same | removed | added, text]."""
        return {
            "tool": self.tool,
            "state": self.state,
            "accepted": self.accepted,
            "seen": self.seen,
            "description": [list(change) for change in self.description],
            "schema": [list(change) for change in self.schema],
        }


def diff_of(deployment: Deployment, tool: str) -> DefinitionDiff:
    """What a person would accept of this tool now. Raises `UsageError` for one that was never seen."""
    rows = list(deployment.ledger.read().mappings(select(ToolRow).where(col(ToolRow.key) == tool)))
    if not rows:
        raise UsageError(f"no tool {tool!r} has been seen here; `remit tool list` shows those that were")
    [row] = rows
    old = definition_of(deployment, row["digest"]) if row["digest"] is not None else None
    new = definition_of(deployment, row["seen"] or row["digest"])
    return DefinitionDiff(
        tool=tool,
        state=row["state"],
        accepted=row["digest"],
        seen=new.digest,
        description=words(old.description or "" if old is not None else "", new.description or ""),
        schema=words(_schema(old), _schema(new)),
    )


def _schema(definition: ToolDefinition | None) -> str:
    if definition is None or definition.schema is None:
        return ""
    return json.dumps(definition.schema, indent=2, ensure_ascii=False, sort_keys=True)


def words(old: str, new: str) -> tuple[Change, ...]:
    """The way from one text to the other in words, marks and spaces, each of them kept."""
    before, after = _WORDS.findall(old), _WORDS.findall(new)
    found: list[Change] = []
    for kind, i, j, k, m in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            found.append(("same", "".join(before[i:j])))
            continue
        if i < j:
            found.append(("removed", "".join(before[i:j])))
        if k < m:
            found.append(("added", "".join(after[k:m])))
    return tuple(found)
