"""What calls would have spent of limits that they did not run under, kept in memory while history is replayed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from remit.authority.calls import CallView, Spend
from remit.authority.compile import CompiledGrant
from remit.authority.durations import show_moment
from remit.authority.literals import add_exactly, decimal_text


class Tally:
    """Counters as `remit.counters` keeps them, of calls in the order in which they were made."""

    def __init__(self) -> None:
        self._amounts: dict[str, Decimal] = {}
        self._moments: dict[str, list[datetime]] = {}
        self._resources: dict[str, dict[str, int]] = {}
        self._spent: dict[str, tuple[tuple[Spend, ...], datetime]] = {}

    def __contains__(self, call: str) -> bool:
        return call in self._spent

    def spend(self, call: str, spends: tuple[Spend, ...], now: datetime) -> None:
        """This call would have run."""
        self._spent[call] = (spends, now)
        for one in spends:
            if one.resources:
                known = self._resources.setdefault(one.limit, {})
                known.update({uri: known.get(uri, 0) + 1 for uri in one.resources})
            elif one.seconds:
                self._moments.setdefault(one.limit, []).append(now)
            else:
                self._amounts[one.limit] = add_exactly(self._amounts.get(one.limit, Decimal(0)), Decimal(one.amount))

    def give_back(self, call: str) -> None:
        """It was permitted, and did not run."""
        found = self._spent.pop(call, None)
        if found is None:
            return
        spends, now = found
        for one in spends:
            if one.resources:
                known = self._resources[one.limit]
                for uri in one.resources:
                    known[uri] -= 1
                    if not known[uri]:
                        del known[uri]
            elif one.seconds:
                self._moments[one.limit].remove(now)
            else:
                self._amounts[one.limit] = add_exactly(self._amounts[one.limit], -Decimal(one.amount))

    def counters(self, chain: Sequence[CompiledGrant], call: CallView, now: datetime) -> dict[str, str]:
        """The fact that a decision at this moment, about this call, would read."""
        found = {limit: decimal_text(held) for limit, held in self._amounts.items()}
        for grant in chain:
            for rate in grant.rates:
                stretch = timedelta(seconds=rate.seconds)
                inside = [moment for moment in self._moments.get(rate.id, ()) if moment > now - stretch]
                if inside:
                    found[rate.id] = str(len(inside))
                if len(inside) >= rate.most:
                    found[f"{rate.id}:free"] = show_moment(inside[len(inside) - int(rate.most)] + stretch)
            for distinct in grant.distinct:
                known = self._resources.get(distinct.id, {})
                others = len(known.keys() - set(distinct.counted(call)))
                if known:
                    found[distinct.id] = str(others)
        return found
