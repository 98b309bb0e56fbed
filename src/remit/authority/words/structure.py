"""`type absent all_of any_of`: what a value is, and constraints put together. `optional` is a property of the whole."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from remit.authority.literals import Slot, show
from remit.authority.refusal import Refusal
from remit.authority.words.base import JSON_KINDS, NUMBERS, Check, Fault, Parse, Part, Reader, Scope, Word

_TYPES: Final[dict[str, frozenset[str]]] = {
    "string": frozenset({"string"}),
    "integer": frozenset({"integer"}),
    "number": NUMBERS,
    "boolean": frozenset({"boolean"}),
    "array": frozenset({"array"}),
    "object": frozenset({"object"}),
}
_PYTHON: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float, Decimal),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


@dataclass(frozen=True, slots=True)
class OfType:
    """`type`: one JSON type. 2.0 is a number and no integer; true is a boolean and no number."""

    type: str
    name: str = "type"

    @property
    def kinds(self) -> frozenset[str]:
        return _TYPES[self.type]

    def describe(self) -> str:
        return f"{'an' if self.type[0] in 'aio' else 'a'} {self.type}"

    def to_json(self) -> Any:
        return self.type

    def compile(self, scope: Scope) -> Check:
        del scope
        expected, kinds = self.describe(), _PYTHON[self.type]
        if len(kinds) == 1:
            [kind] = kinds
            return lambda value: None if type(value) is kind else Fault((), value, expected)
        return lambda value: None if type(value) in kinds else Fault((), value, expected)


@dataclass(frozen=True, slots=True)
class Absent:
    """`absent`: left out, null, or empty (`""`, `[]`, `{}`)."""

    name: str = "absent"
    kinds: frozenset[str] = frozenset({"null", "string", "array", "object"})

    def describe(self) -> str:
        return "nothing (left out, null or empty)"

    def to_json(self) -> Any:
        return True

    def compile(self, scope: Scope) -> Check:
        del scope
        expected = self.describe()
        return lambda value: (
            None if value is None or (type(value) in (str, list, dict) and not value) else Fault((), value, expected)
        )


@dataclass(frozen=True, slots=True)
class AllOf:
    """`all_of`: every one of these constraints."""

    parts: tuple[Part, ...]
    name: str = "all_of"

    @property
    def kinds(self) -> frozenset[str]:
        return JSON_KINDS.intersection(*(part.kinds for part in self.parts))

    def describe(self) -> str:
        return " and ".join(part.describe() for part in self.parts)

    def to_json(self) -> Any:
        return [part.to_json() for part in self.parts]

    def compile(self, scope: Scope) -> Check:
        checks = tuple(part.compile(scope) for part in self.parts)

        def check(value: Any) -> Fault | None:
            for judge in checks:
                fault = judge(value)
                if fault is not None:
                    return fault
            return None

        return check


@dataclass(frozen=True, slots=True)
class AnyOf:
    """`any_of`: at least one of these constraints."""

    parts: tuple[Part, ...]
    name: str = "any_of"

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset[str]().union(*(part.kinds for part in self.parts))

    def describe(self) -> str:
        return ", or ".join(part.describe() for part in self.parts)

    def to_json(self) -> Any:
        return [part.to_json() for part in self.parts]

    def compile(self, scope: Scope) -> Check:
        checks = tuple(part.compile(scope) for part in self.parts)
        expected = self.describe()

        def check(value: Any) -> Fault | None:
            distance = float("inf")
            for judge in checks:
                fault = judge(value)
                if fault is None:
                    return None
                distance = min(distance, fault.distance)
            return Fault((), value, expected, distance)

        return check


def _type(node: Any, reader: Reader) -> Word:
    del reader
    if not isinstance(node, str) or node not in _TYPES:
        raise Refusal(f"{show(node)} is not a type, expected one of {', '.join(_TYPES)}")
    return OfType(node)


def _absent(node: Any, reader: Reader) -> Word:
    del reader
    if node is not True:
        raise Refusal(f"absent takes true, got {show(node)}")
    return Absent()


def _parts(node: Any, reader: Reader, word: str) -> tuple[Part, ...]:
    if isinstance(node, Slot) or not isinstance(node, list):
        raise Refusal(f"{word} takes a list of constraints, got {show(node)}")
    return tuple(reader.constraint(part, index) for index, part in enumerate(node))


def _all_of(node: Any, reader: Reader) -> Word:
    return AllOf(_parts(node, reader, "all_of"))


def _any_of(node: Any, reader: Reader) -> Word:
    return AnyOf(_parts(node, reader, "any_of"))


WORDS: Final[dict[str, Parse]] = {"type": _type, "absent": _absent, "all_of": _all_of, "any_of": _any_of}
