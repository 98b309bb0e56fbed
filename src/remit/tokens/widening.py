"""Whether an exchanged token can do more than the one that was given for it. What cannot be compared counts as more.

Each rule is a sentence that the refusal shows: scope, details, audience, expiry, subject, actors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from remit.authority.durations import say_moment
from remit.errors import IdentityError
from remit.ledger.canonical import canonical
from remit.tokens.verifying import VerifiedToken


class Widening(NamedTuple):
    """One way in which the new token is wider: `about` is a closed word for programs, `reason` a sentence."""

    about: str
    reason: str


def widenings(
    old: VerifiedToken,
    new: VerifiedToken,
    *,
    requested_audience: frozenset[str],
    requested_scope: frozenset[str],
    response_scope: frozenset[str] | None,
    actor: str | None,
) -> tuple[Widening, ...]:
    """Every way in which `new` goes beyond `old` and the request. Empty: it may be used.

    `actor` is the subject of the actor token that was sent along, where one was.
    """
    found: list[Widening] = []
    found += _scope(old, new, requested_scope, response_scope)
    found += _details(old, new)
    if extra := set(new.audience) - requested_audience:
        found.append(Widening("audience", f"it is also meant for {_listed(extra)}, which nobody asked for"))
    if new.expires > old.expires:
        found.append(
            Widening(
                "expiry", f"it ends at {say_moment(new.expires)}, after the first token ({say_moment(old.expires)})"
            )
        )
    if new.subject != old.subject:
        found.append(Widening("subject", f"it speaks for {new.subject!r}, the first token for {old.subject!r}"))
    found += _actors(old, new, actor)
    return tuple(found)


def _scope(
    old: VerifiedToken, new: VerifiedToken, requested: frozenset[str], responded: frozenset[str] | None
) -> list[Widening]:
    given = new.scopes | (responded or frozenset())
    if "scope" not in new.claims and responded is None:
        given = requested  # RFC 8693 section 2.2.1: nothing said means as requested
    found = []
    if extra := given - old.scopes:
        found.append(Widening("scope", f"it may {_listed(extra)}, which the first token may not"))
    if requested and (more := (given & old.scopes) - requested):
        found.append(Widening("scope", f"it may {_listed(more)}, which nobody asked for"))
    return found


def _details(old: VerifiedToken, new: VerifiedToken) -> list[Widening]:
    """RFC 9396 details are compared whole: each has to be one that the first token had, byte for byte."""
    had = {canonical(entry) for entry in _entries(old.claims)}
    if all(canonical(entry) in had for entry in _entries(new.claims)):
        return []
    return [Widening("authorization_details", "it has authorization details that the first token has not")]


def _entries(claims: Mapping[str, Any]) -> list[Any]:
    found = claims.get("authorization_details", [])
    if not isinstance(found, list):
        raise IdentityError("the token's authorization_details are no list")
    return found


def _actors(old: VerifiedToken, new: VerifiedToken, actor: str | None) -> list[Widening]:
    before, after = old.actors, new.actors
    if after[: len(before)] != before:
        missing = " → ".join(link.subject for link in before)
        return [Widening("actors", f"its chain of actors does not begin with that of the first token ({missing})")]
    added = after[len(before) :]
    if len(added) > 1:
        return [Widening("actors", "it adds more than one actor, so somebody acted unseen")]
    if actor is not None and (not after or after[-1].subject != actor):
        return [Widening("actors", f"it does not say that {actor!r} acts now")]
    may_act = old.claims.get("may_act")
    if added and isinstance(may_act, Mapping) and may_act.get("sub") != added[0].subject:
        return [Widening("actors", f"{added[0].subject!r} acts now, whom the first token's may_act does not name")]
    return []


def _listed(words: set[str] | frozenset[str]) -> str:
    shown = sorted(words)
    text = ", ".join(word[:80] for word in shown[:5])
    return text if len(shown) <= 5 else f"{text} and {len(shown) - 5} more"


__all__ = ["Widening", "widenings"]
