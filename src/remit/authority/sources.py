"""What earlier results say, as one decision sees it: the values that each `from` of a grant found, and where.

Gathered from records before the call is judged, given to the decision as an input, and recorded with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple

from remit.authority.literals import decimal_text, exact_decimal

Lack = Literal["", "no_result", "own_words", "too_many"]
"""Why nothing was found: no result fits; all that was found came from the caller; more than can be looked through."""


class Sourced(NamedTuple):
    """A value that a trusted result holds, and the outcome record that holds the result."""

    value: Any
    record: str


@dataclass(frozen=True, slots=True)
class Found:
    """What one selector found: how many different values in all, and those of them that the call makes use of."""

    distinct: int
    values: tuple[Sourced, ...] = ()
    lack: Lack = ""

    def to_json(self) -> dict[str, Any]:
        """As it is recorded, erasable, with the decision."""
        return {
            "distinct": self.distinct,
            "lack": self.lack,
            "values": [{"value": each.value, "record": each.record} for each in self.values],
        }

    @classmethod
    def from_json(cls, node: Mapping[str, Any]) -> Found:
        """Read back what `to_json` gave."""
        values = tuple(Sourced(each["value"], each["record"]) for each in node["values"])
        return cls(node["distinct"], values, node["lack"])


Sources = Mapping[str, Found]
"""By the key of a selector (`words.origin.Selector.key`)."""

NOTHING_FOUND: Final = Found(0, (), "no_result")


def same_key(value: Any) -> Any:
    """A key that is equal for values that any word could take for equal: 10 and 10.0 are, 5 and "5" are not."""
    if isinstance(value, bool) or value is None:
        return ("constant", value)
    if isinstance(value, str):
        return value
    if isinstance(value, int | float | Decimal):
        return ("number", decimal_text(exact_decimal(value)))
    if isinstance(value, list | tuple):
        return ("list", tuple(same_key(item) for item in value))
    if isinstance(value, Mapping):
        return ("map", frozenset((key, same_key(item)) for key, item in value.items()))
    return ("other", repr(value))


def nodes(value: Any) -> Iterator[Any]:
    """A value and every value inside it."""
    yield value
    if isinstance(value, list | tuple):
        for item in value:
            yield from nodes(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from nodes(item)


def used_keys(values: Iterable[Any]) -> frozenset[Any]:
    """The keys of everything that a call's arguments hold."""
    return frozenset(same_key(node) for value in values for node in nodes(value))
