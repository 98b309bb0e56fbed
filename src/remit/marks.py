"""What of one call must not be kept, and what people see masked.

```
secret    by catalogue, grant or detector: only committed to; gone from reasons, remedies, accesses, errors and results
redact    by catalogue or grant: kept encrypted, shown as [redacted] until somebody reveals it, which is recorded
```

A mark counts whichever clause admits the call, and on every link of a delegation chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from remit.authority.compile import UNMARKED, CompiledGrant, Marks
from remit.ledger.hiding import Echoes, hidden_names, spellings
from remit.ledger.values import TAG, Encoded, Hidden, placeholder

if TYPE_CHECKING:
    from remit.authority.calls import Decision
    from remit.ledger import Record
    from remit.ledger.payload import Detector
    from remit.resources.entries import ToolEntry

REDACTED: Final = "[redacted]"


@dataclass(frozen=True, slots=True)
class Marked:
    """The marks on one call. `hidden` are arguments of which no sentence may show anything."""

    marks: Marks = UNMARKED
    hidden: frozenset[str] = frozenset()
    echoes: Echoes = Echoes(())  # noqa: RUF009 - it never changes
    redacted: Echoes = Echoes(())  # noqa: RUF009

    def text(self, text: str) -> str:
        """A text that is recorded with the call, or goes out with its refusal, without the call's secrets."""
        if self.redacted:
            text = self.redacted.scrubbed(text, REDACTED)
        return self.echoes.scrubbed(text) if self.echoes else text

    def decision(self, decision: Decision) -> Decision:
        """The same decision in words that hold no secret of the call."""
        if not self.echoes and not self.redacted:
            return decision
        remedy = decision.remedy
        if remedy is not None and remedy.expected is not None:
            remedy = replace(remedy, expected=self.text(remedy.expected))
        return replace(decision, reason=self.text(decision.reason), remedy=remedy)

    def as_record(self) -> dict[str, Any]:
        """The leaf part: names that catalogue and grant mark; empty where they mark none."""
        if not self.marks.secret and not self.marks.redact:
            return {}
        return {"marks": {"secret": sorted(self.marks.secret), "redact": sorted(self.marks.redact)}}


NOTHING: Final = Marked()


def marks_of(known: ToolEntry | None, chain: Sequence[CompiledGrant], tool: str) -> Marks:
    """What the catalogue and every link of the chain mark of a tool's arguments."""
    found = UNMARKED
    if known is not None and (known.secret or known.redact):
        found = Marks(known.secret, known.redact)
    for link in chain:
        own = link.marks(tool)
        if own is not UNMARKED:
            found = found.with_(own)
    return found


def mark(
    marks: Marks, known: ToolEntry | None, encoded: Encoded, injected: Encoded, detector: Detector | None
) -> Marked:
    """Note in the encodings what is hidden of them, and say what that means for everything else about the call."""
    for value in (encoded, injected):
        if not isinstance(value.tree, dict):
            continue
        found = [
            Hidden((name,), "catalogue" if known is not None and name in known.secret else "grant")
            for name in value.tree
            if name in marks.secret
        ]
        if detector is not None:
            found += detector.hidden_in(value)
        value.hidden, value.scanned = tuple(found), True
    if not encoded.hidden and not injected.hidden and not marks.redact:
        return NOTHING if marks is UNMARKED else Marked(marks, marks.secret)
    known_texts = _known(encoded) | _known(injected)
    masked = {name: encoded.tree[name] for name in marks.redact if name in encoded.tree}
    names = {str(one.path[0]) for value in (encoded, injected) for one in value.hidden if one.path}
    return Marked(marks, marks.secret | marks.redact | names, Echoes(known_texts), Echoes(_spelled(masked)))


def _known(encoded: Encoded) -> set[str]:
    found: set[str] = set()
    for one in encoded.hidden:
        node = encoded.tree
        for step in one.path:
            node = node[step]
        if one.span is not None:
            node = node[slice(*one.span)]
        found |= spellings(node)
        if one.key:
            found |= spellings(one.path[-1])
    return found


def _spelled(values: Mapping[str, Any]) -> set[str]:
    return {text for value in values.values() for text in spellings(value)}


# -- what people see


def for_people(record: Record, private: Mapping[str, Any]) -> dict[str, Any]:
    """A record's private values as a person may see them without any further act: secrets and redactions by their name.

    `private` is what `record.disclosed()` gave. Use it for every page, report and export.
    """
    data = record.data
    redact = frozenset(data.get("marks", {}).get("redact", ()))
    shown = {name: named(value) for name, value in private.items()}
    for name in ("arguments", "injected", "defaults"):
        if redact and isinstance(shown.get(name), dict):
            shown[name] = {key: REDACTED if key in redact else item for key, item in shown[name].items()}
    result = data.get("result")
    if "result" in shown and isinstance(result, Mapping) and result.get("redact"):
        shown["result"] = REDACTED
    return shown


def named(tree: Any) -> Any:
    """An encoding in which `[secret]` stands where something was only committed to."""
    if isinstance(tree, list):
        return [named(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    kind = tree.get(TAG)
    if kind == "secret":
        return placeholder(tree["v"].get("rule"))
    if kind == "masked":
        return "".join(part if isinstance(part, str) else placeholder(part.get("rule")) for part in tree["v"])
    return {key: named(item) for key, item in tree.items()}


def marked_names(record: Record, private: Mapping[str, Any]) -> frozenset[str]:
    """The arguments of which no sentence showed anything, as a record has them: marked, or found to hold a secret."""
    marks = record.data.get("marks", {})
    found = {*marks.get("secret", ()), *marks.get("redact", ())}
    return frozenset(found | hidden_names(private.get("arguments")) | hidden_names(private.get("injected")))


__all__ = ["NOTHING", "REDACTED", "Marked", "for_people", "mark", "marked_names", "marks_of", "named"]
