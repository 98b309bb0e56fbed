"""Which table is what: evidence that `verify` recomputes, or a read model that the records rebuild."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

VERIFIED: Final = frozenset({"record", "leaf", "checkpoint", "artefact", "payload", "head", "pending"})
"""Evidence, and the head that writers go on from: `remit verify` recomputes them."""

NOT_DERIVABLE: Final[Mapping[str, str]] = {
    "cosignature": "signed by witnesses, so their keys tell whether they are genuine",
    "witness": "what is known of witnesses at this moment; each says it again when it is asked",
}
"""Tables that follow neither from records nor from the log's own key, and why."""

REBUILT: Final = (
    "settings", "people", "grants", "bindings", "requests", "sessions", "tokens", "calls", "touches", "counters",
    "approvals", "tools", "verdicts", "writer",
)  # fmt: skip
"""Read models: every column of every row is told by the records."""

TOLD_BY_TEXT: Final[Mapping[tuple[str, str], str]] = {
    ("calls", "content"): "the arguments of the call",
    ("calls", "tool"): "what a call outside any session asked for",
    ("approvals", "content"): "the arguments that the question is about",
    ("requests", "content"): "the changes that were asked for",
    ("counters", "value"): "the amounts of a sum, or the resources of a limit on different ones",
    ("touches", "touch"): "the resources that the call touched",
}
"""Columns that depend on erasable text, and which: once that is erased, nobody can tell what they should hold."""

NOUNS: Final[Mapping[str, str]] = {
    "settings": "setting",
    "people": "person",
    "grants": "grant",
    "bindings": "binding",
    "requests": "request",
    "sessions": "session",
    "tokens": "used token",
    "calls": "call",
    "touches": "touch",
    "counters": "counter",
    "approvals": "approval",
    "tools": "tool",
    "verdicts": "verdict",
    "writer": "writer",
}
