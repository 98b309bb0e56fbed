"""Where a writer was silent for longer than it had announced: nobody was there, or what it said was taken out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import func, select

from remit.store.tables import Base

if TYPE_CHECKING:
    from remit.ledger.reading import Reader

PATIENCE: Final = 2
"""Intervals that a writer may be silent: a beat takes its time, too."""

_RECORD: Final = Base.metadata.tables["record"].c
_WRITER: Final = Base.metadata.tables["writer"].c


class Silence(NamedTuple):
    """No word from `writer` after `start` and before `end`; None: up to now. `announced`: after how long it beats."""

    writer: str
    start: datetime
    end: datetime | None
    announced: timedelta

    def as_record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "writer": self.writer,
            "from": self.start.isoformat(),
            "to": self.end.isoformat() if self.end is not None else None,
            "announced": self.announced.total_seconds(),
        }

    def __str__(self) -> str:
        end = _at(self.end) if self.end is not None else "now"
        return (
            f"no word from writer {self.writer} between {_at(self.start)} and {end}; "
            f"it had announced one at least every {self.announced.total_seconds():g} s"
        )


def silences(reader: Reader, now: datetime) -> list[Silence]:
    """Every silence in a ledger, by writer and time. Writers that announced no heartbeat may be silent."""
    announced = dict(_announced(reader))
    found = [one for one in _between(reader, announced) if one is not None]
    found += [one for one in _after(reader, announced, now) if one is not None]
    return sorted(found, key=lambda one: (one.start, one.writer))


def _announced(reader: Reader) -> Iterator[tuple[str, timedelta]]:
    for record in reader.records(types=["recorder.started"]):
        seconds = record.data.get("heartbeat")
        if isinstance(seconds, int | float) and seconds > 0:
            yield record.writer, timedelta(seconds=seconds)


def _between(reader: Reader, announced: dict[str, timedelta]) -> Iterator[Silence | None]:
    before = func.lag(_RECORD.time).over(partition_by=_RECORD.writer, order_by=_RECORD.wseq).label("before")
    pairs = select(_RECORD.writer, before, _RECORD.time.label("after")).subquery()
    apart = func.substr(pairs.c.before, 1, 17) != func.substr(pairs.c.after, 1, 17)  # not in the same ten seconds
    for writer, start, end in reader.rows(select(pairs).where(pairs.c.before.is_not(None), apart)):
        yield _silence(writer, start, datetime.fromisoformat(end), end, announced)


def _after(reader: Reader, announced: dict[str, timedelta], now: datetime) -> Iterator[Silence | None]:
    """After the last word of writers that did not say that it was the last."""
    last = select(_RECORD.writer, func.max(_RECORD.time)).group_by(_RECORD.writer)
    ended = {
        writer: (state, at) for writer, state, at in reader.rows(select(_WRITER.id, _WRITER.state, _WRITER.stopped))
    }
    for writer, start in reader.rows(last):
        state, at = ended.get(writer, ("running", None))
        if state == "running":
            yield _silence(writer, start, now, None, announced)
        elif state == "buried" and at is not None:
            yield _silence(writer, start, datetime.fromisoformat(at), at, announced)


def _silence(
    writer: str, start: str, until: datetime, end: str | None, announced: dict[str, timedelta]
) -> Silence | None:
    span, begun = announced.get(writer), datetime.fromisoformat(start)
    if span is None or until - begun <= PATIENCE * span:
        return None
    return Silence(writer, begun, datetime.fromisoformat(end) if end is not None else None, span)


def _at(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
