"""Which grant a request runs under: by reference, from a template, fixed; and who the caller is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server import MCPServer
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from pydantic import AnyHttpUrl

import remit
import remit_mcp
from remit.testing import Clock
from remit_mcp.wire import DENIAL_META, GRANT_META

pytestmark = pytest.mark.anyio

Issue = Callable[..., remit.Grant]
Recorded = Callable[[str], list[dict[str, Any]]]

ERAS = pytest.mark.parametrize("mode", ["legacy", "auto"], ids=["handshake era", "modern era"])
URL = "http://127.0.0.1:8000"
TOKENS = {
    "ravi-by-triage": ("triage", "ravi@acme.com", None),
    "ravi-by-exchange": ("gateway", "ravi@acme.com", "agent:triage"),
    "mallory-by-triage": ("triage", "mallory@acme.com", None),
    "ravi-by-other": ("other", "ravi@acme.com", None),
}
"""Token → client id, subject, acting party."""


class Verifier:
    """Knows a few tokens."""

    async def verify_token(self, token: str) -> AccessToken | None:
        """The token's claims, as an authorization server would vouch for them."""
        if token not in TOKENS:
            return None
        client, subject, act = TOKENS[token]
        claims = {"iss": "https://idp.acme.com", **({"act": {"sub": act}} if act else {})}
        return AccessToken(
            token=token, client_id=client, scopes=["crm"], subject=subject, claims=claims, resource=f"{URL}/mcp"
        )


def naming(grant: str) -> Any:
    """The `_meta` of a request that names its grant."""
    return {GRANT_META: grant}


def crm(**options: Any) -> tuple[MCPServer, list[int]]:
    """A server with one tool, and what it read."""
    ran: list[int] = []
    server = MCPServer("crm", **options)

    @server.tool()
    def read_ticket(id: int) -> str:
        ran.append(id)
        return f"ticket {id}"

    return server, ran


@asynccontextmanager
async def over_http(server: MCPServer, token: str, mode: str) -> AsyncIterator[Client]:
    """The SDK's client against the server's ASGI app, in one process, with a bearer token."""
    asgi = server.streamable_http_app()
    async with (
        asgi.router.lifespan_context(asgi),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(asgi), base_url=URL, headers={"Authorization": f"Bearer {token}"}
        ) as http,
        Client(streamable_http_client(f"{URL}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


def guarded() -> tuple[MCPServer, list[int]]:
    """A server behind OAuth."""
    settings = AuthSettings(
        issuer_url=AnyHttpUrl("https://idp.acme.com"),
        resource_server_url=AnyHttpUrl(f"{URL}/mcp"),
        required_scopes=["crm"],
        validate_token_resource=True,
    )
    return crm(token_verifier=Verifier(), auth=settings)


class TestByReference:
    """The client names a grant; that it is the client's is proved by its token."""

    @pytest.mark.requirement("I5")
    @ERAS
    @pytest.mark.parametrize("token", ["ravi-by-triage", "ravi-by-exchange"])
    async def test_is_honoured_for_the_agent_and_principal_that_the_grant_names(
        self, app: remit.App, issue: Issue, recorded: Recorded, token: str, mode: str
    ) -> None:
        """The acting party of an exchanged token counts before the client id."""
        grant = issue({"crm.read_ticket": {"arguments": {"id": 88}}})
        server, ran = guarded()
        remit_mcp.govern(server, app=app, server="crm", grants=remit_mcp.by_reference())
        async with over_http(server, token, mode) as client:
            result = await client.call_tool("read_ticket", {"id": 88}, meta=naming(grant.id))

        assert not result.is_error
        assert ran == [88]
        assert recorded("call.intent")[0]["grant"] == grant.id

    @pytest.mark.requirement("I5")
    @pytest.mark.requirement("code:identity_conflict")
    @ERAS
    @pytest.mark.parametrize("token", ["mallory-by-triage", "ravi-by-other"])
    async def test_is_refused_for_anyone_else(
        self, app: remit.App, issue: Issue, recorded: Recorded, token: str, mode: str
    ) -> None:
        """A grant's id is no secret: who else sends it gets nothing, and costs the grant's holder nothing."""
        grant = issue({"crm.read_ticket": {"arguments": {"id": 88}}})
        server, ran = guarded()
        remit_mcp.govern(server, app=app, server="crm", grants=remit_mcp.by_reference())
        async with over_http(server, token, mode) as client:
            result = await client.call_tool("read_ticket", {"id": 88}, meta=naming(grant.id))

        assert (result.meta or {})[DENIAL_META]["code"] == "identity_conflict"
        assert ran == []
        assert [denied["decision"]["code"] for denied in recorded("call.denied")] == ["identity_conflict"]
        assert recorded("session.opened") == []

    async def test_may_change_from_call_to_call(self, app: remit.App, issue: Issue, recorded: Recorded) -> None:
        """One client may work under two grants by turns: neither session ends for the other."""
        grants = [issue({"crm.read_ticket": {"arguments": {"id": number}}}) for number in (1, 2)]
        server, ran = guarded()
        remit_mcp.govern(server, app=app, server="crm", grants=remit_mcp.by_reference())
        async with over_http(server, "ravi-by-triage", "auto") as client:
            for number in (1, 2, 1):
                meta = naming(grants[number - 1].id)
                assert not (await client.call_tool("read_ticket", {"id": number}, meta=meta)).is_error

        assert ran == [1, 2, 1]
        assert len(recorded("session.opened")) == 2

    @pytest.mark.requirement("code:identity_conflict")
    async def test_without_a_token_is_refused(self, app: remit.App, issue: Issue) -> None:
        """Nobody is authenticated on stdio, so no reference can be theirs."""
        grant = issue({"crm.read_ticket": "any"})
        server, ran = crm()
        remit_mcp.govern(server, app=app, server="crm", grants=remit_mcp.by_reference())
        async with Client(server, mode="legacy") as client:
            result = await client.call_tool("read_ticket", {"id": 88}, meta=naming(grant.id))

        assert (result.meta or {})[DENIAL_META]["code"] == "identity_conflict"
        assert ran == []

    @pytest.mark.requirement("code:no_grant")
    @pytest.mark.parametrize("meta", [None, naming("g-nobody-made")], ids=["none named", "unknown"])
    async def test_without_a_grant_is_no_grant(self, app: remit.App, recorded: Recorded, meta: Any) -> None:
        """Naming nothing, or nothing that exists, grants nothing."""
        server, ran = crm()
        remit_mcp.govern(server, app=app, server="crm", grants=remit_mcp.by_reference())
        async with Client(server, mode="legacy") as client:
            result = await client.call_tool("read_ticket", {"id": 88}, meta=meta)

        assert (result.meta or {})[DENIAL_META]["code"] == "no_grant"
        assert [denied["decision"]["code"] for denied in recorded("call.denied")] == ["no_grant"]
        assert ran == []


class TestFromTemplate:
    """Each burst of work gets a grant of its own."""

    async def test_parameters_may_come_from_the_authenticated_caller(
        self, app: remit.App, granted: Callable[..., dict[str, Any]], recorded: Recorded
    ) -> None:
        """Whose authority it is, is what the token says."""
        who = {"who": {"email": {"domains": ["acme.com"]}}}
        template = granted({"crm.read_ticket": "any"}, principal="user:${who}", template="crm", parameters=who)

        def parameters(caller: remit_mcp.Caller) -> dict[str, str]:
            assert caller.principal is not None
            return {"who": caller.principal.removeprefix("user:")}

        grants = remit_mcp.from_template(template, parameters, credential="user:ops@acme.com")
        for token in ("ravi-by-triage", "mallory-by-triage"):
            server = remit_mcp.govern(guarded()[0], app=app, server="crm", grants=grants)
            async with over_http(server, token, "auto") as client:
                assert not (await client.call_tool("read_ticket", {"id": 88})).is_error

        both = ["user:ravi@acme.com", "user:mallory@acme.com"]
        assert [issued["principal"] for issued in recorded("grant.issued")] == both
        assert [intent["principal"] for intent in recorded("call.intent")] == both

    @pytest.mark.requirement("code:session_suspended")
    async def test_suspended_session_is_not_escaped_by_waiting(
        self, app: remit.App, granted: Callable[..., dict[str, Any]], recorded: Recorded, clock: Clock
    ) -> None:
        """Past its limit of refusals an agent waits for a person, not for the next burst."""
        template = granted({"crm.read_ticket": {"arguments": {"id": 88}}}, limits={"denied": 1}, expires_in="4h")
        server, ran = crm()
        grants = remit_mcp.from_template(template, idle="30m", credential="user:ravi@acme.com")
        remit_mcp.govern(server, app=app, server="crm", grants=grants)
        async with Client(server, mode="legacy") as client:
            await client.call_tool("read_ticket", {"id": 1})
            await client.call_tool("read_ticket", {"id": 2})
            await client.call_tool("read_ticket", {"id": 88})
            clock.forward(hours=1)
            waited = await client.call_tool("read_ticket", {"id": 88})
            [suspended] = [record for record in app.records() if record.type == "session.suspended"]
            assert suspended.session is not None
            app.resume_session(suspended.session, credential="user:bob@acme.com")
            resumed = await client.call_tool("read_ticket", {"id": 88})

        assert (waited.meta or {})[DENIAL_META]["code"] == "session_suspended"
        assert not resumed.is_error
        assert ran == [88]
        assert len(recorded("grant.issued")) == 1

    def test_idle_that_is_no_span_is_refused(self) -> None:
        """A typing mistake is found when it is made."""
        with pytest.raises(remit.UsageError, match="idle='soon'"):
            remit_mcp.from_template({}, idle="soon")


class TestFixed:
    """One grant for everyone: its sessions are the connections'."""

    @ERAS
    async def test_each_connection_is_a_session_closed_at_its_end(
        self, app: remit.App, issue: Issue, mode: str
    ) -> None:
        """Two clients of one server are two sessions under the same grant."""
        server, _ = crm()
        remit_mcp.govern(server, app=app, server="crm", grants=remit_mcp.fixed(issue({"crm.read_ticket": "any"})))
        for number in (1, 2):
            async with Client(server, mode=mode) as client:
                await client.call_tool("read_ticket", {"id": number})

        sessions = [record.session for record in app.records() if record.type == "session.opened"]
        closed = [record.session for record in app.records() if record.type == "session.closed"]
        assert len(set(sessions)) == 2
        assert closed == sessions
