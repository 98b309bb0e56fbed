"""What the writer needs of the transaction that a batch of jobs runs in, whichever database it is in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Select
from sqlalchemy.sql.dml import ReturningDelete

from remit.errors import EvidenceUnavailable
from remit.ledger.lease import Lease
from remit.ledger.pending import Changed, Key, Pending
from remit.store.shapes import Row


class Head(NamedTuple):
    """A tree head: how many leaves, under which root."""

    size: int
    root: bytes


class BatchFailed(Exception):
    """The transaction did not commit, or nobody knows whether it did.

    `unknown`: it may have. `of_one_job`: one job may be to blame, so the others are worth a try without it.
    `race`: another process came first, so the same jobs are worth another try.
    """

    def __init__(
        self, error: EvidenceUnavailable, *, unknown: bool = False, of_one_job: bool = False, race: bool = False
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.unknown = unknown
        self.of_one_job = of_one_job
        self.race = race


class Stale(BaseException):
    """What jobs of this batch have read is not so any more: they have to run again. No job catches it."""


class Batch(Protocol):
    """One connection that writes. Opens it on the first `begin`, and anew after `close`."""

    newest: datetime | None
    """When the newest record was appended."""

    committed: Head
    """The newest head that is known to be durable."""

    def lease(self, writer: str) -> Lease:
        """The lease of a writer that begins, taken within a transaction."""

    # -- the transaction

    def begin(self) -> None:
        """Begin, and look at what others have done. Raises `BatchFailed`; then nothing is held."""

    def now(self, clock: Callable[[], datetime]) -> datetime:
        """The time that decides windows in this batch: the database's own where several hosts share it."""

    def buried(self, writer: str) -> bool:
        """Whether this writer was found dead by another one, wrongly: nothing may follow in its chain."""

    def confirm(self) -> bool:
        """Whether everything that the jobs have read is still so; from here on until the end it stays so."""

    def again(self) -> None:
        """The jobs run again: forget what they wrote. Raises `BatchFailed`."""

    def commit(self) -> None:
        """Make everything durable. Raises `BatchFailed`; then nothing is held and nothing is cached."""

    def rollback(self) -> None:
        """End the transaction without a trace."""

    # -- what jobs read and write

    @property
    def written(self) -> int:
        """Bytes that this batch has collected."""

    @property
    def ended(self) -> bool:
        """Whether nothing may follow in this batch: its last record says who signs what comes after it."""

    def index(self, ahead: int) -> int | None:
        """The index of a record with `ahead` others of its own job before it; None where a sequencer gives it."""

    def absorb(self, pending: Pending) -> None:
        """A job succeeded: what it wrote belongs to the batch."""

    def row(self, table: str, key: str) -> Row | None:
        """A read-model row as this batch has it. Not to be changed."""

    def knows(self, place: Key) -> bool:
        """Whether it is known, without asking the database, what a row holds or that there is none."""

    def look(self, changed: Changed, key: str) -> Row:
        """The whole row of one that was put without looking. Not to be changed."""

    def forget(self, place: Key) -> None:
        """A row was taken away by hand: what is known of it is not so any more."""

    def hold(self, table: str, key: str) -> None:
        """Until the end nobody else changes this row, nor appends to the session that it is."""

    def takes_part(self, session: str) -> None:
        """A record of this session is appended, so nobody may close the session meanwhile."""

    def has_artefact(self, digest: str) -> bool:
        """Whether content is in the ledger or in this batch."""

    def leaf(self, record_id: str) -> tuple[int | None, bytes] | None:
        """Index and bytes of a record of the ledger or of this batch."""

    def last_in_session(self, session: str, writer: str) -> int | None:
        """A writer's last sequence number in a session, as it is stored."""

    def query(self, select: Select[*tuple[Any, ...]] | ReturningDelete[*tuple[Any, ...]]) -> Sequence[Any]:
        """Rows of a query within the transaction."""

    def flush(self) -> None:
        """Write out what jobs before this moment have written. Raises `BatchFailed`: it concerns all of them."""

    def write_out(self, pending: Pending) -> None:
        """Write out a batch's or a job's rows. Raises `BatchFailed`."""

    def save(self) -> None:
        """Begin a savepoint for one job that writes out early."""

    def release(self) -> None:
        """The job succeeded."""

    def back_to_save(self) -> None:
        """The job failed."""

    # -- the end

    def close(self) -> None:
        """Close the connection."""

    def before_fork(self) -> None:
        """Let go of what a child must not inherit."""

    def abandon(self) -> None:
        """In a forked child: never touch again what could not be closed before the fork."""
