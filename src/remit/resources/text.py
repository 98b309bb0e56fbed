"""Text and numbers that can be read in one way only: encodable, in NFC, without invisible characters;
finite.
"""

from __future__ import annotations

import math
import re
import unicodedata
from decimal import Decimal
from typing import Any, Final

from remit.errors import NotCanonical

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_ASCII_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")
_ESCAPE: Final = re.compile(r"%(?:[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})")
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_SHOWN: Final = 80


def is_encodable(text: str) -> bool:
    """Whether `text` can be written as UTF-8: it has no lone surrogate."""
    return text.isascii() or _SURROGATE.search(text) is None


def require_encodable(text: str) -> str:
    """`text` itself, if it can be written as UTF-8. Raises NotCanonical for lone surrogates."""
    if not text.isascii():
        found = _SURROGATE.search(text)
        if found is not None:
            raise NotCanonical(
                f"{shown(text)} has the lone surrogate U+{ord(found[0]):04X} at position {found.start()}; "
                "expected text that can be written as UTF-8"
            )
    return text


def require_nfc(text: str) -> str:
    """`text` itself, if it is encodable and in Unicode normal form C (UAX #15). Raises NotCanonical."""
    if text.isascii():
        return text
    require_encodable(text)
    if not unicodedata.is_normalized("NFC", text):
        raise NotCanonical(
            f"{shown(text)} is not in Unicode normal form C, so its letters could be written in two ways; "
            f"expected {shown(unicodedata.normalize('NFC', text))} in its composed form"
        )
    return text


def require_visible(text: str) -> str:
    """`text` itself, if it is in NFC and has no control, format or line-separator character.

    Zero-width and bidirectional characters are among the refused: a reviewer could not see them. Raises
    NotCanonical.
    """
    if text.isascii():
        found = _ASCII_CONTROL.search(text)
        if found is None:
            return text
        raise _invisible(text, found[0], found.start())
    require_nfc(text)
    for position, character in enumerate(text):
        if unicodedata.category(character) in _INVISIBLE:
            raise _invisible(text, character, position)
    return text


def require_segment(text: str) -> str:
    """`text` itself, if it stays one segment of a path or URI, whoever decodes, trims or normalises it.

    Refused with NotCanonical: the empty string, `.` and `..` (also before a `;`, which some servers cut off),
    a slash or backslash, percent escapes such as `%2e`, white space at either end, what `require_visible`
    refuses, and characters that compatibility normalisation (NFKC) would turn into one of these, such as
    U+FF0F.
    """
    require_visible(text)
    _require_plain(text, text)
    if not text.isascii():
        folded = unicodedata.normalize("NFKC", text)
        if folded != text:
            _require_plain(folded, text)
    return text


def require_number(value: Any) -> int | float | Decimal:
    """`value` itself, if it is a finite number: not a bool, and "12" is not 12. Raises NotCanonical."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise NotCanonical(f"got {kind_of(value)}, expected a number")
    finite = value.is_finite() if isinstance(value, Decimal) else isinstance(value, int) or math.isfinite(value)
    if not finite:
        raise NotCanonical(f"got {value}, expected a finite number")
    return value


def word_set(table: str) -> frozenset[str]:
    """The words of a table that is written as text."""
    return frozenset(table.split())


def shown(text: str) -> str:
    """`text` quoted for a sentence: escapes for whatever is not visible ASCII, at most 80 characters."""
    return ascii(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


def kind_of(value: Any) -> str:
    """What a value is, in the words of JSON where it has any: "a string", "an integer", "null", "a
    Decimal".
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    for kind, name in _KINDS:
        if isinstance(value, kind):
            return name
    return f"a {type(value).__name__}"


_KINDS: Final[tuple[tuple[type | tuple[type, ...], str], ...]] = (
    (str, "a string"),
    (int, "an integer"),
    (float, "a number"),
    ((list, tuple), "a list"),
    (dict, "an object"),
)


def _invisible(text: str, character: str, position: int) -> NotCanonical:
    return NotCanonical(
        f"{shown(text)} has the invisible character U+{ord(character):04X} at position {position}; "
        "expected text without control or format characters"
    )


def _require_plain(text: str, original: str) -> None:
    if not text:
        raise NotCanonical("got an empty string, expected at least one character")
    if text.partition(";")[0] in (".", ".."):
        raise NotCanonical(f"{shown(original)} means a directory, here or above; expected a name")
    if "/" in text or "\\" in text:
        raise NotCanonical(f"{shown(original)} has a slash or backslash; expected one segment without")
    if _ESCAPE.search(text):
        raise NotCanonical(
            f"{shown(original)} has a percent escape, which somebody may decode; expected the plain text"
        )
    if text[0].isspace() or text[-1].isspace():
        raise NotCanonical(f"{shown(original)} has white space at an end; expected none")
