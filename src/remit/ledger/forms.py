"""Leaves of a form that was seen before, recognised without parsing them: what makes verifying a long log quick.

A leaf that `parse_leaf` accepted is turned into a pattern of the leaves that differ from it only in

- what stands inside plain strings: no quote, backslash, control character, nothing beyond ASCII;
- what plain numbers say: no sign, no leading zero, at most 18 digits;
- the only key of an object with one key, below the keys that the type asks for;

with the same keys in the same order, and id, writer, session, time, `prev` of their own form. `parse_leaf` accepts each
of these as well: it is JSON, canonical, of the same type and version, and has what the type asks for. What a pattern
does not match is parsed as before, so the forms decide how long it takes, and never what is accepted.

Leaves whose `data` says something to the verifier (`TELLING`), and those that bring artefacts, have no form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from remit.ledger.records import MAX_LEAF, ROTATED

TELLING: Final = frozenset({"session.closed", "recorder.started", "recorder.gap", "evidence.erased", ROTATED})
"""Types whose `data` the verifier reads."""

MAX_FORMS: Final = 24
"""Forms that are kept of one type: each that does not match costs a moment."""

MAX_COMPILED: Final = 192
"""Forms that are made at all: making one takes as long as parsing a hundred leaves."""

MAX_SKETCHED: Final = 4_096
"""Leaves that are looked at in the hope of a form. A form is made of the second leaf that has it."""

_CONTROLS: Final = bytes(range(0x20))
_TEXT: Final = '"[^"]*+"'
_NUMBER: Final = "(?:0|[1-9][0-9]{0,17}+)"
_NAME: Final = "[A-Za-z0-9][A-Za-z0-9._:-]{0,127}+"
_TIME: Final = r'"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z"'
_LARGEST: Final = 10**18


class Form(NamedTuple):
    """One form. `fullmatch` gives id and prev; `session` and `private` say whether its leaves have these keys."""

    fullmatch: Callable[[str], re.Match[str] | None]
    session: bool
    private: bool


class Forms:
    """The forms that were met so far, by type. Not for several threads at once."""

    def __init__(self) -> None:
        self.by_type: dict[str, list[Form]] = {}
        """Those that may match, the last one that did first."""
        self._seen: set[str] = set()
        self._compiled = 0

    def learn(self, leaf: Mapping[str, Any]) -> None:
        """Take note of a leaf that `parse_leaf` accepted and whose bytes are `plain`."""
        if leaf["type"] in TELLING or "artefacts" in leaf or leaf["v"] != 1:
            return
        if self._compiled >= MAX_COMPILED or len(self._seen) >= MAX_SKETCHED:
            return
        pattern = _leaf(leaf)
        if pattern not in self._seen:
            self._seen.add(pattern)
            return
        self._compiled += 1
        forms = self.by_type.setdefault(leaf["type"], [])
        forms.insert(0, Form(re.compile(pattern, re.ASCII).fullmatch, "session" in leaf, "private" in leaf))
        del forms[MAX_FORMS:]


def plain(bodies: Sequence[Any]) -> bool:
    """Whether no byte of these leaves is a control character, a backslash or beyond ASCII, and none is too long."""
    try:
        together = b"".join(bodies)
    except TypeError:
        return False
    return (
        together.isascii()
        and b"\\" not in together
        and len(together.translate(None, _CONTROLS)) == len(together)
        and len(max(bodies, key=len, default=b"")) <= MAX_LEAF
    )


def _leaf(leaf: Mapping[str, Any]) -> str:
    parts = []
    for key in sorted(leaf):
        value = leaf[key]
        if key == "id":
            said = f'"({_NAME})"'
        elif key == "prev":
            said = '"([0-9a-f]{64}|)"'
        elif key in ("writer", "session"):
            said = f'"{_NAME}"'
        elif key == "time":
            said = _TIME
        elif key in ("mono", "sseq", "wseq"):
            said = _NUMBER
        elif key in ("type", "v"):
            said = _exactly(value)
        else:
            said = _object(value, of_type=True)  # "data" and "private", which are objects
        parts.append(f'"{key}":{said}')
    return "\\{" + ",".join(parts) + "\\}"


def _object(value: Mapping[str, Any], *, of_type: bool = False) -> str:
    if len(value) == 1 and not of_type:
        [item] = value.values()
        return "\\{" + _TEXT + ":" + _value(item) + "\\}"
    return "\\{" + ",".join(f"{_exactly(key)}:{_value(value[key])}" for key in sorted(value)) + "\\}"


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _TEXT
    if isinstance(value, dict):
        return _object(value)
    if isinstance(value, list):
        return "\\[" + ",".join(map(_value, value)) + "\\]"
    if type(value) is int and 0 <= value < _LARGEST:
        return _NUMBER
    return _exactly(value)


def _exactly(value: Any) -> str:
    return re.escape(orjson.dumps(value).decode())
