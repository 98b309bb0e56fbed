"""Records that wait for their index, what a database that several hosts share needs, and what witnesses signed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "pending",
        sa.Column("rid", NUMBER, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("rid"),
    )
    op.create_table(
        "cosignature",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("size", NUMBER, nullable=False),
        sa.Column("witness", sa.String(), nullable=False),
        sa.Column("time", NUMBER, nullable=False),
        sa.Column("line", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_cosignature_size"), "cosignature", ["size"], unique=False)
    op.create_table(
        "witness",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("size", NUMBER, nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.Column("cosigned", sa.String(), nullable=True),
        sa.Column("failed", sa.String(), nullable=True),
        sa.Column("why", sa.String(), nullable=True),
        sa.Column("conflict", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.add_column("head", sa.Column("log", sa.String(), nullable=True))
    op.drop_column("artefact", "media_type")  # nobody read it, and nothing that is signed covered it
    if op.get_bind().dialect.name == "postgresql":
        _on_postgresql()
        for verb in ("UPDATE", "DELETE", "TRUNCATE"):
            op.execute(
                f"CREATE TRIGGER cosignature_no_{verb.lower()} BEFORE {verb} ON cosignature "
                "FOR EACH STATEMENT EXECUTE FUNCTION remit_refuse()"
            )
        return
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER cosignature_no_{verb.lower()} BEFORE {verb} ON cosignature "
            "BEGIN SELECT RAISE(ABORT, 'rows of cosignature are evidence: they are never changed'); END"
        )


def _on_postgresql() -> None:
    op.create_index("leaf_rid", "leaf", ["rid"], unique=True)
    # Whoever may append a record also makes it wait for its index, and cannot do one without the other.
    op.execute(
        "CREATE FUNCTION remit_wait() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT "
        "AS $$ BEGIN INSERT INTO pending (rid) SELECT rid FROM appended; RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER record_waits AFTER INSERT ON record REFERENCING NEW TABLE AS appended "
        "FOR EACH STATEMENT EXECUTE FUNCTION remit_wait()"
    )
