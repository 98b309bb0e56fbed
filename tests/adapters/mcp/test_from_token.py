"""Which grant a request runs under, when it brings it along as a token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mcp import Client
from mcp.server import MCPServer

import remit
import remit_mcp
from remit.signing import SigningKey
from remit.tokens import prove
from remit.tokens.jose import jwk_of
from remit_mcp.wire import DENIAL_META, PROOF_META, TOKEN_META, with_arguments
from tests.adapters.mcp.test_resolvers import ERAS, guarded, over_http

pytestmark = pytest.mark.anyio

Issue = Callable[..., remit.Grant]
Recorded = Callable[[str], list[dict[str, Any]]]
CRM = "https://crm.acme.com/mcp"


def governed(app: remit.App) -> tuple[MCPServer, list[int]]:
    """A server whose requests bring their grants."""
    server, ran = guarded()
    remit_mcp.govern(server, app=app, server="crm", grants=remit_mcp.from_token(audience=CRM))
    return server, ran


def bringing(token: str, proof: str | None = None) -> Any:
    """The `_meta` of a request that brings its grant along."""
    return {TOKEN_META: token, **({PROOF_META: proof} if proof else {})}


@ERAS
async def test_token_is_good_for_call_after_call(app: remit.App, issue: Issue, recorded: Recorded, mode: str) -> None:
    """One session, and the record says that a token proved it."""
    grant = issue({"crm.read_ticket": {"arguments": {"id": 88}}})
    token = app.token(grant, audience=CRM)
    server, ran = governed(app)
    async with over_http(server, "ravi-by-triage", mode) as client:
        for _ in range(2):
            assert not (await client.call_tool("read_ticket", {"id": 88}, meta=bringing(token))).is_error
        refused = await client.call_tool("read_ticket", {"id": 89}, meta=bringing(token))

    assert ran == [88, 88]
    assert (refused.meta or {})[DENIAL_META]["code"] == "argument_out_of_bounds"
    [opened] = recorded("session.opened")
    assert opened["known"] == {"principal": "token", "agent": "token", "workload": "claimed"}
    assert not any(token.encode() in record.body or token in str(record.disclosed()) for record in app.records())


@pytest.mark.requirement("code:audience_mismatch")
async def test_token_for_another_server_is_refused(app: remit.App, issue: Issue, recorded: Recorded) -> None:
    """The refusal is a record with a code of its own."""
    grant = issue({"crm.read_ticket": "any"})
    token = app.token(grant, audience="https://mail.acme.com/mcp")
    server, ran = governed(app)
    async with over_http(server, "ravi-by-triage", "auto") as client:
        result = await client.call_tool("read_ticket", {"id": 88}, meta=bringing(token))

    assert (result.meta or {})[DENIAL_META]["code"] == "audience_mismatch"
    assert ran == []
    assert [denied["decision"]["code"] for denied in recorded("call.denied")] == ["audience_mismatch"]


@pytest.mark.requirement("code:identity_conflict")
@pytest.mark.parametrize("bearer", ["mallory-by-triage", "ravi-by-other"])
async def test_token_of_somebody_else_is_refused(app: remit.App, issue: Issue, bearer: str) -> None:
    """The access token says who asks, and the grant is not theirs."""
    grant = issue({"crm.read_ticket": "any"})
    server, ran = governed(app)
    async with over_http(server, bearer, "auto") as client:
        result = await client.call_tool("read_ticket", {"id": 88}, meta=bringing(app.token(grant, audience=CRM)))
    assert (result.meta or {})[DENIAL_META]["code"] == "identity_conflict"
    assert ran == []


@pytest.mark.parametrize(
    ("meta", "code"),
    [({}, "no_grant"), ({TOKEN_META: 7}, "no_grant"), ({TOKEN_META: "x.y.z"}, "grant_invalid")],
)
async def test_without_a_good_token_nothing_runs(app: remit.App, meta: Any, code: str) -> None:
    """Empty means deny."""
    server, ran = governed(app)
    async with over_http(server, "ravi-by-triage", "auto") as client:
        result = await client.call_tool("read_ticket", {"id": 88}, meta=meta)
    assert (result.meta or {})[DENIAL_META]["code"] == code
    assert ran == []


async def test_bound_token_needs_a_new_proof_each_time(app: remit.App, issue: Issue) -> None:
    """Whoever copies a request cannot make another."""
    holder = SigningKey.generate()
    grant = issue({"crm.read_ticket": "any"})
    token = app.token(grant, audience=CRM, confirm=jwk_of(holder.public))
    server, ran = governed(app)

    async def ask(client: Client, proof: str | None) -> str | None:
        result = await client.call_tool("read_ticket", {"id": 88}, meta=bringing(token, proof))
        code: str | None = (result.meta or {}).get(DENIAL_META, {}).get("code")
        return code

    async with over_http(server, "ravi-by-triage", "auto") as client:
        first, second = (prove(token, holder, audience=CRM, now=app.ledger.now()) for _ in range(2))
        assert [await ask(client, proof) for proof in (first, second)] == [None, None]
        assert [await ask(client, proof) for proof in (None, first)] == ["grant_invalid", "grant_invalid"]
    assert ran == [88, 88]


def test_token_and_proof_go_no_further_than_the_gate() -> None:
    """Neither the server behind the gate nor a proxied one gets them."""
    meta = {TOKEN_META: "t", PROOF_META: "p", "traceparent": "00-1"}
    for method in ("tools/call", "resources/read", "prompts/get"):
        passed = with_arguments(method, {"name": "x", "uri": "u", "_meta": meta}, {})
        assert passed["_meta"] == {"traceparent": "00-1"}
