"""The values that a constraint can accept at all, where they can be written down.

Each value stands here in every spelling that a decision takes for it: 2 is also 2.0 and the decimal 2. The spellings
that the constraint itself does not accept are left out again by asking it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import product
from typing import Any, Final

from remit.authority.constraints import Constraint
from remit.authority.literals import exact_decimal
from remit.authority.words.base import Scope, Word
from remit.authority.words.numbers import Bound
from remit.authority.words.origin import From, InTask, Named, OneOfSource
from remit.authority.words.structure import Absent, AllOf, AnyOf, OfType
from remit.authority.words.text import Like, MaxLength
from remit.authority.words.tokens import tokens
from remit.authority.words.values import Exactly, OneOf, OwnAddress, expand

MOST: Final = 2_000
"""Values that are looked at one by one. A constraint with more is compared word by word."""

MOST_SPELLINGS: Final = 256
"""Spellings of one list or mapping with numbers in it."""

Values = tuple[Any, ...]

_EMPTY: Final[Values] = (None, "", [], {})


def accepted(constraint: Constraint, scope: Scope) -> Values | None:
    """Every value that the constraint may accept, and perhaps some that it does not; None when they are not countable.

    What it says of earlier results is left out of account: nobody knows yet what they will be.
    """
    found = _candidates(constraint, scope)
    if found is None:
        return None
    refuses = certain(constraint).compile(scope)
    return tuple(value for value in found if refuses(value) is None)


def certain(constraint: Constraint) -> Constraint:
    """The constraint without the words that wait for earlier results: it accepts the same values, or more."""
    words = tuple(word for word in constraint.words if not Constraint((word,)).selectors())
    return replace(constraint, words=words) if len(words) < len(constraint.words) else constraint


def spellings(literal: Any) -> Values | None:
    """Every value that a comparison may take for `literal`; None when there are too many."""
    found = tuple(_spelled(literal, [MOST_SPELLINGS]))
    return found if len(found) <= MOST_SPELLINGS else None


def _candidates(constraint: Constraint, scope: Scope) -> Values | None:
    sets = [found for word in constraint.words if (found := _of_word(word, scope)) is not None]
    if (whole := _whole_numbers(constraint)) is not None:
        sets.append(whole)
    return min(sets, key=len) if sets else None


def _of_word(word: Word, scope: Scope) -> Values | None:
    if isinstance(word, Exactly):
        return spellings(word.literal)
    if isinstance(word, OneOf):
        return _all_spelled(expand(word.literals, scope))
    if isinstance(word, OwnAddress):
        return tuple(scope.addresses)
    if isinstance(word, Absent):
        return _EMPTY
    if isinstance(word, OfType):
        return (False, True) if word.type == "boolean" else None
    if isinstance(word, MaxLength):
        return _EMPTY[1:] if word.most == 0 else None
    if isinstance(word, Like):
        return None if "*" in word.pattern else (word.pattern,)
    if isinstance(word, From | OneOfSource):
        return _of_source(word.source, scope)
    if isinstance(word, AllOf):
        sets = [found for part in word.parts if (found := _candidates(_whole(part), scope)) is not None]
        return min(sets, key=len) if sets else None
    if isinstance(word, AnyOf):
        return _together([_candidates(_whole(part), scope) for part in word.parts])
    return None


def _of_source(source: Any, scope: Scope) -> Values | None:
    if isinstance(source, InTask):
        return _all_spelled(tokens(scope.task))
    if isinstance(source, Named):
        held = scope.bindings if source.kind == "binding" else scope.parameters
        return spellings(held[source.name]) if source.name in held else ()
    return None


def _whole(part: Any) -> Constraint:
    assert isinstance(part, Constraint)
    return part


def _together(sets: list[Values | None]) -> Values | None:
    found: list[Any] = []
    for each in sets:
        if each is None:
            return None
        found.extend(each)
        if len(found) > MOST:
            return None
    return tuple(found)


def _all_spelled(literals: Values) -> Values | None:
    return None if len(literals) > MOST else _together([spellings(literal) for literal in literals])


def _whole_numbers(constraint: Constraint) -> Values | None:
    """`{type: integer, min: 1, max: 5}` is five values."""
    if constraint.kinds != {"integer"}:
        return None
    lows, highs = [], []
    for word in constraint.words:
        if isinstance(word, Bound) and word.name in ("min", "above"):
            lows.append(_floor(word.bound))
        elif isinstance(word, Bound):
            highs.append(_floor(word.bound) + 1)
    if not lows or not highs or min(highs) - max(lows) > MOST // 4:
        return None
    return tuple(range(max(lows), min(highs) + 1))


def _floor(number: Any) -> int:
    return int(number // 1)


def _spelled(literal: Any, left: list[int]) -> Iterator[Any]:
    if isinstance(literal, bool | str) or literal is None:
        yield literal
    elif isinstance(literal, int):
        yield literal
        yield Decimal(literal)
        try:
            if float(literal) == literal:
                yield float(literal)
        except OverflowError:
            pass
    elif isinstance(literal, float):
        yield literal
        yield exact_decimal(literal)
        if literal.is_integer():
            yield int(literal)
    elif isinstance(literal, list):
        yield from (list(items) for items in _combined([tuple(_spelled(item, left)) for item in literal], left))
    else:
        names = tuple(literal)
        for items in _combined([tuple(_spelled(literal[name], left)) for name in names], left):
            yield dict(zip(names, items, strict=True))


def _combined(parts: list[Values], left: list[int]) -> Iterator[Values]:
    """Every combination, up to one more than may be looked at, so that the caller sees there are too many."""
    for items in product(*parts):
        left[0] -= 1
        if left[0] < -1:
            return
        yield items
