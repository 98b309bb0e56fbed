"""Whatever is changed in a read model by hand is found: every table, every column, a row too many, a row too few."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from sqlalchemy import Column

from remit.errors import VerificationError
from remit.fsck import NOT_DERIVABLE, check, compare
from remit.fsck.tables import REBUILT, VERIFIED
from remit.store.tables import Base
from tests.fsck.conftest import Copy

TABLES = Base.metadata.tables
COLUMNS = [(table, column) for table in REBUILT for column in TABLES[table].columns.keys()]  # noqa: SIM118

EVIDENCE = {
    (table, column)
    for table in sorted(VERIFIED - {"pending"})  # SQLite gives each record its index at once
    for column in TABLES[table].columns.keys()  # noqa: SIM118
}
NOT_LOOKED_AT = {
    ("record", "rid"): "changed together with its leaf, nothing has changed",
}


def _another(value: Any, column: Column[Any]) -> Any:
    """A value that is not the stored one, and that the column takes."""
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:] if value else b"x"
    if isinstance(value, int):
        return value + 100_000 if column.type.python_type is int else 1 - value
    if value is None:
        return 1 if column.type.python_type in (int, bool) else "someone"
    return '{"x":1}' if value.startswith(("{", "[")) else f"{value}x"


def _tamper(connection: sqlite3.Connection, table: str, column: str) -> str:
    """Change one value of one row. Returns the row's key."""
    [key] = TABLES[table].primary_key.columns.keys()
    found = connection.execute(f'SELECT "{key}", "{column}" FROM "{table}" ORDER BY "{column}" IS NULL').fetchone()
    assert found is not None, f"the full history leaves no row in {table}"
    changed = _another(found[1], TABLES[table].columns[column])
    connection.execute("PRAGMA foreign_keys=OFF")
    connection.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE "{key}" = ?', (changed, found[0]))
    return str(found[0])


def test_every_table_is_evidence_or_rebuilt_or_named_as_neither() -> None:
    """A new table has to be put in its place before anything else passes."""
    assert {*VERIFIED, *REBUILT, *NOT_DERIVABLE} == set(TABLES)


def test_the_full_history_is_whole(copy: Copy) -> None:
    """It verifies, and its read models are what its records show."""
    with copy.ledger() as ledger:
        found = check(ledger)
    assert [finding.sentence for finding in found.findings] == []
    assert found.untold == ()
    assert found.rows > 40


@pytest.mark.requirement("fsck")
@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=lambda name: name)
def test_a_changed_value_is_found(copy: Copy, table: str, column: str) -> None:
    """The finding names table, row and column, and says in a sentence what it could mean."""
    with copy.sql() as connection:
        row = _tamper(connection, table, column)
    with copy.ledger() as ledger:
        findings = compare(ledger).findings
    if TABLES[table].columns[column].primary_key:
        assert {(finding.table, finding.column) for finding in findings} == {(table, None)}
        assert len(findings) == 2
    else:
        assert [(finding.table, finding.row, finding.column) for finding in findings] == [(table, row, column)]
    assert all(finding.sentence.count(": ") >= 1 for finding in findings)


@pytest.mark.parametrize("table", REBUILT)
def test_a_row_that_was_taken_away_is_found(copy: Copy, table: str) -> None:
    """Each of them, one by one."""
    [key] = TABLES[table].primary_key.columns.keys()
    with copy.sql() as connection:
        [row] = connection.execute(f'SELECT "{key}" FROM "{table}"').fetchone()
        connection.execute(f'DELETE FROM "{table}" WHERE "{key}" = ?', (row,))
    with copy.ledger() as ledger:
        [finding] = compare(ledger).findings
    assert (finding.table, finding.row, finding.stored) == (table, row, None)
    assert "is missing" in finding.sentence


@pytest.mark.parametrize("table", REBUILT)
def test_a_row_that_nobody_recorded_is_found(copy: Copy, table: str) -> None:
    """A key for a person, a grant, an approval, a counter: no record made it."""
    [key] = TABLES[table].primary_key.columns.keys()
    unique = [column.name for column in TABLES[table].columns if column.unique]
    others = [name for name in TABLES[table].columns.keys() if name != key and name not in unique]  # noqa: SIM118
    names = ", ".join(f'"{name}"' for name in [key, *others])
    values = ", ".join(["'planted'", *(f'"{name}"' for name in others)])
    with copy.sql() as connection:
        connection.execute(f'INSERT INTO "{table}" ({names}) SELECT {values} FROM "{table}" LIMIT 1')
    with copy.ledger() as ledger:
        [finding] = compare(ledger).findings
    assert (finding.table, finding.row, finding.recorded) == (table, "planted", None)
    assert "follows from no record" in finding.sentence


@pytest.mark.parametrize(("table", "column"), sorted(EVIDENCE - set(NOT_LOOKED_AT)), ids=lambda name: name)
def test_changed_evidence_does_not_verify_so_nothing_is_rebuilt_from_it(copy: Copy, table: str, column: str) -> None:
    """`fsck` begins with `verify`."""
    with copy.sql() as connection:
        _tamper(connection, table, column)
    with pytest.raises(VerificationError), copy.ledger() as ledger:
        check(ledger)


def test_budget_that_was_given_back_is_said_in_words(copy: Copy) -> None:
    """The sentence that an operator reads."""
    with copy.sql() as connection:
        [name, value] = connection.execute("SELECT id, value FROM counters WHERE id LIKE '%/calls'").fetchone()
        connection.execute("UPDATE counters SET value = '0' WHERE id = ?", (name,))
    with copy.ledger() as ledger:
        [finding] = compare(ledger).findings
    assert finding.sentence == f"counter {name} holds 0, the records show {value}: somebody gave budget back"
