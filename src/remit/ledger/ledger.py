"""`Ledger`: one opened log, its keys and its files. Everything that is proved goes through it."""

from __future__ import annotations

import atexit
import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from sqlalchemy import Connection, select, text

from remit.errors import RemitError, UsageError
from remit.ids import new_id
from remit.ledger import files, forks
from remit.ledger.keys import Home, Pin
from remit.ledger.lease import is_dead
from remit.ledger.payload import Sealer
from remit.ledger.reading import Reader, Record
from remit.ledger.records import RECORD_TYPES, Draft, require_id
from remit.ledger.txn import Txn
from remit.ledger.verify import Verified, check_pin, verify
from remit.ledger.wrapping import KeyEncryption, wrapping_for
from remit.ledger.writer import Writer
from remit.store.engine import database_path, writing_engine
from remit.store.migrate import REVISION, revision_of, upgrade
from remit.store.tables import WriterRow

T = TypeVar("T")

SCANNED: Final = ("approval.", "call.", "identity.", "review.", "session.")
"""Types of records whose private values are looked through for secrets: what agents, tools and reviewers wrote."""

DEADLINE: Final = 10.0
"""Seconds after which a job that is not durable counts as failed."""


class Ledger:
    """An opened ledger. `create` makes one, `open` opens one, `close` (or a `with` block) lets go of it."""

    def __init__(
        self,
        database: Path,
        home: Home,
        pin: Pin,
        *,
        writer: bool,
        clock: Callable[[], datetime] | None,
        key_encryption: KeyEncryption | None = None,
    ) -> None:
        self._database = database
        self._home = home
        self._pin = pin
        self._clock = clock or _utc_now
        wrapping = wrapping_for(home.key_encryption_key(), key_encryption, origin=pin.verifier.name)
        self._sealer = Sealer(wrapping) if wrapping is not None else None
        self._reader = Reader(database, self._sealer)
        self._writer = (
            Writer(database, home.locks, home.commit_lock, home.signer(pin.verifier), self.now) if writer else None
        )
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
    ) -> Ledger:
        """Make a ledger at `url` (`sqlite:///PATH`) with its keys in `home` (by default `PATH.remit/`), and open it.

        `origin` names the log in checkpoints, such as `acme.com/remit-prod`. Raises `UsageError` when there is one.
        """
        database, place = database_path(url), _home(url, home)
        place.create(origin)
        with files.locked(place.locks / "create.lock"):
            if place.created:
                raise UsageError(f"a ledger was created in {place.path} before; open it instead")
            _require_no_records(database)
            _migrate(database, place, create=True)
            place.pin_new(origin)
        return Ledger.open(url, home=home, clock=clock, key_encryption=key_encryption)

    @staticmethod
    def open(
        url: str,
        *,
        home: Path | None = None,
        writer: bool = True,
        clock: Callable[[], datetime] | None = None,
        key_encryption: KeyEncryption | None = None,
    ) -> Ledger:
        """Open a ledger, after checking that it is the one that was pinned and has not been taken back.

        With `writer=False` nothing can be recorded. `key_encryption` is a key service instead of the key in the home or
        in the environment (`remit.ledger.wrapping`). Raises `UsageError` when there is none at `url`, and
        `VerificationError` when it is not what the pin says.
        """
        database, place = database_path(url), _home(url, home)
        if not place.created and not database.exists():
            raise UsageError(f"no ledger at {database}; `remit init` makes one")
        pin = place.pin()
        check_pin(database, pin)
        if writer:
            files.make_folder(place.locks)
        _require_schema(database, place, migrate=writer)
        return Ledger(database, place, pin, writer=writer, clock=clock, key_encryption=key_encryption)

    @staticmethod
    def open_or_create(
        url: str,
        *,
        home: Path | None = None,
        clock: Callable[[], datetime] | None = None,
        key_encryption: KeyEncryption | None = None,
    ) -> Ledger:
        """Open the ledger at `url`, or make it where neither database nor pin exist."""
        database, place = database_path(url), _home(url, home)
        if not place.created and not database.exists():
            try:
                return Ledger.create(url, home=home, clock=clock, key_encryption=key_encryption)
            except UsageError:
                if not place.created:
                    raise
        return Ledger.open(url, home=home, clock=clock, key_encryption=key_encryption)

    # -- what it is

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._pin.verifier.name

    @property
    def verifier_key(self) -> str:
        """The C2SP verifier key: what an auditor pins."""
        return self._pin.verifier.vkey

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
        name = str(self._database)
        return [self._database, *(Path(name + suffix) for suffix in ("-wal", "-shm", "-journal")), self.home]

    def now(self) -> datetime:
        """The time by the ledger's clock, in UTC."""
        return self._clock().astimezone(UTC)

    # -- writing

    def submit(
        self, job: Callable[[Txn], T], *, deadline: float = DEADLINE, late: Callable[[Txn, T], Any] | None = None
    ) -> Future[T]:
        """Hand a job to the writer. The future resolves after COMMIT, or fails with what the job raised.

        It fails with `EvidenceUnavailable` when the job is not durable after `deadline` seconds. A job that had not
        begun by then never runs. For one that had, nobody can say; if it does become durable after all, `late` runs
        in a transaction of its own with the job's result.
        """
        return self._require_writer().submit(job, deadline, late)

    def run(
        self, job: Callable[[Txn], T], *, deadline: float = DEADLINE, late: Callable[[Txn, T], Any] | None = None
    ) -> T:
        """`submit`, and wait for the result."""
        found: T = self._require_writer().run(job, deadline, late)
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
            raise UsageError(f"no key to keep private values under: {self.home / 'kek.key'} is missing")
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
        running = [row for row in self._reader.mappings(select(*_WRITER_COLUMNS)) if row["state"] == "running"]
        own = self.writer_id
        return [row["id"] for row in running if row["id"] != own and is_dead(self._home.locks, row["id"], row)]

    # -- reading

    def records(
        self, *, session: str | None = None, types: Iterable[str] | None = None, start: int = 0
    ) -> Iterator[Record]:
        """Records in order, from index `start` on; of one session, of some types."""
        return self._reader.records(session=session, types=types, start=start)

    def record(self, record_id: str) -> Record | None:
        """One record by its id."""
        return self._reader.record(record_id)

    def artefact(self, digest: str) -> bytes:
        """Content that records refer to by `sha256:…`. Raises `UsageError` when it is not here."""
        return self._reader.artefact(digest)

    def read(self) -> Reader:
        """Queries over the read models: `.rows(select)`, `.mappings(select)`. Never through the writer."""
        return self._reader

    def verify(self, *, progress: Callable[[int, int], object] | None = None) -> Verified:
        """Recompute everything, with the pinned key as the only trust root. Raises `VerificationError`."""
        self._pin = self._home.pin()
        with self._reader.reading():
            found = verify(self._database, self._pin, self._sealer, progress)
        self._home.advance_pin(found.size, found.root)
        return found

    # -- the end

    def close(self) -> None:
        """Commit what is queued, record that the recorder stopped, remember the head outside the database."""
        _open_ledgers.discard(self)
        self._reader.close()  # first, so that the writer's connection is the last one and puts everything in one file
        if self._writer is not None:
            self._writer.close()
            self._home.advance_pin(*self._writer.head)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    def _require_writer(self) -> Writer:
        if self._writer is None:
            raise UsageError("this ledger was opened for reading; open it with writer=True to record anything")
        return self._writer

    # -- forks: see remit.ledger.forks

    def before_fork(self) -> None:
        """Close the database before the process forks."""
        self._reader.before_fork()
        if self._writer is not None:
            self._writer.before_fork()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self._writer is not None:
            self._writer.after_fork_in_parent()
        self._reader.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        """Become a new writer."""
        self._reader.after_fork_in_child()
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


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _home(url: str, home: Path | None) -> Home:
    return Home((home if home is not None else Path(f"{database_path(url)}.remit")).absolute())


def _require_no_records(database: Path) -> None:
    if not database.exists():
        return
    with _looking(database) as connection:
        if revision_of(connection) and connection.execute(text("SELECT count(*) FROM record")).scalar():
            raise UsageError(f"{database} holds records of a ledger whose pin is missing; restore its home instead")


def _require_schema(database: Path, home: Home, *, migrate: bool) -> None:
    """Migrate a database that an earlier version wrote; refuse one that a later version did."""
    with _looking(database) as connection:
        found = revision_of(connection)
    if found == REVISION:
        return
    if found is None or found > REVISION:
        raise UsageError(f"{database} is at schema {found}; this version of Remit writes {REVISION}: upgrade Remit")
    if not migrate:
        raise UsageError(f"{database} is at schema {found}, older than {REVISION}: open it once for writing")
    _migrate(database, home, create=False)


@contextlib.contextmanager
def _looking(database: Path) -> Iterator[Connection]:
    reader = Reader(database, None)
    try:
        with reader.connection() as connection:
            yield connection
    finally:
        reader.close()


def _migrate(database: Path, home: Home, *, create: bool) -> None:
    """Bring the schema to what this version writes, under the lock that every writer takes."""
    with files.locked(home.commit_lock):
        engine = writing_engine(database, create=create)
        with engine.connect() as connection:
            if revision_of(connection) == REVISION:
                return
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            upgrade(connection)
            connection.exec_driver_sql("INSERT OR IGNORE INTO head (id, size, frontier) VALUES (1, 0, x'')")
            connection.exec_driver_sql("COMMIT")
