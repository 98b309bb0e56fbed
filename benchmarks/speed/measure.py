"""What is measured, in order; plain numbers by name. `report` turns them into tables."""

from __future__ import annotations

import contextlib
import platform
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.speed.peers import PEERS, cache, interpreter
from benchmarks.speed.rounds import Lane, Worker, interleave

Say = Callable[[str], None]


class Effort(NamedTuple):
    """How much of everything is done."""

    rounds: int
    decisions: int
    calls: int
    throughput: int


FULL = Effort(rounds=9, decisions=3_000, calls=300, throughput=4_000)
QUICK = Effort(rounds=3, decisions=1_000, calls=100, throughput=1_000)


def everything(effort: Effort, say: Say) -> dict[str, Any]:
    """Run it all. The ledgers and files lie below the cache folder meanwhile: on a real disk."""
    with tempfile.TemporaryDirectory(dir=cache(), prefix="run-") as folder, contextlib.ExitStack() as stack:
        place = Path(folder)

        def worker(python: Path | str, script: str) -> Worker:
            return stack.enter_context(Worker(python, script, place))

        remit, bare = worker(sys.executable, "remit_worker.py"), worker(sys.executable, "bare_worker.py")
        tenuo, agt = (worker(interpreter(peer), peer.worker) for peer in PEERS)
        leaves = remit.ask("leaves", path=str(place / "leaves.json"))
        bare.ask("load", path=str(place / "leaves.json"))
        found: dict[str, Any] = {
            "machine": _machine(),
            "versions": {each.about["name"]: each.about["version"] for each in (remit, tenuo, agt, bare)},
            "fsync_ms": _spread(bare.ask("fsync", calls=300)["ms"]),
            "leaf_bytes": leaves,
        }
        say("decisions …")
        found["decision_us"] = _decisions(effort, remit, bare, tenuo, agt)
        say("CPU per call …")
        found["cost_us"] = _costs(effort, remit, bare, tenuo, agt)
        say("throughput …")
        found["throughput"] = _throughput(effort, remit, bare)
        say("event loop …")
        found["lag_ms"] = [_lag(remit.ask("lag", callers=200)) for _ in range(effort.rounds)]
        say("where the time goes …")
        pieces = [remit.ask("breakdown", calls=effort.calls) for _ in range(effort.rounds)]
        found["breakdown_us"] = {
            key: min((each[key] for each in pieces), key=lambda one: one.get("whole", one.get("wall")))
            for key in ("plain", "wall", "cpu")
        }
        found["verify"] = remit.ask("verify")
        found["load_after"] = _load()
    return found


def _machine() -> dict[str, Any]:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "cpu": locals().get("model", platform.processor() or platform.machine()),
        "cores": len(_cores()),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load_before": _load(),
    }


def _cores() -> set[int]:
    import os

    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _load() -> float:
    import os

    return round(os.getloadavg()[0], 1)


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    at = {f"p{percent:02}": ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] for percent in (5, 50, 99)}
    return {"min": ordered[0], **at}


def _decisions(effort: Effort, remit: Worker, bare: Worker, tenuo: Worker, agt: Worker) -> dict[str, Any]:
    much, less = {"calls": effort.decisions}, {"calls": effort.decisions // 10}
    lanes = [
        Lane("remit", remit, "decide", much),
        Lane("bare", bare, "decide", much),
        Lane("tenuo", tenuo, "decide", less),
        Lane("agt", agt, "decide", less),
    ]
    return {
        name: _spread([ns / 1000 for batch in batches for ns in batch["ns"]])
        for name, batches in interleave(lanes, effort.rounds).items()
    }


def _costs(effort: Effort, remit: Worker, bare: Worker, tenuo: Worker, agt: Worker) -> dict[str, Any]:
    calls = {"calls": effort.calls}
    lanes = [
        Lane("remit", remit, "solo", calls),
        Lane("remit_summed", remit, "summed", calls),
        Lane("bare", bare, "solo", calls),
        Lane("tenuo_off", tenuo, "off", calls),
        Lane("tenuo_collect", tenuo, "collect", calls),
        Lane("tenuo_durable", tenuo, "durable", calls),
        Lane("agt_off", agt, "off", calls),
        Lane("agt_merkle", agt, "merkle", calls),
        Lane("agt_file", agt, "file", calls),
    ]
    found = interleave(lanes, effort.rounds)
    own = [batch["cpu"] for batch in found["remit"]]
    costs: dict[str, Any] = {}
    for name, batches in found.items():
        cpu = [batch["cpu"] for batch in batches]
        costs[name] = {
            "cpu_min": min(cpu),
            "cpu_median": statistics.median(cpu),
            "wall_min": min(batch["wall"] for batch in batches),
            "wall_median": statistics.median(batch["wall"] for batch in batches),
            "remit_over_it": statistics.median(mine / its for mine, its in zip(own, cpu, strict=True)),
            "remit_over_it_min": min(own) / min(cpu),
        }
    return costs


def _throughput(effort: Effort, remit: Worker, bare: Worker) -> list[dict[str, Any]]:
    found = []
    for case, callers in (("threads", 1), ("threads", 8), ("threads", 32), ("tasks", 32)):
        calls = effort.throughput if callers > 1 else effort.throughput // 5
        asked = {"callers": callers, "calls": calls}
        batches = interleave([Lane("remit", remit, case, asked), Lane("bare", bare, case, asked)], effort.rounds)
        mine, limit = batches["remit"], batches["bare"]
        ratios = sorted(one["rate"] / other["rate"] for one, other in zip(mine, limit, strict=True))
        row: dict[str, Any] = {"case": case, "callers": callers}
        for name, lane in (("remit", mine), ("bare", limit)):
            row[name] = {
                "rate": statistics.median(batch["rate"] for batch in lane),
                "rate_max": max(batch["rate"] for batch in lane),
                **{key: statistics.median(batch[key] for batch in lane) for key in ("cpu", "p50", "p99")},
                "cpu_min": min(batch["cpu"] for batch in lane),
            }
        row["ratio"] = statistics.median(ratios)
        row["ratio_of_best"] = row["remit"]["rate_max"] / row["bare"]["rate_max"]
        found.append(row)
    return found


def _lag(batch: dict[str, Any]) -> dict[str, float]:
    lags = sorted(batch["lag"]) or [0.0]
    return {
        "p50": lags[len(lags) // 2],
        "p99": lags[len(lags) * 99 // 100],
        "max": lags[-1],
        "ms": 200 / batch["rate"] * 1000,
    }
