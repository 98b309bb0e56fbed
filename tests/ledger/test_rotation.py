"""Changing the log's key. Attacks with the old key come first: it signs nothing any more, whoever holds it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import remit
from remit.errors import EvidenceUnavailable, IdentityError, UsageError, VerificationError
from remit.ledger import Appended, Draft, Ledger, Txn
from remit.ledger.epochs import Epoch, LogKeys
from remit.ledger.keys import Home
from remit.ledger.merkle import Frontier, leaf_hash
from remit.ledger.notes import Signer, Verifier, open_checkpoint
from tests import stores
from tests.ledger.conftest import Place, append


def rotate(ledger: Ledger) -> LogKeys:
    """As `App.rotate_key` does, without the person."""
    after = ledger.next_key()
    draft = ledger.draft("key.rotated", data={"key": "log", "vkey": after.vkey, "former": ledger.keys.current.vkey})
    return ledger.rotated(ledger.run(lambda txn: txn.append(draft)).id, after)


class Rotated:
    """A ledger that was rotated once, and a copy of its home from before: what a thief of the old key has."""

    def __init__(self, place: Place) -> None:
        self.place = place
        with place.create() as ledger:
            for number in range(3):
                append(ledger, number=number)
            self.old = ledger.verifier_key
        self.stolen = place.database.parent / "stolen"
        shutil.copytree(place.home, self.stolen)
        with place.open() as ledger:
            self.keys = rotate(ledger)
            append(ledger, after=True)

    @property
    def thief(self) -> Signer:
        """The old key."""
        return Home(self.stolen).signer(Verifier.parse(self.old))

    def notes(self) -> list[tuple[int, bytes]]:
        """Every head."""
        return [
            (size, bytes(note)) for size, note in self.place.query("SELECT size, note FROM checkpoint ORDER BY size")
        ]


def _appending(draft: Draft) -> Callable[[Txn], Appended]:
    return lambda txn: txn.append(draft)


def _bytes(content: bytes) -> str:
    return f"'\\x{content.hex()}'" if stores.ON_POSTGRESQL else f"x'{content.hex()}'"


@pytest.fixture
def rotated(place: Place) -> Rotated:
    """See `Rotated`."""
    return Rotated(place)


# -- attacks


@pytest.mark.requirement("T11")
def test_the_old_key_signs_no_new_head(rotated: Rotated) -> None:
    """The newest head signed again with the stolen key, over the very same records: verification refuses it (as
    CVE-2023-31439 did not)."""
    size, note = rotated.notes()[-1]
    forged = rotated.thief.checkpoint(size, rotated.keys.open(note).root)
    rotated.place.tamper(f"UPDATE checkpoint SET note = {_bytes(forged)} WHERE size = {size}")
    with pytest.raises(VerificationError, match="is signed by key"):
        rotated.place.open()
    with pytest.raises(VerificationError, match="is signed by key"):
        rotated.keys.open(forged)


@pytest.mark.requirement("T11")
def test_the_new_key_signs_no_old_head(rotated: Rotated) -> None:
    """A past that the new key signs was written after it was made."""
    current = Home(rotated.place.home).signer(rotated.keys.current)
    size, note = rotated.notes()[0]
    forged = current.checkpoint(size, rotated.keys.open(note).root)
    rotated.place.tamper(f"UPDATE checkpoint SET note = {_bytes(forged)} WHERE size = {size}")
    with rotated.place.open(writer=False) as ledger, pytest.raises(VerificationError, match="is signed by key"):
        ledger.verify()


@pytest.mark.sqlite
@pytest.mark.requirement("T11")
def test_whoever_holds_the_old_home_records_nothing(rotated: Rotated) -> None:
    """A process started with the keys from before the rotation: the pin there knows no head that the new key signed."""
    with pytest.raises(VerificationError, match="the checkpoint of"):
        Ledger.open(rotated.place.url, home=rotated.stolen)


@pytest.mark.sqlite
@pytest.mark.requirement("T11")
def test_a_history_that_goes_on_under_the_old_key_is_refused(rotated: Rotated) -> None:
    """Back to before the rotation, and on with the stolen key: the pin was there and knows better."""
    [(rid,)] = rotated.place.query("SELECT rid FROM record WHERE type = 'key.rotated'")
    rotated.place.tamper(
        f"DELETE FROM leaf WHERE rid >= {rid}",
        f"DELETE FROM record WHERE rid >= {rid}",
        f"DELETE FROM checkpoint WHERE size > {rid}",
    )
    frontier = Frontier()
    for (body,) in rotated.place.query("SELECT body FROM record ORDER BY rid"):
        frontier.append(leaf_hash(body))
    note = rotated.thief.checkpoint(frontier.size, frontier.root()).hex()
    rotated.place.tamper(
        f"INSERT OR REPLACE INTO checkpoint (size, note) VALUES ({frontier.size}, x'{note}')",
        f"UPDATE head SET size = {frontier.size}, frontier = x'{frontier.to_bytes().hex()}'",
    )
    pin = rotated.place.home / "pin.json"
    content = json.loads(pin.read_text()) | {
        "size": 0,
        "root": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }
    pin.write_text(json.dumps(content))  # even where the last head seen was forgotten
    with Ledger.open(rotated.place.url, home=rotated.stolen) as thief:
        for _ in range(4):
            append(thief, forged=True)
    with pytest.raises(VerificationError, match="is signed by key"):
        rotated.place.open(writer=False).verify()


@pytest.mark.sqlite
@pytest.mark.requirement("T11")
def test_a_process_that_runs_on_over_a_rotation_follows_or_records_nothing(place: Place) -> None:
    """Two old processes, one in the deployment's home and one with a copy of it: the first signs with the new key."""
    place.create().close()
    copy = place.home.with_name("copy")
    shutil.copytree(place.home, copy)
    with place.open() as here, Ledger.open(place.url, home=copy) as elsewhere:
        append(here)
        append(elsewhere)
        done = subprocess.run(
            [sys.executable, "-c", _ROTATE, place.url],
            check=True,
            capture_output=True,
            encoding="utf-8",
            env=os.environ,
        )
        assert append(here).index == int(done.stdout)
        with pytest.raises(EvidenceUnavailable, match="a key that is not in"):
            append(elsewhere)
    with place.open(writer=False) as ledger:
        ledger.verify()
        assert len(ledger.keys.epochs) == 2


_ROTATE = """
import sys
from remit.ledger import Ledger
from tests.ledger.test_rotation import rotate
with Ledger.open(sys.argv[1]) as ledger:
    rotate(ledger)
    [record] = ledger.records(types=["key.rotated"])
print(record.index + 2)
"""


def test_a_rotation_that_no_record_tells_of_is_refused(rotated: Rotated, place: Place) -> None:
    """A pin into which somebody wrote a key of his own, from a size on: no record says so."""
    pin_file = place.home / "pin.json"
    pin = json.loads(pin_file.read_text())
    pin["epochs"][1]["from"] += 1
    pin_file.write_text(json.dumps(pin))
    with place.open(writer=False) as ledger, pytest.raises(VerificationError):
        ledger.verify()


def test_a_rotation_that_the_verifier_was_not_told_of_is_a_sentence(rotated: Rotated) -> None:
    """With the old key alone, as an auditor pinned it: the heads before verify, and the one after says what to do."""
    alone = LogKeys.parse([rotated.old])
    for size, note in rotated.notes():
        if size < rotated.keys.epochs[1].start:
            assert alone.open(note).size == size
        else:
            with pytest.raises(VerificationError, match="may have been rotated"):
                alone.open(note)


# -- the mechanics


@pytest.mark.requirement("T11")
def test_the_record_is_the_last_under_the_old_key_and_the_log_goes_on(rotated: Rotated) -> None:
    """Heads before and after hang together, the origin stays, the old private key is gone, and everything verifies."""
    with rotated.place.open(writer=False) as ledger:
        found = ledger.verify()
        [record] = ledger.records(types=["key.rotated"])
    first, second = rotated.keys.epochs
    assert (first.start, first.end, second.start, second.end) == (0, record.index + 2, record.index + 2, None)
    by_size = dict(rotated.notes())
    assert open_checkpoint(by_size[record.index + 1], first.verifier).size == record.index + 1
    assert open_checkpoint(by_size[found.size], second.verifier).size == found.size
    assert first.verifier.name == second.verifier.name
    assert Home(rotated.place.home).signer(second.verifier).verifier == second.verifier
    assert not (rotated.place.home / "log.next.key").exists()
    with pytest.raises(VerificationError):
        Home(rotated.place.home).signer(first.verifier)


def test_jobs_that_wait_beside_a_rotation_come_after_it(place: Place) -> None:
    """Of many jobs in one go, those after the rotation are under a later head, by the new key."""
    with place.create() as ledger:
        after = ledger.next_key()
        drafts = [ledger.draft("auth.succeeded", data={"number": number}) for number in range(40)]
        change = ledger.draft("key.rotated", data={"key": "log", "vkey": after.vkey})
        futures = []
        for number, draft in enumerate(drafts):
            futures.append(ledger.submit(_appending(draft)))
            if number == 20:
                turned = ledger.submit(lambda txn: txn.append(change))
        ledger.rotated(turned.result().id, after)
        for future in futures:
            future.result()
        ledger.verify()


def test_a_rotation_interrupted_before_the_pin_is_finished_by_whoever_comes_next(place: Place) -> None:
    """The record was durable and the process gone: the next writer finds the key ready and follows."""
    with place.create() as ledger:
        after = ledger.next_key()
        draft = ledger.draft("key.rotated", data={"key": "log", "vkey": after.vkey})
        ledger.run(lambda txn: txn.append(draft))
    with place.open() as ledger:
        append(ledger)
        assert ledger.keys.current == after
        ledger.verify()


def test_nothing_follows_a_rotation_in_its_job(place: Place) -> None:
    """It is the last record under a head, or none."""
    with place.create() as ledger:
        drafts = [
            ledger.draft("key.rotated", data={"key": "log", "vkey": ledger.next_key().vkey}),
            ledger.draft("auth.succeeded", data={}),
        ]
        with pytest.raises(UsageError, match="nothing follows"):
            ledger.run(lambda txn: [txn.append(draft) for draft in drafts])
        append(ledger)
        assert len(ledger.keys.epochs) == 1


def test_a_log_is_rotated_again_and_again(place: Place) -> None:
    """Each key for its own sizes; a pin holds them all."""
    with place.create() as ledger:
        for _ in range(3):
            append(ledger)
            rotate(ledger)
        append(ledger)
        assert len(ledger.keys.epochs) == 4
        ledger.verify()
    with place.open() as ledger:
        append(ledger)
        ledger.verify()


# -- keys as text


@pytest.mark.parametrize(
    ("text", "start", "end"), [("{}", 0, None), ("{}@7-", 7, None), ("{}@0-9", 0, 9), ("{}@3-4", 3, 4)]
)
def test_a_key_may_say_which_sizes_it_signs(text: str, start: int, end: int | None, rotated: Rotated) -> None:
    """`VKEY[@FROM-TO]`, TO exclusive or empty."""
    epoch = Epoch.parse(text.format(rotated.old))
    assert (epoch.start, epoch.end) == (start, end)
    assert Epoch.parse(epoch.text) == epoch


@pytest.mark.parametrize(
    "text", ["{}@", "{}@1", "{}@-", "{}@5-5", "{}@5-4", "{}@01-", "{}@1-02", "{}@-3", "@1-2", "{}@1-2 "]
)
def test_a_key_whose_sizes_could_be_read_in_two_ways_is_refused(text: str, rotated: Rotated) -> None:
    """No sign, no leading zero, no empty range."""
    with pytest.raises(VerificationError):
        Epoch.parse(text.format(rotated.old))


def test_keys_that_overlap_or_belong_to_two_logs_are_refused(rotated: Rotated) -> None:
    """One size, one key."""
    old, new = (epoch.verifier.vkey for epoch in rotated.keys.epochs)
    for texts in ([], [old, new], [f"{old}@0-9", f"{new}@8-"], [f"{old}@4-", f"{new}@9-"]):
        with pytest.raises(VerificationError):
            LogKeys.parse(texts)
    assert LogKeys.parse([f"{new}@9-", f"{old}@0-9"]).current.vkey == new


# -- by a person


@pytest.fixture
def app(tmp_path: Path) -> Iterator[remit.App]:
    """A deployment with an administrator."""
    people = {"ada@acme.com": {"roles": ["admin"]}}
    with remit.open(f"sqlite:///{tmp_path / 'remit.db'}", people=people) as opened:
        yield opened


@pytest.mark.requirement("I8")
def test_a_person_rotates_the_key_and_the_record_says_who_and_why(app: remit.App, tmp_path: Path) -> None:
    """A bare name does not do; the reason is erasable text; grants and sessions go on."""
    ada = remit.Credential.generate("user:ada@acme.com", tmp_path / "ada.pem")
    app.enrol("ada@acme.com", ada.public_key)
    for nobody in (None, "user:ada@acme.com"):
        with pytest.raises(IdentityError):
            app.rotate_key(credential=nobody)
    done = app.rotate_key(reason="a laptop was lost", credential=ada)
    [record] = app.ledger.records(types=["key.rotated"])
    assert record.id == done.record_id
    assert record.data["by"]["subject"] == "user:ada@acme.com"
    assert record.data["vkey"] == done.epochs[-1].verifier.vkey == app.ledger.verifier_key
    assert record.disclosed() == {"reason": "a laptop was lost"}
    app.verify()
