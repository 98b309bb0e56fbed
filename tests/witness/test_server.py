"""A witness as a stranger's log meets it: tlog-witness over HTTP, against a real process. Attacks come first."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.ledger.notes import cosignatures, open_checkpoint
from remit.witness.client import NotConsistent, OtherSize, WitnessClient
from remit.witness.wire import origin_hash, write_submission
from tests.witness.conftest import Log, Start, WitnessProcess


def _post(witness: WitnessProcess, body: bytes) -> httpx.Response:
    return httpx.post(f"{witness.url}/add-checkpoint", content=body, trust_env=False)


# -- attacks with the log's own key


@pytest.mark.requirement("R6")
def test_a_log_that_takes_records_back_is_told_how_many_the_witness_saw(
    log: Log, witness: WitnessProcess, client: WitnessClient
) -> None:
    """Tail rollback by the holder of the key: the shorter head is not cosigned, whatever old size is claimed."""
    log.ask(client, 0)
    back = log.fork(2)
    for old in (0, 1, 2):
        with pytest.raises(OtherSize) as refused:
            back.ask(client, old)
        assert refused.value.known == 3
    answer = _post(witness, write_submission(0, [], back.note()))
    assert (answer.status_code, answer.headers["content-type"], answer.text) == (409, "text/x.tlog.size", "3\n")


@pytest.mark.requirement("R6")
def test_a_second_history_under_the_same_key_is_not_cosigned(
    log: Log, witness: WitnessProcess, client: WitnessClient
) -> None:
    """A fork at the witness's size, below it and above it: no proof leads there."""
    log.ask(client, 0)
    same = log.fork(2).grow("forged")
    longer = log.fork(1).grow("forged", "and", "more", "still")
    for forged in (same, longer):
        with pytest.raises(NotConsistent):
            forged.ask(client, 3)
    for proof in ([], log.proof(2), [b"\x00" * 32]):
        with pytest.raises(NotConsistent):
            client.add_checkpoint(3, proof, longer.note())
    assert log.grow("d").ask(client, 3) > 0


@pytest.mark.requirement("R6")
def test_two_histories_that_race_for_one_witness_do_not_both_win(
    log: Log, witness: WitnessProcess, client: WitnessClient
) -> None:
    """Compare and set are one step: of many heads of the same size at once, one history is cosigned."""
    from concurrent.futures import ThreadPoolExecutor

    log.ask(client, 0)
    forks = [log.fork(3).grow(f"history {number}") for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda one: _post(witness, write_submission(3, one.proof(3), one.note())), forks))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 11


@pytest.mark.requirement("R6")
def test_a_witness_killed_between_persisting_and_answering_remembers(log: Log, start_witness: Start) -> None:
    """Nobody got the cosignature, and still the head stands: no other one of that size is cosigned afterwards."""
    script = (
        "import os, signal\n"
        "from remit.witness.state import State\n"
        "persist = State.advance\n"
        "def advance(self, origin, judge):\n"
        "    persist(self, origin, judge)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "State.advance = advance\n"
        "from remit.cli import main\n"
        "main()\n"
    )
    witness = start_witness(log.vkey, script=script)
    with pytest.raises(httpx.RemoteProtocolError):
        _post(witness, write_submission(0, [], log.note()))
    witness.process.communicate()
    witness.script = ""
    witness.start()
    with closing(witness.client()) as client:
        with pytest.raises(OtherSize) as refused:
            log.fork(2).grow("forged").ask(client, 0)
        assert refused.value.known == 3
        assert log.ask(client, 3) > 0


def test_a_witness_killed_at_any_moment_goes_on_where_it_was(log: Log, start_witness: Start) -> None:
    """What was answered is remembered after a kill -9."""
    witness = start_witness(log.vkey)
    with closing(witness.client()) as client:
        log.ask(client, 0)
    for round_ in range(3):
        witness.kill()
        witness.start()
        size = len(log.leaves)
        with closing(witness.client()) as client:
            with pytest.raises(OtherSize):
                log.fork(size).grow("x").ask(client, size - 1)
            log.grow(f"round {round_}").ask(client, size)


def test_a_witness_without_its_memory_does_not_start(log: Log, start_witness: Start) -> None:
    """A key whose memory is gone, emptied or foreign would cosign a second history."""
    witness = start_witness(log.vkey)
    witness.stop()
    for spoil in (
        lambda: witness.memory.write_bytes(b""),
        lambda: witness.memory.write_bytes(b"x" * 4096),
        witness.memory.unlink,
    ):
        spoil()
        with pytest.raises(AssertionError, match="did not start: remit: the witness's memory"):
            witness.start()


def test_a_witness_whose_memory_was_taken_away_while_it_runs_stops_cosigning(log: Log, start_witness: Start) -> None:
    """Nothing is cosigned that is not kept."""
    witness = start_witness(log.vkey)
    with closing(witness.client()) as client:
        log.ask(client, 0)
    witness.memory.unlink()
    answer = _post(witness, write_submission(3, log.grow("d").proof(3), log.note()))
    assert (answer.status_code, answer.text) == (503, "the witness cannot persist\n")


# -- keys


@pytest.mark.requirement("R6")
def test_a_rotated_key_is_not_cosigned_beyond_its_range(log: Log, start_witness: Start) -> None:
    """A witness that knows the epochs refuses a head that a stolen old key signed, and an old one by the new key."""
    after = Log(Ed25519PrivateKey.generate(), log.leaves, origin=log.origin).grow("d")
    witness = start_witness(f"{log.vkey}@0-4", f"{after.vkey}@4-")
    with closing(witness.client()) as client:
        early = Log(after.key, log.leaves, origin=log.origin)
        assert _post(witness, write_submission(0, [], early.note())).status_code == 403
        log.ask(client, 0)
        stolen = log.fork(3).grow("d")
        assert _post(witness, write_submission(3, stolen.proof(3), stolen.note())).status_code == 403
        after.ask(client, 3)


def test_strangers_and_bad_signatures_are_refused(log: Log, witness: WitnessProcess, client: WitnessClient) -> None:
    """404 for an unknown log, 403 where its signature is missing or wrong; the lines of others count for nothing."""
    stranger = Log(Ed25519PrivateKey.generate(), log.leaves, origin=log.origin)
    assert _post(witness, write_submission(0, [], stranger.note())).status_code == 403
    other = log.note().replace(log.origin.encode(), b"acme.com/other")
    assert _post(witness, write_submission(0, [], other)).status_code == 404
    wrong = log.note().partition(b"\n\n")[0] + b"\n\n" + log.fork(2).note().partition(b"\n\n")[2]
    assert _post(witness, write_submission(0, [], wrong)).status_code == 403
    both = log.note() + stranger.note().partition(b"\n\n")[2]
    assert _post(witness, write_submission(0, [], both)).status_code == 200
    kept = httpx.get(f"{witness.url}/{origin_hash(log.origin)}/checkpoint", trust_env=False).content
    assert kept.startswith(log.note())
    assert kept.count("— ".encode()) == 2


# -- the protocol


def test_the_newest_cosigned_checkpoint_is_shown(log: Log, witness: WitnessProcess, client: WitnessClient) -> None:
    """With the log's signature and the cosignature, under the hash of the origin; 404 before there is one."""
    place = f"{witness.url}/{origin_hash(log.origin)}/checkpoint"
    assert httpx.get(place, trust_env=False).status_code == 404
    assert client.newest(log.origin) is None
    moment, line = client.add_checkpoint(0, [], log.note())
    shown = client.newest(log.origin)
    assert shown == log.note() + line
    assert open_checkpoint(shown, log.signer.verifier).size == 3
    assert cosignatures(shown, [witness.key]) == {witness.key: moment}


def test_the_same_head_is_cosigned_again_with_a_later_time(
    log: Log, witness: WitnessProcess, client: WitnessClient
) -> None:
    """An idle log stays fresh: no time goes back."""
    first = log.ask(client, 0)
    assert log.ask(client, 3) >= first


def test_an_empty_log_is_cosigned_only_under_the_empty_root(
    log: Log, witness: WitnessProcess, client: WitnessClient
) -> None:
    """Size zero has one root."""
    log.leaves.clear()
    false = log.signer.checkpoint(0, b"\x01" * 32)
    assert _post(witness, write_submission(0, [], false)).status_code == 422
    assert _post(witness, write_submission(0, [], log.note())).status_code == 200
    assert _post(witness, write_submission(0, [b"\x00" * 32], log.grow("a").note())).status_code == 422


@pytest.mark.parametrize(
    "change",
    [
        lambda body: b"",
        lambda body: body.replace(b"old 0\n", b"old 00\n"),
        lambda body: body.replace(b"old 0\n", b"old -1\n"),
        lambda body: body.replace(b"old 0\n", b"old  0\n"),
        lambda body: body.replace(b"old 0\n", b"size 0\n"),
        lambda body: body.replace(b"old 0\n", b"old 4\n"),
        lambda body: body.replace(b"old 0\n", b"old 0\r\n"),
        lambda body: body.replace(b"old 0\n", b"old 0\nAA==\n"),
        lambda body: body.replace(b"old 0\n", b"old 0\n" + b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n" * 64),
        lambda body: body[:-1],
        lambda body: body + b"\n",
        lambda body: body.replace(b"\n3\n", b"\n03\n"),
        lambda body: body.replace(b"\n\n", b"\n", 1),
        lambda body: body + b"x" * 70_000,
        lambda body: b"\xff" + body,
    ],
    ids=range(15),
)
def test_a_malformed_submission_is_refused_with_400(
    change: Callable[[bytes], bytes], log: Log, witness: WitnessProcess
) -> None:
    """One text for one submission; nothing is stored, so the good one still is the first."""
    body = write_submission(0, [], log.note())
    assert _post(witness, change(body)).status_code == 400


def test_other_addresses_and_methods_are_refused(log: Log, witness: WitnessProcess) -> None:
    """There are two addresses, each with its method."""
    assert httpx.get(f"{witness.url}/add-checkpoint", trust_env=False).status_code == 405
    assert httpx.get(f"{witness.url}/", trust_env=False).status_code == 404
    assert httpx.get(f"{witness.url}/{'0' * 64}/checkpoint", trust_env=False).status_code == 404


# -- life


def test_ctrl_c_ends_it_without_a_traceback_and_refusals_are_logged_with_the_note(
    log: Log, start_witness: Start
) -> None:
    """What was refused may be proof of a log that lies, so the operator sees the signed head itself."""
    witness = start_witness(log.vkey)
    with closing(witness.client()) as client:
        log.ask(client, 0)
        forged = log.fork(2).grow("forged")
        with pytest.raises(NotConsistent):
            forged.ask(client, 3)
    code, said = witness.stop()
    assert code == 0
    assert "Traceback" not in said
    assert "422" in said
    assert forged.note().decode() in said


def test_misuse_is_a_sentence(log: Log, tmp_path: Path) -> None:
    """No log, no name, no address: exit code 2 and what to do."""

    def run(*options: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "remit", "witness", "--key", str(tmp_path / "w.key"), *options],
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        return done.returncode, done.stderr

    assert run() == (2, "remit: say which log to cosign for: --log VKEY, which `remit key list` prints\n")
    code, said = run("--log", log.vkey)
    assert (code, "--name NAME makes one" in said) == (2, True)
    code, said = run("--log", log.vkey, "--name", "w.example/1", "--listen", "nowhere")
    assert (code, "cannot listen" in said) == (2, True)
    code, said = run("--log", "nonsense", "--name", "w.example/1")
    assert (code, "not a verifier key" in said) == (1, True)


def test_a_clock_that_went_back_far_cosigns_nothing(log: Log, start_witness: Start) -> None:
    """A cosignature says "as of this time the newest": with a wrong clock it would say it falsely."""
    witness = start_witness(log.vkey)
    with closing(witness.client()) as client:
        log.ask(client, 0)
    witness.stop()
    with closing(sqlite3.connect(witness.memory, isolation_level=None)) as connection:
        connection.execute("UPDATE seen SET time = time + 3600")
    witness.start()
    assert _post(witness, write_submission(3, [], log.note())).status_code == 503
