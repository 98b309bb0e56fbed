"""The pages of a bundle for people: report.html, and README.md that says how to verify with tools that are not ours."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from remit.authority.durations import show_moment
from remit.bundle.gathering import Gathered, Scope
from remit.bundle.story import Call, Party, Story, tell

if TYPE_CHECKING:
    from remit.ledger import Ledger
    from remit.ledger.reading import Record

MOST_SESSIONS: Final = 200
"""Sessions that are told in full; of a larger export the page says how many more there are."""

_BACKTICKS: Final = re.compile(r"`([^`]*)`")

MARKS: Final[Mapping[str, str]] = {
    "ok": "✓ ran",
    "denied": "✗ refused",
    "ask": "? waits for a person",
    "waiting": "? waits for a person",
    "approved": "✓ approved",
    "refused": "✗ refused by a person",
    "lapsed": "– nobody answered in time",
    "unknown": "! outcome unknown",
    "tool_error": "~ ran, the tool reported an error",
    "exception": "~ ran, the tool failed",
    "cancelled": "~ ran, was cancelled",
    "pending": "… goes on",
    "running": "… no outcome here",
    "not_run": "– did not run",
}
"""A state as a mark and words: never colour alone."""


@dataclass(frozen=True, slots=True)
class About:
    """What a bundle is about: of which log, which part, up to which head, under which key."""

    origin: str
    scope: Scope
    size: int
    key: str

    @property
    def what(self) -> str:
        """The scope in words."""
        if self.scope.session is not None:
            return f"session {self.scope.session}"
        if self.scope.whole:
            return f"the whole log of {self.size} records"
        return f"records {self.scope.first} to {self.scope.last}"


def now(ledger: Ledger) -> str:
    """The time by the ledger's clock."""
    return show_moment(ledger.now())


def readme(about: About) -> bytes:
    """README.md."""
    return _pages().get_template("readme.md.j2").render(about=about, whole=about.scope.whole).encode()


def report(
    about: About,
    gathered: Gathered,
    records: Iterable[Record] | None,
    artefacts: Mapping[str, bytes],
    shown: Mapping[int, bytes],
) -> bytes:
    """report.html, from what the bundle itself holds. `records` is None for a whole log."""
    inside = [(index, record.leaf) for index, record in sorted(gathered.records.items())]
    story = tell(inside, artefacts, {index: _values(content) for index, content in shown.items()})
    page = _pages().get_template("report.html.j2")
    told = story.sessions[:MOST_SESSIONS]
    left = len(story.sessions) - len(told)
    return page.render(
        about=about,
        story=story,
        sessions=told,
        left=left,
        records=inside,
        whole=records is None,
        disclosed=len(shown),
    ).encode()


def _values(content: bytes) -> dict[str, Any]:
    return {value["path"]: value["value"] for value in json.loads(content)["values"]}


@cache
def _pages() -> Environment:
    pages = Environment(
        loader=PackageLoader("remit.bundle", "templates"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters.update(
        quoted=_quoted, at=_at, clock=_clock, mark=_mark, text=_text, known=_known, decision=_decision, took=_took
    )
    return pages


def _quoted(sentence: str) -> Markup:
    """A sentence whose `names` stand out. Everything in it is escaped first."""
    return Markup(_BACKTICKS.sub(r"<code>\1</code>", str(escape(sentence))))  # noqa: S704 - escaped above


def _at(moment: str | datetime | None) -> str:
    if moment is None:
        return ""
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return found.astimezone(UTC).strftime("%d %B %Y, %H:%M:%S UTC").lstrip("0")


def _clock(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%H:%M:%S")


def _mark(state: str) -> str:
    return MARKS.get(state, state)


def _text(value: Any) -> str:
    """A value as a person reads it; text without its quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _known(party: Party) -> str:
    """How it is known that it was they."""
    words = {"ed25519": "proved by their key", "token": "proved by their identity provider's token"}
    return words.get(party.method, "proved") if party.authenticated else "claimed, not proved"


def _decision(call: Call) -> str:
    """What was decided, by which rule, in words."""
    line = call.line
    effect = {"permit": "permitted", "deny": "refused", "ask": "put to a person"}[line.effect]
    code = f" ({line.code})" if line.effect == "deny" else ""
    rule = f" by {line.rule.replace('/only', '', 1)}" if line.rule else ""
    return f"{effect}{code}{rule}" + ("" if line.enforced else "; observed only, not enforced")


def _took(microseconds: int) -> str:
    return f"{microseconds / 1000:.1f} ms" if microseconds < 1_000_000 else f"{microseconds / 1_000_000:.1f} s"


__all__ = ["About", "Story", "now", "readme", "report"]
