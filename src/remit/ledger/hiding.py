"""Parts of a value that evidence commits to and keeps nowhere: secrets that were marked, or recognised.

```
whole value   {"$remit": "secret", "v": {"by", "commitment", "rule"?, "size"?}}
in a text     {"$remit": "masked", "v": ["text before ", {"by", "commitment", "rule"?}, " text after"]}
commitment    HMAC-SHA-256(HMAC-SHA-256(record key, "secret" + path), JCS(value))
```

What stands there instead is committed to like any other value, so a leaf fixes the secret without holding it. The salt
of a secret is never given away, so who has no record key cannot try guesses.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote

import orjson

from remit.ledger.canonical import canonical
from remit.ledger.salting import commitment, pointer, salt
from remit.ledger.values import TAG, Hidden, placeholder

SHORTEST_ECHO: Final = 4
"""Characters that a secret must have to be looked for inside other text; shorter ones are everywhere by chance."""

_MARKS: Final = (b'"$remit":"secret"', b'"$remit":"masked"')
_INSIDE: Final = frozenset({"tuple", "set"})


def hide(tree: Any, hidden: Iterable[Hidden], record_key: bytes, name: str) -> Any:
    """`tree` with what stands there instead of its hidden parts. The tree itself is not changed."""
    return _Hiding(hidden, record_key, name).walk(tree, ())


class _Hiding:
    def __init__(self, hidden: Iterable[Hidden], record_key: bytes, name: str) -> None:
        self._key = record_key
        self._name = name
        self._at: dict[tuple[str | int, ...], list[Hidden]] = {}
        self._above: set[tuple[str | int, ...]] = set()
        for one in hidden:
            self._at.setdefault(one.path, []).append(one)
            self._above.update(one.path[:length] for length in range(len(one.path)))

    def walk(self, node: Any, path: tuple[str | int, ...]) -> Any:
        found = self._at.get(path)
        if found is not None:
            whole = next((one for one in found if one.span is None), None)
            return self._secret(node, path, whole) if whole is not None else self._masked(node, path, found)
        if path not in self._above:
            return node
        if isinstance(node, list):
            return [self.walk(item, (*path, index)) for index, item in enumerate(node)]
        if not isinstance(node, dict):
            return node
        made: dict[str, Any] = {}
        for key, item in node.items():
            below = (*path, key)
            named = next((one for one in self._at.get(below, ()) if one.key), None)
            made[key if named is None else _other_name(made, named)] = self.walk(item, below)
        return made

    def _said(self, value: Any, path: tuple[str | int, ...], one: Hidden, part: str = "") -> dict[str, Any]:
        place = "secret" + pointer(self._name, *map(str, path)) + part
        said: dict[str, Any] = {"by": one.by, "commitment": commitment(salt(self._key, place), canonical(value))}
        if one.rule is not None:
            said["rule"] = one.rule
        return said

    def _secret(self, node: Any, path: tuple[str | int, ...], one: Hidden) -> dict[str, Any]:
        return {TAG: "secret", "v": self._said(node, path, one)}

    def _masked(self, text: str, path: tuple[str | int, ...], found: list[Hidden]) -> dict[str, Any]:
        parts: list[Any] = []
        at = 0
        for number, (start, end, one) in enumerate(_apart(found, len(text))):
            if start > at:
                parts.append(text[at:start])
            parts.append(self._said(text[start:end], path, one, f"#{number}"))
            at = end
        if at < len(text):
            parts.append(text[at:])
        return {TAG: "masked", "v": parts}


def _other_name(taken: dict[str, Any], one: Hidden) -> str:
    name, number = placeholder(one.rule), 1
    while name in taken:
        number += 1
        name = f"{placeholder(one.rule)} {number}"
    return name


def _apart(found: Iterable[Hidden], length: int) -> Iterator[tuple[int, int, Hidden]]:
    """Spans in order, those that touch each other as one."""
    waiting: tuple[int, int, Hidden] | None = None
    for one in sorted(found, key=lambda one: one.span or (0, 0)):
        start, end = one.span or (0, length)
        if waiting is not None and start <= waiting[1]:
            waiting = (waiting[0], max(waiting[1], end), waiting[2])
            continue
        if waiting is not None:
            yield waiting
        waiting = (start, end, one)
    if waiting is not None:
        yield waiting


# -- what a kept value says of its hidden parts


def hides(content: bytes) -> bool:
    """Whether canonical JSON holds anything that was only committed to."""
    return any(mark in content for mark in _MARKS)


def said_of(tree: Any) -> list[str]:
    """Who hid parts of a value, in a word each, a detector with its rule: `["catalogue", "detector: jwt"]`."""
    return sorted({f"{by}: {rule}" if rule else by for by, rule in _reasons(tree)})


def hidden_names(tree: Any) -> frozenset[str]:
    """The top-level keys of a kept mapping below which something is hidden."""
    if not isinstance(tree, dict) or TAG in tree:
        return frozenset()
    return frozenset(name for name, item in tree.items() if next(_reasons(item), None) is not None)


def is_hidden(tree: Any) -> bool:
    """Whether anything of a kept value is hidden."""
    return next(_reasons(tree), None) is not None


def _reasons(tree: Any) -> Iterator[tuple[str, str | None]]:
    if isinstance(tree, list):
        for item in tree:
            yield from _reasons(item)
    elif isinstance(tree, dict):
        kind = tree.get(TAG)
        parts = [tree["v"]] if kind == "secret" else tree["v"] if kind == "masked" else None
        if parts is None:
            for item in tree.values():
                yield from _reasons(item)
            return
        for part in parts:
            if isinstance(part, dict):
                yield part["by"], part.get("rule")


# -- texts of a value


def texts(tree: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str, bool]]:
    """(path, text, key) of every text in a tree, keys of maps included.

    A text that is part of another encoding, such as bytes or a date, comes with the path of the whole of it.
    """
    if isinstance(tree, str):
        yield path, tree, False
    elif isinstance(tree, list):
        for index, item in enumerate(tree):
            yield from texts(item, (*path, index))
    elif isinstance(tree, dict):
        kind = tree.get(TAG)
        if kind is None:
            for key, item in tree.items():
                yield (*path, key), key, True
                yield from texts(item, (*path, key))
        elif kind in _INSIDE:
            yield from texts(tree["v"], (*path, "v"))
        elif kind == "model":
            yield from texts(tree["v"]["fields"], (*path, "v", "fields"))
        elif kind not in ("secret", "masked"):
            for _, text, _ in texts(tree["v"]):
                yield path, text, False


def is_text_at(tree: Any, path: tuple[str | int, ...]) -> bool:
    """Whether a text itself lies at a path, so that parts of it can be hidden."""
    node = tree
    for step in path:
        node = node[step]
    return isinstance(node, str)


# -- the same secret elsewhere


def spellings(value: Any) -> set[str]:
    """The texts by which a secret value would be recognised in other text: itself, and as URLs and base64 write it."""
    found: set[str] = set()
    for text in _scalars(value):
        if len(text) < SHORTEST_ECHO:
            continue
        raw = text.encode(errors="surrogatepass")
        found |= {text, quote(text, safe=""), orjson.dumps(text).decode()[1:-1] if text.isascii() else text}
        for encoded in (base64.b64encode(raw), base64.urlsafe_b64encode(raw)):
            whole = encoded.decode()
            found |= {whole, whole.rstrip("=")}
    return {text for text in found if len(text) >= SHORTEST_ECHO}


def _scalars(value: Any) -> Iterator[str]:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, str | int | float):
        yield str(value)
    elif isinstance(value, list):
        for item in value:
            yield from _scalars(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key != TAG:
                yield from _scalars(item)


class Echoes:
    """The secrets of one call, to be taken out of whatever else is recorded of it."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = sorted(set(known), key=len, reverse=True)  # the longest first: it may hold a shorter one

    def __bool__(self) -> bool:
        return bool(self._known)

    def scrubbed(self, text: str, instead: str = placeholder()) -> str:
        """A text in which `[secret]` stands instead."""
        for secret in self._known:
            text = text.replace(secret, instead)
        return text

    def hidden_in(self, tree: Any, by: str = "echo") -> tuple[Hidden, ...]:
        """Where a value repeats one of them."""
        found: list[Hidden] = []
        for path, text, key in texts(tree):
            spans = [span for secret in self._known for span in occurrences(text, secret)]
            found += hidden_spans(tree, path, text, key, [(*span, None) for span in spans], by)
        found += [Hidden(path, by) for path, number in _numbers(tree) if number in self._known]
        return tuple(found)


def _numbers(tree: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(tree, int | float) and not isinstance(tree, bool):
        yield path, str(tree)
    elif isinstance(tree, list):
        for index, item in enumerate(tree):
            yield from _numbers(item, (*path, index))
    elif isinstance(tree, dict) and tree.get(TAG) not in ("secret", "masked"):
        for key, item in tree.items():
            yield from _numbers(item, (*path, key))


def occurrences(text: str, part: str) -> Iterator[tuple[int, int]]:
    """Every place of a part in a text."""
    at = text.find(part)
    while at >= 0:
        yield at, at + len(part)
        at = text.find(part, at + 1)


def hidden_spans(
    tree: Any,
    path: tuple[str | int, ...],
    text: str,
    key: bool,
    spans: Iterable[tuple[int, int, str | None]],
    by: str,
) -> list[Hidden]:
    """Spans of a text as hidden parts: the whole value where they cover it, or it is a key or another encoding."""
    found = list(spans)
    if not found:
        return []
    if key:
        return [Hidden(path, by, found[0][2], key=True)]
    if not is_text_at(tree, path) or any(start <= 0 and end >= len(text) for start, end, _ in found):
        return [Hidden(path, by, found[0][2])]
    return [Hidden(path, by, rule, (start, end)) for start, end, rule in found]


__all__ = ["Echoes", "hidden_names", "hide", "hides", "is_hidden", "said_of", "spellings", "texts"]
