"""Accesses, (action, resource) pairs that a call would touch, and the patterns that a grant allows them by.

A pattern is `action uri`. In its URI `*` is exactly one segment and `**`, at most once, any number of them,
none included: `read file:///srv/acme/**` is that directory and everything below it. Literal segments may be
written plainly or percent-encoded. Web URLs keep their query: it is matched exactly, `?*` is any query or
none, and a final `**` covers queries too. In `mailto:` the two segments are local part and domain: `send
mailto:*@acme.com`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from remit.errors import GrantError, NotCanonical
from remit.resources.emails import canonical_email
from remit.resources.text import shown
from remit.resources.uris import SCHEME, WEB_SCHEMES, decoded, encode_address, recode_segment
from remit.resources.urls import require_query, require_url_segment, split_authority

ACTION: Final = re.compile(r"[a-z][a-z0-9_-]*\Z")
MAX_PATTERN: Final = 4096


@dataclass(frozen=True, slots=True, order=True)
class Access:
    """One thing that a call would do to one resource. `str()` gives `read crm://tickets/88`."""

    action: str
    uri: str

    @property
    def kind(self) -> str:
        """The scheme of the URI: `crm`, `file`, `https`, `mailto`, …"""
        return self.uri.partition(":")[0]

    def __str__(self) -> str:
        return f"{self.action} {self.uri}"


class Pattern:
    """One line of a clause's `resources`, compiled. Equal when the canonical text is equal."""

    __slots__ = ("_matches", "action", "kind", "query", "segments", "text")

    def __init__(self, action: str, kind: str, segments: tuple[str, ...], query: str | None) -> None:
        """For canonical parts; `parse` is the way from text. `segments` has `*` and `**` for the
        wildcards.
        """
        self.action = action
        self.kind = kind
        self.segments = segments
        self.query = query
        self.text = f"{action} {_uri(kind, segments, query)}"
        self._matches = _compiled(kind, segments, query)

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Read `action uri`. Raises GrantError that says what is wrong and what was expected."""
        try:
            return _parsed(text)
        except NotCanonical as error:
            raise GrantError(f"the resource {shown(text)} is refused: {error}") from error

    def matches(self, access: Access) -> bool:
        """Whether the access is one that this pattern allows."""
        return access.action == self.action and self._matches(access.uri)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Pattern:
    if len(text) > MAX_PATTERN:
        raise NotCanonical(f"it has {len(text)} characters; expected at most {MAX_PATTERN}")
    action, space, uri = text.partition(" ")
    if not space or not ACTION.match(action) or uri != uri.strip() or " " in uri or not uri:
        raise NotCanonical("expected an action word and a URI, such as read crm://tickets/88 (a space is %20)")
    kind, colon, rest = uri.partition(":")
    if not colon or not SCHEME.match(kind):
        raise NotCanonical(f"{shown(uri)} has no scheme; expected a URI such as crm://tickets/88")
    if kind == "mailto":
        return Pattern(action, kind, _mail_segments(rest), None)
    if not rest.startswith("//") or rest == "//":
        raise NotCanonical(f"{shown(uri)} names nothing; expected {kind}://…")
    path, mark, query = rest[2:].partition("?")
    if "#" in rest:
        raise NotCanonical(f"{shown(uri)} has a #, which no resource has; a literal # is %23")
    if mark and kind not in WEB_SCHEMES:
        raise NotCanonical(f"{shown(uri)} has a query, which only web URLs have; a literal ? is %3F")
    segments = _segments(kind, path)
    if mark and query != "*":
        require_query(query)
    if mark and segments[-1] == "**":
        raise NotCanonical("a final ** covers every query already; expected it without ?…")
    return Pattern(action, kind, segments, query if mark else None)


def _segments(kind: str, path: str) -> tuple[str, ...]:
    written = path.split("/")
    if written.count("**") > 1:
        raise NotCanonical("** stands more than once; expected it at most once")
    for segment in written:
        if "*" in segment and segment not in ("*", "**"):
            raise NotCanonical(
                f"{shown(segment)} has a * beside other characters; expected * or ** alone between slashes "
                "(a literal * is %2A)"
            )
    if kind in WEB_SCHEMES:
        return _web_segments(kind, written)
    rooted = len(written) > 1 and not written[0]
    if kind == "file" and not rooted:
        raise NotCanonical("a file URI has three slashes and an absolute path; expected file:///…")
    body = written[1:] if rooted else written
    if "" in body and body != [""]:
        raise NotCanonical("it has an empty segment; for everything below a resource write /** at its end")
    literal = [part if part in ("*", "**", "") else recode_segment(part) for part in body]
    if rooted and any(part.startswith("~") for part in literal):
        raise NotCanonical("a segment starts with ~, which no canonical path has; expected the full path")
    return ("", *literal) if rooted else tuple(literal)


def _web_segments(kind: str, written: list[str]) -> tuple[str, ...]:
    host, *path = written
    if host not in ("*", "**"):
        split_authority(host, kind)
    if not path and host != "**":
        path = [""]
    for index, segment in enumerate(path):
        last = index == len(path) - 1
        if segment not in ("*", "**") and not (last and not segment):
            require_url_segment(segment)
    return (host, *path)


def _mail_segments(rest: str) -> tuple[str, ...]:
    """Local part, encoded, and domain; in neither can a canonical address have a `%` of its own."""
    if rest in ("*", "**"):
        return ("*", "*")
    local, at, domain = decoded(rest).rpartition("@")
    if not at:
        raise NotCanonical(f"{shown(rest)} is not an address; expected name@domain, *@domain or *")
    if domain == "*":
        if local != "*":
            canonical_email(f"{local}@acme.com")
    elif local == "*":
        canonical_email(f"x@{domain}")
    else:
        canonical_email(f"{local}@{domain}")
    return (local if local == "*" else encode_address(local), domain)


def _uri(kind: str, segments: tuple[str, ...], query: str | None) -> str:
    if kind == "mailto":
        return f"mailto:{segments[0]}@{segments[1]}"
    mark = "" if query is None else f"?{query}"
    return f"{kind}://{'/'.join(segments)}{mark}"


def _compiled(kind: str, segments: tuple[str, ...], query: str | None) -> Callable[[str], bool]:
    """The fastest test that decides: equality, a prefix, or one linear regular expression."""
    whole = _uri(kind, segments, query)
    wildcards = [segment for segment in segments if segment in ("*", "**")]
    if not wildcards and query != "*":
        return whole.__eq__
    if wildcards == ["**"] and segments[-1] == "**":
        return _below(kind, segments)
    match = re.compile(_expression(kind, segments, query), re.DOTALL).match
    return lambda uri: match(uri) is not None


def _below(kind: str, segments: tuple[str, ...]) -> Callable[[str], bool]:
    root = f"{kind}://{'/'.join(segments[:-1])}"
    if len(segments) == 1:
        return lambda uri: uri.startswith(root)
    starts = (f"{root}/", f"{root}?") if kind in WEB_SCHEMES else f"{root}/"
    return lambda uri: uri.startswith(starts) or uri == root


def _expression(kind: str, segments: tuple[str, ...], query: str | None) -> str:
    if kind == "mailto":
        return "mailto:" + "@".join("[^@]+" if part == "*" else re.escape(part) for part in segments) + r"\Z"
    found = [re.escape(f"{kind}://")]
    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        separator = "" if last else "/"
        if segment == "**" and last:
            found[-1] = found[-1].removesuffix("/")
            found.append("(?:[/?].*)?" if kind in WEB_SCHEMES else "(?:/.*)?")
        elif segment == "**":
            found.append("(?:[^/?]*/)*")
        else:
            found.append(("[^/?]+" if segment == "*" else re.escape(segment)) + separator)
    tail = "" if query is None else r"(?:\?.*)?" if query == "*" else re.escape(f"?{query}")
    return "".join(found) + tail + r"\Z"
