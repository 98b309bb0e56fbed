"""Roles of a ledger on PostgreSQL: who may append, who sequences, who reads. Evidence is insert-only for all of them.

The owner of the tables, who migrates, may do anything; processes that run agents connect as somebody else, who is a
member of one of these.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import psycopg
from psycopg import sql

from remit.store.postgres import PostgresStore
from remit.store.tables import Base

APPENDED: Final = ("record", "artefact", "payload")
"""Evidence that every writer inserts."""

SEQUENCED: Final = ("leaf", "checkpoint", "cosignature")
"""Evidence that only the sequencer inserts."""

KEPT: Final = ("head", "pending", "witness")
"""What the sequencer keeps for itself."""

READ_MODELS: Final = tuple(sorted(Base.metadata.tables.keys() - {*APPENDED, *SEQUENCED, *KEPT}))


class Role(NamedTuple):
    """One role: what it is for, and what it may do beyond the role that it includes."""

    name: str
    purpose: str
    includes: str | None
    grants: tuple[str, ...]


def _tables(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)


ROLES: Final = (
    Role(
        "remit_reader",
        "reads and verifies: auditors, reviewers' pages",
        None,
        (f"SELECT ON {_tables(tuple(sorted(Base.metadata.tables)))}, alembic_version",),
    ),
    Role(
        "remit_writer",
        "appends records: processes that run agents",
        "remit_reader",
        (
            f"INSERT ON {_tables(APPENDED)}",
            "USAGE ON SEQUENCE record_rid_seq",
            f"INSERT, UPDATE ON {_tables(READ_MODELS)}",
        ),
    ),
    Role(
        "remit_sequencer",
        "gives indexes and signs: processes that hold the log's key",
        "remit_writer",
        (f"INSERT ON {_tables(SEQUENCED)}", f"INSERT, UPDATE ON {_tables(('witness',))}", 'UPDATE ON "head"',
         'DELETE ON "pending"'),
    ),
    Role(
        "remit_eraser",
        "destroys text on request: `remit erase`",
        "remit_writer",
        ('UPDATE (ciphertext, wrapped_key) ON "payload"',),
    ),
)  # fmt: skip
"""In the order in which they include each other."""


def grant_roles(store: PostgresStore) -> list[str]:
    """Make the roles where they are missing, and give them their rights on this database. Returns what was done.

    Raises `EvidenceUnavailable`, also when the user of the URL may not do that.
    """
    done: list[str] = []
    try:
        with store.connect(purpose="roles") as connection, connection.transaction():
            schema = connection.execute("SELECT current_schema()").fetchone()
            assert schema is not None
            for role in ROLES:
                name = sql.Identifier(role.name)
                known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role.name,)).fetchone()
                if known is None:
                    connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(name))
                    done.append(f"CREATE ROLE {role.name} NOLOGIN")
                if role.includes is not None:
                    connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role.includes), name))
                    done.append(f"GRANT {role.includes} TO {role.name}")
                usage = sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema[0]), name)
                connection.execute(usage)
                for grant in role.grants:
                    connection.execute(sql.SQL("GRANT " + grant + " TO {}").format(name))
                    done.append(f"GRANT {grant} TO {role.name}")
    except psycopg.Error as error:
        raise store.unavailable(error) from error
    return done
