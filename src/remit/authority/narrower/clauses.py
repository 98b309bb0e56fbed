"""Whether a clause of a child grant allows nothing that one clause of its parent does not: whole, approval included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from remit.authority.constraints import Constraint
from remit.authority.durations import show_span
from remit.authority.limits import Approval
from remit.authority.literals import listing
from remit.authority.model import ANY, Clause
from remit.authority.narrower.limits import Bounds, beyond
from remit.authority.narrower.resources import covers
from remit.authority.narrower.values import Pair
from remit.resources.access import Pattern


@dataclass(frozen=True, slots=True)
class Parent:
    """A clause of the parent, and what the comparison has to know of its surroundings.

    `observed`: every clause that its tool has there is only observed. `covered`: the arguments whose whole value the
    catalogue turns into a resource.
    """

    clause: Clause
    observed: bool
    covered: frozenset[str]


def wider(child: Clause, parent: Parent, pair: Pair) -> list[str]:
    """Every way in which the child's clause goes beyond the parent's; empty when it is narrower."""
    return [
        *_resources(child, parent.clause),
        *_arguments(child, parent, pair),
        *_injected(child.injected, parent.clause.injected, pair),
        *_limits(child, parent.clause),
        *_approval(child.approval, parent.clause.approval),
        *_marks(child, parent.clause),
        *(
            ["only observes, so that what it does not allow runs all the same; its parent enforces"]
            if child.observe and not parent.observed
            else []
        ),
    ]


# -- resources


def _resources(child: Clause, parent: Clause) -> list[str]:
    if parent.resources == ANY:
        return []
    if parent.resources is None:
        if child.resources is None:
            return []
        return ["names `resources`; its parent's clause names none, so it allows no call that touches any"]
    if child.resources is None:
        return [f"leaves out `resources`; its parent allows {listing(list(parent.resources))}"]
    if child.resources == ANY:
        return [f"allows any resource; its parent allows {listing(list(parent.resources))}"]
    allowed = [Pattern.parse(text) for text in parent.resources]
    return [
        f"allows {text}; its parent allows {listing(list(parent.resources))}"
        for text in child.resources
        if not any(covers(pattern, Pattern.parse(text)) for pattern in allowed)
    ]


# -- arguments


def _arguments(child: Clause, parent: Parent, pair: Pair) -> list[str]:
    bounds, clause = child.arguments, parent.clause
    free = clause.other_arguments == ANY
    found = []
    if child.other_arguments == ANY and not free:
        found.append("allows arguments that it does not name; its parent does not")
    for name, bound in clause.arguments.items():
        if name in bounds:
            found += _bound(name, bounds[name], bound, pair)
        elif not (bound.unbounded and bound.optional):
            found.append(f"leaves out `{name}`, of which its parent allows {bound.describe()}")
    by_resources = clause.resources is not None
    for name in bounds:
        if name not in clause.arguments and not free and not (by_resources and name in parent.covered):
            found.append(f"allows the argument `{name}`, which its parent does not name")
    return found


def _injected(child: Mapping[str, Constraint], parent: Mapping[str, Constraint], pair: Pair) -> list[str]:
    found = []
    for name, bound in parent.items():
        if name in child:
            found += _bound(f"injected {name}", child[name], bound, pair)
        else:
            found.append(f"leaves out the injected `{name}`, of which its parent allows {bound.describe()}")
    return found


def _bound(name: str, child: Constraint, parent: Constraint, pair: Pair) -> list[str]:
    found = []
    reason = pair.why_not(child, parent)
    if reason is not None:
        found.append(f"`{name}` {reason}")
    if child.optional and not parent.optional:
        found.append(f"`{name}` may be left out; its parent requires it")
    return found


# -- marks


def _marks(child: Clause, parent: Clause) -> list[str]:
    found = [
        f"does not mark `{name}` secret; its parent does"
        for name in parent.secret
        if name not in child.secret and (name in child.arguments or name in child.injected or child.other_arguments)
    ]
    return found + [
        f"does not mark `{name}` redact; its parent does"
        for name in parent.redact
        if name not in {*child.redact, *child.secret}
        and (name in child.arguments or name in child.injected or child.other_arguments)
    ]


# -- limits and approval


def _limits(child: Clause, parent: Clause) -> list[str]:
    return beyond(Bounds().adding(child.limits), parent.limits)


def _approval(child: Approval | None, parent: Approval | None) -> list[str]:
    if parent is None:
        return []
    if child is None:
        return [f"leaves out the approval by {listing(list(parent.by))}"]
    found = []
    if extra := [one for one in child.by if one not in parent.by]:
        found.append(f"lets {listing(extra)} approve; its parent {listing(list(parent.by))}")
    if child.count < parent.count:
        found.append(f"takes {child.count} approvals; its parent takes {parent.count}")
    if child.expires_in > parent.expires_in:
        found.append(
            f"lets an approval stand for {show_span(child.expires_in)}; its parent for {show_span(parent.expires_in)}"
        )
    return found
