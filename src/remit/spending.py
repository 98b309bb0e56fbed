"""What a call reserved, worked out again from its own records: decisions are pure functions of what was recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from remit.authority.calls import CallView
from remit.authority.decide import decide
from remit.counters import Taken, taken
from remit.errors import RemitError
from remit.facts import recorded_facts
from remit.ledger import values
from remit.resources.access import Access

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Record, Txn


def reserved_by(deployment: Deployment, txn: Txn, call: Mapping[str, Any]) -> Taken:
    """Everything that this call took of limits at its intent.

    Empty where that cannot be told any more: its arguments were erased, or the catalogue reads them differently now.
    """
    intent = deployment.ledger.record_in(txn, call["intent_record"])
    private = intent.disclosed()
    if private is None:
        return ()
    try:
        chain = deployment.versions(intent.data["chain"])  # those that it was decided by, amended since or not
        facts = recorded_facts(intent.data["facts"], private.get("sums"))
        decision = decide(chain, view_of(deployment, intent, private), facts)
    except RemitError:
        return ()
    if decision.clause != intent.data["decision"]["clause"]:
        return ()
    return taken(deployment.ledger, decision.spends, facts.now)


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
