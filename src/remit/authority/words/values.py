"""`any eq one_of not_one_of self`: a value compared, typed, with values that the grant writes down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from remit.authority.literals import SELF, Slot, among, equal_to, is_nfc, kind_of, listing, show, to_json
from remit.authority.refusal import Refusal
from remit.authority.words.base import JSON_KINDS, NORMAL_TEXT, TEXT, Check, Fault, Parse, Reader, Scope, Word, kinds_of
from remit.authority.words.origin import OneOfSource, is_source, read_source


def expand(literals: tuple[Any, ...], scope: Scope) -> tuple[Any, ...]:
    """The literals with the principal's addresses in the place of `self`."""
    found: list[Any] = []
    for literal in literals:
        found.extend(scope.addresses if literal is SELF else (literal,))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Anything:
    """`any`: every value that a call can carry, said on purpose."""

    name: str = "any"
    kinds: frozenset[str] = JSON_KINDS

    def describe(self) -> str:
        return "anything"

    def to_json(self) -> Any:
        return True

    def compile(self, scope: Scope) -> Check:
        del scope
        return lambda value: None


@dataclass(frozen=True, slots=True)
class Exactly:
    """`eq`: this one value. A bare scalar means the same."""

    literal: Any
    name: str = "eq"

    @property
    def kinds(self) -> frozenset[str]:
        return kinds_of(self.literal)

    def describe(self) -> str:
        return f"exactly {show(self.literal)}"

    def to_json(self) -> Any:
        return to_json(self.literal)

    def compile(self, scope: Scope) -> Check:
        literal, expected = self.literal, self.describe()
        if isinstance(literal, str):
            return lambda value: None if type(value) is str and value == literal else Fault((), value, expected)
        test = equal_to(literal, number=scope.number)
        return lambda value: None if test(value) else Fault((), value, expected)


@dataclass(frozen=True, slots=True)
class OneOf:
    """`one_of`: one of these values. A bare list means the same."""

    literals: tuple[Any, ...]
    name: str = "one_of"

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset[str]().union(*(kinds_of(literal) for literal in self.literals))

    def describe(self) -> str:
        return listing([show(literal) for literal in self.literals])

    def to_json(self) -> Any:
        return to_json(self.literals)

    def compile(self, scope: Scope) -> Check:
        test, expected = among(expand(self.literals, scope), number=scope.number), self.describe()
        return lambda value: None if test(value) else Fault((), value, expected)


@dataclass(frozen=True, slots=True)
class NotOneOf:
    """`not_one_of`: any value of the types listed except these. Text must be in NFC, so that it cannot slip past."""

    literals: tuple[Any, ...]
    name: str = "not_one_of"

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset[str]().union(*(kinds_of(literal) for literal in self.literals))

    def describe(self) -> str:
        kinds = listing(sorted(self.kinds))
        return f"a {kinds} other than {listing([show(literal) for literal in self.literals])}"

    def to_json(self) -> Any:
        return to_json(self.literals)

    def compile(self, scope: Scope) -> Check:
        # 2.0 must not slip past a refused 2, so numbers are always compared by value here
        test, expected, kinds = among(expand(self.literals, scope), number=True), self.describe(), self.kinds

        def check(value: Any) -> Fault | None:
            if kind_of(value) not in kinds or test(value):
                return Fault((), value, expected)
            return None if type(value) is not str or is_nfc(value) else Fault((), value, NORMAL_TEXT)

        return check


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """`self`: one of the addresses that the grant declares as the principal's own."""

    name: str = "self"
    kinds: frozenset[str] = TEXT

    def describe(self) -> str:
        return "one of the principal's own addresses"

    def to_json(self) -> Any:
        return True

    def compile(self, scope: Scope) -> Check:
        addresses, expected = frozenset(scope.addresses), self.describe()
        return lambda value: None if type(value) is str and value in addresses else Fault((), value, expected)


def _any(node: Any, reader: Reader) -> Word:
    del reader
    if node is not True:
        raise Refusal(f"any takes true, got {show(node)}; for one exact value write eq")
    return Anything()


def _self(node: Any, reader: Reader) -> Word:
    if node is not True:
        raise Refusal(f"self takes true, got {show(node)}")
    reader.literals([SELF])
    return OwnAddress()


def _exactly(node: Any, reader: Reader) -> Word:
    return Exactly(reader.literal(node))


def _one_of(node: Any, reader: Reader) -> Word:
    if is_source(node):
        return OneOfSource(read_source(node["from"], reader))
    return OneOf(reader.literals(node))


def _not_one_of(node: Any, reader: Reader) -> Word:
    literals = reader.literals(node)
    if any(isinstance(literal, Slot) and not literal.kinds for literal in literals):
        raise Refusal("not_one_of needs values of a known type")
    return NotOneOf(literals)


WORDS: Final[dict[str, Parse]] = {
    "any": _any,
    "eq": _exactly,
    "one_of": _one_of,
    "not_one_of": _not_one_of,
    "self": _self,
}
