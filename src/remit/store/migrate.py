"""Bringing a database to the newest schema, with the Alembic migrations that are part of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from remit.store.tables import Base

REVISION: Final = "0003"
"""The newest migration. A database at another revision is not written to before it was migrated."""

_FOLDER: Final = Path(__file__).parent / "migrations"


def upgrade(connection: Connection) -> None:
    """Run every migration that this database lacks, inside the caller's transaction."""
    from alembic import command  # not needed, and not quick, where the schema is current
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    if connection.dialect.name == "postgresql":
        _compare_bytes(connection)


def _compare_bytes(connection: Connection) -> None:
    """Text is compared byte by byte, as SQLite does, whatever the language of the server."""
    columns = connection.execute(
        text(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"
            " AND data_type = 'character varying' AND collation_name IS DISTINCT FROM 'C' AND table_name = ANY(:ours)"
        ),
        {"ours": list(Base.metadata.tables)},
    ).all()
    for table, column in columns:
        connection.exec_driver_sql(f'ALTER TABLE "{table}" ALTER COLUMN "{column}" TYPE varchar COLLATE "C"')


def revision_of(connection: Connection) -> str | None:
    """The revision that a database is at; None when it holds no ledger."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return str(found) if found is not None else None
