"""A ledger that has its heads cosigned by real witnesses. Attacks by the holder of the log's key come first."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from remit.errors import EvidenceUnavailable
from remit.ledger import Ledger
from remit.ledger.merkle import leaf_hash, root_of
from remit.ledger.notes import cosignatures, open_checkpoint
from remit.witness.asking import Witnesses
from remit.witness.keeping import cosigned_note
from remit.witness.policy import Policy
from tests.ledger.conftest import Place, append
from tests.witness.conftest import Start


class Deployment:
    """A ledger in a folder, and witnesses that know its key."""

    def __init__(self, folder: Path, start: Start, count: int = 1) -> None:
        self.place = Place(folder)
        with self.place.create() as ledger:
            vkey = ledger.verifier_key
        self.witnesses = [start(vkey, name=f"witness.example/w{number}") for number in range(1, count + 1)]

    def policy(self, quorum: int = 1) -> Policy:
        """So many of them."""
        names = [f"w{number}" for number in range(1, len(self.witnesses) + 1)]
        lines = "".join(one.policy(name) for one, name in zip(self.witnesses, names, strict=True))
        return Policy.parse(f"{lines}group all {quorum} {' '.join(names)}\nquorum all\n")

    def open(self, quorum: int = 1, **options: float) -> Ledger:
        """The ledger, witnessed."""
        ledger = self.place.open()
        ledger.company.witness_by(Witnesses(ledger, self.policy(quorum), **{"pace": 0.05, **options}))
        return ledger


@pytest.fixture
def deployed(tmp_path: Path, start_witness: Start) -> Deployment:
    """A ledger and one witness."""
    return Deployment(tmp_path, start_witness)


def copied(place: Place, name: str) -> Path:
    """Everything that the deployment holds, keys and pin included, as it is now."""
    kept = place.database.parent / name
    kept.mkdir()
    for file in place.database.parent.glob("evidence.db*"):
        if file.is_dir():
            shutil.copytree(file, kept / file.name)
        else:
            shutil.copy2(file, kept / file.name)
    return kept


def put_back(place: Place, kept: Path) -> None:
    for file in place.database.parent.glob("evidence.db*"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    for file in kept.iterdir():
        shutil.move(file, place.database.parent / file.name)


@pytest.mark.sqlite
@pytest.mark.requirement("R6")
def test_a_ledger_that_was_taken_back_whole_records_nothing_any_more(deployed: Deployment) -> None:
    """Database, keys and pin restored to an earlier state together: nothing here can tell, but the witness can."""
    with deployed.open() as ledger:
        ledger.wait_witnessed(append(ledger).id)
        kept = copied(deployed.place, "earlier")
        for _ in range(5):
            ledger.wait_witnessed(append(ledger).id)
    put_back(deployed.place, kept)
    with deployed.place.open(writer=False) as alone:
        alone.verify()  # without the witness, all is well
    with deployed.open() as ledger:
        with pytest.raises(EvidenceUnavailable, match="records were taken back"):
            ledger.wait_witnessed(append(ledger).id)
        with pytest.raises(EvidenceUnavailable, match="Nothing is recorded any more"):
            append(ledger)


@pytest.mark.sqlite
@pytest.mark.requirement("R6")
def test_a_second_history_of_the_same_length_stops_as_well(deployed: Deployment) -> None:
    """Taken back and written anew past what the witness saw: its last head is under our key and not in this ledger."""
    with deployed.open() as ledger:
        ledger.wait_witnessed(append(ledger).id)
        kept = copied(deployed.place, "earlier")
        ledger.wait_witnessed(append(ledger).id)
    put_back(deployed.place, kept)
    with deployed.place.open() as unwatched:
        for _ in range(9):
            append(unwatched, forged=True)
    with deployed.open() as ledger:
        with pytest.raises(EvidenceUnavailable, match="there are two histories"):
            ledger.wait_witnessed(append(ledger).id)
        [(conflict,)] = deployed.place.query("SELECT conflict FROM witness")
        shown = open_checkpoint(conflict, ledger.keys.current)
        ours = [leaf_hash(record.body) for record in ledger.records()][: shown.size]
        assert root_of(ours) != shown.root


def test_a_record_that_was_waited_for_is_under_a_cosigned_head(deployed: Deployment) -> None:
    """The note that is kept satisfies a stranger: log signature and cosignature, over a head that covers the record."""
    with deployed.open() as ledger:
        done = append(ledger)
        ledger.wait_witnessed(done.id)
        note = cosigned_note(ledger)
        assert note is not None
        record = ledger.record(done.id)
        assert record is not None
        assert open_checkpoint(note, ledger.keys.current).size > record.index
        assert cosignatures(note, [deployed.witnesses[0].key]).keys() == {deployed.witnesses[0].key}


def test_a_quorum_is_met_without_a_witness_that_hangs_or_is_down(tmp_path: Path, start_witness: Start) -> None:
    """2 of 3, one stopped in its tracks: nobody waits for it. 1 of 3 is not enough."""
    import signal

    deployed = Deployment(tmp_path, start_witness, count=3)
    with deployed.open(quorum=2, timeout=30.0) as ledger:
        ledger.wait_witnessed(append(ledger).id)
        deployed.witnesses[2].process.send_signal(signal.SIGSTOP)
        try:
            for _ in range(3):
                ledger.wait_witnessed(append(ledger).id)
            deployed.witnesses[1].kill()
            with pytest.raises(
                EvidenceUnavailable, match=r"not witnessed in time by 2 of 3 witnesses .*cannot be reached"
            ):
                ledger.wait_witnessed(append(ledger).id, deadline=1.0)
            deployed.witnesses[1].start()
            ledger.wait_witnessed(append(ledger).id, deadline=20.0)
        finally:
            deployed.witnesses[2].process.send_signal(signal.SIGCONT)
    reported = [record.data for record in deployed.place.open(writer=False).records(types=["recorder.degraded"])]
    assert [(one["wanted"], one["over"]) for one in reported] == [
        ("2 of 3 witnesses", False),
        ("2 of 3 witnesses", True),
    ]
    assert "witness.example/w2" in reported[0]["missing"]


def test_a_ledger_goes_on_after_its_process_and_its_witness_were_gone(deployed: Deployment) -> None:
    """Where a witness is stands in the store, and where it does not, the witness says it."""
    for _ in range(2):
        with deployed.open() as ledger:
            for _ in range(5):
                append(ledger)
            ledger.wait_witnessed(append(ledger).id)
        deployed.witnesses[0].kill()
        deployed.witnesses[0].start()
    deployed.place.tamper("DELETE FROM witness")
    with deployed.open() as ledger:
        ledger.wait_witnessed(append(ledger).id)
        ledger.verify()


def test_two_processes_share_a_witness(deployed: Deployment) -> None:
    """Each has the other's records witnessed with its own; being overtaken is no failure."""
    with deployed.open() as one, deployed.open() as other:
        for _ in range(10):
            first, second = append(one), append(other)
            one.wait_witnessed(first.id)
            other.wait_witnessed(second.id)
        assert not list(one.records(types=["recorder.degraded"]))


def test_an_idle_head_is_cosigned_again(deployed: Deployment) -> None:
    """Its age then says that nothing happened, not that nobody looked."""
    with deployed.open(refresh=0.05) as ledger:
        ledger.wait_witnessed(append(ledger).id)
        end = time.monotonic() + 20
        while len(deployed.place.query("SELECT time FROM cosignature")) < 3 and time.monotonic() < end:
            ledger.company.noticed()
        sizes = {size for (size,) in deployed.place.query("SELECT size FROM cosignature")}
        assert len(sizes) == 1


def test_without_witnesses_nothing_is_witnessed(tmp_path: Path) -> None:
    """A record that has to be witnessed, where nobody named witnesses, is not waited for: it fails at once."""
    with Place(tmp_path).create() as ledger, pytest.raises(EvidenceUnavailable, match="no witnesses are known"):
        ledger.wait_witnessed(append(ledger).id)
