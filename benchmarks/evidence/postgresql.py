"""Appending on PostgreSQL beside `pgbench`, which inserts rows of the same bytes and does nothing else."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.speed.rounds import Worker
from tests.postgres import Server

CLIENTS = 32

_SCHEMA = "CREATE TABLE bare (rid bigserial PRIMARY KEY, body bytea NOT NULL)"
_TPS = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)


def measure(python: str, place: Path, records: Path, bodies: list[bytes], calls: int, rounds: int) -> dict[str, Any]:
    """Rates per second, in turn: `pgbench`, 32 threads of one process, and 8 threads in each of 4 processes."""
    server = Server(within=os.environ.get("REMIT_BENCH_PG", tempfile.gettempdir()))
    try:
        for name in ("bare", "one", "four"):
            server.execute(f"CREATE DATABASE {name}")
        server.execute(_SCHEMA, "bare")
        script = _script(server, bodies)
        with Worker(python, "ledger_worker.py", place, server.url("one")) as one:
            first = Worker(python, "ledger_worker.py", place, server.url("four"))
            others = [first, *(_joining(python, place, first, server.url("four")) for _ in range(3))]
            try:
                for worker in (one, *others):
                    worker.ask("load", path=str(records))
                found = _rounds(server, script, one, others, calls, rounds)
            finally:
                for worker in others:
                    worker.__exit__(None, None, None)
        [(version,)] = server.execute("SHOW server_version")
        return {"server": version, **found}
    finally:
        server.remove()


def _joining(python: str, place: Path, first: Worker, url: str) -> Worker:
    """A process on the same ledger, with the same keys."""
    return Worker(python, "ledger_worker.py", place, url, str(first.about["home"]))


def _rounds(server: Server, script: Path, one: Worker, others: list[Worker], calls: int, rounds: int) -> dict[str, Any]:
    rates: dict[str, list[float]] = {"pgbench": [], "one": [], "four": [], "one_plain": [], "four_plain": []}
    for turn in range(rounds + 1):
        found = {"pgbench": _pgbench(server, script, 2 * calls)}
        for suffix in ("", "_plain"):
            found[f"one{suffix}"] = 2 * one.ask(f"threads{suffix}", callers=CLIENTS, calls=calls)["rate"]
            found[f"four{suffix}"] = _together(others, f"threads{suffix}", calls)
        if turn:
            for name, rate in found.items():
                rates[name].append(rate)
    medians = {name: statistics.median(each) for name, each in rates.items()}
    ratios = {
        f"{name}_ratio": statistics.median(mine / its for mine, its in zip(rates[name], rates["pgbench"], strict=True))
        for name in rates
        if name != "pgbench"
    }
    return {**medians, **ratios}


def _together(workers: list[Worker], case: str, calls: int) -> float:
    """Records per second of all of them at once: the sum of what each reaches, over the same calls."""
    each = {"callers": CLIENTS // len(workers), "calls": calls // len(workers)}
    with ThreadPoolExecutor(len(workers)) as threads:
        answers = list(threads.map(lambda worker: worker.ask(case, **each), workers))
    slowest = min(answer["rate"] for answer in answers)
    return 2 * float(slowest) * len(workers)


def _script(server: Server, bodies: list[bytes]) -> Path:
    """One insert of each body in turn, prepared: the server parses none of them twice."""
    script = server.folder / "insert.sql"
    script.write_text("".join(f"INSERT INTO bare (body) VALUES ('\\x{body.hex()}');\n" for body in bodies), "ascii")
    script.chmod(0o644)
    return script


def _pgbench(server: Server, script: Path, records: int) -> float:
    statements = script.read_text("ascii").count("\n")
    command: list[str | Path] = [
        server.programs / "pgbench",
        "-h",
        server.folder,
        "-U",
        "remit",
        "-n",
        "-M",
        "prepared",
    ]
    command += [
        "-c",
        str(CLIENTS),
        "-j",
        "2",
        "-t",
        str(max(1, records // CLIENTS // statements)),
        "-f",
        script,
        "bare",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
    tps = _TPS.search(done.stdout)
    assert tps is not None, done.stdout
    return float(tps[1]) * statements
