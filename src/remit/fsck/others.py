"""People, tools, verdicts, settings, and writers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remit.fsck.fold import Fold, on

if TYPE_CHECKING:
    from remit.ledger import Record


@on("person.enrolled")
def enrolled(fold: Fold, record: Record) -> None:
    """From here on this key speaks for this person."""
    fold.rows.put("people", record.data["person"], key=record.data["key"], state="enrolled", record_id=record.id)


@on("person.removed")
def removed(fold: Fold, record: Record) -> None:
    """From here on it does not."""
    fold.rows.put("people", record.data["person"], state="removed", record_id=record.id)


@on("tool.accepted")
def accepted(fold: Fold, record: Record) -> None:
    """Calls are judged by this definition."""
    data = record.data
    fold.rows.put(
        "tools",
        data["tool"],
        digest=data["definition"],
        seen=None,
        schema_digest=data["schema"],
        text_digest=data["text"],
        state="accepted",
        record_id=record.id,
    )


@on("tool.changed")
def changed(fold: Fold, record: Record) -> None:
    """Another definition was seen; a person has to accept it."""
    data = record.data
    state = "new" if data["accepted"] is None else "changed"
    if fold.rows.get("tools", data["tool"]) is None:
        fold.rows.put("tools", data["tool"], digest=None)
    fold.rows.put("tools", data["tool"], seen=data["definition"], state=state, record_id=record.id)


@on("review.verdict")
def verdict(fold: Fold, record: Record) -> None:
    """What a reviewer decided; it supersedes whatever stood on the same subject."""
    data = record.data
    subject = (record.session, data["call"])
    earlier = fold.standing.get(subject)
    if earlier is not None:
        fold.rows.put("verdicts", earlier, superseded=record.id)
    fold.standing[subject] = record.id
    fold.rows.put(
        "verdicts",
        record.id,
        session_id=record.session,
        call_id=data["call"],
        verdict=data["verdict"],
        reason_code=data["reason"],
        reviewer=data["by"]["subject"],
        authenticated=data["by"]["authenticated"],
        superseded=None,
        time=record.time,
    )


@on("config.changed")
def configured(fold: Fold, record: Record) -> None:
    """What was in force; other changes of configuration are no settings."""
    if "catalogue" in record.data:
        fold.rows.put("settings", "configuration", value=record.data)


@on("recorder.started")
def started(fold: Fold, record: Record) -> None:
    """A writer began."""
    data = record.data
    fold.rows.put(
        "writer",
        record.writer,
        state="running",
        host=data["host"],
        pid=data["pid"],
        pid_namespace=data["namespace"],
        boot_id=data["boot"],
        process_start=data["start"],
        started=record.time,
    )


@on("recorder.stopped")
def stopped(fold: Fold, record: Record) -> None:
    """A writer said that it ended."""
    fold.rows.put("writer", record.writer, state="stopped", stopped=record.time)


@on("recorder.gap")
def buried(fold: Fold, record: Record) -> None:
    """Another one found it dead."""
    if "writer" in record.data:
        fold.rows.put("writer", record.data["writer"], state="buried", stopped=record.time)
