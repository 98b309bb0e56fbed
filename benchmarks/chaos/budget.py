"""Eight processes spend one budget together: exactly as many calls run as it allows, of every kind of limit.

    python -m benchmarks.chaos.budget --budget 1000

Each process makes calls of its own under one grant until nothing is permitted any more. The budget is said four times:
as calls, as a sum, as different resources and as a rate of up to 1,000 a week. Afterwards the
ledger verifies, and its intents are as many as the processes were told.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.chaos.scene import PERSON, Side, answered, finish, forked, opened

PROCESSES = 8
STEP = {"resources": ["write work://*/*"], "arguments": {"n": {"min": 1, "max": 1}}}
BUDGETS: dict[str, Any] = {
    "calls": lambda most: {"calls": most},
    "sum": lambda most: {"shared": [{"tools": ["work.step"], "sum": {"argument": "n", "max": most}}]},
    "distinct": lambda most: {"distinct": {"resources": "work://*/*", "max": most}},
    "rate": lambda most: {"rate": f"{min(most, 1000)}/week"},
}


def grant_of(kind: str, most: int) -> dict[str, Any]:
    """A grant whose whole budget is said in one way."""
    return {
        "task": f"Spend {most} together",
        "principal": "user:ravi@acme.com",
        "agent": "spiffe://acme.com/agents/chaos",
        "expires_in": "20h",
        "limits": {"denied": 1_000_000, **BUDGETS[kind](most)},
        "tools": {"work.step": STEP},
    }


def spender(url: str, grant_id: str, index: int, attempts: int, side: Path) -> None:
    """Call until refused for good; say what was permitted where no ledger can lose it."""
    import remit

    said, refused = Side(side), 0
    app = opened(url)
    with app.session(grant_id, key=f"spender:{index}") as session:
        for n in range(attempts):
            try:
                session.call("work.step", {"place": f"p{index}-{n}", "n": 1}, run=lambda place, n: place)
            except remit.Denied as denied:
                said.say("denied", denied.code)
                refused += 1
                if refused == 5:
                    break
            else:
                said.say("permitted")
    app.close()


def begin(url: str, kind: str, most: int) -> str:
    """Make the ledger and the grant."""
    app = opened(url)
    grant = app.issue(grant_of(kind, most), credential=PERSON)
    app.close()
    return str(grant.id)


def recorded(url: str) -> dict[str, Any]:
    """Intents and refusals, over a ledger that verifies."""
    app = opened(url)
    app.verify()
    kinds = Counter(record.type for record in app.records())
    app.close()
    return {"intents": kinds["call.intent"], "denied": kinds["call.denied"]}


def one(kind: str, budget: int, folder: Path) -> tuple[str, list[str]]:
    """Returns (what happened, violations)."""
    url, side = f"sqlite:///{folder / f'{kind}.db'}", folder / f"{kind}.txt"
    most = min(budget, 1000) if kind == "rate" else budget
    grant_id = answered(lambda: begin(url, kind, budget))
    began = time.monotonic()
    pids = [forked(lambda index=index: spender(url, grant_id, index, most, side)) for index in range(PROCESSES)]  # type: ignore[misc]
    wrong = [f"{kind}: process {pid} ended with {status}" for pid in pids if (status := os.waitpid(pid, 0)[1])]
    took = time.monotonic() - began
    told = Counter(words[0] for words in Side.read(side))
    codes = {words[1] for words in Side.read(side) if words[0] == "denied"}
    found = answered(lambda: recorded(url))
    if told["permitted"] != most or found["intents"] != most:
        wrong.append(f"{kind}: {told['permitted']} permitted, {found['intents']} intents; expected exactly {most}")
    if codes != {"limit_reached"}:
        wrong.append(f"{kind}: refused for {sorted(codes)}")
    return f"{kind} {told['permitted']} of {most} ({told['denied']} refused, {took:.1f} s)", wrong


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--budget", type=int, default=1000, help="what all of them may spend (default 1000)")
    options = parser.parse_args()
    import remit  # noqa: F401 - before the forks, so that none of them imports it again

    folder = Path(tempfile.mkdtemp(prefix="remit-budget-"))
    texts, violations = [], []
    for kind in BUDGETS:
        text, wrong = one(kind, options.budget, folder)
        texts.append(text)
        violations += wrong
    if not violations:
        shutil.rmtree(folder, ignore_errors=True)
    return finish("budget", f"{PROCESSES} processes; " + "; ".join(texts), violations)


if __name__ == "__main__":
    sys.exit(main())
