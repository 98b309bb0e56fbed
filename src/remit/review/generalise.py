"""From the values that were seen to the narrowest constraint that is still pleasant to read.

One value means exactly it, a few mean one of them, many numbers a range, many texts a length. Whatever is wider than
the values themselves is held against the bound that was in force as well, so that nothing becomes wider than it was.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from remit.authority.literals import MARK, exact_decimal, kind_of

FEW: Final = 5
"""So many different values are listed; more become a range or a length."""

LONG: Final = 60
"""Characters from which a text is no name or choice any more, but something that was written for the occasion."""

MISSING: Final = object()

_KINDS: Final = frozenset({"string", "integer", "number", "boolean", "array", "object", "null"})
_TIGHTEN: Final = frozenset({"type", "max_len", "min", "max"})


class Said(NamedTuple):
    """A constraint in the words of a grant, and what it rests on. `finite`: it allows the seen values and no others."""

    words: dict[str, Any]
    because: str
    finite: bool


def generalise(values: Sequence[Any], before: Mapping[str, Any] | None) -> Said | None:
    """The constraint of one argument from its value in each call (`MISSING` where it was left out).

    `before` is the bound in force in a file's words, None where there was none. None when the values are of a kind that
    a grant has no words for: then only the bound in force can stand.
    """
    present = [value for value in values if value is not MISSING]
    if before is not None and _names(before) & {"from", "self"}:
        return Said(dict(before), "as it was: the value comes from where the principal said", False)
    found = _values(present)
    if found is None:
        return None
    words, because, finite = found
    if not finite and before is not None and "any" not in before:
        words = _both({name: bound for name, bound in before.items() if name != "optional"}, words)
    if len(present) < len(values):
        words = {**words, "optional": True}
        because += f"; left out of {len(values) - len(present)}"
    return Said(words, because, finite)


def count(number: int, word: str) -> str:
    """`1 call`, `2 calls`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _names(node: Any) -> set[str]:
    """Every key in a constraint, and `self` where it stands for the principal's addresses."""
    if isinstance(node, Mapping):
        return {name for key, value in node.items() for name in ({key} if key == "eq" else {key, *_names(value)})}
    if isinstance(node, list):
        return {name for item in node for name in _names(item)}
    return {"self"} if node == "self" else set()


def as_source(node: Any) -> Any:
    """Canonical JSON of a grant as a file writes it: literals without their marks, nothing that says nothing."""
    if isinstance(node, list):
        return [as_source(item) for item in node]
    if not isinstance(node, dict):
        return escaped(node)
    if MARK in node:
        kind, text = node[MARK], str(node.get("v"))
        return "self" if kind == "self" else int(text) if kind == "integer" else float(text)
    return {key: as_source(value) for key, value in node.items() if value is not None}


def escaped(value: Any) -> Any:
    """`${` in a value is two characters, not a parameter."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, list):
        return [escaped(item) for item in value]
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    return value


def identity(value: Any) -> str:
    """Equal for values that a grant holds equal in type and content."""
    return f"{_kinds(value)}:{json.dumps(value, sort_keys=True, default=repr)}"


def _kinds(value: Any) -> Any:
    if isinstance(value, list):
        return [_kinds(item) for item in value]
    if isinstance(value, dict):
        return sorted((key, str(_kinds(item))) for key, item in value.items())
    return kind_of(value)


def _values(values: Sequence[Any]) -> Said | None:
    if not values:
        return None
    distinct = list({identity(value): value for value in values}.values())
    kinds = {kind_of(value) for value in distinct}
    if not kinds <= _KINDS or any(_strange(value) for value in distinct):
        return None
    if "null" in kinds:
        return None  # what a grant calls absent is more than null; the bound in force says it better
    if _few(distinct, kinds):
        return _exactly(distinct, len(values))
    if kinds <= {"integer", "number"}:
        return _range(distinct, kinds)
    if len(kinds) > 1:
        return None
    [kind] = kinds
    if kind == "string":
        longest = max(len(value) for value in distinct)
        because = f"{count(len(distinct), 'text')}, the longest of {count(longest, 'character')}"
        return Said({"type": "string", "max_len": max(1, longest)}, because, False)
    if kind == "array":
        return _lists(distinct)
    return None


def _few(distinct: list[Any], kinds: set[str]) -> bool:
    if "string" in kinds and any(_written(value) for value in distinct if isinstance(value, str)):
        return False
    if kinds & {"array", "object"}:
        return len(distinct) == 1 and not _deep(distinct[0])
    return len(distinct) <= FEW


def _written(text: str) -> bool:
    """Whether a text was made up for one occasion, so that the same words will not come again."""
    return len(text) > LONG or "\n" in text or not unicodedata.is_normalized("NFC", text)


def _deep(value: Any) -> bool:
    """Whether a list or mapping holds texts that were written, so that no other call would equal it."""
    if isinstance(value, list):
        return any(_deep(item) for item in value)
    if isinstance(value, dict):
        return any(_deep(item) for item in value.values())
    return isinstance(value, str) and _written(value)


def _strange(value: Any) -> bool:
    """Values that no grant can write: null inside, a lone surrogate, an object of Python's."""
    if isinstance(value, list):
        return any(item is None or _strange(item) for item in value)
    if isinstance(value, dict):
        return MARK in value or any(
            item is None or not unicodedata.is_normalized("NFC", key) or _strange(item) for key, item in value.items()
        )
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return True
        return False
    if isinstance(value, float):
        return value != value or value in (float("inf"), float("-inf"))
    return value is not None and not isinstance(value, bool | int)


def _exactly(distinct: list[Any], calls: int) -> Said:
    times = count(calls, "call")
    distinct = _without_twins(distinct)
    if len(distinct) == 1:
        return Said({"eq": escaped(distinct[0])}, f"the same in {times}", True)
    because = f"{len(distinct)} values in {times}"
    if any(value == "self" for value in distinct):
        return Said({"any_of": [{"eq": escaped(value)} for value in distinct]}, because, True)
    return Said({"one_of": [escaped(value) for value in distinct]}, because, True)


def _without_twins(distinct: list[Any]) -> list[Any]:
    """`2.0` in a grant means the number, so `2` need not stand beside it."""
    whole = {value for value in distinct if isinstance(value, float)}
    return [value for value in distinct if not (type(value) is int and value in whole)]


def _range(distinct: list[Any], kinds: set[str]) -> Said:
    least, most = min(distinct, key=exact_decimal), max(distinct, key=exact_decimal)
    words: dict[str, Any] = {"min": least, "max": most}
    if kinds == {"integer"}:
        words = {"type": "integer", **words}
    return Said(words, f"{len(distinct)} numbers from {least} to {most}", False)


def _lists(distinct: list[Any]) -> Said | None:
    items = [item for value in distinct for item in value]
    longest = max(len(value) for value in distinct)
    if not items:
        return None
    inside = _values(items)
    if inside is None:
        return None
    because = f"{count(len(distinct), 'list')} of up to {longest}: {inside.because.replace(' calls', ' places')}"
    return Said({"each": inside.words, "max_len": longest}, because, False)


def _both(before: Mapping[str, Any], seen: Mapping[str, Any]) -> dict[str, Any]:
    """What both allow. Where the words do not get in each other's way they stand side by side."""
    clash = before.keys() & seen.keys()
    if not clash <= _TIGHTEN or before.keys() & {"all_of", "any_of", "absent", "any"}:
        return {"all_of": [dict(before), dict(seen)]}
    if seen.get("type") == "integer" and before.get("type") not in (None, "integer", "number"):
        return {"all_of": [dict(before), dict(seen)]}
    return {**before, **seen}


__all__ = ["MISSING", "Said", "as_source", "count", "escaped", "generalise", "identity"]
