"""Two hosts share one PostgreSQL ledger over a network: killed, powered off and cut off from it at any time.

    python -m benchmarks.chaos.hosts             # as root, on Linux

Each host has network, name, process ids and boot id of its own, and a copy of the ledger's home. In this order:

1. *lives*: one host is in a long call and loses its connections; the other, which looks for dead writers all the
   time, must not bury it. Then it is killed, and the other must.
2. *cut*: the host that gives records their index loses its network in the middle of a call. Its calls fail closed, and
   no tool runs; the other goes on, takes over the sequencing and buries it. The network comes back: it goes on, and
   what its tool had done meanwhile supersedes `unknown`.
3. *budget*: both spend 1,000 calls, while either is killed or powered off again and again. Exactly 1,000 are permitted.

At the end there is one log, dense, that verifies and continues every head that anybody saw.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.chaos import lan
from benchmarks.chaos.budget import grant_of
from benchmarks.chaos.judging import last_check
from benchmarks.chaos.scene import GRANT, PERSON, Side, answered, finish, opened
from benchmarks.chaos.watcher import watching

PATIENCE = 120.0
"""Seconds after which what should have happened counts as never happening."""

URL = f"postgresql+psycopg://remit@{lan.SERVER}/chaos"

THREADS = 2


# -- what hosts run


def caller(home: Path, grant_id: str, side_path: Path, gate: Path) -> None:
    """One thread makes calls all the time; another a call whose tool does not end before the file `gate` is there."""
    app, side = opened(URL, home), Side(side_path)
    app.on("call.outcome", lambda details: side.say("ended", details["call"], details["status"]))
    threading.Thread(target=_steady, args=(app, grant_id, side), daemon=True).start()
    _long(app, grant_id, side, gate)
    threading.Event().wait()


def _steady(app: Any, grant_id: str, side: Side) -> None:
    import remit

    with app.session(grant_id) as session:
        n = 0
        while True:
            began, n = time.monotonic(), n + 1
            try:
                session.call("work.step", {"place": "steady", "n": n}, run=_tool(side))
            except remit.EvidenceUnavailable as error:
                side.say("owed" if error.executed else "refused", f"{time.monotonic() - began:.1f}")
            time.sleep(0.01)


def _long(app: Any, grant_id: str, side: Side, gate: Path) -> None:
    """The long call; afterwards short ones in the same session, which first write what is owed."""
    import remit

    with app.session(grant_id, key=f"long:{side_name(gate)}") as session:
        n = 0
        while True:
            try:
                session.call("work.step", {"place": "long", "n": n}, run=_tool(side, gate))
                time.sleep(0.05)
            except remit.EvidenceUnavailable as error:
                side.say("owed" if error.executed else "refused", "0")
            n += 1


def side_name(gate: Path) -> str:
    """What tells one start of a host from the others."""
    return gate.name


def _tool(side: Side, gate: Path | None = None, *, seconds: float = 0) -> Callable[..., object]:
    from remit.gate import current_call

    def tool(place: str, n: int) -> int:
        side.say("ran", current_call.get())
        time.sleep(seconds)
        if gate is not None and not gate.exists():
            side.say("inside", current_call.get())
            while not gate.exists():
                time.sleep(0.02)
        return n

    return tool


def spender(home: Path, grant_id: str, side_path: Path) -> None:
    """Threads that call until the budget is spent, and then end."""
    side = Side(side_path)
    app = opened(URL, home)
    app.on("call.outcome", lambda details: side.say("ended", details["call"], details["status"]))
    threads = [threading.Thread(target=_spend, args=(app, grant_id, side, index)) for index in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    app.close()


def _spend(app: Any, grant_id: str, side: Side, index: int) -> None:
    import remit

    n = 0
    while True:
        try:
            with app.session(grant_id) as session:
                while True:
                    n += 1
                    place = f"{os.urandom(6).hex()}-{index}"
                    session.call("work.step", {"place": place, "n": 1}, run=_tool(side, seconds=0.01))
        except remit.EvidenceUnavailable:
            side.say("unavailable", "-")
        except remit.Denied as denied:
            side.say("denied", denied.code)
            if denied.code == "limit_reached":
                return


# -- the run


class Network:
    """The server, the hosts, and what is wrong."""

    def __init__(self, folder: Path, seed: int) -> None:
        from tests.postgres import Server

        self.folder, self.chance = folder, random.Random(seed)
        self.server = Server([f"listen_addresses={lan.SERVER}"])
        with (self.server.data / "pg_hba.conf").open("a", encoding="ascii") as rules:
            rules.write(f"host all all {lan.SERVER}/24 trust\n")
        self.server.execute("SELECT pg_reload_conf()")
        self.server.execute("CREATE DATABASE chaos")
        self.auditor = folder / "auditor"
        self.hosts = [lan.Host(number, folder / f"host-{number}") for number in (1, 2)]
        self.sides: list[Path] = []
        self.struck: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._starts = 0
        self.grant_id = str(answered(lambda: begin(self.auditor, GRANT)))
        for host in self.hosts:
            shutil.copytree(self.auditor, host.home)

    def start(self, host: lan.Host, work: Callable[[Path], object]) -> Path:
        """Boot a host; `work` is given the file in which to say what it was told."""
        self._starts += 1
        side = self.folder / f"told-{self._starts}"
        self.sides.append(side)
        host.start(lambda: work(side), self.chance)
        return side

    def sql(self, query: str) -> list[Any]:
        """What the server itself says, from beside it."""
        return self.server.execute(query, "chaos")

    def states(self, call: str) -> str | None:
        """The state of a call in the read model."""
        return next((state for (state,) in self.sql(f"SELECT state FROM calls WHERE id = '{call}'")), None)

    def leader(self) -> str | None:
        """The address of the host that gives records their index."""
        from remit.ledger.sequencer import LEADER

        high, low = (LEADER >> 32) & 0xFFFFFFFF, LEADER & 0xFFFFFFFF
        found = self.sql(
            "SELECT host(client_addr) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory'"
            f" AND granted AND objsubid = 1 AND classid = {high} AND objid = {low}"
        )
        return found[0][0] if found else None

    def until(self, what: str, holds: Callable[[], object]) -> float:
        """Wait until it is so. Returns for how long. What never happens is a violation, and ends the run."""
        began = time.monotonic()
        while not holds():
            if time.monotonic() - began > PATIENCE:
                raise NeverError(f"after {PATIENCE:g} s it was not so that {what}")
            time.sleep(0.02)
        return time.monotonic() - began


class NeverError(Exception):
    """What should have happened did not."""


def begin(home: Path, source: dict[str, Any]) -> str:
    """Make the ledger, where there is none, and a grant."""
    app = opened(URL, home)
    grant = app.issue(source, credential=PERSON)
    app.close()
    return str(grant.id)


def said(side: Path, what: str) -> list[str]:
    """What a host said of one kind."""
    return [words[1] for words in Side.read(side) if words[0] == what]


def lives(net: Network, grace: float) -> str:
    """See (1) of the module's docstring."""
    one, two = net.hosts
    gate = net.folder / "gate-never"
    told_two = net.start(two, lambda side: caller(two.home, net.grant_id, side, gate))
    net.until("a host is in its long call", lambda: said(told_two, "inside"))
    [call] = said(told_two, "inside")
    told_one = net.start(one, lambda side: caller(one.home, net.grant_id, side, net.folder / "gate-one"))
    net.until("the other host calls", lambda: said(told_one, "ended"))
    looked, until = 0, time.monotonic() + 2 * grace
    while time.monotonic() < until:
        looked += 1
        if looked == 5:  # its connections are lost, not its life
            net.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_addr = '{two.address}'")
        if net.states(call) != "running":
            net.wrong.append(f"a call of a host that lives was said to be {net.states(call)}")
            break
        time.sleep(grace / 20)
    two.kill()
    net.struck["killed"] += 1
    took = net.until("the call of a host that was killed is unknown", lambda: net.states(call) == "unknown")
    one.kill()
    net.struck["killed"] += 1
    return f"a long call outlived the loss of its connections for {2 * grace:g} s; buried {took:.1f} s after its host"


def cut(net: Network) -> str:
    """See (2) of the module's docstring."""
    one, two = net.hosts
    gate = net.folder / "gate-two"
    told_two = net.start(two, lambda side: caller(two.home, net.grant_id, side, gate))
    net.until("the host to be cut off is in its long call", lambda: said(told_two, "inside"))
    net.until("the host to be cut off sequences", lambda: net.leader() == two.address)
    [call] = said(told_two, "inside")
    told_one = net.start(one, lambda side: caller(one.home, net.grant_id, side, net.folder / "gate-one-again"))
    net.until("the other host calls", lambda: len(said(told_one, "ended")) > 10)
    two.cut()
    net.struck["cut"] += 1
    before = len(said(told_one, "ended"))
    went_on = net.until("the other host goes on", lambda: len(said(told_one, "ended")) > before + 50)
    took_over = went_on + net.until("the other host sequences", lambda: net.leader() == one.address)
    [(size,)] = net.sql("SELECT size FROM head")
    net.until("heads are signed again", lambda: net.sql("SELECT size FROM head")[0][0] > size)
    net.until("a host that was cut off is refused", lambda: len(said(told_two, "refused")) >= 2)
    ran, refused = len(said(told_two, "ran")), len(said(told_two, "refused"))
    net.until("a host that was cut off is refused again", lambda: len(said(told_two, "refused")) > refused)
    if len(said(told_two, "ran")) != ran:
        net.wrong.append("a tool ran on a host that could not record it")
    net.until("the call of a host that was cut off is unknown", lambda: net.states(call) == "unknown")
    gate.touch()  # its tool ends where nobody hears of it
    net.until("an outcome is owed", lambda: len(said(told_two, "owed")) >= 1)
    ended = len(said(told_two, "ended"))
    two.mend()
    back = net.until("the host goes on", lambda: len(said(told_two, "ended")) > ended + 20)
    net.until("what its tool did supersedes what was not known", lambda: net.states(call) == "ok")
    one.kill()
    two.kill()
    net.struck["killed"] += 2
    longest = max(float(seconds) for seconds in [*said(told_two, "refused"), *said(told_two, "owed")])
    return (
        f"cut off: refused {len(said(told_two, 'refused'))} times (at most after {longest:.1f} s), other host calling "
        f"after {went_on:.1f} s and sequencing after {took_over:.1f} s, back {back:.1f} s after the network"
    )


def spend(net: Network, budget: int, most: int) -> tuple[str, str]:
    """See (3) of the module's docstring. Returns (the grant, what happened)."""
    grant_id = str(answered(lambda: begin(net.auditor, grant_of("calls", budget))))
    first = len(net.sides)

    def start(host: lan.Host) -> Path:
        return net.start(host, lambda side: spender(host.home, grant_id, side))

    living, strikes, until = {host: start(host) for host in net.hosts}, 0, time.monotonic() + PATIENCE * 5
    while living := {host: side for host, side in living.items() if host.status() is None}:
        if time.monotonic() > until:
            raise NeverError("the budget was not spent")
        time.sleep(net.chance.random() * 0.2)
        host = net.chance.choice(list(living))
        early = net.chance.random() < 0.02  # while it boots, opens and recovers
        if strikes == most or not (early or said(living[host], "ran")):
            continue
        how = "powered off" if net.chance.random() < 0.3 else "killed"
        (host.power_off if how == "powered off" else host.kill)()
        net.struck[how] += 1
        strikes += 1
        living[host] = start(host)
    codes = Counter(code for side in net.sides[first:] for code in said(side, "denied"))
    if set(codes) != {"limit_reached"}:
        net.wrong.append(f"refused for {dict(codes)}")
    return grant_id, f"a budget of {budget} over both, {strikes} times one of them killed meanwhile"


def spent(home: Path, grant_id: str) -> dict[str, int]:
    """What the records say of a budget."""
    from sqlalchemy import select

    from remit.store.tables import CounterRow, SessionRow

    app = opened(URL, home)
    sessions = {
        row[0]
        for row in app.ledger.read().rows(select(SessionRow.id).where(SessionRow.grant_id == grant_id))  # type: ignore[call-overload,arg-type]
    }
    kinds: Counter[str] = Counter()
    for record in app.ledger.records(types=["call.intent", "call.outcome"]):
        if record.session in sessions:
            kinds[record.data.get("status", "intent")] += 1
    [(counter,)] = app.ledger.read().rows(select(CounterRow.value).where(CounterRow.id == f"{grant_id}/calls"))  # type: ignore[call-overload]
    app.close()
    permitted = kinds["intent"] - kinds["not_run"]
    return {"counter": int(float(counter)), "permitted": permitted, "unknown": kinds["unknown"], **kinds}


def hurried() -> float:
    """For a quick run: everybody loses patience sooner. Returns the seconds after which a lost writer is dead."""
    from remit import burying
    from remit.ledger import lease
    from remit.store import postgres

    lease.GRACE, burying.EVERY = 4.0, 0.5  # type: ignore[misc]
    postgres.PATIENCE, postgres.CONNECT_PATIENCE = 3.0, 2  # type: ignore[misc]
    postgres.Connection.patience = 3.0
    settings = {"tcp_keepalives_idle": "1", "tcp_keepalives_interval": "1", "tcp_user_timeout": "2s"}
    postgres._NOTICES.update(settings)
    return lease.GRACE


def run(*, quick: bool, budget: int, kills: int, seed: int, keep: bool = False) -> tuple[str, list[str]]:
    """Returns (what happened, violations)."""
    from remit.ledger import lease

    for noisy in ("remit", "psycopg"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    lan.enter()
    folder, began = Path(tempfile.mkdtemp(prefix="remit-hosts-")), time.monotonic()
    grace = hurried() if quick else lease.GRACE
    net = Network(folder, seed)
    texts: list[str] = []
    try:
        with watching(net.server.url("chaos"), folder / "notes"):
            texts.append(lives(net, grace))
            texts.append(cut(net))
            grant_id, text = spend(net, budget, kills)
            texts.append(text)
            found = answered(lambda: last_check(URL, net.auditor, net.grant_id, [], net.sides, folder / "notes"))
        net.wrong += found["wrong"]
        paid = answered(lambda: spent(net.auditor, grant_id))
        if (paid["permitted"], paid["counter"]) != (budget, budget):
            net.wrong.append(f"of a budget of {budget}, {paid}")
        texts.append(f"permitted {paid['permitted']}, counted {paid['counter']}, of which unknown {paid['unknown']}")
        texts.append(f"{found['size']} records, {found['notes']} heads seen and consistent, verified")
    except NeverError as never:
        net.wrong.append(str(never))
    finally:
        net.server.remove()
    if keep or net.wrong:
        print(f"what the hosts were told lies in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    struck = ", ".join(f"{what} {number}" for what, number in sorted(net.struck.items()))
    return f"two hosts (seed {seed}; {struck}); {'; '.join(texts)}; {time.monotonic() - began:.0f} s", net.wrong


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--budget", type=int, default=1000, help="what both may spend (default 1000)")
    parser.add_argument("--kills", type=int, default=20, help="how often one is killed while they spend (default 20)")
    parser.add_argument("--seed", type=int, default=None, help="repeat the choices of an earlier run")
    parser.add_argument("--quick", action="store_true", help="lose patience sooner than outside of tests")
    parser.add_argument("--keep", action="store_true", help="leave what the hosts were told where it is")
    options = parser.parse_args()
    if (reason := lan.why_not()) is not None:
        print(f"hosts: cannot be run here: {reason}", file=sys.stderr)
        return 2
    import remit  # noqa: F401 - before the forks, so that none of them imports it again

    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    summary, wrong = run(quick=options.quick, budget=options.budget, kills=options.kills, seed=seed, keep=options.keep)
    return finish("hosts", summary, wrong)


if __name__ == "__main__":
    sys.exit(main())
