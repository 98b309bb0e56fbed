"""Where the time of one call goes: functions of Remit wrapped by a clock while real calls are made.

Each thread keeps a stack, so a piece's time is its own, without that of the pieces inside it. What no piece covers in
the caller's thread is Python between them; what the caller waits for, less the writer's work, is queue and wake-up.
The clock costs about 0.3 µs a piece, which is why pieces are few; the time of a call without it stands beside.
"""

from __future__ import annotations

import functools
import importlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import serving


class Piece(NamedTuple):
    """One row of the table, and where its functions are found: `module:owner.attribute`."""

    label: str
    places: tuple[str, ...]


WAIT = "waiting for the writer"

CALLER = (
    Piece("(1) resolve: arguments → accesses", ("remit.prepare:_snapshot", "remit.prepare:_resolve")),
    Piece("(2) match with the grant", ("remit.prepare:match", "remit.prepare:settle")),
    Piece("seal: commitments, ciphertext, wrapped key", ("remit.ledger.payload:Sealer.seal",)),
    Piece(WAIT, ("remit.ledger.jobs:Item.wait",)),
)

WRITER = (
    Piece("settle on the facts of the moment", ("remit.entry:settle",)),
    Piece("leaf: canonical JSON and hash", ("remit.ledger.txn:build_leaf", "remit.ledger.txn:leaf_hash")),
    Piece("transaction: reads, counters, rows", ("remit.ledger.writer:_Turn.run",)),
    Piece("lock, BEGIN, look at others", ("remit.ledger.sqlite_batch:SqliteBatch._begin",)),
    Piece("insert: rows written out", ("remit.ledger.pending:Pending.flush",)),
    Piece("sign: tree head, checkpoint", ("remit.ledger.sqlite_batch:SqliteBatch._sign",)),
    Piece("commit: fsync and file guard", ("remit.ledger.sqlite_batch:SqliteBatch.commit",)),
)


class Clock:
    """Exclusive time by label, over all threads."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.spent: dict[str, int] = defaultdict(int)
        self._now = now
        self._local = threading.local()

    def wrap(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, timed under `label`."""
        spent, local, now = self.spent, self._local, self._now

        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            stack = local.__dict__.setdefault("stack", [0])
            stack.append(0)
            began = now()
            try:
                return function(*arguments, **named)
            finally:
                took = now() - began
                spent[label] += took - stack.pop()
                stack[-1] += took

        return timed


def measure(call: Callable[[int], object], calls: int) -> dict[str, Any]:
    """µs per call (two transactions) of each piece and of the whole, once by wall clock and once by CPU."""
    plain = serving.cost(call, calls)
    return {
        "plain": plain,
        "wall": _pieces(call, calls, time.perf_counter_ns, "wall"),
        "cpu": _pieces(call, calls, time.thread_time_ns, "cpu"),
    }


def _pieces(call: Callable[[int], object], calls: int, now: Callable[[], int], key: str) -> dict[str, Any]:
    clock = Clock(now)
    restore = []
    for piece in (*CALLER, *WRITER):
        for place in piece.places:
            owner, name, original = _find(place)
            restore.append((owner, name, original))
            setattr(owner, name, clock.wrap(piece.label, original))
    try:
        whole = serving.cost(call, calls)[key]
    finally:
        for owner, name, original in restore:
            setattr(owner, name, original)
    per = {label: spent / calls / 1000 for label, spent in clock.spent.items()}
    caller = {piece.label: per.get(piece.label, 0.0) for piece in CALLER}
    writer = {piece.label: per.get(piece.label, 0.0) for piece in WRITER}
    if key == "wall":  # while the caller waits, the writer works: what is left of the waiting is queue and wake-up
        caller["between: queue, two wake-ups, the rest"] = caller.pop(WAIT) - sum(writer.values())
    rest = whole - sum(caller.values()) - sum(writer.values())
    return {"pieces": {"caller": caller, "writer": writer}, "rest": rest, "whole": whole}


def _find(place: str) -> tuple[Any, str, Callable[..., Any]]:
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for each in owners:
        owner = getattr(owner, each)
    return owner, name, getattr(owner, name)
