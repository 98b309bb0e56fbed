"""`${name}` in a template: where a parameter may stand, and what it becomes there.

A parameter goes into the parsed tree, never into text that is parsed afterwards. It stands for

* one whole value (`order: ${order}`), which is then a value whatever its text says: never a pattern, word or key;
* one segment of a resource, of a path under `under`, or of a principal or agent name;
* plain words in `task` and in the reason of an approval.

`$${` writes the two characters `${` themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from remit.authority.literals import Slot, check_literal, show
from remit.authority.names import did_you_mean
from remit.authority.refusal import Path, Refusal
from remit.errors import NotCanonical
from remit.resources.emails import canonical_email
from remit.resources.text import require_segment
from remit.resources.uris import encode_segment

Place = Literal["whole", "words", "name", "uri", "path", "mail"]

_MARK: Final = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_WHOLE: Final = re.compile(r"\$\{([^{}]*)\}\Z")
_NAME: Final = re.compile(r"[A-Za-z0-9._+@~-]{1,200}\Z")
_SAMPLES: Final = {"mail": "x@example.com"}
_NOT_WORDS: Final = frozenset("{}<>`*\\$")
MAX_WORDS: Final = 200
NO_PARAMETERS: Final = frozenset({"template", "parameters", "issue"})
"""Top-level keys that describe the template itself, where a parameter would let its issuer change the rules."""


class Unfilled(str):
    """Text of a template with its placeholders still in it; `sample` has something harmless in their place."""

    __slots__ = ("sample",)
    sample: str

    def __new__(cls, text: str, sample: str) -> Unfilled:
        made = super().__new__(cls, text)
        made.sample = sample
        return made


def sample_of(text: str) -> str:
    """The text to check the form of: the sample of an unfilled one, else the text itself."""
    return text.sample if isinstance(text, Unfilled) else text


def bind(node: Any, slots: Mapping[str, Slot], path: Path = ()) -> Any:
    """The tree with parameters in their places. Raises `Refusal` with the path of what is refused."""
    if isinstance(node, dict):
        found: dict[str, Any] = {}
        for key, value in node.items():
            if "${" in key:
                raise Refusal(f"the key {key!r}: a parameter cannot become a key", *path, key)
            if path or key not in NO_PARAMETERS:
                found[key] = bind(value, slots, (*path, key))
            elif _mentions(value):
                raise Refusal(f"`{key}` describes the template itself, so no parameter can stand in it", key)
            else:
                found[key] = value
        return found
    if isinstance(node, list):
        return [bind(item, slots, (*path, index)) for index, item in enumerate(node)]
    if isinstance(node, str) and "${" in node:
        try:
            return _fill(node, slots, _place(path))
        except Refusal as refusal:
            raise refusal.below(*path) from None
    return node


def _mentions(node: Any) -> bool:
    if isinstance(node, dict):
        return any(_mentions(key) or _mentions(value) for key, value in node.items())
    if isinstance(node, list):
        return any(_mentions(item) for item in node)
    return isinstance(node, str) and "${" in node


def _place(path: Path) -> Place:
    if path == ("task",) or (path[0] == "tools" and path[-2:] == ("approval", "reason")):
        return "words"
    if path in (("principal",), ("agent",)):
        return "name"
    if path[0] == "tools" and len(path) > 2 and path[-2] == "resources":
        return "uri"
    if "limits" in path and "distinct" in path and "resources" in path[-2:]:
        return "uri"
    if path[0] == "tools" and path[-1] == "under":
        return "uri" if path[-2] == "url" else "path"
    return "whole"


def _fill(text: str, slots: Mapping[str, Slot], place: Place) -> Any:
    whole = _WHOLE.match(text)
    if whole is not None:
        slot = _known(whole[1], slots)
        if place == "uri":
            raise Refusal(
                f"{text} alone would become a whole pattern; a parameter is one segment here: "
                "write it after a fixed beginning, such as read crm://tickets/${ticket}"
            )
        if place != "words":
            return slot
    shown: list[str] = []
    sample: list[str] = []
    filled, at = True, 0
    for found in _MARK.finditer(text):
        before = text[at : found.start()]
        at = found.end()
        if found[0] == "$${":
            piece = example = "${"
        elif found[0] == "${":
            raise Refusal("`${` is never closed; write ${name}, or $${ for the characters themselves")
        else:
            slot = _known(found[1], slots)
            _check_segment(text, found, place)
            here: Place = "mail" if place == "uri" and before.endswith(" mailto:") else place
            filled = filled and slot.filled
            piece = _piece(slot, here) if slot.filled else repr(slot)
            example = piece if slot.filled else _SAMPLES.get(here, "0")
        shown += (before, piece)
        sample += (before, example)
    made = "".join(shown) + text[at:]
    return made if filled else Unfilled(made, "".join(sample) + text[at:])


def _known(name: str, slots: Mapping[str, Slot]) -> Slot:
    slot = slots.get(name)
    if slot is None:
        hint = did_you_mean(name, slots) if slots else "; this file has no `parameters:`"
        raise Refusal(f"${{{name}}} is not a parameter{hint} (write $${{ for the characters themselves)")
    return slot


def _check_segment(text: str, found: re.Match[str], place: Place) -> None:
    """A segment is whole: nothing else stands between its slashes. Outside the known places none may stand."""
    if place == "whole":
        raise Refusal(
            f"{found[0]} inside longer text: a parameter stands for a whole value here, "
            "or for one segment of a resource or path, or for words in the task"
        )
    if place in ("uri", "path", "name"):
        before, after = text[: found.start()], text[found.end() :]
        if not before or before[-1] not in "/:" or (after and after[0] not in "/?"):
            raise Refusal(f"{found[0]} is part of a segment; a parameter is a whole one, between two slashes")


def _piece(slot: Slot, place: Place) -> str:
    value = slot.value
    text = value if isinstance(value, str) else show(value)
    if place == "words":
        return _as_words(slot, text)
    if place == "name":
        if _NAME.match(text) and text not in (".", ".."):
            return text
        raise Refusal(
            f"the parameter {slot.name} is {show(value)}; in a name it may have letters, digits and . _ + @ ~ - only"
        )
    try:
        if place == "mail":
            return canonical_email(text)
        return encode_segment(text) if place == "uri" else require_segment(text)
    except NotCanonical as error:
        raise Refusal(f"the parameter {slot.name} cannot be one segment here: {error}") from None


def _as_words(slot: Slot, text: str) -> str:
    if not text.strip() or len(text) > MAX_WORDS or not text.isprintable() or _NOT_WORDS.intersection(text):
        raise Refusal(
            f"the parameter {slot.name} is {show(text)}; in a sentence it is plain words on one line, "
            f"at most {MAX_WORDS} characters, without {' '.join(sorted(_NOT_WORDS))}"
        )
    return text


def names_in(node: Any) -> frozenset[str]:
    """The parameters that a tree mentions."""
    if isinstance(node, dict):
        return frozenset[str]().union(*(names_in(value) for value in node.values()))
    if isinstance(node, list):
        return frozenset[str]().union(*(names_in(item) for item in node))
    if isinstance(node, str):
        return frozenset(found[1] for found in _MARK.finditer(node) if found[1] is not None)
    return frozenset()


def check_value(value: Any, name: str) -> None:
    """Raises `Refusal` unless `value` is one scalar that a template can hold."""
    if not isinstance(value, str | int | float | bool):
        raise Refusal(f"the parameter {name} is {show(value)}; a parameter is one string, number or boolean")
    check_literal(value)
