"""The calls of a session as its records tell them, and the sentence that sums them up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select
from sqlmodel import col

from remit.marks import for_people
from remit.review.answers import Answer, Answers
from remit.store.tables import ApprovalRow, CallRow

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Record

RAN: Final = frozenset({"running", "ok", "tool_error", "exception", "cancelled", "pending", "unknown"})
"""States in which the tool body was, or may have been, entered."""

BESIDE: Final = frozenset(
    {
        "already_executed",
        "call_conflict",
        "evidence_unavailable",
        "outcome_unknown",
        "session_closed",
        "session_suspended",
    }
)
"""Refusals that say nothing about the call's authority: whatever it was, it could not be run now, or again."""


@dataclass(frozen=True, slots=True)
class CallLine:
    """One call. `arguments`, `accesses` and `reason` are None once they were erased."""

    number: int
    id: str
    time: str
    tool: str
    state: str
    effect: str
    code: str | None
    rule: str | None
    clause: str | None
    arguments: Mapping[str, Any] | None
    accesses: tuple[str, ...] | None
    reason: str | None
    error: str | None
    duration_us: int | None
    unbounded: tuple[str, ...]
    enforced: bool
    approval_id: str | None
    parent: str | None
    replayed: int
    through: tuple[str, ...] = ()
    """Through which agents the authority went by token exchange, the first to the last; empty without one."""
    workload: str | None = None
    known: Mapping[str, str] = field(default_factory=dict)
    """How principal, agent and workload were known when it was called: `claimed`, `token`, `ed25519`, `spiffe`."""
    terms: str | None = None
    """The digest of the terms that it was decided under; they are an artefact of the ledger."""
    answers: tuple[Answer, ...] = ()
    """What persons answered to it, where it had to be approved."""

    @property
    def ran(self) -> bool:
        """Whether the tool body was, or may have been, entered."""
        return self.state in RAN

    @property
    def outside(self) -> bool:
        """Whether this was an attempt outside the authority given."""
        return self.effect == "deny" and self.code not in BESIDE

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            "number": self.number,
            "call": self.id,
            "time": self.time,
            "tool": self.tool,
            "state": self.state,
            "decision": {"effect": self.effect, "code": self.code, "rule": self.rule, "clause": self.clause},
            "enforced": self.enforced,
            "arguments": dict(self.arguments) if self.arguments is not None else None,
            "accesses": list(self.accesses) if self.accesses is not None else None,
            "reason": self.reason,
            "error": self.error,
            "duration_us": self.duration_us,
            "unbounded": list(self.unbounded),
            "approval": self.approval_id,
            "parent": self.parent,
            "replayed": self.replayed,
            "through": list(self.through),
            "workload": self.workload,
            "known": dict(self.known),
            "answers": [answer.as_dict() for answer in self.answers],
        }


def summarise(calls: Iterable[CallLine]) -> str:
    """What these calls came to, in words: what happened before what it means."""
    calls = tuple(calls)
    ran = [call for call in calls if call.ran]
    outside_ran = [call for call in ran if call.effect == "deny"]
    blocked = sum(1 for call in calls if call.outside and not call.ran)
    tried, was = f"{blocked} {_plural('attempt', blocked)} outside", "was" if blocked == 1 else "were"
    if not calls:
        found = "Nothing was called."
    elif not ran:
        found = f"Nothing ran; {tried} the authority given {was} blocked." if blocked else "Nothing ran."
    elif outside_ran:
        count = len(outside_ran)
        found = f"{count} {_plural('call', count)} ran outside the authority given (observed, not enforced)"
        found += f"; {tried} it {was} blocked." if blocked else "."
    else:
        found = "Everything that ran was within the authority given; "
        found += f"{tried} it {was} blocked." if blocked else "nothing outside it was attempted."
    return " ".join([found, *_still_open(calls)])


OPEN: Final[Mapping[str, tuple[str, str]]] = {
    "unknown": ("1 call began and nobody knows how it ended.", "{} calls began and nobody knows how they ended."),
    "running": ("1 call is still running.", "{} calls are still running."),
    "pending": ("1 call waits for a continuation.", "{} calls wait for a continuation."),
    "ask": ("1 call waits for a person's approval.", "{} calls wait for a person's approval."),
    "refused": ("1 call was refused by a person.", "{} calls were refused by a person."),
    "beside": (
        "1 call was refused for a reason beside its authority.",
        "{} calls were refused for reasons beside their authority.",
    ),
}
"""What is said besides of calls in these states: of one, of several."""


def _still_open(calls: tuple[CallLine, ...]) -> list[str]:
    found = {state: sum(1 for call in calls if call.state == state) for state in OPEN}
    found["beside"] = sum(1 for call in calls if call.effect == "deny" and not call.outside and not call.ran)
    return [
        one if found[state] == 1 else many.format(found[state]) for state, (one, many) in OPEN.items() if found[state]
    ]


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


BEGINNINGS: Final = ("call.intent", "call.denied", "approval.requested")
ENDINGS: Final = ("call.outcome", "call.resolved")

ANSWERS: Final[Mapping[str, str]] = {
    "requested": "ask",
    "approved": "approved",
    "used": "approved",
    "refused": "refused",
    "lapsed": "lapsed",
}
"""What became of a call that was put to a person. An approved one runs as a call of its own, naming the approval."""


def read_calls(deployment: Deployment, session_id: str) -> tuple[CallLine, ...]:
    """Every call of a session, numbered in the order of the ledger."""
    begun: dict[str, Record] = {}
    ended: dict[str, Record] = {}
    replayed: dict[str, int] = {}
    answers = Answers()
    for record in deployment.ledger.records(session=session_id):
        call_id = str(record.data.get("call"))
        if record.type in BEGINNINGS:
            begun[call_id] = record  # the intent of a call that was asked about takes the question's place
        elif record.type in ENDINGS:
            ended[call_id] = record
        elif record.type == "call.replayed":
            replayed[call_id] = replayed.get(call_id, 0) + 1
        elif record.type == "approval.decided":
            answers.add(record)
    rows = _rows(deployment, session_id)  # after the records: every call that they name has its row by now
    return tuple(
        _line(number, rows[call_id], record, ended.get(call_id), replayed.get(call_id, 0), answers)
        for number, (call_id, record) in enumerate(begun.items(), start=1)
    )


def _rows(deployment: Deployment, session_id: str) -> dict[str, dict[str, Any]]:
    """The calls' rows, where a question to a person has the state of its answer."""
    reading = deployment.ledger.read()
    calls = reading.mappings(select(CallRow).where(col(CallRow.session_id) == session_id))
    answers = reading.mappings(select(ApprovalRow).where(col(ApprovalRow.session_id) == session_id))
    states = {row["call_id"]: ANSWERS[row["state"]] for row in answers}
    return {
        row["id"]: {**row, "state": states.get(row["id"], "ask")} if row["state"] == "ask" else row for row in calls
    }


def _line(
    number: int, row: Mapping[str, Any], begun: Record, ended: Record | None, replayed: int, answers: Answers
) -> CallLine:
    said = for_people(begun, begun.disclosed() or {})
    came_to = (ended.disclosed() or {}) if ended is not None else {}
    decision = begun.data["decision"]
    accesses = said.get("accesses", ()) if said else None
    return CallLine(
        number=number,
        id=row["id"],
        time=begun.time,
        tool=row["tool"],
        state=row["state"],
        effect=decision["effect"],
        code=row["code"] or decision["code"],
        rule=decision["rule"],
        clause=decision["clause"],
        arguments=said.get("arguments"),
        accesses=tuple(accesses) if accesses is not None else None,
        reason=said.get("reason"),
        error=came_to.get("error"),
        duration_us=ended.data.get("duration_us") if ended is not None else None,
        unbounded=_unbounded(begun.data.get("unbounded")),
        enforced=bool(decision.get("enforced", True)),
        approval_id=begun.data.get("approval"),
        parent=begun.data.get("parent"),
        replayed=replayed,
        through=tuple(begun.data.get("delegation", {}).get("actors", ())),
        workload=begun.data.get("workload"),
        known=begun.data.get("known", {}),
        terms=next(reversed(begun.data.get("chain", ())), None),
        answers=answers.to(row["id"], begun.data),
    )


def _unbounded(found: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What ran unbounded, as a person reads it: leaves name only what grant or schema name, and count the rest."""
    if found is None:
        return ()
    others = found["others"]
    return (*found["names"], *([f"{others} other argument{'s' if others > 1 else ''}"] if others else []))
