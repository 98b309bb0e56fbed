"""Counters of limits in the store: exact decimals, changed only inside the transaction of a call."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from remit.authority.literals import add_exactly, decimal_text

if TYPE_CHECKING:
    from remit.ledger import Txn


def spend(txn: Txn, limit: str, amount: str) -> Decimal:
    """Count `amount` (exact decimal text) against `limit`. Returns what has been spent of it now."""
    return _add(txn, limit, Decimal(amount))


def give_back(txn: Txn, spends: tuple[tuple[str, str], ...]) -> None:
    """Take back what a call reserved and did not use."""
    for limit, amount in spends:
        _add(txn, limit, Decimal(amount).copy_negate())


def without(counters: dict[str, str], limit: str, amount: str) -> None:
    """What a counter would say without one spend that is in it."""
    counters[limit] = decimal_text(add_exactly(Decimal(counters[limit]), Decimal(amount).copy_negate()))


def _add(txn: Txn, limit: str, amount: Decimal) -> Decimal:
    row = txn.get("counters", limit)
    total = amount if row is None else add_exactly(Decimal(row["value"]), amount)
    txn.put("counters", limit, value=decimal_text(total))
    return total
