"""Where tests keep their ledgers: SQLite files or, with REMIT_TEST_STORE=postgresql, databases of their own server.

A test that speaks of SQLite's files carries `@pytest.mark.sqlite`, and is left out on PostgreSQL.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import remit
import remit.testing
from remit.testing import Clock

ON_POSTGRESQL = os.environ.get("REMIT_TEST_STORE") == "postgresql"

if ON_POSTGRESQL and "REMIT_TEST_HOMES" not in os.environ:  # keys of a ledger on a server lie in the user's data directory, in subprocesses of tests as well
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
