"""Which attributes a guardrail reads, found by walking its tree: only those are encoded for Cedar.

Whatever the walk does not understand counts as reading everything below it, so a mistake here costs time, not safety.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from remit.authority.cedar.engine import pst

Number = Literal["long", "decimal"]

SESSION: Final = {
    "hour_utc": "Long",
    "day_utc": "String",
    "labels": "Set<String>",
    "call_count": "Long",
    "tool_call_count": "Long",
    "mode": "String",
    "environment": "String",
    "bindings": "",
}
"""`context.session`: names and Cedar types; `bindings` is a record of whatever the grant binds."""

ACCESS: Final = {
    "action": "String", "uri": "String", "kind": "String",
    "host": "String", "segments": "Set<String>", "name": "String",
}  # fmt: skip
"""`context.access`: one access at a time. In `context.accesses` each has the first three."""

CONTEXT: Final = frozenset({"input", "session", "access", "accesses", "catalogued"})
PRINCIPAL: Final = {"id": "String", "roles": "Set<String>"}
AGENT: Final = {"id": "String"}
RESERVED: Final = frozenset({"__entity", "__extn", "__expr"})
"""Keys that Cedar's JSON reads as something else than a record."""

STANDING: Final = frozenset({"environment", "mode", "bindings"})
"""Session facts that hold for the whole life of a grant, so that they can be judged when it is issued."""

_LONG_OPS: Final = frozenset({"add", "sub", "mul"})
_ORDER_OPS: Final = frozenset({"less", "less_eq", "greater", "greater_eq", "eq", "not_eq"})
_DECIMAL_OPS: Final = frozenset({"decimal_less_than", "decimal_less_eq", "decimal_greater", "decimal_greater_eq"})
_ENTITY_TYPES: Final = frozenset({"User", "Service", "Agent", "Role", "Action"})

_MEMBER_OPS: Final = frozenset({"contains", "contains_all", "contains_any"})

Path = tuple[str, ...]
_SEGMENTS: Final[Path] = ("context", "access", "segments")
_TEXTS: Final = frozenset(("context", "access", name) for name, kind in ACCESS.items() if kind == "String")


@dataclass
class Wanted:
    """What of one value is read: all of it, that it is there, or parts; and how its numbers are compared.

    Where `among` is not None, nothing is asked of what is read `whole` but which of those texts it is (or, of a set,
    holds): any other text would do as well as the one that is there.
    """

    whole: bool = False
    number: Number | None = None
    among: frozenset[str] | None = None
    parts: dict[str, Wanted] = field(default_factory=dict)

    def at(self, path: Iterable[str]) -> Wanted:
        """The node at `path`, made where it is missing."""
        node = self
        for name in path:
            node = node.parts.setdefault(name, Wanted())
        return node

    def add(self, other: Wanted) -> None:
        """Also want what `other` wants. Raises `ValueError` with the path where numbers are compared in two ways."""
        if other.whole:
            self.take(other.among)
        if other.number is not None:
            if self.number not in (None, other.number):
                raise ValueError("")
            self.number = other.number
        for name, part in other.parts.items():
            try:
                self.parts.setdefault(name, Wanted()).add(part)
            except ValueError as error:
                raise ValueError(f"{name}.{error}".rstrip(".")) from None

    def take(self, among: frozenset[str] | None = None) -> None:
        """Also want all of it, or which of certain texts it is or holds."""
        if self.whole:
            among = None if among is None or self.among is None else self.among | among
        self.whole, self.among = True, among

    @property
    def presence_only(self) -> bool:
        """Whether nothing is asked but `has`."""
        return not self.whole and not self.parts


@dataclass(frozen=True)
class Reading:
    """What one policy reads, by variable, and what is wrong with that."""

    context: Wanted
    principal: bool
    problems: tuple[str, ...]

    @property
    def session(self) -> frozenset[str]:
        """Session facts it reads."""
        found = self.context.parts.get("session")
        return frozenset() if found is None else frozenset(SESSION if found.whole else found.parts)

    @property
    def input(self) -> bool:
        """Whether it reads arguments."""
        return "input" in self.context.parts

    @property
    def each_access(self) -> bool:
        """Whether it is judged for one access at a time."""
        return "access" in self.context.parts

    @property
    def touches(self) -> bool:
        """Whether it reads what the call touches, in either form."""
        return self.each_access or "accesses" in self.context.parts

    @property
    def open_access(self) -> bool:
        """Whether it reads an access so that one which nobody has named yet may be judged like none before."""
        access = self.context.parts.get("access")
        return access is not None and (
            access.whole or any(part.whole and part.among is None for part in access.parts.values())
        )

    @property
    def standing(self) -> bool:
        """Whether it reads only what holds for the whole life of a grant: who, which tool, where."""
        return set(self.context.parts) <= {"session"} and self.session <= STANDING


def read(tree: pst.Template) -> Reading:
    """Walk one policy."""
    walk = _Walk()
    for clause in tree.clauses:
        walk.visit(clause.expr)
    problems = [*walk.problems, *_scope_problems(tree)]
    return Reading(walk.context, walk.principal, tuple(dict.fromkeys(problems)))


class _Walk:
    def __init__(self) -> None:
        self.context = Wanted()
        self.principal = False
        self.problems: list[str] = []

    def visit(self, node: Any, number: Number | None = None) -> None:
        """Note what `node` reads; `number` is how a number there is compared."""
        path = path_of(node)
        if path is not None:
            self._note(path, number)
        elif isinstance(node, pst.HasAttr):
            self._has(node)
        elif isinstance(node, pst.BinaryOp) and (asked := _asked(node)) is not None:
            self.context.at(asked[0][1:]).take(asked[1])
        elif isinstance(node, pst.BinaryOp):
            left, right = _compared(node)
            self.visit(node.left, left)
            self.visit(node.right, right)
        elif isinstance(node, pst.UnaryOp):
            self.visit(node.arg, "long" if node.op == "neg" else number if node.op == "not" else None)
        elif isinstance(node, pst.IfThenElse):
            self.visit(node.cond)
            self.visit(node.then_expr, number)
            self.visit(node.else_expr, number)
        elif isinstance(node, pst.Is):
            self._entity_type(str(node.entity_type))
            for part in (node.base, node.in_expr):
                if part is not None:
                    self.visit(part)
        elif isinstance(node, pst.EntityLit):
            self._entity_type(str(node.value.type))
        else:
            for part in children(node):
                self.visit(part, number)

    def _has(self, node: pst.HasAttr) -> None:
        base = path_of(node.base)
        if base is None:
            self.visit(node.base)
            return
        path = (*base, *node.attrs)
        if path[0] == "context" and len(path) > 1:
            self._known(path)
            self.context.at(path[1:])
        elif path[0] in ("principal", "resource"):
            self._known(path)
            self.principal |= path[0] == "principal"

    def _note(self, path: Path, number: Number | None) -> None:
        self._known(path)
        if path[0] == "principal":
            self.principal = True
        if path[0] != "context":
            return
        if len(path) == 1:
            self.problems.append("reads the whole `context`; name what it needs of it, such as context.input.amount")
            return
        node = self.context.at(path[1:])
        node.take()
        if number is not None and path[1] == "input":
            if node.number not in (None, number):
                self.problems.append(_two_ways(".".join(path[2:])))
            node.number = number

    def _known(self, path: Path) -> None:
        """Attributes that no call has would make the guardrail refuse everything: better refused at load."""
        if reserved := RESERVED.intersection(path):
            self.problems.append(
                f"reads an attribute {', '.join(sorted(reserved))}, a name that Cedar keeps for itself"
            )
        for depth, names in _vocabulary(path):
            if len(path) > depth and path[depth] not in names:
                got = ".".join(path[: depth + 1])
                near = difflib.get_close_matches(path[depth], sorted(names), 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                listed = ", ".join(sorted(names))
                self.problems.append(f"reads `{got}`, which no call has{hint} (there are {listed})")
                return

    def _entity_type(self, name: str) -> None:
        if name not in _ENTITY_TYPES:
            listed = ", ".join(sorted(_ENTITY_TYPES))
            self.problems.append(f"names the entity type {name}, which no call has (there are {listed})")


def _vocabulary(path: Path) -> Iterator[tuple[int, Iterable[str]]]:
    if path[0] == "context":
        yield 1, CONTEXT
        if len(path) > 1 and path[1] in ("session", "access"):
            yield 2, SESSION if path[1] == "session" else ACCESS
    elif path[0] == "principal":
        yield 1, PRINCIPAL
    elif path[0] == "resource":
        yield 1, AGENT


def _two_ways(argument: str) -> str:
    return (
        f"`{argument}` is compared as a whole number and as a decimal; Cedar tells the two apart, so use one of them "
        'everywhere, such as .greaterThan(decimal("100.0"))'
    )


def two_ways(where: str, argument: str) -> str:
    """The same, for two guardrails that speak of one tool."""
    return f"{where}: {_two_ways(argument)}"


def _compared(node: pst.BinaryOp) -> tuple[Number | None, Number | None]:
    if node.op in _DECIMAL_OPS:
        return "decimal", "decimal"
    if node.op in _LONG_OPS:
        return "long", "long"
    if node.op in _ORDER_OPS or node.op in _MEMBER_OPS:
        return _number_of(node.right), _number_of(node.left)
    return None, None


def _asked(node: pst.BinaryOp) -> tuple[Path, frozenset[str]] | None:
    """(path, texts) where a part of an access is only compared with texts that are written down, by `==`, `!=` or as a
    member of a set. Those parts are always there and always texts, so that no other text could make an error either.
    """
    left, right = path_of(node.left), path_of(node.right)
    if node.op in _MEMBER_OPS and left == _SEGMENTS:
        texts = _texts(node.right) if isinstance(node.right, pst.Set) != (node.op == "contains") else None
        return None if texts is None else (left, texts)
    if node.op == "contains" and isinstance(node.left, pst.Set):
        path, texts = right, _texts(node.left)
    elif node.op in ("eq", "not_eq"):
        path, texts = (left, _texts(node.right)) if left is not None else (right, _texts(node.left))
    else:
        return None
    return None if path is None or path not in _TEXTS or texts is None else (path, texts)


def _texts(node: Any) -> frozenset[str] | None:
    """The texts of a literal, or of a set of them; None for anything else."""
    elements = node.elements if isinstance(node, pst.Set) else (node,)
    found = [element.value for element in elements if isinstance(element, pst.StringLit)]
    return frozenset(found) if len(found) == len(elements) else None


def _number_of(node: Any) -> Number | None:
    """How a number beside `node` has to be encoded to be comparable with it."""
    if isinstance(node, pst.LongLit):
        return "long"
    if isinstance(node, pst.UnaryOp):
        return "decimal" if node.op == "decimal" else _number_of(node.arg) if node.op == "neg" else None
    if isinstance(node, pst.BinaryOp) and node.op in _LONG_OPS:
        return "long"
    if isinstance(node, pst.Set):
        found = {_number_of(element) for element in node.elements} - {None}
        return found.pop() if len(found) == 1 else None
    if isinstance(node, pst.IfThenElse):
        return _number_of(node.then_expr) or _number_of(node.else_expr)
    path = path_of(node)
    if path is not None and path[:2] == ("context", "session"):
        return "long"
    return None


def path_of(node: Any) -> Path | None:
    """`("context", "input", "amount")` for `context.input.amount`; None for what is no plain path."""
    names: list[str] = []
    while isinstance(node, pst.GetAttr):
        names.append(node.attr)
        node = node.base
    if not isinstance(node, pst.Var):
        return None
    return (node.name, *reversed(names))


def children(node: Any) -> Iterator[Any]:
    """The expressions directly below one."""
    if isinstance(node, pst.BinaryOp):
        yield from (node.left, node.right)
    elif isinstance(node, pst.UnaryOp):
        yield node.arg
    elif isinstance(node, pst.GetAttr | pst.HasAttr | pst.Like):
        yield node.base
    elif isinstance(node, pst.IfThenElse):
        yield from (node.cond, node.then_expr, node.else_expr)
    elif isinstance(node, pst.Is):
        yield node.base
        if node.in_expr is not None:
            yield node.in_expr
    elif isinstance(node, pst.Set):
        yield from node.elements
    elif isinstance(node, pst.Record):
        yield from node.fields.values()


def _scope_problems(tree: pst.Template) -> Iterator[str]:
    for name, scope, fitting in (
        ("principal", tree.principal, ("User", "Service", "Role")),
        ("resource", tree.resource, ("Agent",)),
    ):
        found = []
        if isinstance(scope, pst.ScopeIs | pst.ScopeIsIn):
            found.append(str(scope.entity_type))
        if isinstance(scope, pst.ScopeEq | pst.ScopeIn | pst.ScopeIsIn) and isinstance(scope.entity, pst.EntityUid):
            found.append(str(scope.entity.type))
            if scope.entity.id.startswith(("user:", "service:")):
                yield f"{scope.entity} would never match; the type says user or service, so leave it out of the id"
        for kind in found:
            if kind not in fitting:
                yield f"the {name} of a call is never a {kind}; expected {' or '.join(fitting)}"
