"""What the chaos programs share: the grant, the tools, and how a check in a process of its own reports back.

Every process that opens a ledger here is forked from one that has only *imported* Remit, so that a hundred processes
cost a hundred forks and not a hundred imports.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
for place in ("src", "adapters"):  # a checkout measures itself
    if (ROOT / place).is_dir():
        sys.path.insert(0, str(ROOT / place))

CATALOGUE: dict[str, Any] = {
    "tools": {
        "work.step": {"accesses": ["write work://{place}/{n}"]},
        "work.fail": {"accesses": ["write work://{place}/{n}"]},
        "work.stream": {"accesses": ["read work://{place}/{n}"]},
    }
}

_PLACES = {"resources": ["write work://*/*"], "arguments": {"n": {"min": 0, "max": 1_000_000}}}

GRANT: dict[str, Any] = {
    "task": "Do many small steps while the machine fails",
    "principal": "user:ravi@acme.com",
    "agent": "spiffe://acme.com/agents/chaos",
    "expires_in": "20h",
    "limits": {"calls": 100_000_000},
    "tools": {
        "work.step": _PLACES,
        "work.fail": _PLACES,
        "work.stream": {**_PLACES, "resources": ["read work://*/*"]},
    },
}

PERSON = "user:olga@acme.com"


def opened(url: str, home: Path | None = None) -> Any:
    """The app of this process. `home` where it does not lie beside the database."""
    import remit

    return remit.open(url, development=True, catalogue=CATALOGUE, home=home)


def forked(work: Callable[[], object]) -> int:
    """Run `work` in a child that ends with it. Returns its process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it is, this process must not return
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def answered(work: Callable[[], Any]) -> Any:
    """Run `work` in a child and give what it returned, by way of JSON. Raises `RuntimeError` when it failed."""
    reading, writing = os.pipe()

    def report() -> None:
        os.close(reading)
        with os.fdopen(writing, "w", encoding="utf-8") as pipe:
            json.dump(work(), pipe)

    pid = forked(report)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError(f"a check ended with status {status}; its error stands above")
    return json.loads(text)


class Side:
    """A file beside the ledger in which a process says what it was told. One `write` per line, synced."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def say(self, *words: object) -> None:
        os.write(self._handle, (" ".join(str(word) for word in words) + "\n").encode())
        os.fdatasync(self._handle)

    @staticmethod
    def read(path: Path) -> list[list[str]]:
        """Whole lines only."""
        if not path.exists():
            return []
        return [line.split(" ") for line in path.read_text("utf-8").split("\n")[:-1]]


def finish(name: str, summary: str, violations: list[str]) -> int:
    """Print the one line and what was violated. Returns the exit code."""
    for violation in violations[:40]:
        print(f"VIOLATION {violation}")
    if len(violations) > 40:
        print(f"VIOLATION … and {len(violations) - 40} more")
    print(f"{name}: {summary}; {len(violations)} violations")
    return 1 if violations else 0
