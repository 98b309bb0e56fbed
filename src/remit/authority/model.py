"""The shape of a grant, as Pydantic reads it: every key known, every value typed, nothing empty and nothing coerced.

One set of models serves three readings: a template whose parameters are still open (`Slot`), a grant as a person wrote
it, and the canonical content of an issued grant. `Reader` in the validation context says which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from remit.authority.constraints import Constraint, fixed_values
from remit.authority.durations import show_moment, show_span
from remit.authority.fields import Model, Moment, Span, Text, open_to, reader_of, tool_key_of
from remit.authority.limits import (
    Approval,
    ClauseLimits,
    Delegation,
    GrantLimits,
    IssueRule,
    SharedLimit,
    SumLimit,
)
from remit.authority.literals import Slot, check_text, fill, from_json, show, to_json
from remit.authority.names import check_agent, check_name, check_principal
from remit.authority.placeholders import sample_of
from remit.authority.refusal import Refusal
from remit.authority.words.base import NUMBERS
from remit.authority.words.numbers import Bound
from remit.authority.words.values import Exactly
from remit.errors import GrantError
from remit.resources.access import Pattern

ANY: Final = "any"
ONLY: Final = "only"
"""The name of a clause that stands alone under its tool and was given none."""


def _constraints(value: Any, info: ValidationInfo) -> dict[str, Constraint]:
    if not isinstance(value, Mapping) or isinstance(value, Slot):
        hint = "; to allow any arguments write `other_arguments: any`" if value == ANY else ""
        raise Refusal(f"got {show(value)}, expected a mapping of argument to constraint{hint}")
    reader = reader_of(info)
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


def _names(value: Any) -> Any:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name for name in names):
        raise Refusal(f"got {show(value)}, expected names of arguments such as [token]")
    if len(set(names)) < len(names):
        raise Refusal("an argument stands twice in the list")
    return tuple(names)


ArgumentNames = Annotated[tuple[str, ...], BeforeValidator(_names)]


class Clause(Model):
    """One alternative under a tool. A call must satisfy one clause whole."""

    name: str = ONLY
    resources: Annotated[tuple[str, ...] | Literal["any"] | None, BeforeValidator(_resources)] = None
    arguments: Constraints = Field(default_factory=dict)
    other_arguments: Literal["any"] | None = None
    injected: Constraints = Field(default_factory=dict)
    limits: ClauseLimits = Field(default_factory=ClauseLimits)
    approval: Approval | None = None
    observe: bool = False
    secret: ArgumentNames = ()
    redact: ArgumentNames = ()

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
        self._check_marks()
        return self

    def _check_marks(self) -> None:
        """A mark on an argument that no call has protects nothing, and a grant keeps the values that it names."""
        known = {**self.arguments, **self.injected}
        for word, names in (("secret", self.secret), ("redact", self.redact)):
            for index, name in enumerate(names):
                if name not in known and self.other_arguments != ANY:
                    raise Refusal(f"marks {name!r}, which the clause {self.name!r} does not name", word, index)
        for name in self.secret:
            if (problem := self.cannot_be_secret(name)) is not None:
                raise Refusal(problem, "secret")
        if both := set(self.secret) & set(self.redact):
            raise Refusal(f"{min(both)!r} is secret and redact; a secret is never kept, so drop redact", "redact")

    def cannot_be_secret(self, name: str) -> str | None:
        """Why an argument cannot be secret under this clause; None when it can."""
        bound = self.arguments.get(name) or self.injected.get(name)
        if bound is not None and fixed_values(bound) is not None:
            return f"{name!r} is secret, and the clause {self.name!r} would keep its value for ever; bound it by `any`"
        if any(limit.argument == name for limit in self.limits.sum):
            return f"{name!r} is secret, and a sum over it would keep it; count calls instead"
        return None

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
            "secret": list(self.secret),
            "redact": list(self.redact),
        }


def _never_negative(bound: Constraint) -> bool:
    for word in bound.words:
        if isinstance(word, Bound) and word.name in ("min", "above"):
            return isinstance(word.bound, Slot) or word.bound >= 0
        if isinstance(word, Exactly) and isinstance(word.literal, Slot):
            return True  # looked at again when the parameter has a value
    values = fixed_values(bound)
    return values is not None and all(value >= 0 for value in values)


def _bindings(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, Mapping):
        raise Refusal(f"got {show(value)}, expected a mapping of name to value")
    found: dict[str, Any] = {}
    for name, bound in value.items():
        check_name(name)
        bound = from_json(bound) if reader_of(info).mode == "canonical" else fill(bound)
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


class GrantDocument(Model):
    """A whole grant or template. `tools` maps each key to its clauses, in the order of the file."""

    template: str | None = None
    parameters: Mapping[str, Any] | None = None
    task: Text
    principal: Annotated[str, open_to("string")]
    agent: Annotated[str, open_to("string")]
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
            key = _at(tool_key_of, text)
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
        window = (self.not_before, self.expires)
        if all(isinstance(moment, datetime) for moment in window) and not window[0] < window[1]:  # type: ignore[operator]
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
