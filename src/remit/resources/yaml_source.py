"""Reading YAML so that a file means one thing: the 1.2 core schema, and nothing that hides meaning.

Plain scalars are resolved by the core schema of YAML 1.2.2 (section 10.3.2), not by PyYAML's 1.1 rules:
`yes`, `no`, `on`, `off` and `2026-11-24` are strings, `0o17` is 15, `1e3` is a float, `12:30:00` is a string.

Refused, each with its line: anchors and aliases, tags, directives other than `%YAML 1.2`, several documents,
duplicate keys, keys that are not strings, tabs as indentation, numbers that JSON cannot hold exactly, and
bidirectional control characters (they make a file read other than it is).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import yaml

from remit.errors import GrantError

MAX_CHARACTERS: Final = 1 << 20
MAX_DEPTH: Final = 64
_MAX_DIGITS: Final = 64

Path = tuple[str | int, ...]

_NULL: Final = re.compile(r"\A(?:null|Null|NULL|~|)\Z")
_BOOL: Final = re.compile(r"\A(?:true|True|TRUE|false|False|FALSE)\Z")
_INT: Final = re.compile(r"\A(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
_FLOAT: Final = re.compile(r"\A[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NOT_FINITE: Final = re.compile(r"\A(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")
_HIDDEN: Final = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c\u0085\u2028\u2029\ufeff\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Located:
    """A parsed document: `tree` in plain dicts, lists and scalars, and the line on which each part stands."""

    name: str
    tree: Any
    _lines: Mapping[Path, int] = field(repr=False)

    def line_of(self, path: Iterable[str | int]) -> int:
        """The 1-based line of the key or item at `path`, or of the nearest part above it."""
        wanted = tuple(path)
        while wanted and wanted not in self._lines:
            wanted = wanted[:-1]
        return self._lines.get(wanted, 1)

    def refuse(self, path: Iterable[str | int], sentence: str) -> GrantError:
        """A GrantError that names this source and the line of `path`, for the caller to raise."""
        return _refusal(self.name, self.line_of(path), sentence)


def load_strict(text: str, *, name: str) -> Located:
    """Parse one YAML document strictly; `name` is what refusals call it, usually its path.

    Raises GrantError, "<name>, line <n>: <sentence>", for anything that this module's docstring refuses.
    """
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_CHARACTERS:
        raise _refusal(name, 1, f"has {len(text)} characters; a file here has at most {MAX_CHARACTERS}")
    hidden = _HIDDEN.search(text)
    if hidden is not None:
        line = text.count("\n", 0, hidden.start()) + 1
        raise _refusal(
            name,
            line,
            f"has the character U+{ord(hidden[0]):04X}, which is invisible or changes how the text around it "
            "reads; remove it, or write it as an escape inside double quotes",
        )
    builder = _Builder(name)
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise _refusal(name, line, _problem(error, text, line)) from error
    except yaml.YAMLError as error:
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position if isinstance(position, int) else 0) + 1
        raise _refusal(name, line, f"is not YAML: {getattr(error, 'reason', error)}") from error
    builder.refuse_tabs(text)
    return builder.finish()


def _problem(error: yaml.MarkedYAMLError, text: str, line: int) -> str:
    rows = _rows(text)
    if line <= len(rows) and "\t" in _indentation(rows[line - 1]):
        return "is indented with a tab; indent with spaces"
    sentence = "is not YAML: " + ", ".join(part for part in (error.context, error.problem) if part)
    if error.problem and "expected ',' or" in error.problem:
        sentence += ' (inside [ ] and { }, text that has { } [ ] or a comma in it stands in "quotes")'
    return sentence


def _rows(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _indentation(row: str) -> str:
    return row[: len(row) - len(row.lstrip(" \t"))]


def _refusal(name: str, line: int, sentence: str) -> GrantError:
    message = f"{name}, line {line}: {sentence}"
    return GrantError(message, problems=[message])


@dataclass(slots=True)
class _Open:
    """A mapping or sequence that the parser is inside of; `key` is a key that still waits for its value."""

    value: dict[str, Any] | list[Any]
    path: Path
    key: str | None = None


class _Builder:
    """Builds the tree from parser events, one frame per open collection, so depth costs no Python stack."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._open: list[_Open] = []
        self._lines: dict[Path, int] = {}
        self._root: Any = None
        self._documents = 0
        self._empty = True
        self._quoted: list[tuple[int, int]] = []

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark is not None else 1
        if isinstance(event, yaml.AliasEvent):
            raise self._refuse(line, f"the alias *{event.anchor} is refused; write the value out")
        if isinstance(event, yaml.DocumentStartEvent):
            self._begin(event, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
        elif isinstance(event, yaml.NodeEvent):
            self._node(event, line)

    def finish(self) -> Located:
        if self._empty:
            raise self._refuse(1, "is empty; it should hold one mapping")
        return Located(self._name, self._root, self._lines)

    def refuse_tabs(self, text: str) -> None:
        """Refuse a tab before the first character of a line, except inside a quoted or block scalar."""
        inside = {number for first, last in self._quoted for number in range(first + 1, last + 1)}
        for number, row in enumerate(_rows(text), start=1):
            blank = _indentation(row)
            if "\t" in blank and blank != row and number not in inside:
                raise self._refuse(number, "is indented with a tab; indent with spaces")

    def _begin(self, event: yaml.DocumentStartEvent, line: int) -> None:
        self._documents += 1
        if self._documents > 1:
            raise self._refuse(line, "starts a second document; a file holds one")
        if event.tags:
            raise self._refuse(line, "the directive %TAG is refused; nothing here has a tag")
        if event.version is not None and tuple(event.version) != (1, 2):
            got = ".".join(str(part) for part in event.version)
            raise self._refuse(line, f"says %YAML {got}; files here are YAML 1.2")

    def _node(self, event: yaml.NodeEvent, line: int) -> None:
        if event.anchor is not None:
            raise self._refuse(line, f"the anchor &{event.anchor} is refused; write the value out")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise self._refuse(line, f"the tag {tag} is refused; plain YAML values are enough")
        frame = self._open[-1] if self._open else None
        if frame is not None and isinstance(frame.value, dict) and frame.key is None:
            self._key(frame, event, line)
        else:
            self._value(frame, event, line)

    def _key(self, frame: _Open, event: yaml.NodeEvent, line: int) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            raise self._refuse(line, "a key is a list or a mapping; keys are strings")
        key = self._scalar(event, line)
        if not isinstance(key, str):
            shown = event.value or "(nothing)"
            raise self._refuse(line, f'the key {shown} is {_kind(key)}; a key is a string: "{event.value}"')
        if key == "<<" and not event.style:
            raise self._refuse(line, "the merge key << is refused; write the keys out")
        assert isinstance(frame.value, dict)
        if key in frame.value:
            first = self._lines[(*frame.path, key)]
            raise self._refuse(line, f"the key {key!r} stands twice (first on line {first}); keep one")
        frame.key = key
        frame.value[key] = None
        self._lines[(*frame.path, key)] = line

    def _value(self, frame: _Open | None, event: yaml.NodeEvent, line: int) -> None:
        path = self._place(frame, line)
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, line)
        else:
            value = {} if isinstance(event, yaml.MappingStartEvent) else []
        if frame is None:
            self._root = value
            self._empty = isinstance(event, yaml.ScalarEvent) and value is None
        elif isinstance(frame.value, list):
            frame.value.append(value)
        else:
            assert frame.key is not None
            frame.value[frame.key] = value
            frame.key = None
        if isinstance(event, yaml.CollectionStartEvent):
            if len(self._open) >= MAX_DEPTH:
                raise self._refuse(line, f"is nested more than {MAX_DEPTH} deep")
            self._open.append(_Open(value, path))

    def _place(self, frame: _Open | None, line: int) -> Path:
        if frame is None:
            self._lines[()] = line
            return ()
        if isinstance(frame.value, list):
            path: Path = (*frame.path, len(frame.value))
            self._lines[path] = line
            return path
        assert frame.key is not None
        return (*frame.path, frame.key)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> str | int | float | bool | None:
        if event.style:
            last = event.end_mark.line + 1 if event.end_mark is not None else line
            self._quoted.append((line, last))
            return str(event.value)
        return self._plain(str(event.value), line)

    def _plain(self, text: str, line: int) -> str | int | float | bool | None:
        if _NULL.match(text):
            return None
        if _BOOL.match(text):
            return text[0] in "tT"
        if _NOT_FINITE.match(text):
            raise self._refuse(line, f"{text} is not a finite number")
        if len(text) > _MAX_DIGITS and (_INT.match(text) or _FLOAT.match(text)):
            raise self._refuse(line, f"a number has {len(text)} characters; at most {_MAX_DIGITS} are read")
        if _INT.match(text):
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        if _FLOAT.match(text):
            return self._float(text, line)
        return text

    def _float(self, text: str, line: int) -> float:
        value = float(text)
        if not math.isfinite(value) or Decimal(repr(value)) != Decimal(text):
            raise self._refuse(line, f"the number {text} cannot be held exactly; it would become {value!r}")
        return value

    def _refuse(self, line: int, sentence: str) -> GrantError:
        return _refusal(self._name, line, sentence)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return "a boolean" if isinstance(value, bool) else "a number"
