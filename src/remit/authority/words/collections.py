"""`subset contains each keys`: what is inside lists and mappings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from remit.authority.literals import among, equal_to, listing, show, to_json
from remit.authority.refusal import Refusal
from remit.authority.words.base import LIST, Check, Fault, Parse, Part, Reader, Scope, Word
from remit.authority.words.origin import SubsetOfSource, is_source, read_source
from remit.authority.words.values import expand


@dataclass(frozen=True, slots=True)
class Subset:
    """`subset`: a list of nothing but these values. The empty list is one."""

    literals: tuple[Any, ...]
    name: str = "subset"
    kinds: frozenset[str] = LIST

    def describe(self) -> str:
        return f"a list of {listing([show(literal) for literal in self.literals])}, or an empty one"

    def to_json(self) -> Any:
        return to_json(self.literals)

    def compile(self, scope: Scope) -> Check:
        test, expected = among(expand(self.literals, scope)), self.describe()

        def check(value: Any) -> Fault | None:
            if type(value) is not list:
                return Fault((), value, expected)
            for index, item in enumerate(value):
                if not test(item):
                    return Fault((index,), item, expected)
            return None

        return check


@dataclass(frozen=True, slots=True)
class Contains:
    """`contains`: a list in which each of these values occurs, whatever else does."""

    literals: tuple[Any, ...]
    name: str = "contains"
    kinds: frozenset[str] = LIST

    def describe(self) -> str:
        return f"a list that contains {listing([show(literal) for literal in self.literals], last='and')}"

    def to_json(self) -> Any:
        return to_json(self.literals)

    def compile(self, scope: Scope) -> Check:
        tests = tuple(equal_to(literal) for literal in expand(self.literals, scope))
        expected = self.describe()

        def check(value: Any) -> Fault | None:
            if type(value) is list and all(any(test(item) for item in value) for test in tests):
                return None
            return Fault((), value, expected)

        return check


@dataclass(frozen=True, slots=True)
class Each:
    """`each`: a list of which every item satisfies a constraint. The empty list satisfies it."""

    item: Part
    name: str = "each"
    kinds: frozenset[str] = LIST

    def describe(self) -> str:
        return f"a list, each item {self.item.describe()}"

    def to_json(self) -> Any:
        return self.item.to_json()

    def compile(self, scope: Scope) -> Check:
        judge, expected = self.item.compile(scope), self.describe()

        def check(value: Any) -> Fault | None:
            if type(value) is not list:
                return Fault((), value, expected)
            for index, item in enumerate(value):
                fault = judge(item)
                if fault is not None:
                    return fault._replace(path=(index, *fault.path))
            return None

        return check


@dataclass(frozen=True, slots=True)
class Keys:
    """`keys`: a mapping with these keys and no others, each value bounded; one that is not `optional` is required."""

    members: Mapping[str, Part]
    name: str = "keys"
    kinds: frozenset[str] = frozenset({"object"})

    def describe(self) -> str:
        return f"a mapping of {listing([show(key) for key in self.members], last='and')} only"

    def to_json(self) -> Any:
        return {key: part.to_json() for key, part in self.members.items()}

    def compile(self, scope: Scope) -> Check:
        expected = self.describe()
        members = {key: part.compile(scope) for key, part in self.members.items()}
        required = tuple(key for key, part in self.members.items() if not part.optional)

        def check(value: Any) -> Fault | None:
            if type(value) is not dict:
                return Fault((), value, expected)
            for key in required:
                if key not in value:
                    return Fault((key,), None, f"{expected}; {show(key)} is missing")
            for key, item in value.items():
                judge = members.get(key)
                if judge is None:
                    return Fault((key,), item, expected)
                fault = judge(item)
                if fault is not None:
                    return fault._replace(path=(key, *fault.path))
            return None

        return check


def _subset(node: Any, reader: Reader) -> Word:
    if is_source(node):
        return SubsetOfSource(read_source(node["from"], reader))
    return Subset(reader.literals(node))


def _contains(node: Any, reader: Reader) -> Word:
    return Contains(reader.literals(node if isinstance(node, list) or node == "self" else [node]))


def _each(node: Any, reader: Reader) -> Word:
    if isinstance(node, Mapping) and "optional" in node:
        raise Refusal("an item of a list is never left out; take `optional` away", "optional")
    return Each(reader.constraint(node, several=True))


def _keys(node: Any, reader: Reader) -> Word:
    if not isinstance(node, Mapping):
        raise Refusal(f"keys takes a mapping of key to constraint, got {show(node)}")
    return Keys({key: reader.constraint(value, key) for key, value in node.items()})


WORDS: Final[dict[str, Parse]] = {"subset": _subset, "contains": _contains, "each": _each, "keys": _keys}
