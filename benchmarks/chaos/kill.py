"""kill -9 at random moments of a governed run, and what the ledger says afterwards.

    python -m benchmarks.chaos.kill --store sqlite --kills 500
    python -m benchmarks.chaos.kill --store postgres --kills 500

Three processes with several threads and sessions each make calls of every kind. What they are told (this call ran, this
call ended ok) each writes to a synced file. One after the other is killed at a random moment, opening and recovering
included, and replaced. On PostgreSQL one strike in three is for the process that leads as sequencer, and the server is
struck too: SIGKILL for the whole server or for one of its backends (it recovers as after a crash), and
`pg_terminate_backend` for connections. A process apart from them keeps every signed head that it sees. Then, when all
are dead:

1. every call whose tool ran has an intent, and ran once: no intent record, no call;
2. every call that was acknowledged has exactly that outcome, and nothing later changes it;
3. every intent without an outcome has become `unknown`, and only those;
4. indexes are dense, what was written before is byte for byte the same, and the ledger verifies;
5. the counter of the grant's limit equals the calls that reserved it;
6. the log as it is continues every head that anybody ever saw, by consistency proofs.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.chaos.judging import Segment, check, last_check
from benchmarks.chaos.places import Place, place_of
from benchmarks.chaos.scene import GRANT, PERSON, answered, finish, forked, opened
from benchmarks.chaos.victim import victim
from benchmarks.chaos.watcher import watching

PROCESSES = 3

GOING = 60.0
"""Seconds within which a process must have had its first call acknowledged, the server's crashes included."""


class Running:
    """A process that makes calls."""

    def __init__(self, place: Place, grant_id: str, folder: Path, number: int, seed: int) -> None:
        self.name = f"p{number}"
        self.side = folder / f"told-{number}"
        reading, writing = os.pipe()
        self.pid = forked(lambda: victim(place.url(self.name), place.home, grant_id, self.side, seed + number, writing))
        os.close(writing)
        self._told = reading
        self._going = False

    def going(self) -> bool:
        """Wait until its first call was acknowledged."""
        if not self._going:
            ready, _, _ = select.select([self._told], [], [], GOING)
            self._going = bool(ready and os.read(self._told, 1))
        return self._going

    def kill(self) -> str | None:
        """Kill it. Returns what is wrong, when it had ended by itself."""
        os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        os.close(self._told)
        if os.WIFSIGNALED(status):
            return None
        return f"process {self.name} ended by itself with status {status}; its error stands above"


class Run:
    """All the strikes of one run, and what was found."""

    def __init__(self, place: Place, folder: Path, seed: int, kills: int) -> None:
        self.place, self.folder, self.seed, self.kills = place, folder, seed, kills
        self.chance = random.Random(seed)
        self.struck: Counter[str] = Counter()
        self.killed = 0
        self.wrong: list[str] = []
        self.segments: list[Segment] = []
        self.sides: list[Path] = []
        self._unchecked: list[Path] = []
        self._since = 0
        self._started = 0
        self._living: list[Running] = []
        self.grant_id = str(answered(lambda: begin(place)))

    # -- strikes

    def round(self) -> None:
        """Start processes, strike several times, kill what is left; most times see what that leaves."""
        while len(self._living) < PROCESSES:
            self._start()
        for _ in range(self.chance.randrange(3, 9)):
            if self.killed + len(self._living) >= self.kills:
                break
            self._strike()
        while self._living:
            if len(self._living) == 1 or self.chance.random() < 0.5:
                self._survive(self._living[0])
            self._kill(self.chance.choice(self._living), "process")
        if self.chance.random() < 0.7:  # else the next processes find what these left, and may die recovering it
            self._check()

    def _start(self) -> Running:
        started = Running(self.place, self.grant_id, self.folder, self._started, self.seed)
        self._started += 1
        self.sides.append(started.side)
        self._unchecked.append(started.side)
        self._living.append(started)
        return started

    def _strike(self) -> None:
        what = self.chance.choices(list(self.place.strikes), list(self.place.strikes.values()))[0]
        if what in ("process", "leader"):
            self._strike_process(what)
            return
        self._survive(self.chance.choice(self._living))
        self.killed += self.place.strike(what, self.chance)
        self.struck[what] += 1

    def _strike_process(self, what: str) -> None:
        """One time in four while it opens and recovers, else while it works."""
        if what == "process" and self.chance.random() < 0.25:
            fresh = self._start()
            time.sleep(self.chance.random() * 0.15)
            self._kill(fresh, "process")
            return
        aim = self.chance.choice(self._living)
        self._survive(aim)
        if what == "leader":
            named = self.place.leader([one.name for one in self._living])
            aim = next((one for one in self._living if one.name == named), aim)
            what = what if aim.name == named else "process"
        self._kill(aim, what)
        self._start()

    def _survive(self, one: Running) -> None:
        """Let it work for a random while."""
        if not one.going():
            self.wrong.append(f"process {one.name} had no call acknowledged within {GOING:g} s")
        time.sleep(self.chance.random() * 0.25)

    def _kill(self, one: Running, what: str) -> None:
        self._living.remove(one)
        found = one.kill()
        self.wrong += [found] if found else []
        self.killed += 1
        self.struck[what] += 1

    # -- what it leaves

    def _check(self) -> None:
        place, since, sides = self.place, self._since, self._unchecked
        found = answered(lambda: check(place.url(), place.home, self.grant_id, since, sides))
        self.wrong += [f"after kill {self.killed}: {text}" for text in found["wrong"]]
        if found["superseded"]:
            self.wrong.append(f"{found['superseded']} calls of living processes were taken for those of dead ones")
        self.segments.append(Segment(since, found["size"], found["digest"]))
        self._since, self._unchecked = found["size"], []

    def end(self, notes: Path) -> dict[str, Any]:
        """The whole ledger once more."""
        place = self.place
        found: dict[str, Any] = answered(
            lambda: last_check(place.url(), place.home, self.grant_id, self.segments, self.sides, notes)
        )
        self.wrong += [f"at the end: {text}" for text in found["wrong"]]
        return found


def begin(place: Place) -> str:
    """Make the ledger and the grant that all processes share."""
    app = opened(place.url(), place.home)
    grant = app.issue(GRANT, key="chaos", credential=PERSON)
    app.close()
    return str(grant.id)


def run(store: str, kills: int, *, seed: int, seconds: float, keep: bool = False) -> tuple[str, list[str]]:
    """Returns (what happened, violations)."""
    import remit  # noqa: F401 - before the forks, so that none of them imports it again

    for noisy in ("remit", "psycopg"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)  # what breaks is said thousands of times
    folder = Path(tempfile.mkdtemp(prefix="remit-kill-"))
    place = place_of(store, folder)
    began, notes = time.monotonic(), folder / "notes"
    try:
        chaos = Run(place, folder, seed, kills)
        with watching(place.url("watcher"), notes):
            while chaos.killed < kills and time.monotonic() - began < seconds:
                chaos.round()
            found = chaos.end(notes)
    finally:
        place.remove()
    if keep or chaos.wrong:
        print(f"the ledger and what its processes were told lie in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    struck = ", ".join(f"{what} {number}" for what, number in sorted(chaos.struck.items()))
    summary = (
        f"{place.version}: {chaos.killed} kills (seed {seed}; {struck}), {found['size']} records, "
        f"{found['acknowledged']} calls acknowledged, {found['ran']} tools ran, "
        f"{found['unknown']} left dangling and now unknown, {dict(sorted(found['statuses'].items()))}, "
        f"{found['notes']} heads seen and consistent, verified, {time.monotonic() - began:.0f} s"
    )
    return summary, chaos.wrong


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite", help="where the ledger lies")
    parser.add_argument("--kills", type=int, default=100, help="how many processes are killed (default 100)")
    parser.add_argument("--seconds", type=float, default=1800, help="begin no further round after this long")
    parser.add_argument("--seed", type=int, default=None, help="repeat the choices of an earlier run")
    parser.add_argument("--keep", action="store_true", help="leave the ledger where it is")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    summary, wrong = run(options.store, options.kills, seed=seed, seconds=options.seconds, keep=options.keep)
    return finish("kill", summary, wrong)


if __name__ == "__main__":
    sys.exit(main())
