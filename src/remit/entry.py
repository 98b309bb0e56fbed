"""Steps (3) and (4) of the way of one call: the store transaction that reserves and records, or refuses and records.

Everything here runs in the writer thread, inside one transaction, and looks at what is true there and then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from remit import approvals, attribution, labels, pins, spending
from remit.asking import Questions, needs_of
from remit.authority.calls import ApprovalNeed, Decision, Facts
from remit.authority.decide import settle
from remit.calls import RESUMABLE, Amended, CallRequest, Entry, Join, Prepared, Refused, Replay, Running, Ticket
from remit.counters import Taken, spend, take, taken, without_own
from remit.errors import DenialCode, GrantError, Remedy
from remit.facts import counted, counts_calls, facts_record, read_facts
from remit.ids import new_id
from remit.prepare import action_summary, private_of
from remit.trace import trace_parent

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Draft, Txn
    from remit.sessions import Session

EVALUATOR: Final = f"remit {version('remit')}"
"""What decided, for whoever re-decides it later."""

STANDING: Final = frozenset({"grant_expired", "not_yet_valid", "grant_revoked", "session_closed", "session_suspended"})
"""Refusals that come before anything about the call itself: a re-entry has to pass them too."""


def job(
    deployment: Deployment,
    running: Running,
    session: Session,
    request: CallRequest,
    prepared: Prepared,
    *,
    parent: str | None,
) -> Callable[[Txn], Entry]:
    """The transaction for one request."""

    def enter(txn: Txn) -> Entry:
        return _Attempt(deployment, running, session, request, prepared, parent, txn).enter()

    return enter


def decide_now(deployment: Deployment, txn: Txn, session: Session, prepared: Prepared) -> Decision | None:
    """The decision at this moment, for `explain`: nothing is written. None when the grant was amended meanwhile."""
    if not session.take_up(txn, prepared.chain):
        return None
    facts = read_facts(txn, session, call=prepared.view)
    return prepared.marked.decision(settle(session.chain, prepared.matched, facts, deployment.guardrails))


class _Attempt:
    """One pass through steps (3) and (4). Holds what its steps share; lives as long as the transaction."""

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

    def enter(self) -> Entry:
        """Decide on what is true now; then write the intent, or the refusal."""
        txn, session, prepared = self.txn, self.session, self.prepared
        session.join(txn)
        try:
            if not session.take_up(txn, prepared.chain):
                return Amended()
        except GrantError:
            return self._invalid()
        session.end_if_idle(txn)
        self.facts = facts = read_facts(txn, session, call=prepared.view)
        session.around = facts.around
        decision = self._settle(facts)
        if decision.code in STANDING:
            return self._deny(decision, facts)
        session.stands_open()
        refusal = self._identity_conflict() or self._tool_changed()
        if refusal is not None:
            return self._deny(refusal, facts)
        earlier = self._earlier()
        if earlier is not None:
            return earlier if not isinstance(earlier, Decision) else self._deny(earlier, facts)
        if self.resumes is not None:
            self.facts = facts = self._without_own(facts, self.resumes)
            decision = self._settle(facts)
        if decision.effect == "ask":
            self._find_approvals(decision)
        elif decision.effect == "deny" and decision.enforced:
            return self._deny(decision, facts)
        wanted = self.request.approval_id
        if wanted is not None and wanted not in {approval["id"] for approval in self.approvals}:
            return self._deny(self._refusal(*self.questions.not_usable(wanted, decision)), facts)
        if self.approvals and decision.effect == "ask":
            rules = facts.approved_rules | {approval["rule"] for approval in self.approvals}
            facts = replace(facts, approved_rules=frozenset(rules))
            decision = self._settle(facts)
        if decision.effect == "deny" and decision.enforced:
            return self._deny(decision, facts)
        if decision.effect == "ask" and decision.enforced:
            return self._ask(decision, facts)
        return self._permit(decision, facts)

    def _settle(self, facts: Facts) -> Decision:
        decision = settle(self.session.chain, self.prepared.matched, facts, self.deployment.guardrails)
        return self.prepared.marked.decision(decision)

    # -- what was before

    def _earlier(self) -> Entry | Decision | None:
        """What an earlier attempt under the same identity came to; None when this one may go on."""
        prepared, txn = self.prepared, self.txn
        if self.request.continues is not None:
            row = txn.get("calls", self.request.continues)
            if row is None or row["session_id"] != self.session.id or row["state"] != "pending":
                return self._refusal("call_conflict", "There is no pending call that this one could continue.")
            if row["content"] != prepared.content:
                return self._refusal("call_conflict", "The pending call that this one continues had other content.")
            self.call_id, self.resumes = self.request.continues, row
            return None
        if prepared.identity is None:
            return None
        known = self.deployment.catalogue.entry(prepared.tool)
        free = RESUMABLE | ({"exception", "cancelled", "unknown"} if known is not None and known.idempotent else set())
        call_id, attempt = prepared.identity, 1
        while (row := txn.get("calls", call_id)) is not None:
            if row["content"] != prepared.content:
                return self._refusal("call_conflict", "The same call id came before with other content.")
            if row["state"] == "running" and row["writer"] != txn.writer and self._writer_is_gone(row):
                row = {**row, "state": "unknown"}
            if row["state"] not in free and not self.questions.in_vain(row):
                return self._met(call_id, row)
            attempt += 1
            call_id = f"{prepared.identity}.{attempt}"
        self.call_id = call_id
        return None

    def _without_own(self, facts: Facts, resumes: Mapping[str, Any]) -> Facts:
        """A call that goes on has spent its share already: what it took does not count against it once more."""
        used = self.txn.get("approvals", resumes["approval_id"]) if resumes["approval_id"] is not None else None
        if used is not None and used["state"] == "used":  # what a person approved goes on; it is not asked about again
            facts = replace(facts, approved_rules=frozenset({used["rule"]}))
        alone = self._settle(replace(facts, counters={}))
        if alone.clause != resumes["clause"]:
            return facts
        return replace(facts, counters=without_own(facts.counters, alone.spends))

    def _met(self, call_id: str, row: Mapping[str, Any]) -> Entry | Decision | None:
        state = row["state"]
        if state == "running":
            if row["writer"] == self.txn.writer:
                if self._is_above(call_id):
                    return self._refusal("call_conflict", "This call runs already, and it is what makes this request.")
                self._append_replayed(call_id, row, joined=True)
                return Join(call_id)
            return self._refusal(
                "outcome_unknown",
                "This call is running in another process.",
                Remedy("retry_after", details={"seconds": 1}),
            )
        if state == "pending":
            self.call_id, self.resumes = call_id, row
            return None
        if state == "ask":
            return self._met_ask(call_id, row)
        if state in ("ok", "tool_error") and row["kept"]:
            self._append_replayed(call_id, row, joined=False)
            return Replay(call_id, row["outcome_record"])
        if state == "unknown":
            return self._refusal(
                "outcome_unknown",
                "This call was begun before and nobody knows whether it ran; a person has to settle that first "
                f"(`remit call resolve {call_id}`).",
            )
        return self._refusal("already_executed", f"This call ran before (it ended {state}); it does not run twice.")

    def _writer_is_gone(self, row: Mapping[str, Any]) -> bool:
        from remit.recovery import recover_writer_of  # recovery needs sessions, and sessions this module

        return recover_writer_of(self.deployment, self.txn, row)

    def _is_above(self, call_id: str) -> bool:
        """Whether this request comes from the tool body of that call, so that waiting for it would never end."""
        above = self.parent
        while above is not None:
            if above == call_id:
                return True
            row = self.txn.get("calls", above)
            above = row["parent"] if row is not None else None
        return False

    def _met_ask(self, call_id: str, row: Mapping[str, Any]) -> Decision | None:
        self.call_id = call_id
        if self.questions.refused(row):
            return self._refusal("approval_refused", "A person refused exactly this call.")
        return None  # decided again, it runs, waits on, or asks what was not asked yet

    def _find_approvals(self, decision: Decision) -> None:
        """Approvals of exactly this call. A request without an identity of its own goes on as the one that asked."""
        self.approvals = self.questions.usable(decision)
        if not self.approvals or self.prepared.identity is not None:
            return
        asked = self.txn.get("calls", self.approvals[0]["call_id"])
        if asked is not None and asked["state"] == "ask":
            self.call_id = asked["id"]

    def _append_replayed(self, call_id: str, row: Mapping[str, Any], *, joined: bool) -> None:
        self.session.note_call(self.txn)
        self.txn.append(
            self.deployment.ledger.draft(
                "call.replayed",
                session=self.session.id,
                data={
                    "call": call_id,
                    "intent": row["intent_record"],
                    "outcome": row["outcome_record"],
                    "joined": joined,
                },
            )
        )

    # -- refusals that depend on the store

    def _invalid(self) -> Refused:
        """What the store holds as the newest version of a grant is none that was signed and recorded here."""
        self.facts = read_facts(self.txn, self.session, call=self.prepared.view)
        reason = f"Grant {self.session.grant_id} is not what was signed here, so it authorises nothing."
        return self._deny(self._refusal("grant_invalid", reason), self.facts)

    def _refusal(self, code: DenialCode, reason: str, remedy: Remedy | None = None) -> Decision:
        return Decision(
            effect="deny",
            code=code,
            rule=f"remit/{code}",
            reason=reason,
            remedy=remedy or Remedy("stop"),
            clause=None,
            accesses=self.prepared.view.accesses,
            spends=(),
            need=None,
            unbounded=(),
        )

    def _identity_conflict(self) -> Decision | None:
        claimed = self.request.claimed
        session = self.session
        for name, authentic in (
            ("principal", session.principal),
            ("agent", session.agent),
            ("grant", session.grant_id),
        ):
            said = claimed.get(name)
            if said is not None and said != authentic:
                self.txn.append(
                    self.deployment.ledger.draft(
                        "identity.conflict",
                        session=session.id,
                        data={"about": name, "authentic": authentic},
                        private={"claimed": said},
                    )
                )
                return self._refusal("identity_conflict", f"The {name} that the request claims is not the session's.")
        return None

    def _tool_changed(self) -> Decision | None:
        refusal = pins.check(self.deployment, self.txn, self.request, self.prepared.tool)
        return None if refusal is None else self._refusal(*refusal)

    # -- the four endings

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
        self.session.note_call(self.txn)

    def _permit(self, decision: Decision, facts: Facts) -> Ticket:
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
        )

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

    def _touch(self, record_id: str) -> None:
        """Index what is touched under keyed hashes: `remit who RESOURCE` finds it, a thief of the index does not."""
        for access in {access.uri for access in self.prepared.view.accesses}:
            touch = self.deployment.ledger.keyed("touch", access)
            self.txn.put("touches", f"{touch}:{self.call_id}", touch=touch, call_id=self.call_id, record_id=record_id)

    def _deny(self, decision: Decision, facts: Facts) -> Refused:
        standing = decision.code in STANDING
        if standing and self.session.stands_refused(str(decision.code)):
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

    def _ask(self, decision: Decision, facts: Facts) -> Refused:
        """Put every question that this call still waits for, each once; the first that is open is what it waits for."""
        if self.questions.was_refused():
            return self._deny(self._refusal("approval_refused", "A person refused exactly this call."), facts)
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
        if not fresh and known is not None and self.session.fades(self.txn):
            asked = self.txn.get("calls", self.call_id)
            assert asked is not None
            self._append_replayed(self.call_id, asked, joined=False)  # asking on keeps the session, so it is on record
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
