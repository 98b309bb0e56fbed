"""Calls whose record has to be witnessed before their tool runs. Where it is not, the tool does not run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.errors import EvidenceUnavailable, GrantError, UsageError
from remit.testing import Clock
from tests import stores
from tests.core.conftest import TRIAGE, Tool, data, types
from tests.witness.conftest import Start, WitnessProcess

CATALOGUE: dict[str, Any] = {
    "tools": {
        "crm.read_ticket": {"accesses": ["read crm://tickets/{id}"], "read_only": True, "outcome_wait": "queued"},
        "crm.comment": {"accesses": ["write crm://tickets/{id}"], "wait": "witnessed"},
    }
}
COMMENT = {"id": 88, "body": "done"}
TRIAGE_OF_SEARCH = {**TRIAGE, "tools": {"kb.search": "any"}}


class Deployed:
    """An app whose heads one real witness cosigns."""

    def __init__(self, folder: Path, start: Start) -> None:
        self.url = stores.url_for(folder)
        with remit.open(self.url, development=True) as app:
            vkey = app.ledger.verifier_key
        self.witness: WitnessProcess = start(vkey)
        self.policy = folder / "witness.policy"
        self.policy.write_text(self.witness.policy() + "quorum w1\n", encoding="utf-8")

    def open(self, **options: Any) -> remit.App:
        """The app, witnessed."""
        options = {"witnesses": self.policy, "catalogue": CATALOGUE, **options}
        return remit.open(self.url, development=True, **options)


@pytest.fixture
def deployed(tmp_path: Path, start_witness: Start) -> Deployed:
    """A ledger, a witness and a policy."""
    return Deployed(tmp_path, start_witness)


@pytest.mark.requirement("R10")
@pytest.mark.requirement("I2")
def test_with_the_witness_down_a_witnessed_tool_does_not_run_and_others_do(
    deployed: Deployed, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fail closed: the intent is durable, nobody vouches for it, so it ends `not_run` and spends nothing."""
    monkeypatch.setattr("remit.durability.PATIENCE", 0.5)
    deployed.witness.kill()
    with deployed.open() as app, app.session(app.issue(TRIAGE, credential="user:ravi@acme.com")) as session:
        assert session.call("crm.read_ticket", {"id": 88}, run=tool) == "done"
        with pytest.raises(
            EvidenceUnavailable, match=r"crm\.comment did not run: its record has to be witnessed"
        ) as refused:
            session.call("crm.comment", COMMENT, run=tool)
        assert not refused.value.executed
        assert refused.value.call_id is not None
        with pytest.raises(EvidenceUnavailable, match=r"kb\.search did not run"):
            session.call("kb.search", {}, run=tool, wait="witnessed")
        with pytest.raises(EvidenceUnavailable, match=r"crm\.comment did not run"):
            asyncio.run(_asynchronously(session, tool))
        assert tool.calls == [{"id": 88}]
        assert [one["status"] for one in data(app, "call.outcome")] == ["ok", "not_run", "not_run", "not_run"]
        assert [one.get("wait") for one in data(app, "call.intent")] == [None, "witnessed", "witnessed", "witnessed"]
        deployed.witness.start()
        monkeypatch.undo()
        assert session.call("crm.comment", COMMENT, run=tool) == "done"  # its one call was given back
        assert "recorder.degraded" in types(app)


async def _asynchronously(session: remit.Session, tool: Tool) -> Any:
    async def run(**arguments: Any) -> Any:
        return tool(**arguments)

    return await session.acall("crm.comment", COMMENT, run=run)


def test_a_call_may_ask_for_more_and_never_for_less(deployed: Deployed, tool: Tool) -> None:
    """`wait="durable"` does not weaken what the catalogue says."""
    with deployed.open() as app, app.session(app.issue(TRIAGE, credential="user:ravi@acme.com")) as session:
        session.call("crm.comment", COMMENT, run=tool, wait="durable")
        session.call("kb.search", {}, run=tool, wait="sequenced")
        session.call("kb.search", {}, run=tool)
        with pytest.raises(UsageError, match="no level of durability"):
            session.call("kb.search", {}, run=tool, wait="certain")
        assert [one.get("wait") for one in data(app, "call.intent")] == ["witnessed", "sequenced", None]
        comment = next(app.ledger.records(types=["call.intent"]))
        witnesses = app.ledger.company.witnesses
        assert witnesses is not None
        assert witnesses.witnessed > comment.index


def test_a_deployment_may_ask_for_it_of_every_call_and_says_so(deployed: Deployed, tool: Tool) -> None:
    """Policy and level are configuration: recorded when they change, with the policy itself."""
    with (
        deployed.open(wait="witnessed") as app,
        app.session(app.issue(TRIAGE, credential="user:ravi@acme.com")) as session,
    ):
        session.call("kb.search", {}, run=tool)
        [intent] = data(app, "call.intent")
        assert intent["wait"] == "witnessed"
        changed = data(app, "config.changed")[-1]
        assert changed["wait"] == "witnessed"
        assert app.ledger.artefact(changed["witnesses"]).decode() == deployed.policy.read_text(encoding="utf-8")


def test_a_policy_in_the_home_is_in_force_without_being_named(deployed: Deployed, tool: Tool) -> None:
    """Every process of the deployment asks the same witnesses."""
    with deployed.open() as app:
        home = app.ledger.home
    (home / "witness.policy").write_bytes(deployed.policy.read_bytes())
    with (
        deployed.open(witnesses=None) as app,
        app.session(app.issue(TRIAGE, credential="user:ravi@acme.com")) as session,
    ):
        assert session.call("crm.comment", COMMENT, run=tool) == "done"


def test_without_witnesses_a_witnessed_tool_does_not_run(app: remit.App, tool: Tool) -> None:
    """Nobody to ask is not the same as having been told."""
    session = app.session(app.issue(TRIAGE_OF_SEARCH, credential="user:ravi@acme.com"))
    with session, pytest.raises(EvidenceUnavailable, match="no witnesses are known here"):
        session.call("kb.search", {}, run=tool, wait="witnessed")
    assert tool.calls == []


def test_the_outcome_of_a_read_only_tool_may_ride_the_next_commit(tmp_path: Path, clock: Clock, tool: Tool) -> None:
    """Queued is not dropped: it is on record when the session ends, and a later call of the same id is replayed."""
    with stores.temporary(tmp_path, clock=clock, catalogue=CATALOGUE) as app:
        with app.session(app.issue(TRIAGE, credential="user:ravi@acme.com")) as session:
            for _ in range(2):
                assert session.call("crm.read_ticket", {"id": 88}, run=tool, call_id="1", scope="run") == "done"
        assert len(tool.calls) == 1
        assert [one["status"] for one in data(app, "call.outcome")] == ["ok"]


def test_only_a_read_only_tool_may_queue_its_outcome(tmp_path: Path) -> None:
    """What a tool did has to be kept before anybody goes on."""
    with pytest.raises(GrantError, match="not read_only"):
        remit.open(
            f"sqlite:///{tmp_path / 'remit.db'}",
            catalogue={"tools": {"crm.comment": {"accesses": ["write crm://tickets/{id}"], "outcome_wait": "queued"}}},
        )


@pytest.fixture
def tool() -> Tool:
    """A tool body that remembers."""
    return Tool()
