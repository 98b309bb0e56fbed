"""What a call took of its limits, as its intent's record says: in the leaf, or, where an amount tells what arguments
held (sums, different resources), in the erasable payload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from remit.authority.calls import CallView
from remit.counters import Taken
from remit.ledger import values
from remit.resources.access import Access

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Record, Txn

Pairs = list[list[str]]


def split(amounts: Iterable[tuple[str, str]]) -> tuple[Pairs, Pairs]:
    """(counter, amount) pairs that may stand in a leaf, and those that only the payload may hold."""
    told: Pairs = []
    hidden: Pairs = []
    for limit, amount in amounts:
        (hidden if tells(limit) or tells(amount) else told).append([limit, amount])
    return told, hidden


def sealed(pairs: Pairs) -> values.Encoded:
    """Pairs as the payload keeps them: whatever amounts and keyed names look like, they are no secrets."""
    return values.Encoded(pairs, scanned=True)


def tells(text: str) -> bool:
    """Whether a counter or an amount says something of arguments: a sum, or the keyed name of a resource."""
    return ":sum:" in text or "#" in text


def spends_of(intent: Record) -> tuple[Taken, bool]:
    """Everything that a call took at its intent, and whether that is all: what an erased payload held is not there."""
    private = intent.disclosed()
    told = [*intent.data.get("spends", ()), *((private or {}).get("spends", ()))]
    return tuple((limit, amount) for limit, amount in told), private is not None or "spends" not in intent.private


def reserved_by(deployment: Deployment, txn: Txn, call: Mapping[str, Any]) -> Taken:
    """What this call took of limits at its intent, as far as it can be told: sums are lost with erased arguments."""
    return spends_of(deployment.ledger.record_in(txn, call["intent_record"]))[0]


def view_of(deployment: Deployment, intent: Record, private: Mapping[str, Any]) -> CallView:
    """A call as it was judged, from its intent and the disclosed payload of it."""
    tool = intent.data["tool"]
    known = deployment.catalogue.entry(tool)
    arguments = values.decode(private["arguments"])
    defaults = values.decode(private.get("defaults", {}))
    return CallView(
        tool=tool,
        arguments=arguments,
        effective={**arguments, **defaults},
        defaulted=frozenset(defaults),
        injected=values.decode(private.get("injected", {})),
        accesses=tuple(Access(*text.split(" ", 1)) for text in private.get("accesses", ())),
        covered=known.covered if known is not None else frozenset(),
        unresolved=None,
        catalogued=known is not None and known.yields_accesses,
    )
