"""`Ledger`: one opened log, its keys and its files. Everything that is proved goes through it."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from sqlalchemy import Connection, func, select

from remit.errors import EvidenceUnavailable, RemitError, UsageError
from remit.ids import new_id
from remit.ledger import files, forks
from remit.ledger.backends import Backend, backend_of, migrate
from remit.ledger.chain import RELAXED
from remit.ledger.companions import Company
from remit.ledger.epochs import LogKeys
from remit.ledger.heartbeat import Heart
from remit.ledger.keys import Home, Pin
from remit.ledger.notes import Verifier
from remit.ledger.payload import Sealer
from remit.ledger.reading import Reader, Record
from remit.ledger.records import RECORD_TYPES, Draft, require_id
from remit.ledger.scrubbing import Scrubbed, scrub
from remit.ledger.silences import Silence, silences
from remit.ledger.txn import Appended, Txn
from remit.ledger.verify import Verified, check_pin, verify
from remit.ledger.wrapping import KeyEncryption, from_environment, wrapping_for
from remit.ledger.writer import Writer
from remit.store.migrate import REVISION, revision_of
from remit.store.stores import Store, store_of
from remit.store.tables import RecordRow, WriterRow

T = TypeVar("T")

SCANNED: Final = ("approval.", "call.", "evidence.", "identity.", "review.", "session.")
"""Types of records whose private values are looked through for secrets: what agents, tools and reviewers wrote."""

FULL: Final = "full"
"""Nothing is acknowledged before it is on disk."""

CLOSING: Final = 3.0
"""Seconds that closing waits for a signed head over its last record, where witnesses are to see it."""

DEADLINE: Final = 10.0
"""Seconds after which a job that is not durable counts as failed."""


class Ledger:
    """An opened ledger. `create` makes one, `open` opens one, `close` (or a `with` block) lets go of it."""

    def __init__(
        self,
        store: Store,
        home: Home,
        pin: Pin,
        *,
        writer: bool,
        clock: Callable[[], datetime] | None,
        key_encryption: KeyEncryption | None = None,
    ) -> None:
        self._store = store
        self._home = home
        self._pin = pin
        self._clock = clock or self._shared_now
        wrapping = wrapping_for(home.key_encryption_key(), key_encryption, origin=pin.verifier.name)
        self._sealer = Sealer(wrapping) if wrapping is not None else None
        self._reader = Reader(store, self._sealer)
        self._backend: Backend | None = None
        self._writer: Writer | None = None
        self.company = Company(self)
        if writer:
            self._backend = backend_of(store, home, pin, server_time=clock is None)
            self._writer = Writer(self._backend, self.now)
        forks.register(self)
        _open_ledgers.add(self)

    # -- making and opening

    @staticmethod
    def create(
        url: str,
        *,
        home: Path | None = None,
        origin: str | None = None,
        clock: Callable[[], datetime] | None = None,
        key_encryption: KeyEncryption | None = None,
        durability: str = FULL,
    ) -> Ledger:
        """Make a ledger at `url` with its keys in `home`, and open it.

        `url` is `sqlite:///PATH` (home by default `PATH.remit/`) or `postgresql+psycopg://HOST/NAME` (by default a
        folder of the user's data directory). `origin` names the log in checkpoints, such as `acme.com/remit-prod`.
        Raises `UsageError` when there is one.
        """
        store, place = _places(url, home)
        place.create(origin, wraps=key_encryption is None and from_environment() is None)
        with files.locked(place.locks / "create.lock"):
            if place.created:
                raise UsageError(f"a ledger was created in {place.path} before; open it instead")
            _require_no_records(store)
            migrate(store, place, log=place.key_name())
            place.pin_new(origin)
        return Ledger.open(url, home=home, clock=clock, key_encryption=key_encryption, durability=durability)

    @staticmethod
    def open(
        url: str,
        *,
        home: Path | None = None,
        writer: bool = True,
        clock: Callable[[], datetime] | None = None,
        key_encryption: KeyEncryption | None = None,
        durability: str = FULL,
    ) -> Ledger:
        """Open a ledger, after checking that it is the one that was pinned and has not been taken back.

        With `writer=False` nothing can be recorded. `durability="relaxed"` does not wait for the disk: a power loss may
        take back what was acknowledged last, and every writer says so when it begins. `key_encryption` is a key service
        instead of the key in the home or the environment (`remit.ledger.wrapping`). Raises `UsageError` when there is
        none at `url`, and `VerificationError` when it is not what the pin says.
        """
        store, place = _places(url, home)
        if not place.created and not store.exists():
            raise UsageError(f"no ledger at {store}; `remit init` makes one")
        pin = place.pin()
        check_pin(store, pin)
        if writer:
            files.make_folder(place.locks)
        _require_schema(store, place, writer=writer)
        store.relaxed = _relaxed(durability)
        return Ledger(store, place, pin, writer=writer, clock=clock, key_encryption=key_encryption)

    @staticmethod
    def open_or_create(
        url: str,
        *,
        home: Path | None = None,
        clock: Callable[[], datetime] | None = None,
        key_encryption: KeyEncryption | None = None,
        durability: str = FULL,
    ) -> Ledger:
        """Open the ledger at `url`, or make it where neither database nor pin exist."""
        store, place = _places(url, home)
        if not place.created and not store.exists():
            try:
                return Ledger.create(url, home=home, clock=clock, key_encryption=key_encryption, durability=durability)
            except UsageError:
                if not place.created:
                    raise
        return Ledger.open(url, home=home, clock=clock, key_encryption=key_encryption, durability=durability)

    # -- what it is

    @property
    def durability(self) -> str:
        """`full`, or `relaxed`: what this process commits does not wait for the disk."""
        return RELAXED if self._store.relaxed else FULL

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._pin.verifier.name

    @property
    def verifier_key(self) -> str:
        """The C2SP verifier key that signs now: what an auditor pins."""
        return self._pin.verifier.vkey

    def next_key(self) -> Verifier:
        """The key that the log's key is to be rotated to; made where there is none yet."""
        return self._home.make_next_key(self.origin)

    def rotated(self, record_id: str, verifier: Verifier) -> LogKeys:
        """The log's key was rotated to `verifier` by this record: it signs every later head. Returns all keys."""
        self.wait_sequenced([record_id])
        record = self._reader.record(record_id)
        assert record is not None
        self._home.rotate(verifier, record.index + 2)
        self._pin = self._home.pin()
        return self._pin.keys

    @property
    def keys(self) -> LogKeys:
        """The log's keys, each for the sizes that it signs, as the pin says now."""
        return self._home.pin().keys

    @property
    def sequences(self) -> bool:
        """Whether what is durable is under a signed head at once; else a sequencer sees to that (PostgreSQL)."""
        return self._store.sequences

    @property
    def home(self) -> Path:
        """The folder of keys, pin and locks."""
        return self._home.path

    @property
    def writer_id(self) -> str | None:
        """This process's writer; None before its first job."""
        return self._writer.id if self._writer is not None else None

    def files(self) -> list[Path]:
        """Everything that belongs to this ledger on disk: what no agent may touch."""
        return [*self._store.files(), self.home]

    def now(self) -> datetime:
        """The time by the ledger's clock, in UTC: the database's, as far as this process knows it, where it has one."""
        return self._clock().astimezone(UTC)

    def _shared_now(self) -> datetime:
        now = datetime.now(UTC)
        return now if self._backend is None else now + self._backend.clock_offset()

    # -- writing

    def submit(
        self, job: Callable[[Txn], T], *, deadline: float = DEADLINE, late: Callable[[Txn, T], Any] | None = None
    ) -> Future[T]:
        """Hand a job to the writer. The future resolves after COMMIT, or fails with what the job raised.

        It fails with `EvidenceUnavailable` when the job is not durable after `deadline` seconds. A job that had not
        begun by then never runs. For one that had, nobody can say; if it does become durable after all, `late` runs
        in a transaction of its own with the job's result.
        """
        future = self._require_writer().submit(job, deadline, late)
        if self.company:
            future.add_done_callback(self.company.noticed)
        return future

    def run(
        self, job: Callable[[Txn], T], *, deadline: float = DEADLINE, late: Callable[[Txn, T], Any] | None = None
    ) -> T:
        """`submit`, and wait for the result."""
        found: T = self._require_writer().run(job, deadline, late)
        if self.company:
            self.company.noticed()
        return found

    async def arun(
        self, job: Callable[[Txn], T], *, deadline: float = DEADLINE, late: Callable[[Txn, T], Any] | None = None
    ) -> tuple[T, asyncio.CancelledError | None]:
        """`submit`, and wait for the result without blocking the event loop.

        Returns the result, and the cancellation that came meanwhile: what is being made durable is waited for all the
        same, and it is the caller's to end as cancelled.
        """
        found: tuple[T, asyncio.CancelledError | None] = await self._require_writer().arun(job, deadline, late)
        if self.company:
            self.company.noticed()
        return found

    def draft(
        self,
        type: str,  # noqa: A002 - the leaf's own word
        *,
        session: str | None = None,
        data: dict[str, Any],
        private: Mapping[str, Any] | None = None,
        named: Set[str] = frozenset(),
    ) -> Draft:
        """A record to append in a job, made here: its id, its key, its commitments and its ciphertext.

        `data` stands in the leaf for everybody to read. `private` values (anything `values.encode` takes, or an
        `Encoded`) are committed to in the leaf and kept encrypted apart; of a mapping, the keys in `named` get a
        commitment each. Raises `Unrepresentable`, and `UsageError` for a type that is not in the closed list.
        """
        if type not in RECORD_TYPES:
            raise UsageError(f"no record type {type!r}; the list in remit.ledger.records is closed")
        if session is not None:
            require_id(session, "a session id")
        record_id = new_id("r")
        if not private:
            return Draft(record_id, type, session, data)
        if self._sealer is None:
            raise UsageError(
                f"no key to keep private values under: {self.home / 'kek.key'} is missing, and neither $REMIT_KEK nor "
                "a key service is given"
            )
        sealed = self._sealer.seal(record_id, private, named, scan=type.startswith(SCANNED))
        return Draft(record_id, type, session, data, *sealed)

    @property
    def sealer(self) -> Sealer | None:
        """What encrypts and opens private values; None when their key is not here."""
        return self._sealer

    def keyed(self, *parts: str | bytes) -> str:
        """HMAC-SHA-256 in hex of these parts, in this order: what an index may hold of guessable values."""
        return self._home.keyed(*parts)

    def record_in(self, txn: Txn, record_id: str) -> Record:
        """A record as a transaction sees it. Raises `UsageError` when there is none."""
        found = txn.leaf(record_id)
        if found is None:
            raise UsageError(f"no record {record_id!r} is in this ledger")
        return Record(*found, self._reader)

    def dead_writers(self) -> list[str]:
        """Writers that began, did not say that they stopped, and hold no lease any more. Changes nothing."""
        running = self._reader.mappings(select(*_WRITER_COLUMNS).where(WriterRow.__table__.c.state == "running"))  # type: ignore[attr-defined]
        own = self.writer_id
        backend = self._backend or backend_of(self._store, self._home, None, server_time=True)
        return backend.dead([row for row in running if row["id"] != own], self._reader)

    @property
    def said(self) -> int:
        """How many records this process's writer has appended."""
        return self._writer.said if self._writer is not None else 0

    def keep_beating(self, interval: float) -> None:
        """Announce that this process's writer says something at least every `interval` seconds, and see to it."""
        self._require_writer().announces["heartbeat"] = interval
        self.company.join(Heart(self, interval))

    def beat(self) -> Appended | None:
        """Append `recorder.heartbeat`: the writer lives. None, and nothing, where it has said nothing at all."""
        if self.said == 0:
            return None
        draft = self.draft("recorder.heartbeat", data=self.company.describe())
        return self.run(lambda txn: txn.append(draft))

    def silences(self) -> list[Silence]:
        """Where writers were silent for longer than they had announced."""
        return silences(self._reader, self.now())

    # -- reading

    def records(
        self,
        *,
        session: str | None = None,
        types: Iterable[str] | None = None,
        start: int = 0,
        placed: bool = False,
    ) -> Iterator[Record]:
        """Records in order, from index `start` on; of one session, of some types.

        Records that have no index yet (on PostgreSQL, for moments) come last, or not at all with `placed`.
        """
        return self._reader.records(session=session, types=types, start=start, placed=placed)

    def record(self, record_id: str) -> Record | None:
        """One record by its id."""
        return self._reader.record(record_id)

    def artefact(self, digest: str) -> bytes:
        """Content that records refer to by `sha256:…`. Raises `UsageError` when it is not here."""
        return self._reader.artefact(digest)

    def read(self) -> Reader:
        """Queries over the read models: `.rows(select)`, `.mappings(select)`. Never through the writer."""
        return self._reader

    def verify(self, *, progress: Callable[[int, int], object] | None = None, jobs: int = 1) -> Verified:
        """Recompute everything, with the pinned key as the only trust root. Raises `VerificationError`.

        `jobs` processes share the work on a long log.
        """
        if self._backend is not None:
            self._backend.settle()
        self._pin = self._home.pin()
        with self._reader.reading():
            found = verify(self._store, self._pin, self._sealer, progress, jobs=jobs)
        self._home.advance_pin(found.size, found.root)
        return found

    def salt(self, record: Record, path: str) -> str:
        """What proves one private value of a record, in hex. Raises `UsageError` when it was erased."""
        wrapped = self._reader.wrapped_key(record.id)
        if wrapped is None or self._sealer is None:
            raise UsageError(f"the text of record {record.id} was erased, or its key is not here: nothing to disclose")
        return self._sealer.salt_of(record.id, wrapped, path).hex()

    def scrub(self) -> Scrubbed:
        """Take what was erased out of the database's files, as far as that can be done from here."""
        return scrub(self._store, self._home)

    # -- the end

    def wait_sequenced(self, record_ids: Sequence[str], *, deadline: float = DEADLINE) -> None:
        """Wait until these records have their index and a signed head covers them; at once on SQLite.

        Raises `EvidenceUnavailable` at the deadline: they are durable, but no sequencer has signed for them yet.
        """
        self._require_writer()
        assert self._backend is not None
        self._backend.wait_sequenced(record_ids, deadline)

    def wait_witnessed(self, record_id: str, *, deadline: float = DEADLINE) -> None:
        """Wait until enough witnesses cosigned a head that covers this record.

        Raises `EvidenceUnavailable` at the deadline, and when no witnesses were named.
        """
        self.company.wait_witnessed(record_id, deadline)

    def unsequenced(self) -> int:
        """How many durable records no signed head covers yet. 0 on SQLite."""
        if self._store.sequences:
            return 0
        tables = RecordRow.metadata.tables
        [(waiting,)] = self._reader.rows(select(func.count()).select_from(tables["pending"]))
        leaf, head = tables["leaf"].c, tables["head"].c
        unsigned = select(func.count()).where(leaf.idx >= select(head.size).where(head.id == 1).scalar_subquery())
        [(placed,)] = self._reader.rows(unsigned)
        return int(waiting + placed)

    def close(self) -> None:
        """Commit what is queued, record that the recorder stopped, remember the head outside the database.

        On PostgreSQL this waits, for a while, until a sequencer has signed for this process's last record.
        """
        _open_ledgers.discard(self)
        self.company.hush()
        if self._writer is not None and self.company.witnesses is not None:
            with contextlib.suppress(EvidenceUnavailable):  # `Writer.close` says it again, and logs why it cannot
                last = self._writer.say_stopped()  # now, so that witnesses can see that it was said
                if last is not None:
                    self.wait_sequenced([last], deadline=CLOSING)
        self.company.close()
        self._reader.close()  # first, so that the writer's connection is the last one and puts everything in one file
        if self._writer is not None and self._backend is not None:
            self._writer.close()
            self._home.advance_pin(*(self._backend.close() or self._writer.head))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    def _require_writer(self) -> Writer:
        if self._writer is None:
            raise UsageError("this ledger was opened for reading; open it with writer=True to record anything")
        self.company.require_trust()
        return self._writer

    # -- forks: see remit.ledger.forks

    def before_fork(self) -> None:
        """Close the database before the process forks."""
        self._reader.before_fork()
        if self._writer is not None:
            self._writer.before_fork()
        if self._backend is not None:
            self._backend.before_fork()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self._backend is not None:
            self._backend.after_fork_in_parent()
        if self._writer is not None:
            self._writer.after_fork_in_parent()
        self._reader.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        """Become a new writer."""
        self._reader.after_fork_in_child()
        if self._backend is not None:
            self._backend.after_fork_in_child()
        if self._writer is not None:
            self._writer.after_fork_in_child()


_WRITER_COLUMNS: Final = tuple(WriterRow.__table__.columns)  # type: ignore[attr-defined]

_open_ledgers: weakref.WeakSet[Ledger] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """A program that ends without closing its ledger still says that its recorder stopped."""
    for ledger in list(_open_ledgers):
        # The process ends either way: what was acknowledged is durable, and the lease ends with the process.
        with contextlib.suppress(RemitError):
            ledger.close()


def _relaxed(durability: str) -> bool:
    if durability not in (FULL, RELAXED):
        raise UsageError(f"durability={durability!r} is none; expected {FULL} or {RELAXED}")
    return durability == RELAXED


def _places(url: str, home: Path | None) -> tuple[Store, Home]:
    store = store_of(url)
    return store, Home((home if home is not None else store.default_home()).absolute())


def _require_no_records(store: Store) -> None:
    if not store.exists():
        return
    with _looking(store) as connection:
        if revision_of(connection) and connection.execute(select(func.count()).select_from(RecordRow)).scalar():
            raise UsageError(f"{store} holds records of a ledger whose pin is missing; restore its home instead")


def _require_schema(store: Store, home: Home, *, writer: bool) -> None:
    """Migrate a database that an earlier version wrote; refuse one that a later version did."""
    with _looking(store) as connection:
        found = revision_of(connection)
    if found == REVISION:
        return
    if found is None or found > REVISION:
        raise UsageError(f"{store} is at schema {found}; this version of Remit writes {REVISION}: upgrade Remit")
    if not writer:
        raise UsageError(f"{store} is at schema {found}, older than {REVISION}: open it once for writing")
    migrate(store, home)


@contextlib.contextmanager
def _looking(store: Store) -> Iterator[Connection]:
    reader = Reader(store, None)
    try:
        with reader.connection() as connection:
            yield connection
    finally:
        reader.close()
