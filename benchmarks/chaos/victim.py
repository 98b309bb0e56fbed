"""The process that `kill` kills: calls of every kind, in threads and in an event loop, until it dies.

What it is told (this call ran, this call ended ok) it writes to a file of its own, synced, before it goes on.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks.chaos.scene import Side, opened

THREADS = 2
TASKS = 4

BREATH = 0.02
"""Seconds before a thread tries again after the ledger could not be written."""


def victim(url: str, home: Path, grant_id: str, side_path: Path, seed: int, ready: int) -> None:
    """Make calls until killed: threads with sessions of their own, one shared by key, and one event loop."""
    threading.excepthook = _died
    side = Side(side_path)
    app = _opened(url, home)
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
    chance = random.Random(seed * 101 + 99)
    workers.append(threading.Thread(target=lambda: asyncio.run(_acalls(app, grant_id, side, chance))))
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _opened(url: str, home: Path) -> Any:
    import remit

    while True:
        try:
            return opened(url, home)
        except remit.EvidenceUnavailable:
            time.sleep(BREATH)  # the server is down, or about to be


def _died(failed: threading.ExceptHookArgs) -> None:
    """Nothing but Remit's own errors may come out of Remit: with any other this process ends, which shows."""
    traceback.print_exception(failed.exc_type, failed.exc_value, failed.exc_traceback)
    sys.stderr.flush()
    os._exit(3)


def _calls(app: Any, grant_id: str, side: Side, index: int, chance: random.Random) -> None:
    import remit

    while True:
        key = f"shared:{index}" if index % 2 else None
        try:
            with app.session(grant_id, key=key) as session:
                for n in range(chance.randrange(5, 60)):
                    _one(session, side, index, n, chance)
        except (remit.EvidenceUnavailable, remit.Denied):
            time.sleep(BREATH)


def _one(session: Any, side: Side, index: int, n: int, chance: random.Random) -> None:
    import remit

    kind = chance.randrange(10)
    arguments = {"place": f"t{index}", "n": n}
    try:
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
    except remit.EvidenceUnavailable:
        time.sleep(BREATH)
    except (Failed, remit.Denied):
        pass


async def _acalls(app: Any, grant_id: str, side: Side, chance: random.Random) -> None:
    import remit

    while True:
        try:
            async with app.session(grant_id) as session:
                for n in range(10):
                    await _batch(session, side, n, chance)
        except (remit.EvidenceUnavailable, remit.Denied):
            await asyncio.sleep(BREATH)


async def _batch(session: Any, side: Side, n: int, chance: random.Random) -> None:
    import remit

    batch = [
        asyncio.create_task(
            session.acall("work.step", {"place": "loop", "n": n}, run=_abody(side, chance.random() / 200))
        )
        for _ in range(TASKS)
    ]
    await asyncio.sleep(chance.random() / 200)
    chance.choice(batch).cancel()
    for ended in await asyncio.gather(*batch, return_exceptions=True):
        if isinstance(ended, remit.EvidenceUnavailable):
            await asyncio.sleep(BREATH)
        elif isinstance(ended, BaseException) and not isinstance(ended, remit.Denied | asyncio.CancelledError):
            raise ended


# -- the tools


class Failed(Exception):
    """What a tool that fails raises."""


def _body(side: Side, *, fails: bool = False, seconds: float = 0) -> Any:
    from remit.gate import current_call

    def body(place: str, n: int) -> dict[str, Any]:
        side.say("ran", current_call.get())  # what the tool does to the world
        if seconds:
            time.sleep(seconds)
        if fails:
            raise Failed(f"step {n} fails")
        return {"place": place, "n": n}

    return body


def _abody(side: Side, seconds: float) -> Any:
    from remit.gate import current_call

    async def body(place: str, n: int) -> dict[str, Any]:
        side.say("ran", current_call.get())
        await asyncio.sleep(seconds)
        return {"place": place, "n": n}

    return body
