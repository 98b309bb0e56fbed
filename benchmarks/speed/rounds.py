"""Workers as processes, asked in turn: A B A B …, so that a ratio is fair on a machine that does other things too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


class Worker:
    """One process in the environment of one product; lives for the whole run and idles between its turns."""

    def __init__(self, python: Path | str, script: str, folder: Path, *arguments: str) -> None:
        paths = [str(ROOT / "src"), str(ROOT / "adapters")] if str(python) == sys.executable else []
        inherited = [os.environ["PYTHONPATH"]] if paths and os.environ.get("PYTHONPATH") else []
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths + inherited), "PYTHONWARNINGS": "ignore"}
        self._process = subprocess.Popen(
            [str(python), str(HERE / "workers" / script), str(folder), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.about = self._answer()

    def ask(self, case: str, **parameters: Any) -> dict[str, Any]:
        """Run one batch and wait for its numbers."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"case": case, **parameters}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}; its error stands above")
        found: dict[str, Any] = json.loads(line)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            assert self._process.stdout is not None
            self._process.stdout.close()


@dataclass(frozen=True)
class Lane:
    """One contestant in one comparison: whom to ask for what."""

    name: str
    worker: Worker
    case: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


def interleave(lanes: Iterable[Lane], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Ask each lane once a round, after one round that warms up and is thrown away. Results by lane, in order."""
    lanes = list(lanes)
    found: dict[str, list[dict[str, Any]]] = {lane.name: [] for lane in lanes}
    for turn in range(rounds + 1):
        for lane in lanes if turn % 2 else reversed(lanes):
            answer = lane.worker.ask(lane.case, **lane.parameters)
            if turn:
                found[lane.name].append(answer)
    return found
