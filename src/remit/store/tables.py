"""The tables. Ledger tables are evidence and insert-only; read-model tables are projections that could be rebuilt.

Times are text: RFC 3339, UTC, six digits of fraction, `Z`. Locks and caches are not tables.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from sqlalchemy import JSON, BigInteger, Column, Integer, MetaData, UniqueConstraint
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

ONE_TREE: Final = {"sqlite_with_rowid": False}
"""For tables with text keys: rows lie in the tree of the key, so that a commit writes one page of them and not two."""


NUMBER: Final = BigInteger().with_variant(Integer(), "sqlite")
"""Places in the log go beyond 32 bits; SQLite's integers do so by themselves."""


def _place(*, given: bool = True) -> Any:
    """A numeric key, which is given; or else, on PostgreSQL, drawn from a sequence."""
    return Field(default=None, sa_column=Column(NUMBER, primary_key=True, autoincrement=not given))


class Base(SQLModel, registry=registry()):
    """Remit's own metadata, apart from any that the embedding program declares with SQLModel."""

    metadata: ClassVar[MetaData] = MetaData()


# -- evidence: rows are inserted, never changed


class RecordRow(Base, table=True):
    """One record. `body` holds the exact bytes that were hashed; the other columns repeat parts of it for queries."""

    __tablename__ = "record"
    __table_args__ = (UniqueConstraint("session", "writer", "sseq", name="record_sequence"),)

    rid: int | None = _place(given=False)
    id: str = Field(unique=True)
    writer: str
    wseq: int
    session: str | None = None
    sseq: int | None = None
    type: str
    time: str
    body: bytes


class LeafRow(Base, table=True):
    """Which record is the leaf at index `idx` of the tree."""

    __tablename__ = "leaf"

    idx: int | None = _place()
    rid: int = Field(sa_column=Column(NUMBER, nullable=False))


class CheckpointRow(Base, table=True):
    """A signed tree head (C2SP tlog-checkpoint): exact bytes of the note over the first `size` leaves."""

    __tablename__ = "checkpoint"

    size: int | None = _place()
    note: bytes


class CosignatureRow(Base, table=True):
    """That a witness saw a head, and when: its line for the note of the checkpoint of `size`, whose exact bytes it is.

    Id `size/key id/time`; `witness` is the vkey, `time` seconds since the epoch.
    """

    __tablename__ = "cosignature"
    __table_args__ = (ONE_TREE,)

    id: str = Field(primary_key=True)
    size: int = Field(sa_column=Column(NUMBER, nullable=False, index=True))
    witness: str
    time: int = Field(sa_column=Column(NUMBER, nullable=False))
    line: bytes


class ArtefactRow(Base, table=True):
    """Content that records refer to by digest: grants, catalogues, tool definitions."""

    __tablename__ = "artefact"
    __table_args__ = (ONE_TREE,)

    digest: str = Field(primary_key=True)
    content: bytes


class PayloadRow(Base, table=True):
    """What a record only commits to, encrypted. Erasing empties both columns; nothing else changes."""

    __tablename__ = "payload"
    __table_args__ = (ONE_TREE,)

    record_id: str = Field(primary_key=True)
    ciphertext: bytes | None = None
    wrapped_key: bytes | None = None


# -- what writers know of the log and of each other


class HeadRow(Base, table=True):
    """Size and frontier of the newest signed tree, so that whoever goes on need not read every leaf. One row.

    `log` names the log that a shared database was made for.
    """

    __tablename__ = "head"

    id: int | None = Field(default=1, sa_column=Column(NUMBER, primary_key=True, autoincrement=False))
    size: int = Field(sa_column=Column(NUMBER, nullable=False))
    frontier: bytes
    log: str | None = None


class PendingRow(Base, table=True):
    """A record that has no index yet. SQLite gives the index at once, so there it stays empty."""

    __tablename__ = "pending"

    rid: int | None = _place()


class WriterRow(Base, table=True):
    """A process that appended: `state` is running, stopped (it said so) or buried (found dead, and recorded)."""

    __tablename__ = "writer"
    __table_args__ = (ONE_TREE,)

    id: str = Field(primary_key=True)
    state: str
    host: str
    pid: int
    pid_namespace: str
    boot_id: str
    process_start: str
    started: str
    stopped: str | None = None


class WitnessRow(Base, table=True):
    """What is known of a witness: the head that it cosigned last, with the frontier from which the next proof starts.

    `failed` and `why` are of the first failure since then. `conflict` is a head that it showed, signed by this log, and
    that is not one of this ledger's: proof that records were taken back or that there are two histories.
    """

    __tablename__ = "witness"
    __table_args__ = (ONE_TREE,)

    id: str = Field(primary_key=True)
    size: int = Field(sa_column=Column(NUMBER, nullable=False))
    frontier: bytes
    cosigned: str | None = None
    failed: str | None = None
    why: str | None = None
    conflict: bytes | None = None


# -- read models


class GrantRow(Base, table=True):
    """A grant as it stands: its newest version and whether it is active or revoked.

    `issuer` issued the first version; `amenders`, a JSON list, later ones. `labels` of a root grant: a JSON list of
    what the sessions below it have touched.
    """

    __tablename__ = "grants"
    __table_args__ = (ONE_TREE,)

    id: str = Field(primary_key=True)
    version: int
    state: str
    issue_key: str | None = Field(default=None, unique=True)
    content_key: str | None = None
    template: str | None = Field(default=None, index=True)
    template_digest: str | None = None
    digest: str
    signature: str
    key_id: str
    principal: str
    agent: str
    issuer: str
    task: str
    not_before: str
    expires: str
    parent: str | None = None
    root: str
    record_id: str
    revoked_record: str | None = None
    labels: str | None = None
    amenders: str | None = None


class RequestRow(Base, table=True):
    """An agent's request for other terms: requested, granted or refused. `content` tells a repetition."""

    __tablename__ = "requests"

    id: str = Field(primary_key=True)
    grant_id: str = Field(index=True)
    session_id: str
    version: int
    content: str
    state: str
    time: str
    requested_record: str
    answered_record: str | None = None


class BindingRow(Base, table=True):
    """A value of the context that a grant was issued for; id `name\\x1fvalue\\x1fgrant`."""

    __tablename__ = "bindings"
    __table_args__ = (ONE_TREE,)

    id: str = Field(primary_key=True)
    name: str
    value: str
    grant_id: str


class SessionRow(Base, table=True):
    """A session: open, suspended or closed."""

    __tablename__ = "sessions"
    __table_args__ = (ONE_TREE,)

    id: str = Field(primary_key=True)
    grant_id: str | None = Field(default=None, index=True)
    session_key: str | None = Field(default=None, unique=True)
    state: str
    principal: str
    agent: str
    workload: str | None = None
    mode: str
    opened: str
    ends: str | None = None
    closed: str | None = None
    reason: str | None = None
    parent: str | None = None
    detached: bool | None = None
    idle_seconds: int | None = None
    last_call: str | None = None
    identity: str | None = None


class CallRow(Base, table=True):
    """A call and what became of it: running, denied, ask, or what its outcome said.

    `kept` says whether the result can be replayed.
    """

    __tablename__ = "calls"
    __table_args__ = (ONE_TREE,)

    id: str = Field(primary_key=True)
    session_id: str | None = Field(default=None, index=True)
    content: str
    tool: str
    state: str
    code: str | None = None
    rule: str | None = None
    clause: str | None = None
    grant_id: str | None = None
    writer: str | None = None
    intent_record: str | None = None
    outcome_record: str | None = None
    approval_id: str | None = None
    time: str
    outcome_time: str | None = None
    parent: str | None = None
    run_by: str | None = None
    kept: bool | None = None


class CounterRow(Base, table=True):
    """What has been spent of a limit: an exact decimal, as text."""

    __tablename__ = "counters"
    __table_args__ = (ONE_TREE,)

    id: str = Field(primary_key=True)
    value: str


class ApprovalRow(Base, table=True):
    """A question to a person: requested, approved, refused, used or lapsed."""

    __tablename__ = "approvals"
    __table_args__ = (ONE_TREE,)

    id: str = Field(primary_key=True)
    call_id: str
    session_id: str = Field(index=True)
    grant_id: str | None = None
    state: str
    by: str | None = None
    rule: str | None = None
    content: str
    expires: str
    requested_record: str
    decided_record: str | None = None
    decided_by: str | None = None
    authenticated: bool | None = None


class PersonRow(Base, table=True):
    """A person's enrolled key; id `user:bob@acme.com`."""

    __tablename__ = "people"
    __table_args__ = (ONE_TREE,)

    id: str = Field(primary_key=True)
    key: str
    state: str
    record_id: str


class ToolRow(Base, table=True):
    """The definition of a tool that is pinned; key `server.tool`.

    `state` is accepted; changed (`seen` is another one than the accepted `digest`); or new (none was accepted yet).
    """

    __tablename__ = "tools"
    __table_args__ = (ONE_TREE,)

    key: str = Field(primary_key=True)
    digest: str | None = None
    seen: str | None = None
    schema_digest: str | None = None
    text_digest: str | None = None
    state: str
    record_id: str


class TokenRow(Base, table=True):
    """A token that may be used once, and was: id is the keyed digest of its issuer and `jti`."""

    __tablename__ = "tokens"

    id: str = Field(primary_key=True)
    used_by: str
    expires: str


class TouchRow(Base, table=True):
    """Which call touched a resource, found by the keyed hash of its URI."""

    __tablename__ = "touches"
    __table_args__ = (ONE_TREE,)

    id: str = Field(primary_key=True)
    touch: str = Field(index=True)
    call_id: str
    record_id: str


class VerdictRow(Base, table=True):
    """What a reviewer decided; id is the record's."""

    __tablename__ = "verdicts"
    __table_args__ = (ONE_TREE,)

    id: str = Field(primary_key=True)
    session_id: str = Field(index=True)
    call_id: str | None = None
    verdict: str
    reason_code: str | None = None
    reviewer: str
    authenticated: bool
    superseded: str | None = None
    time: str


class SettingRow(Base, table=True):
    """The configuration that was last recorded, so that only changes are."""

    __tablename__ = "settings"
    __table_args__ = (ONE_TREE,)

    key: str = Field(primary_key=True)
    value: Any = Field(default=None, sa_column=Column(JSON, nullable=False))


INSERT_ONLY: Final = ("record", "leaf", "checkpoint", "cosignature", "artefact")
"""Tables whose rows triggers protect from UPDATE and DELETE: a guard against accidents, not against attackers."""
