"""What a call reserved, worked out again from its own records: decisions are pure functions of what was recorded."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from remit.authority.calls import CallView, Facts
from remit.authority.decide import decide
from remit.errors import RemitError
from remit.ledger import values
from remit.resources.access import Access

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Record, Txn


def reserved_by(deployment: Deployment, txn: Txn, call: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """(limit, amount) of everything that this call reserved at its intent.

    Empty where that cannot be told any more: its arguments were erased, or the catalogue reads them differently now.
    """
    intent = deployment.ledger.record_in(txn, call["intent_record"])
    private = intent.disclosed()
    if private is None:
        return ()
    try:
        chain = deployment.chain(txn, intent.data["grant"])
        decision = decide(chain, _view(deployment, intent, private), _facts(intent, private))
    except RemitError:
        return ()
    if decision.clause != intent.data["decision"]["clause"]:
        return ()
    return tuple((spend.limit, spend.amount) for spend in decision.spends)


def _view(deployment: Deployment, intent: Record, private: Mapping[str, Any]) -> CallView:
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


def _facts(intent: Record, private: Mapping[str, Any]) -> Facts:
    said = intent.data["facts"]
    return Facts(
        now=datetime.fromisoformat(said["now"]),
        session=said["session"],
        revoked=frozenset(said["revoked"]),
        counters={**said["counters"], **private.get("sums", {})},
        approved_rules=frozenset(said["approved"]),
    )
