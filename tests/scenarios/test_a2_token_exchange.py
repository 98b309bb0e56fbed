"""Scenario A2 runs as it stands, and its ledger answers the questions that it is about."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import remit

SCENARIO = Path(__file__).parents[2] / "examples" / "scenarios" / "a2_token_exchange.py"
TRIAGE, BILLING = "spiffe://acme.com/agents/triage", "spiffe://acme.com/agents/billing"


def test_runs_offline_and_tells_a_readable_story() -> None:
    """As a person runs it."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(SCENARIO)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    for line in (
        f"Exchanged for https://billing.acme.com: {TRIAGE} → {BILLING}.",
        "GET  /invoices/43 → refused, resource_out_of_scope",
        "A second exchange → refused, delegation_widened: the exchanged token is wider: it may admin",
        f"permit post https://billing.acme.com/refunds: alice@acme.com through {TRIAGE} → {BILLING}",
        f"billing.post, ok: {TRIAGE} → {BILLING} for user:alice@acme.com",
        "Verified: 12 records.",
    ):
        assert line in done.stdout


@pytest.mark.requirement("A2")
def test_each_call_is_attributed_to_the_whole_chain(tmp_path: Path) -> None:
    """Subject, first workload, both agents in order, audience, method and path, and digests of both tokens."""
    sys.path.insert(0, str(SCENARIO.parent))
    try:
        import a2_token_exchange as scenario  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(SCENARIO.parent))
    client = scenario.Client(
        "billing-agent", BILLING, secret="s3cret-of-the-billing-agent", audiences=frozenset({scenario.API})
    )
    url = f"sqlite:///{tmp_path}/remit.db"
    with scenario.running(client) as idp, remit.open(url, development=True, catalogue=scenario.CATALOGUE) as app:
        session_id = scenario.run(app, idp)
        records = list(app.records(session_id))
        opened, exchanged = (
            next(record for record in records if record.type == kind)
            for kind in ("session.opened", "identity.exchanged")
        )
        calls = [record for record in records if record.type == "call.intent"]

        assert opened.data["token"]["digest"] == exchanged.data["tokens"][0]
        assert [(call.disclosed() or {})["accesses"] for call in calls] == [
            ["get https://billing.acme.com/invoices/42"],
            ["post https://billing.acme.com/refunds"],
        ]
        for call in calls:
            assert call.data["principal"] == "user:alice@acme.com"
            assert call.data["workload"] == scenario.WORKLOAD
            assert call.data["delegation"] == {
                "subject": "alice@acme.com",
                "actors": [TRIAGE, BILLING],
                "audience": [scenario.API],
                "tokens": exchanged.data["tokens"],
                "exchange": exchanged.id,
            }
        refused = [record.data for record in records if record.type == "identity.exchanged"][1]
        assert (refused["effect"], refused["code"], refused["widened"]) == ("deny", "delegation_widened", ["scope"])
        app.verify()

    done = subprocess.run(
        [sys.executable, "-m", "remit", "who", "https://billing.acme.com/refunds", "--url", url, "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    [deed] = json.loads(done.stdout)["calls"]
    assert (deed["principal"], deed["through"], deed["tool"]) == (
        "user:alice@acme.com",
        [TRIAGE, BILLING],
        "billing.post",
    )
