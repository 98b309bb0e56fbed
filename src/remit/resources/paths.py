"""Absolute POSIX paths in one spelling. What is refused is never rewritten: the tool gets the text that was
judged.

Whether a name is a symbolic link is not visible in text. Where Remit and the tool share a file system, a
catalogue entry with `symlinks: follow` has both the name and its target judged (`followed`); elsewhere that
stays the tool's duty (`openat2` with `RESOLVE_BENEATH`).
"""

from __future__ import annotations

import os
import re
from typing import Final

from remit.errors import NotCanonical
from remit.resources.text import require_encodable, require_segment, shown

MAX_BYTES: Final = 4096
"""PATH_MAX of Linux."""

_QUOTES: Final = frozenset("\"'")
PLAIN_PATH: Final = re.compile(r"(?:/\.?[A-Za-z0-9_][A-Za-z0-9._@-]*)+\Z")
"""Paths that are canonical at first sight, and that a URI takes as they are."""


def canonical_path(text: str) -> str:
    """`text` itself, if it is an absolute path that everybody reads alike.

    Raises NotCanonical for: a relative path, `.` and `..`, `//` and a trailing `/`, backslashes, control and
    invisible characters, anything but NFC, percent escapes (`%2e`, `%2f`, `%5c`, `%25`, …), a segment that
    starts with `~`, white space at the ends of a segment, and more than 4,096 bytes.
    """
    if len(text) <= MAX_BYTES and PLAIN_PATH.match(text):
        return text
    if not text.startswith("/"):
        raise NotCanonical(f"{shown(text)} is not an absolute path; expected one that starts with /")
    _require_bounds(text)
    if text != "/":
        for segment in text[1:].split("/"):
            _require_path_segment(segment, text)
    return text


def canonical_tail(text: str) -> str:
    """`text` itself, if it is a relative path of one or more segments, each as `canonical_path` wants them.

    Raises NotCanonical, also for a leading slash.
    """
    if text.startswith("/"):
        raise NotCanonical(f"{shown(text)} is absolute; expected a path relative to its root, without a leading /")
    _require_bounds(text)
    for segment in text.split("/"):
        _require_path_segment(segment, text)
    return text


def joined(base: str, text: str) -> str:
    """The absolute path that `text` names for a tool that runs in `base`; an absolute `text` stays itself.

    A bare `.` is `base`. `base` is canonical already. Raises NotCanonical as `canonical_path` does.
    """
    if text.startswith("/"):
        return canonical_path(text)
    if text == ".":
        return base
    tail = canonical_tail(text)
    return canonical_path(f"/{tail}" if base == "/" else f"{base}/{tail}")


def followed(path: str) -> str:
    """Where `path` leads on this machine now, every symbolic link followed; parts that do not exist stay as
    written.

    Raises NotCanonical when the file system cannot be asked, or what it answers is not canonical itself.
    """
    try:
        real = os.path.realpath(path)
    except (OSError, ValueError) as error:
        raise NotCanonical(f"{shown(path)} cannot be followed to its target: {error}") from error
    return canonical_path(real)


def under(path: str, root: str) -> bool:
    """Whether `path` is `root` or lies below it, segment by segment: `/srv/acmeX` is not under `/srv/acme`.

    Both are canonical already.
    """
    return path == root or root == "/" or path.startswith(root + "/")


def _require_bounds(text: str) -> None:
    if text[:1] in _QUOTES or text[-1:] in _QUOTES:
        raise NotCanonical(f"{shown(text)} has a quotation mark at an end, which some tools strip; expected none")
    require_encodable(text)
    size = len(text.encode())
    if size > MAX_BYTES:
        raise NotCanonical(f"a path of {size} bytes is too long; expected at most {MAX_BYTES}")


def _require_path_segment(segment: str, whole: str) -> None:
    try:
        require_segment(segment)
    except NotCanonical as error:
        if not segment:
            raise NotCanonical(
                f"{shown(whole)} has an empty segment (a double or trailing slash); expected it without"
            ) from None
        raise NotCanonical(f"the path {shown(whole)} is refused: {error}") from None
    if segment.startswith("~"):
        raise NotCanonical(f"{shown(whole)} has a segment that starts with ~, which a shell would expand")
