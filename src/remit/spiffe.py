"""SPIFFE IDs, read strictly (SPIFFE-ID specification, sections 2 and 3).

`spiffe://acme.com/agents/triage`: the scheme in lower case, a trust domain, a path of plain segments. Nothing is
percent-decoded, folded or normalised: an ID that could be written in two ways is refused.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from remit.errors import NotCanonical

MAX_ID: Final = 2048
"""Bytes of a whole ID (section 2.3)."""

MAX_TRUST_DOMAIN: Final = 255
"""Bytes of a trust domain (section 2.3)."""

_SCHEME: Final = "spiffe://"
_TRUST_DOMAIN: Final = re.compile(r"[a-z0-9._-]+\Z")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._-]+\Z")


class SpiffeId(NamedTuple):
    """One ID, taken apart. `str()` gives it back byte for byte."""

    trust_domain: str
    segments: tuple[str, ...]

    def __str__(self) -> str:
        return _SCHEME + "/".join((self.trust_domain, *self.segments))


def parse_spiffe_id(text: str) -> SpiffeId:
    """The ID of an agent or workload. Raises `NotCanonical` with what was got and which rule it breaks.

    An ID without a path names a whole trust domain, which neither acts nor runs, so it is refused too.
    """
    if not isinstance(text, str) or not text.startswith(_SCHEME):
        raise _refusal(text, "it must begin with spiffe://, in lower case")
    if len(text.encode(errors="replace")) > MAX_ID:
        raise _refusal(text, f"it is longer than {MAX_ID} bytes")
    trust_domain, slash, path = text.removeprefix(_SCHEME).partition("/")
    if not _TRUST_DOMAIN.match(trust_domain):
        raise _refusal(text, "a trust domain is lower-case letters, digits, dots, - and _, without user or port")
    if len(trust_domain) > MAX_TRUST_DOMAIN:
        raise _refusal(text, f"its trust domain is longer than {MAX_TRUST_DOMAIN} bytes")
    if not slash or not path:
        raise _refusal(text, "it has no path, so it names a trust domain, not somebody in it")
    segments = tuple(path.split("/"))
    for segment in segments:
        if segment in ("", ".", ".."):
            raise _refusal(text, "a path has no empty segment, no . and no .., and no slash at its end")
        if not _SEGMENT.match(segment):
            raise _refusal(text, "a path segment is letters, digits, dots, - and _, without escapes, query or fragment")
    return SpiffeId(trust_domain, segments)


def _refusal(text: object, rule: str) -> NotCanonical:
    shown = repr(text) if len(repr(text)) <= 120 else f"{repr(text)[:117]}…"
    return NotCanonical(f"{shown} is not a SPIFFE ID: {rule}")


__all__ = ["MAX_ID", "MAX_TRUST_DOMAIN", "SpiffeId", "parse_spiffe_id"]
