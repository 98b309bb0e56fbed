"""`python -m benchmarks.evidence`: what the evidence costs, beside bare limits, as ratios measured in one run.

Appending on SQLite and PostgreSQL beside a bare group commit and `pgbench`, at a thousand records and at a million;
verification of a million records beside a loop that only hashes.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.evidence import appending, growing, postgresql, report, verifying
from benchmarks.speed.peers import cache
from benchmarks.speed.rounds import Worker


class Effort(NamedTuple):
    """How much of everything is done."""

    records: int
    sealed: int
    rounds: int
    calls: int
    verifications: int
    appended: int


FULL = Effort(records=1_000_000, sealed=100_000, rounds=7, calls=4_000, verifications=3, appended=1_600)
QUICK = Effort(records=60_000, sealed=6_000, rounds=2, calls=800, verifications=2, appended=320)

PARTS = ("appending", "postgresql", "growing", "verifying")


def main() -> int:
    """Measure, print Markdown, and write the plain numbers where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evidence", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="60,000 records and few rounds, to see that it runs")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the plain numbers to FILE, too")
    options = parser.parse_args()
    effort = QUICK if options.quick else FULL
    found = measure(effort, set(options.part or PARTS), lambda text: print(text, file=sys.stderr))
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(report.markdown(found))
    return 0


def measure(effort: Effort, parts: set[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Run it. Everything lies below the cache folder meanwhile: on a real disk."""
    found: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory(dir=cache(), prefix="evidence-") as folder:
        place = Path(folder)
        leaves, records = place / "leaves.json", place / "records.json"
        with Worker(sys.executable, "remit_worker.py", place) as remit:
            found["bytes"] = remit.ask("leaves", path=str(leaves), records=str(records))
            if "appending" in parts:
                say("appending on SQLite …")
                found["appending"] = appending.measure(remit, place, leaves, records, effort.calls, effort.rounds)
        bodies = [base64.b64decode(body) for pair in json.loads(leaves.read_text("utf-8")) for body in pair]
        if "postgresql" in parts:
            say("appending on PostgreSQL …")
            found["postgresql"] = postgresql.measure(
                sys.executable, place, records, bodies[:8], effort.calls, effort.rounds
            )
        if parts & {"growing", "verifying"}:
            found |= _long(effort, place, json.loads(records.read_text("utf-8")), parts, say)
    found["load_after"] = os.getloadavg()[0]
    return found


def _long(
    effort: Effort, place: Path, records: growing.Kept, parts: set[str], say: Callable[[str], None]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    large = growing.Field(place / "large", records, private=False)
    say(f"a ledger of {effort.records} records …")
    large.grow(effort.records)
    if "growing" in parts:
        say("appending to it …")
        small = growing.Field(place / "small", records, private=False)
        small.grow(1_000)
        found["growing"] = growing.compare(small, large, effort.rounds * 2, effort.appended)
        small.close()
    large.close()
    if "verifying" in parts:
        say("verifying …")
        jobs = tuple(sorted({1, 2, min(8, len(os.sched_getaffinity(0)))}))
        found["verifying"] = _verified(large, place / "large", jobs, effort.verifications)
        say(f"verifying {effort.sealed} records with arguments and results …")
        sealed = growing.Field(place / "sealed", records, private=True)
        sealed.grow(effort.sealed)
        sealed.close()
        found["sealed"] = _verified(sealed, place / "sealed", jobs, effort.verifications)
    return found


def _verified(field: growing.Field, folder: Path, jobs: tuple[int, ...], rounds: int) -> dict[str, Any]:
    auditor = verifying.Auditor(field.url, folder / "ledger.db")
    return {"records": field.size, **verifying.measure(auditor, jobs, rounds)}


if __name__ == "__main__":
    sys.exit(main())
