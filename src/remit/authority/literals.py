"""Values as a grant writes them down: typed, compared without coercion, and kept exactly in canonical JSON.

`true` is not `1`, `"12"` is not `12`. `2` is the integer; a grant that writes `2.0` means the number, which `2` is
too. RFC 8785 writes `2.0` as `2` and has no integers above 2^53, so those two are kept as `{"$remit": …, "v": …}`, and
the word `self` inside a list as `{"$remit": "self"}`.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from typing import Any, Final

from remit.authority.refusal import Refusal

MARK: Final = "$remit"
_SAFE: Final = 2**53 - 1
_SHOWN: Final = 60
_EXACT: Final = Context(prec=2000, traps=[])

Test = Callable[[Any], bool]


class _Self:
    """The word `self` inside a list: the principal's own addresses, which the grant declares once."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "self"


SELF: Final = _Self()


class Slot:
    """A parameter that stands for one whole value. It is a value and nothing else, whatever its text says.

    `kinds` are the JSON types that the parameter's own constraint admits; `value` is `UNSET` while the template is
    read without parameters.
    """

    __slots__ = ("kinds", "name", "value")

    UNSET: Final = object()

    def __init__(self, name: str, kinds: frozenset[str], value: Any = UNSET) -> None:
        self.name = name
        self.kinds = kinds
        self.value = value

    @property
    def filled(self) -> bool:
        """Whether the parameter has been given."""
        return self.value is not Slot.UNSET

    def __repr__(self) -> str:
        return f"${{{self.name}}}"


def fill(node: Any) -> Any:
    """`node` with every filled slot in it replaced by its value."""
    if isinstance(node, Slot):
        return node.value if node.filled else node
    if isinstance(node, list):
        return [fill(item) for item in node]
    if isinstance(node, dict):
        return {key: fill(item) for key, item in node.items()}
    return node


def kind_of(value: object) -> str:
    """The JSON type of a value, with `integer` and `number` (not whole, or written with a point) apart."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float | Decimal):
        return "number"
    if isinstance(value, list):
        return "array"
    if isinstance(value, dict):
        return "object"
    return type(value).__name__


def check_literal(value: Any) -> None:
    """Raises `Refusal` for a value that no grant can name: null, not finite, not NFC, not encodable, not JSON."""
    if value is SELF or isinstance(value, Slot):
        return
    kind = kind_of(value)
    if kind == "null":
        raise Refusal("null is no value to compare with; for null or empty values write {absent: true}")
    if kind == "string":
        check_text(value)
    elif kind == "number":
        if not math.isfinite(value):
            raise Refusal(f"{value} is not a finite number")
    elif kind == "array":
        for index, item in enumerate(value):
            _at(item, index)
    elif kind == "object":
        for key, item in value.items():
            if key == MARK:
                raise Refusal(f"the key {MARK!r} is reserved")
            _at(item, key)
    elif kind not in ("boolean", "integer"):
        raise Refusal(f"got a Python {kind}, expected a string, number, boolean, list or mapping")


def _at(value: Any, step: str | int) -> None:
    try:
        check_literal(value)
    except Refusal as refusal:
        raise refusal.below(step) from None


def check_text(text: str) -> str:
    """Raises `Refusal` unless `text` can be encoded and is in Unicode normal form C, so that equal means equal."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Refusal(f"{text!r} holds a lone surrogate, which no encoding can hold") from None
        if not unicodedata.is_normalized("NFC", text):
            raise Refusal(f"{text!r} is not in Unicode normal form C; write {unicodedata.normalize('NFC', text)!r}")
    return text


def is_nfc(text: str) -> bool:
    """Whether text that a word compares is in the one form in which equal means equal."""
    return text.isascii() or unicodedata.is_normalized("NFC", text)


def equal_to(literal: Any, *, number: bool = False) -> Test:
    """A test for typed equality with `literal`. With `number`, integers match the same number written with a point."""
    if isinstance(literal, str):
        return lambda value: type(value) is str and value == literal
    if isinstance(literal, bool):
        return lambda value: value is literal
    if isinstance(literal, int) and not number:
        return lambda value: type(value) is int and value == literal
    if literal is None:  # no grant can name these two, but a recorded result can hold them
        return lambda value: value is None
    if isinstance(literal, Decimal):
        return lambda value: type(value) in (int, float, Decimal) and exact_decimal(value) == literal
    if isinstance(literal, int | float):
        exact = exact_decimal(literal)
        return lambda value: (
            value == exact if type(value) is Decimal else type(value) in (int, float) and value == literal
        )
    if isinstance(literal, list):
        tests = [equal_to(item, number=number) for item in literal]
        return lambda value: (
            type(value) is list
            and len(value) == len(tests)
            and all(test(item) for test, item in zip(tests, value, strict=True))
        )
    members = {key: equal_to(item, number=number) for key, item in literal.items()}
    return lambda value: (
        type(value) is dict and value.keys() == members.keys() and all(members[key](value[key]) for key in members)
    )


def among(literals: tuple[Any, ...], *, number: bool = False) -> Test:
    """A test for typed equality with any one of `literals`, none of which is `SELF`."""
    texts = frozenset(literal for literal in literals if isinstance(literal, str))
    others = tuple(equal_to(literal, number=number) for literal in literals if not isinstance(literal, str))
    if not others:
        return lambda value: type(value) is str and value in texts
    return lambda value: value in texts if type(value) is str else any(test(value) for test in others)


def exact_decimal(value: int | float | Decimal) -> Decimal:
    """The decimal that a number is written as: 0.1 is one tenth, not the binary fraction next to it."""
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def add_exactly(one: Decimal, other: Decimal) -> Decimal:
    """The sum, with digits enough for any two numbers that a grant bounds. `+` alone would round at 28 digits."""
    return _EXACT.add(one, other)


def decimal_text(value: Decimal) -> str:
    """An exact decimal without trailing zeros, as counters store it; with an exponent only beyond 400 digits."""
    if not -400 < value.adjusted() < 400:
        return str(value)
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def to_json(literal: Any) -> Any:
    """The canonical JSON form (see the module's docstring)."""
    if literal is SELF:
        return {MARK: "self"}
    if isinstance(literal, bool | str):
        return literal
    if isinstance(literal, int) and abs(literal) > _SAFE:
        return {MARK: "integer", "v": str(literal)}
    if isinstance(literal, float) and literal.is_integer():
        return {MARK: "number", "v": repr(literal)}
    if isinstance(literal, list | tuple):
        return [to_json(item) for item in literal]
    if isinstance(literal, Mapping):
        return {key: to_json(item) for key, item in literal.items()}
    return literal


def from_json(node: Any) -> Any:
    """The literal behind its canonical JSON form. Raises `Refusal` for a mark that this version does not know."""
    if isinstance(node, list):
        return [from_json(item) for item in node]
    if not isinstance(node, dict):
        return node
    if MARK not in node:
        return {key: from_json(item) for key, item in node.items()}
    mark, value = node[MARK], node.get("v")
    if mark == "self" and node.keys() == {MARK}:
        return SELF
    if mark == "integer" and isinstance(value, str):
        return int(value)
    if mark == "number" and isinstance(value, str):
        return float(value)
    raise Refusal(f"the mark {mark!r} is not known to this version")


def show(value: Any, limit: int = _SHOWN) -> str:
    """A value for a sentence: JSON, shortened to about `limit` characters."""
    if isinstance(value, Slot) or value is SELF:
        return repr(value)
    if isinstance(value, str):
        text = json.dumps(value[: limit + 1], ensure_ascii=False)
    else:
        text = _shown_json(value, limit)
    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _shown_json(value: Any, limit: int) -> str:
    if isinstance(value, list | tuple):
        value = list(value[:limit])
    elif isinstance(value, dict):
        value = dict(sorted(value.items(), key=lambda item: str(item[0]))[:limit])
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**limit:
        return f"an integer of {value.bit_length()} bits"
    try:
        # sorted, so that the sentence is the same when the value comes back from evidence, which keeps no order of keys
        return json.dumps(value, ensure_ascii=False, default=repr, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return f"a {type(value).__name__}"


def listing(values: list[str], *, last: str = "or", most: int = 6) -> str:
    """`a, b or c`, cut after `most`."""
    if len(values) > most:
        return ", ".join(values[:most]) + f" {last} {len(values) - most} more"
    return f" {last} ".join([", ".join(values[:-1]), values[-1]] if len(values) > 1 else values)
