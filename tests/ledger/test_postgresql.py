"""What only a ledger on a server can meet: other hosts, a sequencer that dies, a server that lies, hangs or is gone."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from remit.errors import EvidenceUnavailable, UsageError, VerificationError
from remit.ledger import Ledger
from remit.ledger.lease import lock_number
from remit.ledger.signed import SignedHead
from tests.ledger.conftest import append
from tests.postgres import Server

pytestmark = [pytest.mark.requirement("code:evidence_unavailable")]


@pytest.fixture(scope="module", name="shared")
def _shared() -> Iterator[Server]:
    """A server that these tests may stop, starve and start again."""
    started = Server()
    yield started
    started.remove()


@pytest.fixture(name="url")
def _url(shared: Server, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    name = "d" + str(abs(hash(str(tmp_path))))
    shared.execute(f"CREATE DATABASE {name}")
    yield shared.url(name)
    shared.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(name="home")
def _home(tmp_path: Path) -> Path:
    """Where this host keeps keys and pin."""
    return tmp_path / "home"


@pytest.fixture(name="ledger")
def _ledger(url: str, home: Path) -> Iterator[Ledger]:
    """An opened, empty ledger."""
    with Ledger.create(url, home=home, origin="acme.com/remit-test") as found:
        yield found


def database(url: str) -> str:
    """The name of the database."""
    return url.partition("@/")[2].partition("?")[0]


def placed(ledger: Ledger, *names: str) -> None:
    """Wait until these records have their index and a signature over them."""
    ledger.wait_sequenced(names, deadline=30)


# -- sequencing


@pytest.mark.requirement("T12")
def test_records_get_dense_indexes_and_a_signature(ledger: Ledger) -> None:
    """An appended record is durable and readable at once, and in its place a moment later."""
    appended = [append(ledger, "s-1", n=n) for n in range(5)]
    assert {one.index for one in appended} == {None}
    assert [record.data.get("n") for record in ledger.records(types=["auth.succeeded"])] == [0, 1, 2, 3, 4]
    placed(ledger, appended[-1].id)
    assert [record.index for record in ledger.records()] == [0, 1, 2, 3, 4, 5]
    found = ledger.verify()
    assert (found.size, found.unsigned) == (6, 0)
    assert ledger.unsequenced() == 0


def test_a_host_without_the_logs_key_appends_and_another_signs(url: str, home: Path, tmp_path: Path) -> None:
    """Its records are found whole, and said to be unsigned, until somebody who holds the key comes by."""
    Ledger.create(url, home=home, origin="acme.com/remit-test").close()
    agents = tmp_path / "agents"
    agents.mkdir()
    for name in ("kek.key", "index.key", "pin.json"):
        (agents / name).write_bytes((home / name).read_bytes())
    with Ledger.open(url, home=agents) as host:
        appended = append(host, n=1)
        with pytest.raises(EvidenceUnavailable, match="no sequencer"):
            host.wait_sequenced([appended.id], deadline=0.1)
        assert host.unsequenced() == 2
        assert [record.placed for record in host.records()] == [False, False]
        with pytest.raises(EvidenceUnavailable, match="no index yet"):
            _ = next(iter(host.records())).index
        with Ledger.open(url, home=home, writer=False) as auditor:
            assert (auditor.verify().size, auditor.verify().unsigned) == (0, 2)
        with Ledger.open(url, home=home) as signer:
            placed(signer, append(signer, n=2).id, appended.id)
            assert [record.data.get("n") for record in signer.records(types=["auth.succeeded"])] == [1, 2]
            assert signer.verify().writers == 2


WRITER = """
import sys
from pathlib import Path
from remit.ledger import Ledger
ledger = Ledger.open(sys.argv[1], home=Path(sys.argv[2]))
while True:
    appended = ledger.run(lambda txn: txn.append(ledger.draft("auth.succeeded", session="s-1", data={})))
    ledger.wait_sequenced([appended.id])
    print(appended.id, flush=True)
"""


@pytest.mark.requirement("R10")
def test_the_lead_passes_on_when_the_leader_is_killed(ledger: Ledger, url: str, home: Path) -> None:
    """Whoever writes next takes over; what was acknowledged is there, and the heads of both are of one log."""
    names: list[str] = []
    for _ in range(2):
        command = [sys.executable, "-W", "error", "-c", textwrap.dedent(WRITER), url, str(home)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as leader:
            assert leader.stdout is not None
            names += [leader.stdout.readline().strip() for _ in range(5)]
            leader.kill()
        appended = append(ledger, "s-1")
        placed(ledger, appended.id)
        names.append(appended.id)
    there = [record.id for record in ledger.records()]
    assert set(names) <= set(there)
    assert [record.index for record in ledger.records()] == list(range(len(there)))
    assert ledger.verify().writers == 3
    assert len(ledger.dead_writers()) == 2


def test_what_a_dead_leader_placed_and_did_not_sign_is_signed_by_the_next(shared: Server, url: str, home: Path) -> None:
    """Its leaves are committed, so their head is signed before anything else gets an index."""
    with Ledger.create(url, home=home, origin="acme.com/remit-test") as ledger:
        placed(ledger, append(ledger).id)
    with shared.connect(database(url)) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM checkpoint WHERE size = (SELECT max(size) FROM checkpoint)")
        connection.execute("DELETE FROM checkpoint")
        connection.execute("UPDATE head SET size = 0, frontier = ''")
    pin = home / "pin.json"
    pin.write_text(pin.read_text().replace('"size": 3', '"size": 0'))
    with Ledger.open(url, home=home) as again:
        placed(again, append(again).id)
        assert again.verify().checkpoints >= 1


# -- a server that cannot be trusted


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_that_may_lose_what_it_acknowledged_is_refused(tmp_path: Path, setting: str) -> None:
    """Nothing is recorded on it, and the sentence says which setting it is."""
    careless = Server([f"{setting}=off"])
    try:
        with pytest.raises(EvidenceUnavailable, match=f"{setting}=off"):
            Ledger.create(careless.url(), home=tmp_path / "home")
    finally:
        careless.remove()


def test_a_database_that_was_taken_back_is_neither_signed_nor_written(shared: Server, url: str, home: Path) -> None:
    """As after a failover to a standby that had fallen behind: what was signed is not there any more."""
    ledger = Ledger.create(url, home=home, origin="acme.com/remit-test")
    placed(ledger, append(ledger, n=1).id)
    ledger.close()
    seen = SignedHead.read(home)
    assert seen is not None
    SignedHead(seen.size + 2, seen.root).write(home)
    with Ledger.open(url, home=home) as again:
        appended = append(again, n=2)
        with pytest.raises(EvidenceUnavailable, match="taken back"):
            again.wait_sequenced([appended.id], deadline=30)
        with pytest.raises(EvidenceUnavailable, match="taken back"):
            append(again, n=3)


def test_a_record_that_was_acknowledged_and_is_gone_stops_its_writer(shared: Server, ledger: Ledger, url: str) -> None:
    """A writer whose connection was lost looks for its last record before it goes on."""
    placed(ledger, append(ledger, n=1).id)
    with shared.connect(database(url)) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM record WHERE type = 'auth.succeeded'")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'remit writer'"
        )
    with pytest.raises(EvidenceUnavailable):
        append(ledger, n=2)
    with pytest.raises(EvidenceUnavailable, match="taken back"):
        append(ledger, n=3)


def test_another_log_in_the_same_database_is_refused(ledger: Ledger, url: str, tmp_path: Path) -> None:
    """Two hosts with keys of their own would sign two logs over the same records."""
    with pytest.raises(UsageError, match="another place"):
        Ledger.create(url, home=tmp_path / "other")
    with pytest.raises(VerificationError, match="no pin"):
        Ledger.open(url, home=tmp_path / "third")


# -- a server that is away


def test_a_server_that_is_down_refuses_and_is_used_again_once_it_is_up(url: str, home: Path, shared: Server) -> None:
    """Opening, writing and reading say what is wrong; nothing that was acknowledged is lost over a crash."""
    with Ledger.create(url, home=home, origin="acme.com/remit-test") as ledger:
        kept = append(ledger, n=1)
        shared.stop(signal.SIGQUIT)
        for _ in range(2):
            with pytest.raises(EvidenceUnavailable):
                append(ledger, n=2)
        with pytest.raises(EvidenceUnavailable):
            Ledger.open(url, home=home)
        shared.start()
        last = append(ledger, n=3)
        placed(ledger, kept.id, last.id)
        assert [record.data["n"] for record in ledger.records(types=["auth.succeeded"])] == [1, 3]
        ledger.verify()


def test_a_server_that_hangs_refuses_in_time(ledger: Ledger, shared: Server) -> None:
    """The caller is told at its deadline; once the server answers again, recording goes on."""
    append(ledger, n=1)
    shared.signal(signal.SIGSTOP)
    try:
        with pytest.raises(EvidenceUnavailable):
            ledger.run(lambda txn: txn.append(ledger.draft("auth.succeeded", data={"n": 2})), deadline=0.2)
    finally:
        shared.signal(signal.SIGCONT)
    placed(ledger, append(ledger, n=3).id)
    ledger.verify()


def test_a_lost_connection_is_not_the_end_of_a_writer(shared: Server, ledger: Ledger, url: str, home: Path) -> None:
    """Its process lives, so nobody buries it; it goes on under its own name."""
    append(ledger, n=1)
    writer = ledger.writer_id
    with Ledger.open(url, home=home) as other:
        append(other, n=2)
        shared.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = '{database(url)}' AND application_name IN ('remit writer', 'remit sequencer')"
        )
        assert other.dead_writers() == []
    append(ledger, n=3)
    assert ledger.writer_id == writer
    ledger.verify()


def test_a_writer_that_was_buried_goes_on_as_a_new_one(ledger: Ledger, url: str, home: Path) -> None:
    """Whoever was taken for dead does not append to the chain that others have closed."""
    append(ledger, n=1)
    writer = ledger.writer_id
    assert writer is not None
    with Ledger.open(url, home=home) as other:
        assert other.run(lambda txn: txn.bury(writer))
    append(ledger, n=2)
    assert ledger.writer_id not in (None, writer)
    assert ledger.verify().writers >= 2


# -- several hosts


def test_a_spent_limit_is_spent_on_every_host(ledger: Ledger, url: str, home: Path) -> None:
    """Two writers that keep what they have read: neither counts past the other."""

    def spend(txn: Any) -> int:
        row = txn.get("counters", "shared")
        value = int(row["value"]) if row is not None else 0
        if value < 10:
            txn.put("counters", "shared", value=str(value + 1))
        return value

    with Ledger.open(url, home=home) as other:
        found = [one.run(spend) for _ in range(8) for one in (ledger, other)]
    assert found == [*range(10), *([10] * 6)]


def test_what_is_held_waits_for_whoever_relies_on_it(ledger: Ledger, shared: Server, url: str) -> None:
    """A name that has no row is held by an advisory lock, a row by its own."""
    with shared.connect(database(url)) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (lock_number("people\x1f*"),))
        with pytest.raises(EvidenceUnavailable):
            ledger.run(lambda txn: txn.hold("people", "*"), deadline=0.3)
    assert ledger.run(lambda txn: txn.hold("people", "*")) is None


def test_no_password_is_said(home: Path) -> None:
    """Neither in an error nor in how a store calls itself."""
    url = "postgresql+psycopg://remit:s3cret@127.0.0.1:1/none"
    with pytest.raises(EvidenceUnavailable) as refused:
        Ledger.create(url, home=home)
    assert "s3cret" not in str(refused.value)
    assert "127.0.0.1" in str(refused.value)
    with pytest.raises(UsageError) as odd:
        Ledger.create("postgresql+psycopg://remit:s3cret@host:port/none", home=home)
    assert "s3cret" not in str(odd.value)


def test_evidence_is_only_inserted(ledger: Ledger, shared: Server, url: str) -> None:
    """Triggers stand before every way of changing or emptying what is evidence."""
    placed(ledger, append(ledger).id)
    with shared.connect(database(url)) as connection:
        for table in ("record", "leaf", "checkpoint"):
            for statement in (f"DELETE FROM {table}", f"TRUNCATE {table}"):
                with pytest.raises(psycopg.Error, match="never changed"):
                    connection.execute(statement)


# -- rights


def test_roles_may_append_and_read_but_change_no_evidence(shared: Server, url: str, home: Path, tmp_path: Path) -> None:
    """An agent's process is a member of remit_writer: what it wrote it cannot take back, nor give itself an index."""
    from remit.store.postgres import PostgresStore
    from remit.store.roles import grant_roles

    with Ledger.create(url, home=home, origin="acme.com/remit-test") as owner:
        done = grant_roles(PostgresStore.of(url))
        assert grant_roles(PostgresStore.of(url)) == [one for one in done if not one.startswith("CREATE ROLE")]
        for user, role in (("agent", "remit_writer"), ("signer", "remit_sequencer"), ("auditor", "remit_reader")):
            shared.execute(f"CREATE ROLE {user} LOGIN IN ROLE {role}")
        agents = tmp_path / "agents"
        agents.mkdir()
        for name in ("kek.key", "index.key", "pin.json"):
            (agents / name).write_bytes((home / name).read_bytes())
        with Ledger.open(url.replace("remit@", "agent@"), home=agents) as agent:
            append(agent, "s-1", n=1)
            agent.run(lambda txn: txn.put("counters", "a", value="1"))
        placed(owner, append(owner, n=2).id)
    with Ledger.open(url.replace("remit@", "signer@"), home=home) as signer:
        placed(signer, append(signer, n=3).id)
    with Ledger.open(url.replace("remit@", "auditor@"), home=home, writer=False) as auditor:
        assert auditor.verify().unsigned == 0
    for user, statements in {
        "agent": ("INSERT INTO leaf VALUES (9, 9)", "DELETE FROM pending", "UPDATE head SET size = 0",
                  "INSERT INTO checkpoint VALUES (9, '')", "UPDATE payload SET ciphertext = NULL"),
        "auditor": ("INSERT INTO counters VALUES ('b', '1')", "DELETE FROM artefact"),
        "signer": ("UPDATE record SET body = ''", "DELETE FROM leaf", "DROP TABLE record"),
    }.items():  # fmt: skip
        with shared.connect(database(url), user=user) as connection:
            for statement in statements:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement)
