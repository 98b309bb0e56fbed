"""The sequencer: gives appended records their index, and signs for them. PostgreSQL only.

Every process that writes and holds the log's key has one, and one of them all leads, elected by an advisory lock that
the server frees when the leader's connection is gone. The others stand by.

```
(1) take over   the head that was signed last, as the pin, the state file and the checkpoints have it; leaves beyond it
(2) place       one transaction: records out of `pending`, in the order in which they were appended, get dense indexes
(3) sign        only what is committed: remember the head outside the database, sign it, store note and head
```

Whoever takes over signs first what its predecessor had placed and not signed. Ed25519 signs the same bytes with the
same signature, so it does not matter whether the predecessor had got as far as signing. A database that no longer holds
what was signed was taken back: then nothing is signed any more, and this process records nothing any more.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from typing import Final

import psycopg

from remit.errors import EvidenceUnavailable, RemitError, VerificationError
from remit.ledger.batch import Head
from remit.ledger.epochs import LogKeys
from remit.ledger.forks import abandon
from remit.ledger.keys import Home
from remit.ledger.lease import HeldLeases, lock_number
from remit.ledger.merkle import Frontier, leaf_hash
from remit.ledger.rotation import LogSigner, named_key
from remit.ledger.signed import SignedHead
from remit.store.postgres import Connection, PostgresStore, first_line

logger = logging.getLogger("remit.ledger")

MAX_PLACED: Final = 5_000
"""Records that get their index in one transaction."""

PACE: Final = 0.05
"""Seconds between two rounds under load, where nobody waits for an index: what gathers meanwhile shares a transaction,
a signature, and what the disk is asked to do for them."""

IDLE: Final = (0.05, 0.4)
"""Seconds between two looks of a leader with nothing to do: at first, and after a while."""

STANDBY: Final = 0.5
"""Seconds between two attempts to lead. A connection that is lost shows then, too."""

RETRY: Final = 1.0
"""Seconds before the database is tried again after a failure."""

FORK_PATIENCE: Final = 10.0
"""Seconds that a fork waits for a connection that is being made."""

LEADER: Final = lock_number("sequencer")


class TakenBack(EvidenceUnavailable):
    """The database does not hold what was signed: somebody took it back, or it failed over to a standby."""


class Sequencer:
    """See the module's docstring. Also keeps a second hold on the leases of this process's writers."""

    def __init__(self, store: PostgresStore, home: Home, leases: HeldLeases) -> None:
        self._store = store
        self._home = home
        self._leases = leases
        self._trouble: EvidenceUnavailable | None = None
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._connecting = threading.Lock()
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._signed_something = threading.Condition()
        self._stopping = False
        self._connection: Connection | None = None
        self._held: set[str] = set()
        self._frontier: Frontier | None = None
        self._signed = 0
        self._signer: LogSigner | None = None
        self._newest_body: bytes | None = None
        self._said: str | None = None
        self._idle = IDLE[0]
        self._paused = False

    # -- whoever appends

    def appended(self) -> None:
        """Records wait. Starts the thread where it does not run yet."""
        if self._thread is None:
            with self._starting:
                if self._thread is None and not self._stopping:
                    self._thread = threading.Thread(target=self._run, name="remit-sequencer", daemon=True)
                    self._thread.start()
        self._wake.set()

    def trouble(self) -> EvidenceUnavailable | None:
        """Why nothing may be recorded any more, when the database was found taken back."""
        return self._trouble

    @property
    def leads(self) -> bool:
        """Whether this process gives the indexes at the moment."""
        return self._frontier is not None

    def wait(self, record_ids: Sequence[str], patience: float) -> bool:
        """Wait until a signed head covers these records; False when it does not after `patience` seconds."""
        wanted, until = list(record_ids), time.monotonic() + patience
        try:
            with self._store.connect(purpose="waiting", read_only=True) as connection:
                while True:
                    row = connection.execute(_COVERED, (wanted,)).fetchone()
                    if row is not None and row[0] >= len(set(wanted)):
                        return True
                    left = until - time.monotonic()
                    if left <= 0 or self._trouble is not None:
                        return False
                    self._hurry.set()
                    self._wake.set()
                    with self._signed_something:
                        self._signed_something.wait(min(left, IDLE[0]))
        except psycopg.Error as error:
            raise self._store.unavailable(error) from error

    # -- the thread

    def _run(self) -> None:
        while not self._stopping:
            try:
                pause = self._round()
                self._said = None
            except TakenBack as error:
                logger.critical("%s", error)
                self._trouble = error
                pause = RETRY
            except (psycopg.Error, OSError, RemitError) as error:
                self._complain(error)
                self._let_go()
                pause = RETRY
            except BaseException:
                logger.exception("the sequencer failed in a way that it does not know")
                self._let_go()
                pause = RETRY
            if pause == PACE:
                self._hurry.wait(pause)
            else:
                self._wake.wait(pause)
            self._hurry.clear()
            self._wake.clear()
        self._let_go()

    def _complain(self, error: Exception) -> None:
        said = first_line(error)
        if said != self._said:
            logger.warning("records wait for the sequencer, which cannot go on: %s", said)
        self._said = said

    def _round(self) -> float:
        """Connect, lead if nobody else does, place and sign. Returns for how long to wait."""
        connection = self._connection or self._connect()
        self._hold_leases(connection)
        if self._trouble is not None or not self._home.signs:
            connection.execute("SELECT 1")
            return STANDBY
        if self._frontier is None:
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (LEADER,)).fetchone()
            if row is None or not row[0]:
                return STANDBY
            self._take_over(connection)
            if self._leaves_unsigned():
                self._sign(connection)
        placed = self._place(connection)
        if self._leaves_unsigned():
            self._sign(connection)
        if placed:
            self._idle = IDLE[0]
            return 0.0 if placed == MAX_PLACED else PACE
        self._idle = min(IDLE[1], self._idle * 1.2)
        return self._idle

    def _leaves_unsigned(self) -> bool:
        return self._frontier is not None and self._frontier.size > self._signed

    def _connect(self) -> Connection:
        with self._connecting:  # a fork waits: a child has to know of every socket that it inherits
            self._connection = self._store.connect(purpose="sequencer")
        return self._connection

    def _hold_leases(self, connection: Connection) -> None:
        for writer in self._leases.writers():
            if writer not in self._held:
                connection.execute("SELECT pg_advisory_lock_shared(%s)", (lock_number(writer),))
                self._held.add(writer)

    def _let_go(self) -> None:
        """Give up the connection, and with it the lead."""
        connection, self._connection = self._connection, None
        self._frontier = None
        self._held.clear()
        if connection is not None:
            connection.close()

    # -- (1) take over

    def _take_over(self, connection: Connection) -> None:
        """Begin where the last signed head ends. Raises `TakenBack`."""
        pin = self._home.pin()
        seen = SignedHead.read(self._home.path)
        row = connection.execute("SELECT size, frontier FROM head WHERE id = 1", binary=True).fetchone()
        if row is None:
            raise VerificationError(f"{self._store} has no head to go on from; run `remit verify`")
        frontier = Frontier.from_bytes(row[0], row[1])
        signer = LogSigner(self._home, pin.keys)
        if frontier.size:
            note = self._require_signed(connection, pin.keys, frontier.size, frontier.root())
            signer.follow(frontier.size, note, self._body(connection, frontier.size - 1))
        self._signed = frontier.size
        for known in (SignedHead(pin.size, pin.root), seen):
            if known is not None and known.size:
                self._require_seen(connection, pin.keys, frontier.size, known)
        for index, body in connection.execute(_BEYOND, (frontier.size,), binary=True):
            if index != frontier.size:
                raise VerificationError(f"leaf {frontier.size} is missing; run `remit verify`")
            frontier.append(leaf_hash(body))
            self._newest_body = body
            if seen is not None and frontier.size == seen.size and frontier.root() != seen.root:
                raise self._taken_back(seen.size)
        if seen is not None and frontier.size < seen.size:
            raise self._taken_back(seen.size)
        self._frontier, self._signer = frontier, signer
        logger.info("this process gives records their index, from %d on", frontier.size)

    def _body(self, connection: Connection, index: int) -> bytes:
        query = "SELECT body FROM leaf JOIN record USING (rid) WHERE idx = %s"
        row = connection.execute(query, (index,), binary=True).fetchone()
        if row is None:
            raise VerificationError(f"leaf {index} is missing; run `remit verify`")
        return bytes(row[0])

    def _require_signed(self, connection: Connection, keys: LogKeys, size: int, root: bytes) -> bytes:
        row = connection.execute("SELECT note FROM checkpoint WHERE size = %s", (size,), binary=True).fetchone()
        if row is None or keys.open(row[0]).root != root:
            raise TakenBack(
                f"the head of {size} records in {self._store} is not one that was signed: somebody changed it. Nothing "
                "is signed or recorded any more; run `remit verify`"
            )
        return bytes(row[0])

    def _require_seen(self, connection: Connection, keys: LogKeys, signed: int, known: SignedHead) -> None:
        """A head that was signed before, by this host's knowledge, is one of the ledger's."""
        if known.size > signed:
            return  # it was signed and not stored, or the database was taken back: its leaves tell
        try:
            self._require_signed(connection, keys, known.size, known.root)
        except TakenBack:
            raise self._taken_back(known.size) from None

    def _taken_back(self, size: int) -> TakenBack:
        return TakenBack(
            f"{self._store} does not hold the head of {size} records that was signed before: the database was taken "
            "back, perhaps by a failover to a standby that had fallen behind. Nothing is signed or recorded any more; "
            "run `remit verify`, and restore what is missing"
        )

    # -- (2) place

    def _place(self, connection: Connection) -> int:
        """Give records their index, in one transaction. Returns how many."""
        assert self._frontier is not None
        with connection.pipeline():
            connection.execute("BEGIN")
            connection.execute(f"SET LOCAL synchronous_commit = {connection.synchronous}")
            cursor = connection.execute(_PENDING, (MAX_PLACED,), binary=True)
        rows = cursor.fetchall()
        if not rows:
            connection.execute("ROLLBACK")
            return 0
        for at, (_, body) in enumerate(rows):
            if named_key(body) is not None:
                del rows[at + 1 :]  # another key signs what comes after it
                break
        first, rids = self._frontier.size, [rid for rid, _ in rows]
        with connection.pipeline():
            connection.execute(_PLACE, (list(range(first, first + len(rows))), rids))
            connection.execute("DELETE FROM pending WHERE rid = ANY(%s)", (rids,))
            committed = connection.execute("COMMIT")
        if committed.statusmessage != "COMMIT":
            raise psycopg.OperationalError("the server ended the transaction that places records")
        for _, body in rows:
            self._frontier.append(leaf_hash(body))
        self._newest_body = rows[-1][1]
        return len(rows)

    # -- (3) sign

    def _sign(self, connection: Connection) -> None:
        """Sign the committed head, and store the note. What is signed is remembered first, outside the database."""
        frontier, signer = self._frontier, self._signer
        assert frontier is not None
        assert signer is not None
        head = SignedHead(frontier.size, frontier.root())
        note = signer.checkpoint(*head)
        head.write(self._home.path)
        with connection.pipeline():
            connection.execute("BEGIN")
            connection.execute(f"SET LOCAL synchronous_commit = {connection.synchronous}")
            connection.execute(_CHECKPOINT, (head.size, note))
            connection.execute(
                "UPDATE head SET size = %s, frontier = %s WHERE id = 1", (head.size, frontier.to_bytes())
            )
            committed = connection.execute("COMMIT")
        if committed.statusmessage != "COMMIT":
            raise psycopg.OperationalError("the server ended the transaction that stores a signed head")
        self._signed = head.size
        with self._signed_something:
            self._signed_something.notify_all()
        signer.follow(head.size, note, self._newest_body)

    # -- the end

    def close(self, last_record: str | None, patience: float) -> Head | None:
        """Have the last record signed for, within `patience` seconds; then stop. Returns the newest signed head."""
        if self._thread is None or self._pid != os.getpid():
            self._stopping = True
            return None
        head: Head | None = None
        try:
            if last_record is not None and not self.wait([last_record], patience):
                logger.warning("nobody has signed for the last records of this process yet; the next sequencer will")
            head = self._newest()
        except (RemitError, psycopg.Error) as error:
            logger.warning("whether the last records of this process are signed for is not known: %s", error)
        self._stopping = True
        self._hurry.set()
        self._wake.set()
        self._thread.join(patience)
        return head

    def _newest(self) -> Head | None:
        with self._store.connect(purpose="closing", read_only=True) as connection:
            row = connection.execute(_NEWEST, binary=True).fetchone()
        if row is None:
            return None
        found = self._home.pin().keys.open(row[0])
        return Head(found.size, found.root)

    def before_fork(self) -> None:
        """Wait while a connection is being made."""
        self._paused = self._connecting.acquire(timeout=FORK_PATIENCE)

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self._paused:
            self._connecting.release()

    def after_fork_in_child(self, leases: HeldLeases) -> None:
        """The parent's thread is not here, and its connection is not ours."""
        self._leases = leases
        if self._connection is not None:
            self._connection.forget()
            abandon(self._connection)
        self._reset()


_PENDING: Final = "SELECT rid, record.body FROM pending JOIN record USING (rid) ORDER BY rid LIMIT %s"
_PLACE: Final = "INSERT INTO leaf (idx, rid) SELECT * FROM unnest(%s::bigint[], %s::bigint[])"
_BEYOND: Final = "SELECT leaf.idx, record.body FROM leaf JOIN record USING (rid) WHERE leaf.idx >= %s ORDER BY leaf.idx"
_CHECKPOINT: Final = "INSERT INTO checkpoint (size, note) VALUES (%s, %s) ON CONFLICT (size) DO NOTHING"
_NEWEST: Final = "SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1"
_COVERED: Final = (
    "SELECT count(*) FROM record JOIN leaf USING (rid)"
    " WHERE record.id = ANY(%s) AND leaf.idx < (SELECT size FROM head WHERE id = 1)"
)
