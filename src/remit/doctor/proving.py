"""What endangers the proof: the log's key, its age, and witnesses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, select
from sqlmodel import col

from remit.doctor.findings import Finding
from remit.store.tables import CheckpointRow, WitnessRow

if TYPE_CHECKING:
    from remit.app import App

KEY_LIFE: Final = timedelta(days=365)
"""How long one key should sign: what is old is in backups, and on machines that nobody thinks of."""

NEAR: Final = timedelta(days=30)
"""How long before its end a key is to be rotated."""

WITNESS_AGE: Final = timedelta(hours=24)
"""How old the last word of a witness may be while records were added since."""


def look(app: App) -> Iterator[Finding]:
    """The log's key and its witnesses."""
    yield _key(app)
    yield from _witnesses(app)


def _key(app: App) -> Finding:
    since: datetime | None = None
    for record in app.ledger.records(types=["key.rotated"]):
        if record.data.get("key") == "log":
            since = record.at
    if since is None:
        since = next((record.at for record in app.ledger.records()), None)
    if since is None:
        return Finding("log key", "ok", "new: it has signed nothing yet")
    age = app.ledger.now() - since
    said = f"signs since {since:%Y-%m-%d}"
    if age >= KEY_LIFE:
        return Finding(
            "log key", "fail", f"{said}, more than {KEY_LIFE.days} days", "`remit key prepare`, then `remit key rotate`"
        )
    if age >= KEY_LIFE - NEAR:
        left = (KEY_LIFE - age).days
        return Finding(
            "log key", "warn", f"{said}, {left} days before it is due", "`remit key prepare`, then `remit key rotate`"
        )
    return Finding("log key", "ok", said)


def _witnesses(app: App) -> Iterator[Finding]:
    policy = app.deployment.witnesses
    if policy is None or not policy.witnesses:
        yield Finding(
            "witnesses",
            "warn",
            "none: whoever holds the log key could take records back, and nobody would see it",
            "run `remit witness` elsewhere, and name it in witness.policy (docs/witness.md)",
        )
        return
    reading = app.ledger.read()
    [(size,)] = reading.rows(select(func.max(col(CheckpointRow.size))))
    rows = {row["id"]: row for row in reading.mappings(select(WitnessRow))}
    for name, row in sorted(rows.items()):
        if row["conflict"] is not None:
            yield Finding(
                f"witness {name}",
                "fail",
                "it showed a head, signed by this log's key, that is none of this ledger's: records were taken back, "
                "or there are two histories",
                "stop recording, keep both, and find out who holds the log's key",
            )
        else:
            yield _witness(app, name, row["size"], row["cosigned"], row["why"], size or 0)
    if not rows:
        yield Finding(
            "witnesses", "warn" if size else "ok", f"none of {len(policy.witnesses)} has cosigned anything yet"
        )


def _witness(app: App, name: str, known: int, cosigned: str | None, why: str | None, size: int) -> Finding:
    what = f"witness {name}"
    if cosigned is None:
        return Finding(
            what, "warn", f"never cosigned{f' ({why})' if why else ''}", "is it running, and does it know this log?"
        )
    age = app.ledger.now() - datetime.fromisoformat(cosigned)
    said = f"cosigned {known} of {size} records, {_ago(age)} ago"
    if known >= size:
        return Finding(what, "ok", said)
    if age > WITNESS_AGE:
        return Finding(
            what, "fail", f"{said}{f' ({why})' if why else ''}", "what came after it can be taken back unseen; start it"
        )
    return Finding(
        what, "warn" if why else "ok", f"{said}{f' ({why})' if why else ''}", "is it running?" if why else ""
    )


def _ago(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} days"
