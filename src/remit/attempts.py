"""One attempt at a call, and its endings: the records and counters that steps (3) and (4) leave behind.

`remit.entry` decides which ending it is. Everything here runs in the writer thread, inside one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from remit import approvals, attribution, closing, durability, labels, spending
from remit.asking import Questions, needs_of
from remit.authority.calls import ApprovalNeed, Decision, Facts
from remit.calls import CallRequest, Prepared, Refused, Running, Ticket
from remit.counters import Taken, spend, take, taken
from remit.errors import Remedy
from remit.facts import counted, counts_calls, facts_record
from remit.ids import new_id
from remit.prepare import action_summary, private_of
from remit.reentry import append_replayed
from remit.standing import STANDING
from remit.trace import trace_parent

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Draft, Txn
    from remit.sessions import Session

EVALUATOR: Final = f"remit {version('remit')}"
"""What decided, for whoever re-decides it later."""


class Attempt:
    """One pass through steps (3) and (4). Holds what its steps share; lives as long as the transaction.

    `resumes` is the row of the pending call that goes on, and `approvals` are those that let the call run; both, like
    `call_id` and `facts`, are filled in by `remit.entry` as it looks.
    """

    def __init__(
        self,
        deployment: Deployment,
        running: Running,
        session: Session,
        request: CallRequest,
        prepared: Prepared,
        parent: str | None,
        txn: Txn,
    ) -> None:
        self.deployment = deployment
        self.running = running
        self.session = session
        self.request = request
        self.prepared = prepared
        self.parent = parent
        self.txn = txn
        self.call_id = new_id("c")
        self.resumes: Mapping[str, Any] | None = None
        self.approvals: list[Mapping[str, Any]] = []
        self.questions = Questions(deployment, txn, session, request, prepared)
        self.facts: Facts

    # -- the three endings

    def permit(self, decision: Decision, facts: Facts) -> Ticket:
        """Reserve what the call spends, use its approvals, and write the intent: the call may run."""
        txn = self.txn
        data = self._common(decision, facts)
        resumes = self.resumes
        kind = "call.intent"
        if resumes is not None:
            kind = "call.resumed"
            data["intent"] = resumes["intent_record"]
        else:
            take(txn, taken(self.deployment.ledger, decision.spends, facts.now))
            self._count(facts)
        if self.approvals:
            data["approval"] = self.approvals[-1]["id"]
        if len(self.approvals) > 1:
            data["approvals"] = [approval["id"] for approval in self.approvals]
        if (level := durability.needed(self.deployment, self.prepared.tool, self.request)) != "durable":
            data["wait"] = level
        spends = self._spends(decision) if resumes is None else ()
        appended = txn.append(self._draft(kind, decision, data, spends))
        for approval in self.approvals:
            approvals.use(self.deployment, txn, approval, call_id=self.call_id, intent=appended.id)
        intent = appended.id if resumes is None else resumes["intent_record"]
        more = {"approval_id": self.approvals[-1]["id"]} if self.approvals else {}
        self._put_call("running", decision, intent_record=intent, time=appended.time, **more)
        self._touch(appended.id)
        if self.prepared.identity is not None or resumes is not None or self.approvals:
            self.running.begin(self.call_id)
        carried = labels.of_tool(self.deployment, self.prepared.tool)
        return Ticket.begin(
            self.call_id,
            intent,
            self.prepared.tool,
            spends,
            self.session.chain[0].terms.id,
            carried,
            resumed=resumes is not None,
            marked=self.prepared.marked,
            written=appended.id,
        )

    def deny(self, decision: Decision, facts: Facts) -> Refused:
        """Write the refusal, unless enough of its kind are on record, and count it where refusals are limited."""
        standing = decision.code in STANDING
        if standing and self.session.standing.enough(str(decision.code)):
            return Refused(decision, self.call_id)
        if self.txn.get("calls", self.call_id) is not None:
            self.call_id = new_id("c")
        counted_on = [] if standing else [link for link in self.session.chain if link.denied_limit is not None]
        spends = tuple((f"{link.terms.id}/denied", "1") for link in counted_on)
        appended = self.txn.append(self._draft("call.denied", decision, self._common(decision, facts), spends))
        self._put_call("denied", decision, intent_record=appended.id, time=appended.time)
        self._touch(appended.id)
        if not standing:
            self._count_denied(appended.id)
        return Refused(decision, self.call_id)

    def ask(self, decision: Decision, facts: Facts) -> Refused:
        """Put every question that this call still waits for, each once; the first that is open is what it waits for."""
        if self.questions.was_refused():
            return self.deny(self.prepared.refusal("approval_refused", "A person refused exactly this call."), facts)
        needs = needs_of(decision)
        open_now = [self.questions.waiting(rule, decision) for rule, _ in needs]
        known = next((row for row in open_now if row is not None), None)
        if known is not None:
            self.call_id = known["call_id"]
        ids, fresh = [], []
        for (rule, need), row in zip(needs, open_now, strict=True):
            ids.append(row["id"] if row is not None else self._put_question(decision, facts, rule, need))
            if row is None:
                fresh.append(ids[-1])
        if not fresh and known is not None and closing.fades(self.txn, self.session.id):
            asked = self.txn.get("calls", self.call_id)
            assert asked is not None  # asking on keeps the session, so it is on record
            append_replayed(self.deployment, self.txn, self.session.id, self.call_id, asked, joined=False)
        details: dict[str, Any] = {"approvals": ids} if len(ids) > 1 else {}
        if (another := self.questions.another()) is not None:
            details["approved"] = another
            reason = f"{decision.reason} Approval {another} is for another call of this tool; resume it to run that."
            decision = replace(decision, reason=reason)
        remedy = Remedy("await_approval", approval_id=ids[0], details=details)
        return Refused(replace(decision, remedy=remedy), self.call_id, ids[0], tuple(fresh))

    def _put_question(self, decision: Decision, facts: Facts, rule: str, need: ApprovalNeed) -> str:
        approval_id = new_id("a")
        ends = min(link.expires for link in self.session.chain)
        question = approvals.question(approval_id, rule, need, self.txn.now, ends)
        draft = self._draft("approval.requested", decision, self._common(decision, facts) | question)
        self.prepared.draft = None  # one draft is one record, and the next question needs another
        appended = self.txn.append(draft)
        content = self.prepared.content
        approvals.open_question(self.txn, self.session.id, self.call_id, draft.data, content, appended.id)
        existing = self.txn.get("calls", self.call_id)
        if existing is None or existing["state"] != "ask":
            self._put_call("ask", decision, intent_record=appended.id, time=appended.time, approval_id=approval_id)
        return approval_id

    # -- what is counted

    def _spends(self, decision: Decision) -> tuple[tuple[str, str], ...]:
        """What is taken back if the call turns out not to have run: its limits, and the counts that guardrails read."""
        found = taken(self.deployment.ledger, decision.spends, self.facts.now)
        if counts_calls(self.deployment):
            found += tuple((limit, "1") for limit, _ in counted(self.session.id, self.prepared.tool))
        return found

    def _count(self, facts: Facts) -> None:
        if counts_calls(self.deployment):
            both = counted(self.session.id, self.prepared.tool)
            for (limit, _), earlier in zip(both, (facts.around.calls, facts.around.tool_calls), strict=True):
                self.txn.put("counters", limit, value=str(earlier + 1))

    def _count_denied(self, record_id: str) -> None:
        """Past `limits.denied` of any link the session is suspended, until a person resumes it."""
        txn, session = self.txn, self.session
        for link in session.chain:
            allowed = link.denied_limit
            if allowed is None:
                continue
            limit = f"{link.terms.id}/denied"
            refused = spend(txn, limit, "1")
            state = txn.get("sessions", session.id)
            if refused > allowed and state is not None and state["state"] == "open":
                txn.append(
                    self.deployment.ledger.draft(
                        "session.suspended",
                        session=session.id,
                        data={
                            "reason": "denied_limit",
                            "limit": limit,
                            "allowed": str(allowed),
                            "record": record_id,
                        },
                    )
                )
                txn.put("sessions", session.id, state="suspended")

    # -- what is written

    def _common(self, decision: Decision, facts: Facts) -> dict[str, Any]:
        session, prepared = self.session, self.prepared
        acting = session.chain[-1].terms
        data: dict[str, Any] = {
            **prepared.marked.as_record(),
            "call": self.call_id,
            "tool": prepared.tool,
            "principal": session.principal,
            "agent": session.agent,
            "workload": session.workload,
            **attribution.of_row(self.txn.get("sessions", session.id)),
            "grant": acting.id,
            "version": acting.version,
            "chain": [link.digest for link in session.chain],
            "decision": {
                "effect": decision.effect,
                "code": decision.code,
                "rule": decision.rule,
                "clause": decision.clause,
                "enforced": decision.enforced,
            },
            "actions": action_summary(prepared.view.accesses),
            "catalogue": self.deployment.catalogue.digest,
            "evaluator": EVALUATOR,
            "facts": facts_record(facts, guarded=self.deployment.guardrails is not None),
        }
        if self.deployment.guardrails is not None:
            data["guardrails"] = self.deployment.guardrails.digest
        if self.request.definition is not None:
            data["definition"] = self.request.definition.digest
        if self.parent is not None:
            data["parent"] = self.parent
        if (trace := trace_parent()) is not None:
            data["trace"] = trace
        if decision.unbounded:  # names that only the model wrote are counted, not shown
            known = [name for name in decision.unbounded if name in prepared.named]
            data["unbounded"] = {"names": known, "others": len(decision.unbounded) - len(known)}
        return data

    def _draft(self, kind: str, decision: Decision, data: dict[str, Any], spends: Taken = ()) -> Draft:
        """The draft made before the transaction, when it still says what is decided now; else a new one. What the call
        takes of its limits stands in the leaf, except where it tells what arguments held."""
        prepared = self.prepared
        made = prepared.draft
        sums = {limit: value for limit, value in self.facts.counters.items() if ":sum:" in limit}
        told, hidden = spending.split(spends)
        if told:
            data["spends"] = told
        seal = bool(sums or hidden) or prepared.provisional.reason != decision.reason
        if made is not None and made.type == kind and not seal:
            made.data.clear()
            made.data.update(data)
            return made
        private = private_of(self.deployment, prepared, decision.reason)
        if sums:
            private["sums"] = sums  # they say what arguments held, so they are no leaf text
        if hidden:
            private["spends"] = spending.sealed(hidden)
        return self.deployment.ledger.draft(
            kind, session=self.session.id, data=data, private=private, named=prepared.named
        )

    def _put_call(self, state: str, decision: Decision, **more: Any) -> None:
        columns = {
            "session_id": self.session.id,
            "content": self.prepared.content,
            "tool": self.prepared.tool,
            "state": state,
            "code": decision.code,
            "rule": decision.rule,
            "clause": decision.clause,
            "grant_id": self.session.chain[-1].terms.id,
            "writer": self.txn.writer,
            "parent": self.parent,
            **more,
        }
        self.txn.put("calls", self.call_id, **columns)
        closing.note_call(self.txn, self.session.id)

    def _touch(self, record_id: str) -> None:
        """Index what is touched under keyed hashes: `remit who RESOURCE` finds it, a thief of the index does not."""
        for access in {access.uri for access in self.prepared.view.accesses}:
            touch = self.deployment.ledger.keyed("touch", access)
            self.txn.put("touches", f"{touch}:{self.call_id}", touch=touch, call_id=self.call_id, record_id=record_id)


__all__ = ["Attempt"]
