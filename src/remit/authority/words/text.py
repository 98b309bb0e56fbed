"""`like matches max_len`: the shape and size of text. Comparison is case-sensitive and needs NFC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import SchemaError, SchemaValidator, core_schema

from remit.authority.literals import Slot, is_nfc, show
from remit.authority.refusal import Refusal
from remit.authority.words.base import NORMAL_TEXT, TEXT, Check, Fault, Parse, Reader, Scope, Word


@dataclass(frozen=True, slots=True)
class Like:
    """`like`: text in which each `*` stands for any characters, none included. There is no other mark."""

    pattern: str
    name: str = "like"
    kinds: frozenset[str] = TEXT

    def describe(self) -> str:
        return f"text like {show(self.pattern)} (* is any text)"

    def to_json(self) -> Any:
        return self.pattern

    def compile(self, scope: Scope) -> Check:
        del scope
        first, *rest = self.pattern.split("*")
        expected = self.describe()
        if not rest:
            literal = self.pattern
            return lambda value: None if type(value) is str and value == literal else Fault((), value, expected)
        middle, last = tuple(part for part in rest[:-1] if part), rest[-1]
        shortest = len(first) + len(last) + sum(map(len, middle))

        def holds(value: str) -> bool:
            if len(value) < shortest or not value.startswith(first) or not value.endswith(last):
                return False
            at, end = len(first), len(value) - len(last)
            for part in middle:  # leftmost match is always good enough when * is the only mark: linear time
                found = value.find(part, at, end)
                if found < 0:
                    return False
                at = found + len(part)
            return True

        def check(value: Any) -> Fault | None:
            if type(value) is not str or not holds(value):
                return Fault((), value, expected)
            return None if is_nfc(value) else Fault((), value, NORMAL_TEXT)

        return check


@dataclass(frozen=True, slots=True)
class Matches:
    """`matches`: the whole text matches a regular expression of the Rust `regex` crate, in linear time."""

    pattern: str
    name: str = "matches"
    kinds: frozenset[str] = TEXT

    def describe(self) -> str:
        return f"text that matches {self.pattern} as a whole"

    def to_json(self) -> Any:
        return self.pattern

    def compile(self, scope: Scope) -> Check:
        del scope
        holds = _validator(rf"\A(?:{self.pattern})\z").isinstance_python
        expected = self.describe()

        def check(value: Any) -> Fault | None:
            if type(value) is not str or not holds(value):
                return Fault((), value, expected)
            return None if is_nfc(value) else Fault((), value, NORMAL_TEXT)

        return check


@dataclass(frozen=True, slots=True)
class MaxLength:
    """`max_len`: at most so many characters (code points), items of a list, or keys of a mapping."""

    most: int | Slot
    name: str = "max_len"
    kinds: frozenset[str] = frozenset({"string", "array", "object"})

    def describe(self) -> str:
        return f"at most {show(self.most)} long"

    def to_json(self) -> Any:
        return self.most

    def compile(self, scope: Scope) -> Check:
        del scope
        most = self.most
        assert isinstance(most, int)
        expected = self.describe()

        def check(value: Any) -> Fault | None:
            if type(value) in (str, list, dict):
                size = len(value)
                return None if size <= most else Fault((), value, f"{expected} (this is {size})", size - most)
            return Fault((), value, f"text, a list or a mapping, {expected}")

        return check


def _validator(pattern: str) -> SchemaValidator:
    """One of pydantic-core's: Rust `regex`, no backtracking. Raises `Refusal` for what that engine refuses."""
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, strict=True, regex_engine="rust-regex"))
    except SchemaError as error:
        rows = [row.strip() for row in str(error).splitlines()]
        found = next((row.removeprefix("error: ") for row in rows if row.startswith("error: ")), "it is not accepted")
        raise Refusal(
            f"the pattern {show(pattern)} is refused: {found}. Patterns are those of Rust's regex, which takes linear "
            "time and so has no look-around and no back-references"
        ) from None


def _like(node: Any, reader: Reader) -> Word:
    pattern = reader.text(node)
    if isinstance(pattern, Slot):
        raise Refusal(f"a parameter cannot become a pattern: write {pattern!r} alone, which means exactly that value")
    return Like(pattern)


def _matches(node: Any, reader: Reader) -> Word:
    pattern = reader.text(node)
    if isinstance(pattern, Slot):
        raise Refusal(f"a parameter cannot become a pattern: write {pattern!r} alone, which means exactly that value")
    _validator(pattern)  # on its own first: `a)|(b` would otherwise break out of the group that anchors it
    _validator(rf"\A(?:{pattern})\z")
    return Matches(pattern)


def _max_len(node: Any, reader: Reader) -> Word:
    return MaxLength(reader.count(node))


WORDS: Final[dict[str, Parse]] = {"like": _like, "matches": _matches, "max_len": _max_len}
