"""What endangers recording: the store, its backlog, writers, sessions, tools, people."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select
from sqlmodel import col

from remit.authority.durations import show_moment
from remit.doctor.findings import Finding
from remit.ledger.silences import silences
from remit.store.tables import CallRow, CheckpointRow, PersonRow, RecordRow, SessionRow, ToolRow, WriterRow

if TYPE_CHECKING:
    from remit.app import App

WAL_RESET_FIXED: Final = (3, 51, 3)
"""The SQLite that does not damage a WAL when several processes write and checkpoint at once (3.7.0 to 3.51.2 may)."""

STALE: Final = timedelta(minutes=1)
"""How old a record without an index may be: a sequencer takes moments."""

FORGOTTEN: Final = timedelta(hours=24)
"""How long a session may be open without a call before somebody should look."""


def look(app: App) -> Iterator[Finding]:
    """Everything about an opened ledger."""
    yield from _private(app.ledger.home)
    yield _sqlite(app)
    yield _durability(app)
    yield _backlog(app)
    yield from _writers(app)
    yield from _calls(app)
    yield from _sessions(app)
    yield from _tools(app)
    yield _people(app)


def _private(home: Path) -> Iterator[Finding]:
    if not home.is_dir():
        return
    mode = home.stat().st_mode & 0o777
    if mode & 0o077:
        yield Finding("keys", "fail", f"{home} can be read by others (mode {mode:o})", f"chmod 700 {home}")
    else:
        yield Finding("keys", "ok", f"{home}, readable by its owner only")


def _sqlite(app: App) -> Finding:
    said = sqlite3.sqlite_version
    if not app.ledger.sequences:
        return Finding("SQLite", "ok", f"{said}, and this ledger is on PostgreSQL")
    if sqlite3.sqlite_version_info >= WAL_RESET_FIXED:
        return Finding("SQLite", "ok", said)
    fixed = ".".join(map(str, WAL_RESET_FIXED))
    processes = _processes(app)
    if processes < 2:
        return Finding("SQLite", "ok", f"{said}, with one process; several would need {fixed}")
    return Finding(
        "SQLite",
        "warn",
        f"{said} can damage its write-ahead log when several processes write at once (fixed in {fixed}), and "
        f"{processes} processes record here; Remit's commit lock keeps them apart, other programs do not take it",
        f"install SQLite {fixed} or newer, keep database browsers away from the file, or use PostgreSQL",
    )


def _processes(app: App) -> int:
    """How many processes record here now, or at once with another in the last day."""
    since = show_moment(app.ledger.now() - timedelta(days=1))
    rows = app.ledger.read().rows(
        select(col(WriterRow.started), col(WriterRow.stopped)).where(
            (col(WriterRow.state) == "running") | (col(WriterRow.stopped) >= since)
        )
    )
    spans = [(started, stopped or "9") for started, stopped in rows]
    return max((sum(1 for begun, ended in spans if begun <= start < ended) for start, _ in spans), default=0)


def _durability(app: App) -> Finding:
    """Whether a writer that runs, or whatever was configured last, does not wait for the disk."""
    running = {row[0] for row in _rows(app, select(col(WriterRow.id)).where(col(WriterRow.state) == "running"))}
    relaxed = [
        record
        for record in app.ledger.records(types=["recorder.degraded"])
        if record.data.get("durability") == "relaxed"
    ]
    now = [record for record in relaxed if record.writer in running]
    if now or app.ledger.durability != "full":
        return Finding(
            "durability",
            "warn",
            "relaxed: records do not wait for the disk, so a power loss may take the last ones back",
            "open with durability='full' where calls have effects",
        )
    if relaxed:
        return Finding("durability", "ok", f"full now; it was relaxed for writers until {relaxed[-1].time[:19]}Z")
    return Finding("durability", "ok", "full: nothing is acknowledged before it is on disk")


def _backlog(app: App) -> Finding:
    waiting = app.ledger.unsequenced()
    if not waiting:
        return Finding("backlog", "ok", "every record is under a signed head")
    oldest = _oldest_waiting(app)
    late = oldest is not None and show_moment(app.ledger.now() - STALE) > oldest
    return Finding(
        "backlog",
        "fail" if late else "ok",
        f"{waiting} records are under no signed head yet" + (f", the oldest since {oldest[:19]}Z" if oldest else ""),
        "start a process whose home holds the log key: the sequencer is elected among those" if late else "",
    )


def _oldest_waiting(app: App) -> str | None:
    [(size,)] = app.ledger.read().rows(select(func.max(col(CheckpointRow.size))))
    for record in app.ledger.records(start=size or 0):
        return record.time
    return None


def _writers(app: App) -> Iterator[Finding]:
    dead = app.ledger.dead_writers()
    if dead:
        yield Finding(
            "writers", "warn", f"{len(dead)} died while recording ({dead[0]})", "the next session that opens settles it"
        )
    silent = silences(app.ledger.read(), app.ledger.now())
    if silent:
        more = f", and {len(silent) - 1} more" if len(silent) > 1 else ""
        yield Finding(
            "heartbeat", "warn", f"{silent[-1]}{more}", "find out whether nobody recorded, or records are gone"
        )
    lost = [record for record in app.ledger.records(types=["recorder.gap"]) if "lost" in record.data]
    if lost:
        total = sum(record.data["lost"] for record in lost)
        yield Finding(
            "gaps",
            "warn",
            f"{total} records could not be written at the time, last until {lost[-1].data['last'][:19]}Z",
            "look at what the disk or the database did then; nothing ran without its intent",
        )


def _calls(app: App) -> Iterator[Finding]:
    unknown = [row[0] for row in _rows(app, select(col(CallRow.id)).where(col(CallRow.state) == "unknown"))]
    if unknown:
        yield Finding(
            "outcomes",
            "fail",
            f"nobody knows what became of {_named(unknown)}",
            f"find out, then `remit call resolve {unknown[0]}`",
        )


def _sessions(app: App) -> Iterator[Finding]:
    suspended = [row[0] for row in _rows(app, select(col(SessionRow.id)).where(col(SessionRow.state) == "suspended"))]
    if suspended:
        yield Finding(
            "suspended sessions", "fail", _named(suspended), f"look, then `remit session resume {suspended[0]}`"
        )
    now = app.ledger.now()
    last = (
        select(col(RecordRow.session), func.max(col(RecordRow.time)).label("last"))
        .where(col(RecordRow.session).is_not(None))
        .group_by(col(RecordRow.session))
        .subquery()
    )
    open_now = _rows(
        app,
        select(col(SessionRow.id), col(SessionRow.ends), last.c.last)
        .join(last, last.c.session == col(SessionRow.id))
        .where(col(SessionRow.state) == "open")
        .order_by(last.c.last),
    )
    over = [row[0] for row in open_now if row[1] is not None and row[1] <= show_moment(now)]
    idle = [row[0] for row in open_now if row[0] not in over and row[2] < show_moment(now - FORGOTTEN)]
    if over:
        yield Finding(
            "sessions never closed",
            "warn",
            f"the grant of {_named(over)} has ended and nobody closed it",
            "the next session that opens here closes it; `remit session close` does so now",
        )
    if idle:
        yield Finding(
            "sessions left open",
            "warn",
            f"no record for a day in {_named(idle)}",
            f"`remit session close {idle[0]} --reason …`, or give sessions idle= so that they close themselves",
        )
    if not over and not idle:
        yield Finding("open sessions", "ok", f"{len(open_now)}, all of them in use")


def _tools(app: App) -> Iterator[Finding]:
    changed = [row[0] for row in _rows(app, select(col(ToolRow.key)).where(col(ToolRow.state) != "accepted"))]
    if changed:
        yield Finding(
            "tools",
            "fail",
            f"not accepted: {_named(changed)}",
            f"`remit tool diff {changed[0]}`, then `remit tool accept`",
        )


def _people(app: App) -> Finding:
    enrolled = len(_rows(app, select(col(PersonRow.id)).where(col(PersonRow.state) == "enrolled")))
    if not enrolled:
        return Finding("identities", "warn", "nobody is enrolled", "`remit person add YOU@EXAMPLE.COM --role admin`")
    return Finding("identities", "ok", f"{enrolled} {'person' if enrolled == 1 else 'people'} enrolled")


def _rows(app: App, query: Any) -> list[Any]:
    return list(app.ledger.read().rows(query))


def _named(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
