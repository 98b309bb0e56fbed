"""Records on PostgreSQL that wait for their place: a host that only appends, and nobody who sequences."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import remit
from remit.ledger import Ledger
from remit.ledger.canonical import canonical
from remit.ledger.merkle import Frontier, leaf_hash
from remit.testing import Clock
from remit.witness.keeping import Keeper
from remit.witness.policy import Policy
from remit.witness.wire import write_submission
from tests.attacks.world import NOON, World, work
from tests.postgres import server

DATABASE = "attacked"


@dataclass(frozen=True)
class OnServer:
    """A ledger on the server, as auditors see it. Nobody exports a bundle of what is not sequenced."""

    home: Path

    @property
    def url(self) -> str:
        """As `remit.open` takes it."""
        return server().url(DATABASE)

    def bodies(self) -> list[bytes]:
        """Every record in its place, then those that wait for one."""
        placed = server().execute("SELECT body FROM leaf JOIN record USING (rid) ORDER BY idx", DATABASE)
        waiting = server().execute("SELECT body FROM pending JOIN record USING (rid) ORDER BY rid", DATABASE)
        return [bytes(body) for (body,) in [*placed, *waiting]]


def take_away(world: World, *, goes_on: bool) -> tuple[World, OnServer]:
    """A record that waits is deleted, and what its writer wrote after it is made to fit. `goes_on`: it writes again.

    Returns another deployment, on the server, and its ledger as it is shown.
    """
    other, shown = _begin(world.folder / f"server-{goes_on}")
    appending = _appends_only(other, shown)
    for number in range(3):
        _append(appending, number)
    if goes_on:
        _delete_first_waiting()
        _append(appending, 3)
    appending.close()
    if not goes_on:
        _delete_first_waiting()
    return other, shown


def _begin(folder: Path) -> tuple[World, OnServer]:
    """A ledger with a session, sequenced, cosigned and kept by the auditor."""
    folder.mkdir()
    server().execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
    server().execute(f"CREATE DATABASE {DATABASE}")
    world, shown = World(folder, Clock(NOON - timedelta(minutes=30))), OnServer(folder / "home")
    with remit.open(shown.url, home=shown.home, development=True, clock=world.clock) as app:
        world.vkey, world.origin = app.ledger.verifier_key, app.ledger.origin
        work(app)
        app.ledger.wait_sequenced([list(app.records())[-1].id])
        [(size, note)] = server().execute("SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1", DATABASE)
        world.old = bytes(note)
        world.enlist("east")
        line = world.witnesses["east"].add_checkpoint(write_submission(0, [], world.old))
        key = world.keys["east"]
        Keeper(app.ledger, Policy.of([key])).keep(key, size, int(world.clock().timestamp()), line, Frontier())
    return world, shown


def _appends_only(world: World, shown: OnServer) -> Ledger:
    home = world.folder / "appends"
    shutil.copytree(shown.home, home)
    (home / "log.key").unlink()
    shutil.rmtree(shown.home)
    return Ledger.open(shown.url, home=home, clock=world.clock)


def _append(ledger: Ledger, number: int) -> None:
    draft = ledger.draft("auth.failed", data={"n": number})
    ledger.run(lambda txn: txn.append(draft))


def _delete_first_waiting() -> None:
    """The first `auth.failed` goes; what its writer wrote after it is counted and chained anew."""
    query = "SELECT rid, body FROM pending JOIN record USING (rid) ORDER BY rid"
    rows = [(rid, json.loads(bytes(body))) for rid, body in server().execute(query, DATABASE)]
    at = next(at for at, (_, leaf) in enumerate(rows) if leaf["type"] == "auth.failed")
    prev = rows[at][1]["prev"]
    with server().connect(DATABASE) as connection:
        connection.execute("SET session_replication_role = replica")
        for table in ("pending", "record"):
            connection.execute(f"DELETE FROM {table} WHERE rid = %s", (rows[at][0],))
        for rid, leaf in rows[at + 1 :]:
            body = canonical(leaf | {"wseq": leaf["wseq"] - 1, "prev": prev})
            prev = leaf_hash(body).hex()
            connection.execute("UPDATE record SET body = %s, wseq = %s WHERE rid = %s", (body, leaf["wseq"] - 1, rid))
