"""The schema: what migrations make is what the classes declare, and readers cannot write."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy.exc
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

import remit.store.migrate
from remit.errors import UsageError
from remit.ledger import Ledger
from remit.store.engine import database_path, reading_engine, writing_engine
from remit.store.migrate import REVISION, revision_of, upgrade
from remit.store.shapes import MAX_ROWS, SHAPES, insert_all
from remit.store.tables import INSERT_ONLY, Base


@pytest.fixture
def migrated(tmp_path: Path) -> Iterator[Connection]:
    """A connection to a database that was made by migrations only."""
    with writing_engine(tmp_path / "schema.db", create=True).connect() as connection:
        upgrade(connection)
        yield connection


def test_migrations_make_what_the_classes_declare(migrated: Connection) -> None:
    """No table, column, type or index more or less."""
    assert compare_metadata(MigrationContext.configure(migrated), Base.metadata) == []
    assert revision_of(migrated) == REVISION
    assert revision_of(migrated) == _head()


def _head() -> str | None:
    config = Config()
    config.set_main_option("script_location", str(Path(remit.store.migrate.__file__).parent / "migrations"))
    return ScriptDirectory.from_config(config).get_current_head()


def test_unique_columns_are_unique(migrated: Connection) -> None:
    """What keeps two live grants from one key, two sessions from one key, two records from one place in a session."""
    found = {
        row[0]: row[1] for row in migrated.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
    }
    for table, clause in [
        ("grants", "UNIQUE (issue_key)"),
        ("sessions", "UNIQUE (session_key)"),
        ("record", "UNIQUE (session, writer, sseq)"),
        ("record", "UNIQUE (id)"),
    ]:
        assert clause in re.sub(r"\s+", " ", found[table])


@pytest.mark.requirement("I9")
def test_evidence_tables_refuse_update_and_delete(migrated: Connection) -> None:
    """A trigger stands before each of the tables that only grow."""
    triggers = {row[0] for row in migrated.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))}
    assert triggers == {f"{table}_no_{verb}" for table in INSERT_ONLY for verb in ("update", "delete")}


@pytest.mark.requirement("I7")
def test_a_reading_connection_cannot_write(migrated: Connection, tmp_path: Path) -> None:
    """Reading never recovers, repairs or migrates anything: it has no way to."""
    with reading_engine(tmp_path / "schema.db").connect() as reader:
        assert revision_of(reader) == REVISION
        with pytest.raises(sqlalchemy.exc.OperationalError, match="readonly"):
            reader.execute(text("INSERT INTO counters VALUES ('a', '1')"))
    with pytest.raises(sqlalchemy.exc.OperationalError):
        reading_engine(tmp_path / "none.db").connect()
    assert not (tmp_path / "none.db").exists()


def test_a_database_of_a_later_version_is_refused(tmp_path: Path) -> None:
    """Older code does not write into a schema that it does not know."""
    url = f"sqlite:///{tmp_path / 'evidence.db'}"
    Ledger.create(url).close()
    with writing_engine(tmp_path / "evidence.db").connect() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    for writer in (True, False):
        with pytest.raises(UsageError, match="upgrade Remit"):
            Ledger.open(url, writer=writer)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 63, 64, 65, 150])
def test_rows_are_inserted_in_order_however_many(count: int) -> None:
    """Whatever the sizes of the statements, each row is inserted once, in its place."""
    rows = [(str(n), str(n * n)) for n in range(count)]
    seen: list[Any] = []

    def execute(statement: str, values: Any) -> None:
        assert 2 * statement.count("(?, ?)") == len(values) <= 2 * MAX_ROWS
        seen.extend(values)

    insert_all(execute, SHAPES["counters"], rows)
    assert seen == [value for row in rows for value in row]


def test_a_row_that_is_there_is_changed_in_the_named_columns_only(migrated: Connection) -> None:
    """The others keep what they hold, whatever the inserted row says of them."""
    shape = SHAPES["tools"]
    blank = {**shape.blank, "digest": "d1", "state": "accepted", "record_id": "r"}
    for changing, row in [
        ((), {**blank, "key": "crm.a", "text_digest": "t1"}),
        (("state", "text_digest"), {**blank, "key": "crm.a", "state": "changed", "digest": "other"}),
        (("state",), {**blank, "key": "crm.b"}),
    ]:
        insert_all(
            lambda sql, values: migrated.exec_driver_sql(sql, tuple(values)), shape, [shape.stored(row)], changing
        )
    found = migrated.execute(text("SELECT key, digest, state, text_digest FROM tools ORDER BY key")).all()
    assert [tuple(row) for row in found] == [("crm.a", "d1", "changed", None), ("crm.b", "d1", "accepted", None)]


def test_a_url_becomes_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to where the process stands, once and for all."""
    monkeypatch.chdir(tmp_path)
    assert database_path("sqlite:///remit.db") == tmp_path / "remit.db"
    assert database_path("sqlite:////srv/remit.db") == Path("/srv/remit.db")
