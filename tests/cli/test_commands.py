"""Each command does what it says, as text and as JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

import remit
from tests.cli.conftest import Run, credential


def read_ticket(**_: object) -> str:
    """A tool body."""
    return "text"


def test_init_makes_a_ledger_and_tells_the_key_to_give_to_verifiers(run: Run, folder: Path) -> None:
    """The output names what to back up and what comes next."""
    done = run("init")

    assert done.code == 0
    assert "its key" in done.out
    assert "remit person add" in done.out
    assert (folder / "policies/people.yaml").exists()


def test_init_never_overwrites(ledger: Run) -> None:
    """A second init is misuse."""
    done = ledger("init")

    assert done.code == 2
    assert "already" in done.err


def test_a_person_is_added_with_a_role_and_listed(ledger: Run) -> None:
    """The people file got a line, the ledger a record, and the list shows both."""
    people = {one["person"]: one for one in ledger("person", "list", "--json").json["people"]}

    assert people["user:bob@acme.com"]["roles"] == ["finance"]
    assert people["user:bob@acme.com"]["state"] == "enrolled"
    assert "user:bob@acme.com" in ledger("person", "list").out


def test_adding_a_role_leaves_comments_in_the_people_file_alone(ledger: Run, folder: Path) -> None:
    """The file belongs to people; a command only adds its line."""
    file = folder / "policies/people.yaml"
    file.write_text(file.read_text(encoding="utf-8") + "# the auditor comes in May\n", encoding="utf-8")

    assert ledger("person", "add", "dora@acme.com", "--role", "auditor").code == 0

    assert "# the auditor comes in May" in file.read_text(encoding="utf-8")


def test_a_role_that_contradicts_the_file_is_refused(ledger: Run) -> None:
    """The file decides; a command does not edit what a person wrote there."""
    done = ledger("person", "add", "bob@acme.com", "--role", "admin")

    assert done.code == 2
    assert "edit the file" in done.err


def test_a_removed_person_proves_nothing(ledger: Run) -> None:
    """After removal, logging in is refused."""
    assert ledger("person", "remove", "bob@acme.com").code == 0

    assert ledger("login", "bob@acme.com").code == 1


def test_login_without_a_key_makes_one_and_says_how_it_gets_enrolled(ledger: Run) -> None:
    """The first login of a new person ends with the line an administrator has to run."""
    done = ledger("login", "eve@acme.com")

    assert done.code == 1
    assert "remit person add eve@acme.com --key" in done.out


def test_grant_check_says_in_sentences_what_is_allowed_and_unbounded(run: Run) -> None:
    """Nobody has to read YAML to know what a grant allows."""
    done = run("grant", "check", "triage.yaml", "-p", "ticket=88")

    assert done.code == 0
    assert "crm.read_ticket may read crm://tickets/88" in done.out
    assert "Unbounded: kb.search" in done.out


def test_grant_check_refuses_with_line_and_reason(run: Run, folder: Path) -> None:
    """A mistake is found where it stands."""
    (folder / "wrong.yaml").write_text("task: t\nprincipal: user:ravi@acme.com\nagnt: agent:x\n", encoding="utf-8")

    done = run("grant", "check", "wrong.yaml")

    assert done.code == 1
    assert "wrong.yaml, line 3" in done.err
    assert "Traceback" not in done.err


def test_a_grant_is_issued_shown_and_revoked(ledger: Run) -> None:
    """The whole life of a grant on the command line."""
    issued = ledger("grant", "issue", "triage.yaml", "-p", "ticket=88", "--key", "k", "--json").json
    again = ledger("grant", "issue", "triage.yaml", "-p", "ticket=88", "--key", "k", "--json").json

    assert issued["parameters"] == {"ticket": 88}
    assert issued["issuer"] == "user:carol@acme.com"
    assert again["grant"] == issued["grant"]
    assert "may read crm://tickets/88" in ledger("grant", "show", issued["grant"]).out

    assert ledger("grant", "revoke", issued["grant"], "--reason", "done").code == 0
    assert ledger("grant", "show", issued["grant"], "--json").json["state"] == "revoked"


def test_a_parameter_of_the_wrong_kind_is_refused_at_its_line(ledger: Run) -> None:
    """`ticket=abc` is no integer."""
    done = ledger("grant", "issue", "triage.yaml", "-p", "ticket=abc")

    assert done.code == 1
    assert "expected an integer" in done.err


def test_issuing_without_saying_who_you_are_is_misuse(run: Run) -> None:
    """Nobody issues in nobody's name."""
    run("init")

    done = run("grant", "issue", "triage.yaml", "-p", "ticket=88")

    assert done.code == 2
    assert "remit login PERSON" in done.err


@pytest.mark.requirement("I5")
def test_development_accepts_a_claim_and_the_pages_say_so(run: Run) -> None:
    """A claimed identity is recorded as claimed, and every page about it says that."""
    run("init")
    grant = run(
        "grant", "issue", "triage.yaml", "-p", "ticket=88", "--development", "--as", "ravi@acme.com", "--json"
    ).json["grant"]
    with remit.open(development=True, catalogue="policies/catalogues/crm.yaml") as app, app.session(grant) as session:
        session.call("crm.read_ticket", {"id": 88}, run=read_ticket)

    assert "claimed, not proved" in run("session", "show", session.id).out
    assert "claimed, not proved" in run("review", "show", session.id).out
    assert "claimed, not proved" in run("call", "show", f"{session.id}/1").out


def test_a_session_is_listed_and_shown_with_its_calls(ledger: Run, session_id: str) -> None:
    """What ran, what was refused and why, what waits."""
    [listed] = ledger("session", "list", "--json").json["sessions"]
    shown = ledger("session", "show", session_id)

    assert listed["calls"] == {"ok": 1, "denied": 1, "ask": 1}
    assert session_id in ledger("session", "list").out
    assert "✓ ok" in shown.out
    assert "resource_out_of_scope" in shown.out
    assert "1 attempt outside it was blocked. 1 call waits for a person's approval." in shown.words


def test_no_page_is_wider_than_a_hundred_columns(ledger: Run, session_id: str) -> None:
    """Piped and kept output reads the same everywhere. Commands to copy stay whole, on lines of their own."""
    for command in (("session", "show", session_id), ("review", "show", session_id), ("session", "list"), ("doctor",)):
        lines = ledger(*command).out.splitlines()
        assert [line for line in lines if len(line) > 100 and "remit " not in line] == []


def test_a_session_is_closed_on_the_record(ledger: Run, opened: remit.App, session_id: str) -> None:
    """The session waits for an approval, so it is open until somebody closes it."""
    assert ledger("session", "show", session_id, "--json").json["session"]["state"] == "open"

    assert ledger("session", "close", session_id, "--reason", "nobody answered").code == 0

    assert ledger("session", "show", session_id, "--json").json["session"]["state"] == "closed"


def test_one_call_is_shown_by_number_and_by_id(ledger: Run, session_id: str) -> None:
    """Both ways lead to the same call, with clause and reason."""
    by_number = ledger("call", "show", f"{session_id}/2", "--json").json
    by_id = ledger("call", "show", by_number["call"], "--json").json

    assert by_number == by_id
    assert by_number["decision"]["code"] == "resource_out_of_scope"
    assert by_number["clause"]["text"] == "crm.read_ticket may read crm://tickets/88."
    assert "refused (resource_out_of_scope)" in ledger("call", "show", f"{session_id}/2").out


def test_only_an_unknown_outcome_is_settled_by_a_person(ledger: Run, session_id: str) -> None:
    """A call that ended needs no settling."""
    done = ledger("call", "resolve", f"{session_id}/1", "--outcome", "ok", "--reason", "seen in the crm")

    assert done.code == 2
    assert "only an unknown outcome" in done.err


def test_a_question_is_listed_with_its_arguments_and_answered(ledger: Run, session_id: str, folder: Path) -> None:
    """The approver sees exactly what would run; who may not answer is told so."""
    [waiting] = ledger("approval", "list", "--json").json["approvals"]
    listed = ledger("approval", "list").out
    key = str(folder / "config/remit/keys/bob@acme.com.pem")

    assert waiting["arguments"] == {"amount": 20}
    assert "refunds need finance" in listed
    refused = ledger("approval", "approve", waiting["approval"])
    assert (refused.code, "this question is for role:finance" in refused.err) == (1, True)
    answered = ledger("approval", "approve", waiting["approval"], "--as", "bob@acme.com", "--key-file", key, "--json")
    assert answered.json["state"] == "approved"
    assert ledger("approval", "list").out == "Nothing waits for an answer.\n"


def test_a_question_is_refused_with_a_reason(ledger: Run, session_id: str, folder: Path) -> None:
    """No is an answer too."""
    [waiting] = ledger("approval", "list", "--json").json["approvals"]
    key = str(folder / "config/remit/keys/bob@acme.com.pem")

    done = ledger(
        "approval", "refuse", waiting["approval"], "--reason", "too much", "--as", "bob@acme.com", "--key-file", key
    )

    assert done.code == 0
    assert "refused" in done.out


def test_who_finds_calls_by_resource_and_by_binding(ledger: Run, session_id: str) -> None:
    """Refused attempts are found too; nothing found is exit 1."""
    assert len(ledger("who", "crm://tickets/89", "--json").json["calls"]) == 1
    assert len(ledger("who", "CHG-7", "--json").json["calls"]) == 3
    assert "for user:ravi@acme.com" in ledger("who", "crm://tickets/88").words
    assert ledger("who", "crm://tickets/1").code == 1


def test_the_review_page_shows_calls_beside_clauses_and_what_was_never_used(ledger: Run, session_id: str) -> None:
    """A reviewer reads one page and knows what there is to decide."""
    page = ledger("review", "show", session_id).out

    assert "the clause that decided" in page
    assert "Granted and never used" in page
    assert "No verdict yet" in page


def test_a_verdict_is_given_and_shown(ledger: Run, session_id: str) -> None:
    """Carol is logged in; her verdict is signed."""
    given = ledger(
        "review", "verdict", session_id, "attempted", "--reason", "attempt_benign", "--comment", "It was curious."
    )

    assert given.code == 0
    assert "decided by user:carol@acme.com (signed)" in given.words
    assert "was judged attempted (attempt_benign)" in ledger("review", "show", session_id).out


def test_the_principal_cannot_give_the_verdict(ledger: Run, session_id: str, folder: Path) -> None:
    """Refused, exit 1, one sentence."""
    key = str(folder / "config/remit/keys/ravi@acme.com.pem")

    done = ledger("review", "verdict", session_id, "within", "--as", "ravi@acme.com", "--key-file", key)

    assert done.code == 1
    assert done.err.count("\n") == 1


def test_verify_says_what_was_recomputed(ledger: Run, session_id: str) -> None:
    """Numbers, not adjectives."""
    done = ledger("verify", "--json")

    assert done.json["verified"] is True
    assert done.json["records"] > 10
    assert "every hash, signature and sequence recomputed" in ledger("verify").out


def test_doctor_finds_nothing_wrong_with_a_fresh_deployment(ledger: Run) -> None:
    """Everything that needs no person is ok or a note."""
    done = ledger("doctor", "--json")

    assert done.code == 0
    states = {one["what"]: one["state"] for one in done.json["findings"]}
    assert states["keys"] == "ok"
    assert states["identities"] == "ok"


def test_doctor_finds_keys_that_others_can_read(ledger: Run, folder: Path) -> None:
    """Exit 1, and the command that mends it."""
    (folder / "remit.db.remit").chmod(0o755)

    done = ledger("doctor")

    assert done.code == 1
    assert "chmod 700" in done.words


def test_tools_are_listed_with_what_is_accepted(ledger: Run, opened: remit.App, folder: Path) -> None:
    """A definition that was seen is in the list."""
    grant = opened.issue("triage.yaml", {"ticket": 88}, credential=credential(folder, "ravi@acme.com"))
    schema = {"type": "object", "properties": {"id": {"type": "integer"}}}
    with opened.session(grant) as session:
        session.call(
            "crm.read_ticket",
            {"id": 88},
            run=read_ticket,
            definition=remit.ToolDefinition("crm.read_ticket", schema, "Read a ticket."),
        )

    [tool] = ledger("tool", "list", "--json").json["tools"]
    assert (tool["key"], tool["state"]) == ("crm.read_ticket", "accepted")
    assert ledger("tool", "accept", "crm.read_ticket").code == 0
