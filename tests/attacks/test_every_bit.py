"""Every bit of every column of every evidence row, flipped alone through SQL: 0 missed.

A value keeps its type: integers have 64 bits, text and blobs those of their bytes. A value that is not there is made
one, and one that is there is taken away. What the database itself refuses to store needs no verifier.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.errors import VerificationError
from remit.ledger import Ledger
from remit.ledger.keys import Home
from remit.ledger.notes import Cosigner
from remit.ledger.payload import Sealer
from remit.ledger.verify import verify
from remit.store.engine import SqliteSnapshot, SqliteStore
from remit.store.tables import Base

pytestmark = pytest.mark.sqlite

EVIDENCE: Final = ("record", "leaf", "checkpoint", "cosignature", "artefact", "payload", "head")
MOMENT: Final = 1_795_510_800


class Uncommitted(SqliteStore):
    """The database as the attacker's own transaction sees it, so that taking a change back costs nothing."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        super().__init__(path)
        self._connection = connection

    @contextmanager
    def snapshot(self, shared: str | None = None) -> Iterator[SqliteSnapshot]:
        """See `SqliteStore.snapshot`."""
        try:
            yield SqliteSnapshot(self._connection)
        except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:
            raise VerificationError(str(error)) from error


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed ledger: a record that brings an artefact, one with text beside it, a session, a cosigned head."""
    folder = tmp_path_factory.mktemp("bits")
    with Ledger.create(f"sqlite:///{folder / 'remit.db'}", origin="acme.com/bits") as ledger:
        bringing = ledger.draft("auth.succeeded", data={})
        told = ledger.draft("auth.failed", session="s-1", data={"n": 1}, private={"arguments": {"id": 88}})
        ledger.run(lambda txn: (txn.artefact(b"terms"), txn.append(bringing), txn.append(told)))
    with closing(sqlite3.connect(folder / "remit.db")) as connection, connection:
        size, note = connection.execute("SELECT size, note FROM checkpoint ORDER BY size DESC").fetchone()
        witness = Cosigner("witness.example/w", Ed25519PrivateKey.generate())
        line = witness.line(note.partition(b"\n\n")[0] + b"\n", MOMENT)
        row = (f"{size}/{witness.key.key_id.hex()}/{MOMENT}", size, witness.key.vkey, MOMENT, line)
        connection.execute("INSERT INTO cosignature (id, size, witness, time, line) VALUES (?,?,?,?,?)", row)
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
    return folder / "remit.db"


def flips(value: Any) -> Iterator[tuple[str, str, Any]]:
    """(which bit, the SQL that stores it, what is bound to that) for every bit of a value."""
    if value is None:
        yield from (("is there", "?", other) for other in (0, "", b"", "x"))
        return
    yield "is gone", "?", None
    if isinstance(value, int):
        for bit in range(64):
            flipped = (value ^ (1 << bit)) & (2**64 - 1)
            yield f"bit {bit}", "?", flipped - 2**64 if flipped >= 2**63 else flipped
        yield from (("is of another type", "?", other) for other in ("x", b"x", 0.5))
        return
    kind = "TEXT" if isinstance(value, str) else "BLOB"
    raw = value.encode() if isinstance(value, str) else value
    for bit in range(8 * len(raw)):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit}", f"CAST(? AS {kind})", bytes(changed)
    other = "BLOB" if kind == "TEXT" else "TEXT"
    yield f"is {other}", f"CAST(? AS {other})", raw


@pytest.mark.requirement("attacks:bits")
@pytest.mark.parametrize("table", EVIDENCE)
def test_no_flipped_bit_of_a_row_is_missed(evidence: Path, table: str) -> None:
    """Each value of each row of the table, each bit of it."""
    columns = [column.name for column in Base.metadata.tables[table].columns]
    home = Home(Path(f"{evidence}.remit"))
    pin, key = home.pin(), home.key_encryption_key()
    assert key is not None
    missed, tried = [], 0
    with closing(sqlite3.connect(evidence, isolation_level=None)) as connection:
        store, sealer = Uncommitted(evidence, connection), Sealer(key)

        def accepted(statement: str, *values: Any) -> bool:
            connection.execute("BEGIN")
            try:
                connection.execute(statement, values)
                verify(store, pin, sealer)
            except (VerificationError, sqlite3.IntegrityError):
                return False
            finally:
                connection.execute("ROLLBACK")
            return True

        assert accepted("SELECT 1")
        rows = connection.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()
        for row in rows:
            for column, value in zip(columns, row, strict=True):
                for what, expression, bound in flips(value):
                    tried += 1
                    if accepted(f"UPDATE {table} SET {column} = {expression} WHERE {columns[0]} = ?", bound, row[0]):
                        missed.append(f"{table}.{column} of {row[0]}: {what}")
    assert rows
    assert missed == []
    assert tried > 64


def test_text_that_is_none_is_a_sentence_too(evidence: Path, tmp_path: Path) -> None:
    """Through the ledger itself: bytes that are no UTF-8, in a column of text."""
    copy = tmp_path / "remit.db"
    shutil.copytree(Path(f"{evidence}.remit"), Path(f"{copy}.remit"))
    shutil.copy(evidence, copy)
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE record SET type = CAST(x'ff61' AS TEXT) WHERE rid = 1")
    with Ledger.open(f"sqlite:///{copy}", writer=False) as ledger, pytest.raises(VerificationError, match="cannot be"):
        ledger.verify()
