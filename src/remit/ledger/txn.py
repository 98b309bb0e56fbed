"""What a job sees: one all-or-nothing step within the transaction of a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Select, delete

from remit.errors import UsageError
from remit.ids import new_id
from remit.ledger.chain import RELAXED, Chain
from remit.ledger.merkle import leaf_hash
from remit.ledger.pending import Changed, Pending
from remit.ledger.records import ROTATED, Draft, build_leaf
from remit.store.shapes import Row, shape_of

if TYPE_CHECKING:
    from remit.ledger.batch import Batch


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a record came to lie. `time` is the record's, RFC 3339 text.

    `index` is None where a sequencer gives it later (PostgreSQL): see `Ledger.wait_sequenced`.
    """

    index: int | None
    id: str
    time: str


class Txn:
    """Everything a job reads and writes. It lives in the writer's thread and ends with the job.

    `now` is when the batch began: aware, UTC, never before this writer's last record.

    When the job raises, nothing of it remains, and its neighbours in the batch commit.
    """

    __slots__ = ("_batch", "_chain", "_fresh_artefacts", "_own", "_saved", "_time", "_unsaid", "now", "writer")

    def __init__(self, batch: Batch, chain: Chain, now: datetime, time: str) -> None:
        self.now = now
        self.writer = chain.writer
        self._batch = batch
        self._chain = chain
        self._time = time
        self._own = Pending()
        self._fresh_artefacts: list[str] = []
        self._unsaid: set[str] = set()
        self._saved = False

    # -- evidence

    def append(self, draft: Draft) -> Appended:
        """Put a record at the end of the log. Raises `Unrepresentable` when the leaf would be too large.

        A draft whose earlier attempt turns out to be durable is not appended twice: it keeps its first place.
        """
        if draft.appended:
            earlier = self.leaf(draft.id)
            if earlier is not None:
                return Appended(earlier[0], draft.id, orjson.loads(earlier[1])["time"])
        draft.appended = True
        chain = self._chain
        if not chain.started:
            chain.started = True
            self._start()
        return self._append(draft)

    def _append(self, draft: Draft) -> Appended:
        chain, own = self._chain, self._own
        if own.last:
            raise UsageError(f"nothing follows {ROTATED} in a job: it is the last record under a head")
        index = self._batch.index(len(own.hashes))
        session, sseq = draft.session, None
        if session is not None:
            self._batch.takes_part(session)
            sseq = chain.place(session, self._batch)
        wseq = chain.wseq
        body = build_leaf(
            draft,
            time=self._time,
            mono=chain.mono(),
            writer=self.writer,
            wseq=wseq,
            prev=chain.prev,
            sseq=sseq,
            artefacts=self._fresh_artefacts,
        )
        self._fresh_artefacts = []
        leaf = leaf_hash(body)
        own.records.append((index, draft.id, self.writer, wseq, session, sseq, draft.type, self._time, body))
        own.hashes.append(leaf)
        own.last = draft.type == ROTATED
        own.size += len(body)
        if draft.ciphertext is not None and draft.wrapped_key is not None:
            own.payloads.append((draft.id, draft.ciphertext, draft.wrapped_key))
            own.size += len(draft.ciphertext)
        if draft.type == "evidence.erased":
            self._unsaid.difference_update(draft.data["records"])
        chain.advance(leaf, self.now, session, sseq)
        return Appended(index, draft.id, self._time)

    def _start(self) -> None:
        """The writer's first record of all: which process this is."""
        artefacts, self._fresh_artefacts = self._fresh_artefacts, []
        process = self._chain.process
        said = self._chain.describe()
        self._append(Draft(new_id("r"), "recorder.started", None, said))
        if said.get("durability") == RELAXED:
            data = {"durability": RELAXED, "why": "chosen", "writer": self.writer}
            self._append(Draft(new_id("r"), "recorder.degraded", None, data))
        self._fresh_artefacts = artefacts
        self.put(
            "writer",
            self.writer,
            state="running",
            host=process.host,
            pid=process.pid,
            pid_namespace=process.pid_namespace,
            boot_id=process.boot_id,
            process_start=process.start,
            started=self.now,
        )

    def artefact(self, content: bytes) -> str:
        """Keep content under its digest, `sha256:…`, once. The record that is appended next makes the log cover it."""
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        if digest not in self._own.artefacts and not self._batch.has_artefact(digest):
            self._own.artefacts[digest] = (digest, content)
            self._own.size += len(content)
            self._fresh_artefacts.append(digest)
        return digest

    def erase(self, record_ids: Sequence[str]) -> None:
        """Destroy the keys and ciphertexts of these records.

        The job has to append `evidence.erased` with `records` naming them afterwards, or it fails (`UsageError`).
        """
        self._own.erased.extend(record_ids)
        self._unsaid.update(record_ids)

    def bury(self, writer: str) -> bool:
        """Note that a dead writer has been dealt with; False when somebody else did so before."""
        row = self.get("writer", writer)
        if row is None or row["state"] != "running":
            return False
        self.put("writer", writer, state="buried", stopped=self.now)
        return True

    def leaf(self, record_id: str) -> tuple[int | None, bytes] | None:
        """Index (None: it has none yet) and bytes of a record, those of this very transaction included.

        None when there is no such record.
        """
        return self._own.leaf(record_id) or self._batch.leaf(record_id)

    # -- read models

    def get(self, table: str, key: str) -> Row | None:
        """A row by its key, as this transaction sees it; None when there is none. Changing the dict changes nothing."""
        changed = self._own.rows.get((table, key))
        row = self._batch.look(changed, key) if changed is not None else self._batch.row(table, key)
        return dict(row) if row is not None else None

    def put(self, table: str, key: str, /, **values: Any) -> None:
        """Set columns of a row, which is made where there is none (other columns NULL). Times may be `datetime`."""
        place = (table, key)
        changed = self._own.rows.get(place)
        if changed is None:
            shape = shape_of(table)
            known = self._batch.knows(place) or not shape.whole(values)
            found = self._batch.row(table, key) if known else None
            row = {**shape.blank, shape.key: key} if found is None else dict(found)
            changed = self._own.rows[place] = Changed(shape, row, fresh=found is None, known=known)
        changed.shape.check(values)
        changed.set(changed.shape.normal(values))

    def remove(self, table: str, key: str) -> None:
        """Take away what the store holds of a row, so that a `put` which follows makes it anew. For repairs alone:
        read models otherwise only grow."""
        shape = shape_of(table)
        column = shape.table.c[shape.key]
        if not self._saved:
            self._batch.flush()
            self._batch.save()
            self._saved = True
        self._batch.query(delete(shape.table).where(column == key).returning(column))
        self._batch.forget((table, key))

    def hold(self, table: str, key: str) -> None:
        """Until this transaction ends, nobody else changes this row, and nobody appends to the session that it is.

        For jobs that judge by a query what a row of its own stands for: what is queried afterwards stays so. Where
        there is no such row, whoever holds the same name waits.
        """
        self._batch.hold(table, key)

    def rows(self, select: Select[*tuple[Any, ...]]) -> Sequence[Any]:
        """Rows of a query that sees what this transaction has written. Slow: it writes everything out first."""
        self._batch.flush()
        if not self._own.empty:
            if not self._saved:
                self._batch.save()
                self._saved = True
            self._batch.write_out(self._own)
        return self._batch.query(select)

    # -- the end, called by the batch

    def finish(self) -> Pending:
        """What is left to write. Raises `UsageError` for an artefact or an erasure that no record covers."""
        if self._fresh_artefacts:
            raise UsageError("a job stored an artefact and appended no record after it, so the log would not cover it")
        if self._unsaid:
            raise UsageError("a job erased text and appended no evidence.erased after it that names the records")
        if self._saved:
            self._batch.release()
        return self._own

    def discard(self) -> None:
        """Take back what was written out early."""
        if self._saved:
            self._batch.back_to_save()
