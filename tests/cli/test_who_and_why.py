"""`remit who` and `remit call explain`: who did it, and why it was decided so, as a person reads it."""

from __future__ import annotations

from pathlib import Path

import remit
from tests.cli.conftest import Run, credential
from tests.review.conftest import Tools


def test_who_says_everything_of_each_call(ledger: Run, session_id: str) -> None:
    """Agent, workload, principal, resource, grant with its issuer, binding, decision."""
    said = ledger("who", "CHG-7").words

    for words in (
        "crm.read_ticket what It ran: the clause for crm.read_ticket permits it without anybody's approval. "
        "on read crm://tickets/88",
        "what Refused, so it did not run: resource_out_of_scope. crm.read_ticket would read crm://tickets/89;",
        "agent spiffe://acme.com/agents/triage (claimed) in process:",
        "for user:ravi@acme.com (signed)",
        "bound to change=CHG-7",
        "issued by user:ravi@acme.com",
        "what It has not run: it waits for a person. payments.refund waits for approval by role:finance",
        "3 calls. One of them whole: remit call show CALL",
    ):
        assert words in said


def test_a_call_shows_who_answered_it(ledger: Run, opened: remit.App, session_id: str, folder: Path) -> None:
    """The approver with role and time, and what the grant is bound to."""
    [question] = opened.pending(session_id)
    opened.approve(question.id, credential=credential(folder, "bob@acme.com"))
    opened.join(session_id).resume(question.id, run=Tools()("payments.refund"))

    said = ledger("call", "show", f"{session_id}/3").words
    assert "answered user:bob@acme.com (finance, signed) approved exactly this call at" in said
    assert "bound to change=CHG-7" in said
    [answer] = ledger("call", "show", f"{session_id}/3", "--json").json["answers"]
    assert (answer["by"], answer["answer"]) == ("user:bob@acme.com", "approved")


def test_explain_says_which_condition_failed(ledger: Run, session_id: str) -> None:
    """The decision, that its record gives it again, and the clause with what it did not admit."""
    done = ledger("call", "explain", f"{session_id}/2")

    assert done.code == 0, done.err
    for words in (
        "decided deny resource_out_of_scope by crm.read_ticket:resources",
        "again from the record alone: the same",
        "session open",
        "touches read crm://tickets/89",
        "version 1, in force (",
        "its only clause does not admit it, and decided",
        "- crm.read_ticket would read crm://tickets/89; the grant allows read crm://tickets/88.",
    ):
        assert words in done.words


def test_explain_shows_both_decisions_of_a_call_that_was_asked_about(
    ledger: Run, opened: remit.App, session_id: str, folder: Path
) -> None:
    """Without its approval, and with it."""
    [question] = opened.pending(session_id)
    opened.approve(question.id, credential=credential(folder, "bob@acme.com"))
    opened.join(session_id).resume(question.id, run=Tools()("payments.refund"))

    said = ledger("call", "explain", f"{session_id}/3").words
    first, second = said.index("refunds need finance — not given"), said.index("refunds need finance — given")
    assert said.index("put to a person (record ") < first < said.index("permitted (record ") < second
    asked, ran = ledger("call", "explain", f"{session_id}/3", "--json").json["decisions"]
    assert (asked["decided"]["effect"], ran["decided"]["effect"], ran["same"]) == ("ask", "permit", True)
    assert ran["links"][0]["clauses"][0]["approved"] is True


def test_explain_ends_with_no_where_a_record_does_not_give_its_decision(
    ledger: Run, opened: remit.App, session_id: str
) -> None:
    """Whoever has the keys may write such a record; deciding again finds it."""
    [intent] = (record for record in opened.records(session_id) if record.type == "call.intent")
    data = {**intent.data, "decision": {**intent.data["decision"], "effect": "deny", "code": "guardrail"}}
    draft = opened.ledger.draft("call.denied", session=session_id, data=data, private=intent.disclosed() or {})
    opened.ledger.run(lambda txn: txn.append(draft))

    done = ledger("call", "explain", f"{session_id}/1")
    assert done.code == 1
    assert "from the record alone: permit, which is NOT what was recorded" in done.words
