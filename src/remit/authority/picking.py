"""Finding the values that `from` points at: among the earlier calls of a session, as their records have them.

A pure function of those calls. Its answer is given to the decision as `CallView.sources` and recorded with it, so that
a decision can be taken again when the results themselves are erased.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

from remit.authority.echoes import Said
from remit.authority.sources import NOTHING_FOUND, Found, Sourced, same_key
from remit.authority.words.base import Check, Scope
from remit.authority.words.origin import EACH, Selector, compiled_pattern, is_index, is_names

MAX_VALUES: Final = 1_000
"""Values that one selector may find in all its results together."""

MAX_PLACES: Final = 50
"""Places of one value in one result that are looked at."""

MAX_RESULTS: Final = 200
"""Results that one selector looks through: the latest ones."""

MAX_TEXT: Final = 1 << 20
"""Characters that a pattern is searched in, over all results."""

MAX_WRITERS: Final = 100_000
"""Earlier calls that are gone through for all results together. Beyond it nothing counts as found."""

READING: Final = frozenset({"read", "list", "stat", "search"})
"""Actions that leave nothing behind."""

STAYING: Final = READING | {"write", "create", "update", "append", "delete", "move", "ddl", "admin"}
"""Actions that touch what their URI names and nothing else. Any other, such as `send`, may land anywhere."""


@dataclass
class EarlierCall:
    """One earlier call of the session: what it was given, what it touched, and what came of it.

    `begun` and `ended` are indexes in the log. `arguments` is None when they were erased. `result` reads the recorded
    result (a tuple of it), or gives None when there is none to be had.
    """

    call: str
    tool: str
    arguments: Mapping[str, Any] | None
    accesses: tuple[str, ...]
    read_only: bool
    permitted: bool
    begun: int
    ended: int | None = None
    status: str | None = None
    record: str | None = None
    result: Callable[[], tuple[Any] | None] = field(default=lambda: None)

    @cached_property
    def said(self) -> Said:
        """What its arguments hold."""
        if self.arguments is None:
            return Said((), everything=True)
        return Said((dict(self.arguments),))

    def may_write(self, source: EarlierCall) -> bool:
        """Whether this call may have left something where `source` read.

        By what the catalogue says that both touch; where it says nothing, any tool that is not known to only read.
        """
        if self is source or source.ended is None or self.begun > source.ended or self.status == "not_run":
            return False
        if not self.accesses:
            return not self.read_only
        for access in self.accesses:
            action, _, uri = access.partition(" ")
            if action in READING:
                continue
            if action not in STAYING or not source.accesses or any(_overlap(uri, one) for one in source.accesses):
                return True
        return False


def _overlap(uri: str, access: str) -> bool:
    other = access.partition(" ")[2]
    one, two = uri.rstrip("/"), other.rstrip("/")
    return one == two or one.startswith(f"{two}/") or two.startswith(f"{one}/")


class Picker:
    """A selector with the checks of its bounds compiled."""

    __slots__ = ("arguments", "key", "selector", "where")

    def __init__(self, selector: Selector, scope: Scope) -> None:
        self.selector = selector
        self.key = selector.key
        self.arguments = _checks(selector.arguments, scope)
        self.where = _checks(selector.where, scope)

    def find(self, earlier: Sequence[EarlierCall], used: frozenset[Any]) -> Found:
        """What the earlier calls hold for this selector; of the values, those in `used` (keys of `sources.same_key`)
        are kept."""
        fitting = [call for call in earlier if self._fits(call)][-MAX_RESULTS:]
        if not fitting:
            return NOTHING_FOUND
        budget = _Budget()
        distinct: set[Any] = set()
        kept: dict[Any, Sourced] = {}
        own = False
        try:
            for call in fitting:
                counted, mine = self._of(call, earlier, distinct, budget)
                own = own or mine
                for key, value in counted.items():
                    distinct.add(key)
                    if key in used and key not in kept:
                        assert call.record is not None
                        kept[key] = Sourced(value, call.record)
                    budget.value(len(distinct))
        except _TooMany:
            return Found(0, (), "too_many")
        if not distinct:
            return Found(0, (), "own_words" if own else "no_result")
        return Found(len(distinct), tuple(kept.values()))

    def _fits(self, call: EarlierCall) -> bool:
        if call.tool not in self.selector.tools or call.status != "ok" or not call.permitted or call.record is None:
            return False
        if call.arguments is None:
            return False
        return _holds(self.arguments, call.arguments)

    def _of(
        self, call: EarlierCall, earlier: Sequence[EarlierCall], known: set[Any], budget: _Budget
    ) -> tuple[dict[Any, Any], bool]:
        """(values of one result by key, without those known from others; whether any was left out as the caller's)."""
        result = call.result()
        if result is None:
            return {}, False
        found: dict[Any, list[tuple[Any, Any]]] = {}
        for value, beside in self._values(result[0], budget):
            key = same_key(value)
            if key in known:
                continue
            places = found.setdefault(key, [])
            if len(places) < MAX_PLACES:
                places.append((value, beside))
            budget.value(len(found))
        if not found:
            return {}, False
        writers = [other for other in earlier if other.may_write(call)]
        budget.writers(len(writers))
        said = Said.together(writer.said for writer in writers)
        counted = {}
        for key, places in found.items():
            value = places[0][0]
            if call.said.holds(value) or said.holds(value):
                continue
            # a place that fits only because the session called it so is not the place that was meant
            if any(not said.holds(beside) for _, beside in places):
                counted[key] = value
        return counted, len(counted) < len(found)

    def _values(self, result: Any, budget: _Budget) -> Iterator[tuple[Any, Any]]:
        """(value, the members beside it that `where` looked at)."""
        selector = self.selector
        root = unwrapped(result)
        if selector.at is None:
            picked: Iterator[tuple[Any, Any]] = iter([(root, root if isinstance(root, Mapping) else None)])
        else:
            picked = _walk(parsed(root), selector.steps, None)
        for value, around in picked:
            if self.where and (not isinstance(around, Mapping) or not _holds(self.where, around)):
                continue
            beside = [around[name] for name, _, _ in self.where if name in around] if self.where else None
            if selector.pattern is not None:
                for captured in _captured(selector.pattern, value, budget):
                    yield captured, beside
            elif _comparable(value):
                yield value, beside


class _TooMany(Exception):
    """There is more than a decision may look through."""


class _Budget:
    """What one selector may still look at."""

    def __init__(self) -> None:
        self._text = MAX_TEXT
        self._writers = MAX_WRITERS

    def writers(self, count: int) -> None:
        self._writers -= count
        if self._writers < 0:
            raise _TooMany

    def text(self, length: int) -> None:
        self._text -= length
        if self._text < 0:
            raise _TooMany

    def value(self, count: int) -> None:
        if count > MAX_VALUES:
            raise _TooMany


def _checks(bounds: Mapping[str, Any], scope: Scope) -> tuple[tuple[str, Check, bool], ...]:
    return tuple((name, part.compile(scope), part.optional) for name, part in bounds.items())


def _holds(checks: Iterable[tuple[str, Check, bool]], members: Mapping[str, Any]) -> bool:
    for name, check, optional in checks:
        if name not in members:
            if not optional:
                return False
        elif check(members[name]) is not None:
            return False
    return True


def _walk(node: Any, steps: tuple[str, ...], around: Any) -> Iterator[tuple[Any, Any]]:
    """(value, the nearest mapping above it) for every place that the steps lead to."""
    if not steps:
        yield node, around
        return
    step, rest = steps[0], steps[1:]
    if isinstance(node, Mapping):
        if is_names(step):
            for name in node:
                yield name, around if around is not None else node
        elif step == EACH:
            for item in node.values():
                yield from _walk(item, rest, node)
        elif step in node:
            yield from _walk(node[step], rest, node)
    elif isinstance(node, list | tuple):
        if step == EACH:
            for item in node:
                yield from _walk(item, rest, around)
        elif is_index(step) and int(step) < len(node):
            yield from _walk(node[int(step)], rest, around)


def _captured(pattern: str, value: Any, budget: _Budget) -> Iterator[str]:
    if type(value) is not str:
        return
    budget.text(len(value))
    count = 0
    for match in compiled_pattern(pattern).finditer(value):
        text = match.group(1)
        if text:
            count += 1
            budget.value(count)
            yield text


def _comparable(value: Any) -> bool:
    """Whether a value can be what an argument is: JSON all through, not null, and not the empty text."""
    if type(value) is str:
        return value != ""
    return value is not None and _json(value, 0)


def _json(value: Any, depth: int) -> bool:
    if value is None or type(value) in (str, int, bool):
        return True
    if type(value) is float or type(value) is Decimal:
        return math.isfinite(value)
    if depth > 32:
        return False
    if type(value) is list:
        return all(_json(item, depth + 1) for item in value)
    return type(value) is dict and all(type(key) is str and _json(item, depth + 1) for key, item in value.items())


# -- what a result is, whoever wrapped it


def unwrapped(result: Any) -> Any:
    """The tool's own answer, out of the object in which a framework carries it.

    An MCP result is its structured content, or the text of its only block; a LangChain message is its content.
    """
    if not isinstance(result, Mapping):
        return result
    if result.keys() == {"$langchain", "v"} and result["$langchain"] == "message":
        inner = result["v"]
        data = inner.get("data") if isinstance(inner, Mapping) else None
        return unwrapped_content(data.get("content")) if isinstance(data, Mapping) else result
    if isinstance(result.get("content"), list) and (
        "structuredContent" in result or "isError" in result or "structured_content" in result or "is_error" in result
    ):
        structured = result.get("structuredContent", result.get("structured_content"))
        return structured if structured is not None else unwrapped_content(result["content"])
    return result


def unwrapped_content(content: Any) -> Any:
    """The text of the only block, where there is one and it is text."""
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], Mapping):
        block = content[0]
        if block.get("type") == "text" and isinstance(block.get("text"), str):
            return block["text"]
    return content


def parsed(root: Any) -> Any:
    """A result that is the text of a JSON list or mapping, as that. Where a name stands twice, it is text."""
    if not isinstance(root, str) or root.lstrip()[:1] not in ("{", "["):
        return root
    try:
        return json.loads(root, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return root


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")
