"""Results by policy and by size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import remit
from remit.marks import for_people
from remit.testing import Clock, temporary
from tests.privacy.conftest import OPEN, PIN, RAVI, everything_said, places, records

CATALOGUE: dict[str, Any] = {
    "tools": {
        "bank.login": {"result": "commit"},
        "bank.note": {"result": "redact"},
        "bank.dump": {"idempotent": True, "read_only": True},
    }
}
GRANT = {**OPEN, "tools": dict.fromkeys(CATALOGUE["tools"], "any")}


@pytest.mark.requirement("privacy:results")
class TestAResult:
    @pytest.fixture
    def app(self, tmp_path: Path, clock: Clock) -> Any:
        with temporary(tmp_path, clock=clock, catalogue=CATALOGUE, privacy=remit.Privacy(results=100)) as opened:
            yield opened

    def called(self, app: remit.App, tool: str, result: Any) -> remit.Record:
        with app.session(app.issue(GRANT, credential=RAVI)) as session:
            assert session.call(tool, {}, run=lambda: result) == result
        return records(app, "call.outcome")[-1]

    def test_of_a_tool_that_says_commit_is_only_committed_to(self, app: remit.App, tmp_path: Path) -> None:
        """The ledger has its commitment and its size."""
        outcome = self.called(app, "bank.login", PIN)

        assert outcome.data["result"] == {"kept": False, "why": "policy", "size": len(PIN) + 2}
        assert outcome.private["result"]["hidden"] == ["policy"]
        assert places(PIN, tmp_path) == []
        assert not [text for text in everything_said(app) if PIN in text]

    def test_that_is_larger_than_the_deployment_keeps_is_only_committed_to(self, app: remit.App) -> None:
        """The number is the deployment's, and recorded."""
        assert self.called(app, "bank.dump", "x" * 98).data["result"] == {"kept": True}
        assert self.called(app, "bank.dump", "x" * 99).data["result"] == {"kept": False, "why": "size", "size": 101}
        assert records(app, "config.changed")[-1].data["privacy"]["results"] == 100

    def test_that_is_redact_is_kept_and_shown_masked(self, app: remit.App) -> None:
        """Until somebody reveals it."""
        outcome = self.called(app, "bank.note", PIN)

        said = outcome.disclosed()
        assert said is not None
        assert for_people(outcome, said)["result"] == "[redacted]"
        assert app.reveal(outcome.id, "/result", credential="user:carol@acme.com") == PIN

    def test_that_was_not_kept_is_not_given_again(self, app: remit.App) -> None:
        """The call does not run twice for it."""
        with app.session(app.issue(GRANT, credential=RAVI)) as session:
            session.call("bank.dump", {}, run=lambda: "x" * 200, call_id="1", scope="s")
            with pytest.raises(remit.Denied) as caught:
                session.call("bank.dump", {}, run=lambda: "x" * 200, call_id="1", scope="s")
        assert caught.value.code == "already_executed"

    def test_by_the_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """`$REMIT_RESULTS`, where the program says nothing."""
        monkeypatch.setenv("REMIT_RESULTS", "10")
        with temporary(tmp_path / "other", catalogue=CATALOGUE) as app:
            assert self.called(app, "bank.dump", "x" * 20).data["result"]["why"] == "size"
