"""Whether a grant can do nothing that its parent cannot, by comparing what the two say: conservative, and explained.

This is the early, legible refusal. What holds in any case is that every link of a chain is evaluated on each call, and
that limits count on every link (`remit.authority.decide`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import rfc8785

from remit.authority.durations import say_moment
from remit.authority.explain import title
from remit.authority.keys import server_wildcard
from remit.authority.literals import listing, to_json
from remit.authority.model import Clause, GrantDocument
from remit.authority.narrower.clauses import Parent, wider
from remit.authority.narrower.limits import limits_over
from remit.authority.narrower.values import Pair, TooMuch
from remit.authority.terms import GrantTerms
from remit.authority.words.base import Scope
from remit.errors import DelegationWidened, DenialCode
from remit.resources.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Widening:
    """One way in which a child grant is not narrower than its parent."""

    code: DenialCode
    reason: str


def narrower(child: GrantTerms, parent: GrantTerms, *, catalogue: Catalogue | None = None) -> list[str]:
    """Why `child` is not narrower than `parent`: a sentence for every reason, none when it is.

    With the `catalogue`, an argument whose whole value becomes a resource may be named by the child alone.
    """
    return [each.reason for each in widenings(child, (parent,), catalogue=catalogue)]


def require_narrower(child: GrantTerms, chain: Iterable[GrantTerms], *, catalogue: Catalogue | None = None) -> None:
    """Raises `DelegationWidened` with every reason, unless `child` may hang below `chain` (root first, parent last)."""
    refuse(child.agent, widenings(child, tuple(chain), catalogue=catalogue))


def refuse(agent: str, found: list[Widening]) -> None:
    """Raises `DelegationWidened` where something was found, with the one code that all of it has in common."""
    if not found:
        return
    codes = {each.code for each in found}
    code = codes.pop() if len(codes) == 1 else "delegation_widened"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    sentence = f"the grant for {agent} is not narrower than its parent: {found[0].reason}{more}"
    raise DelegationWidened(sentence, problems=[each.reason for each in found], code=code)


def widenings(
    child: GrantTerms, chain: tuple[GrantTerms, ...], *, catalogue: Catalogue | None = None
) -> list[Widening]:
    """The same as data. `chain` is what the child hangs below, root first; its last link is compared."""
    parent = chain[-1]
    reasons = [*_inherited(child, parent), *_window(child, parent)]
    found = _handing_on(child, chain)
    spoken_for = {tool: _spoken_for(tool, child.document, parent.document) for tool in child.tools}
    pair = Pair(_scope(child), _scope(parent))
    try:
        for tool, keys in spoken_for.items():
            reasons += _tool(tool, keys, child.document, parent.document, _covered(tool, catalogue), pair)
    except TooMuch as error:
        reasons.append(str(error))
    reasons += limits_over(child.document, parent.document, spoken_for)
    return [*found, *(Widening("delegation_widened", reason) for reason in dict.fromkeys(reasons))]


def _inherited(child: GrantTerms, parent: GrantTerms) -> list[str]:
    found = []
    if child.principal != parent.principal:
        found.append(f"it speaks for {child.principal}, its parent for {parent.principal}")
    if child.addresses != parent.addresses:
        found.append("`self` names other addresses than its parent's")
    if _said(child.bindings) != _said(parent.bindings):
        found.append("its bindings are not those of its parent")
    return found


def _said(bindings: Mapping[str, object]) -> bytes:
    return rfc8785.dumps(to_json(dict(bindings)))  # as text, for in Python 1 == True


def _window(child: GrantTerms, parent: GrantTerms) -> list[str]:
    found = []
    if child.not_before < parent.not_before:
        found.append(f"it begins at {say_moment(child.not_before)}, its parent at {say_moment(parent.not_before)}")
    if child.expires > parent.expires:
        found.append(f"it ends at {say_moment(child.expires)}, its parent at {say_moment(parent.expires)}")
    return found


def _handing_on(child: GrantTerms, chain: tuple[GrantTerms, ...]) -> list[Widening]:
    found = []
    for above, link in enumerate(reversed(chain), start=1):
        if above > link.delegation.depth:
            times = f"{link.delegation.depth} times" if link.delegation.depth else "not at all"
            reason = (
                f"grant {link.id} may be handed on {times} (`delegation: {{depth: …}}`); this would be time {above}"
            )
            found.append(Widening("delegation_too_deep", reason))
        elif above + child.delegation.depth > link.delegation.depth:
            reason = (
                f"it may be handed on {child.delegation.depth} times, which leaves {link.delegation.depth - above} "
                f"by grant {link.id}"
            )
            found.append(Widening("delegation_widened", reason))
        if not link.delegation.may_use and link.agent == child.agent:
            reason = f"grant {link.id} may be handed on, but not used by {link.agent}, who would act under this one"
            found.append(Widening("delegate_only", reason))
    return found


# -- tools


def _key_of(tool: str, document: GrantDocument) -> str | None:
    """The key that speaks for calls of `tool`, or None."""
    if tool in document.tools:
        return tool
    wildcard = server_wildcard(tool)
    return wildcard if wildcard in document.tools else None


def _spoken_for(tool: str, child: GrantDocument, parent: GrantDocument) -> frozenset[str]:
    """The keys of the parent that calls of the child's `tool` fall under; for `crm.*` also the tools named there alone.

    Empty where the parent does not grant it, or not all of it.
    """
    key = _key_of(tool, parent)
    if key is None:
        return frozenset()
    named = {
        one
        for one in parent.tools
        if tool.endswith(".*") and one not in child.tools and one != tool and server_wildcard(one) == tool
    }
    return frozenset({key, *named})


def _tool(
    tool: str, keys: frozenset[str], child: GrantDocument, parent: GrantDocument, covered: frozenset[str], pair: Pair
) -> list[str]:
    if not keys:
        return [f"{tool}: its parent grants {listing(list(parent.tools), last='and')} only"]
    found = []
    for clause in child.tools[tool]:
        for key in sorted(keys):
            under = f" ({key} there)" if key != tool else ""
            name = f"{title(tool, clause)}{under}"
            found += [f"{name}: {reason}" for reason in _clause(clause, parent.tools[key], covered, pair)]
    return found


def _clause(clause: Clause, others: tuple[Clause, ...], covered: frozenset[str], pair: Pair) -> list[str]:
    """Why the clause is narrower than none of the parent's: said of the one that it is closest to."""
    observed = all(other.observe for other in others)
    judged = []
    for other in others:
        reasons = wider(clause, Parent(other, observed, covered), pair)
        if not reasons:
            return []
        judged.append((len(reasons), other.name != clause.name, reasons))
    _, _, closest = min(judged, key=lambda each: each[:2])
    return closest


def _covered(tool: str, catalogue: Catalogue | None) -> frozenset[str]:
    entry = catalogue.entry(tool) if catalogue is not None and not tool.endswith(".*") else None
    return entry.covered if entry is not None else frozenset()


def _scope(terms: GrantTerms) -> Scope:
    parameters: Mapping[str, object] = terms.parameters
    return Scope(addresses=terms.addresses, task=terms.task, bindings=terms.bindings, parameters=parameters)
