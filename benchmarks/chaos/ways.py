"""Every way in which Python runs code beside other code, each making governed calls: part two of `share`.

Each way calls under a place of its own, numbered from 0, and notes in which session those calls belong.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import json
import multiprocessing
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from benchmarks.chaos.scene import forked, opened

EACH = 10
ACALLS = 200

Expected = dict[str, tuple[str, int]]


def run(url: str, grant_id: str, path: Path) -> dict[str, float]:
    """Go all the ways; write what is expected to `path`. Returns the event loop's lag in ms: p50, p99, max."""
    expected: Expected = {}
    app = opened(url)
    for way in (_threads, _activated, _executor, _stream, _forked, _fork_pool, _spawned):
        way(app, url, grant_id, expected)
    lag = asyncio.run(_loop(app, grant_id, expected))
    app.close()
    path.write_text(json.dumps(expected), "utf-8")
    return lag


def step(place: str, n: int) -> dict[str, Any]:
    """The tool."""
    time.sleep(0.002)
    return {"place": place, "n": n}


async def astep(place: str, n: int) -> dict[str, Any]:
    """The tool, asynchronous."""
    await asyncio.sleep(0.002)
    return {"place": place, "n": n}


def several(session: Any, place: str, first: int = 0, count: int = EACH) -> None:
    """Calls `first` to `first + count` of one place."""
    for n in range(first, first + count):
        session.call("work.step", {"place": place, "n": n}, run=step)


def _threads(app: Any, url: str, grant_id: str, expected: Expected) -> None:
    """Raw threads that are handed a session: one shared by four of them, and one each."""
    with app.session(grant_id) as shared:
        others = [app.session(grant_id).open() for _ in range(4)]
        threads = [threading.Thread(target=several, args=(shared, "thread-shared", k * EACH)) for k in range(4)]
        threads += [threading.Thread(target=several, args=(other, f"thread-own-{k}")) for k, other in enumerate(others)]
        _all(threads)
        expected["thread-shared"] = (shared.id, 4 * EACH)
        for k, other in enumerate(others):
            expected[f"thread-own-{k}"] = (other.id, EACH)
            other.close()


def _activated(app: Any, url: str, grant_id: str, expected: Expected) -> None:
    """A raw thread knows no current session until it activates one; a copied context brings it along."""
    import remit

    governed = remit.governed("work.step")(step)
    refused: list[str] = []

    def outside() -> None:
        try:
            governed(place="nobody", n=0)
        except remit.Denied as denied:
            refused.append(denied.code)

    with app.session(grant_id) as session:

        def activated() -> None:
            with session.activate():
                for n in range(EACH):
                    governed(place="thread-activated", n=n)

        def copied() -> None:
            for n in range(EACH):
                governed(place="thread-copied", n=n)

        context = contextvars.copy_context()
        _all(
            [
                threading.Thread(target=outside),
                threading.Thread(target=activated),
                threading.Thread(target=context.run, args=(copied,)),
            ]
        )
        expected["thread-activated"] = expected["thread-copied"] = (session.id, EACH)
    if refused != ["no_grant"]:
        raise AssertionError(f"a thread without a session was not refused with no_grant: {refused}")


def _executor(app: Any, url: str, grant_id: str, expected: Expected) -> None:
    """`run_in_executor` carries no context: the session is handed over; `to_thread` carries it."""
    import remit

    governed = remit.governed("work.step")(step)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with app.session(grant_id) as session:
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                await asyncio.gather(
                    *(loop.run_in_executor(pool, several, session, "executor", n, 1) for n in range(EACH))
                )
            await asyncio.gather(*(asyncio.to_thread(governed, place="to-thread", n=n) for n in range(EACH)))
            expected["executor"] = expected["to-thread"] = (session.id, EACH)

    asyncio.run(main())


def _stream(app: Any, url: str, grant_id: str, expected: Expected) -> None:
    """Streams that are read only after the block of their session has ended."""

    def stream(place: str, n: int) -> Iterator[int]:
        for part in range(5):
            time.sleep(0.001)
            yield part

    async def astream(place: str, n: int) -> AsyncIterator[int]:
        for part in range(5):
            await asyncio.sleep(0.001)
            yield part

    with app.session(grant_id, key="streamed") as session:
        left = [session.call("work.stream", {"place": "stream-detached", "n": n}, run=stream) for n in range(EACH)]
        expected["stream-detached"] = (session.id, EACH)
    with app.session(grant_id) as other:
        several(other, "between")
        expected["between"] = (other.id, EACH)
        for parts in left:
            if list(parts) != [0, 1, 2, 3, 4]:
                raise AssertionError("a stream lost parts")
    with app.session(grant_id) as closed:
        late = [closed.call("work.stream", {"place": "stream-closed", "n": n}, run=stream) for n in range(EACH)]
        expected["stream-closed"] = (closed.id, EACH)
    for parts in late:
        list(parts)

    async def main() -> None:
        async with app.session(grant_id, key="astreamed") as session:
            left = [await session.acall("work.stream", {"place": "astream", "n": n}, run=astream) for n in range(EACH)]
            expected["astream"] = (session.id, EACH)
        for parts in left:
            if [part async for part in parts] != [0, 1, 2, 3, 4]:
                raise AssertionError("an asynchronous stream lost parts")

    asyncio.run(main())


def _forked(app: Any, url: str, grant_id: str, expected: Expected) -> None:
    """`os.fork` inside an open session, while a thread of the parent is calling: parent and child go on in it."""

    def in_child(session: Any) -> None:
        several(session, "in-fork")
        app.close()

    with app.session(grant_id) as session:
        several(session, "before-fork")
        busy = threading.Thread(target=several, args=(session, "beside-fork", 0, 4 * EACH))
        busy.start()
        pid = forked(lambda: in_child(session))
        several(session, "after-fork")
        busy.join()
        if os.waitpid(pid, 0)[1]:
            raise AssertionError("the forked child failed")
        expected.update(dict.fromkeys(("before-fork", "in-fork", "after-fork"), (session.id, EACH)))
        expected["beside-fork"] = (session.id, 4 * EACH)


def _child(url: str, session_id: str, place: str) -> None:
    """In a process that multiprocessing made: open, join by id, call."""
    with opened(url) as app:
        several(app.join(session_id), place)


def _multiprocess(method: str, app: Any, url: str, grant_id: str, expected: Expected) -> None:
    context = multiprocessing.get_context(method)
    with app.session(grant_id) as session:
        children = [context.Process(target=_child, args=(url, session.id, f"{method}-{k}")) for k in range(2)]
        for child in children:
            child.start()
        several(session, f"{method}-parent")
        for child in children:
            child.join()
            if child.exitcode:
                raise AssertionError(f"a child made by {method} ended with {child.exitcode}")
        expected.update({f"{method}-{k}": (session.id, EACH) for k in (0, 1, "parent")})


def _fork_pool(app: Any, url: str, grant_id: str, expected: Expected) -> None:
    """multiprocessing by fork: the child has a copy of the parent's app and opens one of its own."""
    _multiprocess("fork", app, url, grant_id, expected)


def _spawned(app: Any, url: str, grant_id: str, expected: Expected) -> None:
    """multiprocessing by spawn: a fresh interpreter."""
    _multiprocess("spawn", app, url, grant_id, expected)


async def _loop(app: Any, grant_id: str, expected: Expected) -> dict[str, float]:
    """200 acalls at once over two sessions, and how late a 1 ms tick of the same loop was meanwhile."""
    lags: list[float] = []

    async def tick() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            lags.append((time.perf_counter() - began) * 1000 - 1)

    sessions = [app.session(grant_id) for _ in range(2)]
    for session in sessions:
        await asyncio.to_thread(session.open)
    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.02)
    lags.clear()
    began = time.perf_counter()
    await asyncio.gather(
        *(
            sessions[n % 2].acall("work.step", {"place": f"acall-{n % 2}", "n": n // 2}, run=astep)
            for n in range(ACALLS)
        )
    )
    took = (time.perf_counter() - began) * 1000
    ticking.cancel()
    for k, session in enumerate(sessions):
        expected[f"acall-{k}"] = (session.id, ACALLS // 2)
        await asyncio.to_thread(session.close)
    lags.sort()
    return {"p50": lags[len(lags) // 2], "p99": lags[len(lags) * 99 // 100], "max": lags[-1], "ms": took}


def _all(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
