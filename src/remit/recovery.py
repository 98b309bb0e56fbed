"""What is settled after the fact: calls of dead writers, unknown outcomes, suspended sessions, changed tools.

Only writers recover; reading never does (invariant 7).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import select
from sqlmodel import col

from remit import labels
from remit.authority.durations import show_moment
from remit.closing import close_session
from remit.counters import give_back
from remit.errors import Denied, Unrepresentable, UsageError
from remit.ids import new_id
from remit.ledger import values
from remit.spending import reserved_by
from remit.store.tables import CallRow, SessionRow, WriterRow

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.identity import Credential
    from remit.ledger import Txn


def recover(deployment: Deployment) -> None:
    """Give every intent of a dead writer the outcome `unknown`, and close sessions whose grant has ended."""
    ledger = deployment.ledger
    dead = ledger.dead_writers()
    left = {row[0] for row in ledger.read().rows(_LEFT_OPEN)}

    def job(txn: Txn) -> None:
        for writer in dead:
            _recover_writer(deployment, txn, writer)
        for writer in left:
            _settle_calls(deployment, txn, writer)
        now = show_moment(txn.now)
        ended = select(col(SessionRow.id)).where(col(SessionRow.state) != "closed", col(SessionRow.ends) <= now)
        for (session_id,) in txn.rows(ended):
            close_session(deployment, txn, session_id, "grant ended")

    if dead or left or _any_ended(deployment):
        ledger.run(job)


_LEFT_OPEN: Final = (
    select(col(CallRow.writer))
    .join(WriterRow, col(WriterRow.id) == col(CallRow.writer))
    .where(col(CallRow.state) == "running", col(WriterRow.state) != "running")
    .distinct()
)


def _any_ended(deployment: Deployment) -> bool:
    now = show_moment(deployment.ledger.now())
    ended = select(col(SessionRow.id)).where(col(SessionRow.state) != "closed", col(SessionRow.ends) <= now).limit(1)
    return bool(deployment.ledger.read().rows(ended))


def recover_writer_of(deployment: Deployment, txn: Txn, call: Mapping[str, Any]) -> bool:
    """Within the transaction that meets this running call: whether its writer is gone, and its calls are settled."""
    writer = call["writer"]
    row = txn.get("writer", writer)
    if row is not None and row["state"] == "running":
        if writer not in deployment.ledger.dead_writers():
            return False
        _recover_writer(deployment, txn, writer)
    else:
        _settle_calls(deployment, txn, writer)
    return True


def _recover_writer(deployment: Deployment, txn: Txn, writer: str) -> None:
    if not txn.bury(writer):
        return  # another process has settled it in the meantime
    txn.append(
        deployment.ledger.draft("recorder.gap", data={"writer": writer, "dangling": len(_dangling(txn, writer))})
    )
    _settle_calls(deployment, txn, writer)


def _dangling(txn: Txn, writer: str) -> list[str]:
    running = select(col(CallRow.id)).where(col(CallRow.writer) == writer, col(CallRow.state) == "running")
    return [found for (found,) in txn.rows(running)]


def _settle_calls(deployment: Deployment, txn: Txn, writer: str) -> None:
    """Calls of a writer that is gone. One that said that it stopped may have stopped under a running tool."""
    for call_id in _dangling(txn, writer):
        row = txn.get("calls", call_id)
        if row is None or row["state"] != "running":
            continue
        carried = labels.of_tool(deployment, row["tool"])
        appended = txn.append(
            deployment.ledger.draft(
                "call.outcome",
                session=row["session_id"],
                data={
                    "call": call_id,
                    "intent": row["intent_record"],
                    "tool": row["tool"],
                    "status": "unknown",
                    "recovered": True,
                    "dead_writer": writer,
                    **({"labels": list(carried)} if carried else {}),
                },
            )
        )
        labels.add(txn, row["grant_id"], carried)
        txn.put("calls", call_id, state="unknown", outcome_record=appended.id, outcome_time=appended.time)


def resolve(
    deployment: Deployment,
    call_id: str,
    outcome: Literal["ok", "tool_error", "not_run"],
    reason: str,
    credential: Credential | str | None,
) -> None:
    """See `App.resolve`."""
    if outcome not in ("ok", "tool_error", "not_run"):
        raise UsageError(f"outcome {outcome!r} settles nothing; expected ok, tool_error or not_run")
    if not reason.strip():
        raise UsageError("a settled call needs a reason: how is it known what happened?")

    def job(txn: Txn) -> None:
        row = txn.get("calls", call_id)
        if row is None:
            raise UsageError(f"no call {call_id!r} is in this ledger")
        if row["state"] != "unknown":
            raise UsageError(f"call {call_id} ended {row['state']}; only an unknown outcome is settled by a person")
        who = deployment.identify(txn, credential, act="call.resolve", about={"call": call_id, "outcome": outcome})
        unused = reserved_by(deployment, txn, row) if outcome == "not_run" else ()
        give_back(txn, unused)
        appended = txn.append(
            deployment.ledger.draft(
                "call.resolved",
                session=row["session_id"],
                data={
                    "call": call_id,
                    "intent": row["intent_record"],
                    "outcome": outcome,
                    "supersedes": row["outcome_record"],
                    "given_back": sorted(limit for limit, _ in unused),
                    "by": who.as_record(),
                },
                private={"reason": reason},
            )
        )
        txn.put(
            "calls",
            call_id,
            state=outcome,
            outcome_record=appended.id,
            outcome_time=appended.time,
            kept=False,
        )

    deployment.ledger.run(job)


def resume_session(deployment: Deployment, session_id: str, credential: Credential | str | None) -> None:
    """See `App.resume_session`."""

    def job(txn: Txn) -> None:
        row = txn.get("sessions", session_id)
        if row is None:
            raise UsageError(f"no session {session_id!r} is in this ledger")
        if row["state"] != "suspended":
            raise UsageError(f"session {session_id} is {row['state']}; only a suspended one is resumed")
        who = deployment.identify(txn, credential, act="session.resume", about={"session": session_id})
        reset = []
        for link in deployment.chain(txn, row["grant_id"]):
            limit = f"{link.terms.id}/denied"
            if txn.get("counters", limit) is not None:
                txn.put("counters", limit, value="0")
                reset.append(limit)
        txn.append(
            deployment.ledger.draft("session.resumed", session=session_id, data={"by": who.as_record(), "reset": reset})
        )
        txn.put("sessions", session_id, state="open")

    deployment.ledger.run(job)


def record_no_grant(deployment: Deployment, tool: str, arguments: Mapping[str, Any], denied: Denied) -> None:
    """The record of a call that had no session. Sets the refusal's call id."""
    private: dict[str, Any] = {"tool": tool, "reason": denied.reason}
    try:
        values.encode(dict(arguments))
        private["arguments"] = dict(arguments)
    except Unrepresentable as error:
        private["unrepresentable"] = str(error)
    except Exception as error:  # noqa: BLE001 - values have code of their own; the refusal is recorded without them
        private["unrepresentable"] = f"the arguments cannot be read ({type(error).__name__})"
    denied.call_id = new_id("c")
    draft = deployment.ledger.draft(
        "call.denied",
        data={
            "call": denied.call_id,
            "tool": None,
            "decision": {
                "effect": "deny",
                "code": denied.code,
                "rule": denied.rule,
                "clause": None,
                "enforced": True,
            },
        },
        private=private,
    )

    def job(txn: Txn) -> None:
        appended = txn.append(draft)
        txn.put(
            "calls",
            denied.call_id or "",
            session_id=None,
            content="",
            tool=tool,
            state="denied",
            code=denied.code,
            rule=denied.rule,
            writer=txn.writer,
            intent_record=appended.id,
            time=appended.time,
        )

    deployment.ledger.run(job)
