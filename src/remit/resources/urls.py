"""URLs in one spelling, by one strict grammar: the intersection of RFC 3986 and the WHATWG URL standard.

Parsers disagree about user info, backslashes, numeric hosts, percent-encoded dots, fragments and letter case,
and a gate that reads a URL in one way before a client that reads it in another protects nothing. So all of
these are refused. DNS rebinding and redirects are out of sight here: the client that fetches has to check
again.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final, NamedTuple

from remit.errors import NotCanonical
from remit.resources.text import require_encodable, require_visible, shown

MAX_CHARACTERS: Final = 8192
DEFAULT_PORTS: Final = {"https": 443, "http": 80, "wss": 443, "ws": 80, "ftp": 21}

_SPLIT: Final = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?\Z", re.DOTALL)
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_NUMERIC: Final = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}\Z")
_PATH: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-F]{2})*\Z")
_QUERY: Final = re.compile(r"(?:[A-Za-z0-9._~!$&()*+,;=:@/?-]|%[0-9A-F]{2})*\Z")  # browsers send %27 for '
_ESCAPED: Final = re.compile(r"%([0-9A-F]{2})")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_NEVER_IN_PATH: Final = frozenset(b"/\\%") | frozenset(range(0x20)) | {0x7F}


class Url(NamedTuple):
    """A URL's parts, all as written. `port` is the number a client would dial; `query` is None when there is
    no `?`.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str | None

    def __str__(self) -> str:
        port = "" if DEFAULT_PORTS.get(self.scheme) == self.port else f":{self.port}"
        query = "" if self.query is None else f"?{self.query}"
        return f"{self.scheme}://{self.host}{port}{self.path}{query}"


def parse_url(text: str, *, schemes: Collection[str] = ("https",)) -> Url:
    """The parts of a URL that everybody reads alike; an empty path reads as `/`, which is what a client
    sends.

    Raises NotCanonical for a scheme outside `schemes`, user info, a fragment, a backslash, a host that is not
    a lower-case ASCII name (`canonical_host`), a port that is the scheme's default or has a leading zero, dot
    segments and empty segments, escapes that are malformed, lower-case or needless, and `%2F %5C %25` and
    controls in the path.
    """
    if len(text) > MAX_CHARACTERS:
        raise NotCanonical(f"a URL of {len(text)} characters is too long; expected at most {MAX_CHARACTERS}")
    require_visible(text)
    if "\\" in text:
        raise NotCanonical(f"{shown(text)} has a backslash, which some clients read as /; expected none")
    parts = _SPLIT.match(text)
    if parts is None:
        raise NotCanonical(f"{shown(text)} is not a URL; expected scheme://host/path, the scheme in lower case")
    scheme, authority, path, query, fragment = parts.groups()
    if scheme not in schemes:
        raise NotCanonical(f"got the URL scheme {scheme}, expected {' or '.join(sorted(schemes))}")
    if fragment is not None:
        raise NotCanonical(f"{shown(text)} has a fragment (#…), which is never sent; expected it without")
    host, port = _authority(authority, scheme, text)
    _require_path(path, text)
    if query is not None:
        _require_escapes(query, _QUERY, "query", text)
    return Url(scheme, host, port, path or "/", query)


def canonical_host(text: str) -> str:
    """`text` itself, if it is a host name in lower-case ASCII (RFC 1123), other scripts in `xn--` form.

    Raises NotCanonical for upper case, other characters, a trailing dot, numeric hosts (`127.1`,
    `0x7f000001`, `2130706433`), IPv6 literals, and `xn--` labels that are not what IDNA would have written.
    """
    if not text.isascii():
        raise NotCanonical(f"the host {shown(text)} is not ASCII; expected its xn-- form, so that look-alikes differ")
    if not text or len(text) > 253:
        raise NotCanonical(f"got a host of {len(text)} characters, expected 1 to 253")
    if text.startswith("["):
        raise NotCanonical(f"the host {shown(text)} is an address; expected a name")
    labels = text.split(".")
    for label in labels:
        if not _LABEL.match(label):
            raise NotCanonical(
                f"the host {shown(text)} is not a name in canonical form; expected lower-case letters, "
                "digits and hyphens between single dots"
            )
        if label[2:4] == "--":
            _require_ace(label, text)
    if _NUMERIC.match(labels[-1]):
        raise NotCanonical(f"the host {shown(text)} is numeric, which clients read as an address; expected a name")
    return text


def require_url_segment(segment: str) -> str:
    """`segment` itself, if it can be one segment of a canonical URL's path. Raises NotCanonical."""
    if "/" in segment or not segment:
        raise NotCanonical(f"{shown(segment)} is not one segment of a URL's path")
    _require_path("/" + segment, segment)
    return segment


def require_query(query: str) -> str:
    """`query` itself, if it can stand after the `?` of a canonical URL. Raises NotCanonical."""
    _require_escapes(query, _QUERY, "query", query)
    return query


def split_authority(text: str, scheme: str) -> tuple[str, int]:
    """Host and port of `host` or `host:port`; the port that a client would dial. Raises NotCanonical."""
    return _authority(text, scheme, f"{scheme}://{text}")


def _authority(authority: str, scheme: str, text: str) -> tuple[str, int]:
    if "@" in authority:
        raise NotCanonical(f"{shown(text)} has user info before the host (…@…); expected the host alone")
    host, colon, digits = authority.partition(":") if not authority.startswith("[") else (authority, "", "")
    canonical_host(host)
    default = DEFAULT_PORTS.get(scheme)
    if not colon:
        if default is None:
            raise NotCanonical(f"{shown(text)} has no port, and {scheme} has no default; expected host:port")
        return host, default
    if not _PORT.match(digits) or int(digits) > 65535:
        raise NotCanonical(f"got the port {shown(digits)}, expected 1 to 65535 without leading zeros")
    if int(digits) == default:
        raise NotCanonical(f"{shown(text)} names the default port of {scheme}; expected the URL without :{digits}")
    return host, int(digits)


def _require_ace(label: str, host: str) -> None:
    """An `xn--` label must be the one spelling of a name that has non-ASCII letters; other `??--` labels mean
    nothing.
    """
    try:
        if not label.startswith("xn--"):
            raise ValueError("only xn-- has a meaning")
        decoded = label[4:].encode("ascii").decode("punycode")
        if decoded.isascii() or decoded.encode("punycode").decode("ascii") != label[4:]:
            raise ValueError("another spelling of the same name exists")
        require_encodable(decoded)
        if decoded != decoded.lower():
            raise ValueError("it hides upper-case letters")
        require_visible(decoded)
    except (ValueError, NotCanonical) as error:
        raise NotCanonical(f"the label {shown(label)} of host {shown(host)} is not a valid xn-- label") from error


def _require_path(path: str, text: str) -> None:
    _require_escapes(path, _PATH, "path", text)
    for found in _ESCAPED.finditer(path):
        if int(found[1], 16) in _NEVER_IN_PATH:
            raise NotCanonical(f"{shown(text)} has {found[0]} in its path, which some decode earlier than others")
    segments = path.split("/")[1:]
    for index, segment in enumerate(segments):
        if not segment and index < len(segments) - 1:
            raise NotCanonical(f"{shown(text)} has an empty segment (//) in its path; expected it without")
        if segment.partition(";")[0] in (".", ".."):
            raise NotCanonical(f"{shown(text)} has a dot segment in its path; expected the path that it leads to")


def _require_escapes(part: str, grammar: re.Pattern[str], name: str, text: str) -> None:
    if not grammar.match(part):
        bad = next((c for c in part if c != "%" and not grammar.match(c)), None)
        wanted = (
            f"expected {''.join(f'%{byte:02X}' for byte in bad.encode())} for {shown(bad)}"
            if bad is not None
            else "expected % followed by two upper-case hexadecimal digits"
        )
        raise NotCanonical(f"the {name} of {shown(text)} is not in canonical form; {wanted}")
    for found in _ESCAPED.finditer(part):
        if int(found[1], 16) in _UNRESERVED:
            raise NotCanonical(
                f"the {name} of {shown(text)} has {found[0]}, a needless escape; expected the character "
                f"{chr(int(found[1], 16))!r}"
            )
