"""What a person sees: aligned tables of words, never colour alone, within the terminal's width; or JSON."""

from __future__ import annotations

import json
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

WIDTH: Final = 100
"""Columns where the output is no terminal, so that what is piped or kept reads the same everywhere."""

MAX_WIDTH: Final = 140

MARKS: Final[Mapping[str, tuple[str, str]]] = {
    "ok": ("✓", "green"),
    "denied": ("✗", "red"),
    "ask": ("?", "yellow"),
    "approved": ("✓", "cyan"),
    "refused": ("✗", "red"),
    "lapsed": ("-", "dim"),
    "unknown": ("!", "yellow"),
    "tool_error": ("~", "yellow"),
    "exception": ("~", "yellow"),
    "cancelled": ("~", "yellow"),
    "pending": ("…", "yellow"),
    "running": ("…", "cyan"),
    "not_run": ("-", "dim"),
}


def console() -> Console:
    """A console on stdout as it is now."""
    width = min(shutil.get_terminal_size().columns, MAX_WIDTH) if sys.stdout.isatty() else WIDTH
    return Console(width=width, highlight=False, soft_wrap=False)


def show_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def show_line(value: Any) -> None:
    """JSON in one line, at once: for output that goes on."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def state(name: str) -> Text:
    """A state as a mark and a word."""
    mark, style = MARKS.get(name, ("·", ""))
    return Text(f"{mark} {name}", style=style)


def table(columns: Sequence[str | tuple[str, Mapping[str, Any]]], rows: Iterable[Sequence[Any]]) -> Table:
    """A table without rules: a dim heading, then rows. A column may bring options for `rich.table.Column`."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", collapse_padding=True)
    for column in columns:
        name, options = column if isinstance(column, tuple) else (column, {})
        made.add_column(name, **options)
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(_plain(cell)) for cell in row))
    return made


def facts(pairs: Iterable[tuple[str, Any]]) -> Table:
    """Names and values, one pair a line; pairs without a value are left out."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, "", [], {}, ()):
            made.add_row(name, value if isinstance(value, Text) else Text(_plain(value)))
    return made


def indented(content: Any) -> Padding:
    """Content moved two columns to the right, below its heading."""
    return Padding(content, (0, 0, 0, 2))


def bullets(lines: Iterable[str]) -> Table:
    """A list whose longer lines stay to the right of their dash."""
    made = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False)
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for line in lines:
        made.add_row("-", Text(line))
    return made


def heading(text: str) -> Text:
    """A heading within a page."""
    return Text(text, style="bold")


def at(moment: str | datetime | None) -> str:
    """A moment as a person reads it: `2026-11-24 10:02:17 UTC`."""
    if moment is None:
        return ""
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return found.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock(moment: str | datetime | None) -> str:
    """The time of day only, where the date stands above."""
    return at(moment)[11:19]


def arguments(given: Mapping[str, Any] | None, limit: int = 60) -> str:
    """Arguments in one line, long values shortened; erased ones say so."""
    if given is None:
        return "(erased)"
    return ", ".join(
        f"{name}={shorten(json.dumps(value, ensure_ascii=False, default=str), limit)}" for name, value in given.items()
    )


def visible(text: str) -> str:
    """Text with the characters that would not show, or would reorder others, as what they are: `<U+202E>`."""
    return "".join(
        letter if letter in "\n\t" or unicodedata.category(letter)[0] != "C" else f"<U+{ord(letter):04X}>"
        for letter in text
    )


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, the end of a longer text replaced by an ellipsis."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def plural(count: int, word: str, many: str | None = None) -> str:
    """`1 call`, `2 calls`; `many` where the plural is irregular."""
    return f"{count} {word}" if count == 1 else f"{count} {many or word + 's'}"


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={item}" for name, item in value.items())
    return str(value)
