"""The shape of a grant, as Pydantic reads it: every key known, every value typed, nothing empty and nothing coerced.

One set of models serves three readings: a template whose parameters are still open (`Slot`), a grant as a person wrote
it, and the canonical content of an issued grant. `Reader` in the validation context says which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from remit.authority.constraints import Constraint, Reader, fixed_values
from remit.authority.durations import Rate, parse_moment, parse_rate, parse_span, show_moment, show_span
from remit.authority.keys import grant_tool_key
from remit.authority.literals import (
    SELF,
    Slot,
    check_text,
    decimal_text,
    exact_decimal,
    fill,
    from_json,
    kind_of,
    show,
    to_json,
)
from remit.authority.names import check_agent, check_by, check_name, check_principal
from remit.authority.placeholders import sample_of
from remit.authority.refusal import Refusal
from remit.authority.words.base import NUMBERS
from remit.authority.words.numbers import Bound
from remit.errors import GrantError
from remit.resources.access import Pattern

ANY: Final = "any"
ONLY: Final = "only"
"""The name of a clause that stands alone under its tool and was given none."""

DEFAULT_APPROVAL_WINDOW: Final = timedelta(hours=1)


def _open(*kinds: str) -> WrapValidator:
    """Let an open parameter of these kinds stand where the value will be."""

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        if not isinstance(value, Slot):
            return handler(value)
        if value.filled:
            return handler(value.value)
        if not value.kinds <= set(kinds):
            raise Refusal(f"{value!r} may be a {' or '.join(sorted(value.kinds))}; expected {' or '.join(kinds)}")
        return value

    return WrapValidator(validate)


def _one_or_more(value: Any) -> Any:
    """A bare scalar where a list may stand is a list of one; lists become tuples."""
    if isinstance(value, list):
        return tuple(value)
    return (value,) if isinstance(value, str | Slot) else value


def _sum_max(value: Any, info: ValidationInfo) -> Decimal | Slot:
    if isinstance(value, Slot):
        if not value.filled:
            return value
        value = value.value
    if _reader(info).mode == "canonical" and isinstance(value, str):
        return Decimal(value)
    if kind_of(value) not in NUMBERS or value <= 0:
        raise Refusal(f"got {show(value)}, expected a number above 0")
    return exact_decimal(value)


def _reader(info: ValidationInfo) -> Reader:
    assert isinstance(info.context, Reader)
    return info.context


Text = Annotated[str, _open("string"), BeforeValidator(lambda value: _text(value))]
Count = Annotated[int, _open("integer"), Field(ge=1, le=10**9)]
Span = Annotated[timedelta, _open("string"), BeforeValidator(parse_span)]
Moment = Annotated[datetime, _open("string"), BeforeValidator(parse_moment)]
By = Annotated[str, _open("string"), BeforeValidator(lambda value: check_by(_text(value)))]


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Refusal(f"got {show(value)}, expected text")
    check_text(value)
    return value


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


class IssueRule(_Model):
    """Who may issue the template, how often for one principal, and how many may be open at once."""

    by: Annotated[tuple[By, ...], BeforeValidator(_one_or_more)] = ()
    per_principal: Annotated[Rate, BeforeValidator(parse_rate)] | None = None
    open: Count | None = None

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON."""
        return {"by": list(self.by), "per_principal": str(self.per_principal or "") or None, "open": self.open}


class SumLimit(_Model):
    """The most that one argument may add up to over all executed calls, in exact decimals."""

    argument: str
    max: Annotated[Any, BeforeValidator(_sum_max)]

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON: `max` as decimal text."""
        return {"argument": self.argument, "max": decimal_text(self.max)}


def _sums(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, dict) else value


Sums = Annotated[tuple[SumLimit, ...], BeforeValidator(_sums)]


class SharedLimit(_Model):
    """A limit that several tools draw on together."""

    tools: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)]
    calls: Count | None = None
    sum: Sums = ()

    @field_validator("tools")
    @classmethod
    def _keys(cls, tools: tuple[str, ...]) -> tuple[str, ...]:
        keys = tuple(_tool_key(tool) for tool in tools)
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


class GrantLimits(_Model):
    """Limits of the whole grant: calls that ran, refusals before the session is suspended, and shared ones."""

    calls: Count | None = None
    denied: Count | None = None
    shared: Annotated[tuple[SharedLimit, ...], BeforeValidator(_sums)] = ()

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON."""
        return {"calls": self.calls, "denied": self.denied, "shared": [limit.to_json() for limit in self.shared]}


class ClauseLimits(_Model):
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


class Delegation(_Model):
    """How often the grant may be handed on, narrower each time, and whether its own holder may use it."""

    depth: Annotated[int, _open("integer"), Field(ge=0, le=100)] = 0
    may_use: bool = True

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON."""
        return {"depth": self.depth, "may_use": self.may_use}


class Approval(_Model):
    """Who has to approve each call of the clause, why, and how long their answer may take and holds."""

    by: Annotated[tuple[By, ...], BeforeValidator(_one_or_more)] = Field(min_length=1)
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


def _constraints(value: Any, info: ValidationInfo) -> dict[str, Constraint]:
    if not isinstance(value, Mapping) or isinstance(value, Slot):
        raise Refusal(f"got {show(value)}, expected a mapping of argument to constraint")
    reader = _reader(info)
    return {name: reader.constraint(node, name) for name, node in value.items()}


Constraints = Annotated[dict[str, Constraint], BeforeValidator(_constraints)]


def _resources(value: Any) -> Any:
    if value == ANY:
        return ANY
    lines = [value] if isinstance(value, str) else value
    if not isinstance(lines, list):
        raise Refusal(f"got {show(value)}, expected a list such as [read crm://tickets/88], or any")
    found = []
    for index, line in enumerate(lines):
        if not isinstance(line, str):
            raise Refusal(f"got {show(line)}, expected an action and a URI, such as read crm://tickets/88", index)
        try:
            pattern = Pattern.parse(sample_of(line))
        except GrantError as error:
            raise Refusal(str(error), index) from None
        found.append(line if sample_of(line) is not line else pattern.text)
    if len(set(found)) < len(found):
        raise Refusal("a resource stands twice in the list")
    return tuple(found)


class Clause(_Model):
    """One alternative under a tool. A call must satisfy one clause whole."""

    name: str = ONLY
    resources: Annotated[tuple[str, ...] | Literal["any"] | None, BeforeValidator(_resources)] = None
    arguments: Constraints = Field(default_factory=dict)
    other_arguments: Literal["any"] | None = None
    injected: Constraints = Field(default_factory=dict)
    limits: ClauseLimits = Field(default_factory=ClauseLimits)
    approval: Approval | None = None
    observe: bool = False

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        return check_name(name)

    @model_validator(mode="after")
    def _consistent(self) -> Clause:
        both = self.arguments.keys() & self.injected.keys()
        if both:
            raise Refusal(
                f"{min(both)!r} is under `arguments` and under `injected`; it is one or the other", "injected"
            )
        for limit in self.limits.sum:
            self.check_sum(limit, "limits", "sum")
        return self

    def check_sum(self, limit: SumLimit, *path: str | int) -> None:
        """Raises `Refusal` unless the argument can be added up: named here, required, a number and never negative."""
        bound = self.arguments.get(limit.argument)
        if bound is None:
            raise Refusal(f"adds up {limit.argument!r}, which the clause {self.name!r} does not name", *path)
        if bound.optional:
            raise Refusal(f"adds up {limit.argument!r}, which may be left out of the clause {self.name!r}", *path)
        if not bound.kinds <= NUMBERS or not _never_negative(bound):
            raise Refusal(
                f"adds up {limit.argument!r}, which in the clause {self.name!r} may be something other than a number "
                "from 0 up; bound it with `min: 0` or more",
                *path,
            )

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON, every default written out."""
        return {
            "name": self.name,
            "resources": list(self.resources) if isinstance(self.resources, tuple) else self.resources,
            "arguments": {name: bound.to_json() for name, bound in self.arguments.items()},
            "other_arguments": self.other_arguments,
            "injected": {name: bound.to_json() for name, bound in self.injected.items()},
            "limits": self.limits.to_json(),
            "approval": self.approval.to_json() if self.approval else None,
            "observe": self.observe,
        }


def _never_negative(bound: Constraint) -> bool:
    for word in bound.words:
        if isinstance(word, Bound) and word.name in ("min", "above"):
            return isinstance(word.bound, Slot) or word.bound >= 0
    values = fixed_values(bound)
    return values is not None and all(value >= 0 for value in values)


def _tool_key(text: Any) -> str:
    try:
        return grant_tool_key(text)
    except GrantError as error:
        raise Refusal(str(error)) from None


def _bindings(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, Mapping):
        raise Refusal(f"got {show(value)}, expected a mapping of name to value")
    found: dict[str, Any] = {}
    for name, bound in value.items():
        check_name(name)
        bound = from_json(bound) if _reader(info).mode == "canonical" else fill(bound)
        if not isinstance(bound, Slot | str | int | float | bool) or bound == "":
            raise Refusal(f"got {show(bound)}, expected one string, number or boolean", name)
        if isinstance(bound, str):
            check_text(bound)
        found[name] = bound
    return found


def _addresses(value: Any) -> Any:
    if not isinstance(value, list) or not value:
        raise Refusal(f"got {show(value)}, expected a list of the principal's own addresses")
    return tuple(value)


class GrantDocument(_Model):
    """A whole grant or template. `tools` maps each key to its clauses, in the order of the file."""

    template: str | None = None
    parameters: Mapping[str, Any] | None = None
    task: Text
    principal: Annotated[str, _open("string")]
    agent: Annotated[str, _open("string")]
    expires_in: Span | None = None
    not_before: Moment | None = None
    expires: Moment | None = None
    issue: IssueRule | None = None
    bindings: Annotated[dict[str, Any], BeforeValidator(_bindings)] = Field(default_factory=dict)
    addresses: Annotated[tuple[Text, ...], BeforeValidator(_addresses)] = Field(default=(), alias="self")
    limits: GrantLimits = Field(default_factory=GrantLimits)
    delegation: Delegation = Field(default_factory=Delegation)
    tools: dict[str, tuple[Clause, ...]]

    @property
    def is_template(self) -> bool:
        """Whether it needs `instantiate` with parameters before it can be issued."""
        return self.template is not None

    @field_validator("template")
    @classmethod
    def _template(cls, name: str | None) -> str | None:
        return name if name is None else check_name(name)

    @field_validator("principal")
    @classmethod
    def _principal(cls, text: Any) -> Any:
        return text if isinstance(text, Slot) else check_principal(text)

    @field_validator("agent")
    @classmethod
    def _agent(cls, text: Any) -> Any:
        return text if isinstance(text, Slot) else check_agent(text)

    @field_validator("tools", mode="before")
    @classmethod
    def _clause_lists(cls, tools: Any) -> Any:
        if not isinstance(tools, Mapping):
            raise Refusal(f"got {show(tools)}, expected a mapping of tool to clause")
        found: dict[str, Any] = {}
        written: dict[str, str] = {}
        for text, node in tools.items():
            key = _at(_tool_key, text)
            if key in written:
                raise Refusal(f"{written[key]!r} and {text!r} are the same tool, {key}; keep one of them", text)
            written[key] = text
            try:
                found[key] = _clause_nodes(node)
            except Refusal as refusal:
                raise refusal.below(text) from None
        return found

    @field_validator("tools")
    @classmethod
    def _clause_names(cls, tools: dict[str, tuple[Clause, ...]]) -> dict[str, tuple[Clause, ...]]:
        for key, clauses in tools.items():
            names = [clause.name for clause in clauses]
            if len(clauses) > 1 and ONLY in names:
                raise Refusal("each of several clauses needs a name of its own", key, names.index(ONLY))
            for index, name in enumerate(names):
                if name in names[:index]:
                    raise Refusal(f"two clauses are named {name!r}", key, index)
        return tools

    @model_validator(mode="after")
    def _consistent(self) -> GrantDocument:
        if self.parameters is not None and self.template is None:
            raise Refusal("`parameters` make this a template, so it needs a name: add `template: NAME`", "parameters")
        if self.expires_in is None and self.expires is None:
            raise Refusal("never ends; every grant expires: add `expires_in: 20m`, or `expires:` with a moment")
        if self.expires_in is not None and self.expires is not None:
            raise Refusal("`expires_in` and `expires` both say when it ends; keep one", "expires")
        if isinstance(self.not_before, datetime) and isinstance(self.expires, datetime):
            if self.not_before >= self.expires:
                raise Refusal("ends before it begins", "expires")
        for index, shared in enumerate(self.limits.shared):
            self._check_shared(shared, index)
        return self

    def _check_shared(self, shared: SharedLimit, index: int) -> None:
        for place, tool in enumerate(shared.tools):
            if tool not in self.tools:
                raise Refusal(f"{tool!r} is not under `tools`", "limits", "shared", index, "tools", place)
            for limit in shared.sum:
                for clause in self.tools[tool]:
                    clause.check_sum(limit, "limits", "shared", index, "sum")

    def clauses(self) -> Iterator[tuple[str, Clause]]:
        """Every clause with its tool key, in the order of the file."""
        for tool, clauses in self.tools.items():
            for clause in clauses:
                yield tool, clause

    def to_json(self) -> dict[str, Any]:
        """The canonical content: concrete, every default explicit. Only for a document without open parameters."""
        return {
            "template": self.template,
            "task": self.task,
            "principal": self.principal,
            "agent": self.agent,
            "expires_in": show_span(self.expires_in) if self.expires_in else None,
            "not_before": show_moment(self.not_before) if self.not_before else None,
            "expires": show_moment(self.expires) if self.expires else None,
            "issue": self.issue.to_json() if self.issue else None,
            "bindings": {name: to_json(value) for name, value in self.bindings.items()},
            "self": list(self.addresses),
            "limits": self.limits.to_json(),
            "delegation": self.delegation.to_json(),
            "tools": {tool: [clause.to_json() for clause in clauses] for tool, clauses in self.tools.items()},
        }


def _at(read: Any, text: str) -> str:
    try:
        return str(read(text))
    except Refusal as refusal:
        raise refusal.below(text) from None


def _clause_nodes(node: Any) -> Any:
    if node == ANY:
        return ({"other_arguments": ANY, "resources": ANY},)
    if isinstance(node, list):
        return tuple(node)
    if isinstance(node, dict):
        return (node,)
    raise Refusal(f"got {show(node)}, expected a clause, a list of clauses, or any")


__all__ = [
    "ANY",
    "SELF",
    "Approval",
    "Clause",
    "ClauseLimits",
    "Delegation",
    "GrantDocument",
    "GrantLimits",
    "IssueRule",
    "SharedLimit",
    "SumLimit",
]
