"""Recognising secrets by their shape: keys of cloud providers, tokens, private keys, passwords in URLs.

The rules are those of Kingfisher's scanner (`kingfisher-secret-scanner`), which runs inside the process, asks nobody
and verifies nothing. Its medium and high confidence rules are taken: shapes that are somebody's, not mere randomness.
"""

from __future__ import annotations

import json
import os
import threading
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from remit.errors import UsageError
from remit.ledger.hiding import hidden_spans, occurrences, texts
from remit.ledger.values import Encoded, Hidden, placeholder

if TYPE_CHECKING:
    from kingfisher_sdk import Finding, Scanner

BY: Final = "detector"

PACKAGE: Final = "kingfisher-secret-scanner"

SHORTEST: Final = 8
"""Bytes below which no rule has a shape."""


class Span(NamedTuple):
    """A secret in a text: which characters, and by which rule."""

    start: int
    end: int
    rule: str


class ShapeDetector:
    """Finds secrets of known shape. One is enough for a process; it may be used by several threads."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner

    def hidden_in(self, encoded: Encoded) -> tuple[Hidden, ...]:
        """Where a value holds secrets. The whole of it is looked through first, which is enough for most."""
        content = encoded.canonical
        if len(content) < SHORTEST:
            return ()
        found = self._scanner.scan(content)
        return self._places(encoded.tree, found) if any(one.visible for one in found) else ()

    def spans(self, text: str) -> list[Span]:
        """The secrets in one text."""
        if len(text) < SHORTEST:
            return []
        raw = text.encode(errors="replace")
        found = [one for one in self._scanner.scan(raw) if one.visible]
        return [_span(text, raw, one) for one in found]

    def scrubbed(self, text: str) -> str:
        """A text in which `[secret: RULE]` stands instead of each."""
        for start, end, rule in reversed(_disjoint(self.spans(text))):
            text = text[:start] + placeholder(rule) + text[end:]
        return text

    def _places(self, tree: Any, found: list[Finding]) -> tuple[Hidden, ...]:
        # A rule may need two texts, such as a key id and the key: what it found is looked for in each.
        known = {text: one.rule_id for one in found if (text := _unescaped(one.secret))}
        places: list[Hidden] = []
        for path, text, key in texts(tree):
            spans: list[tuple[int, int, str | None]] = [*self.spans(text)]
            for secret, rule in known.items():
                spans += [(start, end, rule) for start, end in occurrences(text, secret)]
            places += hidden_spans(tree, path, text, key, spans, BY)
        if places:
            return tuple(places)
        rule = next(one.rule_id for one in found if one.visible)
        # Something is here, and not in one text: then nothing of the value is kept.
        if isinstance(tree, dict) and "$remit" not in tree:
            return tuple(Hidden((name,), BY, rule) for name in tree)
        return (Hidden((), BY, rule),)


def _span(text: str, raw: bytes, one: Finding) -> Span:
    if one.is_base64_encoded:
        return Span(0, len(text), one.rule_id)
    start, end = one.location["start_offset"], one.location["end_offset"]
    if not text.isascii():
        start, end = (len(raw[:at].decode(errors="replace")) for at in (start, end))
    return Span(start, end, one.rule_id)


def _disjoint(spans: list[Span]) -> list[Span]:
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.start <= found[-1].end:
            found[-1] = Span(found[-1].start, max(found[-1].end, span.end), found[-1].rule)
        else:
            found.append(span)
    return found


def _unescaped(secret: str | None) -> str:
    if not secret or "\\" not in secret:
        return secret or ""
    try:
        return str(json.loads(f'"{secret}"'))
    except ValueError:
        return secret


_lock = threading.Lock()
_loaded: ShapeDetector | None = None


def load() -> ShapeDetector:
    """The detector of this process, loaded once: its compiled rules are kept in the user's cache (`KF_RULE_CACHE_DIR`).

    Raises `UsageError` when the library does not load.
    """
    global _loaded
    if _loaded is None:
        with _lock:
            if _loaded is None:
                _loaded = _load()
    return _loaded


def described() -> str:
    """The library and its version, as `config.changed` records it."""
    return f"{PACKAGE} {version(PACKAGE)}"


def _load() -> ShapeDetector:
    try:
        from kingfisher_sdk import Rules, Scanner

        return ShapeDetector(Scanner(Rules(confidence="medium")))
    except Exception as error:
        raise UsageError(
            f"the rules that recognise secrets cannot be loaded ({type(error).__name__}: {error}); install {PACKAGE}, "
            "or open with privacy=remit.Privacy(detect=False), which is recorded"
        ) from error


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)

__all__ = ["ShapeDetector", "Span", "described", "load"]
