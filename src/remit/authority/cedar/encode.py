"""Arguments as Cedar may see them: nothing that its JSON reader could take for something else.

| argument | in a guardrail |
|---|---|
| string, true, false | String, Bool |
| number | Long when it is whole, else decimal (4 digits after the point); where it is compared as a decimal: decimal |
| list | Set (order and repeats are lost) |
| object | Record |
| null | absent |

What a guardrail compares as a number has to be one.

What has no exact form there (a fifth digit, 2^63, NaN, a lone surrogate, a key `__entity`) is refused, not rounded.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from remit.authority.cedar.reads import RESERVED, Number, Wanted
from remit.authority.literals import exact_decimal
from remit.resources.access import Access

_LONG_MIN: Final = -(2**63)
_LONG_MAX: Final = 2**63 - 1
_DECIMAL_DIGITS: Final = 4
_MAX_DEPTH: Final = 64
_MISSING: Final = object()
_ALL: Final = Wanted(whole=True)


class NotEncodable(Exception):
    """A value that has no exact form in a guardrail. `path` leads to it; the sentence goes on after `is …`."""

    def __init__(self, path: str, sentence: str) -> None:
        super().__init__(f"`{path}` {sentence}")


def record(values: Mapping[str, Any], wanted: Wanted) -> dict[str, Any]:
    """The parts of a mapping that are read, encoded; null and missing ones are absent. Raises `NotEncodable`."""
    if wanted.whole:
        return _record(values, wanted, "", 0)
    found: dict[str, Any] = {}
    for name, part in wanted.parts.items():
        value = values.get(name, _MISSING)
        if value is None or value is _MISSING:
            continue
        kind = type(value)
        if kind is float and part.whole:
            found[name] = number(value, part.number, name)
            continue
        plain = part.whole and (
            (kind is str and part.number is None and value.isascii())
            or (kind is int and part.number != "decimal" and _LONG_MIN <= value <= _LONG_MAX)
        )
        found[name] = value if plain else _part(value, part, name, 1)
    return found


def _part(value: Any, wanted: Wanted, path: str, depth: int) -> Any:
    if wanted.presence_only:
        return True
    if wanted.whole or not isinstance(value, Mapping):
        return _value(value, wanted, path, depth)
    _check_keys(value, path)
    found = {}
    for name, part in wanted.parts.items():
        inner = value.get(name)
        if inner is not None:
            found[name] = _part(inner, part, f"{path}.{name}", depth + 1)
    return found


def _record(values: Mapping[str, Any], wanted: Wanted, path: str, depth: int) -> dict[str, Any]:
    _check_keys(values, path)
    found = {}
    for name, value in values.items():
        if value is not None:
            part = wanted.parts.get(name)
            if part is None:
                part = _ALL
            here = f"{path}.{name}" if path else name
            found[_string(name, here)] = _value(value, part, here, depth + 1)
    return found


def _check_keys(values: Mapping[str, Any], path: str) -> None:
    for name in values:
        if not isinstance(name, str):
            raise NotEncodable(path, "has a key that is no string")
        if name in RESERVED:
            raise NotEncodable(f"{path}.{name}".lstrip("."), "is a name that Cedar keeps for itself")


def _value(value: Any, wanted: Wanted, path: str, depth: int) -> Any:
    if isinstance(value, bool | str):
        if wanted.number is not None:  # Cedar finds "5" == 5 false without an error; a tool may well take both
            raise NotEncodable(path, "is compared as a number, and is none")
        return value if isinstance(value, bool) else _string(value, path)
    if isinstance(value, int | float | Decimal):
        return number(value, wanted.number, path)
    if depth > _MAX_DEPTH:
        raise NotEncodable(path[:80], f"is nested more than {_MAX_DEPTH} deep")
    if isinstance(value, Mapping):
        return _record(value, wanted, path, depth)
    if isinstance(value, list | tuple | set | frozenset):
        element = Wanted(whole=True, number=wanted.number)
        return [_element(item, element, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    raise NotEncodable(path, f"is a {type(value).__name__}, which no guardrail can read")


def _element(value: Any, wanted: Wanted, path: str, depth: int) -> Any:
    if value is None:
        raise NotEncodable(path, "is null, which a set in a guardrail cannot hold")
    return _value(value, wanted, path, depth)


def _string(value: str, path: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NotEncodable(path.encode(errors="replace").decode(), "holds a lone surrogate") from None
    return value


def number(value: int | float | Decimal, compared: Number | None, path: str) -> Any:
    """A number as a Long or an exact decimal. Raises `NotEncodable`."""
    head, _, tail = _plain(value, path).partition(".")  # text: arithmetic would round at 28 digits
    tail = tail.rstrip("0")
    if compared != "decimal" and not tail:
        found = int(head)
        if not _LONG_MIN <= found <= _LONG_MAX:
            raise NotEncodable(path, "does not fit into 64 bits")
        return found
    if len(tail) > _DECIMAL_DIGITS:
        raise NotEncodable(path, f"has more than {_DECIMAL_DIGITS} digits after the point")
    tail = tail.ljust(_DECIMAL_DIGITS, "0")
    if not _LONG_MIN <= int(head + tail) <= _LONG_MAX:
        raise NotEncodable(path, "is too large for a decimal")
    return {"__extn": {"fn": "decimal", "arg": f"{head}.{tail}"}}


def _plain(value: int | float | Decimal, path: str) -> str:
    """The digits of a number, without an exponent."""
    if type(value) is float:
        text = repr(value)
        if "e" not in text and "n" not in text:  # an exponent, nan, inf
            return text
    exact = exact_decimal(value)
    if not exact.is_finite():
        raise NotEncodable(path, "is not a finite number")
    if not exact:
        return "0"
    if abs(exact.adjusted()) > 30:
        raise NotEncodable(path, "has no exact form in a guardrail")
    return format(exact, "f")


def access_facts(access: Access) -> dict[str, Any]:
    """`context.access`: the access, and what can be told from its canonical URI.

    `host` is the part before the path (for `mailto:` the domain), `segments` the parts of the path, decoded, each
    also in lower case, `name` the last of them.
    """
    uri = access.uri
    scheme, _, rest = uri.partition(":")
    if rest.startswith("//"):
        authority, slash, path = rest[2:].partition("/")
        authority, _, _ = authority.partition("?")
        parts = [_decoded(part) for part in path.partition("?")[0].split("/")] if slash else []
        host = _decoded(authority)
    else:
        address = _decoded(rest.partition("?")[0])
        parts, host = [address], address.rpartition("@")[2]
    parts = [part for part in parts if part]
    segments = dict.fromkeys([*parts, *(part.lower() for part in parts)])
    return {
        "action": access.action,
        "uri": uri,
        "kind": scheme,
        "host": host,
        "segments": list(segments),
        "name": parts[-1] if parts else "",
    }


def _decoded(text: str) -> str:
    return urllib.parse.unquote(text) if "%" in text else text


class AccessReader:
    """What is read of one access, ready for JSON.

    Where policies only compare with certain texts, any other text is left out or replaced by one: so a resource that
    nobody has named yet looks like the ones before it, and the answer for those holds for it.
    """

    __slots__ = ("_parts", "_plain", "_wanted")

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._plain = not wanted.whole and all(part.whole and not part.parts for part in wanted.parts.values())
        self._parts = tuple((name, part.among, _other(part.among)) for name, part in wanted.parts.items())

    def read(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """From `access_facts`. Raises `NotEncodable`."""
        if not (self._plain and facts["uri"].isascii() and facts["action"].isascii()):
            return record(facts, self._wanted)
        found: dict[str, Any] = {}
        for name, among, other in self._parts:
            value = facts[name]
            if among is not None:
                if name == "segments":
                    value = [one for one in value if one in among]
                elif value not in among:
                    value = other
            found[name] = value
        return found


def _other(among: frozenset[str] | None) -> str:
    """A text that is none of these."""
    return "-" * (1 + max(map(len, among), default=0)) if among is not None else ""


__all__ = ["AccessReader", "NotEncodable", "access_facts", "number", "record"]
