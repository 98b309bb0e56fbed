"""Canonical JSON (RFC 8785): one byte sequence for one value, quickly.

`orjson` writes the same bytes as RFC 8785 for most values, eight times faster than a Python implementation. The gate
below lets a value take that way only where this is certain: no float that the two print differently, no key that sorts
differently by UTF-16 unit and by code point, no type that `orjson` would serialise and JSON cannot say.
"""

from __future__ import annotations

from typing import Any, Final

import orjson
import rfc8785

from remit.errors import Unrepresentable

MAX_SAFE_INTEGER: Final = 2**53 - 1
"""The largest integer that every JSON reader reads exactly (RFC 7493)."""

_ASTRAL: Final = "\U00010000"
_SORTED: Final = orjson.OPT_SORT_KEYS


def canonical(value: Any) -> bytes:
    """The RFC 8785 bytes of a JSON value (str, int up to 2^53-1, finite float, bool, None, list, tuple, dict).

    Raises `Unrepresentable` for anything else: NaN, lone surrogates, larger integers, other types, keys that are not
    text, nesting too deep to serialise. Nothing is normalised: NFC and NFD stay different.
    """
    try:
        if _is_plain(value):
            return orjson.dumps(value, option=_SORTED)
    except (orjson.JSONEncodeError, RecursionError):
        pass  # the slow way below gives the same bytes, or says what is wrong
    return _slowly(value)


def _slowly(value: Any) -> bytes:
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise Unrepresentable(f"not a value of canonical JSON: {error}") from error
    except RecursionError as error:
        raise Unrepresentable("nested too deeply to be written as JSON", code="too_large") from error


def _is_plain(value: Any) -> bool:
    """Whether `orjson` certainly writes the bytes of RFC 8785. Text is not looked into: it refuses lone surrogates."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or not (key.isascii() or max(key) < _ASTRAL):
                return False
            if type(item) is not str and not _is_plain(item):
                return False
        return True
    if kind is list or kind is tuple:
        for item in value:  # noqa: SIM110 - all() with a generator costs twice as much here
            if type(item) is not str and not _is_plain(item):
                return False
        return True
    if kind is float:
        return bool(1e-4 <= abs(value) < 1e15 and not value.is_integer())
    return False
