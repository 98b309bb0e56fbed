"""A process that takes part in another's session may run under another configuration; the log has to say which."""

from __future__ import annotations

from pathlib import Path

import remit
from remit.bundle.exporting import export
from tests.bundle.conftest import Bundle
from tests.core.conftest import CATALOGUE, TRIAGE
from tests.stores import temporary

POLICIES = Path(__file__).parents[2] / "policies" / "guardrails"


def _read(**arguments: int) -> int:
    return arguments["id"]


def test_what_a_joining_process_decides_by_is_on_record(tmp_path: Path) -> None:
    """Its catalogue and guardrails are artefacts of the log, so that its decisions can be taken again and exported."""
    with temporary(tmp_path, catalogue=CATALOGUE) as app:
        grant = app.issue(TRIAGE, credential="user:ravi@acme.com")
        with app.session(grant, key="shared") as session:
            session.call("crm.read_ticket", {"id": 88}, run=_read)
            catalogue = [CATALOGUE, {"tools": {"other.tool": {}}}]
            with remit.open(app.url, development=True, catalogue=catalogue, policies=POLICIES) as joining:
                joined = joining.join(session.id)
                assert joined.call("crm.read_ticket", {"id": 88}, run=_read) == 88
                decided = [record.data for record in joining.records(session.id) if record.type == "call.intent"][-1]
        for named in (decided["catalogue"], decided["guardrails"]):
            assert app.ledger.artefact(named)
        export(app.deployment, tmp_path / "evidence", session=session.id, credential="user:ravi@acme.com")
        Bundle(tmp_path / "evidence", app.ledger.verifier_key).verify()
