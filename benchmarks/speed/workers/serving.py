"""How a worker process answers: one JSON line asks for one batch, one JSON line gives its numbers.

The coordinator asks the workers in turn (A B A B …), so a burst of other load on the machine falls on all of them
alike. Standard library only: this runs in the peers' environments too.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `workload`

Case = Callable[[Mapping[str, Any]], dict[str, Any]]


def cost(call: Callable[[int], object], calls: int, *, flush: Callable[[], object] | None = None) -> dict[str, Any]:
    """CPU of the whole process (every thread) and wall time per call, in µs, over one batch of calls made in turn."""
    gc.collect()
    wall, cpu = time.perf_counter_ns(), time.process_time_ns()
    for n in range(calls):
        call(n)
    if flush is not None:
        flush()
    return {
        "cpu": (time.process_time_ns() - cpu) / calls / 1000,
        "wall": (time.perf_counter_ns() - wall) / calls / 1000,
    }


def latencies(call: Callable[[int], object], calls: int) -> dict[str, Any]:
    """Each call timed alone, in ns: the clock's own reading (about 0.1 µs) is included."""
    gc.collect()
    clock = time.perf_counter_ns
    found = []
    for n in range(calls):
        began = clock()
        call(n)
        found.append(clock() - began)
    return {"ns": found}


def threads(call: Callable[[int], object], callers: int, calls: int) -> dict[str, Any]:
    """`callers` threads make `calls` calls. Per second, µs CPU per call, and ms per call at p50 and p99."""
    each = max(1, calls // callers)
    start = threading.Barrier(callers + 1)
    spent: list[list[int]] = [[] for _ in range(callers)]
    failures: list[BaseException] = []

    def caller(index: int) -> None:
        clock, mine = time.perf_counter_ns, spent[index]
        start.wait()
        try:
            for n in range(each):
                began = clock()
                call(index * each + n)
                mine.append(clock() - began)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that asked
            failures.append(error)

    gc.collect()
    running = [threading.Thread(target=caller, args=(index,)) for index in range(callers)]
    for thread in running:
        thread.start()
    start.wait()
    wall, cpu = time.perf_counter_ns(), time.process_time_ns()
    for thread in running:
        thread.join()
    return _rate(each * callers, wall, cpu, spent, failures)


def tasks(call: Callable[[int], Awaitable[object]], callers: int, calls: int) -> dict[str, Any]:
    """As `threads`, with asyncio tasks on one event loop; also how late the loop was with a 1 ms tick, in ms."""
    return asyncio.run(_tasks(call, callers, calls))


async def _tasks(call: Callable[[int], Awaitable[object]], callers: int, calls: int) -> dict[str, Any]:
    each = max(1, calls // callers)
    spent: list[list[int]] = [[] for _ in range(callers)]
    lags: list[int] = []
    clock = time.perf_counter_ns

    async def caller(index: int) -> None:
        mine = spent[index]
        for n in range(each):
            began = clock()
            await call(index * each + n)
            mine.append(clock() - began)

    async def tick() -> None:
        while True:
            began = clock()
            await asyncio.sleep(0.001)
            lags.append(clock() - began - 1_000_000)

    gc.collect()
    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.02)
    lags.clear()
    wall, cpu = clock(), time.process_time_ns()
    done = await asyncio.gather(*(caller(index) for index in range(callers)), return_exceptions=True)
    found = _rate(each * callers, wall, cpu, spent, [each for each in done if isinstance(each, BaseException)])
    ticking.cancel()
    return {**found, "lag": [lag / 1e6 for lag in lags]}


def _rate(calls: int, wall: int, cpu: int, spent: list[list[int]], failures: list[BaseException]) -> dict[str, Any]:
    took, burnt = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
    if failures:
        raise failures[0]
    latency = sorted(ns for mine in spent for ns in mine)
    return {
        "rate": calls / took * 1e9,
        "cpu": burnt / calls / 1000,
        "p50": latency[len(latency) // 2] / 1e6,
        "p99": latency[len(latency) * 99 // 100] / 1e6,
    }


def serve(cases: Mapping[str, Case], about: Mapping[str, Any]) -> None:
    """Answer until standard input ends. Whatever a library prints goes to standard error."""
    answers = sys.stdout
    sys.stdout = sys.stderr

    def answer(content: Mapping[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    answer({"ready": True, **about})
    for line in sys.stdin:
        asked = json.loads(line)
        answer(cases[asked["case"]](asked))
