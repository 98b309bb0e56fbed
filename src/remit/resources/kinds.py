"""The kinds of argument that a catalogue can read: how one value becomes the text that stands for it in a
URI.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from remit.errors import NotCanonical
from remit.resources.emails import canonical_email
from remit.resources.paths import PLAIN_PATH, canonical_path, canonical_tail, followed, joined
from remit.resources.text import kind_of, shown
from remit.resources.uris import MAX_SEGMENT, WEB_SCHEMES, encode_address, encode_path, encode_segment
from remit.resources.urls import parse_url

KINDS: Final = ("path", "url", "email", "sql", "shell")
MAX_INTEGER_BITS: Final = 256

Convert = Callable[[Any], tuple[str, ...]]
"""One value → the URI texts it stands for: one, or two where a symbolic link is followed. Raises
NotCanonical.
"""

_PLAIN_SEGMENT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._~@:-]*\Z")


def segment(value: Any) -> tuple[str, ...]:
    """A string or integer as exactly one segment; 88 and "88" are the same resource.

    Raises NotCanonical, also for booleans, floats and null, which different tools would write differently.
    """
    if type(value) is str and len(value) <= MAX_SEGMENT and _PLAIN_SEGMENT.match(value):
        return (value,)
    if isinstance(value, str):
        return (encode_segment(str.__str__(value)),)
    if isinstance(value, int) and not isinstance(value, bool):
        if value.bit_length() > MAX_INTEGER_BITS:
            raise NotCanonical(f"got an integer of {value.bit_length()} bits, expected at most {MAX_INTEGER_BITS}")
        return (int.__repr__(value),)
    raise NotCanonical(f"got {kind_of(value)}, expected a string or an integer")


def email(value: Any) -> tuple[str, ...]:
    """One bare address. Raises NotCanonical."""
    return (encode_address(canonical_email(_text(value))),)


def url(value: Any) -> tuple[str, ...]:
    """One web URL, whole and with its query. Raises NotCanonical."""
    return (str(parse_url(_text(value), schemes=WEB_SCHEMES)),)


def url_below(prefix: str) -> Convert:
    """A path, with a query or without, below a host that the catalogue names. Raises NotCanonical."""

    def convert(value: Any) -> tuple[str, ...]:
        text = _text(value)
        if not text.startswith("/"):
            raise NotCanonical(f"{shown(text)} is not a path below {prefix}; expected one that starts with /")
        return (str(parse_url(prefix + text, schemes=WEB_SCHEMES)),)

    return convert


def tail(value: Any) -> tuple[str, ...]:
    """A relative path as several segments. Raises NotCanonical."""
    return (encode_path(canonical_tail(_text(value))),)


def path(*, base: str | None, follow: bool, more: bool) -> Convert:
    """An absolute path, or one relative to `base`; with `follow`, a link and its target are two resources.

    `more` says that segments follow in the template, so that the root contributes no slash of its own.
    """

    def plain(value: Any) -> tuple[str, ...]:
        if type(value) is str and len(value) <= MAX_SEGMENT and PLAIN_PATH.match(value):
            return (value,)
        return (_rooted(_absolute(value, base), more),)

    def following(value: Any) -> tuple[str, ...]:
        written = _absolute(value, base)
        real = followed(written)
        found = (written,) if real == written else (written, real)
        return tuple(_rooted(each, more) for each in found)

    return following if follow else plain


def _absolute(value: Any, base: str | None) -> str:
    text = _text(value)
    return canonical_path(text) if base is None else joined(base, text)


def _rooted(absolute: str, more: bool) -> str:
    return "" if more and absolute == "/" else encode_path(absolute)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise NotCanonical(f"got {kind_of(value)}, expected a string")
    return str.__str__(value)
