"""An honest deployment through one morning, what an auditor keeps of it, and whatever somebody shows at noon instead.

```
09:00  a session; a witness cosigns; the auditor keeps the head: the old checkpoint
10:00  a second session; the witness cosigns
11:00  a third session; the witness cosigns: its last word
11:30  a fourth session, which no witness has seen yet
12:00  the auditor looks, and asks for a witness's word that is at most 90 minutes old
```
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

import remit
from remit.errors import VerificationError
from remit.ledger import Ledger
from remit.ledger.epochs import Epoch
from remit.ledger.merkle import EMPTY_ROOT, leaf_hash
from remit.ledger.notes import WitnessKey
from remit.ledger.proofs import Tree
from remit.ledger.witnessed import require_witnessed
from remit.remit_verify import Files, NotVerified, Roots, roots_of, verify
from remit.testing import Clock
from remit.witness.policy import Policy
from remit.witness.wire import write_submission
from remit.witness.witness import Refused, Witness, open_witness
from tests.attacks.attacker import Database

MORNING: Final = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
NOON: Final = MORNING + timedelta(hours=3)
FRESH: Final = "90m"

GRANT: dict[str, Any] = {
    "task": "Look at ticket 88",
    "principal": "user:ravi@acme.com",
    "agent": "spiffe://acme.com/agents/triage",
    "expires_in": "12h",
    "tools": {"crm.read_ticket": {"arguments": {"id": 88}}},
}


class Shown(Protocol):
    """A ledger as it is shown to auditors."""

    @property
    def url(self) -> str:
        """As `remit.open` takes it."""

    @property
    def home(self) -> Path:
        """Keys of whoever shows it, if they have any."""

    def bodies(self) -> list[bytes]:
        """Every record, in order."""


@dataclass(frozen=True)
class Place:
    """A database and a home, in a folder of their own."""

    folder: Path

    @property
    def database(self) -> Database:
        """The file."""
        return Database(self.folder / "remit.db")

    @property
    def url(self) -> str:
        """As `remit.open` takes it."""
        return self.database.url

    @property
    def home(self) -> Path:
        """Keys and pin."""
        return self.folder / "remit.db.remit"

    def bodies(self) -> list[bytes]:
        """Every record, in order."""
        return self.database.bodies()

    def copy(self, to: Path) -> Place:
        """The same somewhere else."""
        shutil.copytree(self.folder, to)
        return Place(to)

    def open(self, clock: Clock) -> remit.App:
        """As its owner, or as whoever holds its keys."""
        return remit.open(self.database.url, home=self.home, development=True, clock=clock)

    def forget(self) -> None:
        """The pin of a home whose owner wants to remember no head: whoever holds the folder can do that."""
        file = self.home / "pin.json"
        pin = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps(pin | {"size": 0, "root": EMPTY_ROOT.hex()}), encoding="utf-8")


@dataclass
class World:
    """The morning. `early`, `middle` and `late` are the place as it was at 09:00, 10:00 and 11:30."""

    folder: Path
    clock: Clock = field(default_factory=lambda: Clock(MORNING))
    witnesses: dict[str, Witness] = field(default_factory=dict)
    keys: dict[str, WitnessKey] = field(default_factory=dict)
    made: int = 0

    def live(self) -> World:
        """Everything of it."""
        start = Place(self.folder / "honest")
        start.folder.mkdir(parents=True)
        with start.open(self.clock) as app:
            self.vkey, self.origin = app.ledger.verifier_key, app.ledger.origin
        self.enlist("east", "west")
        self.early = self._stage(start, "early", witnessed=True)
        self.old = self.early.database.heads()[len(self.early.database.bodies())]
        self.clock.forward(hours=1)
        self.middle = self._stage(start, "middle", witnessed=True)
        self.clock.forward(hours=1)
        self.seen = len(self._stage(start, "seen", witnessed=True).database.bodies())
        self.clock.forward(minutes=30)
        self.late = self._stage(start, "late", witnessed=False)
        self.clock.forward(minutes=30)
        return self

    def enlist(self, *names: str) -> None:
        """Witnesses that know this log, each with its own memory, all with the clock of this world."""
        for name in names:
            files = (self.folder / f"{name}.key", self.folder / f"{name}.db")
            logs = [Epoch.parse(self.vkey)]
            witness = open_witness(*files, logs, name=f"{name}.example/w", clock=self.clock)
            self.witnesses[name], self.keys[name] = witness, witness.cosigner.key

    def _stage(self, place: Place, name: str, *, witnessed: bool) -> Place:
        with place.open(self.clock) as app:
            work(app)
        if witnessed:
            for who in self.witnesses:
                assert self.cosign(place, who)
        return place.copy(self.folder / name)

    def cosign(self, place: Place, who: str) -> bool:
        """Ask a witness for its word on the newest head of a ledger, and keep it there. False: it refuses."""
        size, note = list(place.database.heads().items())[-1]
        tree = Tree(map(leaf_hash, place.database.bodies()))
        for old in [0, *place.database.heads()]:
            if old > size:
                break
            try:
                line = self.witnesses[who].add_checkpoint(write_submission(old, tree.consistency(old, size), note))
            except Refused as refused:
                if refused.status == 409 and refused.known != old:
                    continue  # the log has to say which head the witness saw last
                return False
            self.keep(place, who, line)
            return True
        return False

    def collude(self, place: Place, who: str) -> None:
        """A witness that signs whatever its friends show it."""
        body = list(place.database.heads().values())[-1].partition(b"\n\n")[0] + b"\n"
        self.keep(place, who, self.witnesses[who].cosigner.line(body, int(self.clock().timestamp())))

    def keep(self, place: Place, who: str, line: bytes) -> None:
        """Put a cosignature where the ledger keeps them."""
        size = list(place.database.heads())[-1]
        key = self.keys[who]
        moment = int.from_bytes(base64.b64decode(line.split()[2])[4:12], "big")
        row = (f"{size}/{key.key_id.hex()}/{moment}", size, key.vkey, moment, line)
        place.database.execute(("INSERT INTO cosignature (id, size, witness, time, line) VALUES (?,?,?,?,?)", row))

    def copy(self, place: Place) -> Place:
        """For an attack of its own."""
        self.made += 1
        return place.copy(self.folder / f"attack-{self.made}")


def work(app: remit.App) -> None:
    """A session: a call that ran, one that was refused, another that ran."""
    grant = app.issue(GRANT, credential="user:ravi@acme.com")
    with app.session(grant) as session:
        session.call("crm.read_ticket", {"id": 88}, run=lambda **_: "open")
        try:
            session.call("crm.read_ticket", {"id": 89}, run=lambda **_: "open")
        except remit.Denied:
            session.call("crm.read_ticket", {"id": 88}, run=lambda **_: "still open")


# -- who looks


@dataclass(frozen=True)
class Auditor:
    """What somebody who verifies has: the log's key, and perhaps an old head and witnesses whom they ask."""

    world: World
    keeps: bool = False
    asks: Sequence[str] = ()

    def accepts(self, shown: Shown) -> bool:
        """Whether the database, and a bundle of it where somebody can export one, say that all is well."""
        found = self._accepts_database(shown)
        if isinstance(shown, Place) and (shown.home / "log.key").exists():
            assert self._accepts_bundle(shown) == found, "database and bundle have to tell the same"
        return found

    def _accepts_database(self, shown: Shown) -> bool:
        self.world.made += 1
        home = self.world.folder / f"auditor-{self.world.made}"
        home.mkdir()
        size, root = 0, EMPTY_ROOT
        if self.keeps:
            lines = self.world.old.split(b"\n")
            size, root = int(lines[1]), base64.b64decode(lines[2])
        pin = {"origin": self.world.origin, "vkey": self.world.vkey, "size": size, "root": root.hex()}
        pin["epochs"] = [{"vkey": self.world.vkey, "from": 0}]
        (home / "pin.json").write_text(json.dumps(pin), encoding="utf-8")
        try:
            with Ledger.open(shown.url, home=home, writer=False) as ledger:
                ledger.verify()
                if self.asks:
                    policy = Policy.of([self.world.keys[name] for name in self.asks])
                    require_witnessed(ledger.read(), policy, fresh=timedelta(minutes=90), now=NOON)
        except VerificationError:
            return False
        return True

    def _accepts_bundle(self, shown: Place) -> bool:
        """Whoever holds the keys exports the whole log; the auditor verifies what they get."""
        theirs = self.world.copy(shown)
        theirs.forget()
        with theirs.open(self.world.clock) as app:
            app.export(theirs.folder / "bundle", credential="user:carol@acme.com")
        kept = theirs.folder / "kept"
        kept.write_bytes(self.world.old)
        given = roots_of(
            [self.world.vkey],
            [self.world.keys[name].vkey for name in self.asks],
            fresh=FRESH if self.asks else None,
            since=kept if self.keeps else None,
        )
        try:
            verify(
                Files.open(theirs.folder / "bundle"), Roots(given.keys, given.quorum, given.fresh, given.since, NOON)
            )
        except NotVerified:
            return False
        return True
