"""Counters of limits in the store, changed only inside the transaction of a call.

What a call takes of a limit is a pair (limit, amount), and the amount says how it is counted:

- `12.50`: an exact decimal, added up; `1` for a call.
- `2026-11-24T09:00:00.000000Z/3600`: a call at that moment, under a rate per 3,600 seconds. The moments inside the
  stretch are kept (`<limit>#times`), so that a rate is exact: never more calls in any stretch of that length.
- `#` and a keyed hash: a resource, under a limit on different ones. It counts once, however many calls touch it, and
  is free again when none of them ran.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from remit.authority.calls import Spend
from remit.authority.compile import Counter
from remit.authority.durations import show_moment
from remit.authority.limits import MAX_RATE
from remit.authority.literals import add_exactly, decimal_text

if TYPE_CHECKING:
    from remit.authority.calls import CallView
    from remit.ledger import Ledger, Txn
    from remit.store.readmodels import ReadModels

Taken = tuple[tuple[str, str], ...]
"""What a call took of its limits: (limit, amount) pairs."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def taken(ledger: Ledger, spends: Iterable[Spend], now: datetime) -> Taken:
    """What a call decided at `now` takes of its limits."""
    found: list[tuple[str, str]] = []
    for one in spends:
        if one.resources:
            found += [(one.limit, _member(ledger, one.limit, uri)) for uri in one.resources]
        elif one.seconds:
            found.append((one.limit, f"{show_moment(now)}/{one.seconds}"))
        elif one.amount != "0":
            found.append((one.limit, one.amount))
    return tuple(found)


def take(rows: ReadModels, amounts: Taken) -> None:
    """Reserve, in the transaction that writes the intent."""
    for limit, amount in amounts:
        if amount.startswith("#"):
            _touch(rows, limit, amount, 1)
        elif "/" in amount:
            _at(rows, limit, amount)
        else:
            spend(rows, limit, amount)


def give_back(rows: ReadModels, amounts: Taken) -> None:
    """Take back what a call reserved and did not use."""
    for limit, amount in amounts:
        if amount.startswith("#"):
            _touch(rows, limit, amount, -1)
        elif "/" in amount:
            _not_at(rows, limit, amount)
        else:
            _add(rows, limit, Decimal(amount).copy_negate())


def spend(rows: ReadModels, limit: str, amount: str) -> Decimal:
    """Count `amount` (exact decimal text) against `limit`. Returns what has been spent of it now."""
    return _add(rows, limit, Decimal(amount))


def without_own(counters: Mapping[str, str], spends: Iterable[Spend]) -> dict[str, str]:
    """Counters as they would be without what one call has taken already."""
    found = dict(counters)
    for own in spends:
        if own.limit not in found or own.resources:
            continue  # resources of the call itself are never in the counter that it is judged by
        found.pop(f"{own.limit}:free", None)
        left = add_exactly(Decimal(found[own.limit]), Decimal(own.amount).copy_negate())
        found[own.limit] = decimal_text(max(Decimal(0), left) if own.seconds else left)
    return found


def read_rate(txn: Txn, counter: Counter, now: datetime) -> dict[str, str]:
    """The facts of a rate: how many calls lie in its stretch of time and, once it is full, when one more may come."""
    moments = _inside(_moments(txn, counter.id), now, counter.seconds)
    if not moments:
        return {}
    found = {counter.id: str(len(moments))}
    most = int(counter.most)
    if len(moments) >= most:
        leaves = _EPOCH + moments[len(moments) - most] * _MICROSECOND + timedelta(seconds=counter.seconds)
        found[f"{counter.id}:free"] = show_moment(leaves)
    return found


def read_distinct(txn: Txn, ledger: Ledger, counter: Counter, call: CallView | None) -> dict[str, str]:
    """The fact of a limit on different resources: how many were touched, beside those that this call touches."""
    row = txn.get("counters", counter.id)
    if row is None:
        return {}
    others = int(row["value"])
    for uri in counter.counted(call) if call is not None else ():
        known = txn.get("counters", counter.id + _member(ledger, counter.id, uri))
        others -= known is not None and known["value"] != "0"
    return {counter.id: str(others)}


# -- different resources


def _member(ledger: Ledger, limit: str, uri: str) -> str:
    """Keyed, so that a copy of the counters does not say what was touched, nor that two limits count the same."""
    return "#" + ledger.keyed("distinct", limit, uri)


def _touch(rows: ReadModels, limit: str, member: str, by: int) -> None:
    row = rows.get("counters", limit + member)
    before = 0 if row is None else int(row["value"])
    after = max(0, before + by)
    rows.put("counters", limit + member, value=str(after))
    if (before == 0) != (after == 0):
        _add(rows, limit, Decimal(by))


# -- rates


def _moments(rows: ReadModels, limit: str) -> list[int]:
    row = rows.get("counters", f"{limit}#times")
    return [] if row is None else json.loads(row["value"])


def _inside(moments: list[int], now: datetime, seconds: int) -> list[int]:
    since = _since(now) - seconds * 1_000_000
    return [moment for moment in moments if moment > since]


def _since(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _at(rows: ReadModels, limit: str, amount: str) -> None:
    text, _, seconds = amount.partition("/")
    now = datetime.fromisoformat(text)
    moments = [*_inside(_moments(rows, limit), now, int(seconds)), _since(now)]
    _keep(rows, limit, moments[-MAX_RATE:])  # more only where a clause observes and lets every call through


def _not_at(rows: ReadModels, limit: str, amount: str) -> None:
    moments = _moments(rows, limit)
    moment = _since(datetime.fromisoformat(amount.partition("/")[0]))
    if moment in moments:
        moments.remove(moment)
        _keep(rows, limit, moments)


def _keep(rows: ReadModels, limit: str, moments: list[int]) -> None:
    rows.put("counters", f"{limit}#times", value=json.dumps(sorted(moments), separators=(",", ":")))
    rows.put("counters", limit, value=str(len(moments)))


def _add(rows: ReadModels, limit: str, amount: Decimal) -> Decimal:
    row = rows.get("counters", limit)
    total = amount if row is None else add_exactly(Decimal(row["value"]), amount)
    rows.put("counters", limit, value=decimal_text(total))
    return total
