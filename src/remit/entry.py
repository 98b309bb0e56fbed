"""Steps (3) and (4) of the way of one call: the store transaction that reserves and records, or refuses and records.

Everything here runs in the writer thread, inside one transaction, and looks at what is true there and then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from remit import approvals, attribution, labels
from remit.authority.calls import Decision, Facts
from remit.authority.decide import settle
from remit.calls import RESUMABLE, Amended, CallRequest, Entry, Join, Prepared, Refused, Replay, Running, Ticket
from remit.counters import spend, take, taken, without_own
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
    return settle(session.chain, prepared.matched, facts, deployment.guardrails)


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
        session.note_call(txn)
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
            self._find_approvals()
        wanted = self.request.approval_id
        if wanted is not None and wanted not in {approval["id"] for approval in self.approvals}:
            return self._deny(self._not_approved(wanted), facts)
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
        return settle(self.session.chain, self.prepared.matched, facts, self.deployment.guardrails)

    def _usable(self) -> list[Mapping[str, Any]]:
        """Unused approvals of exactly this call. One that a guardrail asked for holds under that guardrail only: other
        guardrails since then may mean something else by the same rule."""
        found = approvals.usable(self.txn, self.session.id, self.prepared.content, self.request.approval_id)
        guardrails = self.deployment.guardrails
        if guardrails is None:
            return found
        return [
            row
            for row in found
            if not guardrails.has(row["rule"])
            or self.deployment.ledger.record_in(self.txn, row["requested_record"]).data.get("guardrails")
            == guardrails.digest
        ]

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
            if row["state"] not in free and not self._asked_in_vain(row):
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

    def _met_ask(self, call_id: str, row: Mapping[str, Any]) -> Entry | Decision | None:
        self.call_id = call_id
        approval = self.txn.get("approvals", row["approval_id"])
        assert approval is not None
        if approval["state"] == "approved":
            return None
        if approval["state"] == "requested":
            return Refused(approvals.still_waiting(approval), call_id, approval["id"])
        return self._refusal("approval_refused", "A person refused exactly this call.")

    def _asked_in_vain(self, row: Mapping[str, Any]) -> bool:
        """Whether an earlier attempt asked and got no answer in time, or its answer let another call run."""
        if row["state"] != "ask":
            return False
        approval = self.txn.get("approvals", row["approval_id"])
        assert approval is not None
        return approvals.lapse(self.deployment, self.txn, approval) or approval["state"] in ("lapsed", "used")

    def _find_approvals(self) -> None:
        """Approvals of exactly this call. A request without an identity of its own goes on as the one that asked."""
        self.approvals = self._usable()
        if not self.approvals or self.prepared.identity is not None:
            return
        asked = self.txn.get("calls", self.approvals[0]["call_id"])
        if asked is not None and asked["state"] == "ask":
            self.call_id = asked["id"]

    def _not_approved(self, approval_id: str) -> Decision:
        row = self.txn.get("approvals", approval_id)
        if row is not None and row["session_id"] == self.session.id:
            if approvals.lapse(self.deployment, self.txn, row) or row["state"] == "lapsed":
                return self._refusal("approval_expired", "The approval lapsed before it was used.")
            if row["state"] == "used":
                return self._refusal("already_executed", "This approval was used; it lets one call run, once.")
        return self._refusal("approval_mismatch", "The approval does not cover this call.")

    def _append_replayed(self, call_id: str, row: Mapping[str, Any], *, joined: bool) -> None:
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
        definition = self.request.definition
        if definition is None:
            return None
        row = self.txn.get("tools", self.prepared.tool)
        if row is not None and row["state"] == "accepted" and row["digest"] == definition.digest:
            return None
        data: dict[str, Any] = {
            "tool": self.prepared.tool,
            "definition": self.txn.artefact(definition.content, "application/vnd.remit.tool+json"),
            "schema": definition.schema_digest,
            "text": definition.text_digest,
        }
        stored = {
            "digest": definition.digest,
            "schema_digest": definition.schema_digest,
            "text_digest": definition.text_digest,
        }
        ledger = self.deployment.ledger
        if row is None:
            accepted = self.txn.append(ledger.draft("tool.accepted", data={**data, "basis": "first_sight"}))
            self.txn.put("tools", self.prepared.tool, **stored, state="accepted", record_id=accepted.id)
            return None
        if row["state"] == "accepted" or row["digest"] != definition.digest:
            changed = self.txn.append(ledger.draft("tool.changed", data={**data, "accepted": row["digest"]}))
            self.txn.put("tools", self.prepared.tool, **stored, state="changed", record_id=changed.id)
        return self._refusal(
            "tool_changed",
            f"The definition of {self.prepared.tool} changed since it was accepted; a person has to accept it.",
        )

    # -- the four endings

    def _common(self, decision: Decision, facts: Facts) -> dict[str, Any]:
        session, prepared = self.session, self.prepared
        acting = session.chain[-1].terms
        data: dict[str, Any] = {
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

    def _draft(self, kind: str, decision: Decision, data: dict[str, Any]) -> Draft:
        """The draft made before the transaction, when it still says what is decided now; else a new one."""
        prepared = self.prepared
        made = prepared.draft
        sums = {limit: value for limit, value in self.facts.counters.items() if ":sum:" in limit}
        if made is not None and made.type == kind and prepared.provisional.reason == decision.reason and not sums:
            made.data.clear()
            made.data.update(data)
            return made
        private = private_of(prepared, decision.reason)
        if sums:
            private["sums"] = sums  # they say what arguments held, so they are no leaf text
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
        appended = txn.append(self._draft(kind, decision, data))
        for approval in self.approvals:
            approvals.use(self.deployment, txn, approval, call_id=self.call_id, intent=appended.id)
        intent = appended.id if resumes is None else resumes["intent_record"]
        more = {"approval_id": self.approvals[-1]["id"]} if self.approvals else {}
        self._put_call("running", decision, intent_record=intent, time=appended.time, **more)
        self._touch(appended.id)
        if self.prepared.identity is not None or resumes is not None or self.approvals:
            self.running.begin(self.call_id)
        carried = labels.of_tool(self.deployment, self.prepared.tool)
        spends = () if resumes is not None else self._spends(decision)
        return Ticket.begin(
            self.call_id,
            intent,
            self.prepared.tool,
            spends,
            self.session.chain[0].terms.id,
            carried,
            resumed=resumes is not None,
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
        appended = self.txn.append(self._draft("call.denied", decision, self._common(decision, facts)))
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
        if approvals.was_refused(self.txn, self.session.id, self.prepared.content):
            return self._deny(self._refusal("approval_refused", "A person refused exactly this call."), facts)
        waiting = approvals.waiting(self.txn, self.session.id, self.prepared.content, decision.rule)
        if waiting is not None:
            return Refused(decision, waiting["call_id"], waiting["id"])
        approval_id = new_id("a")
        data = self._common(decision, facts) | approvals.question(approval_id, decision, self.txn.now)
        appended = self.txn.append(self._draft("approval.requested", decision, data))
        approvals.open_question(self.txn, approval_id, self.session.id, data, self.prepared.content, appended.id)
        self._put_call("ask", decision, intent_record=appended.id, time=appended.time, approval_id=approval_id)
        return Refused(decision, self.call_id, approval_id, fresh_approval=True)
