"""32 callers that append on SQLite, beside a bare group commit of the same bytes."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.speed.rounds import Lane, Worker, interleave

CALLERS = 32


def measure(remit: Worker, place: Path, leaves: Path, records: Path, calls: int, rounds: int) -> dict[str, Any]:
    """Records per second of threads and of tasks: bare, appended, appended with private values, and whole calls."""
    asked = {"callers": CALLERS, "calls": calls}
    found: dict[str, Any] = {}
    with (
        Worker(sys.executable, "bare_worker.py", place) as bare,
        Worker(sys.executable, "ledger_worker.py", place) as own,
    ):
        bare.ask("load", path=str(leaves))
        own.ask("load", path=str(records))
        for case in ("threads", "tasks"):
            lanes = [
                Lane("bare", bare, case, asked),
                Lane("plain", own, f"{case}_plain", asked),
                Lane("sealed", own, case, asked),
                Lane("governed", remit, case, asked),
            ]
            found[case] = _compared(interleave(lanes, rounds))
    return found


def _compared(batches: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    limit = batches["bare"]
    return {
        name: {
            "rate": 2 * statistics.median(batch["rate"] for batch in lane),
            "cpu": statistics.median(batch["cpu"] for batch in lane) / 2,
            "p50": statistics.median(batch["p50"] for batch in lane),
            "ratio": statistics.median(mine["rate"] / its["rate"] for mine, its in zip(lane, limit, strict=True)),
            "ratio_of_best": max(batch["rate"] for batch in lane) / max(batch["rate"] for batch in limit),
        }
        for name, lane in batches.items()
    }
