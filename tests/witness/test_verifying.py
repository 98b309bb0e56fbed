"""What an auditor with the witnesses' keys finds out, and one without them does not. The attacker holds everything of
the deployment: database, home, and the log's key."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from remit.cli import app as command_line
from remit.errors import EvidenceUnavailable, UsageError, VerificationError
from remit.ledger import Ledger
from remit.ledger.witnessed import Witnessed, require_witnessed
from remit.witness.policy import Policy
from tests.ledger.conftest import append
from tests.witness.conftest import Start
from tests.witness.test_asking import Deployment, copied, put_back

DAY = timedelta(hours=24)


@pytest.fixture
def deployed(tmp_path: Path, start_witness: Start) -> Deployment:
    """A ledger with one witness, and five records that it has cosigned."""
    found = Deployment(tmp_path, start_witness)
    with found.open() as ledger:
        for _ in range(5):
            ledger.wait_witnessed(append(ledger).id)
    return found


def _audit(deployed: Deployment, *, fresh: timedelta | None = DAY, after: timedelta = timedelta(0)) -> Witnessed:
    """An auditor who brings the witness's key, at some time after now."""
    quorum = Policy.of([one.key for one in deployed.witnesses])
    with deployed.place.open(writer=False) as ledger:
        ledger.verify()
        return require_witnessed(ledger.read(), quorum, fresh=fresh, now=datetime.now(UTC) + after)


@pytest.mark.sqlite
@pytest.mark.requirement("R6")
def test_a_ledger_taken_back_whole_is_caught_by_the_age_of_its_witness_and_by_nothing_else(
    deployed: Deployment,
) -> None:
    """Tail rollback: what is left verifies, and its cosignatures are good. They are old, and cannot be renewed."""
    kept = copied(deployed.place, "earlier")
    with deployed.open() as ledger:
        for _ in range(5):
            ledger.wait_witnessed(append(ledger).id)
    put_back(deployed.place, kept)
    assert _audit(deployed, fresh=None)  # whoever does not ask for freshness does not see it
    assert _audit(deployed)  # … nor within the span that is asked for
    with pytest.raises(VerificationError, match="later records may have been taken back"):
        _audit(deployed, after=timedelta(hours=25))


@pytest.mark.sqlite
@pytest.mark.requirement("R6")
def test_records_rewritten_after_the_witness_saw_them_are_caught(deployed: Deployment) -> None:
    """Fork by the holder of the key: taken back, written anew, signed. The witness's word is missing, and stays so."""
    kept = copied(deployed.place, "now")
    with deployed.open() as ledger:
        ledger.wait_witnessed(append(ledger).id)
    put_back(deployed.place, kept)
    with deployed.place.open() as forger:
        for _ in range(9):
            append(forger, forged=True)
    found = _audit(deployed)
    assert found.size < 10  # nothing of what was forged is witnessed, and the auditor is told how far it goes
    with deployed.open() as forger, pytest.raises(EvidenceUnavailable):
        forger.wait_witnessed(append(forger).id)
    assert _audit(deployed).size == found.size
    with pytest.raises(VerificationError):
        _audit(deployed, after=timedelta(hours=25))


@pytest.mark.requirement("R6")
def test_cosignatures_that_were_taken_away_are_missed(deployed: Deployment) -> None:
    """A ledger without its witness's word is not a ledger without witnesses."""
    deployed.place.tamper("DELETE FROM cosignature", "DELETE FROM witness")
    with pytest.raises(VerificationError, match="no head of this ledger was cosigned"):
        _audit(deployed)


@pytest.mark.sqlite
@pytest.mark.requirement("R6")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE cosignature SET size = size - 1",
        "UPDATE cosignature SET time = time + 1",
        "UPDATE cosignature SET line = replace(line, 'A', 'B')",
        "UPDATE cosignature SET line = x''",
        "UPDATE cosignature SET witness = replace(witness, 'w1', 'w2')",
        "UPDATE cosignature SET size = 9999",
    ],
    ids=range(6),
)
def test_a_cosignature_that_was_changed_is_an_error(statement: str, deployed: Deployment) -> None:
    """Every stored row is evidence: one that does not hold is no evidence less, but proof that somebody was there."""
    deployed.place.tamper(statement)
    with deployed.place.open(writer=False) as ledger, pytest.raises(VerificationError, match="cosignature"):
        ledger.verify()


@pytest.mark.requirement("R6")
def test_a_witness_of_the_attacker_s_own_counts_for_nothing(deployed: Deployment, start_witness: Start) -> None:
    """Who the witnesses are is the verifier's input, never the ledger's."""
    with deployed.place.open(writer=False) as ledger:
        stranger = start_witness(ledger.verifier_key, name="witness.example/friendly")
    with deployed.place.open(writer=False) as ledger, pytest.raises(VerificationError, match="no head of this ledger"):
        require_witnessed(ledger.read(), Policy.of([stranger.key]))


def test_a_cosignature_from_the_future_is_refused(deployed: Deployment) -> None:
    """It could look fresh for ever."""
    with pytest.raises(VerificationError, match="in the future"):
        _audit(deployed, after=-timedelta(hours=1))


def test_the_command_says_what_is_witnessed_and_how_old_that_is(deployed: Deployment) -> None:
    """`remit verify --witness VKEY --quorum 1 --fresh 24h` on a live ledger; exit 1 where it is not so."""
    run = CliRunner().invoke
    url, [witness] = deployed.place.url, deployed.witnesses
    options = ["verify", "--url", url, "--witness", witness.key.vkey, "--quorum", "1", "--fresh", "24h"]
    found = json.loads(run(command_line, [*options, "--json"]).stdout)
    assert found["verified"] is True
    assert found["witnessed"]["size"] == found["records"]  # the recorder's own last word included
    assert found["cosignatures"] >= 5
    assert "witnessed" in run(command_line, options).stdout
    deployed.place.tamper("DELETE FROM cosignature")
    gone = run(command_line, [*options, "--json"])
    assert (gone.exit_code, json.loads(gone.stdout)["verified"]) == (1, False)


def test_misuse_of_the_command_is_refused() -> None:
    """Nobody's word is no word."""
    with pytest.raises(UsageError):
        Policy.of([])
    for options in (["--fresh", "1h"], ["--quorum", "1"], ["--key", "x"]):
        assert CliRunner().invoke(command_line, ["verify", "--url", "sqlite:////tmp/none.db", *options]).exit_code != 0


def test_one_that_no_process_keeps_fresh_is_cosigned_by_command(deployed: Deployment) -> None:
    """`remit witness ask` renews the age of an idle ledger's newest head; `status` says how it stands."""
    policy = deployed.place.home / "witness.policy"
    policy.write_text(deployed.witnesses[0].policy() + "quorum w1\n", encoding="utf-8")
    run = CliRunner().invoke
    before = len(deployed.place.query("SELECT id FROM record"))
    asked = run(command_line, ["witness", "ask", "--url", deployed.place.url, "--json"])
    assert (asked.exit_code, json.loads(asked.stdout)["enough"]) == (0, True)
    assert len(deployed.place.query("SELECT id FROM record")) == before
    [state] = json.loads(run(command_line, ["witness", "status", "--url", deployed.place.url, "--json"]).stdout)[
        "witnesses"
    ]
    assert (state["name"], state["size"], state["conflict"]) == ("witness.example/w1", before, False)
    deployed.witnesses[0].kill()
    down = run(command_line, ["witness", "ask", "--url", deployed.place.url])
    assert down.exit_code == 1
    with Ledger.open(deployed.place.url, writer=False) as ledger:
        ledger.verify()
