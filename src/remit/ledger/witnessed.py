"""What verification says of the log's keys and of its witnesses: steps of `remit.ledger.verify`, and its own for a
quorum that the verifier names.

A cosignature that is stored has to be one. What it is worth depends on whose it is, and that is the verifier's to say.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sqlalchemy import select

from remit.errors import VerificationError
from remit.ledger.epochs import LogKeys
from remit.ledger.notes import WitnessKey, cosignatures
from remit.store.tables import Base

if TYPE_CHECKING:
    from remit.ledger.reading import Reader
    from remit.store.stores import Snapshot

MAX_AHEAD = timedelta(minutes=5)
"""How far a cosignature's time may be ahead of the verifier's clock."""

_COSIGNATURE = Base.metadata.tables["cosignature"].c
_CHECKPOINT = Base.metadata.tables["checkpoint"].c


class Quorum(Protocol):
    """Which witnesses there are, and when they are enough (`remit.witness.policy.Policy`)."""

    @property
    def keys(self) -> tuple[WitnessKey, ...]:
        """The witnesses' keys."""

    def satisfied(self, cosigned: Collection[WitnessKey]) -> bool:
        """Whether cosignatures of these on one head are enough."""

    def describe(self) -> str:
        """In words."""


class Witnessed(NamedTuple):
    """The newest head that enough witnesses cosigned: its size, since when they all had, and who they are."""

    size: int
    time: datetime
    by: tuple[str, ...]

    def as_record(self) -> dict[str, Any]:
        """As JSON."""
        return {"size": self.size, "time": self.time.isoformat(), "by": list(self.by)}


def check_rotations(rotations: Mapping[int, Any], ends: Collection[int], keys: LogKeys, size: int) -> None:
    """Every change of the log's key is recorded where it happened, and every one that is recorded happened.

    `rotations`: index of each `key.rotated` about the log's key → the vkey it names. `ends`: those of them that are the
    last record under a head. Raises `VerificationError`.
    """
    changes = {epoch.start - 2: epoch.verifier.vkey for epoch in keys.epochs if epoch.start >= 2}
    for index, vkey in rotations.items():
        if index not in ends:
            raise VerificationError(
                f"record {index} changes the log's key and is not the last one under a head", index=index
            )
        if changes.get(index) != vkey and index != size - 1:
            raise VerificationError(
                f"record {index} says that another key signs from here on, and the keys that are trusted here do not: "
                "get the list of keys from whoever runs the log (`remit key list`)",
                index=index,
            )
    for index, vkey in changes.items():
        if index < size and rotations.get(index) != vkey:
            raise VerificationError(f"a key is trusted from record {index + 1} on, and no record says so", index=index)


def check_cosignatures(view: Snapshot) -> int:
    """Every cosignature that is kept is one, on a head that is kept. Returns how many. Raises `VerificationError`."""
    count = 0
    for place, size, witness, moment, line, note in view.all(_STORED):
        try:
            if not isinstance(note, bytes) or not isinstance(line, bytes) or not isinstance(witness, str):
                raise VerificationError("there is no such head, or the row is damaged")
            key = WitnessKey.parse(witness)
            if cosignatures(note + line, [key]) != {key: moment} or place != f"{size}/{key.key_id.hex()}/{moment}":
                raise VerificationError("it is not that of this witness, of this time")
        except (VerificationError, UnicodeDecodeError, AttributeError) as error:
            raise VerificationError(
                f"a cosignature that is kept on the head of {size} records does not hold: {error}",
                index=max(0, size - 1) if isinstance(size, int) else None,
            ) from error
        count += 1
    return count


def require_witnessed(
    reader: Reader, quorum: Quorum, *, fresh: timedelta | None = None, now: datetime | None = None
) -> Witnessed:
    """The newest head of a ledger that enough of the verifier's own witnesses cosigned.

    With `fresh` their cosignatures may be no older than that, by the verifier's clock: without a bound on age, whoever
    holds the log's key could show the ledger as it was at any earlier time. Raises `VerificationError`.
    """
    now = now or datetime.now(UTC)
    wanted = [key.vkey for key in quorum.keys]
    query = (
        select(_COSIGNATURE.size, _CHECKPOINT.note)
        .where(_COSIGNATURE.size == _CHECKPOINT.size, _COSIGNATURE.witness.in_(wanted))
        .group_by(_COSIGNATURE.size, _CHECKPOINT.note)
        .order_by(_COSIGNATURE.size.desc())
    )
    for size, note in reader.rows(query):
        lines = reader.rows(
            select(_COSIGNATURE.line).where(_COSIGNATURE.size == size, _COSIGNATURE.witness.in_(wanted))
        )
        found = witnessed(bytes(note) + b"".join(bytes(line) for (line,) in lines), size, quorum, now)
        if found is None:
            continue
        if fresh is not None and now - found.time > fresh:
            raise VerificationError(
                f"the newest head that {quorum.describe()} cosigned, of {size} records, was last seen "
                f"{_span(now - found.time)} ago; at most {_span(fresh)} was asked for: later records may have been "
                "taken back, or the witnesses are not asked any more",
                index=size,
            )
        return found
    raise VerificationError(f"no head of this ledger was cosigned by {quorum.describe()}", index=0)


def witnessed(note: bytes, size: int, quorum: Quorum, now: datetime) -> Witnessed | None:
    """Whether enough witnesses cosigned the head in this note, and when the last of those it takes did; else None.

    Raises `VerificationError` for a cosignature that is none.
    """
    moments = {key: datetime.fromtimestamp(found, UTC) for key, found in cosignatures(note, quorum.keys).items()}
    if any(moment > now + MAX_AHEAD for moment in moments.values()):
        raise VerificationError(
            f"a cosignature on the head of {size} records was made in the future, by the clock here"
        )
    latest = _enough(moments, quorum)
    if latest is None:
        return None
    by = sorted((key for key, moment in moments.items() if moment >= latest), key=lambda key: key.name)
    return Witnessed(size, latest, tuple(key.name for key in by))


def _enough(moments: Mapping[WitnessKey, datetime], quorum: Quorum) -> datetime | None:
    """The latest moment since when all of a quorum have said so: the age of the oldest word that it takes."""
    for moment in sorted(set(moments.values()), reverse=True):
        if quorum.satisfied([key for key, made in moments.items() if made >= moment]):
            return moment
    return None


def _span(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for size, word in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {word}"
    return f"{seconds} seconds"


_STORED = (
    "SELECT cosignature.id, cosignature.size, cosignature.witness, cosignature.time, cosignature.line, checkpoint.note"
    " FROM cosignature LEFT JOIN checkpoint ON checkpoint.size = cosignature.size ORDER BY cosignature.id"
)
