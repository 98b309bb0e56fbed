"""`min max above below`: bounds on a number. Booleans, numeric strings, NaN and infinities are not numbers."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from remit.authority.literals import Slot, exact_decimal, kind_of, show, to_json
from remit.authority.refusal import Refusal
from remit.authority.words.base import NUMBERS, Check, Fault, Parse, Reader, Scope, Word

_PHRASE: Final = {"min": "at least", "max": "at most", "above": "more than", "below": "less than"}
_HOLDS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "min": operator.ge,
    "max": operator.le,
    "above": operator.gt,
    "below": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Bound:
    """One end of a range of numbers; `min` and `max` include their bound, `above` and `below` do not."""

    name: str
    bound: int | float | Slot
    kinds: frozenset[str] = NUMBERS

    def describe(self) -> str:
        return f"{_PHRASE[self.name]} {show(self.bound)}"

    def to_json(self) -> Any:
        return to_json(self.bound)

    def compile(self, scope: Scope) -> Check:
        del scope
        bound = self.bound
        assert not isinstance(bound, Slot)
        expected = self.describe()
        exact = exact_decimal(bound)
        holds = _HOLDS[self.name]
        infinity = math.inf

        def fault(value: Any) -> Fault:
            number = type(value) in (int, float, Decimal) and value == value
            distance = abs(float(value) - float(bound)) if number and abs(value) < 1e300 else infinity
            return Fault((), value, expected if number else f"a number, {expected}", distance)

        if self.name == "min":

            def check_min(value: Any) -> Fault | None:
                kind = type(value)
                if (kind is int or kind is float) and bound <= value < infinity:
                    return None
                return None if kind is Decimal and value.is_finite() and value >= exact else fault(value)

            return check_min
        if self.name == "max":

            def check_max(value: Any) -> Fault | None:
                kind = type(value)
                if (kind is int or kind is float) and -infinity < value <= bound:
                    return None
                return None if kind is Decimal and value.is_finite() and value <= exact else fault(value)

            return check_max

        def check(value: Any) -> Fault | None:
            kind = type(value)
            if (kind is int or kind is float) and -infinity < value < infinity and holds(value, bound):
                return None
            return None if kind is Decimal and value.is_finite() and holds(value, exact) else fault(value)

        return check


def _parser(name: str) -> Parse:
    def parse(node: Any, reader: Reader) -> Word:
        bound = reader.literal(node)
        if isinstance(bound, Slot):
            if not bound.kinds <= NUMBERS:
                raise Refusal(f"{name} needs a number, but {bound!r} may be a {' or '.join(sorted(bound.kinds))}")
        elif kind_of(bound) not in NUMBERS:
            raise Refusal(f"{name} needs a number, got {show(bound)}")
        return Bound(name, bound)

    return parse


WORDS: Final[dict[str, Parse]] = {name: _parser(name) for name in ("min", "above", "max", "below")}
