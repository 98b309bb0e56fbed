"""A grant's terms turned into closures that judge calls. No code is generated; compile once, decide many times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, NamedTuple

from remit.authority.calls import ApprovalNeed, CallView, Spend
from remit.authority.keys import server_wildcard
from remit.authority.limits import ClauseLimits, GrantLimits, SharedLimit, SumLimit, touched
from remit.authority.literals import Slot, add_exactly, decimal_text, exact_decimal
from remit.authority.model import ANY, Clause
from remit.authority.picking import Picker
from remit.authority.sources import Found
from remit.authority.terms import GrantTerms
from remit.authority.words.base import Check, Scope
from remit.errors import GrantError
from remit.resources.access import Pattern

MISSING: Final = object()


class Marks(NamedTuple):
    """Arguments that are only committed to, and arguments that reviewers see masked."""

    secret: frozenset[str]
    redact: frozenset[str]

    def with_(self, other: Marks) -> Marks:
        """What either of them marks. A secret is never kept, so there is nothing to mask of it."""
        secret = self.secret | other.secret
        return Marks(secret, (self.redact | other.redact) - secret)


UNMARKED: Final = Marks(frozenset(), frozenset())

Bound = tuple[str, Check, bool]
"""An argument's name, the closure that judges it, and whether it may be left out."""


@dataclass(frozen=True, slots=True)
class Counter:
    """One limit as it is read and spent: `argument` is None where calls are counted."""

    id: str
    most: Decimal
    argument: str | None
    label: str
    seconds: int = 0
    """Of a rate: the stretch of time."""
    patterns: tuple[Pattern, ...] = ()
    """Of a limit on different resources: which are counted."""

    @property
    def part(self) -> str:
        """What a refusal names as the rule's part."""
        return self.argument or ("resources" if self.patterns else "rate" if self.seconds else "calls")

    def counted(self, call: CallView) -> tuple[str, ...]:
        """The different resources of a call that this limit counts."""
        found = (one.uri for one in call.accesses if any(touched(pattern, one) for pattern in self.patterns))
        return tuple(dict.fromkeys(found))

    def amount(self, call: CallView) -> Decimal:
        """What one call would spend. Only for a call that matched, so that the argument is there and a number."""
        if self.argument is not None:
            return exact_decimal(call.effective[self.argument])
        return Decimal(len(self.counted(call))) if self.patterns else Decimal(1)

    def spend(self, call: CallView) -> Spend:
        """The same, as the store takes it."""
        if self.patterns:
            resources = self.counted(call)
            return Spend(self.id, str(len(resources)), resources)
        return Spend(self.id, decimal_text(self.amount(call)), seconds=self.seconds)


class CompiledClause:
    """One clause, ready to judge. `admits` is the whole judgement on the way of a permitted call."""

    __slots__ = (
        "admits",
        "any_names",
        "bounds",
        "counters",
        "fixed_spends",
        "injected",
        "names",
        "need",
        "observe",
        "open_resources",
        "other_arguments",
        "patterns",
        "permitted",
        "rule",
        "scope",
        "selectors",
        "source",
        "tool",
    )

    def __init__(self, tool: str, source: Clause, scope: Scope, counters: tuple[Counter, ...]) -> None:
        self.tool = tool
        self.source = source
        self.scope = scope
        bounds = (*source.arguments.values(), *source.injected.values())
        self.selectors = tuple(selector for bound in bounds for selector in bound.selectors())
        self.rule = f"{tool}/{source.name}"
        self.permitted = f"The clause {self.rule} allows this call."
        self.bounds: tuple[Bound, ...] = tuple(
            (name, constraint.compile(scope), constraint.optional) for name, constraint in source.arguments.items()
        )
        self.names = frozenset(source.arguments)
        self.any_names = frozenset(name for name, bound in source.arguments.items() if bound.unbounded)
        self.injected: tuple[Bound, ...] = tuple(
            (name, constraint.compile(scope), constraint.optional) for name, constraint in source.injected.items()
        )
        self.other_arguments = source.other_arguments == ANY
        self.open_resources = source.resources == ANY
        self.patterns: tuple[Pattern, ...] | None = None
        if isinstance(source.resources, tuple):
            self.patterns = tuple(Pattern.parse(text) for text in source.resources)
        self.need = _need(tool, source)
        self.observe = source.observe
        self.counters = counters
        self.fixed_spends: tuple[Spend, ...] | None = None
        if all(counter.argument is None and not counter.patterns for counter in counters):
            self.fixed_spends = tuple(Spend(counter.id, "1", seconds=counter.seconds) for counter in counters)
        self.admits = _admission(self)

    @property
    def name(self) -> str:
        """The clause's name."""
        return self.source.name

    def on(self, sources: Mapping[str, Found] | None) -> CompiledClause:
        """This clause, its `from` bound to what earlier results hold. Itself where it points at none."""
        if not self.selectors:
            return self
        return CompiledClause(self.tool, self.source, replace(self.scope, sources=sources or {}), self.counters)

    def spends(self, call: CallView) -> tuple[Spend, ...]:
        """What one call adds to each counter that it touches."""
        if self.fixed_spends is not None:
            return self.fixed_spends
        return tuple(counter.spend(call) for counter in self.counters)

    def spent(self, call: CallView, values: Mapping[str, str]) -> Counter | None:
        """The first limit that this call would go past, given the counters' values."""
        for counter in self.counters:
            held = values.get(counter.id)
            if counter.patterns:
                amount = counter.amount(call)
                if amount and Decimal(held or 0) + amount > counter.most:
                    return counter
            elif counter.argument is None:
                if held is not None and Decimal(held) >= counter.most:
                    return counter
            elif add_exactly(Decimal(held or 0), counter.amount(call)) > counter.most:
                return counter
        return None

    def unbounded(self, call: CallView) -> tuple[str, ...]:
        """Which arguments (and `resources`) of a matching call nothing in the clause bounds."""
        if not (self.any_names or self.other_arguments or self.open_resources):
            return ()
        found = [
            name
            for name in call.effective
            if name in self.any_names
            or (name not in self.names and not (self.patterns is not None and name in call.covered))
        ]
        if self.open_resources and call.accesses:
            found.append("resources")
        return tuple(found)


def _need(tool: str, source: Clause) -> ApprovalNeed | None:
    approval = source.approval
    if approval is None:
        return None
    reason = approval.reason or f"{tool} needs approval by {' or '.join(approval.by)}"
    return ApprovalNeed(approval.by, reason, approval.expires_in, approval.count)


def _admission(clause: CompiledClause) -> Callable[[CallView], bool]:
    """The closure that says whether a call satisfies the clause whole. It builds nothing on the way to yes."""
    bounds, names, other_arguments = clause.bounds, clause.names, clause.other_arguments
    injected, patterns, open_resources = clause.injected, clause.patterns, clause.open_resources
    by_resources = patterns is not None or open_resources
    missing = MISSING

    def admits(call: CallView) -> bool:
        values = call.effective
        get = values.get
        seen = 0
        for name, check, optional in bounds:
            value = get(name, missing)
            if value is missing:
                if not optional:
                    return False
            else:
                seen += 1
                if check(value) is not None and not (optional and value is None and name in call.defaulted):
                    return False
        if seen != len(values) and not other_arguments:
            for name in values:
                if name not in names and name not in call.defaulted and not (by_resources and name in call.covered):
                    return False
        if injected and not _admits_injected(injected, call):
            return False
        if call.unresolved is not None:
            return False
        if open_resources:
            return True
        accesses = call.accesses
        if patterns is None:
            return not accesses
        if not accesses or not call.catalogued:
            return False
        for access in accesses:
            for pattern in patterns:
                if pattern.matches(access):
                    break
            else:
                return False
        return True

    return admits


def _admits_injected(injected: tuple[Bound, ...], call: CallView) -> bool:
    for name, check, optional in injected:
        if name in call.arguments:
            return False
        value = call.injected.get(name, MISSING)
        if value is MISSING:
            if not optional:
                return False
        elif check(value) is not None:
            return False
    return True


class CompiledGrant:
    """One link of a delegation chain, ready to judge calls. Immutable; cache it by `digest`."""

    __slots__ = ("_argument_names", "_marks", "_tools", "_wildcards", "denied_limit", "digest", "distinct", "expires",
                 "id", "limit_ids", "may_use", "not_before", "pickers", "rates", "terms")  # fmt: skip

    def __init__(self, terms: GrantTerms) -> None:
        self.terms = terms
        self.id = terms.id
        self.digest = terms.digest
        self.not_before = terms.not_before
        self.expires = terms.expires
        self.may_use = terms.delegation.may_use
        self.denied_limit: int | None = terms.limits.denied
        scope = Scope(addresses=terms.addresses, task=terms.task, bindings=terms.bindings, parameters=terms.parameters)
        shared = _shared_counters(terms)
        tools: dict[str, tuple[CompiledClause, ...]] = {}
        limit_ids: dict[str, None] = {}
        moving: dict[str, Counter] = {}
        for tool, clauses in terms.tools.items():
            made = [
                CompiledClause(tool, clause, scope, (*_clause_counters(terms.id, tool, clause), *shared.get(tool, ())))
                for clause in clauses
            ]
            made.sort(key=lambda clause: clause.need is not None)  # stable: without approval first, then file order
            tools[tool] = tuple(made)
            for counter in (counter for clause in made for counter in clause.counters):
                if counter.seconds or counter.patterns:
                    moving[counter.id] = counter
                else:
                    limit_ids[counter.id] = None
        if self.denied_limit is not None:
            limit_ids[f"{terms.id}/denied"] = None
        self._tools = tools
        self._wildcards = any(tool.endswith(".*") for tool in tools)
        self.limit_ids = tuple(limit_ids)
        """Counters that are read as they are; `rates` and `distinct` depend on the moment and on the call."""
        self.rates = tuple(counter for counter in moving.values() if counter.seconds)
        self.distinct = tuple(counter for counter in moving.values() if counter.patterns)
        self.pickers = _pickers(tools, scope)
        self._marks = {
            tool: Marks(
                frozenset(name for clause in clauses for name in clause.source.secret),
                frozenset(name for clause in clauses for name in clause.source.redact),
            )
            for tool, clauses in tools.items()
            if any(clause.source.secret or clause.source.redact for clause in clauses)
        }
        self._argument_names = {
            tool: frozenset(name for clause in clauses for name in (*clause.names, *clause.source.injected))
            for tool, clauses in tools.items()
        }

    def clauses(self, tool: str) -> tuple[CompiledClause, ...]:
        """The clauses for a tool, those without approval first, then in file order; empty when it is not granted.

        `crm.*` speaks for the tools of that server that the grant does not name themselves.
        """
        found = self._tools.get(tool)
        if found is None and self._wildcards:
            found = self._tools.get(server_wildcard(tool))
        return found or ()

    def argument_names(self, tool: str) -> frozenset[str]:
        """The argument names that the grant itself writes for a tool, `injected` ones included."""
        found = self._argument_names.get(tool)
        if found is None and self._wildcards:
            found = self._argument_names.get(server_wildcard(tool))
        return found or frozenset()

    def reads(self, tool: str) -> frozenset[str]:
        """The arguments of a tool whose values a decision under this grant depends on."""
        found: set[str] = set()
        for clause in self.clauses(tool):
            source = clause.source
            both = (*source.arguments.items(), *source.injected.items())
            found.update(name for name, bound in both if not bound.unbounded)
            found.update(counter.argument for counter in clause.counters if counter.argument is not None)
        return frozenset(found)

    def marks(self, tool: str) -> Marks:
        """What the grant marks of a tool's arguments, whichever of its clauses admits the call."""
        if not self._marks:
            return UNMARKED
        key = server_wildcard(tool) if self._wildcards and tool not in self._tools else tool
        return self._marks.get(key, UNMARKED)

    def pickers_for(self, tool: str) -> tuple[Picker, ...]:
        """What has to be looked for in earlier results before a call of this tool can be judged."""
        found = self.pickers.get(tool)
        if found is None and self._wildcards and tool not in self._tools:
            found = self.pickers.get(server_wildcard(tool))
        return found or ()

    @property
    def tools(self) -> Mapping[str, tuple[CompiledClause, ...]]:
        """Every granted tool key with its clauses."""
        return self._tools


def compile_grant(terms: GrantTerms) -> CompiledGrant:
    """Compile once, decide many times. Raises `GrantError` for terms that still have open parameters."""
    try:
        return CompiledGrant(terms)
    except AssertionError as error:
        raise GrantError(f"grant {terms.id} still has open parameters, so it authorises nothing") from error


def _pickers(tools: Mapping[str, tuple[CompiledClause, ...]], scope: Scope) -> Mapping[str, tuple[Picker, ...]]:
    found: dict[str, tuple[Picker, ...]] = {}
    for tool, clauses in tools.items():
        selectors = {selector.key: selector for clause in clauses for selector in clause.selectors}
        if selectors:
            found[tool] = tuple(Picker(selector, scope) for selector in selectors.values())
    return found


def _clause_counters(grant: str, tool: str, clause: Clause) -> list[Counter]:
    found = []
    place, over = f"{grant}/{tool}/{clause.name}", f"{tool}/{clause.name}"
    if clause.limits.calls is not None:
        label = f"{_calls(clause.limits.calls)} of {over}"
        found.append(Counter(f"{place}:calls", Decimal(clause.limits.calls), None, label))
    found += _moving_counters(f"{place}:", clause.limits, f" of {over}")
    for limit in clause.limits.sum:
        found.append(_sum_counter(f"{place}:sum:{limit.argument}", limit, over))
    return found


def _moving_counters(place: str, limits: ClauseLimits | GrantLimits | SharedLimit, over: str) -> list[Counter]:
    """Rates and limits on different resources. A rate keeps its count when a new version of the grant changes it."""
    found = []
    for rate in limits.rate:
        count, _, unit = str(rate).partition("/")
        label = f"{_calls(int(count))} a{'n' if unit == 'hour' else ''} {unit}{over}"
        found.append(Counter(f"{place}rate:{unit}", Decimal(rate.count), None, label, rate.seconds))
    for index, distinct in enumerate(limits.distinct):
        label = f"{distinct.describe()}{over}"
        found.append(
            Counter(f"{place}distinct:{index}", Decimal(distinct.max), None, label, patterns=distinct.patterns())
        )
    return found


def _sum_counter(limit_id: str, limit: SumLimit, over: str) -> Counter:
    assert not isinstance(limit.max, Slot)
    label = f"a sum of {decimal_text(limit.max)} over {limit.argument} of {over}"
    return Counter(limit_id, limit.max, limit.argument, label)


def _shared_counters(terms: GrantTerms) -> Mapping[str, tuple[Counter, ...]]:
    """The counters of the whole grant that each tool draws on: all its calls, and what it shares with others."""
    limits = terms.limits
    everywhere: list[Counter] = []
    if limits.calls is not None:
        everywhere.append(Counter(f"{terms.id}/calls", Decimal(limits.calls), None, f"{_calls(limits.calls)} in all"))
    everywhere += _moving_counters(f"{terms.id}/", limits, " in all")
    found: dict[str, list[Counter]] = {tool: list(everywhere) for tool in terms.tools}
    for index, shared in enumerate(limits.shared):
        over = " and ".join(shared.tools)
        place = f"{terms.id}/shared:{index}"
        made: list[Counter] = []
        if shared.calls is not None:
            made.append(Counter(place, Decimal(shared.calls), None, f"{_calls(shared.calls)} of {over}"))
        made += _moving_counters(f"{place}:", shared, f" of {over}")
        for limit in shared.sum:
            made.append(_sum_counter(f"{place}:sum:{limit.argument}", limit, over))
        for tool in shared.tools:
            found[tool] += made
    return {tool: tuple(counters) for tool, counters in found.items()}


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count} calls"
