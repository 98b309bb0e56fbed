"""Calls, what they touched, and what people answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from remit import answering, approvals
from remit.erasing import ERASED
from remit.fsck.fold import Fold, on, private, told
from remit.fsck.rows import UNKNOWN
from remit.ledger.canonical import canonical

if TYPE_CHECKING:
    from remit.ledger import Record


def content_of(fold: Fold, record: Record) -> Any:
    """The keyed digest of what was asked for, which the erasable payload tells."""
    arguments = told(private(record), "arguments")
    if arguments is UNKNOWN:
        return UNKNOWN
    return fold.ledger.keyed("content", record.data["tool"], canonical(arguments))


def _put(fold: Fold, record: Record, state: str, **more: Any) -> None:
    data, decision = record.data, record.data["decision"]
    fold.rows.put(
        "calls",
        data["call"],
        session_id=record.session,
        content=content_of(fold, record),
        tool=data["tool"],
        state=state,
        code=decision["code"],
        rule=decision["rule"],
        clause=decision["clause"],
        grant_id=data["grant"],
        writer=record.writer,
        parent=data.get("parent"),
        time=record.time,
        **more,
    )
    note_call(fold, record)


@on("call.replayed")
def note_call(fold: Fold, record: Record) -> None:
    """A call of a session that ends by being idle."""
    session = fold.rows.get("sessions", record.session) if record.session is not None else None
    if session is not None and session["state"] == "open" and session["idle_seconds"] is not None:
        session["last_call"] = record.time


@on("call.intent", "call.resumed")
def began(fold: Fold, record: Record) -> None:
    """The tool may run."""
    approval = {"approval_id": record.data["approval"]} if "approval" in record.data else {}
    _put(fold, record, "running", intent_record=record.data.get("intent", record.id), **approval)


@on("call.denied")
def denied(fold: Fold, record: Record) -> None:
    """The tool was not entered. A call outside any session keeps its tool's name apart."""
    if record.session is not None:
        _put(fold, record, "denied", intent_record=record.id)
        return
    data = record.data
    fold.rows.put(
        "calls",
        data["call"],
        content="",
        tool=told(private(record), "tool"),
        state="denied",
        code=data["decision"]["code"],
        rule=data["decision"]["rule"],
        writer=record.writer,
        intent_record=record.id,
        time=record.time,
    )


@on("call.intent", "call.resumed", "call.denied")
def touched(fold: Fold, record: Record) -> None:
    """The index by resource, under keyed hashes."""
    if record.session is None or "accesses" not in record.private:
        return
    accesses = told(private(record), "accesses")
    if accesses is UNKNOWN:
        fold.untold.add(record.id)
        return
    call = record.data["call"]
    for uri in {text.split(" ", 1)[1] for text in accesses}:
        touch = fold.ledger.keyed("touch", uri)
        fold.rows.put("touches", f"{touch}:{call}", touch=touch, call_id=call, record_id=record.id)


@on("call.outcome", "call.resolved")
def ended(fold: Fold, record: Record) -> None:
    """What became of it, or what a person says became of it."""
    data = record.data
    values = {"outcome_record": record.id, "outcome_time": record.time}
    if record.type == "call.resolved":
        fold.rows.put("calls", data["call"], state=data["outcome"], kept=False, **values)
    elif data.get("recovered"):
        fold.rows.put("calls", data["call"], state=data["status"], **values)
    else:
        kept = bool(data.get("result", {}).get("kept"))
        fold.rows.put("calls", data["call"], state=data["status"], kept=kept, **values)


# -- questions to people


@on("approval.requested")
def asked(fold: Fold, record: Record) -> None:
    """A question, and the call that waits for its answer: with the first of its questions it begins to wait."""
    data, content = record.data, content_of(fold, record)
    assert record.session is not None
    approvals.open_question(fold.rows, record.session, data["call"], data, content, record.id)
    call = fold.rows.get("calls", data["call"])
    if call is None or call["state"] != "ask":
        _put(fold, record, "ask", intent_record=record.id, approval_id=data["approval"])


@on("approval.decided")
def decided(fold: Fold, record: Record) -> None:
    """One person's answer; one no is enough, a yes may need several."""
    data = record.data
    row = fold.rows.get("approvals", data["approval"])
    assert row is not None
    columns = answering.answered(row, data, record.id)
    fold.rows.put("approvals", data["approval"], **columns)
    call = fold.rows.get("calls", data["call"])
    if data["answer"] == "refused" and call is not None and call["state"] == "ask":
        fold.rows.put("calls", data["call"], code="approval_refused")


@on("evidence.erased")
def erased(fold: Fold, record: Record) -> None:
    """With the text went what was derived from it."""
    named = set(record.data["records"])
    for table, column in (("calls", "intent_record"), ("approvals", "requested_record")):
        for row in fold.rows.of(table).values():
            if row[column] in named:
                row["content"] = ERASED


@on("approval.used", "approval.lapsed")
def spent(fold: Fold, record: Record) -> None:
    """It lets nothing run any more."""
    state = "used" if record.type == "approval.used" else "lapsed"
    fold.rows.put("approvals", record.data["approval"], state=state)
