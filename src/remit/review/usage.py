"""`remit usage`: of what was granted, what was used, what came near its bound, what was tried, and what never served.

Over all sessions of a grant, or of every grant of a template, down to arguments and resources.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select
from sqlmodel import col

from remit.authority.compile import compile_grant
from remit.authority.constraints import Constraint
from remit.authority.explain import allows
from remit.authority.keys import server_wildcard
from remit.authority.literals import exact_decimal, kind_of
from remit.authority.model import Clause
from remit.authority.terms import GrantTerms
from remit.ledger import values
from remit.resources.access import Access, Pattern
from remit.review.calls import CallLine, read_calls
from remit.review.clauses import NEAR, LimitLine, clause_title, limits_of
from remit.review.generalise import as_source, identity
from remit.review.history import find
from remit.store.tables import CounterRow

if TYPE_CHECKING:
    from remit.deployment import Deployment

EXAMPLES: Final = 5
_NUMBERS: Final = frozenset({"integer", "number"})


@dataclass(frozen=True, slots=True)
class ArgumentUse:
    """One argument of a clause. `at_edge`: calls whose value reached four fifths of an upper bound or length.

    `never` are values or choices that the clause offers and no call took.
    """

    name: str
    bound: str
    calls: int
    distinct: int
    examples: tuple[Any, ...]
    least: Any
    most: Any
    at_edge: int
    never: tuple[Any, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """One line of a clause's `resources`: how many calls touched something of it, and how many different things."""

    line: str
    calls: int
    distinct: int
    examples: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class ClauseUse:
    """One clause, identified by tool and name across grants; `granted` is its text in the newest one."""

    tool: str
    name: str
    granted: str
    grants: int
    sessions: int
    calls: int
    arguments: tuple[ArgumentUse, ...]
    resources: tuple[ResourceUse, ...]

    @property
    def title(self) -> str:
        """`crm.comment`, or `payments.refund/large` where a tool has several clauses."""
        return clause_title(self.tool, self.name)

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            "tool": self.tool,
            "clause": self.name,
            "granted": self.granted,
            "grants": self.grants,
            "sessions": self.sessions,
            "calls": self.calls,
            "arguments": [argument.as_dict() for argument in self.arguments],
            "resources": [resource.as_dict() for resource in self.resources],
        }


@dataclass(frozen=True, slots=True)
class Attempt:
    """Calls that were refused for the same reason. `examples` are resources or arguments, None where erased."""

    tool: str
    code: str
    rule: str | None
    calls: int
    sessions: int
    examples: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Usage:
    """Everything about a grant's, or a template's, use."""

    subject: str
    grants: int
    sessions: int
    calls: int
    erased: int
    clauses: tuple[ClauseUse, ...]
    limits: tuple[tuple[str, LimitLine], ...]
    attempts: tuple[Attempt, ...]

    @property
    def at_edge(self) -> tuple[str, ...]:
        """Limits and bounds of which four fifths or more were reached, in words."""
        found = [
            f"{line.what}: {line.spent} of {line.allowed} ({grant})" for grant, line in self.limits if line.at_edge
        ]
        for clause in self.clauses:
            found += [
                f"{clause.title}, `{one.name}`: {one.at_edge} of {one.calls} calls near {one.bound}"
                for one in clause.arguments
                if one.at_edge
            ]
        return tuple(found)

    @property
    def never_used(self) -> tuple[str, ...]:
        """Clauses that permitted nothing; arguments, choices and resources that no call took, in words."""
        found = []
        for clause in self.clauses:
            if not clause.calls:
                found.append(f"{clause.title}: never called")
                continue
            found += [
                f"{clause.title}: nothing of {one.line}"
                for one in clause.resources
                if not one.calls and one.line != "any"
            ]
            for one in clause.arguments:
                if not one.calls:
                    found.append(f"{clause.title}, `{one.name}`: never given")
                elif one.never:
                    rest = ", ".join(json.dumps(value, ensure_ascii=False) for value in one.never)
                    found.append(f"{clause.title}, `{one.name}`: never {rest}")
        return tuple(found)

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            "subject": self.subject,
            "grants": self.grants,
            "sessions": self.sessions,
            "calls": self.calls,
            "erased": self.erased,
            "clauses": [clause.as_dict() for clause in self.clauses],
            "limits": [{"grant": grant, **line.as_dict()} for grant, line in self.limits],
            "attempted": [attempt.as_dict() for attempt in self.attempts],
            "at_edge": list(self.at_edge),
            "never_used": list(self.never_used),
        }


def usage(deployment: Deployment, name: str) -> Usage:
    """How a grant, or every grant of a template, was used. Raises `UsageError` when this ledger has none of that name.

    What is granted is taken from the newest version of each grant.
    """
    history = find(deployment, name)
    calls = [(session, call) for session in history.sessions for call in read_calls(deployment, session["id"])]
    ran = [(session, call) for session, call in calls if call.ran]
    return Usage(
        subject=name,
        grants=len(history.grants),
        sessions=len(history.sessions),
        calls=len(ran),
        erased=sum(call.arguments is None for _, call in calls),
        clauses=tuple(_clauses(deployment, history.grants, ran)),
        limits=tuple(_limits(deployment, history.grants)),
        attempts=_attempts(deployment, calls),
    )


Called = tuple[Mapping[str, Any], CallLine]


def _clauses(deployment: Deployment, grants: Mapping[str, GrantTerms], ran: Sequence[Called]) -> Iterable[ClauseUse]:
    newest: dict[tuple[str, str], Clause] = {}
    holders: Counter[tuple[str, str]] = Counter()
    for terms in reversed(list(grants.values())):
        for tool, clause in terms.document.clauses():
            newest.setdefault((tool, clause.name), clause)
            holders[tool, clause.name] += 1
    for (tool, name), clause in newest.items():
        used = [
            (session, call)
            for session, call in ran
            if call.effect == "permit"
            and call.clause == name
            and _speaks_for(tool, call.tool, grants[session["grant_id"]])
        ]
        yield ClauseUse(
            tool=tool,
            name=name,
            granted=allows(tool, clause),
            grants=holders[tool, name],
            sessions=len({session["id"] for session, _ in used}),
            calls=len(used),
            arguments=tuple(_arguments(deployment, clause, name, used, grants)),
            resources=tuple(_resources(clause, used, grants)),
        )


def _speaks_for(key: str, tool: str, terms: GrantTerms) -> bool:
    return key == tool or (key == server_wildcard(tool) and tool not in terms.tools)


def _arguments(
    deployment: Deployment, clause: Clause, name: str, used: Sequence[Called], grants: Mapping[str, GrantTerms]
) -> Iterable[ArgumentUse]:
    given: dict[str, list[tuple[Any, Constraint | None]]] = {argument: [] for argument in clause.arguments}
    secret: set[str] = set()
    for session, call in used:
        own = next((one for one in grants[session["grant_id"]].tools.get(call.tool, ()) if one.name == name), clause)
        entry = deployment.catalogue.entry(call.tool)
        secret |= entry.secret if entry is not None else set()
        for argument, value in values.decode(dict(call.arguments or {})).items():
            given.setdefault(argument, []).append((value, own.arguments.get(argument)))
    for argument, found in given.items():
        bound = clause.arguments.get(argument)
        yield _argument(argument, bound, found, hidden=argument in secret)


def _argument(
    name: str, bound: Constraint | None, found: Sequence[tuple[Any, Constraint | None]], *, hidden: bool
) -> ArgumentUse:
    distinct = {identity(value): value for value, _ in found}
    numbers = [value for value in distinct.values() if kind_of(value) in _NUMBERS]
    offered: list[Any] = as_source(bound.to_json()).get("one_of", []) if bound is not None else []
    taken = distinct.keys()
    return ArgumentUse(
        name=name,
        bound=bound.describe() if bound is not None else "anything",
        calls=len(found),
        distinct=len(distinct),
        examples=() if hidden else tuple(list(distinct.values())[:EXAMPLES]),
        least=min(numbers, key=exact_decimal) if numbers and not hidden else None,
        most=max(numbers, key=exact_decimal) if numbers and not hidden else None,
        at_edge=sum(_near(value, own) for value, own in found),
        never=tuple(value for value in offered if found and not hidden and identity(value) not in taken),
    )


def _near(value: Any, bound: Constraint | None) -> bool:
    """Whether a value reached four fifths of an upper bound or of a length that was granted."""
    words: dict[str, Any] = as_source(bound.to_json()) if bound is not None else {}
    if isinstance(value, str | list | dict) and "max_len" in words:
        return bool(len(value) >= NEAR * words["max_len"])
    most = words.get("max", words.get("below"))
    if kind_of(value) not in _NUMBERS or most is None or most <= 0:
        return False
    return exact_decimal(value) >= NEAR * exact_decimal(most)


def _resources(clause: Clause, used: Sequence[Called], grants: Mapping[str, GrantTerms]) -> Iterable[ResourceUse]:
    """Lines are counted by their place in the clause: in grants of one template they differ only in parameters."""
    if not isinstance(clause.resources, tuple):
        touched = Counter(access for _, call in used for access in set(call.accesses or ()))
        if clause.resources is not None or touched:
            yield ResourceUse(
                "any", sum(bool(call.accesses) for _, call in used), len(touched), tuple(touched)[:EXAMPLES]
            )
        return
    for place, line in enumerate(clause.resources):
        calls, found = 0, dict[str, None]()
        for session, call in used:
            lines = _own_lines(grants[session["grant_id"]], call, clause)
            if place >= len(lines):
                continue
            pattern = Pattern.parse(lines[place])
            matching = [text for text in call.accesses or () if pattern.matches(Access(*text.split(" ", 1)))]
            calls += bool(matching)
            found |= dict.fromkeys(matching)
        yield ResourceUse(line, calls, len(found), tuple(found)[:EXAMPLES])


def _own_lines(terms: GrantTerms, call: CallLine, clause: Clause) -> tuple[str, ...]:
    clauses = terms.tools.get(call.tool) or terms.tools.get(server_wildcard(call.tool), ())
    own = next((one for one in clauses if one.name == clause.name), clause)
    return own.resources if isinstance(own.resources, tuple) else ()


def _limits(deployment: Deployment, grants: Mapping[str, GrantTerms]) -> Iterable[tuple[str, LimitLine]]:
    for grant_id, terms in grants.items():
        query = select(CounterRow).where(col(CounterRow.id).startswith(f"{grant_id}/", autoescape=True))
        counters = {row["id"]: row["value"] for row in deployment.ledger.read().mappings(query)}
        for line in limits_of(compile_grant(terms), counters):
            if Decimal(line.spent):
                yield grant_id, line


def _attempts(deployment: Deployment, calls: Sequence[Called]) -> tuple[Attempt, ...]:
    groups: dict[tuple[str, str, str | None], list[Called]] = {}
    for session, call in calls:
        if call.outside:
            groups.setdefault((call.tool, call.code or "", call.rule), []).append((session, call))
    made = [
        Attempt(
            tool=tool,
            code=code,
            rule=rule,
            calls=len(found),
            sessions=len({session["id"] for session, _ in found}),
            examples=tuple(dict.fromkeys(text for _, call in found for text in _shown(deployment, call)))[:EXAMPLES],
        )
        for (tool, code, rule), found in groups.items()
    ]
    return tuple(sorted(made, key=lambda attempt: (-attempt.calls, attempt.tool, attempt.code)))


def _shown(deployment: Deployment, call: CallLine) -> tuple[str, ...]:
    if call.accesses:
        return call.accesses
    entry = deployment.catalogue.entry(call.tool)
    secret = entry.secret if entry is not None else frozenset[str]()
    return tuple(
        f"{name}={json.dumps(value, ensure_ascii=False, default=str)[:80]}"
        for name, value in (call.arguments or {}).items()
        if name not in secret
    )


__all__ = ["ArgumentUse", "Attempt", "ClauseUse", "ResourceUse", "Usage", "usage"]
