"""kill -9 at random moments of a governed run, and what the ledger says afterwards.

    python -m benchmarks.chaos.kill --kills 100

A process with several threads and sessions makes calls of every kind. What it is told (this call ran, this call ended
ok) it writes to a file beside the ledger. It is killed at a random moment, opening and recovering included. Then:

1. every call whose body began has an intent: no intent record, no call;
2. every call that was acknowledged has exactly that outcome, and nothing later changes it;
3. every intent without an outcome has become `unknown`, and only those;
4. indexes are dense, what was written before is byte for byte the same, and the ledger verifies;
5. the counter of the grant's limit equals the calls that reserved it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.chaos.scene import GRANT, PERSON, Side, answered, finish, forked, opened

THREADS = 4
TASKS = 8


# -- the process that is killed


def victim(url: str, grant_id: str, side_path: Path, seed: int, ready: int) -> None:
    """Make calls until killed: threads with sessions of their own, one shared by key, and one event loop."""
    side = Side(side_path)
    app = opened(url)
    told = threading.Event()

    def acknowledged(details: Any) -> None:
        side.say("ended", details["call"], details.get("status") or "denied")
        if not told.is_set():
            told.set()
            os.write(ready, b"!")

    app.on("call.outcome", acknowledged)
    app.on("call.denied", acknowledged)
    workers = [
        threading.Thread(target=_calls, args=(app, grant_id, side, index, random.Random(seed * 101 + index)))
        for index in range(THREADS)
    ]
    workers.append(
        threading.Thread(target=lambda: asyncio.run(_acalls(app, grant_id, side, random.Random(seed * 101 + 99))))
    )
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _calls(app: Any, grant_id: str, side: Side, index: int, chance: random.Random) -> None:
    while True:
        key = f"shared:{index}" if index % 2 else None
        with app.session(grant_id, key=key) as session:
            for n in range(chance.randrange(5, 60)):
                with contextlib.suppress(Exception):
                    _one(session, side, index, n, chance)


def _one(session: Any, side: Side, index: int, n: int, chance: random.Random) -> None:
    kind = chance.randrange(10)
    arguments = {"place": f"t{index}", "n": n}
    if kind == 0:
        session.call("work.fail", arguments, run=_body(side, fails=True))
    elif kind == 1:
        session.call("work.step", {**arguments, "n": -1}, run=_body(side))
    elif kind == 2:
        named = {"call_id": f"{n % 7}", "scope": f"{os.getpid()}"}
        session.call("work.step", {**arguments, "n": n % 7}, run=_body(side), **named)
    elif kind == 3:
        session.call("work.step", arguments, run=_body(side), classify=lambda result: ("tool_error", "no"))
    else:
        session.call("work.step", arguments, run=_body(side, seconds=chance.choice((0, 0, 0.002, 0.01))))


async def _acalls(app: Any, grant_id: str, side: Side, chance: random.Random) -> None:
    while True:
        async with app.session(grant_id) as session:
            for n in range(10):
                batch = [
                    asyncio.create_task(
                        session.acall("work.step", {"place": "loop", "n": n}, run=_abody(side, chance.random() / 200))
                    )
                    for _ in range(TASKS)
                ]
                await asyncio.sleep(chance.random() / 200)
                chance.choice(batch).cancel()
                await asyncio.gather(*batch, return_exceptions=True)


def _body(side: Side, *, fails: bool = False, seconds: float = 0) -> Any:
    from remit.gate import current_call

    def body(place: str, n: int) -> dict[str, Any]:
        side.say("began", current_call.get())
        if seconds:
            time.sleep(seconds)
        if fails:
            raise ValueError(f"step {n} fails")
        return {"place": place, "n": n}

    return body


def _abody(side: Side, seconds: float) -> Any:
    from remit.gate import current_call

    async def body(place: str, n: int) -> dict[str, Any]:
        side.say("began", current_call.get())
        await asyncio.sleep(seconds)
        return {"place": place, "n": n}

    return body


# -- what is checked


def check(url: str, start: int, sides: list[str]) -> dict[str, Any]:
    """Recover, then compare the records from index `start` on with what the killed processes had been told."""
    app = opened(url)
    app.recover()
    wrong: list[str] = []
    intents: dict[str, str] = {}
    outcomes: dict[str, list[str]] = {}
    recovered: set[str] = set()
    bodies, size = hashlib.sha256(), start
    for record in app.ledger.records(start=start):
        if record.index != size:
            wrong.append(f"index {record.index} where {size} was expected")
        size += 1
        bodies.update(record.body)
        call = record.data.get("call")
        if record.type in ("call.intent", "call.denied"):
            intents[call] = record.type
        if record.type == "call.denied":
            outcomes.setdefault(call, []).append("denied")
        if record.type == "call.outcome":
            outcomes.setdefault(call, []).append(record.data["status"])
            if record.data.get("recovered"):
                recovered.add(call)
    began, ended = _told(sides)
    wrong += [f"call {call} ran and has no intent" for call in sorted(began - set(intents))]
    for call, status in sorted(ended.items()):
        if outcomes.get(call) != [status]:
            wrong.append(f"call {call} was acknowledged as {status}; its records say {outcomes.get(call)}")
    for call in sorted(intents):
        found = outcomes.get(call, [])
        if len(found) != 1:
            wrong.append(f"call {call} has the outcomes {found} where exactly one was expected")
        elif (found == ["unknown"]) != (call in recovered):
            wrong.append(f"call {call} ended {found[0]}, recovered: {call in recovered}")
    wrong += _rows_differ(app, {call: found[0] for call, found in outcomes.items() if found})
    app.close()
    return {
        "wrong": wrong,
        "size": size,
        "start": start,
        "digest": bodies.hexdigest(),
        "acknowledged": len(ended),
        "ran": len(began),
        "unknown": len(recovered),
        "statuses": Counter(found[0] for found in outcomes.values() if found),
    }


def _told(sides: list[str]) -> tuple[set[str], dict[str, str]]:
    began: set[str] = set()
    ended: dict[str, str] = {}
    for side in sides:
        for what, call, *rest in Side.read(Path(side)):
            if what == "began":
                began.add(call)
            else:
                ended[call] = rest[0]
    return began, ended


def _rows_differ(app: Any, outcomes: dict[str, str]) -> list[str]:
    """The read model must say what the records say."""
    from sqlalchemy import select

    from remit.store.tables import CallRow

    rows = dict(tuple(row) for row in app.ledger.read().rows(select(CallRow.id, CallRow.state)))
    return [
        f"call {call}: the calls table says {rows.get(call)}, the records say {status}"
        for call, status in outcomes.items()
        if rows.get(call) != status
    ]


def last_check(url: str, grant_id: str, segments: list[tuple[int, int, str]], sides: list[str]) -> dict[str, Any]:
    """The whole ledger once more: verify, compare every earlier segment, every acknowledgement and the counter."""
    from sqlalchemy import select

    from remit.store.tables import CounterRow

    found = check(url, 0, sides)
    app = opened(url)
    verified = app.verify()
    bodies = [record.body for record in app.ledger.records()]
    for start, end, digest in segments:
        if hashlib.sha256(b"".join(bodies[start:end])).hexdigest() != digest:
            found["wrong"].append(f"the records {start} to {end} are not what they were")
    statuses = found["statuses"]
    reserved = sum(statuses.values()) - statuses.get("denied", 0) - statuses.get("not_run", 0)
    rows = app.ledger.read().rows(select(CounterRow.value).where(CounterRow.id == f"{grant_id}/calls"))
    if [int(float(value)) for (value,) in rows] != [reserved]:
        found["wrong"].append(f"the counter says {rows}, {reserved} calls reserved it")
    if verified.size != len(bodies):
        found["wrong"].append(f"verified {verified.size} records of {len(bodies)}")
    app.close()
    return found | {"root": verified.root if isinstance(verified.root, str) else verified.root.hex()}


# -- the run


def begin(url: str) -> str:
    """Make the ledger and the grant that all victims share."""
    app = opened(url)
    grant = app.issue(GRANT, key="chaos", credential=PERSON)
    app.close()
    return str(grant.id)


def kill_one(url: str, grant_id: str, side: Path, seed: int, chance: random.Random) -> None:
    """Start a victim and kill it: one time in four while it opens and recovers, else while it works."""
    reading, writing = os.pipe()
    pid = forked(lambda: victim(url, grant_id, side, seed, writing))
    os.close(writing)
    if chance.random() < 0.25:
        time.sleep(chance.random() * 0.15)
    else:
        os.read(reading, 1)  # "" when it died by itself, which the check shows
        time.sleep(chance.random() * 0.3)
    os.close(reading)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status):
        raise RuntimeError(f"the process ended by itself with status {status}; its error stands above")


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="how many processes are killed (default 100)")
    parser.add_argument("--seconds", type=float, default=900, help="begin no further kill after this long")
    parser.add_argument("--seed", type=int, default=None, help="repeat the choices of an earlier run")
    parser.add_argument("--keep", action="store_true", help="leave the ledger where it is")
    options = parser.parse_args()
    import remit  # noqa: F401 - before the forks, so that none of them imports it again

    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    chance = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="remit-kill-"))
    url = f"sqlite:///{folder / 'chaos.db'}"
    began, done, since = time.monotonic(), 0, [0]
    grant_id = answered(lambda: begin(url))
    violations: list[str] = []
    segments: list[tuple[int, int, str]] = []
    sides: list[str] = []
    unchecked: list[str] = []
    for number in range(options.kills):
        if time.monotonic() - began > options.seconds:
            break
        side = folder / f"told-{number}"
        kill_one(url, grant_id, side, seed + number, chance)
        done += 1
        sides.append(str(side))
        unchecked.append(str(side))
        if chance.random() < 0.7:  # else the next victim finds what this one left, and may die recovering it
            found = answered(lambda: check(url, since[0], unchecked))
            violations += [f"after kill {done}: {text}" for text in found["wrong"]]
            segments.append((since[0], found["size"], found["digest"]))
            since[0] = found["size"]
            unchecked.clear()
    found = answered(lambda: last_check(url, grant_id, segments, sides))
    violations += [f"at the end: {text}" for text in found["wrong"]]
    if options.keep or violations:
        print(f"the ledger and what its processes were told lie in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    summary = (
        f"{done} kills (seed {seed}), {found['size']} records, {found['acknowledged']} calls acknowledged, "
        f"{found['ran']} ran, {found['unknown']} left dangling and now unknown, "
        f"{dict(sorted(found['statuses'].items()))}, verified, {time.monotonic() - began:.0f} s"
    )
    return finish("kill", summary, violations)


if __name__ == "__main__":
    sys.exit(main())
