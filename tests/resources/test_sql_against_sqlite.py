"""SQLite itself as the judge: whatever its authorizer sees a statement touch, the reader has reported.

The statements are generated, with names of tables as aliases and as common table expressions, so that a name means
now a table and now something else.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.errors import NotCanonical
from remit.resources.sql import SqlReader
from tests.resources.test_sql import BEYOND, CHANGES, DEFINITIONS, QUERIES

READER = SqlReader("sqlite")
NAMES = ("t", "u", "v")
CHANGED = {sqlite3.SQLITE_INSERT: "write", sqlite3.SQLITE_UPDATE: "write", sqlite3.SQLITE_DELETE: "write"}
DEFINED = {
    sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_CREATE_VIEW, sqlite3.SQLITE_DROP_TABLE, sqlite3.SQLITE_DROP_VIEW,
    sqlite3.SQLITE_CREATE_TEMP_TABLE,
}  # fmt: skip


def real(text: str) -> set[str]:
    """What SQLite touches when it compiles the statement. Raises sqlite3.Error for one that it does not take."""
    found: set[str] = set()

    def authorize(action: int, one: str | None, two: str | None, database: str | None, inner: str | None) -> int:
        if database is not None and one is not None and not one.startswith(("sqlite_", "pragma_")):
            where = f"{database}.{one.lower()}"
            if action == sqlite3.SQLITE_READ and inner is None:
                found.add(f"read {where}")
            elif action in CHANGED:
                found.add(f"write {where}")
            elif action in DEFINED:
                found.add(f"ddl {where}")
        return sqlite3.SQLITE_OK

    connection = sqlite3.connect(":memory:")
    try:
        for name in (*NAMES, "payments"):
            connection.execute(f"CREATE TABLE {name} (a, b, i)")
        connection.set_authorizer(authorize)
        connection.execute(f"EXPLAIN {text}")
        return found
    finally:
        connection.close()


def reported(text: str) -> set[str]:
    """What the reader says, below the database; a definition covers filling what it defines."""
    return {
        f"{access.action} {access.uri.removeprefix('sqlite://x').lstrip('/')}"
        for access in READER.accesses("sqlite://x", text)
    }


def names() -> st.SearchStrategy[str]:
    return st.sampled_from([*NAMES, "T", '"u"', "[v]", "`t`", "main.t", "main.u", "'v'"])


def alias() -> st.SearchStrategy[str]:
    return st.sampled_from(["", " t", " AS u", " AS v", " x", " AS [t]"])


@st.composite
def query(draw: st.DrawFn, depth: int = 2) -> str:
    """A SELECT, possibly with common table expressions, joins, subqueries and set operations."""
    with_ = ""
    if depth and draw(st.booleans()):
        ctes = draw(st.lists(st.sampled_from([*NAMES, "c"]), min_size=1, max_size=2, unique=True))
        bodies = ", ".join(f"{name} AS ({draw(query(depth - 1))})" for name in ctes)
        with_ = f"WITH {draw(st.sampled_from(['', 'RECURSIVE ']))}{bodies} "
    sources = draw(st.lists(source(depth), min_size=1, max_size=2))
    where = f" WHERE {draw(condition(depth))}" if draw(st.booleans()) else ""
    joined = draw(st.sampled_from([", ", " JOIN ", " CROSS JOIN "])).join(sources)
    text = f"{with_}SELECT 1 AS a, 2 AS b, 3 AS i FROM {joined}{where}"
    if depth and draw(st.integers(0, 3)) == 0:
        text += f" {draw(st.sampled_from(['UNION', 'UNION ALL', 'EXCEPT']))} {draw(query(0))}"
    return text


def source(depth: int) -> st.SearchStrategy[str]:
    plain = st.builds("{}{}".format, st.one_of(names(), st.just("c")), alias())
    if not depth:
        return plain
    return st.one_of(plain, st.builds("({}){}".format, query(depth - 1), alias()), st.builds("({})".format, plain))


def condition(depth: int) -> st.SearchStrategy[str]:
    flat = st.sampled_from(["1", "'from v' = 'x'", "1 /* from u */"])
    if not depth:
        return flat
    return st.one_of(
        flat,
        st.builds("EXISTS ({})".format, query(depth - 1)),
        st.builds("1 = (SELECT max(a) FROM ({}))".format, query(0)),
    )


@st.composite
def statement(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(["query", "insert", "update", "delete", "create", "view", "drop"]))
    target = draw(names())
    match kind:
        case "query":
            return draw(query())
        case "insert":
            return f"{draw(st.sampled_from(['INSERT', 'REPLACE', 'INSERT OR IGNORE']))} INTO {target} {draw(query())}"
        case "update":
            from_ = f" FROM {draw(source(1))}" if draw(st.booleans()) else ""
            return f"UPDATE {target} SET a = ({draw(st.just('b'))}){from_} WHERE {draw(condition(2))}"
        case "delete":
            return f"WITH c AS ({draw(query(1))}) DELETE FROM {target} WHERE {draw(condition(2))}"
        case "create":
            return f"CREATE TABLE w AS {draw(query())}"
        case "view":
            return f"CREATE VIEW w AS {draw(query())}"
    return f"DROP TABLE {target}"


def judge(text: str) -> bool:
    """Whether both took the statement; it fails when SQLite touches what was not reported."""
    try:
        said = reported(text)
    except NotCanonical:
        return False
    try:
        touched = real(text)
    except sqlite3.Error:
        return False
    defines = {each.removeprefix("ddl ") for each in said if each.startswith("ddl ")}
    missing = {each for each in touched - said if each.partition(" ")[2] not in defines}
    assert not missing, text
    return True


@pytest.mark.requirement("H71")
@settings(max_examples=300, deadline=None)
@given(statement())
def test_no_generated_statement_is_under_reported(text: str) -> None:
    """CTEs named like tables, aliases named like tables, strings and comments that look like queries."""
    judge(text)


def of_the_tables() -> Iterator[str]:
    return (text for dialect, text, _ in (*QUERIES, *CHANGES, *DEFINITIONS, *BEYOND) if dialect == "sqlite")


def test_no_statement_of_the_table_is_under_reported() -> None:
    """The table of expected accesses is right, as far as SQLite takes its statements."""
    assert sum(judge(text) for text in of_the_tables()) >= 4


def test_most_generated_statements_are_read_and_taken() -> None:
    """The comparison is not empty: typical statements go through both."""
    texts = [
        "SELECT 1 FROM t JOIN (SELECT 1 AS a FROM u) AS v", "INSERT INTO t SELECT 1, 2, 3 FROM u AS v",
        "WITH t AS (SELECT 1 AS a FROM u) SELECT 1 FROM t, main.t", "DELETE FROM t WHERE EXISTS (SELECT 1 FROM v)",
    ]  # fmt: skip
    assert all(judge(text) for text in texts)
