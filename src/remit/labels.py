"""Labels: what a session has touched so far, said by the catalogue of the tools that ran.

They accumulate on the root grant, so that a delegated child cannot read what is confidential and leave its parent
clean. They are never taken away again.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.store.readmodels import ReadModels

TOUCHING: Final = frozenset({"ok", "cancelled", "pending", "unknown"})
"""Outcomes after which a label holds: the tool ended ok, or nobody can say that it showed nothing."""


def of_tool(deployment: Deployment, tool: str) -> tuple[str, ...]:
    """The labels that calls of a tool carry."""
    known = deployment.catalogue.entry(tool)
    return known.labels if known is not None else ()


@lru_cache(maxsize=1024)
def read(stored: str | None) -> frozenset[str]:
    """The labels on a grant's row."""
    return frozenset(orjson.loads(stored)) if stored else frozenset()


def add(rows: ReadModels, grant_id: str | None, found: Iterable[str]) -> None:
    """Put labels on the root of a grant's tree."""
    row = rows.get("grants", grant_id) if grant_id is not None else None
    if row is None:
        return
    root = row if row["root"] == row["id"] else rows.get("grants", row["root"])
    assert root is not None
    held = read(root["labels"])
    if not held.issuperset(found):
        rows.put("grants", root["id"], labels=orjson.dumps(sorted(held.union(found))).decode())
