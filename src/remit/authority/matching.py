"""Matching one call with the grants it is made under: the expensive half of a decision, which looks at no facts.

```
match    tool → arguments → resources          on every link of the chain, root first; strictest wins
```

Pure: the same chain and call match the same, on any machine, at any time. `remit.authority.decide` is the other half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from remit.authority.calls import CallView, Failure
from remit.authority.compile import CompiledClause, CompiledGrant
from remit.authority.failures import explain_mismatch
from remit.authority.literals import show
from remit.errors import Remedy

_MAX_NESTING: Final = 64


class Match:
    """What `match` found: the clauses of each link that admit the call, or why one link admits it by none."""

    __slots__ = ("call", "failure", "links")

    def __init__(
        self,
        call: CallView | None,
        links: tuple[tuple[CompiledClause, ...], ...],
        failure: Failure | None,
    ) -> None:
        self.call = call
        self.links = links
        self.failure = failure

    @classmethod
    def refused(cls, failure: Failure, call: CallView | None = None) -> Match:
        """A match that failed outside this module, at a guardrail or before the grant was looked at."""
        return cls(call, (), failure)


def match(chain: Sequence[CompiledGrant], call: CallView) -> Match:
    """Judge a call's tool, arguments and resources on every link. Never raises: an error inside is a refusal."""
    try:
        return _match(chain, call)
    except Exception:  # noqa: BLE001 - whatever goes wrong in judging, the answer is no
        reason = f"{show(call.tool)[1:-1]} could not be judged because of an error inside the gate."
        return Match(call, (), Failure("evaluator_error", "remit/evaluator", reason, Remedy("stop")))


def _match(chain: Sequence[CompiledGrant], call: CallView) -> Match:
    failure = _unrepresentable(call) or _injected_twice(call)
    if failure is not None:
        return Match(call, (), failure)
    links: list[tuple[CompiledClause, ...]] = []
    for grant in chain:
        found: list[CompiledClause] = []
        for clause in grant.clauses(call.tool):
            if clause.selectors:
                clause = clause.on(call.sources)
            if clause.admits(call):
                found.append(clause)
                if not clause.counters:
                    break  # nothing can make the decision pass this one over
        if not found:
            missed = explain_mismatch(grant, call)
            if failure is None or (missed.enforced and not failure.enforced):
                failure = missed
        links.append(tuple(found))
    if not links:
        failure = Failure("no_grant", None, f"No grant covers {call.tool}.", Remedy("request_grant"))
    return Match(call, tuple(links), failure)


def _injected_twice(call: CallView) -> Failure | None:
    for name in call.injected:
        if name in call.arguments:
            shown = show(name)[1:-1]
            reason = f"The argument `{shown}` of {call.tool} is filled in by the application; a call may not bring it."
            remedy = Remedy("change_argument", f"no argument {show(name)}")
            return Failure("argument_out_of_bounds", f"{call.tool}:{name}", reason, remedy)
    return None


def _unrepresentable(call: CallView) -> Failure | None:
    """Numbers are finite and strings encodable in every argument, bounded or not."""
    for name, value in call.effective.items():
        kind = type(value)
        if name.isascii() and (kind is int or kind is bool or value is None or (kind is str and value.isascii())):
            continue
        problem = None if name.isascii() else _problem(name, 0)
        problem = problem or _problem(value, 0)
        if problem is not None:
            shown = show(name)[1:-1]
            reason = f"The argument `{shown}` of {call.tool} {problem}."
            remedy = Remedy("change_argument", f"{shown}: finite numbers and text that can be encoded")
            return Failure("argument_unrepresentable", f"{call.tool}:{shown}", reason, remedy)
    return None


def _problem(value: Any, depth: int) -> str | None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return "holds a lone surrogate"
    elif isinstance(value, float):
        if not math.isfinite(value):
            return "holds a number that is not finite"
    elif isinstance(value, Decimal):
        if not value.is_finite():
            return "holds a number that is not finite"
    elif isinstance(value, dict | list | tuple):
        if depth >= _MAX_NESTING:
            return f"is nested more than {_MAX_NESTING} deep"
        inner = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        return next((found for item in inner if (found := _problem(item, depth + 1)) is not None), None)
    return None


__all__ = ["Match", "match"]
