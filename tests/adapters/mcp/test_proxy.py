"""The stdio proxy, frame by frame: what passes, what is decided, and how a call ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import remit
import remit_mcp
from remit.testing import Clock
from remit_mcp.wire import DENIAL_META, DENIED
from tests.adapters.mcp.client import through_proxy

pytestmark = pytest.mark.anyio

Issue = Callable[..., remit.Grant]
Recorded = Callable[[str], list[dict[str, Any]]]

MODERN = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}


def statuses(recorded: Recorded) -> list[str]:
    """How the calls ended, in order."""
    return [outcome["status"] for outcome in recorded("call.outcome")]


class TestWhatIsNotGoverned:
    """Everything but the governed requests passes as it is."""

    async def test_passes_with_everything_that_an_sdk_would_drop(
        self, app: remit.App, issue: Issue, tmp_path: Path
    ) -> None:
        """Unknown methods, explicit nulls, vendor members and `_meta` reach the server, and its answer the client."""
        grants = remit_mcp.fixed(issue({"odd.echo": "any"}))
        params = {"cursor": None, "deep": {"a": [1, 2.5, None, "ü"]}, "_meta": {"vendor/x": None, "progressToken": 7}}
        async with through_proxy(app, grants, tmp_path) as wire:
            answer = await wire.ask("acme/anything", params)
            bare = await wire.ask("acme/nothing")

            assert answer["result"] == {"method": "acme/anything", "params": params}
            assert bare["result"] == {"method": "acme/nothing", "params": None}
            assert wire.seen()[0]["params"] == params

    async def test_answers_pass_byte_for_byte(self, app: remit.App, issue: Issue, tmp_path: Path) -> None:
        """What the server wrote is what the client reads, spacing and big numbers included."""
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.echo": "any"})), tmp_path) as wire:
            await wire.send(
                {"id": "one", "method": "tools/call", "params": {"name": "echo", "arguments": {"text": "ü"}}}
            )
            line = await wire.raw()

        assert b'"big": 12345678901234567890123, "none": null' in line
        assert line.startswith(b'{"jsonrpc": "2.0", "id": "one", ')

    async def test_instructions_capabilities_and_pages_are_the_servers(
        self, app: remit.App, issue: Issue, tmp_path: Path
    ) -> None:
        """The client negotiates with the server itself; no tool is hidden."""
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.echo": "any"})), tmp_path) as wire:
            initialized = await wire.ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}})
            first = await wire.ask("tools/list")
            second = await wire.ask("tools/list", {"cursor": first["result"]["nextCursor"]})

        assert initialized["result"]["instructions"] == "Be odd."
        assert initialized["result"]["capabilities"] == {"tools": {"listChanged": True}, "x": None}
        names = [tool["name"] for page in (first, second) for tool in page["result"]["tools"]]
        assert names[0] == "echo"
        assert "write" in names
        assert second["result"]["tools"][0]["x-vendor"] == {"kept": None}

    async def test_requests_of_the_server_and_their_answers_pass(
        self, app: remit.App, issue: Issue, tmp_path: Path
    ) -> None:
        """Elicitation in the middle of a call goes to the client, and the answer to the server."""
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.elicit": "any"})), tmp_path) as wire:
            await wire.send({"id": 1, "method": "tools/call", "params": {"name": "elicit"}})
            question = await wire.next()
            await wire.send({"id": question["id"], "result": {"action": "accept", "content": {"x": 1}}})
            answer = await wire.next()

        assert question["method"] == "elicitation/create"
        assert answer["id"] == 1
        assert json.loads(answer["result"]["content"][0]["text"]) == {"action": "accept", "content": {"x": 1}}

    async def test_progress_reaches_the_client_before_the_result(
        self, app: remit.App, issue: Issue, tmp_path: Path
    ) -> None:
        """The client's own progress token is the one that the server sees."""
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.progress": "any"})), tmp_path) as wire:
            params = {"name": "progress", "_meta": {"progressToken": "p-9"}}
            await wire.send({"id": 1, "method": "tools/call", "params": params})
            first, second = await wire.next(), await wire.next()

        assert first["params"] == {"progressToken": "p-9", "progress": 1}
        assert second["id"] == 1


class TestGovernedCall:
    """tools/call is decided and recorded before the server sees it."""

    @pytest.mark.requirement("I3")
    async def test_runs_with_what_was_decided_and_is_recorded(
        self, app: remit.App, issue: Issue, recorded: Recorded, tmp_path: Path
    ) -> None:
        """One intent before, one outcome after; `_meta` and unknown members of the request go along."""
        grants = remit_mcp.fixed(issue({"odd.echo": {"arguments": {"text": "hello"}}}))
        async with through_proxy(app, grants, tmp_path) as wire:
            result = await wire.call("echo", {"text": "hello"}, _meta={"vendor/x": 1}, task={"ttl": 5})

        said = json.loads(result["content"][0]["text"])
        assert said == {"name": "echo", "arguments": {"text": "hello"}, "_meta": {"vendor/x": 1}, "task": {"ttl": 5}}
        [intent] = recorded("call.intent")
        assert (intent["tool"], intent["principal"], intent["agent"]) == (
            "odd.echo",
            "user:ravi@acme.com",
            "agent:triage",
        )
        assert statuses(recorded) == ["ok"]

    @pytest.mark.requirement("I2")
    @pytest.mark.parametrize("meta", [{}, {"_meta": MODERN}], ids=["handshake era", "modern era"])
    async def test_outside_the_grant_never_reaches_the_server(
        self, app: remit.App, issue: Issue, recorded: Recorded, tmp_path: Path, meta: dict[str, Any]
    ) -> None:
        """The client gets an error result of its era that says why; the server's file is not written."""
        target = tmp_path / "written.txt"
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.echo": "any"})), tmp_path) as wire:
            result = await wire.call("write", {"path": str(target)}, **meta)
            assert "tools/call" not in wire.seen_methods()

        assert result["isError"] is True
        assert result["_meta"][DENIAL_META]["code"] == "tool_not_granted"
        assert result["_meta"][DENIAL_META]["remedy"]["kind"] == "request_grant"
        assert result.get("resultType") == ("complete" if meta else None)
        assert not target.exists()
        [denied] = recorded("call.denied")
        assert denied["decision"]["code"] == "tool_not_granted"
        assert denied["call"] == result["_meta"][DENIAL_META]["call"]

    @pytest.mark.requirement("I11")
    @pytest.mark.parametrize(
        ("tool", "status"), [("fail", "tool_error"), ("refuse", "tool_error"), ("ask", "pending"), ("later", "pending")]
    )
    async def test_outcome_is_what_the_answer_says(
        self, app: remit.App, issue: Issue, recorded: Recorded, tmp_path: Path, tool: str, status: str
    ) -> None:
        """isError and JSON-RPC errors are failures; input_required and tasks have not ended."""
        async with through_proxy(app, remit_mcp.fixed(issue({f"odd.{tool}": "any"})), tmp_path) as wire:
            answer = await wire.ask("tools/call", {"name": tool})

        assert ("error" in answer) is (tool == "refuse")
        assert statuses(recorded) == [status]

    @pytest.mark.requirement("I1")
    async def test_without_a_grant_is_denied_and_recorded(
        self, app: remit.App, recorded: Recorded, tmp_path: Path
    ) -> None:
        """A template that cannot be issued grants nothing; the client learns no more than that."""
        grants = remit_mcp.from_template({"task": "broken"}, credential="user:ravi@acme.com")
        async with through_proxy(app, grants, tmp_path) as wire:
            result = await wire.call("echo", {"text": "hello"})
            assert "tools/call" not in wire.seen_methods()

        assert result["_meta"][DENIAL_META]["code"] == "no_grant"
        assert "broken" not in result["content"][0]["text"]
        assert [denied["decision"]["code"] for denied in recorded("call.denied")] == ["no_grant"]

    async def test_reads_of_resources_are_governed_under_their_own_key(
        self, app: remit.App, issue: Issue, recorded: Recorded, tmp_path: Path
    ) -> None:
        """resources/read hands out what the server holds, so it takes a grant: `odd.resources/read`."""
        grant = issue({"odd.resources/read": {"arguments": {"uri": "file:///a"}}})
        async with through_proxy(app, remit_mcp.fixed(grant), tmp_path) as wire:
            allowed = await wire.ask("resources/read", {"uri": "file:///a"})
            refused = await wire.ask("resources/read", {"uri": "file:///b"})
            prompt = await wire.ask("prompts/get", {"name": "p"})

        assert allowed["result"]["contents"][0]["text"] == "secret"
        assert refused["error"]["code"] == DENIED
        assert refused["error"]["data"][DENIAL_META]["code"] == "argument_out_of_bounds"
        assert prompt["error"]["data"][DENIAL_META]["code"] == "tool_not_granted"
        assert len(recorded("call.denied")) == 2

    async def test_to_a_tool_that_is_named_like_a_request_is_denied(
        self, app: remit.App, issue: Issue, recorded: Recorded, tmp_path: Path
    ) -> None:
        """`odd.resources/read` means reading a resource, whatever tool the server names so."""
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.resources/read": "any"})), tmp_path) as wire:
            result = await wire.call("resources/read", {"uri": "file:///a"})

        assert result["isError"] is True
        assert [denied["decision"]["rule"] for denied in recorded("call.denied")] == ["remit/ambiguous_key"]

    async def test_argument_types_are_not_coerced(self, app: remit.App, issue: Issue, tmp_path: Path) -> None:
        """The schema that the server lists is checked here, strictly: 5 is no string."""
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.echo": "any"})), tmp_path) as wire:
            result = await wire.call("echo", {"text": 5})
            assert "tools/call" not in wire.seen_methods()

        assert result["_meta"][DENIAL_META]["code"] == "argument_out_of_bounds"

    @pytest.mark.requirement("code:tool_changed")
    async def test_of_a_tool_that_changed_is_denied_until_a_person_accepts_it(
        self, app: remit.App, issue: Issue, tmp_path: Path
    ) -> None:
        """A description that is rewritten after the first listing stops the tool, without the client listing again."""
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.*": "any"})), tmp_path) as wire:
            before = await wire.call("echo", {"text": "a"})
            await wire.call("change")
            after = await wire.call("echo", {"text": "a"})
            app.accept_tool("odd.echo", credential="user:bob@acme.com")
            accepted = await wire.call("echo", {"text": "a"})

        assert "isError" not in before
        assert after["_meta"][DENIAL_META]["code"] == "tool_changed"
        assert "isError" not in accepted

    @pytest.mark.requirement("I5")
    async def test_that_claims_another_identity_is_denied_and_a_finding(
        self, app: remit.App, issue: Issue, recorded: Recorded, tmp_path: Path
    ) -> None:
        """What `_meta` says of the sender is never believed."""
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.echo": "any"})), tmp_path) as wire:
            result = await wire.call("echo", {"text": "a"}, _meta={"dev.remit/principal": "user:mallory@acme.com"})
            assert "tools/call" not in wire.seen_methods()

        assert result["_meta"][DENIAL_META]["code"] == "identity_conflict"
        assert len(recorded("identity.conflict")) == 1

    async def test_of_many_at_once_reach_the_server_in_their_order(
        self, app: remit.App, issue: Issue, recorded: Recorded, tmp_path: Path
    ) -> None:
        """A client that does not wait for answers gets the order that it would get without the proxy."""
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.echo": "any"})), tmp_path) as wire:
            for number in range(30):
                params = {"name": "echo", "arguments": {"text": str(number)}}
                await wire.send({"id": number, "method": "tools/call", "params": params})
            answered = {(await wire.next())["id"] for _ in range(30)}

            called = [seen["params"]["arguments"]["text"] for seen in wire.seen() if seen["method"] == "tools/call"]
            assert called == [str(number) for number in range(30)]

        assert answered == set(range(30))
        assert statuses(recorded) == ["ok"] * 30

    async def test_beyond_the_caps_is_denied_and_the_connection_lives_on(
        self, app: remit.App, issue: Issue, tmp_path: Path
    ) -> None:
        """Two megabytes of argument are more than evidence holds."""
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.echo": "any"})), tmp_path) as wire:
            huge = await wire.call("echo", {"text": "x" * 2_000_000})
            small = await wire.call("echo", {"text": "x"})

        assert huge["_meta"][DENIAL_META]["code"] == "too_large"
        assert "isError" not in small

    async def test_answer_with_its_id_as_text_finds_its_call(
        self, app: remit.App, issue: Issue, recorded: Recorded, tmp_path: Path
    ) -> None:
        """A careless server answers 7 with "7"; the call has its outcome all the same."""
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.stringify": "any"})), tmp_path) as wire:
            await wire.send({"id": 7, "method": "tools/call", "params": {"name": "stringify"}})
            assert (await wire.next())["id"] == "7"

        assert statuses(recorded) == ["ok"]

    async def test_answer_that_nobody_asked_for_is_dropped(self, app: remit.App, issue: Issue, tmp_path: Path) -> None:
        """A server cannot answer a call that it was never sent, before the refusal does."""
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.forge": "any"})), tmp_path) as wire:
            await wire.call("forge", {"id": 99})
            refused = await wire.ask("tools/call", {"name": "write", "arguments": {"path": "x"}}, id=99)

        assert refused["result"]["_meta"][DENIAL_META]["code"] == "tool_not_granted"


class TestHostileFrames:
    """A frame with two readings reaches nobody."""

    @pytest.mark.requirement("I3")
    @pytest.mark.parametrize(
        "frame",
        [
            b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"write"}}',
            b'{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"name":"write"}}',
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","name":"write"}}',
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","Name":"write"}}',
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","argument\xc5\xbf":{}}}',
            b'{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"write"}}',
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call ","params":{"name":"write"}}',
            b'[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write"}}]',
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["write"]}',
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write","arguments":[]}}',
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["write"]}}',
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write","arguments":{"n":NaN}}}',
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}{"jsonrpc":"2.0","id":2,"method":"ping"}',
            b'{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"write"}}',
            b'{"jsonrpc":"2.0","id":1.5,"method":"tools/call","params":{"name":"write"}}',
            b'{"jsonrpc":"1.0","id":1,"method":"tools/call","params":{"name":"write"}}',
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\xff"}}',
            b"[" * 100_000,
        ],
    )  # fmt: skip
    async def test_is_answered_with_an_error_and_not_passed_on(
        self, app: remit.App, issue: Issue, tmp_path: Path, frame: bytes
    ) -> None:
        """Doubled or near-miss members, batches and broken JSON are refused; the connection lives on."""
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.*": "any"})), tmp_path) as wire:
            await wire.send(frame)
            refused = await wire.next()
            after = await wire.ask("ping", id="after")

            assert "error" in refused
            assert "result" in after
            assert wire.seen_methods() == ["ping"]

    async def test_governed_method_without_an_id_is_dropped(self, app: remit.App, issue: Issue, tmp_path: Path) -> None:
        """A notification of that name could run a tool in a careless server, and nobody would be told."""
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.*": "any"})), tmp_path) as wire:
            await wire.send({"method": "tools/call", "params": {"name": "write", "arguments": {"path": "x"}}})
            await wire.ask("ping")

            assert wire.seen_methods() == ["ping"]

    async def test_request_with_an_id_that_is_still_open_is_refused(
        self, app: remit.App, issue: Issue, tmp_path: Path
    ) -> None:
        """Two open requests of one id would make one's answer the other's outcome."""
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.*": "any"})), tmp_path) as wire:
            await wire.send({"id": 1, "method": "tools/call", "params": {"name": "slow"}})
            await wire.next()
            second = await wire.ask("tools/call", {"name": "write", "arguments": {"path": "x"}}, id=1)

            assert second["error"]["message"] == "a request with the id 1 is still open"
            assert [seen["params"]["name"] for seen in wire.seen() if seen["method"] == "tools/call"] == ["slow"]


class TestRepeatedRequest:
    """A JSON-RPC id identifies a call only together with its connection."""

    @pytest.mark.requirement("I10")
    async def test_of_the_same_content_gets_the_stored_result_once_run(
        self, app: remit.App, issue: Issue, recorded: Recorded, tmp_path: Path
    ) -> None:
        """A client that sends a request twice runs it once."""
        params = {"name": "echo", "arguments": {"text": "a"}}
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.echo": "any"})), tmp_path) as wire:
            first = await wire.ask("tools/call", params, id=7)
            again = await wire.ask("tools/call", params, id=7)
            assert wire.seen_methods().count("tools/call") == 1

        assert first == again
        assert len(recorded("call.replayed")) == 1

    @pytest.mark.requirement("code:call_conflict")
    async def test_of_other_content_is_a_conflict(self, app: remit.App, issue: Issue, tmp_path: Path) -> None:
        """An id that was used cannot be used for another call."""
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.echo": "any"})), tmp_path) as wire:
            await wire.ask("tools/call", {"name": "echo", "arguments": {"text": "a"}}, id=7)
            other = await wire.ask("tools/call", {"name": "echo", "arguments": {"text": "b"}}, id=7)
            text = await wire.ask("tools/call", {"name": "echo", "arguments": {"text": "b"}}, id="7")

        assert other["result"]["_meta"][DENIAL_META]["code"] == "call_conflict"
        assert "isError" not in text["result"]

    @pytest.mark.requirement("I10")
    async def test_of_another_connection_is_another_call(
        self, app: remit.App, issue: Issue, recorded: Recorded, tmp_path: Path
    ) -> None:
        """Every client counts from 1: the id alone says nothing."""
        grants = remit_mcp.fixed(issue({"odd.echo": "any"}))
        for text in ("a", "b"):
            async with through_proxy(app, grants, tmp_path) as wire:
                result = await wire.ask("tools/call", {"name": "echo", "arguments": {"text": text}}, id=1)
                assert "isError" not in result["result"]

        assert statuses(recorded) == ["ok", "ok"]


class TestCallThatDoesNotEnd:
    """Cancelled, orphaned, continued: the record says what is known."""

    async def test_when_the_client_cancels_is_cancelled(
        self, app: remit.App, issue: Issue, recorded: Recorded, tmp_path: Path
    ) -> None:
        """The server is told, and the outcome says that it may have finished all the same."""
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.slow": "any"})), tmp_path) as wire:
            await wire.send({"id": 1, "method": "tools/call", "params": {"name": "slow"}})
            await wire.next()
            await wire.send({"method": "notifications/cancelled", "params": {"requestId": 1}})
            await wire.ask("ping", id=2)
            assert "notifications/cancelled" in wire.seen_methods()

        [outcome] = [record for record in app.records() if record.type == "call.outcome"]
        assert outcome.data["status"] == "cancelled"
        assert "may have finished" in (outcome.disclosed() or {})["error"]

    @pytest.mark.requirement("I7")
    @pytest.mark.requirement("I11")
    async def test_when_the_server_dies_is_unknown(
        self, app: remit.App, issue: Issue, recorded: Recorded, tmp_path: Path
    ) -> None:
        """Nobody can say whether a call ran whose server ended before it answered; the client is told just that."""
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.die": "any"})), tmp_path) as wire:
            result = await wire.call("die")
            assert await wire.raw() == b""

        assert result["isError"] is True
        assert "ended with exit code 3 before it answered" in result["content"][0]["text"]
        assert statuses(recorded) == ["unknown"]
        assert [closed["why"] for closed in recorded("session.closed")] == ["closed"]

    async def test_when_the_client_leaves_is_settled_and_the_session_closed(
        self, app: remit.App, issue: Issue, recorded: Recorded, tmp_path: Path
    ) -> None:
        """The end of the connection ends its session on the record, open calls first."""
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.slow": "any"})), tmp_path) as wire:
            await wire.send({"id": 1, "method": "tools/call", "params": {"name": "slow"}})
            await wire.next()

        assert statuses(recorded) == ["unknown"]
        assert [record.type for record in app.records()][-2:] == ["call.outcome", "session.closed"]

    @pytest.mark.requirement("I10")
    async def test_when_input_was_required_goes_on_as_the_same_call(
        self, app: remit.App, issue: Issue, recorded: Recorded, tmp_path: Path
    ) -> None:
        """A continuation is decided again, recorded as resumed, and counts as the one call that it is."""
        grants = remit_mcp.fixed(issue({"odd.ask": {"limits": {"calls": 1}}}))
        async with through_proxy(app, grants, tmp_path) as wire:
            await wire.call("ask", {}, _meta=MODERN)
            done = await wire.call("ask", {}, requestState="state-1", inputResponses={"sure": {}}, _meta=MODERN)
            more = await wire.call("ask", {}, requestState="state-1", inputResponses={"sure": {}}, _meta=MODERN)

        assert done["content"][0]["text"] == "done as asked"
        assert more["_meta"][DENIAL_META]["code"] == "limit_reached"
        [intent], [resumed] = recorded("call.intent"), recorded("call.resumed")
        assert resumed["call"] == intent["call"]
        assert statuses(recorded) == ["pending", "ok"]

    @pytest.mark.requirement("I10")
    @pytest.mark.parametrize(
        ("method", "params"), [("tasks/result", {}), ("tasks/get", {"say": "completed"})], ids=["result", "status"]
    )
    async def test_when_it_became_a_task_ends_with_the_task(
        self, app: remit.App, issue: Issue, recorded: Recorded, tmp_path: Path, method: str, params: dict[str, Any]
    ) -> None:
        """Whatever first tells of the task's end settles the call that began it."""
        async with through_proxy(app, remit_mcp.fixed(issue({"odd.later": "any"})), tmp_path) as wire:
            await wire.call("later")
            await wire.ask("tasks/get", {"taskId": "task-1"})
            assert statuses(recorded) == ["pending"]
            await wire.ask(method, {"taskId": "task-1", **params})
            await wire.ask("tasks/result", {"taskId": "task-1"})

        assert statuses(recorded) == ["pending", "ok"]
        assert len(recorded("call.resumed")) == 1


class TestBurstsOfWork:
    """`from_template` issues a fresh grant for each burst of work of a connection."""

    async def test_pause_ends_one_and_the_next_gets_a_fresh_grant(
        self, app: remit.App, granted: Callable[..., dict[str, Any]], recorded: Recorded, clock: Clock, tmp_path: Path
    ) -> None:
        """Limits start anew only after a pause of `idle`; each burst is a session of its own."""
        source = granted({"odd.echo": {"arguments": {"text": "any"}, "limits": {"calls": 1}}}, expires_in="2h")
        grants = remit_mcp.from_template(source, idle="30m", credential="user:ravi@acme.com")
        async with through_proxy(app, grants, tmp_path) as wire:
            first = await wire.call("echo", {"text": "a"})
            clock.forward(minutes=29)
            second = await wire.call("echo", {"text": "b"})
            clock.forward(minutes=1)
            third = await wire.call("echo", {"text": "c"})

        assert "isError" not in first
        assert second["_meta"][DENIAL_META]["code"] == "limit_reached"
        assert "isError" not in third
        assert len(recorded("grant.issued")) == 2
        assert [closed["why"] for closed in recorded("session.closed")] == ["idle", "closed"]

    @pytest.mark.requirement("R14")
    @pytest.mark.requirement("code:grant_revoked")
    async def test_revoked_grant_is_never_replaced(
        self, app: remit.App, granted: Callable[..., dict[str, Any]], recorded: Recorded, clock: Clock, tmp_path: Path
    ) -> None:
        """Revoking stops the connection for good: no pause brings a fresh grant."""
        grants = remit_mcp.from_template(granted({"odd.echo": "any"}, expires_in="2h"), credential="user:ravi@acme.com")
        async with through_proxy(app, grants, tmp_path) as wire:
            await wire.call("echo", {"text": "a"})
            [issued] = recorded("grant.issued")
            app.revoke(issued["grant"], reason="enough", credential="user:ravi@acme.com")
            refused = await wire.call("echo", {"text": "b"})
            clock.forward(minutes=90)
            still = await wire.call("echo", {"text": "c"})

        assert refused["_meta"][DENIAL_META]["code"] == "grant_revoked"
        assert still["_meta"][DENIAL_META]["code"] == "grant_revoked"
        assert len(recorded("grant.issued")) == 1

    @pytest.mark.requirement("code:grant_expired")
    async def test_ended_grant_is_replaced_only_after_a_pause(
        self, app: remit.App, granted: Callable[..., dict[str, Any]], recorded: Recorded, clock: Clock, tmp_path: Path
    ) -> None:
        """A grant's window is no formality: work that goes on past it is refused, and refused calls are no work."""
        grants = remit_mcp.from_template(granted({"odd.echo": "any"}), idle="30m", credential="user:ravi@acme.com")
        async with through_proxy(app, grants, tmp_path) as wire:
            await wire.call("echo", {"text": "a"})
            clock.forward(minutes=21)
            ended = await wire.call("echo", {"text": "b"})
            clock.forward(minutes=9)
            fresh = await wire.call("echo", {"text": "c"})

        assert ended["_meta"][DENIAL_META]["code"] == "grant_expired"
        assert "isError" not in fresh
