"""Constraints: what a grant says about one value, read from YAML or from a grant's canonical form.

A bare scalar means exactly, a bare list one of, `any` everything, `self` the principal's own addresses; a mapping of
constraint words means all of them together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from pydantic_core import core_schema

from remit.authority.literals import SELF, Slot, check_literal, equal_to, fill, from_json, kind_of, show
from remit.authority.names import did_you_mean
from remit.authority.refusal import Path, Refusal
from remit.authority.words import collections, numbers, origin, places, structure, text, values
from remit.authority.words.base import JSON_KINDS, NUMBERS, Check, Fault, Parse, Scope, Word
from remit.authority.words.origin import From, OneOfSource, Selector, SubsetOfSource
from remit.authority.words.structure import Absent, AllOf, AnyOf, OfType
from remit.authority.words.values import Anything, Exactly, OneOf, OwnAddress

WORDS: Final[Mapping[str, Parse]] = {
    "type": structure.WORDS["type"],
    **values.WORDS,
    **numbers.WORDS,
    **text.WORDS,
    **places.WORDS,
    **collections.WORDS,
    **structure.WORDS,
    "from": origin.read_from,
}
CONSTRAINT_WORDS: Final[frozenset[str]] = frozenset(WORDS) | {"optional"}
"""Every word that may stand in a constraint of this version."""

_ORDER: Final = tuple(WORDS)
"""The words of a constraint are judged and stored in this order: the cheapest and clearest first."""

MAX_DEPTH: Final = 16


@dataclass(frozen=True, slots=True)
class Constraint:
    """The words about one value; all of them must hold. `optional` says that it may be left out."""

    words: tuple[Word, ...]
    optional: bool = False
    kinds: frozenset[str] = JSON_KINDS

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        """For Pydantic a constraint is opaque: `Reader` made it, and that is all there is to check."""
        del source, handler
        return core_schema.is_instance_schema(cls)

    @property
    def unbounded(self) -> bool:
        """Whether this is `any`."""
        return isinstance(self.words[0], Anything)

    def word(self, name: str) -> Word | None:
        """The word of that name, if it stands here (not inside another)."""
        return next((word for word in self.words if word.name == name), None)

    def names(self) -> frozenset[str]:
        """The words that stand here and inside, for lints."""
        found = {word.name for word in self.words}
        for word in self.words:
            for part in _inner(word):
                found |= part.names()
        return frozenset(found)

    def selectors(self) -> tuple[Selector, ...]:
        """Every selector of earlier results that stands here and inside."""
        found = [
            word.source
            for word in self.words
            if isinstance(word, From | OneOfSource | SubsetOfSource) and isinstance(word.source, Selector)
        ]
        for word in self.words:
            for part in _inner(word):
                found += part.selectors()
        return tuple(found)

    def describe(self) -> str:
        """What it allows, to follow "allows …"."""
        phrases = [word.describe() for word in self.words if not (isinstance(word, OfType) and len(self.words) > 1)]
        return " and ".join(phrases)

    def to_json(self) -> Any:
        """Canonical JSON: one key a word, and `optional` where it is not implied."""
        found = {word.name: word.to_json() for word in self.words}
        return {**found, "optional": True} if self.optional and "absent" not in found else found

    def compile(self, scope: Scope) -> Check:
        """One closure for all words. `self` is taken from the scope; `type: number` lets 2 equal 2.0."""
        number = any(isinstance(word, OfType) and word.type == "number" for word in self.words)
        if number != scope.number:
            scope = replace(scope, number=number)
        checks = tuple(word.compile(scope) for word in self.words)
        if len(checks) == 1:
            return checks[0]
        if len(checks) == 2:
            first, second = checks
            return lambda value: first(value) or second(value)

        def check(value: Any) -> Fault | None:
            for judge in checks:
                fault = judge(value)
                if fault is not None:
                    return fault
            return None

        return check


def _inner(word: Word) -> tuple[Constraint, ...]:
    parts: Any = ()
    if isinstance(word, AllOf | AnyOf):
        parts = word.parts
    elif isinstance(word, collections.Each):
        parts = (word.item,)
    elif isinstance(word, collections.Keys):
        parts = tuple(word.members.values())
    return tuple(parts)


class Reader:
    """Reads constraints, from the words of a file (`source`) or from a grant's canonical JSON (`canonical`).

    `addresses` are the principal's own; None where the grant declares none, so that `self` is refused.
    """

    def __init__(
        self,
        mode: Literal["source", "canonical"],
        addresses: tuple[Any, ...] | None,
        *,
        depth: int = 0,
        several: bool = False,
        sourced: bool = False,
    ) -> None:
        self.mode = mode
        self.addresses = addresses
        self.several = several
        self.sourced = sourced
        self._depth = depth

    def inside_source(self) -> Reader:
        """See `words.base.Reader`."""
        return Reader(self.mode, self.addresses, depth=self._depth, sourced=True)

    def constraint(self, node: Any, *path: str | int, several: bool = False) -> Constraint:
        """Read one constraint at `path` below the present place. Raises `Refusal` with that path."""
        if self._depth >= MAX_DEPTH:
            raise Refusal(f"constraints are nested more than {MAX_DEPTH} deep", *path)
        inner = Reader(
            self.mode,
            self.addresses,
            depth=self._depth + 1,
            several=self.several or several,
            sourced=self.sourced,
        )
        try:
            return inner._read(node)
        except Refusal as refusal:
            raise refusal.below(*path) from None

    def _read(self, node: Any) -> Constraint:
        if isinstance(node, Mapping):
            return self._from_words(node)
        if self.mode == "canonical":
            raise Refusal(f"got {show(node)}, expected a mapping of words")
        if node is None:
            raise Refusal("has no value; write `any` to allow anything, or take the line away")
        if node == "" or node == []:
            raise Refusal("is empty; write {absent: true} for nothing, or {eq: …} for exactly this")
        if isinstance(node, Slot):
            return _checked((Exactly(self.literal(node)),))
        if isinstance(node, list):
            return _checked((OneOf(self.literals(node)),))
        if isinstance(node, str) and node == "any":
            return _checked((Anything(),))
        if isinstance(node, str) and node == "self":
            return _checked((WORDS["self"](True, self),))
        return _checked((Exactly(self.literal(node)),))

    def _from_words(self, node: Mapping[str, Any]) -> Constraint:
        words: list[Word] = []
        if not node:
            raise Refusal("is empty; write `any` to allow anything")
        for name in node:
            if name not in CONSTRAINT_WORDS:
                raise Refusal(f"{name!r} is no constraint word{did_you_mean(name, CONSTRAINT_WORDS)}", name)
        for name, bound in node.items():
            if name == "optional":
                continue
            try:
                if bound is None:
                    raise Refusal("has no value")
                words.append(WORDS[name](bound, self))
            except Refusal as refusal:
                raise refusal.below(name) from None
        optional = node.get("optional", False)
        if not isinstance(optional, bool):
            raise Refusal(f"optional takes true or false, got {show(optional)}", "optional")
        if not words:
            raise Refusal("optional alone bounds nothing; add `any: true` to allow anything", "optional")
        words.sort(key=lambda word: _ORDER.index(word.name))  # so that canonical JSON reads back as the same words
        return _checked(tuple(words), optional)

    # -- what the words use

    def literal(self, node: Any, *path: str | int) -> Any:
        """See `words.base.Reader`."""
        try:
            node = from_json(node) if self.mode == "canonical" else fill(node)
            check_literal(node)
        except Refusal as refusal:
            raise refusal.below(*path) from None
        return node

    def literals(self, node: Any, *path: str | int) -> tuple[Any, ...]:
        """See `words.base.Reader`."""
        if self.mode == "source" and node == "self" and isinstance(node, str):
            node = [SELF]
        if not isinstance(node, list):
            raise Refusal(f"got {show(node)}, expected a list of values", *path)
        if not node:
            raise Refusal("the list is empty, so nothing could satisfy it", *path)
        found: list[Any] = []
        for index, item in enumerate(node):
            found.append(self._member(item, (*path, index)))
        for index, item in enumerate(found):
            if not isinstance(item, Slot) and any(_same(item, other) for other in found[:index]):
                raise Refusal(f"{show(item)} stands twice in the list", *path, index)
        return tuple(found)

    def _member(self, item: Any, path: Path) -> Any:
        if item is SELF or (self.mode == "source" and isinstance(item, str) and item == "self"):
            literal: Any = SELF
        else:
            literal = self.literal(item, *path)
        if literal is SELF:
            if self.addresses is None:
                raise Refusal(
                    "`self` needs the principal's own addresses: declare them in the grant as "
                    "`self: [alice@acme.com]`; for the text itself write {eq: self}",
                    *path,
                )
        elif not isinstance(literal, Slot) and kind_of(literal) in ("array", "object"):
            raise Refusal(f"{show(literal)} is no single value; use any_of with eq for lists and mappings", *path)
        return literal

    def text(self, node: Any, *path: str | int) -> str | Slot:
        """See `words.base.Reader`."""
        literal = self.literal(node, *path)
        if isinstance(literal, Slot):
            if literal.kinds != {"string"}:
                raise Refusal(f"{literal!r} must be a string here", *path)
            return literal
        if not isinstance(literal, str) or not literal:
            raise Refusal(f"got {show(literal)}, expected text", *path)
        return literal

    def count(self, node: Any, *path: str | int) -> int | Slot:
        """See `words.base.Reader`."""
        literal = self.literal(node, *path)
        if isinstance(literal, Slot):
            if literal.kinds != {"integer"}:
                raise Refusal(f"{literal!r} must be an integer here", *path)
            return literal
        if type(literal) is not int or literal < 0:
            raise Refusal(f"got {show(literal)}, expected a whole number from 0 up", *path)
        return literal

    def mapping(self, node: Any, known: frozenset[str], *path: str | int) -> Mapping[str, Any]:
        """See `words.base.Reader`."""
        if not isinstance(node, Mapping) or not node:
            raise Refusal(f"got {show(node)}, expected a mapping of {', '.join(sorted(known))}", *path)
        for key, value in node.items():
            if key not in known:
                raise Refusal(f"{key!r} is not known here{did_you_mean(key, known)}", *path, key)
            if value is None:
                raise Refusal("has no value", *path, key)
        return node


def _same(one: Any, other: Any) -> bool:
    if one is SELF or other is SELF or isinstance(other, Slot):
        return one is other
    return equal_to(other)(one) or equal_to(one)(other)


def _checked(words: tuple[Word, ...], optional: bool = False) -> Constraint:
    """The constraint of these words. Raises `Refusal` where no value could satisfy them, or one makes others idle."""
    names = [word.name for word in words]
    if "any" in names and len(words) > 1:
        raise Refusal(f"`any` beside {', '.join(sorted(set(names) - {'any'}))} says two things; keep one")
    if "absent" in names and len(words) > 1:
        raise Refusal("`absent` stands alone; to allow nothing or something write any_of: [{absent: true}, …]")
    kinds = JSON_KINDS.intersection(*(word.kinds for word in words))
    if not kinds:
        phrases = [f"{word.name} needs {' or '.join(sorted(word.kinds))}" for word in words]
        raise Refusal(f"no value can satisfy this: {', but '.join(phrases)}")
    _check_range(words)
    if any(isinstance(word, Absent) for word in words):
        return Constraint(words, True, kinds)
    for word in words:
        if isinstance(word, AnyOf) and any(part.optional for part in word.parts) and len(words) == 1:
            optional = True
        if isinstance(word, AllOf) and all(part.optional for part in word.parts) and len(words) == 1:
            optional = True
    return Constraint(words, optional, kinds)


def _check_range(words: tuple[Word, ...]) -> None:
    bounds = {word.name: word.bound for word in words if isinstance(word, numbers.Bound)}
    if any(isinstance(bound, Slot) for bound in bounds.values()):
        return
    for low in ("min", "above"):
        for high in ("max", "below"):
            if low in bounds and high in bounds:
                one, other = bounds[low], bounds[high]
                assert not isinstance(one, Slot)
                assert not isinstance(other, Slot)
                if one > other or (one == other and (low, high) != ("min", "max")):
                    raise Refusal(f"no number is {low} {show(one)} and {high} {show(other)}")


def fixed_values(constraint: Constraint) -> tuple[Any, ...] | None:
    """The finite set of values that the constraint could accept, or None when it is not one (`self` included)."""
    for word in constraint.words:
        if isinstance(word, Exactly) and not isinstance(word.literal, Slot):
            return (word.literal,)
        if isinstance(word, OneOf) and not any(item is SELF or isinstance(item, Slot) for item in word.literals):
            return word.literals
    return None


def is_number(constraint: Constraint) -> bool:
    """Whether every value that it accepts is a number."""
    return constraint.kinds <= NUMBERS


__all__ = [
    "CONSTRAINT_WORDS",
    "Constraint",
    "OwnAddress",
    "Reader",
    "fixed_values",
    "is_number",
]
