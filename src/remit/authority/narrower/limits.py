"""Whether the limits of a whole child grant keep within its parent's: calls, refusals, and what tools share."""

from __future__ import annotations

from collections.abc import Mapping

from remit.authority.limits import SharedLimit, SumLimit
from remit.authority.literals import listing
from remit.authority.model import GrantDocument
from remit.authority.narrower.clauses import over, sum_over


def limits_over(child: GrantDocument, parent: GrantDocument, spoken_for: Mapping[str, frozenset[str]]) -> list[str]:
    """Every limit of the parent that the child leaves out or goes beyond.

    `spoken_for`: for each tool of the child the tools of the parent that its calls may be.
    """
    mine, most = child.limits, parent.limits
    found = [
        *over("calls in all", mine.calls, most.calls),
        *over("refusals before the session is suspended", mine.denied, most.denied),
    ]
    for shared in most.shared:
        tools = [tool for tool, keys in spoken_for.items() if keys & set(shared.tools)]
        if tools:
            found += [f"{reason}, which {_tools(shared)} share" for reason in _shared(child, shared, tools)]
    return found


def _tools(shared: SharedLimit) -> str:
    return listing(list(shared.tools), last="and")


def _shared(child: GrantDocument, shared: SharedLimit, tools: list[str]) -> list[str]:
    """A limit that these tools of the child share bounds them; so does that of a clause which stands alone."""
    counts, sums = _bounding(child, tools)
    found = over("calls", min(counts, default=None), shared.calls)
    for limit in shared.sum:
        found += sum_over(limit, [one for one in sums if one.argument == limit.argument])
    return found


def _bounding(child: GrantDocument, tools: list[str]) -> tuple[list[int], list[SumLimit]]:
    counts: list[int] = [child.limits.calls] if child.limits.calls is not None else []
    sums: list[SumLimit] = []
    for mine in child.limits.shared:
        if set(tools) <= set(mine.tools):
            counts += [mine.calls] if mine.calls is not None else []
            sums += mine.sum
    if len(tools) == 1 and len(child.tools[tools[0]]) == 1:
        [clause] = child.tools[tools[0]]
        counts += [clause.limits.calls] if clause.limits.calls is not None else []
        sums += clause.limits.sum
    return counts, sums
