"""Who changes what, and where verification says so. What cannot be found without a witness is in the table, too."""

from __future__ import annotations

import base64
import json
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.errors import VerificationError
from remit.ledger import Ledger
from remit.ledger.canonical import canonical
from remit.ledger.merkle import Frontier, leaf_hash
from remit.ledger.notes import Signer
from tests.ledger.conftest import Place, append

pytestmark = pytest.mark.sqlite


class Evidence(NamedTuple):
    """A closed ledger with a session, artefacts and payloads; index 0 is recorder.started, 9 recorder.stopped."""

    place: Place
    vkey: str

    def verify(self) -> Any:
        """Verification as an auditor runs it: from another process's point of view, without writing."""
        with self.place.open(writer=False) as ledger:
            return ledger.verify()

    def index_of_failure(self) -> int | None:
        """Where verification (opening included) says that it breaks."""
        with pytest.raises(VerificationError) as found:
            self.verify()
        return found.value.index


@pytest.fixture
def evidence(place: Place) -> Evidence:
    """Eight records between the writer's first and last, the pin at the very end."""
    ledger = place.create()
    append(ledger, n=1)
    append(ledger, "s-1", n=2)
    append(ledger, "s-1", n=3)
    _with_artefact(ledger)
    _with_payload(ledger)
    append(ledger, "s-2", n=6)
    ledger.run(_closing(ledger, "s-1", {ledger.writer_id: 1}))
    append(ledger, n=8)
    ledger.close()
    return Evidence(place, ledger.verifier_key)


def _with_artefact(ledger: Ledger) -> None:
    def job(txn: Any) -> None:
        digest = txn.artefact(b"terms of a grant")
        txn.append(ledger.draft("auth.succeeded", data={"digest": digest}))

    ledger.run(job)


def _with_payload(ledger: Ledger) -> None:
    draft = ledger.draft("auth.succeeded", data={}, private={"arguments": {"id": 88}})
    ledger.run(lambda txn: txn.append(draft))


def _closing(ledger: Ledger, session: str, writers: dict[str | None, int]) -> Callable[[Any], Any]:
    draft = ledger.draft("session.closed", session=session, data={"writers": writers})
    return lambda txn: txn.append(draft)


def test_untouched_evidence_verifies(evidence: Evidence) -> None:
    """The table below changes one thing at a time; this is what it changes."""
    found = evidence.verify()
    assert (found.size, found.checkpoints, found.writers, found.sessions, found.erased) == (10, 9, 1, 2, 0)
    assert (found.pinned_size, found.payloads_opened) == (10, True)


TABLE: list[tuple[str, tuple[str, ...], int | None]] = [
    ("edit a body", ("UPDATE record SET body = CAST(replace(body, '\"n\":3', '\"n\":4') AS BLOB) WHERE rid = 3",), 3),
    ("edit a body to no JSON", ("UPDATE record SET body = x'7b' WHERE rid = 3",), 3),
    ("edit a body to another type", ("UPDATE record SET body = CAST('[1]' AS BLOB) WHERE rid = 3",), 3),
    ("make a body text", ("UPDATE record SET body = 'text' WHERE rid = 3",), 3),
    ("edit the columns beside a body", ("UPDATE record SET type = 'auth.failed' WHERE rid = 3",), 3),
    ("edit the time beside a body", ("UPDATE record SET time = '2020-01-01T00:00:00.000000Z' WHERE rid = 3",), 3),
    ("delete a leaf", ("DELETE FROM leaf WHERE idx = 4",), 4),
    ("delete a record", ("DELETE FROM record WHERE rid = 4",), 4),
    ("delete a record and its leaf", ("DELETE FROM record WHERE rid = 4", "DELETE FROM leaf WHERE idx = 4"), 4),
    (
        "delete a record, its leaf, and close the gap",
        (
            "DELETE FROM record WHERE rid = 4",
            "DELETE FROM leaf WHERE idx = 4",
            "UPDATE leaf SET idx = idx - 1 WHERE idx > 4",
        ),
        4,
    ),
    (
        "swap two",
        ("UPDATE leaf SET rid = CASE idx WHEN 2 THEN 3 ELSE 2 END WHERE idx IN (2, 3)",),
        2,
    ),
    ("move one to the end", ("UPDATE leaf SET idx = 10 WHERE idx = 2",), 2),
    ("tell one twice", ("UPDATE leaf SET rid = 2 WHERE idx = 3",), 3),
    (
        "insert one",
        (
            "INSERT INTO record SELECT 10, 'r-new', writer, 9, NULL, NULL, type, time, body FROM record WHERE rid = 3",
            "INSERT INTO leaf VALUES (10, 10)",
        ),
        10,
    ),
    (
        "hide one beside the tree",
        ("INSERT INTO record SELECT 10, 'r-new', writer, 99, session, 99, type, time, body FROM record WHERE rid = 3",),
        None,
    ),
    (
        "cut off the end",
        ("DELETE FROM record WHERE rid > 7", "DELETE FROM leaf WHERE idx > 7", "DELETE FROM checkpoint WHERE size > 8"),
        10,
    ),
    (
        "cut off the end and leave its head",
        ("DELETE FROM record WHERE rid > 7", "DELETE FROM leaf WHERE idx > 7"),
        8,
    ),
    ("empty the log", ("DELETE FROM record", "DELETE FROM leaf", "DELETE FROM checkpoint"), 10),
    ("drop the newest head", ("DELETE FROM checkpoint WHERE size = 10",), 10),
    ("edit a head", ("UPDATE checkpoint SET note = CAST(replace(note, '4', '5') AS BLOB) WHERE size = 4",), 3),
    (
        "swap two heads",
        (
            "UPDATE checkpoint SET size = 99 WHERE size = 4",
            "UPDATE checkpoint SET size = 4 WHERE size = 5",
            "UPDATE checkpoint SET size = 5 WHERE size = 99",
        ),
        3,
    ),
    (
        "use a head twice",
        ("UPDATE checkpoint SET note = (SELECT note FROM checkpoint WHERE size = 5) WHERE size = 4",),
        3,
    ),
    ("make a head text", ("UPDATE checkpoint SET note = 'x' WHERE size = 4",), None),
    ("change the frontier", ("UPDATE head SET frontier = zeroblob(64)",), 10),
    ("take the frontier back", ("UPDATE head SET size = 9",), 10),
    ("drop the frontier", ("DELETE FROM head",), 10),
    ("edit an artefact", ("UPDATE artefact SET content = CAST('other terms' AS BLOB)",), 4),
    ("delete an artefact", ("DELETE FROM artefact",), 4),
    (
        "smuggle an artefact in",
        ("INSERT INTO artefact VALUES ('sha256:" + "0" * 64 + "', x'00')",),
        None,
    ),
    ("edit a payload", ("UPDATE payload SET ciphertext = zeroblob(60)",), 5),
    ("delete a payload", ("DELETE FROM payload",), 5),
    ("smuggle a payload in", ("INSERT INTO payload VALUES ('r-none', x'00', x'00')",), None),
    ("drop a table", ("DROP TABLE leaf",), None),
]


@pytest.mark.requirement("R6")
@pytest.mark.requirement("R3")
@pytest.mark.parametrize(("statements", "index"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_a_change_in_the_database_is_found_and_placed(
    evidence: Evidence, statements: tuple[str, ...], index: int | None
) -> None:
    """One row of the table: what was changed, and the first record at which that shows."""
    evidence.place.tamper(*statements)
    assert evidence.index_of_failure() == index


def test_an_edit_within_a_batch_is_placed_at_the_record(place: Place) -> None:
    """One head covers the whole batch; the chain still says which of its records was changed."""
    with place.create() as ledger:
        drafts = [ledger.draft("auth.succeeded", data={"n": n}) for n in range(20)]
        ledger.run(lambda txn: [txn.append(draft) for draft in drafts])
    place.tamper("UPDATE record SET body = CAST(replace(body, '\"n\":6', '\"n\":7') AS BLOB) WHERE rid = 7")
    with place.open(writer=False) as ledger, pytest.raises(VerificationError) as found:
        ledger.verify()
    assert found.value.index == 7


@pytest.mark.requirement("I9")
@pytest.mark.parametrize("table", ["record", "leaf", "checkpoint", "artefact"])
def test_the_database_itself_refuses_to_change_evidence(evidence: Evidence, table: str) -> None:
    """An accident (a script, a wrong WHERE) meets a trigger; an attacker would drop it, and meets the verifier."""
    column = {"record": "body", "leaf": "rid", "checkpoint": "note", "artefact": "content"}[table]
    for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):
        with pytest.raises(sqlite3.IntegrityError, match="never changed"):
            evidence.place.tamper(statement, keep_triggers=True)
    evidence.verify()


# -- an attacker who rebuilds everything


def rebuild(place: Place, change: Callable[[list[dict[str, Any]]], None], key: Ed25519PrivateKey) -> None:
    """Change parsed leaves, then recompute chains, tree and heads over them, and sign with `key`."""
    pin = json.loads((place.home / "pin.json").read_text())
    signer = Signer(pin["origin"], key)
    leaves = [json.loads(body) for (body,) in place.query("SELECT body FROM record ORDER BY rid")]
    sizes = {size for (size,) in place.query("SELECT size FROM checkpoint")}
    before = len(leaves)
    change(leaves)
    frontier, prev, heads, rows = Frontier(), "", [], []
    for index, leaf in enumerate(leaves):
        leaf |= {"prev": prev, "wseq": index}
        body = canonical(leaf)
        hashed = leaf_hash(body)
        prev = hashed.hex()
        frontier.append(hashed)
        rows.append((index, leaf, body))
        if frontier.size in sizes or index == len(leaves) - 1:
            heads.append((frontier.size, signer.checkpoint(frontier.size, frontier.root())))
    place.tamper("DELETE FROM record", "DELETE FROM leaf", "DELETE FROM checkpoint")
    with closing(sqlite3.connect(place.database)) as connection, connection:
        for index, leaf, body in rows:
            values = [
                leaf["id"],
                leaf["writer"],
                index,
                leaf.get("session"),
                leaf.get("sseq"),
                leaf["type"],
                leaf["time"],
            ]
            connection.execute("INSERT INTO record VALUES (?,?,?,?,?,?,?,?,?)", (index, *values, body))
            connection.execute("INSERT INTO leaf VALUES (?,?)", (index, index))
        connection.executemany("INSERT INTO checkpoint VALUES (?,?)", heads)
        connection.execute("UPDATE head SET size = ?, frontier = ?", (frontier.size, frontier.to_bytes()))
    assert before


def log_key(place: Place) -> Ed25519PrivateKey:
    """The log's own key, for an attacker who has it."""
    key = serialization.load_pem_private_key((place.home / "log.key").read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def _edit(leaves: list[dict[str, Any]]) -> None:
    leaves[3]["data"]["n"] = 4


@pytest.mark.requirement("R6")
def test_a_history_signed_again_with_another_key_is_refused(evidence: Evidence) -> None:
    """Everything is consistent, but not signed by the key that was pinned."""
    rebuild(evidence.place, _edit, Ed25519PrivateKey.generate())
    assert evidence.index_of_failure() == 9


@pytest.mark.requirement("R6")
def test_a_rewritten_history_is_refused_even_with_the_logs_own_key(evidence: Evidence) -> None:
    """Whoever holds the log key can sign anything; the head that was seen before still gives it away."""
    rebuild(evidence.place, _edit, log_key(evidence.place))
    assert evidence.index_of_failure() in (0, 10)


@pytest.mark.requirement("R6")
def test_a_log_taken_back_is_refused_even_with_the_logs_own_key(evidence: Evidence) -> None:
    """A shorter log, perfectly signed, lacks the head that was seen before."""
    rebuild(evidence.place, lambda leaves: leaves.__delitem__(slice(8, None)), log_key(evidence.place))
    assert evidence.index_of_failure() == 10


@pytest.mark.parametrize(
    ("seen", "found"),
    [(10, True), (3, False)],
    ids=["rewriting what was seen is found", "rewriting what was never seen needs a witness"],
)
def test_what_the_pin_can_and_cannot_tell(evidence: Evidence, seen: int, found: bool) -> None:
    """With the log key, a change newer than the last head seen elsewhere is not found: SECURITY.md says so."""
    note = evidence.place.query(f"SELECT note FROM checkpoint WHERE size = {seen}")[0][0].decode().split("\n")
    pin_file = evidence.place.home / "pin.json"
    pin = json.loads(pin_file.read_text())
    pin |= {"size": seen, "root": base64.b64decode(note[2]).hex()}
    pin_file.write_text(json.dumps(pin))
    rebuild(evidence.place, _edit, log_key(evidence.place))
    if found:
        evidence.index_of_failure()
    else:
        assert evidence.verify().size == 10


@pytest.mark.requirement("R3")
@pytest.mark.parametrize(
    ("change", "index"),
    [
        (lambda leaves: leaves[3].update(sseq=5), 3),
        (lambda leaves: leaves[7]["data"]["writers"].update({leaves[0]["writer"]: 5}), 7),
        (lambda leaves: leaves[7]["data"].update(writers={}), 7),
        (lambda leaves: leaves[7]["data"].update(writers=3), 7),
        (lambda leaves: leaves[4].update(time="2020-01-01T00:00:00.000000Z"), 4),
        (lambda leaves: leaves[4].update(v=2), 4),
        (lambda leaves: leaves[4].update(type="call.intent"), 4),
        (lambda leaves: leaves[4].update(type="call.guess"), 4),
        (lambda leaves: leaves[4].update(extra=1), 4),
        (lambda leaves: leaves[4].update(artefacts=[]), None),
        (lambda leaves: leaves[4].update(artefacts=["sha256:00"]), None),
        (lambda leaves: leaves[8].update(artefacts=leaves[4]["artefacts"]), 8),
        (lambda leaves: leaves[5].pop("private"), None),
        (lambda leaves: leaves[5].update(private={"arguments": {}}), 5),
        (lambda leaves: leaves[5]["private"]["arguments"].update(each={"id": "0"}), 5),
        (lambda leaves: leaves[8].update(type="evidence.erased", data={"records": 7}), 8),
        (lambda leaves: leaves[8].update(type="evidence.erased", data={"records": [leaves[5]["id"]]}), 5),
    ],
    ids=range(17),
)
def test_a_false_history_that_is_signed_in_order_is_still_refused(
    evidence: Evidence, change: Callable[[list[dict[str, Any]]], Any], index: int | None
) -> None:
    """Signatures are not all: sequences, counts, times, shapes, artefacts and commitments have to be right, too."""
    pin_file = evidence.place.home / "pin.json"
    pin = json.loads(pin_file.read_text())
    pin_file.write_text(json.dumps(pin | {"size": 0, "root": pin["root"]}))
    rebuild(evidence.place, change, log_key(evidence.place))
    assert evidence.index_of_failure() == index


# -- files that are no ledger


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage" * 1000, b"SQLite format 3\x00" + b"\x00" * 5000],
    ids=["empty", "garbage", "header only"],
)
def test_a_file_that_is_no_ledger_is_a_sentence(evidence: Evidence, content: bytes) -> None:
    """Whatever lies at the path: one error of ours, never a traceback of SQLite's."""
    for suffix in ("-wal", "-shm"):
        Path(str(evidence.place.database) + suffix).unlink(missing_ok=True)
    evidence.place.database.write_bytes(content)
    assert evidence.index_of_failure() is None


def test_a_missing_or_truncated_database_is_a_sentence(evidence: Evidence) -> None:
    """Half a file, and none."""
    whole = evidence.place.database.read_bytes()
    evidence.place.database.write_bytes(whole[: len(whole) // 2])
    evidence.index_of_failure()
    evidence.place.database.unlink()
    assert evidence.index_of_failure() is None


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"origin": 1}', "null", '{"vkey": "a+b+c"}'])
def test_a_damaged_pin_is_a_sentence(evidence: Evidence, content: str) -> None:
    """Without its trust root nothing verifies: that fails, it is not skipped."""
    (evidence.place.home / "pin.json").write_text(content)
    evidence.index_of_failure()
    (evidence.place.home / "pin.json").unlink()
    evidence.index_of_failure()


@pytest.mark.requirement("R6")
def test_random_damage_to_the_file_is_found_or_harmless(evidence: Evidence, tmp_path: Path) -> None:
    """300 flipped bits, one at a time: either verification says no in our words, or all evidence reads as before."""
    chance = random.Random(4711)
    whole = evidence.place.database.read_bytes()
    with evidence.place.open(writer=False) as ledger:
        before = [(record.body, record.disclosed()) for record in ledger.records()]
    found = 0
    for _ in range(300):
        changed = bytearray(whole)
        bit = chance.randrange(len(whole) * 8)
        changed[bit // 8] ^= 1 << bit % 8
        evidence.place.database.write_bytes(changed)
        try:
            evidence.verify()
        except VerificationError:
            found += 1
            continue
        with evidence.place.open(writer=False) as ledger:
            assert [(record.body, record.disclosed()) for record in ledger.records()] == before
    assert found > 0


def test_a_ledger_moves_with_its_home(evidence: Evidence, tmp_path: Path) -> None:
    """The pin is tied to the log, not to a path."""
    other = Place(tmp_path / "elsewhere")
    other.database.parent.mkdir()
    shutil.copy(evidence.place.database, other.database)
    shutil.copytree(evidence.place.home, other.home)
    with other.open() as ledger:
        assert append(ledger).index == 11
        assert ledger.verify().size == 12
        assert ledger.verifier_key == evidence.vkey
    shutil.rmtree(other.home)
    with pytest.raises(VerificationError, match="no pin"):
        other.open()


def test_another_ledger_in_its_place_is_refused(evidence: Evidence, tmp_path: Path) -> None:
    """A perfectly good ledger, only not this one."""
    other = Place(tmp_path / "other")
    other.database.parent.mkdir()
    with other.create() as ledger:
        for n in range(9):
            append(ledger, n=n)
    shutil.copy(other.database, evidence.place.database)
    evidence.index_of_failure()
