"""A grant as a person would write it: YAML, one clause a block, with a comment for what a line rests on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_PLAIN: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+-]*(?::(?://)?[A-Za-z0-9_./@+-]+)*\Z")
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_PARAMETER: Final = re.compile(r"\$\{[a-z_][a-z0-9_]*\}\Z")
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def scalar(value: Any) -> str:
    """One value. Text that YAML could read as something else stands in quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    if _PLAIN.match(text) and text.lower() not in _WORDS:
        return text
    return quoted(text)


def quoted(text: str) -> str:
    """Text in double quotes, whatever is in it."""
    return f'"{"".join(_character(one) for one in text)}"'


def _character(one: str) -> str:
    if one in _ESCAPES:
        return _ESCAPES[one]
    if one == " " or one.isprintable():
        return one
    code = ord(one)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def flow(node: Any) -> str:
    """A value, list or mapping on one line."""
    if isinstance(node, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {flow(value)}" for key, value in node.items()) + "}"
    if isinstance(node, list | tuple):
        return "[" + ", ".join(flow(item) for item in node) + "]"
    return scalar(node)


def constraint(words: Mapping[str, Any]) -> str:
    """A constraint, as short as it can be said: a bare value, a bare list, or its words."""
    if set(words) == {"any"}:
        return "any"
    if set(words) == {"eq"} and _bare(words["eq"]):
        return scalar(words["eq"])
    if set(words) == {"one_of"} and all(_bare(item) for item in words["one_of"]):
        return flow(words["one_of"])
    return flow(words)


def _bare(value: Any) -> bool:
    return isinstance(value, str | int | float) and value not in ("any", "self", "")


class Writer:
    """Lines at their depth, with comments above them."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def line(self, depth: int, text: str, comment: str | None = None) -> None:
        """One line; its comment behind it where there is room, else above it."""
        whole = "  " * depth + text
        if comment is None:
            self._lines.append(whole)
        elif len(whole) + len(comment) <= 108:
            self._lines.append(f"{whole}  # {_one_line(comment)}")
        else:
            self.comment(depth, comment)
            self._lines.append(whole)

    def comment(self, depth: int, text: str) -> None:
        """A comment of its own."""
        self._lines.append("  " * depth + f"# {_one_line(text)}")

    def text(self) -> str:
        """Everything."""
        return "\n".join(self._lines) + "\n"


def _one_line(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text)


__all__ = ["Writer", "constraint", "flow", "quoted", "scalar"]
