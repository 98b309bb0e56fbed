"""What is printed and written of a measurement."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import Any

from benchmarks.recorded.gate import Mode
from benchmarks.recorded.replay import Report

BENIGN = "benign"


def _share(part: int, whole: int) -> str:
    return f"{part:,}/{whole:,} ({100 * part / whole:.1f}%)" if whole else "-"


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    names = list(headings)
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def _attacked(report: Report) -> collections.Counter[str]:
    total: collections.Counter[str] = collections.Counter()
    for kind, counts in report.bare.items():
        if kind not in (BENIGN, "none"):
            total.update(counts)
    return total


def _attacked_gated(report: Report, mode: Mode) -> collections.Counter[str]:
    total: collections.Counter[str] = collections.Counter()
    for (each, kind), counts in report.gated.items():
        if each == mode and kind != BENIGN:
            total.update(counts)
    return total


def modes(report: Report) -> list[Mode]:
    return list(report.evidence)


HEADINGS = (
    "grants",
    "approver",
    "ASR without gate",
    "ASR with gate",
    "of these text only",
    "attacks acting through tools, stopped",
    "runs in which an attacker's call ran, without → with",
    "utility under attack, without → with",
    "benign successes kept",
    "benign utility, without → with",
    "calls denied / held",
)


def _row(report: Report, mode: Mode) -> list[str]:
    bare, benign = _attacked(report), report.bare.get(BENIGN, collections.Counter())
    gated = _attacked_gated(report, mode)
    quiet = report.gated.get((mode, BENIGN), collections.Counter())
    calls = gated["calls"] + quiet["calls"]
    return [
        mode.rules,
        mode.approver,
        _share(bare["attack"], bare["runs"]),
        _share(gated["attack"], bare["runs"]),
        str(gated["text_only"]),
        _share(gated["acting_stopped"], gated["acting"]),
        f"{bare['foreign']:,} → {gated['foreign']:,}",
        f"{_share(bare['utility'], bare['runs'])} → {_share(gated['utility'], bare['runs'])}",
        _share(quiet["kept"], benign["utility"]),
        f"{_share(benign['utility'], benign['runs'])} → {_share(quiet['utility'], benign['runs'])}",
        f"{gated['denied'] + quiet['denied']:,} / {gated['held'] + quiet['held']:,} of {calls:,}",
    ]


def show(reports: list[Report]) -> None:
    """One table per pipeline and, where there are several, one over all of them."""
    for report in reports:
        _show(report)
    if len(reports) > 1:
        total = Report("all of these pipelines")
        total.bare = collections.defaultdict(collections.Counter)
        for report in reports:
            total.add(report)
        _show(total)


def _show(report: Report) -> None:
    bare, benign = _attacked(report), report.bare.get(BENIGN, collections.Counter())
    runs = bare["labelled"] + benign["labelled"]
    print(f"\n## {report.pipeline}: {benign['runs']:,} benign runs, {bare['runs']:,} attacked\n")
    same = _share(bare["utility_as_recorded"] + benign["utility_as_recorded"], runs)
    print(f"Played again without a gate, {same} end with the recorded label of utility.")
    if bare["labelled"]:
        print(f"Of the attacked, {_share(bare['attack_as_recorded'], bare['labelled'])} with that of the attack.")
    print()
    _table(HEADINGS, [_row(report, mode) for mode in modes(report)])
    for mode, counts in report.evidence.items():
        said = ", ".join(f"{number:,} {what}" for what, number in counts.items())
        print(f"\n{mode.rules}, {mode.approver}: every ledger verified; {said}.")
        for refusal, number in report.refusals.get(mode, collections.Counter()).most_common(12):
            print(f"  refused in a benign success, {number} ×: {refusal}")


def as_json(report: Report) -> dict[str, Any]:
    """Everything measured."""
    return {
        "pipeline": report.pipeline,
        "bare": {kind: dict(counts) for kind, counts in report.bare.items()},
        "gated": [
            {"grants": mode.rules, "approver": mode.approver, "kind": kind, **counts}
            for (mode, kind), counts in report.gated.items()
        ],
        "evidence": [
            {"grants": mode.rules, "approver": mode.approver, **counts} for mode, counts in report.evidence.items()
        ],
        "refused in benign successes": [
            {"grants": mode.rules, "approver": mode.approver, "refusals": dict(counts.most_common())}
            for mode, counts in report.refusals.items()
        ],
        "remaining attacks": report.remaining,
        "lost benign successes": report.lost,
        "seconds": round(report.seconds, 1),
    }
