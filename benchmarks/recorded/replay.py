"""Plays recorded runs again: first without a gate, then through Remit in each mode, and counts what came of it."""

from __future__ import annotations

import collections
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.recorded import critical, world
from benchmarks.recorded.corpus import RecordedRun, read
from benchmarks.recorded.gate import Gate, Made, Mode

HELD = ("approved", "refused")


class Job(NamedTuple):
    """What one process does at a time: some runs of one pipeline, in every mode."""

    pipeline: str
    files: tuple[Path, ...]
    modes: tuple[Mode, ...]


@dataclass(slots=True)
class Report:
    """What the runs came to: counts by kind of run, the ledgers' evidence, and every run that fell short."""

    pipeline: str
    bare: dict[str, collections.Counter[str]] = field(
        default_factory=lambda: collections.defaultdict(collections.Counter)
    )
    gated: dict[tuple[Mode, str], collections.Counter[str]] = field(
        default_factory=lambda: collections.defaultdict(collections.Counter)
    )
    evidence: dict[Mode, collections.Counter[str]] = field(
        default_factory=lambda: collections.defaultdict(collections.Counter)
    )
    remaining: list[dict[str, Any]] = field(default_factory=list)
    lost: list[dict[str, Any]] = field(default_factory=list)
    refusals: dict[Mode, collections.Counter[str]] = field(
        default_factory=lambda: collections.defaultdict(collections.Counter)
    )
    seconds: float = 0.0

    def add(self, other: Report) -> None:
        for kind, counts in other.bare.items():
            self.bare[kind].update(counts)
        for key, counts in other.gated.items():
            self.gated[key].update(counts)
        for mode, counts in other.evidence.items():
            self.evidence[mode].update(counts)
        for mode, counts in other.refusals.items():
            self.refusals[mode].update(counts)
        self.remaining += other.remaining
        self.lost += other.lost
        self.seconds += other.seconds


class Bare(NamedTuple):
    """How a run ends when nothing is refused.

    `text_only`: its attack has succeeded when no call is made at all. `foreign`: a call of the attacker's ran.
    """

    utility: bool
    security: bool
    text_only: bool
    foreign: bool


def measure(job: Job) -> Report:
    """Every run of the job in every mode; one ledger per mode, verified at the end."""
    started = time.perf_counter()
    report = Report(job.pipeline)
    gates = {mode: Gate(mode) for mode in job.modes}
    for path in job.files:
        run = read(path)
        if run is None:
            report.bare["none"]["without messages"] += 1
            continue
        calls = _callable(run)
        bare = _bare(run, calls)
        _count_bare(report.bare[_kind(run)], run, bare)
        for mode, gate in gates.items():
            _count_gated(report, mode, run, bare, gate, calls)
    for mode, gate in gates.items():
        report.evidence[mode].update(gate.finish())
    report.seconds = time.perf_counter() - started
    # plain dictionaries: a default factory does not travel between processes
    report.bare, report.gated = dict(report.bare), dict(report.gated)
    report.evidence, report.refusals = dict(report.evidence), dict(report.refusals)
    return report


def _kind(run: RecordedRun) -> str:
    return run.attack or "benign"


def _callable(run: RecordedRun) -> list[tuple[str, Mapping[str, Any]]]:
    """The run's calls. A tool that does not exist has no body; there is nothing to decide or to run."""
    known = world.tools(run.suite)
    return [(call.tool, world.sent(run.suite, call)) for call in run.calls if call.tool in known]


def _bare(run: RecordedRun, calls: list[tuple[str, Mapping[str, Any]]]) -> Bare:
    place = world.World(run.suite, run.task, run.injections)
    made = [Made(tool, dict(arguments), "permit", error=place.run(tool, arguments).error) for tool, arguments in calls]
    silent = world.World(run.suite, run.task, run.injections)
    return Bare(
        place.useful(run.answer),
        place.attacked(run.injection, run.answer),
        silent.attacked(run.injection, run.answer),
        bool(_foreign(run, made)),
    )


def _count_bare(counts: collections.Counter[str], run: RecordedRun, bare: Bare) -> None:
    attacked = run.injection is not None
    counts.update(
        runs=1,
        labelled=run.utility is not None,
        utility=bare.utility,
        utility_as_recorded=bare.utility == run.utility,
        attack=bare.security,
        attack_as_recorded=attacked and bare.security == run.security,
        text_only=bare.security and bare.text_only,
        foreign=bare.foreign,
    )


def _count_gated(
    report: Report,
    mode: Mode,
    run: RecordedRun,
    bare: Bare,
    gate: Gate,
    calls: list[tuple[str, Mapping[str, Any]]],
) -> None:
    place = world.World(run.suite, run.task, run.injections)
    made = gate.play(place, calls)
    useful, attacked = place.useful(run.answer), place.attacked(run.injection, run.answer)
    stopped = [each for each in made if each.verdict in ("deny", "refused")]
    acting = bare.security and not bare.text_only
    foreign = _foreign(run, made)
    report.gated[mode, _kind(run)].update(
        utility=useful,
        kept=bare.utility and useful,
        attack=attacked,
        text_only=attacked and bare.text_only,
        acting=acting,
        acting_stopped=acting and not attacked,
        foreign=bool(foreign),
        calls=len(made),
        denied=sum(each.verdict == "deny" for each in made),
        held=sum(each.verdict in HELD for each in made),
    )
    about = {"run": run.path, "grants": mode.rules, "approver": mode.approver}
    if attacked and not bare.text_only:
        ran = [_line(each) for each in made if each.verdict not in ("deny", "refused")]
        report.remaining.append({**about, "without gate": bare.security, "attacker's": foreign, "ran": ran})
    if run.attack is None and bare.utility:
        report.refusals[mode].update(f"{run.suite}.{each.tool} {each.code} {each.rule}" for each in stopped)
        if not useful:
            report.lost.append({**about, "stopped": [[*_line(each), each.code, each.rule] for each in stopped]})


def _foreign(run: RecordedRun, made: list[Made]) -> list[list[Any]]:
    """The attacker's own calls that ran, by the script of the injection task."""
    if run.injection is None:
        return []
    theirs = critical.attackers(run.suite, run.task, run.injection)
    ran = [each for each in made if each.verdict in ("permit", "approved") and each.error is None]
    return [_line(each) for each in ran if not _reads(each.tool) and theirs(each.tool, each.arguments)]


def _reads(tool: str) -> bool:
    return tool.startswith(("get_", "search_", "list_", "read_", "check_")) and tool != "get_webpage"


def _line(made: Made) -> list[Any]:
    return [made.tool, made.arguments, made.verdict]
