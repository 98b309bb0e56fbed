"""What every constraint word has in common.

A word is read once (`parse`), says itself in a sentence (`describe`) and in canonical JSON (`to_json`), and compiles to
one closure that takes a value and returns None or a `Fault`. Nothing is generated, nothing is evaluated from text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from remit.authority.literals import Slot, kind_of
from remit.authority.sources import Found

JSON_KINDS: Final = frozenset({"string", "integer", "number", "boolean", "array", "object", "null"})
NUMBERS: Final = frozenset({"integer", "number"})
TEXT: Final = frozenset({"string"})
LIST: Final = frozenset({"array"})
NORMAL_TEXT: Final = "text in Unicode normal form C"


class Fault(NamedTuple):
    """Why a value is refused: where inside the value, what was there, and what is allowed instead.

    `distance` says how far a number lies outside its bound, so that the closest of several clauses can be named.
    """

    path: tuple[str | int, ...]
    value: Any
    expected: str
    distance: float = math.inf


Check = Callable[[Any], Fault | None]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a word needs from its surroundings to compile: the principal's addresses, a sibling `type: number`, and what
    `from` may point at: the grant's own task, bindings and parameters, and what earlier results said (`sources`)."""

    addresses: tuple[str, ...] = ()
    number: bool = False
    task: str = ""
    bindings: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, Found] = field(default_factory=dict)


class Word(Protocol):
    """One constraint word with its bound."""

    @property
    def name(self) -> str:
        """The word as a grant writes it."""

    @property
    def kinds(self) -> frozenset[str]:
        """The JSON types of the values that it can accept at all."""

    def describe(self) -> str:
        """What it allows, to follow "allows …"."""

    def to_json(self) -> Any:
        """Its bound in canonical JSON."""

    def compile(self, scope: Scope) -> Check:
        """The closure that judges a value."""


class Part(Protocol):
    """A whole constraint, as the words that contain others see it."""

    @property
    def optional(self) -> bool:
        """Whether the value may be left out."""

    @property
    def kinds(self) -> frozenset[str]:
        """The JSON types of the values that it can accept at all."""

    def describe(self) -> str:
        """What it allows."""

    def to_json(self) -> Any:
        """Canonical JSON."""

    def compile(self, scope: Scope) -> Check:
        """The closure that judges a value."""


class Reader(Protocol):
    """What the words use to read their bounds; see `remit.authority.constraints.Reader`."""

    several: bool
    """Whether `from` stands for any of its source's values, because each item of a list is judged alone."""
    sourced: bool
    """Whether this is inside the bounds of a source, where no further `from` may stand."""

    def constraint(self, node: Any, *path: str | int, several: bool = False) -> Part:
        """Read a constraint inside a word; `several` where it is about each item of a list."""

    def inside_source(self) -> Reader:
        """The same reader, for the bounds of a source."""

    def literal(self, node: Any, *path: str | int) -> Any:
        """Read one literal: the value of a filled slot, an open slot, or the checked value itself."""

    def literals(self, node: Any, *path: str | int) -> tuple[Any, ...]:
        """Read a list of literals, not empty and without duplicates; `self` stands for the principal's addresses."""

    def text(self, node: Any, *path: str | int) -> str | Slot:
        """Read one string."""

    def count(self, node: Any, *path: str | int) -> int | Slot:
        """Read a whole number from 0 up."""

    def mapping(self, node: Any, known: frozenset[str], *path: str | int) -> Mapping[str, Any]:
        """Read a mapping whose keys are among `known`."""


Parse = Callable[[Any, Reader], Word]


def kinds_of(literal: Any) -> frozenset[str]:
    """The JSON types of values that may equal `literal`."""
    if isinstance(literal, Slot):
        return NUMBERS if literal.kinds & NUMBERS else literal.kinds
    kind = kind_of(literal)
    if kind in NUMBERS:
        return NUMBERS
    return frozenset({kind}) if kind in JSON_KINDS else TEXT
