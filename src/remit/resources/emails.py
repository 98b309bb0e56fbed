"""Bare e-mail addresses (addr-spec of RFC 5321, dot-atom only) in one spelling."""

from __future__ import annotations

import re
from typing import Final

from remit.errors import NotCanonical
from remit.resources.text import require_visible, shown
from remit.resources.urls import canonical_host

_LOCAL: Final = re.compile(r"[A-Za-z0-9_+'=&~#-]+(?:\.[A-Za-z0-9_+'=&~#-]+)*\Z")


def canonical_email(text: str) -> str:
    """`text` itself, if it is one bare address with a lower-case domain of at least two labels.

    Raises NotCanonical for display names, several addresses in one string, comments, quoted or non-ASCII
    local parts, relay syntax (`a%b@c`, `a!b@c`), a leading `-` (an option to some mailers), address literals
    and look-alike domains that are not in their `xn--` form. The local part keeps its letter case: `Bob@` and
    `bob@` differ.
    """
    require_visible(text)
    if text.count("@") != 1 or any(mark in text for mark in ',;<>()"[]: '):
        raise NotCanonical(
            f"{shown(text)} is not one bare address; expected name@domain, no display name, list or comment"
        )
    local, domain = text.split("@")
    if not 0 < len(local) <= 64 or not _LOCAL.match(local) or local.startswith("-"):
        raise NotCanonical(
            f"the part before @ of {shown(text)} is not a plain mailbox name; expected letters, digits and "
            "any of . _ + - ' = & ~ #"
        )
    try:
        canonical_host(domain)
    except NotCanonical as error:
        raise NotCanonical(f"the domain of {shown(text)} is refused: {error}") from None
    if "." not in domain:
        raise NotCanonical(f"the domain of {shown(text)} is a single label; expected a full domain such as acme.com")
    return text


def domain_of(address: str) -> str:
    """The domain of an address that `canonical_email` accepted."""
    return address.rpartition("@")[2]
