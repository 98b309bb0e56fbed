"""`govern`: servers of the SDK behind the gate, on the wire and in the process, in both protocol eras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mcp import Client
from mcp.server import MCPServer, Server
from mcp.server.extension import Extension, MethodBinding
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
    ListToolsResult,
    Request,
    RequestParams,
    TextContent,
    Tool,
)
from pydantic import BaseModel

import remit
import remit_mcp
from remit_mcp.wire import DENIAL_META, DENIED

pytestmark = pytest.mark.anyio

Issue = Callable[..., remit.Grant]
Recorded = Callable[[str], list[dict[str, Any]]]

ERAS = pytest.mark.parametrize("mode", ["legacy", "auto"], ids=["handshake era", "modern era"])
READ_88 = {"crm.read_ticket": {"arguments": {"id": 88}}}


class Crm:
    """A server with tools, a resource and a prompt, and what its tools did."""

    def __init__(self) -> None:
        self.ran: list[Any] = []
        self.server = server = MCPServer("crm-server")

        @server.tool()
        def read_ticket(id: int) -> str:
            """Read one ticket."""
            self.ran.append(id)
            return f"ticket {id}"

        @server.tool()
        def crash() -> str:
            """Fail."""
            raise RuntimeError("the database is on fire")

        @server.tool()
        async def both(id: int) -> str:
            """Call another tool of the same server, inside the process."""
            inner = await server.call_tool("read_ticket", {"id": id})
            assert isinstance(inner, CallToolResult)
            return "both"

        @server.tool()
        async def who() -> str:
            """Say in which session this runs."""
            return remit.current_session().id

        @server.resource("file:///notes")
        def notes() -> str:
            self.ran.append("notes")
            return "secret notes"

        @server.prompt()
        def greet(name: str) -> str:
            """Greet."""
            self.ran.append("greet")
            return f"Hello {name}"


@pytest.fixture
def crm() -> Crm:
    """A fresh server."""
    return Crm()


def codes(recorded: Recorded) -> list[str]:
    """Why calls were refused, in order."""
    return [denied["decision"]["code"] for denied in recorded("call.denied")]


class TestCallOverTheWire:
    """tools/call, in both eras."""

    @ERAS
    async def test_inside_the_grant_runs_and_is_recorded(
        self, app: remit.App, issue: Issue, recorded: Recorded, crm: Crm, mode: str
    ) -> None:
        """One intent, one outcome, under the operator's name for the server."""
        remit_mcp.govern(crm.server, app=app, server="crm", grants=remit_mcp.fixed(issue(READ_88)))
        async with Client(crm.server, mode=mode) as client:
            result = await client.call_tool("read_ticket", {"id": 88})

        assert result.structured_content == {"result": "ticket 88"}
        assert crm.ran == [88]
        assert [intent["tool"] for intent in recorded("call.intent")] == ["crm.read_ticket"]
        assert [outcome["status"] for outcome in recorded("call.outcome")] == ["ok"]

    @pytest.mark.requirement("I2")
    @pytest.mark.requirement("T8")
    @ERAS
    async def test_outside_the_grant_is_an_error_result_in_both_eras(
        self, app: remit.App, issue: Issue, recorded: Recorded, crm: Crm, mode: str
    ) -> None:
        """On the wire it says isError and resultType where the era has one; the tool body is not entered."""
        remit_mcp.govern(crm.server, app=app, server="crm", grants=remit_mcp.fixed(issue(READ_88)))
        async with Client(crm.server, mode=mode) as client:
            request = Request[dict[str, Any], str](
                method="tools/call", params={"name": "read_ticket", "arguments": {"id": 89}}
            )
            wire = await client.session.send_request(request, _Raw)
            result = await client.call_tool("read_ticket", {"id": 89})

        assert wire.model_extra is not None
        assert wire.model_extra["isError"] is True
        assert wire.model_extra.get("resultType") == (None if mode == "legacy" else "complete")
        assert result.is_error
        told = (result.meta or {})[DENIAL_META]
        assert (told["code"], told["rule"]) == ("argument_out_of_bounds", "crm.read_ticket/only:id")
        assert told["remedy"]["kind"] == "change_argument"
        assert "Do not retry" in result.content[0].text  # type: ignore[union-attr]
        assert crm.ran == []
        assert codes(recorded) == ["argument_out_of_bounds"] * 2

    @pytest.mark.requirement("I11")
    @ERAS
    async def test_that_crashes_is_a_tool_error(
        self, app: remit.App, issue: Issue, recorded: Recorded, crm: Crm, mode: str
    ) -> None:
        """The SDK turns the exception into a result; the record says that it failed all the same."""
        remit_mcp.govern(crm.server, app=app, server="crm", grants=remit_mcp.fixed(issue({"crm.crash": "any"})))
        async with Client(crm.server, mode=mode) as client:
            result = await client.call_tool("crash")

        assert result.is_error
        assert [outcome["status"] for outcome in recorded("call.outcome")] == ["tool_error"]

    @pytest.mark.requirement("I1")
    @pytest.mark.requirement("T2")
    @ERAS
    async def test_without_any_grant_is_denied_and_recorded(
        self, app: remit.App, recorded: Recorded, crm: Crm, mode: str
    ) -> None:
        """No session, no resolver: nothing is granted."""
        remit_mcp.govern(crm.server, app=app, server="crm")
        async with Client(crm.server, mode=mode) as client:
            result = await client.call_tool("read_ticket", {"id": 88})

        assert (result.meta or {})[DENIAL_META]["code"] == "no_grant"
        assert crm.ran == []
        assert codes(recorded) == ["no_grant"]

    async def test_runs_in_the_current_session_where_no_resolver_is_given(
        self, app: remit.App, issue: Issue, recorded: Recorded, crm: Crm
    ) -> None:
        """`with app.session(grant):` around the server counts, and is the session inside the tool."""
        remit_mcp.govern(crm.server, app=app, server="crm")
        async with app.session(issue({"crm.who": "any"})) as session, Client(crm.server, mode="legacy") as client:
            result = await client.call_tool("who")

        assert result.structured_content == {"result": session.id}

    @pytest.mark.requirement("I3")
    async def test_with_a_string_for_an_integer_is_denied_where_the_sdk_would_coerce(
        self, app: remit.App, issue: Issue, crm: Crm
    ) -> None:
        """The SDK would turn "88" into 88 below our seat, so "88" does not pass it."""
        grants = remit_mcp.fixed(issue({"crm.read_ticket": {"arguments": {"id": "any"}}}))
        remit_mcp.govern(crm.server, app=app, server="crm", grants=grants)
        async with Client(crm.server, mode="legacy") as client:
            result = await client.call_tool("read_ticket", {"id": "88"})

        assert (result.meta or {})[DENIAL_META]["code"] == "argument_out_of_bounds"
        assert crm.ran == []

    @pytest.mark.requirement("I5")
    @pytest.mark.requirement("code:identity_conflict")
    async def test_that_claims_another_agent_is_denied(
        self, app: remit.App, issue: Issue, recorded: Recorded, crm: Crm
    ) -> None:
        """`_meta` is what the client says; it conflicts with the grant, so it is refused and a finding."""
        remit_mcp.govern(crm.server, app=app, server="crm", grants=remit_mcp.fixed(issue(READ_88)))
        async with Client(crm.server, mode="legacy") as client:
            meta: Any = {"dev.remit/agent": "agent:boss"}
            result = await client.call_tool("read_ticket", {"id": 88}, meta=meta)

        assert (result.meta or {})[DENIAL_META]["code"] == "identity_conflict"
        assert len(recorded("identity.conflict")) == 1
        assert crm.ran == []


class TestOtherRequests:
    """Reading and prompting are governed; what nobody knows is refused."""

    @ERAS
    async def test_reading_a_resource_takes_a_grant_of_its_own(
        self, app: remit.App, issue: Issue, recorded: Recorded, crm: Crm, mode: str
    ) -> None:
        """`crm.resources/read` in the grant, with the uri as its argument."""
        grant = issue({"crm.resources/read": {"arguments": {"uri": "file:///notes"}}})
        remit_mcp.govern(crm.server, app=app, server="crm", grants=remit_mcp.fixed(grant))
        async with Client(crm.server, mode=mode) as client:
            found = await client.read_resource("file:///notes")
            with pytest.raises(MCPError) as refused:
                await client.read_resource("file:///other")

        assert found.contents[0].text == "secret notes"  # type: ignore[union-attr]
        assert refused.value.error.code == DENIED
        assert refused.value.error.data[DENIAL_META]["code"] == "argument_out_of_bounds"
        assert crm.ran == ["notes"]
        assert [intent["tool"] for intent in recorded("call.intent")] == ["crm.resources/read"]

    @ERAS
    async def test_a_prompt_takes_a_grant_of_its_own(self, app: remit.App, issue: Issue, crm: Crm, mode: str) -> None:
        """`crm.prompts/get`, with name and arguments as its arguments."""
        grant = issue({"crm.prompts/get": {"arguments": {"name": "greet", "arguments": {"keys": {"name": "Ravi"}}}}})
        remit_mcp.govern(crm.server, app=app, server="crm", grants=remit_mcp.fixed(grant))
        async with Client(crm.server, mode=mode) as client:
            await client.get_prompt("greet", {"name": "Ravi"})
            with pytest.raises(MCPError):
                await client.get_prompt("greet", {"name": "Mallory"})

        assert crm.ran == ["greet"]

    @ERAS
    async def test_listing_passes(self, app: remit.App, issue: Issue, crm: Crm, mode: str) -> None:
        """What there is may be seen; a hidden tool would only be guessed."""
        remit_mcp.govern(crm.server, app=app, server="crm", grants=remit_mcp.fixed(issue(READ_88)))
        async with Client(crm.server, mode=mode) as client:
            assert len((await client.list_tools()).tools) == 4
            assert len((await client.list_resources()).resources) == 1
            assert len((await client.list_prompts()).prompts) == 1

    @pytest.mark.requirement("I1")
    @ERAS
    async def test_unknown_methods_fail_closed_and_are_recorded(
        self, app: remit.App, issue: Issue, recorded: Recorded, mode: str
    ) -> None:
        """A method that an extension adds is governed under its own name, so it is refused unless granted."""
        wiped: list[str] = []

        class Wiping(Extension):
            identifier = "com.acme/wiping"

            def methods(self) -> list[MethodBinding]:
                async def wipe(ctx: Any, params: Any) -> dict[str, Any]:
                    wiped.append(ctx.method)
                    return {"wiped": True}

                return [MethodBinding(method="acme/wipe", params_type=RequestParams, handler=wipe)]

        server = MCPServer("crm-server", extensions=[Wiping()])
        request = Request[dict[str, Any], str](method="acme/wipe", params={"all": True})
        remit_mcp.govern(server, app=app, server="crm", grants=remit_mcp.fixed(issue(READ_88)))
        async with Client(server, mode=mode) as client:
            with pytest.raises(MCPError) as refused:
                await client.session.send_request(request, _Raw)

        assert refused.value.error.code == -32601
        assert wiped == []
        assert codes(recorded) == ["tool_not_granted"]
        assert recorded("call.denied")[0]["tool"] == "crm.acme/wipe"


class TestCallInTheProcess:
    """`server.call_tool` does not go over the wire, and goes through the gate."""

    @pytest.mark.requirement("I2")
    async def test_outside_the_grant_raises_denied_and_does_not_run(
        self, app: remit.App, issue: Issue, recorded: Recorded, crm: Crm
    ) -> None:
        """There is no client to read an error result, so the caller gets the exception."""
        remit_mcp.govern(crm.server, app=app, server="crm", grants=remit_mcp.fixed(issue(READ_88)))
        await crm.server.call_tool("read_ticket", {"id": 88})
        with pytest.raises(remit.Denied) as refused:
            await crm.server.call_tool("read_ticket", {"id": 89})

        assert refused.value.code == "argument_out_of_bounds"
        assert crm.ran == [88]
        assert [outcome["status"] for outcome in recorded("call.outcome")] == ["ok"]

    async def test_of_resources_and_prompts_is_governed_too(self, app: remit.App, issue: Issue, crm: Crm) -> None:
        """`read_resource` and `get_prompt` are methods like `call_tool`."""
        remit_mcp.govern(crm.server, app=app, server="crm", grants=remit_mcp.fixed(issue(READ_88)))
        with pytest.raises(remit.Denied):
            await crm.server.read_resource("file:///notes")
        with pytest.raises(remit.Denied):
            await crm.server.get_prompt("greet", {"name": "Ravi"})

        assert crm.ran == []

    @pytest.mark.requirement("R4")
    async def test_by_another_tool_is_a_call_of_its_own_that_names_its_parent(
        self, app: remit.App, issue: Issue, recorded: Recorded, crm: Crm
    ) -> None:
        """The permit of the outer call covers the outer call alone."""
        grant = issue({"crm.both": {"arguments": {"id": "any"}}, **READ_88})
        remit_mcp.govern(crm.server, app=app, server="crm", grants=remit_mcp.fixed(grant))
        async with Client(crm.server, mode="legacy") as client:
            good = await client.call_tool("both", {"id": 88})
            bad = await client.call_tool("both", {"id": 89})

        assert not good.is_error
        assert bad.is_error
        assert crm.ran == [88]
        outer, inner, _ = recorded("call.intent")
        assert (inner["tool"], inner["parent"]) == ("crm.read_ticket", outer["call"])
        assert codes(recorded) == ["argument_out_of_bounds"]


class TestTheSeat:
    """Where the gate sits, and that it stays there."""

    async def test_middleware_added_later_stops_everything(self, app: remit.App, issue: Issue, crm: Crm) -> None:
        """Something further in could change what was decided, so nothing runs."""

        async def later(ctx: Any, call_next: Any) -> Any:
            return await call_next(ctx)

        remit_mcp.govern(crm.server, app=app, server="crm", grants=remit_mcp.fixed(issue(READ_88)))
        crm.server.middleware.append(later)
        with pytest.raises(BaseException) as refused:
            async with Client(crm.server, mode="legacy") as client:
                await client.call_tool("read_ticket", {"id": 88})

        assert "innermost" in _innermost(refused.value)
        assert crm.ran == []

    def test_governing_twice_is_refused(self, app: remit.App, crm: Crm) -> None:
        """Two gates would decide every call twice."""
        remit_mcp.govern(crm.server, app=app, server="crm")
        with pytest.raises(remit.UsageError, match="governed already"):
            remit_mcp.govern(crm.server, app=app, server="crm")

    def test_anything_else_is_refused(self, app: remit.App) -> None:
        """A type that cannot be governed is an error, not a shrug."""
        with pytest.raises(remit.UsageError, match="not dict"):
            remit_mcp.govern({}, app=app)

    def test_session_and_grants_together_are_refused(self, app: remit.App, issue: Issue, crm: Crm) -> None:
        """Two answers to one question."""
        grant = issue(READ_88)
        with pytest.raises(remit.UsageError, match="pass one of them"):
            remit_mcp.govern(crm.server, session=app.session(grant), grants=remit_mcp.fixed(grant))

    async def test_remit_govern_finds_this_adapter(self, app: remit.App, issue: Issue, crm: Crm) -> None:
        """`remit.govern(server)` is the same function."""
        assert remit.govern(crm.server, app=app, server="crm", grants=remit_mcp.fixed(issue(READ_88))) is crm.server
        with pytest.raises(remit.Denied):
            await crm.server.call_tool("read_ticket", {"id": 89})


class TestLowLevelServer:
    """`Server` has no tools of its own, only handlers."""

    @ERAS
    async def test_is_governed_the_same_way(self, app: remit.App, issue: Issue, recorded: Recorded, mode: str) -> None:
        """Definitions come from its own listing, all pages of it."""
        server, ran = low_level()
        remit_mcp.govern(
            server, app=app, server="low", grants=remit_mcp.fixed(issue({"low.add": {"arguments": {"n": 1}}}))
        )
        async with Client(server, mode=mode) as client:
            good = await client.call_tool("add", {"n": 1})
            bad = await client.call_tool("add", {"n": 2})

        assert not good.is_error
        assert bad.is_error
        assert ran == [1]
        assert "definition" in recorded("call.intent")[0]

    @pytest.mark.requirement("I10")
    async def test_call_that_needs_input_goes_on_as_the_same_call(
        self, app: remit.App, issue: Issue, recorded: Recorded
    ) -> None:
        """input_required is pending, not ok; the retry with the answers is the same call, resumed and counted once."""
        server, ran = low_level()
        grant = issue({"low.ask": {"arguments": {"n": 1}, "limits": {"calls": 1}}})
        remit_mcp.govern(server, app=app, server="low", grants=remit_mcp.fixed(grant))

        async def agree(context: Any, params: Any) -> Any:
            return ElicitResult(action="accept", content={"sure": True})

        async with Client(server, mode="auto", elicitation_callback=agree) as client:
            result = await client.call_tool("ask", {"n": 1})

        assert not result.is_error
        assert ran == [1]
        [intent], [resumed] = recorded("call.intent"), recorded("call.resumed")
        assert resumed["call"] == intent["call"]
        assert [outcome["status"] for outcome in recorded("call.outcome")] == ["pending", "ok"]


class _Raw(BaseModel, extra="allow"):
    """A result as it came."""


def _innermost(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)


def low_level() -> tuple[Server[Any], list[Any]]:
    """A low-level server with two tools on two pages, and what they did."""
    ran: list[Any] = []
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}

    async def listing(ctx: Any, params: Any) -> ListToolsResult:
        if params is not None and params.cursor == "2":
            return ListToolsResult(tools=[Tool(name="ask", input_schema=schema)])
        return ListToolsResult(tools=[Tool(name="add", input_schema=schema)], next_cursor="2")

    async def call(ctx: Any, params: CallToolRequestParams) -> CallToolResult | InputRequiredResult:
        n = (params.arguments or {})["n"]
        if params.name == "ask" and params.input_responses is None:
            form = ElicitRequestFormParams(
                message="Sure?", requested_schema={"type": "object", "properties": {"sure": {"type": "boolean"}}}
            )
            return InputRequiredResult(request_state="s", input_requests={"sure": ElicitRequest(params=form)})
        ran.append(n)
        return CallToolResult(content=[TextContent(type="text", text=str(n))])

    return Server("low", on_list_tools=listing, on_call_tool=call), ran
