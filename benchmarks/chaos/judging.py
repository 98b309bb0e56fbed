"""What `kill` checks when every process is dead: the records, beside what those processes were told."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.chaos.scene import Side, opened
from benchmarks.chaos.watcher import disagreements

PATIENCE = 90.0
"""Seconds within which it must have been noticed that processes are dead, on other hosts too."""


class Segment(NamedTuple):
    """Records that were checked before, from `start` to before `end`, and the digest of their bytes."""

    start: int
    end: int
    digest: str


def check(url: str, home: Path, grant_id: str, start: int, sides: Iterable[Path]) -> dict[str, Any]:
    """Recover, then compare the records from index `start` on with what the killed processes had been told."""
    app = opened(url, home)
    wrong = _recovered(app)
    with app.session(grant_id):
        pass  # whatever this appends gets its index after what the dead had appended
    app.verify()
    if waiting := app.ledger.unsequenced():
        wrong.append(f"{waiting} records are under no signed head")
    calls = _Calls()
    bodies, size = hashlib.sha256(), start
    for record in app.ledger.records(start=start):
        if not record.placed or record.index != size:
            wrong.append(f"{record!r} where index {size} was expected")
        size += 1
        bodies.update(record.body)
        calls.take(record)
    ran, ended = told(sides)
    wrong += calls.compare(ran, ended) + _rows_differ(app, calls.outcomes)
    app.close()
    return {
        "wrong": wrong,
        "size": size,
        "digest": bodies.hexdigest(),
        "acknowledged": len(ended),
        "ran": ran.total(),
        "unknown": len(calls.recovered),
        "superseded": calls.superseded,
        "statuses": Counter(found[0] for found in calls.outcomes.values() if found),
    }


def _recovered(app: Any) -> list[str]:
    """As every process that opens does; again, as long as a server holds on to connections of the dead."""
    from sqlalchemy import func, select

    from remit.recovery import recover
    from remit.store.tables import CallRow

    running = select(func.count()).where(CallRow.state == "running")  # type: ignore[arg-type]
    until = time.monotonic() + PATIENCE
    app.recover()
    while (left := app.ledger.read().rows(running)[0][0]) and time.monotonic() < until:
        time.sleep(0.05)
        recover(app.deployment)
    return [f"{left} calls of dead processes still count as running"] if left else []


class _Calls:
    """What the records say of each call."""

    def __init__(self) -> None:
        self.intents: set[str] = set()
        self.outcomes: dict[str, list[str]] = {}
        self.recovered: set[str] = set()
        self.superseded = 0

    def take(self, record: Any) -> None:
        """The next record."""
        call = record.data.get("call")
        if record.type == "call.intent":
            self.intents.add(call)
            self.outcomes.setdefault(call, [])
        elif record.type == "call.denied":
            self.outcomes.setdefault(call, []).append("denied")
        elif record.type == "call.outcome":
            if record.data.get("supersedes"):  # somebody took its writer for dead, and it came back
                self.superseded += self.outcomes[call] == ["unknown"]
                self.outcomes[call].pop()
                self.recovered.discard(call)
            self.outcomes.setdefault(call, []).append(record.data["status"])
            if record.data.get("recovered"):
                self.recovered.add(call)

    def compare(self, ran: Counter[str], ended: dict[str, str]) -> list[str]:
        """With what processes were told."""
        wrong = [f"call {call} ran and has no intent" for call in sorted(set(ran) - self.intents)]
        wrong += [f"call {call} ran {times} times" for call, times in sorted(ran.items()) if times > 1]
        for call, status in sorted(ended.items()):
            if self.outcomes.get(call) != [status]:
                wrong.append(f"call {call} was acknowledged as {status}; its records say {self.outcomes.get(call)}")
        for call, found in sorted(self.outcomes.items()):
            if len(found) != 1:
                wrong.append(f"call {call} has the outcomes {found} where exactly one was expected")
            elif (found == ["unknown"]) != (call in self.recovered):
                wrong.append(f"call {call} ended {found[0]}, recovered: {call in self.recovered}")
        return wrong


def told(sides: Iterable[Path]) -> tuple[Counter[str], dict[str, str]]:
    """How often which tool ran, and what was acknowledged of which call."""
    ran: Counter[str] = Counter()
    ended: dict[str, str] = {}
    for side in sides:
        for what, call, *rest in Side.read(side):
            if what == "ran":
                ran[call] += 1
            elif what == "ended":
                ended[call] = rest[0]
    return ran, ended


def _rows_differ(app: Any, outcomes: dict[str, list[str]]) -> list[str]:
    """The read model must say what the records say."""
    from sqlalchemy import select

    from remit.store.tables import CallRow

    rows: dict[str, str] = dict(tuple(row) for row in app.ledger.read().rows(select(CallRow.id, CallRow.state)))
    return [
        f"call {call}: the calls table says {rows.get(call)}, the records say {found[0]}"
        for call, found in outcomes.items()
        if found and rows.get(call) != found[0]
    ]


def last_check(
    url: str, home: Path, grant_id: str, segments: Sequence[Segment], sides: Iterable[Path], notes: Path
) -> dict[str, Any]:
    """The whole ledger: every earlier segment, every acknowledgement, the counter, every head that was ever seen."""
    from sqlalchemy import select

    from remit.store.tables import CounterRow

    found = check(url, home, grant_id, 0, sides)
    app = opened(url, home)
    verified = app.verify()
    bodies = [record.body for record in app.ledger.records()]
    for start, end, digest in segments:
        if hashlib.sha256(b"".join(bodies[start:end])).hexdigest() != digest:
            found["wrong"].append(f"the records {start} to {end} are not what they were")
    statuses = found["statuses"]
    reserved = sum(statuses.values()) - statuses.get("denied", 0) - statuses.get("not_run", 0)
    rows = app.ledger.read().rows(select(CounterRow.value).where(CounterRow.id.endswith("/calls")))
    if (counted := sum(int(float(value)) for (value,) in rows)) != reserved:
        found["wrong"].append(f"{counted} calls were counted, {reserved} calls reserved one")
    if verified.size != len(bodies):
        found["wrong"].append(f"verified {verified.size} records of {len(bodies)}")
    seen, wrong = disagreements(notes, app.ledger.keys, bodies)
    app.close()
    return found | {"wrong": found["wrong"] + wrong, "notes": seen}
