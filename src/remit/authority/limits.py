"""What a grant says about how often, how much and by whom: issuing, limits, handing on, approval."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from remit.authority.durations import Rate, parse_rate, show_span
from remit.authority.fields import By, Count, Model, Span, Text, one_or_more, open_to, reader_of, tool_key_of
from remit.authority.literals import Slot, decimal_text, exact_decimal, kind_of, listing, show
from remit.authority.placeholders import sample_of
from remit.authority.refusal import Refusal
from remit.authority.words.base import NUMBERS
from remit.errors import GrantError
from remit.resources.access import Access, Pattern

DEFAULT_APPROVAL_WINDOW: Final = timedelta(hours=1)

MAX_RATE: Final = 1_000
"""Calls that a rate may allow in its stretch of time: so many moments are kept for it."""

MAX_APPROVERS: Final = 16
"""Persons that one approval may take."""


def _sum_max(value: Any, info: ValidationInfo) -> Decimal | Slot:
    if isinstance(value, Slot):
        if not value.filled:
            return value
        value = value.value
    if reader_of(info).mode == "canonical" and isinstance(value, str):
        return Decimal(value)
    if kind_of(value) not in NUMBERS or value <= 0:
        raise Refusal(f"got {show(value)}, expected a number above 0")
    return exact_decimal(value)


class IssueRule(Model):
    """Who may issue the template, how often for one principal, and how many may be open at once."""

    by: Annotated[tuple[By, ...], BeforeValidator(one_or_more)] = ()
    per_principal: Annotated[Rate, BeforeValidator(parse_rate)] | None = None
    open: Count | None = None

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON."""
        return {"by": list(self.by), "per_principal": str(self.per_principal or "") or None, "open": self.open}


class SumLimit(Model):
    """The most that one argument may add up to over all executed calls, in exact decimals."""

    argument: str
    max: Annotated[Any, BeforeValidator(_sum_max)]

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON: `max` as decimal text."""
        return {"argument": self.argument, "max": decimal_text(self.max)}


def _sums(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, dict) else value


Sums = Annotated[tuple[SumLimit, ...], BeforeValidator(_sums)]


# -- different resources


ANY_ACTION: Final = "any"
"""Stands before a pattern that was written without an action, while it is read."""


def resource_pattern(text: str) -> Pattern:
    """`crm://tickets/*`, whatever is done to it, or `read crm://tickets/*`. Raises `GrantError`."""
    return Pattern.parse(text if " " in text else f"{ANY_ACTION} {text}")


def touched(pattern: Pattern, access: Access) -> bool:
    """Whether an access is to one of the resources that the pattern counts."""
    if pattern.action == ANY_ACTION:
        access = Access(ANY_ACTION, access.uri)
    return pattern.matches(access)


def _counted_resources(value: Any) -> Any:
    lines = [value] if isinstance(value, str) else value
    if not isinstance(lines, list) or not lines:
        raise Refusal(f"got {show(value)}, expected the resources that are counted, such as crm://tickets/*")
    found = []
    for line in lines:
        if not isinstance(line, str):
            raise Refusal(f"got {show(line)}, expected a URI with * where they differ, such as crm://tickets/*")
        try:
            pattern = resource_pattern(sample_of(line))
        except GrantError as error:
            raise Refusal(str(error)) from None
        plain = pattern.text.removeprefix(f"{ANY_ACTION} ") if " " not in line else pattern.text
        found.append(line if sample_of(line) is not line else plain)
    if len(set(found)) < len(found):
        raise Refusal("a resource stands twice in the list")
    return tuple(found)


class DistinctLimit(Model):
    """How many different resources of a kind may be touched. One that was touched before costs nothing."""

    resources: Annotated[tuple[str, ...], BeforeValidator(_counted_resources)]
    max: Count

    def patterns(self) -> tuple[Pattern, ...]:
        """What is counted."""
        return tuple(resource_pattern(text) for text in self.resources)

    def describe(self) -> str:
        """`5 different crm://tickets/*`."""
        return f"{show(self.max)} different {listing(list(self.resources))}"

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON."""
        return {"resources": list(self.resources), "max": self.max}


Distincts = Annotated[tuple[DistinctLimit, ...], BeforeValidator(_sums)]


# -- rates


def _rates(value: Any) -> Any:
    lines = value if isinstance(value, list) else [value]
    found = tuple(parse_rate(line) for line in lines)
    for rate in found:
        if rate.count > MAX_RATE:
            raise Refusal(
                f"got {rate}, expected at most {MAX_RATE} calls; the moment of each is kept. Use a shorter stretch of "
                "time, or `calls`"
            )
    if len({rate.seconds for rate in found}) < len(found):
        raise Refusal("two rates are for the same stretch of time; keep the lower")
    return found


Rates = Annotated[tuple[Rate, ...], BeforeValidator(_rates)]


class SharedLimit(Model):
    """A limit that several tools draw on together."""

    tools: Annotated[tuple[str, ...], BeforeValidator(one_or_more)]
    calls: Count | None = None
    sum: Sums = ()
    rate: Rates = ()
    distinct: Distincts = ()

    @field_validator("tools")
    @classmethod
    def _keys(cls, tools: tuple[str, ...]) -> tuple[str, ...]:
        keys = tuple(tool_key_of(tool) for tool in tools)
        if len(set(keys)) < len(keys):
            raise Refusal("a tool stands twice in the list")
        return keys

    @model_validator(mode="after")
    def _bounded(self) -> SharedLimit:
        if self.calls is None and not (self.sum or self.rate or self.distinct):
            raise Refusal("limits nothing; add calls, rate, distinct or sum")
        return self

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON."""
        return {
            "tools": list(self.tools),
            "calls": self.calls,
            **_more(self),
            "sum": [one.to_json() for one in self.sum],
        }


class GrantLimits(Model):
    """Limits of the whole grant: calls that ran, refusals before the session is suspended, and shared ones."""

    calls: Count | None = None
    denied: Count | None = None
    rate: Rates = ()
    distinct: Distincts = ()
    shared: Annotated[tuple[SharedLimit, ...], BeforeValidator(_sums)] = ()

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON."""
        shared = [limit.to_json() for limit in self.shared]
        return {"calls": self.calls, "denied": self.denied, **_more(self), "shared": shared}


class ClauseLimits(Model):
    """Limits of one clause."""

    calls: Count | None = None
    sum: Sums = ()
    rate: Rates = ()
    distinct: Distincts = ()

    @field_validator("sum")
    @classmethod
    def _distinct(cls, sums: tuple[SumLimit, ...]) -> tuple[SumLimit, ...]:
        if len({limit.argument for limit in sums}) < len(sums):
            raise Refusal("an argument has two sums")
        return sums

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON."""
        return {"calls": self.calls, **_more(self), "sum": [limit.to_json() for limit in self.sum]}


def _more(limits: SharedLimit | GrantLimits | ClauseLimits) -> dict[str, Any]:
    return {
        "rate": [str(rate) for rate in limits.rate],
        "distinct": [limit.to_json() for limit in limits.distinct],
    }


class Delegation(Model):
    """How often the grant may be handed on, narrower each time, and whether its own holder may use it."""

    depth: Annotated[int, Field(ge=0, le=100), open_to("integer")] = 0
    may_use: bool = True

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON."""
        return {"depth": self.depth, "may_use": self.may_use}


class Approval(Model):
    """Who has to approve each call of the clause, how many of them, why, and how long their answer takes and holds."""

    by: Annotated[tuple[By, ...], BeforeValidator(one_or_more)]
    reason: Text | None = None
    expires_in: Span = DEFAULT_APPROVAL_WINDOW
    count: Count = 1

    @model_validator(mode="after")
    def _answerable(self) -> Approval:
        count: Any = self.count
        if isinstance(count, Slot):
            return self  # looked at again when the parameter has a value
        if self.count > MAX_APPROVERS:
            raise Refusal(f"got {self.count}, expected at most {MAX_APPROVERS} persons", "count")
        named = set(self.by)
        if all(isinstance(one, str) and not one.startswith("role:") for one in self.by) and self.count > len(named):
            raise Refusal(
                f"takes {self.count} different persons, but `by` names {len(named)}; nobody could ever run this",
                "count",
            )
        return self

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON."""
        return {
            "by": list(self.by),
            "reason": self.reason,
            "expires_in": show_span(self.expires_in),
            "count": self.count,
        }
