"""Whether one resource pattern names nothing that another does not, by comparing them segment by segment."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from remit.resources.access import Pattern
from remit.resources.uris import WEB_SCHEMES

ONE: Final = "*"
MANY: Final = "**"


def covers(parent: Pattern, child: Pattern) -> bool:
    """Whether every access that `child` matches is one that `parent` matches. When in doubt, no."""
    if parent.text == child.text:
        return True
    if parent.action != child.action or parent.kind != child.kind:
        return False
    if parent.kind == "mailto":
        return all(mine in (ONE, yours) for mine, yours in zip(parent.segments, child.segments, strict=True))
    return _queries(parent, child) and _segments(parent.segments, child.segments)


def _queries(parent: Pattern, child: Pattern) -> bool:
    """A final `**` of a web pattern takes every query along; elsewhere the query is compared as it stands."""
    if parent.kind not in WEB_SCHEMES or parent.segments[-1] == MANY:
        return True
    if child.segments[-1] == MANY:
        return False
    return parent.query in ("*", child.query)


@lru_cache(maxsize=4096)
def _segments(parent: tuple[str, ...], child: tuple[str, ...]) -> bool:
    """A wildcard of the child is met by a wildcard of the parent only. `**` may be no segment at all, `*` never is."""
    if not parent:
        return not child
    if parent[0] == MANY:
        return _segments(parent[1:], child) or (bool(child) and _segments(parent, child[1:]))
    if not child or child[0] in (MANY, "") or parent[0] != ONE:
        return bool(child) and parent[0] == child[0] and _segments(parent[1:], child[1:])
    return _segments(parent[1:], child[1:])
