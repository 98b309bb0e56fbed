"""What a grant says about how often, how much and by whom: issuing, limits, handing on, approval."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from remit.authority.durations import Rate, parse_rate, show_span
from remit.authority.fields import By, Count, Model, Span, Text, one_or_more, open_to, reader_of, tool_key_of
from remit.authority.literals import Slot, decimal_text, exact_decimal, kind_of, show
from remit.authority.refusal import Refusal
from remit.authority.words.base import NUMBERS

DEFAULT_APPROVAL_WINDOW: Final = timedelta(hours=1)


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


class SharedLimit(Model):
    """A limit that several tools draw on together."""

    tools: Annotated[tuple[str, ...], BeforeValidator(one_or_more)]
    calls: Count | None = None
    sum: Sums = ()

    @field_validator("tools")
    @classmethod
    def _keys(cls, tools: tuple[str, ...]) -> tuple[str, ...]:
        keys = tuple(tool_key_of(tool) for tool in tools)
        if len(set(keys)) < len(keys):
            raise Refusal("a tool stands twice in the list")
        return keys

    @model_validator(mode="after")
    def _bounded(self) -> SharedLimit:
        if self.calls is None and not self.sum:
            raise Refusal("limits nothing; add calls or sum")
        return self

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON."""
        return {"tools": list(self.tools), "calls": self.calls, "sum": [limit.to_json() for limit in self.sum]}


class GrantLimits(Model):
    """Limits of the whole grant: calls that ran, refusals before the session is suspended, and shared ones."""

    calls: Count | None = None
    denied: Count | None = None
    shared: Annotated[tuple[SharedLimit, ...], BeforeValidator(_sums)] = ()

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON."""
        return {"calls": self.calls, "denied": self.denied, "shared": [limit.to_json() for limit in self.shared]}


class ClauseLimits(Model):
    """Limits of one clause."""

    calls: Count | None = None
    sum: Sums = ()

    @field_validator("sum")
    @classmethod
    def _distinct(cls, sums: tuple[SumLimit, ...]) -> tuple[SumLimit, ...]:
        if len({limit.argument for limit in sums}) < len(sums):
            raise Refusal("an argument has two sums")
        return sums

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON."""
        return {"calls": self.calls, "sum": [limit.to_json() for limit in self.sum]}


class Delegation(Model):
    """How often the grant may be handed on, narrower each time, and whether its own holder may use it."""

    depth: Annotated[int, Field(ge=0, le=100), open_to("integer")] = 0
    may_use: bool = True

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON."""
        return {"depth": self.depth, "may_use": self.may_use}


class Approval(Model):
    """Who has to approve each call of the clause, why, and how long their answer may take and holds."""

    by: Annotated[tuple[By, ...], BeforeValidator(one_or_more)]
    reason: Text | None = None
    expires_in: Span = DEFAULT_APPROVAL_WINDOW
    count: Count = 1

    @field_validator("count")
    @classmethod
    def _single(cls, count: int) -> int:
        if count != 1:
            raise Refusal("this version takes one approval a call; leave count out, or write 1")
        return count

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON."""
        return {
            "by": list(self.by),
            "reason": self.reason,
            "expires_in": show_span(self.expires_in),
            "count": self.count,
        }
