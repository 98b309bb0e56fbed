"""Saying why a call does not match a clause. Only refused calls come here, so this may take its time.

Each failing check is one code, one rule id and one sentence that names the argument, its shortened value and what is
allowed. Of several clauses, the closest one speaks: with the fewest failing checks, then the smallest distance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from remit.authority.calls import CallView, Failure
from remit.authority.compile import MISSING, CompiledClause, CompiledGrant
from remit.authority.literals import listing, show
from remit.authority.words.base import Fault
from remit.errors import DenialCode, Remedy

_REVEALED = 12


@dataclass(frozen=True, slots=True)
class Problem:
    """One failing check of one clause."""

    code: DenialCode
    part: str
    reason: str
    remedy: Remedy
    distance: float = math.inf


def explain_mismatch(grant: CompiledGrant, call: CallView) -> Failure:
    """Why no clause of this link admits the call."""
    clauses = tuple(clause.on(call.sources) for clause in grant.clauses(call.tool))
    if not clauses:
        return _not_granted(grant, call)
    judged = [(clause, list(problems(clause, call))) for clause in clauses]
    judged = [(clause, found) for clause, found in judged if found]
    observing = [(clause, found) for clause, found in judged if clause.observe]
    clause, found = min(
        observing or judged, key=lambda item: (len(item[1]), min(problem.distance for problem in item[1]))
    )
    first = found[0]
    return Failure(
        first.code,
        f"{clause.rule}:{first.part}",
        first.reason,
        first.remedy,
        clause.name,
        enforced=not clause.observe,
    )


def _not_granted(grant: CompiledGrant, call: CallView) -> Failure:
    tools = sorted(grant.tools)
    remedy = Remedy(
        "request_grant", expected=f"a granted tool: {listing(tools, most=_REVEALED)}", details={"tool": call.tool}
    )
    reason = f"The grant does not include {call.tool}; it includes {listing(tools, last='and', most=_REVEALED)}."
    return Failure("tool_not_granted", f"{call.tool}", reason, remedy)


def problems(clause: CompiledClause, call: CallView) -> Iterator[Problem]:
    """Every check of the clause that the call fails: arguments first, then injected ones, then resources."""
    yield from _argument_problems(clause, call)
    yield from _injected_problems(clause, call)
    yield from _resource_problems(clause, call)


def _argument_problems(clause: CompiledClause, call: CallView) -> Iterator[Problem]:
    by_resources = clause.patterns is not None or clause.open_resources
    for name, check, optional in clause.bounds:
        value = call.effective.get(name, MISSING)
        if value is MISSING:
            if not optional:
                expected = clause.source.arguments[name].describe()
                yield _bounds(
                    name,
                    f"The argument `{name}` of {call.tool} is missing; the grant wants {_shown(call, name, expected)}.",
                    f"{name}: {_shown(call, name, expected)}",
                )
            continue
        fault = check(value)
        if fault is not None and not (optional and value is None and name in call.defaulted):
            yield _fault(clause, call, name, fault)
    if clause.other_arguments:
        return
    for name in call.effective:
        if name in clause.names or name in call.defaulted or (by_resources and name in call.covered):
            continue
        if name in clause.source.injected:
            continue  # said better below
        named = [f"`{known}`" for known in sorted(clause.names)] or ["none"]
        yield _bounds(
            "other_arguments",  # the name is what the model wrote, and a rule stands in the leaf for everybody to read
            f"The argument `{show(name)[1:-1]}` of {call.tool} is not named in the grant, "
            f"which names {listing(named, last='and', most=_REVEALED)}.",
            f"no argument {show(name)}",
        )


def _fault(clause: CompiledClause, call: CallView, name: str, fault: Fault) -> Problem:
    path = name + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in fault.path)
    value = "a secret value" if name in call.secret else show(fault.value)
    expected = _shown(call, name, fault.expected)
    return _bounds(
        name,
        f"The argument `{show(path, 120)[1:-1]}` of {call.tool} is {value}; the grant allows {expected}.",
        f"{name}: {expected}",
        fault.distance,
    )


def _shown(call: CallView, name: str, expected: str) -> str:
    return "another value" if name in call.secret else expected


def _bounds(part: str, reason: str, expected: str, distance: float = math.inf) -> Problem:
    return Problem("argument_out_of_bounds", part, reason, Remedy("change_argument", expected), distance)


def _injected_problems(clause: CompiledClause, call: CallView) -> Iterator[Problem]:
    for name, check, optional in clause.injected:
        if name in call.arguments:
            yield _bounds(
                name,
                f"The argument `{name}` of {call.tool} is filled in by the application; a call may not bring it along.",
                f"no argument {show(name)}",
            )
            continue
        value = call.injected.get(name, MISSING)
        if value is MISSING:
            if not optional:
                yield Problem(
                    "argument_out_of_bounds",
                    name,
                    f"The application did not fill in `{name}` of {call.tool}, which the grant bounds.",
                    Remedy("stop"),
                )
            continue
        fault = check(value)
        if fault is not None:
            yield Problem(
                "argument_out_of_bounds",
                name,
                f"The application filled in `{name}` of {call.tool} with a value outside the grant.",
                Remedy("stop"),
            )


def _resource_problems(clause: CompiledClause, call: CallView) -> Iterator[Problem]:
    patterns = clause.patterns
    if call.unresolved is not None:  # also where any resource is allowed: guardrails have to see which it is
        yield _unresolved(
            call, f"What {call.tool} would touch cannot be read in one way: {call.unresolved.rstrip('.')}."
        )
        return
    if clause.open_resources:
        return
    if patterns is None:
        if call.accesses:
            yield _out_of_scope(call, str(call.accesses[0]), "no resource")
        return
    if not call.catalogued:
        sentence = f"No catalogue says what {call.tool} touches, so the resources of the grant cannot be checked."
        yield Problem("resource_unresolved", "resources", sentence, Remedy("stop"))
        return
    if not call.accesses:
        yield _unresolved(call, f"This call of {call.tool} names no resource, and the grant wants one that it names.")
        return
    allowed = listing([pattern.text for pattern in patterns])
    for access in call.accesses:
        if not any(pattern.matches(access) for pattern in patterns):
            yield _out_of_scope(call, str(access), allowed)


def _unresolved(call: CallView, sentence: str) -> Problem:
    if call.secret & call.covered:
        sentence = f"What {call.tool} would touch cannot be read in one way."
    return Problem("resource_unresolved", "resources", sentence, Remedy("change_argument"))


def _out_of_scope(call: CallView, access: str, allowed: str) -> Problem:
    touched = "something secret" if call.secret & call.covered else show(access, 120)[1:-1]
    return Problem(
        "resource_out_of_scope",
        "resources",
        f"{call.tool} would {touched}; the grant allows {allowed}.",
        Remedy("change_argument", f"resources: {allowed}"),
    )
