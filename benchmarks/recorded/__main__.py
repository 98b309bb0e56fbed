"""`python -m benchmarks.recorded`: runs of real models, recorded by AgentDojo's authors, played again through Remit.

$ python -m benchmarks.recorded                                      # gpt-4o-2024-05-13: 97 benign, 6,290 attacked
$ python -m benchmarks.recorded --sample 200                         # a quick look
$ python -m benchmarks.recorded --pipeline all --attack important_instructions --jobs 2 --json out.json
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import get_args

warnings.filterwarnings("ignore")  # AgentDojo's imports warn; nothing of ours is imported before this line

from benchmarks.recorded import corpus, tables  # noqa: E402
from benchmarks.recorded.authority import Rules  # noqa: E402
from benchmarks.recorded.critical import ApproverKind  # noqa: E402
from benchmarks.recorded.gate import Mode  # noqa: E402
from benchmarks.recorded.replay import Job, Report, measure  # noqa: E402

PIPELINE = "gpt-4o-2024-05-13"
AT_A_TIME = 150
"""Runs per job, hence per ledger: enough that a ledger is worth opening, few enough that two processes end together."""


def _parse() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recorded", description=__doc__, formatter_class=raw)
    parser.add_argument("--pipeline", action="append", metavar="NAME", help=f"repeatable, or all; default: {PIPELINE}")
    parser.add_argument("--attack", action="append", metavar="NAME", help="repeatable; default: all; benign always run")
    parser.add_argument("--benign", action="store_true", help="only the runs without an attack")
    parser.add_argument("--sample", type=int, metavar="N", help="N runs of each pipeline, always the same ones")
    for option, choices in (("--grants", get_args(Rules)), ("--approver", get_args(ApproverKind))):
        parser.add_argument(option, action="append", choices=choices, help="repeatable; default: all")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--cache", type=Path, default=corpus.default_cache(), help="where the recorded runs are kept")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all counts, remaining attacks and lost runs")
    return parser.parse_args()


def _files(folder: Path, pipeline: str, given: argparse.Namespace) -> list[Path]:
    if not (folder / pipeline).is_dir():
        known = ", ".join(sorted(path.name for path in folder.iterdir()))
        raise SystemExit(f"no recorded pipeline {pipeline!r}; there are: {known}")
    every = corpus.paths(folder, pipeline)
    if given.benign:
        every = [path for path in every if path.parent.name == "none"]
    elif given.attack:
        every = [path for path in every if path.parent.name in ("none", *given.attack)]
    return corpus.sample(every, given.sample)


def _jobs(given: argparse.Namespace) -> list[Job]:
    folder = corpus.runs_folder(given.cache)
    pipelines = given.pipeline or [PIPELINE]
    if "all" in pipelines:
        pipelines = sorted(path.name for path in folder.iterdir() if path.is_dir())
    rules = given.grants or get_args(Rules)
    approvers = given.approver or get_args(ApproverKind)
    modes = tuple(Mode(each, who) for each in rules for who in approvers)
    jobs = []
    for pipeline in pipelines:
        files = _files(folder, pipeline, given)
        jobs += [Job(pipeline, tuple(files[at : at + AT_A_TIME]), modes) for at in range(0, len(files), AT_A_TIME)]
    return jobs


def _measure(jobs: list[Job], processes: int) -> dict[str, Report]:
    """One report per pipeline. Says on stderr what is done: a whole measurement takes long."""
    reports = {job.pipeline: Report(job.pipeline) for job in jobs}
    done: collections.Counter[str] = collections.Counter()
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for job, report in zip(jobs, pool.map(measure, jobs), strict=True):
            reports[job.pipeline].add(report)
            done[job.pipeline] += len(job.files)
            print(f"{job.pipeline}: {done[job.pipeline]} runs, {report.seconds:.0f} s", file=sys.stderr, flush=True)
    return reports


def main() -> int:
    """Plays the runs again and prints what came of it."""
    given = _parse()
    reports = _measure(_jobs(given), given.jobs)
    tables.show(list(reports.values()))
    if given.json:
        document = [tables.as_json(report) for report in reports.values()]
        given.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
