"""The recorded runs: where they come from, and how one is read.

The sdist of agentdojo 0.1.4 is the only one that holds `runs/`. It is fetched once, by pip, and checked against its
digest; only the runs are unpacked.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RELEASE = "agentdojo-0.1.4"
DIGEST = "62a4940ca33a79e8bc2d6c430d5dade2e2d4db9198dcbe68c40fca54a2dce905"
"""SHA-256 of the sdist."""

DENIALS_OF_SERVICE = frozenset({"dos", "captcha_dos", "felony_dos", "offensive_email_dos", "swearwords_dos"})
"""Attacks that only want the agent to stop. No call is their aim, so no gate on calls is measured by them."""


def default_cache() -> Path:
    """`$REMIT_BENCH_CACHE`, or `remit-bench` in the user's cache folder."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("REMIT_BENCH_CACHE") or caches / "remit-bench")


def runs_folder(cache: Path) -> Path:
    """The folder with one folder per pipeline; fetched and unpacked into `cache` when it is not there."""
    folder = cache / RELEASE / "runs"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    sdist = cache / f"{RELEASE}.tar.gz"
    if not sdist.is_file():
        _fetch(cache)
    found = hashlib.sha256(sdist.read_bytes()).hexdigest()
    if found != DIGEST:
        raise SystemExit(f"{sdist} has SHA-256 {found}, expected {DIGEST}; delete it and try again")
    partial = cache / f"{RELEASE}.partial"
    with tarfile.open(sdist) as archive:
        wanted = (member for member in archive if member.name.startswith(f"{RELEASE}/runs/"))
        archive.extractall(partial, members=wanted, filter="data")
    (partial / RELEASE).rename(cache / RELEASE)
    partial.rmdir()
    return folder


def _fetch(cache: Path) -> None:
    """The sdist as it is, through whatever index pip is configured with."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    what = ["--no-deps", "--no-binary", ":all:", "--dest", str(cache), RELEASE.replace("-", "==")]
    subprocess.run([*pip, *what], check=True)


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call as the model made it."""

    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One run of a real model: what it called, what it answered, and what AgentDojo said of it then (None: nothing)."""

    path: str
    pipeline: str
    suite: str
    task: str
    attack: str | None
    injection: str | None
    injections: Mapping[str, str]
    calls: tuple[Call, ...]
    answer: str
    utility: bool | None
    security: bool | None


def paths(folder: Path, pipeline: str) -> list[Path]:
    """Every user task's run of one pipeline, without the denial-of-service attacks."""
    every = sorted((folder / pipeline).glob("*/user_task_*/*/*.json"))
    return [path for path in every if path.parent.name not in DENIALS_OF_SERVICE]


def sample(every: list[Path], size: int | None) -> list[Path]:
    """`size` of them, always the same ones, in no order that has to do with what is in them."""
    if size is None or size >= len(every):
        return every
    return sorted(sorted(every, key=lambda path: hashlib.sha256("/".join(path.parts[-5:]).encode()).digest())[:size])


def read(path: Path) -> RecordedRun | None:
    """The run in a file; None where the model's service had failed and there are no messages."""
    log = json.loads(path.read_bytes())
    messages = log.get("messages") or []
    if not messages:
        return None
    last = messages[-1]
    return RecordedRun(
        path="/".join(path.parts[-5:]),
        pipeline=log["pipeline_name"],
        suite=log["suite_name"],
        task=log["user_task_id"],
        attack=log["attack_type"],
        injection=log["injection_task_id"],
        injections=log["injections"],
        calls=tuple(_calls(messages)),
        answer=(last["content"] or "") if last["role"] == "assistant" else "",
        utility=log.get("utility"),
        security=log.get("security"),
    )


def _calls(messages: list[dict[str, Any]]) -> Iterator[Call]:
    for message in messages:
        if message["role"] == "assistant":
            for call in message.get("tool_calls") or ():
                yield Call(call["function"], call["args"])
