"""The benchmarks measure what is there: they run, and what they import exists."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import sys
from pathlib import Path

import pytest
from benchmarks.evidence import appending, growing, report, verifying
from benchmarks.speed.rounds import Worker

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.requirement("T14")
def test_every_name_that_a_benchmark_takes_from_remit_exists() -> None:
    """A benchmark against an interface that is gone measures nothing."""
    missing = []
    for path in BENCHMARKS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "remit":
                module = importlib.import_module(node.module or "")
                missing += [f"{path.name}: {node.module}.{name.name}" for name in node.names if not _has(module, name)]
    assert missing == []


def _has(module: object, name: ast.alias) -> bool:
    if hasattr(module, name.name):
        return True
    return importlib.util.find_spec(f"{getattr(module, '__name__', '')}.{name.name}") is not None


def test_the_agentdojo_gate_uses_the_public_api_only() -> None:
    """What is published about Remit was reached as any user reaches it."""
    tree = ast.parse((BENCHMARKS / "agentdojo" / "remit_gate.py").read_text(encoding="utf-8"))
    taken = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    taken |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert {name for name in taken if name.split(".")[0] == "remit"} <= {"remit", "remit.testing"}


@pytest.mark.requirement("R12")
def test_cost_and_decision_are_measured_beside_the_bare_limit(tmp_path: Path) -> None:
    """Remit's worker and the bare one answer the same questions, with numbers."""
    with (
        Worker(sys.executable, "remit_worker.py", tmp_path) as governed,
        Worker(sys.executable, "bare_worker.py", tmp_path) as bare,
    ):
        leaves = governed.ask("leaves", path=str(tmp_path / "leaves.json"))
        bare.ask("load", path=str(tmp_path / "leaves.json"))
        decided = [worker.ask("decide", calls=20)["ns"] for worker in (governed, bare)]

    assert leaves
    assert [len(times) for times in decided] == [20, 20]
    assert all(time > 0 for times in decided for time in times)


@pytest.mark.requirement("R12")
def test_what_evidence_costs_is_measured_on_the_records_of_real_calls(tmp_path: Path) -> None:
    """The ledger alone appends what governed calls append; a small ledger of them grows, verifies and is reported."""
    leaves, records = tmp_path / "leaves.json", tmp_path / "records.json"
    with Worker(sys.executable, "remit_worker.py", tmp_path) as governed:
        size = governed.ask("leaves", path=str(leaves), records=str(records))
        found = {"cores": 1, "load": 0.0, "load_after": 0.0, "bytes": size}
        found["appending"] = appending.measure(governed, tmp_path, leaves, records, calls=64, rounds=1)

    kept = json.loads(records.read_text(encoding="utf-8"))
    fields = [growing.Field(tmp_path / name, kept, private=name == "sealed") for name in ("small", "large", "sealed")]
    for field, count in zip(fields, (64, 640, 64), strict=True):
        field.grow(count)
    found["growing"] = growing.compare(fields[0], fields[1], rounds=1, count=32)
    for name, field in (("verifying", fields[1]), ("sealed", fields[2])):
        field.close()
        auditor = verifying.Auditor(field.url, Path(field.url.removeprefix("sqlite:///")))
        found[name] = {"records": field.size, **verifying.measure(auditor, (1, 2), rounds=1)}
    fields[0].close()

    assert [[record["type"] for record in pair] for pair in kept] == [["call.intent", "call.outcome"]] * len(kept)
    assert report.markdown(found).count("- Aim: ") == 7
