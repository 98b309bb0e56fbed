"""Who can do what to evidence, and what finds it: the table that SECURITY.md shows, carried out on real ledgers.

Each column adds to the one before it. A cell that says not detected is proved like any other: by doing it, and by
verification that says all is well.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.ledger.notes import Signer
from tests.attacks.attacker import Leaf, log_key, rewrite
from tests.attacks.waiting import take_away
from tests.attacks.world import Auditor, Place, Shown, World, work

pytestmark = pytest.mark.sqlite

PAGE: Final = Path(__file__).parents[2] / "SECURITY.md"

COLUMNS: Final = (
    "a plain hash chain",
    "signed heads in the database",
    "+ an old checkpoint that the auditor keeps",
    "+ a witness, fresh",
)

CAUGHT: Final = "caught"
MISSED: Final = "-"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The morning, lived once; every attack works on a copy."""
    return World(tmp_path_factory.mktemp("world")).live()


class KeylessChain:
    """What the first column is about: each row with the hash of itself and of the row before, and no signature."""

    def __init__(self, bodies: list[bytes]) -> None:
        self.bodies = bodies
        self.links = self._compute()

    def _compute(self) -> list[str]:
        links, before = [], ""
        for body in self.bodies:
            before = hashlib.sha256(before.encode() + body).hexdigest()
            links.append(before)
        return links

    def accepts(self) -> bool:
        """Whether the hashes that lie there are those of the rows that lie there."""
        return self.links == self._compute()


class Attacked(NamedTuple):
    """What an attacker shows. `recomputed`: they also put the hashes of a plain chain right, as anybody can.

    `of`: the deployment, where it is not the one of the morning.
    """

    shown: Shown
    recomputed: bool = True
    asks: tuple[str, ...] = ("east",)
    of: World | None = None


# -- attacks


def _session(leaves: list[Leaf], number: int) -> list[Leaf]:
    """The records of the session that was opened as number `number`."""
    names = [leaf["session"] for leaf in leaves if leaf["type"] == "session.opened"]
    return [leaf for leaf in leaves if leaf.get("session") == names[number]]


def _denied(leaves: list[Leaf], number: int) -> Leaf:
    return next(leaf for leaf in _session(leaves, number) if leaf["type"] == "call.denied")


def edit(number: int) -> Callable[[list[Leaf]], None]:
    """A refused call of a session becomes a call of another tool."""

    def change(leaves: list[Leaf]) -> None:
        _denied(leaves, number)["data"]["tool"] = "kb.search"

    return change


def delete(number: int) -> Callable[[list[Leaf]], None]:
    """A refused call of a session never was."""

    def change(leaves: list[Leaf]) -> None:
        leaves.remove(_denied(leaves, number))

    return change


def _without_keys(place: Place) -> Place:
    shutil.rmtree(place.home)
    return place


def edit_only(world: World) -> Attacked:
    """One UPDATE."""
    place = _without_keys(world.copy(world.late))
    found = place.database.query("SELECT rid, body FROM record WHERE type = 'call.denied' ORDER BY rid")
    rid, body = found[1]
    place.database.execute(("UPDATE record SET body = ? WHERE rid = ?", (body.replace(b"read_ticket", b"kill"), rid)))
    return Attacked(place, recomputed=False)


def without_key(change: Callable[[list[Leaf]], None]) -> Callable[[World], Attacked]:
    """Everything that takes no key is made to fit; the signed heads are left as they are."""

    def attack(world: World) -> Attacked:
        place = _without_keys(world.copy(world.late))
        rewrite(place.database, change, world.origin, None)
        return Attacked(place)

    return attack


def foreign_key(world: World) -> Attacked:
    """Everything signed again, by a key of the attacker's, under the log's name."""
    place = world.copy(world.late)
    key = Ed25519PrivateKey.generate()
    rewrite(place.database, edit(1), world.origin, key)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (place.home / "log.key").write_bytes(pem)
    vkey = Signer(world.origin, key).verifier.vkey
    pin = (place.home / "pin.json").read_text(encoding="utf-8")
    (place.home / "pin.json").write_text(pin.replace(world.vkey, vkey), encoding="utf-8")
    return Attacked(place)


def with_key(change: Callable[[list[Leaf]], None]) -> Callable[[World], Attacked]:
    """The log's own key signs the new history; the witness is asked for its word, and refuses where it can tell."""

    def attack(world: World) -> Attacked:
        place = world.copy(world.late)
        rewrite(place.database, change, world.origin, log_key(place.home))
        assert not world.cosign(place, "east")
        return Attacked(place)

    return attack


def beyond_witness(change: Callable[[list[Leaf]], None]) -> Callable[[World], Attacked]:
    """The same to records that no witness has seen: the heads that it cosigned stay as they are."""

    def attack(world: World) -> Attacked:
        place = world.copy(world.late)
        rewrite(place.database, change, world.origin, log_key(place.home))
        assert max(size for (size,) in place.database.query("SELECT size FROM cosignature")) == world.seen
        return Attacked(place)

    return attack


def roll_back(stage: str) -> Callable[[World], Attacked]:
    """The database as it was once, cosignatures included."""

    def attack(world: World) -> Attacked:
        place = world.copy(getattr(world, stage))
        assert not world.cosign(place, "east")
        return Attacked(place)

    return attack


def _cut(leaves: list[Leaf]) -> None:
    """Back to before the second session, and so to before the head that the auditor keeps."""
    del leaves[leaves.index(_session(leaves, 0)[2]) :]


def cut_short(world: World) -> Attacked:
    """The log ends before the old checkpoint, signed by the log's key."""
    place = world.copy(world.late)
    rewrite(place.database, _cut, world.origin, log_key(place.home))
    assert not world.cosign(place, "east")
    return Attacked(place)


def _fork(world: World) -> Place:
    """The log as it was at 09:00, with another day behind it, for one auditor only."""
    place = world.copy(world.early)
    with place.open(world.clock) as app:
        work(app)
        work(app)
    assert not world.cosign(place, "east")
    return place


def fork(world: World) -> Attacked:
    """A witness refuses it."""
    return Attacked(_fork(world))


def fork_with_friend(world: World) -> Attacked:
    """A witness signs it all the same."""
    place = _fork(world)
    world.collude(place, "east")
    return Attacked(place)


def fork_with_one_friend_of_two(world: World) -> Attacked:
    """One witness signs it, the other refuses it, and the auditor wants both."""
    place = _fork(world)
    world.collude(place, "east")
    return Attacked(place, asks=("east", "west"))


def bypass(world: World) -> Attacked:
    """The tool is called beside the gate."""
    place = world.copy(world.late)
    with place.open(world.clock) as app:
        work(app)
        assert (lambda **_: "deleted")(id=89) == "deleted"
    return Attacked(place)


def false_content(world: World) -> Attacked:
    """The host says that the tool answered what it never did."""
    place = world.copy(world.late)
    with place.open(world.clock) as app:
        work(app)
        grant = next(record.data["grant"] for record in app.records() if record.type == "grant.issued")
        with app.session(grant) as session:
            assert session.call("crm.read_ticket", {"id": 88}, run=lambda **_: "what was never read")
    return Attacked(place)


def waiting(*, goes_on: bool) -> Callable[[World], Attacked]:
    """Before a record has its place nothing is signed over it; its writer's own chain is all that there is."""

    def attack(world: World) -> Attacked:
        other, shown = take_away(world, goes_on=goes_on)
        return Attacked(shown, of=other)

    return attack


class Row(NamedTuple):
    """One attack, and what each column says to it."""

    attack: str
    carry_out: Callable[[World], Attacked]
    cells: tuple[str, str, str, str]


TABLE: Final = (
    Row("a row edited, nothing recomputed", edit_only, (CAUGHT, CAUGHT, CAUGHT, CAUGHT)),
    Row("a row edited, chain and tree recomputed", without_key(edit(1)), (MISSED, CAUGHT, CAUGHT, CAUGHT)),
    Row("a row deleted, chain and tree recomputed", without_key(delete(1)), (MISSED, CAUGHT, CAUGHT, CAUGHT)),
    Row("everything signed again with a foreign key", foreign_key, (MISSED, CAUGHT, CAUGHT, CAUGHT)),
    Row(
        "with the log's key: a row edited that is older than the old checkpoint",
        with_key(edit(0)),
        (MISSED, MISSED, CAUGHT, CAUGHT),
    ),
    Row(
        "with the log's key: a row edited that is newer than the old checkpoint",
        with_key(edit(1)),
        (MISSED, MISSED, MISSED, CAUGHT),
    ),
    Row(
        "with the log's key: a row deleted that is newer than the old checkpoint",
        with_key(delete(1)),
        (MISSED, MISSED, MISSED, CAUGHT),
    ),
    Row(
        "with the log's key: a row edited or deleted that no witness has seen yet",
        beyond_witness(delete(3)),
        (MISSED, MISSED, MISSED, MISSED),
    ),
    Row("the end cut off, to before the old checkpoint", cut_short, (MISSED, MISSED, CAUGHT, CAUGHT)),
    Row(
        "the whole database rolled back, to a state since the old checkpoint",
        roll_back("middle"),
        (MISSED, MISSED, MISSED, CAUGHT),
    ),
    Row("a split view: one auditor is shown another history", fork, (MISSED, MISSED, MISSED, CAUGHT)),
    Row(
        "a split view, and the only witness that the auditor asks colludes",
        fork_with_friend,
        (MISSED, MISSED, MISSED, MISSED),
    ),
    Row(
        "a split view, and one of the two witnesses that the auditor asks colludes",
        fork_with_one_friend_of_two,
        (MISSED, MISSED, MISSED, CAUGHT),
    ),
    Row(
        "a row deleted that waits for its place, and its writer has ended",
        waiting(goes_on=False),
        (MISSED, MISSED, MISSED, MISSED),
    ),
    Row(
        "a row deleted that waits for its place, and its writer goes on",
        waiting(goes_on=True),
        (MISSED, CAUGHT, CAUGHT, CAUGHT),
    ),
    Row("a call that goes round the gate, so that no record is written", bypass, (MISSED, MISSED, MISSED, MISSED)),
    Row("false content, written by the host itself", false_content, (MISSED, MISSED, MISSED, MISSED)),
)


def observed(world: World, attacked: Attacked) -> tuple[str, ...]:
    """What each column says."""
    chain = KeylessChain(attacked.shown.bodies())
    if not attacked.recomputed:
        chain.links = KeylessChain(world.late.bodies()).links
    of = attacked.of or world
    auditors = (Auditor(of), Auditor(of, keeps=True), Auditor(of, keeps=True, asks=attacked.asks))
    accepted = (chain.accepts(), *(auditor.accepts(attacked.shown) for auditor in auditors))
    return tuple(MISSED if yes else CAUGHT for yes in accepted)


def test_the_honest_ledger_is_accepted_by_everybody(world: World) -> None:
    """Otherwise no cell below would mean anything."""
    assert observed(world, Attacked(world.copy(world.late))) == (MISSED,) * 4
    both = Auditor(world, keeps=True, asks=("east", "west"))
    assert both.accepts(world.late)


@pytest.mark.requirement("attacks:matrix")
@pytest.mark.parametrize("row", TABLE, ids=[row.attack for row in TABLE])
def test_an_attack_is_caught_by_what_the_table_says_and_by_nothing_else(world: World, row: Row) -> None:
    """One row of the table, all four cells, by database and by bundle."""
    assert observed(world, row.carry_out(world)) == row.cells


@pytest.mark.requirement("attacks:matrix")
def test_the_page_shows_this_table() -> None:
    """SECURITY.md and the test say the same, cell by cell."""
    lines = PAGE.read_text(encoding="utf-8").split("\n")
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines if line.startswith("|")]
    start = rows.index(("attack", *COLUMNS))
    shown = rows[start + 2 : start + 2 + len(TABLE)]
    assert shown == [(row.attack, *row.cells) for row in TABLE]
    assert lines[_line_of(lines, TABLE[-1].attack) + 1] == ""


def _line_of(lines: list[str], attack: str) -> int:
    return next(number for number, line in enumerate(lines) if line.startswith(f"| {attack} |"))
