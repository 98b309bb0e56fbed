"""Which records and artefacts a bundle needs: those asked for, and those without which they cannot be judged.

Beside the records of its scope a bundle holds, as *context*: the records that issued, amended, handed on or revoked the
grants in question; the configuration with the key that grants were signed by; who was enrolled with which key, for
everybody whose signature occurs; what brought the artefacts that records name; which process each writer was; and what
was erased.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import select
from sqlmodel import col

from remit.authority.durations import show_moment
from remit.bundle import heads
from remit.errors import UsageError
from remit.ledger import Ledger
from remit.ledger.merkle import leaf_hash
from remit.ledger.proofs import Tree
from remit.ledger.reading import Record
from remit.store.tables import LeafRow, RecordRow

BLOCK: Final = 4_096
"""Leaf hashes that are added to the tree at once."""

_BRINGS: Final = b'{"artefacts":['
_GRANTS: Final = ("grant.issued", "grant.amended", "grant.delegated", "grant.revoked")
_PEOPLE: Final = ("person.enrolled", "person.removed")
_WRITERS: Final = ("recorder.started", "recorder.gap", "recorder.degraded")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a bundle is about: one session, records `first` to `last`, or, with neither, the whole log.

    `newest`: the newest record that it needs; None for the whole log, which is as long as its head says.
    """

    session: str | None = None
    first: int | None = None
    last: int | None = None
    newest: Record | None = None

    @property
    def whole(self) -> bool:
        """Whether it is the whole log."""
        return self.session is None and self.first is None

    def as_dict(self) -> dict[str, Any]:
        """As manifest and record say it."""
        if self.session is not None:
            return {"session": self.session}
        return {"all": True} if self.first is None else {"first": self.first, "last": self.last}


def scope_of(ledger: Ledger, session: str | None, start: str | None, end: str | None) -> Scope:
    """One session, or the records from `start` to `end`, both included: indexes, or times (RFC 3339). Without any of
    these, the whole log. Raises `UsageError`.
    """
    if session is not None:
        if start is not None or end is not None:
            raise UsageError("name a session, or the records from where to where, not both")
        newest = None
        for newest in ledger.records(session=session, placed=True):  # noqa: B007 - the last one is wanted
            pass
        if newest is None:
            raise UsageError(f"no session {session!r} is in this log; `remit session list` shows them")
        return Scope(session=session, newest=newest)
    if start is None and end is None:
        return Scope()
    _, size = heads.newest(ledger)
    first = 0 if start is None else _index(ledger, start, size, earliest=True)
    last = size - 1 if end is None else _index(ledger, end, size, earliest=False)
    if not 0 <= first <= last < size:
        raise UsageError(f"no records from {start or 'the first'} to {end or 'the last'}; the log has {size}")
    return Scope(first=first, last=last, newest=next(iter(_at(ledger, last))))


def _index(ledger: Ledger, said: str, size: int, *, earliest: bool) -> int:
    if said.isdecimal():
        return int(said)
    try:
        moment = datetime.fromisoformat(said)
        if moment.tzinfo is None:
            raise ValueError("it has no time zone")
    except ValueError as error:
        raise UsageError(f"{said!r} is neither an index nor a time such as 2026-11-24T09:00:00Z: {error}") from error
    near = col(RecordRow.time) >= show_moment(moment) if earliest else col(RecordRow.time) <= show_moment(moment)
    query = select(col(LeafRow.idx)).join(RecordRow, col(RecordRow.rid) == col(LeafRow.rid)).where(near)
    order = col(LeafRow.idx).asc() if earliest else col(LeafRow.idx).desc()
    found = ledger.read().rows(query.where(col(LeafRow.idx) < size).order_by(order).limit(1))
    if not found:
        raise UsageError(f"no record is {'at or after' if earliest else 'at or before'} {said}")
    return int(found[0][0])


@dataclass(slots=True)
class Survey:
    """One look at every record up to a head: the tree, and which record brought which artefact."""

    size: int
    tree: Tree = field(default_factory=Tree)
    brought: dict[str, int] = field(default_factory=dict)


def survey(ledger: Ledger, size: int) -> Survey:
    """Hash every leaf once. Everything else is looked up."""
    found = Survey(size)
    waiting: list[bytes] = []
    for record in ledger.records(placed=True):
        if record.index >= size:
            break
        waiting.append(sha256(b"\x00" + record.body).digest())  # `leaf_hash`, without a call for each
        if record.body.startswith(_BRINGS):
            for digest in record.leaf["artefacts"]:
                found.brought[digest] = record.index
        if len(waiting) == BLOCK:
            found.tree.extend(waiting)
            waiting.clear()
    found.tree.extend(waiting)
    return found


def extend(ledger: Ledger, tree: Tree, size: int) -> None:
    """Bring a tree up to a later head."""
    leaves = (record.body for record in ledger.records(start=tree.size, placed=True))
    tree.extend([leaf_hash(body) for body, _ in zip(leaves, range(size - tree.size), strict=False)])


@dataclass(slots=True)
class Gathered:
    """The records of a bundle by index, and the artefacts that they need by digest."""

    records: dict[int, Record]
    inside: frozenset[int]
    """Indexes of the records that the scope asks for; the others are context."""
    artefacts: frozenset[str]


def gather(ledger: Ledger, scope: Scope, found: Survey, also: Iterable[str] = ()) -> Gathered:
    """The scope's records and their context. `also`: people whose keys are needed, such as who exports.

    Raises `UsageError` when the log has no such session.
    """
    return _Gathering(ledger, scope, found).run(also)


class _Gathering:
    def __init__(self, ledger: Ledger, scope: Scope, found: Survey) -> None:
        self._ledger = ledger
        self._found = found
        self._scope = scope
        self._records = {record.index: record for record in self._asked()}
        self._inside = frozenset(self._records)

    def _asked(self) -> Iterator[Record]:
        scope = self._scope
        if scope.session is not None:
            records = self._ledger.records(session=scope.session, placed=True)
            yield from (record for record in records if record.index < self._found.size)
            return
        assert scope.first is not None
        assert scope.last is not None
        for record in self._ledger.records(start=scope.first, placed=True):
            if record.index > scope.last:
                return
            yield record

    def run(self, also: Iterable[str]) -> Gathered:
        grants = {digest for record in self._records.values() for digest in record.data.get("chain") or ()}
        names = set()
        for record in self._of(_GRANTS[:3]):
            if record.data["digest"] in grants or record.index in self._inside:
                names.add(record.data["grant"])
        self._take(record for record in self._of(_GRANTS) if record.data["grant"] in names)
        needed = {digest for record in self._records.values() for digest in artefacts_of(record.leaf)}
        for digest in needed:
            index = self._found.brought.get(digest)
            if index is not None and index not in self._records:
                self._take(_at(self._ledger, index))
        self._configuration()
        writers = {record.writer for record in self._records.values()}
        self._take(r for r in self._of(_WRITERS) if r.writer in writers or r.data.get("writer") in writers)
        self._take(self._of(["key.rotated"]))
        ids = {record.id for record in self._records.values()}
        self._take(r for r in self._of(["evidence.erased"]) if ids.intersection(r.data["records"]))
        self._people(also)
        return Gathered(dict(sorted(self._records.items())), self._inside, frozenset(needed))

    def _configuration(self) -> None:
        """For every grant the configuration that was in force: it names the key that signs grants."""
        changes = self._of(["config.changed"])
        for index in [index for index, record in self._records.items() if record.type in _GRANTS[:3]]:
            before = [change for change in changes if change.index < index]
            self._take(before[-1:])

    def _people(self, also: Iterable[str]) -> None:
        """Whoever signed, and whoever enrolled those who signed, and so on."""
        people = self._of(_PEOPLE)
        known: set[str] = set()
        wanted = set(also) | {name for record in self._records.values() for name in signers(record.data)}
        while wanted - known:
            known |= wanted
            taken = [record for record in people if record.data["person"] in known]
            self._take(taken)
            wanted = {name for record in taken for name in signers(record.data)}

    def _of(self, types: Iterable[str]) -> list[Record]:
        return [record for record in self._ledger.records(types=types, placed=True) if record.index < self._found.size]

    def _take(self, records: Iterable[Record]) -> None:
        self._records.update((record.index, record) for record in records)


def _at(ledger: Ledger, index: int) -> list[Record]:
    query = (
        select(col(RecordRow.id)).join(LeafRow, col(RecordRow.rid) == col(LeafRow.rid)).where(col(LeafRow.idx) == index)
    )
    found = [ledger.record(row[0]) for row in ledger.read().rows(query)]
    return [record for record in found if record is not None]


def artefacts_of(leaf: Mapping[str, Any]) -> Iterator[str]:
    """Digests of the artefacts without which a record cannot be judged."""
    data = leaf["data"]
    if leaf["type"] in _GRANTS[:3]:
        yield data["digest"]
    yield from data.get("chain") or ()
    for name in ("catalogue", "guardrails", "definition"):
        if isinstance(data.get(name), str):
            yield data[name]


def signers(node: Any) -> Iterator[str]:
    """Everybody who proved who they are by a key, anywhere in a record's data."""
    if isinstance(node, dict):
        if "statement" in node:
            yield str(node.get("subject"))
        for item in node.values():
            yield from signers(item)
    elif isinstance(node, list):
        for item in node:
            yield from signers(item)
