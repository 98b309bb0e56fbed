"""The verifier knows everything that a person can sign: what it refuses in `test_lies.py` is not what people do."""

from __future__ import annotations

import ast
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.fsck import repair
from remit.remit_verify import ACTS, RECORD_TYPES, Files, roots_of, verify
from remit.testing import Clock, temporary
from tests.core.conftest import CATALOGUE, PEOPLE, TRIAGE, Tool
from tests.core.test_recovery import _die
from tests.stores import tamper, url_for
from tests.tokens.test_grants_as_tokens import OTHER, deployment_verifier

pytestmark = [pytest.mark.sqlite, pytest.mark.changes_evidence]

SOURCE = Path(remit.__file__).parent
TOOL = remit.ToolDefinition("kb.search", {"type": "object", "properties": {"query": {}}}, "Search the handbook")
MORE = remit.ToolDefinition("kb.search", {"type": "object", "properties": {"query": {}, "to": {}}}, "Search it")
GRANT: dict[str, Any] = {**TRIAGE, "delegation": {"depth": 1}, "limits": {"calls": 30, "denied": 1}}
CHILD: dict[str, Any] = {
    "task": "Read ticket 88",
    "agent": "spiffe://acme.com/agents/reader",
    "expires_in": "10m",
    "limits": {"calls": 3, "denied": 1},
    "tools": {"crm.read_ticket": {"resources": ["read crm://tickets/88"]}},
}


def test_every_act_in_the_source_is_known_to_the_verifier() -> None:
    """Somebody who adds an act adds it there, too, or bundles would not verify."""
    named = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "act" and isinstance(node.value, ast.Constant):
                named.add(node.value.value)
    assert named
    assert named <= ACTS.keys()
    assert {kind for kinds in ACTS.values() for kind in kinds} <= RECORD_TYPES.keys()


def signed(files: dict[str, bytes]) -> set[str]:
    """The acts that were signed, as the records of a bundle say."""
    found = set()
    for name in files:
        if name.startswith("records/"):
            for node in _mappings(json.loads(files[name])):
                if "statement" in node:
                    found.add(json.loads(node["statement"])["act"])
    return found


def _mappings(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, dict):
        return [node, *(found for item in node.values() for found in _mappings(item))]
    return [found for item in node for found in _mappings(item)] if isinstance(node, list) else []


def verified(app: remit.App, folder: Path, credential: remit.Credential) -> set[str]:
    """Export every record, verify that, and say which acts it holds."""
    app.export(folder, start="0", credential=credential)
    keys = [epoch.text for epoch in app.ledger.keys.epochs]
    found = verify(Files.open(folder), roots_of(keys))
    files = {one.relative_to(folder).as_posix(): one.read_bytes() for one in folder.rglob("*") if one.is_file()}
    assert found.statements > 0
    files["records/export"] = files["exported/record"]
    return signed(files)


class Ticking(Clock):
    """A clock that goes on a little whenever somebody looks, as every real one does."""

    def __call__(self) -> datetime:
        self.forward(milliseconds=1)
        return self.now


@pytest.fixture
def people() -> dict[str, remit.Credential]:
    """Keys of everybody."""
    return {name: remit.Credential.generate(f"{name}@acme.com") for name in ("ravi", "bob", "carol", "dora")}


@pytest.mark.requirement("attacks:lies")
def test_every_act_of_a_person_verifies(tmp_path: Path, people: dict[str, remit.Credential]) -> None:
    """One of each, with keys, in one log; another one takes a grant over. Nothing that is known is left out."""
    clock = Ticking()
    ravi, carol = people["ravi"], people["carol"]
    with _opened(tmp_path / "one", clock, people) as app:
        grant = _authority(app, people)
        _calls(app, grant, people)
        _reviewing(app, people)
        _settling(app, tmp_path / "one", people)
        token = app.token(grant, audience=OTHER, credential=ravi)
        with _opened(tmp_path / "two", clock, people) as other:
            other.accept(token, verifier=deployment_verifier(app), credential=ravi)
            acts = verified(other, tmp_path / "taken", carol)
        app.revoke(grant.id, reason="done", credential=ravi)
        app.remove("dora@acme.com", credential=ravi)
        app.rotate_key(reason="a test", credential=ravi)
        acts |= verified(app, tmp_path / "bundle", carol)
    assert acts == ACTS.keys()


def _opened(folder: Path, clock: Clock, people: dict[str, remit.Credential]) -> Any:
    folder.mkdir()
    options: dict[str, Any] = {"clock": clock, "catalogue": CATALOGUE, "people": PEOPLE, "development": False}
    with temporary(folder, **options) as app:
        for number, credential in enumerate(people.values()):
            app.enrol(credential.subject, credential.public_key, credential=people["ravi"] if number else None)
    return temporary(folder, **options)


def _authority(app: remit.App, people: dict[str, remit.Credential]) -> remit.Grant:
    """Issued, handed on, not handed on wider, asked for more, amended."""
    ravi = people["ravi"]
    app.authenticate(ravi)
    grant = app.issue(GRANT, credential=ravi)
    app.delegate(grant, CHILD, credential=ravi)
    with pytest.raises(remit.DelegationWidened):
        app.delegate(grant, {**CHILD, "tools": {"bash": "any"}}, credential=ravi)
    with app.session(grant) as session:
        asked = session.request({"limits": {"calls": 40, "denied": 1}}, reason="more to do")
    app.refuse_request(asked.id, reason="no", credential=ravi)
    return app.amend(grant, {"task": "Triage ticket 88"}, credential=ravi)


def _calls(app: remit.App, grant: remit.Grant, people: dict[str, remit.Credential]) -> None:
    """Approved and refused; a tool that was changed and accepted; a session suspended, resumed, closed by a person."""
    tool = Tool()
    session = app.session(grant, key="one").open()
    for amount, answer in ((20, app.approve), (21, app.refuse)):
        with pytest.raises(remit.ApprovalRequired) as asked:
            session.call("payments.refund", {"order": "ord_4711", "amount": amount}, run=tool)
        answer(asked.value.approval_id, credential=people["bob"])
    session.call("kb.search", {"query": "a"}, run=tool, definition=TOOL)
    with pytest.raises(remit.Denied):
        session.call("kb.search", {"query": "a"}, run=tool, definition=MORE)
    app.accept_tool("kb.search", credential=people["ravi"])
    for _ in range(3):
        with pytest.raises(remit.Denied):
            session.call("bash", {}, run=tool)
    app.resume_session(session.id, credential=people["ravi"])
    app.close_session(session.id, "enough", credential=people["ravi"])
    app.verdict(session.id, "within", credential=people["carol"])


def _reviewing(app: remit.App, people: dict[str, remit.Credential]) -> None:
    """Text revealed, disclosed and erased."""
    carol = people["carol"]
    intent = next(record for record in app.records() if record.type == "call.intent")
    app.reveal(intent.id, "/arguments/query", credential=carol)
    app.disclose(intent.id, "/arguments/query", recipient="an auditor", credential=carol)
    app.erase(session=intent.session, reason="asked for", basis="GDPR 17", credential=carol)


def _settling(app: remit.App, folder: Path, people: dict[str, remit.Credential]) -> None:
    """A process that dies in a tool; a read model that somebody changed."""
    grant = app.issue({**GRANT, "tools": {"kb.search": "any"}}, credential=people["ravi"])
    _die(url_for(folder), grant.id, folder / "ran")
    with app.session(grant.id, key="shared") as session, pytest.raises(remit.Denied):
        session.call("kb.search", {"query": "a"}, run=Tool(), call_id="call_1", scope="run-1")
    unknown = next(record for record in app.records() if record.data.get("status") == "unknown")
    app.resolve(unknown.data["call"], "ok", reason="the index shows it", credential=people["ravi"])
    tamper(folder, "UPDATE counters SET value = '7'")
    repair(app.deployment, people["ravi"])
