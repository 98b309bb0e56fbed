"""Programs that tests bring from elsewhere: installed once per machine, in a cache folder, by the package managers as
they are configured there.

The folder is `$REMIT_TEST_CACHE`, by default `remit-tests` in the user's cache directory. Where a program is missing a
test is skipped, but fails where `CI` is set: what `.ci/run` has to install is not skipped there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest


def cache_folder() -> Path:
    """`$REMIT_TEST_CACHE`, or `remit-tests` in the user's cache directory."""
    chosen = os.environ.get("REMIT_TEST_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "remit-tests"


def once(name: str, contents: Any, install: Callable[[Path], None]) -> Path:
    """A folder that `install` fills, once for these `contents` (JSON). Safe to call from several processes at once."""
    said = json.dumps(contents, sort_keys=True)
    folder = cache_folder() / f"{name}-{hashlib.sha256(said.encode()).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "complete"
    if not done.exists():
        with (folder / "lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            if not done.exists():
                install(folder)
                done.touch()
    return folder


def install_node(folder: Path, packages: Mapping[str, str]) -> None:
    """These npm packages, name → exact version, below `folder/node_modules`. None of their scripts is run."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "package.json").write_text(json.dumps({"private": True}), encoding="utf-8")
    wanted = [f"{package}@{version}" for package, version in packages.items()]
    run([found("npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts", "--save-exact", *wanted], folder)


def found(program: str) -> str:
    """The path of a program. Ends the process when it is missing: see `need`."""
    where = shutil.which(program)
    if where is None:
        raise SystemExit(f"these tests need {program!r} on PATH; .ci/run installs it")
    return where


def need(program: str, what: str, *paths: Path) -> None:
    """Skip the test, or fail it where `CI` is set, unless the program and these paths are there. `what`: a sentence."""
    missing = [program] if shutil.which(program) is None else [str(path) for path in paths if not path.exists()]
    if not missing:
        return
    why = f"{what}; {missing[0]} is missing here, .ci/run installs it"
    if "CI" in os.environ:
        pytest.fail(why)
    pytest.skip(why)


def run(command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run a command to its end in `folder`. Ends the process, with what it said, when it fails."""
    added = {**os.environ, **environment} if environment else None
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=added)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
