"""Where tests keep their ledgers: SQLite files or, with REMIT_TEST_STORE=postgresql, databases of their own server.

A test that speaks of SQLite's files carries `@pytest.mark.sqlite`, and is left out on PostgreSQL.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import remit
import remit.testing
from remit.testing import Clock

ON_POSTGRESQL = os.environ.get("REMIT_TEST_STORE") == "postgresql"

if (
    ON_POSTGRESQL and "REMIT_TEST_HOMES" not in os.environ
):  # keys of a ledger on a server lie in the user's data directory, in subprocesses of tests as well
    _homes = tempfile.TemporaryDirectory(prefix="remit-homes-")
    os.environ["XDG_DATA_HOME"] = os.environ["REMIT_TEST_HOMES"] = _homes.name

_databases: dict[Path, str] = {}


def url_for(folder: Path, name: str = "remit.db") -> str:
    """Where the ledger `name` of `folder` lies. Databases come into being when they are first asked for."""
    if not ON_POSTGRESQL:
        return f"sqlite:///{folder / name}"
    from tests.postgres import server

    place = folder / name
    if place not in _databases:
        _databases[place] = "t" + hashlib.sha256(str(place).encode()).hexdigest()[:20]
        server().execute(f"CREATE DATABASE {_databases[place]} TEMPLATE {_template()}")
    return server().url(_databases[place])


def database_of(url: str) -> str:
    """The name of the database in a server's URL."""
    return url.partition("://")[2].partition("/")[2].partition("?")[0]


def tamper(folder: Path, *statements: str, name: str = "remit.db", keep_triggers: bool = False) -> None:
    """What somebody with write access to the store could do."""
    if not ON_POSTGRESQL:
        with closing(sqlite3.connect(folder / name, isolation_level=None)) as file:
            if not keep_triggers:
                for (trigger,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                    file.execute(f"DROP TRIGGER {trigger}")
            for statement in statements:
                file.execute(statement)
        return
    from tests.postgres import server

    with server().connect(database_of(url_for(folder, name))) as connection:
        if not keep_triggers:
            connection.execute("SET session_replication_role = replica")  # as the owner of the server may
        for statement in statements:
            translated = re.sub(r"\bx'([0-9a-f]*)'", r"'\\x\1'::bytea", statement).replace("AS BLOB)", "AS bytea)")
            connection.execute(translated)


def query(folder: Path, statement: str, *, name: str = "remit.db") -> list[tuple[Any, ...]]:
    """Rows as another program sees them."""
    if ON_POSTGRESQL:
        from tests.postgres import server

        return server().execute(statement, database_of(url_for(folder, name)))
    with closing(sqlite3.connect(folder / name)) as file:
        return file.execute(statement).fetchall()


def drop_below(folder: Path) -> None:
    """A test is over: its databases go."""
    from tests.postgres import server

    for place in [place for place in _databases if place.is_relative_to(folder)]:
        server().execute(f"DROP DATABASE {_databases.pop(place)} WITH (FORCE)")


@functools.cache
def _template() -> str:
    """A database with the schema, and without a ledger: copying it is quicker than migrating."""
    from remit.ledger.postgres_backend import migrate_postgres
    from remit.store.stores import store_of
    from tests.postgres import server

    server().execute("CREATE DATABASE ledgers")
    migrate_postgres(store_of(server().url("ledgers")), log=None)
    return "ledgers"


@contextmanager
def temporary(folder: Path, *, clock: Clock | None = None, **options: Any) -> Iterator[remit.App]:
    """`remit.testing.temporary`, on the store that the tests run on."""
    folder.mkdir(parents=True, exist_ok=True)
    with remit.testing.temporary(folder, url=url_for(folder), clock=clock, **options) as app:
        yield app
