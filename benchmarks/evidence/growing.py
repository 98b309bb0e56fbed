"""Ledgers that grow to a size: what appending costs at the beginning and at the end, and something to verify.

The records are those of real governed calls, with their data and commitments, from 32 sessions at once, each of which
is followed by another after a hundred records. A commit holds 256 records, as the writer's batches do under load.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from remit.ledger import Draft, Ledger, Txn

BATCH = 256
SESSIONS = 32
RECORDS_EACH = 100

AT_ONCE = 32
"""Records in one commit where the cost of appending is measured: one of each caller's."""

Kept = Sequence[Sequence[dict[str, Any]]]


class Field:
    """One ledger that is being filled."""

    def __init__(self, folder: Path, records: Kept, *, private: bool) -> None:
        self.url = f"sqlite:///{folder / 'ledger.db'}"
        folder.mkdir(parents=True)
        self._ledger = Ledger.create(self.url)
        self._records = [record for pair in records for record in pair]
        self._private = private
        self.size = 0

    def grow(self, count: int, batch: int = BATCH) -> None:
        """Append so many records, in commits of `batch`."""
        until = self.size + count
        while self.size < until:
            drafts = [self._draft(self.size + n) for n in range(min(batch, until - self.size))]
            self._ledger.run(_append(drafts), deadline=60)
            self.size += len(drafts)

    def _draft(self, number: int) -> Draft:
        record = self._records[number % len(self._records)]
        session = f"s-{number // (SESSIONS * RECORDS_EACH):08d}-{number % SESSIONS:02d}"
        data, private = dict(record["data"]), record["private"] if self._private else None
        if not self._private:
            data["commitments"] = record["commitments"]
        return self._ledger.draft(
            record["type"], session=session, data=data, private=private, named=frozenset(record["named"])
        )

    def close(self) -> None:
        """Close the ledger; the next one to open it finds one file."""
        self._ledger.close()


def _append(drafts: Sequence[Draft]) -> Callable[[Txn], None]:
    def job(txn: Txn) -> None:
        for draft in drafts:
            txn.append(draft)

    return job


class Cost(NamedTuple):
    """µs per record: the process's CPU, and by the clock."""

    cpu: float
    wall: float


def compare(small: Field, large: Field, rounds: int, count: int) -> dict[str, Any]:
    """Append `count` records to each in turn, A B then B A, and compare what that costs."""
    found: dict[str, list[Cost]] = {"small": [], "large": []}
    sizes = {"small": small.size, "large": large.size}
    for turn in range(rounds + 1):
        order = [("small", small), ("large", large)]
        for name, field in order if turn % 2 else reversed(order):
            cost = _measure(field, count)
            if turn:
                found[name].append(cost)
    pairs = list(zip(found["small"], found["large"], strict=True))
    return {
        "small": sizes["small"],
        "large": sizes["large"],
        "appended": (rounds + 1) * count,
        **{f"{name}_cpu": statistics.median(cost.cpu for cost in costs) for name, costs in found.items()},
        **{f"{name}_wall": statistics.median(cost.wall for cost in costs) for name, costs in found.items()},
        "ratio_cpu": statistics.median(after.cpu / before.cpu for before, after in pairs),
        "ratio_wall": statistics.median(after.wall / before.wall for before, after in pairs),
        "ratio_of_minima": min(c.cpu for c in found["large"]) / min(c.cpu for c in found["small"]),
    }


def _measure(field: Field, count: int) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    field.grow(count, AT_ONCE)
    return Cost((time.process_time() - cpu) / count * 1e6, (time.perf_counter() - wall) / count * 1e6)
