"""Whether limits keep within the parent's: calls, refusals, rates, sums, different resources, and shared ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from remit.authority.durations import Rate
from remit.authority.limits import (
    ANY_ACTION,
    ClauseLimits,
    DistinctLimit,
    GrantLimits,
    SharedLimit,
    SumLimit,
    resource_pattern,
)
from remit.authority.literals import decimal_text, listing
from remit.authority.model import GrantDocument
from remit.authority.narrower.resources import covers
from remit.resources.access import Pattern

Limits = ClauseLimits | GrantLimits | SharedLimit


@dataclass(frozen=True, slots=True)
class Bounds:
    """Every limit of the child that counts all the calls in question."""

    calls: tuple[int, ...] = ()
    rates: tuple[Rate, ...] = ()
    sums: tuple[SumLimit, ...] = ()
    distincts: tuple[DistinctLimit, ...] = ()

    def adding(self, limits: Limits) -> Bounds:
        """These and those of one more place in the grant."""
        return Bounds(
            (*self.calls, *(() if limits.calls is None else (limits.calls,))),
            (*self.rates, *limits.rate),
            (*self.sums, *(() if isinstance(limits, GrantLimits) else limits.sum)),
            (*self.distincts, *limits.distinct),
        )


def beyond(mine: Bounds, most: Limits, what: str = "calls") -> list[str]:
    """Each limit of the parent, `most`, that none of the child's keeps within. `what` names the calls counted."""
    found = over(what, min(mine.calls, default=None), most.calls)
    for rate in most.rate:
        if not any(one.count <= rate.count and one.seconds >= rate.seconds for one in mine.rates):
            found.append(_lacking(f"{rate} {what}", [str(one) for one in mine.rates]))
    for limit in () if isinstance(most, GrantLimits) else most.sum:
        found += _sum_over(limit, [one for one in mine.sums if one.argument == limit.argument])
    for distinct in most.distinct:
        if not any(one.max <= distinct.max and _counts(one, distinct) for one in mine.distincts):
            found.append(_lacking(distinct.describe(), [one.describe() for one in mine.distincts]))
    return found


def over(what: str, mine: int | None, most: int | None) -> list[str]:
    """Why a count is no narrower than its parent's."""
    if most is None or (mine is not None and mine <= most):
        return []
    return [f"leaves out the limit of {most} {what}" if mine is None else f"allows {mine} {what}; its parent {most}"]


def _lacking(most: str, mine: list[str]) -> str:
    if not mine:
        return f"leaves out the limit of {most}"
    return f"is limited to {listing(mine, last='and')}; its parent to {most}"


def _sum_over(limit: SumLimit, mine: list[SumLimit]) -> list[str]:
    if any(one.max <= limit.max for one in mine):
        return []
    return [
        _lacking(
            f"a sum of {decimal_text(limit.max)} over `{limit.argument}`",
            [f"a sum of {decimal_text(one.max)}" for one in mine],
        )
    ]


def _counts(mine: DistinctLimit, theirs: DistinctLimit) -> bool:
    """Whether everything that the parent counts is counted by the child too, so that its count is no smaller."""
    return all(any(_takes(one, other) for one in mine.patterns()) for other in theirs.patterns())


def _takes(mine: Pattern, theirs: Pattern) -> bool:
    if mine.action == ANY_ACTION:
        theirs = resource_pattern(theirs.text.partition(" ")[2])
    return covers(mine, theirs)


def limits_over(child: GrantDocument, parent: GrantDocument, spoken_for: Mapping[str, frozenset[str]]) -> list[str]:
    """Every limit of the whole parent that the whole child leaves out or goes beyond.

    `spoken_for`: for each tool of the child the tools of the parent that its calls may be.
    """
    mine, most = child.limits, parent.limits
    found = [
        *beyond(Bounds().adding(mine), most, "calls in all"),
        *over("refusals before the session is suspended", mine.denied, most.denied),
    ]
    for shared in most.shared:
        tools = [tool for tool, keys in spoken_for.items() if keys & set(shared.tools)]
        if tools:
            over_all = f", for {listing(list(shared.tools), last='and')} together"
            found += [reason + over_all for reason in beyond(_bounding(child, tools), shared)]
    return found


def _bounding(child: GrantDocument, tools: list[str]) -> Bounds:
    """What bounds these tools of the child together: limits that they share, or those of one clause that is alone."""
    found = Bounds().adding(child.limits)
    for mine in child.limits.shared:
        if set(tools) <= set(mine.tools):
            found = found.adding(mine)
    if len(tools) == 1 and len(child.tools[tools[0]]) == 1:
        found = found.adding(child.tools[tools[0]][0].limits)
    return found
