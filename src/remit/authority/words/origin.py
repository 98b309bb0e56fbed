"""`from`: where the principal trusts a value to come from.

The task's own text, a binding, a parameter, or the result of an earlier permitted call of the same session. Whole
typed values are compared, never parts of them. What the caller itself had said to the source is no value of the source
(`authority/echoes.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol

import re2

from remit.authority.keys import tool_key
from remit.authority.literals import among, equal_to, is_nfc, listing, show
from remit.authority.refusal import Refusal
from remit.authority.sources import NOTHING_FOUND, Found
from remit.authority.words.base import JSON_KINDS, LIST, NORMAL_TEXT, NUMBERS, TEXT, Check, Fault, Part, Reader, Scope
from remit.authority.words.tokens import tokens
from remit.errors import GrantError

MAX_STEPS: Final = 16
"""Steps of a selector."""

EACH: Final = "*"
"""The step that stands for each item of a list, or each value of a mapping."""

NAMES: Final = "~"
"""The last step that stands for each name in a mapping. Alone it is no RFC 6901, so it hides no member."""

_NAMES_STEP: Final = "\0names"

_KEYS: Final = frozenset({"task", "binding", "parameter", "tool", "arguments", "at", "where", "pattern"})
_KINDS: Final = ("task", "binding", "parameter", "tool")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}\Z")
_MEMORY: Final = 8 << 20


class Source(Protocol):
    """Something that the principal trusts for a value."""

    @property
    def kinds(self) -> frozenset[str]:
        """The JSON types of the values that it may hold."""

    def describe(self) -> str:
        """What it is, to follow "a value from"."""

    def to_json(self) -> Any:
        """Canonical JSON."""

    def test(self, scope: Scope, *, several: bool) -> tuple[Callable[[Any], bool], str]:
        """Whether a value is one of its values, and what to say of the source when it is not."""


@dataclass(frozen=True, slots=True)
class InTask:
    """A whole token of the task's text, or a phrase in quotation marks there."""

    kinds: frozenset[str] = TEXT | NUMBERS

    def describe(self) -> str:
        return "the task's own text"

    def to_json(self) -> Any:
        return {"task": True}

    def test(self, scope: Scope, *, several: bool) -> tuple[Callable[[Any], bool], str]:
        del several
        return among(tokens(scope.task), number=scope.number), ""


@dataclass(frozen=True, slots=True)
class Named:
    """A binding or parameter of the grant."""

    kind: str
    name: str
    kinds: frozenset[str] = frozenset({"string", "integer", "number", "boolean"})

    def describe(self) -> str:
        return f"the grant's {self.kind} {show(self.name)}"

    def to_json(self) -> Any:
        return {self.kind: self.name}

    def test(self, scope: Scope, *, several: bool) -> tuple[Callable[[Any], bool], str]:
        del several
        held = scope.bindings if self.kind == "binding" else scope.parameters
        if self.name not in held:
            raise GrantError(f"`from` names the {self.kind} {self.name!r}, which the grant does not have")
        return equal_to(held[self.name], number=scope.number), ""


@dataclass(frozen=True)
class Selector:
    """Results of earlier calls, and what to take from them.

    `at` is a JSON pointer (RFC 6901) into the result, with `*` for each item and a last `~` for
    the names of a mapping; None takes the whole result. `where`
    bounds members of the mapping that a value was picked from, `arguments` those of the source call. `pattern` (RE2)
    is searched in each text found; its one group is the value.
    """

    tools: tuple[str, ...]
    arguments: Mapping[str, Part]
    at: str | None
    where: Mapping[str, Part]
    pattern: str | None
    kinds: frozenset[str] = JSON_KINDS

    def describe(self) -> str:
        parts = [f"a result of {listing(list(self.tools))}"]
        if self.arguments:
            bounds = [f"`{name}` {bound.describe()}" for name, bound in self.arguments.items()]
            parts.append(f"called with {listing(bounds, last='and')}")
        if self.at is not None:
            parts.append(f"at {self.at}")
        if self.where:
            bounds = [f"`{name}` is {bound.describe()}" for name, bound in self.where.items()]
            parts.append(f"where {listing(bounds, last='and')}")
        if self.pattern is not None:
            parts.append(f"as {self.pattern} finds it")
        return " ".join(parts)

    def to_json(self) -> Any:
        return {
            "tool": list(self.tools),
            "arguments": {name: part.to_json() for name, part in self.arguments.items()} or None,
            "at": self.at,
            "where": {name: part.to_json() for name, part in self.where.items()} or None,
            "pattern": self.pattern,
        }

    @cached_property
    def key(self) -> str:
        """One text per selector: what its findings are known by."""
        return json.dumps(self.to_json(), sort_keys=True, ensure_ascii=False)

    @property
    def steps(self) -> tuple[str, ...]:
        """The pointer's steps, unescaped."""
        return () if self.at is None else steps_of(self.at)

    def test(self, scope: Scope, *, several: bool) -> tuple[Callable[[Any], bool], str]:
        found = scope.sources.get(self.key, NOTHING_FOUND)
        if not several and found.distinct != 1:
            return _never, _lacking(found)
        if not found.values:
            return _never, _lacking(found)
        return among(tuple(each.value for each in found.values), number=scope.number), ""


def _never(value: Any) -> bool:
    del value
    return False


def _lacking(found: Found) -> str:
    if found.lack == "own_words":
        return "; what is there so far was put there by this session's own calls"
    if found.lack == "too_many":
        return "; there is more to look through than a decision may take"
    if found.distinct == 0:
        return "; no result so far has one"
    if found.distinct == 1:
        return ""
    return f"; the results so far have {found.distinct} different ones, so none is meant"


@dataclass(frozen=True, slots=True)
class From:
    """`from`: the one value that the source has. Inside `each`, any one of its values."""

    source: Source
    several: bool
    name: str = "from"

    @property
    def kinds(self) -> frozenset[str]:
        return self.source.kinds

    def describe(self) -> str:
        return f"{'a' if self.several else 'the'} value from {self.source.describe()}"

    def to_json(self) -> Any:
        return self.source.to_json()

    def compile(self, scope: Scope) -> Check:
        test, lacking = self.source.test(scope, several=self.several)
        expected = self.describe() + lacking

        def check(value: Any) -> Fault | None:
            if not test(value):
                return Fault((), value, expected)
            return None if type(value) is not str or is_nfc(value) else Fault((), value, NORMAL_TEXT)

        return check


@dataclass(frozen=True, slots=True)
class OneOfSource:
    """`one_of: {from: …}`: any one of the values that the source has."""

    source: Source
    name: str = "one_of"

    @property
    def kinds(self) -> frozenset[str]:
        return self.source.kinds

    def describe(self) -> str:
        return From(self.source, True).describe()

    def to_json(self) -> Any:
        return {"from": self.source.to_json()}

    def compile(self, scope: Scope) -> Check:
        return From(self.source, True).compile(scope)


@dataclass(frozen=True, slots=True)
class SubsetOfSource:
    """`subset: {from: …}`: a list of nothing but values that the source has. The empty list is one."""

    source: Source
    name: str = "subset"
    kinds: frozenset[str] = LIST

    def describe(self) -> str:
        return f"a list of values from {self.source.describe()}, or an empty one"

    def to_json(self) -> Any:
        return {"from": self.source.to_json()}

    def compile(self, scope: Scope) -> Check:
        judge, expected = From(self.source, True).compile(scope), self.describe()

        def check(value: Any) -> Fault | None:
            if type(value) is not list:
                return Fault((), value, expected)
            for index, item in enumerate(value):
                fault = judge(item)
                if fault is not None:
                    return fault._replace(path=(index,))
            return None

        return check


# -- reading


def is_source(node: Any) -> bool:
    """Whether this is the bound of a word that takes its values from a source: `{from: …}`."""
    return isinstance(node, Mapping) and set(node) == {"from"}


def read_source(node: Any, reader: Reader) -> Source:
    """Read what stands after `from:`. Raises `Refusal`."""
    if reader.sourced:
        raise Refusal("`from` cannot stand inside the bounds of another source")
    given = reader.mapping(_pruned(node), _KEYS)
    kinds = [kind for kind in _KINDS if kind in given]
    if len(kinds) != 1:
        raise Refusal(f"names {listing(kinds, last='and') or 'no source'}; expected one of {listing(list(_KINDS))}")
    kind = kinds[0]
    if kind != "tool" and len(given) > 1:
        other = min(given.keys() - {kind})
        raise Refusal(f"`{other}` goes with `tool`, not with `{kind}`", other)
    if kind == "task":
        if given["task"] is not True:
            raise Refusal(f"task takes true, got {show(given['task'])}", "task")
        return InTask()
    if kind in ("binding", "parameter"):
        name = given[kind]
        if not isinstance(name, str) or not name:
            raise Refusal(f"got {show(name)}, expected the name of a {kind}", kind)
        return Named(kind, name)
    return _selector(given, reader)


def read_from(node: Any, reader: Reader) -> From:
    """Read the word `from`."""
    return From(read_source(node, reader), reader.several)


def _pruned(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: value for key, value in node.items() if value is not None}
    return node


def _selector(given: Mapping[str, Any], reader: Reader) -> Selector:
    at, pattern = given.get("at"), given.get("pattern")
    if at is not None:
        if not isinstance(at, str):
            raise Refusal(f"got {show(at)}, expected a JSON pointer such as /participants/*", "at")
        _at("at", steps_of, at)
    where = _bounds(given, "where", reader)
    if where and at is None:
        raise Refusal("`where` bounds the mapping that a value is picked from, so it needs `at`", "where")
    if pattern is not None:
        _at("pattern", compiled_pattern, pattern)
    return Selector(_tools(given["tool"]), _bounds(given, "arguments", reader), at, where, pattern)


def _at(step: str, read: Callable[[Any], Any], value: Any) -> None:
    try:
        read(value)
    except Refusal as refusal:
        raise refusal.below(step) from None


def _tools(node: Any) -> tuple[str, ...]:
    wanted = node if isinstance(node, list) else [node]
    found: list[str] = []
    for text in wanted:
        try:
            if not isinstance(text, str):
                raise GrantError(f"got {show(text)}, expected a tool")
            if text.endswith(".*"):
                raise GrantError(f"{text!r}: a source is one tool, or a list of them; name each")
            key = tool_key(text)
        except GrantError as error:
            raise Refusal(str(error), "tool") from None
        if key in found:
            raise Refusal(f"{text!r} stands twice in the list", "tool")
        found.append(key)
    if not found:
        raise Refusal("the list is empty, so nothing could be a source", "tool")
    return tuple(found)


def _bounds(given: Mapping[str, Any], word: str, reader: Reader) -> dict[str, Part]:
    node = given.get(word)
    if node is None:
        return {}
    if not isinstance(node, Mapping) or not node:
        raise Refusal(f"got {show(node)}, expected a mapping of name to constraint", word)
    inner = reader.inside_source()
    return {name: inner.constraint(bound, word, name) for name, bound in node.items()}


def steps_of(pointer: str) -> tuple[str, ...]:
    """The steps of a JSON pointer. Raises `Refusal`."""
    if not pointer.startswith("/"):
        raise Refusal(f"{pointer!r} is no JSON pointer: it begins with /, such as /participants/*")
    found = []
    steps = pointer[1:].split("/")
    for place, step in enumerate(steps):
        if step == NAMES and place == len(steps) - 1:
            found.append(_NAMES_STEP)
            continue
        if re.search(r"~(?![01])", step):
            raise Refusal(f"{pointer!r}: after ~ a JSON pointer has 0 (for ~) or 1 (for /)")
        found.append(step.replace("~1", "/").replace("~0", "~"))
    if len(found) > MAX_STEPS:
        raise Refusal(f"{pointer!r} has more than {MAX_STEPS} steps")
    return tuple(found)


def is_names(step: str) -> bool:
    """Whether a step stands for the names in a mapping."""
    return step == _NAMES_STEP


def is_index(step: str) -> bool:
    """Whether a step can pick an item of a list."""
    return _INDEX.match(step) is not None


_patterns: dict[str, Any] = {}


def compiled_pattern(pattern: Any) -> Any:
    """A pattern of RE2, which takes linear time. Raises `Refusal` unless it has exactly one group."""
    if not isinstance(pattern, str):
        raise Refusal(f"got {show(pattern)}, expected a pattern with one (group)")
    found = _patterns.get(pattern)
    if found is None:
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _MEMORY
        try:
            found = re2.compile(pattern, options)
        except re2.error as error:
            said = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error.args[0])
            raise Refusal(
                f"the pattern {show(pattern)} is refused: {said}. Patterns here are those of RE2, which takes linear "
                "time and so has no look-around and no back-references"
            ) from None
        if found.groups != 1:
            raise Refusal(
                f"the pattern {show(pattern)} has {found.groups} groups; expected one, around the value (write (?:…) "
                "for a group that is not the value)"
            )
        if len(_patterns) > 256:
            _patterns.clear()
        _patterns[pattern] = found
    return found
