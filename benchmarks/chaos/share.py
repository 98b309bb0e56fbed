"""One ledger, many processes, and every way in which Python runs code beside other code.

    python -m benchmarks.chaos.share --seconds 20

Part one: four processes make long calls on one database, while a fifth opens it, recovers, lists and verifies again
and again, and one of the four opens and closes it a second time. No call may end `unknown`: nobody died.

Part two: fork, spawn, raw threads, `run_in_executor`, a streamed generator that outlives its block, 200 concurrent
`acall`s. Each call is recorded once, in the right session, and the event loop's lag is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.chaos import ways
from benchmarks.chaos.scene import GRANT, PERSON, answered, finish, forked, opened

PROCESSES = 4


def begin(url: str) -> str:
    """Make the ledger and the grant."""
    app = opened(url)
    grant = app.issue(GRANT, key="share", credential=PERSON)
    app.close()
    return str(grant.id)


# -- part one


def long_calls(url: str, grant_id: str, index: int, seconds: float) -> None:
    """Calls that each take a good part of a second, in two threads, until the time is over."""
    import threading

    until = time.monotonic() + seconds
    app = opened(url)

    def body(place: str, n: int) -> int:
        time.sleep(0.2 + 0.3 * ((n * 7 + index) % 5))
        return n

    def calls(thread: int) -> None:
        with app.session(grant_id, key=f"long:{index}:{thread}" if thread else None) as session:
            n = 0
            while time.monotonic() < until:
                session.call("work.step", {"place": f"p{index}-{thread}", "n": n}, run=body)
                n += 1

    threads = [threading.Thread(target=calls, args=(thread,)) for thread in range(2)]
    for thread in threads:
        thread.start()
    while index == 0 and time.monotonic() < until:  # a second handle in the same process must not end its lease
        with opened(url) as second:
            second.recover()
            list(second.records())
        time.sleep(0.3)
    for thread in threads:
        thread.join()
    app.close()


def onlooker(url: str, seconds: float) -> dict[str, Any]:
    """Open, recover as a writer does, list, verify, close; again and again. Counts what it saw."""
    from sqlalchemy import select

    from remit.store.tables import CallRow, SessionRow

    until, rounds, unknown, sizes = time.monotonic() + seconds, 0, 0, [0]
    running = 0
    while time.monotonic() < until:
        app = opened(url)
        app.recover()
        states = Counter(state for (state,) in app.ledger.read().rows(select(CallRow.state)))
        app.ledger.read().rows(select(SessionRow.id, SessionRow.state))
        unknown, running = unknown + states["unknown"], max(running, states["running"])
        sizes.append(app.verify().size)
        app.close()
        rounds += 1
        time.sleep(0.1)
    return {"rounds": rounds, "unknown": unknown, "running": running, "grew": sizes == sorted(sizes)}


def part_one(url: str, grant_id: str, seconds: float) -> tuple[str, list[str]]:
    """Returns (what happened, violations)."""
    pids = [forked(lambda index=index: long_calls(url, grant_id, index, seconds)) for index in range(PROCESSES)]  # type: ignore[misc]
    seen = answered(lambda: onlooker(url, seconds))
    wrong = [f"process {pid} ended with status {status}" for pid in pids if (status := os.waitpid(pid, 0)[1])]
    found = answered(lambda: outcomes(url))
    wrong += [f"call {call} ended {states}" for call, states in found["calls"].items() if states != ["ok"]]
    if seen["unknown"]:
        wrong.append(f"the fifth process saw {seen['unknown']} unknown outcomes while nobody had died")
    if not seen["running"]:
        wrong.append("the fifth process never saw a running call, so this run proves nothing")
    if not seen["grew"]:
        wrong.append("a later verification saw fewer records than an earlier one")
    text = (
        f"{PROCESSES} processes, {len(found['calls'])} long calls, opened, listed and verified {seen['rounds']} times "
        f"beside up to {seen['running']} running, {found['size']} records verified"
    )
    return text, wrong


def outcomes(url: str) -> dict[str, Any]:
    """Every intent and the outcomes it has, over a ledger that verifies."""
    app = opened(url)
    size = app.verify().size
    calls: dict[str, list[str]] = {}
    for record in app.records():
        if record.type == "call.intent":
            calls.setdefault(record.data["call"], [])
        elif record.type == "call.outcome":
            calls.setdefault(record.data["call"], []).append(record.data["status"])
    app.close()
    return {"calls": calls, "size": size}


# -- part two


def part_two(url: str, grant_id: str, folder: Path) -> tuple[str, list[str]]:
    """Returns (what happened, violations)."""
    path = folder / "expected.json"
    lag = answered(lambda: ways.run(url, grant_id, path))
    expected = json.loads(path.read_text("utf-8"))
    found = answered(lambda: recorded(url))
    wrong = []
    for place, (session, count) in sorted(expected.items()):
        here = found.pop(place, [])
        wrong += [
            f"{place} {n}: recorded in {in_session}, belongs to {session}"
            for n, in_session, _ in here
            if in_session != session
        ]
        wrong += [f"{place} {n}: ended {states}" for n, _, states in here if states != ["ok"]]
        if sorted(n for n, _, _ in here) != list(range(count)):
            wrong.append(f"{place}: {len(here)} intents for {count} calls")
    wrong += [f"{place}: calls that nobody made" for place in found if not place.startswith("p")]
    total = sum(count for _, count in expected.values())
    text = (
        f"{total} calls by {len(expected)} ways, each once and in its session; event loop with 200 acalls: "
        f"lag p50 {lag['p50']:.1f} ms, p99 {lag['p99']:.1f} ms, max {lag['max']:.1f} ms over {lag['ms']:.0f} ms"
    )
    return text, wrong


def recorded(url: str) -> dict[str, list[tuple[int, str, list[str]]]]:
    """By place: (n, session, outcomes) of each intent, read from what the evidence itself discloses."""
    app = opened(url)
    app.recover()
    app.verify()
    intents: dict[str, tuple[str, int, str]] = {}
    ended: dict[str, list[str]] = {}
    for record in app.records():
        if record.type == "call.intent":
            arguments = record.disclosed()["arguments"]
            intents[record.data["call"]] = (arguments["place"], arguments["n"], record.session)
        elif record.type == "call.outcome":
            ended.setdefault(record.data["call"], []).append(record.data["status"])
    app.close()
    found: dict[str, list[tuple[int, str, list[str]]]] = {}
    for call, (place, n, session) in intents.items():
        found.setdefault(place, []).append((n, session, ended.get(call, [])))
    return found


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=20, help="how long part one goes on (default 20)")
    parser.add_argument("--keep", action="store_true", help="leave the ledger where it is")
    options = parser.parse_args()
    import remit  # noqa: F401 - before the forks, so that none of them imports it again

    folder = Path(tempfile.mkdtemp(prefix="remit-share-"))
    url = f"sqlite:///{folder / 'shared.db'}"
    began = time.monotonic()
    grant_id = answered(lambda: begin(url))
    one, violations = part_one(url, grant_id, options.seconds)
    two, more = part_two(url, grant_id, folder)
    violations += more
    if options.keep or violations:
        print(f"the ledger lies in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return finish("share", f"{one}; {two}; {time.monotonic() - began:.0f} s", violations)


if __name__ == "__main__":
    sys.exit(main())
