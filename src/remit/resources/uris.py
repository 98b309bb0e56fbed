"""The URIs that name resources: how one segment is encoded, and what a scheme may be (RFC 3986).

Everything but unreserved characters, `@` and `:` is percent-encoded, so `*`, `?`, `#` and `/` inside a value
can never be read as a pattern or a separator.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from remit.errors import NotCanonical
from remit.resources.text import require_segment, shown

MAX_SEGMENT: Final = 2048
"""Characters of one value that becomes a segment."""

SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*\Z")
WEB_SCHEMES: Final = frozenset({"http", "https"})

_SAFE: Final = "@:"
_MALFORMED: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def encode_segment(value: str) -> str:
    """`value` as exactly one segment of a URI, percent-encoded.

    Raises NotCanonical for what could become another number of segments in other hands: see
    `require_segment`.
    """
    if len(value) > MAX_SEGMENT:
        raise NotCanonical(f"a value of {len(value)} characters is too long for a resource; at most {MAX_SEGMENT}")
    return quote(require_segment(value), safe=_SAFE)


def encode_path(path: str) -> str:
    """A canonical path or tail with each of its segments percent-encoded."""
    return quote(path, safe=_SAFE + "/")


def encode_address(address: str) -> str:
    """A canonical e-mail address as what follows `mailto:`."""
    return quote(address, safe=_SAFE)


def recode_segment(written: str) -> str:
    """A segment that a person wrote, escaped or not, in the one encoding that `encode_segment` gives.

    Raises NotCanonical when it is malformed, not UTF-8, or could not be one segment.
    """
    return encode_segment(decoded(written))


def decoded(written: str) -> str:
    """The plain text of a percent-encoded one. Raises NotCanonical when it is malformed or not UTF-8."""
    if _MALFORMED.search(written):
        raise NotCanonical(f"{shown(written)} has a % that no two hexadecimal digits follow; a literal % is %25")
    try:
        return unquote_to_bytes(written).decode()
    except UnicodeError as error:
        raise NotCanonical(f"{shown(written)} is not UTF-8 under its escapes") from error
