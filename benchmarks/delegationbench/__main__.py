"""`python -m benchmarks.delegationbench`: DelegationBench's scenarios, defended by Remit, judged by its own oracle.

Needs `delegationbench==0.6.0` beside Remit. Exit code 1 unless every scenario's contract holds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import delegationbench
from benchmarks.delegationbench.defense import RemitDefense
from delegationbench.corpus import resolve_scenario_path
from delegationbench.oracle import evaluate
from delegationbench.report import build_report, compute_metrics, render_metrics
from delegationbench.runner import run_scenario
from delegationbench.scenario import load_scenario


def judged(path: Path) -> tuple[dict[str, Any], list[str]]:
    """One scenario: first undefended, as its contract says, then defended by Remit."""
    scenario = load_scenario(path)
    given = {
        "allowed_actions": scenario.grant.allowed_actions,
        "max_delegation_depth": scenario.grant.max_delegation_depth,
        "principal": scenario.principal,
    }
    bare = run_scenario(scenario)
    baseline = build_report(bare, evaluate(bare.trace, given))["expect_match"]
    with tempfile.TemporaryDirectory() as folder, RemitDefense(scenario, Path(folder)) as defense:
        result = run_scenario(scenario, defense=defense)
        report = build_report(result, evaluate(result.trace, given), defense="remit", baseline_expect_match=baseline)
    return report, defense.refusals


def main() -> int:
    """Run all of them and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", default="scenarios", help="a scenario or a folder; its own if omitted")
    parser.add_argument("-v", "--verbose", action="store_true", help="what was refused in each scenario")
    given = parser.parse_args()
    target, _ = resolve_scenario_path(given.path)
    if target is None:
        sys.exit(f"no scenarios at {given.path}")
    files = sorted(target.rglob("*.yaml")) if target.is_dir() else [target]
    reports, codes = [], Counter[str]()
    for path in files:
        report, refusals = judged(path)
        reports.append(report)
        if report["scenario"]["type"] == "attack":
            codes.update(refusals)
        scenario = report["scenario"]
        if given.verbose or not report["expect_match"]:
            mark = "ok  " if report["expect_match"] else "FAIL"
            print(f"{mark} {scenario['id']} {report['defense_outcome']}: {', '.join(refusals) or 'nothing refused'}")
    print(f"delegationbench {delegationbench.__version__}, defended by Remit")
    held = sum(bool(report["expect_match"]) for report in reports)
    print(f"{held}/{len(reports)} scenario contracts hold")
    print(render_metrics(compute_metrics(reports)))
    print("Refused by Remit in the attacks: " + ", ".join(f"{code} {count}" for code, count in codes.most_common()))
    print("Every ledger verified; every decision taken again from its record.")
    return 0 if held == len(reports) else 1


if __name__ == "__main__":
    sys.exit(main())
