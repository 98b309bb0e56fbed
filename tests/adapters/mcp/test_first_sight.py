"""A server behind the proxy is somebody else's: its tools wait for a person before their first call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col

import remit
import remit_mcp
from remit.store.tables import ToolRow
from remit.testing import temporary
from remit_mcp.wire import DENIAL_META
from tests.adapters.mcp.client import through_proxy

pytestmark = pytest.mark.anyio

BOB = remit.Credential.generate("bob@acme.com")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[remit.App]:
    """Not in development."""
    with temporary(tmp_path, development=False) as opened:
        opened.enrol("bob@acme.com", BOB.public_key)
        yield opened


@pytest.fixture
def grants(app: remit.App, granted: Callable[..., dict[str, Any]]) -> remit_mcp.Grants:
    """Every tool of the odd server is granted."""
    return remit_mcp.fixed(app.issue(granted({"odd.*": "any"}), credential=BOB))


def states(app: remit.App) -> dict[str, str]:
    """Every tool that was seen."""
    return {str(key): str(state) for key, state in app.ledger.read().rows(select(col(ToolRow.key), col(ToolRow.state)))}


@pytest.mark.requirement("tools:first-sight")
async def test_tool_never_seen_is_refused_until_a_person_accepts_it(
    app: remit.App, grants: remit_mcp.Grants, tmp_path: Path
) -> None:
    """Nothing reaches the server before; the whole listing is on record after the first call."""
    async with through_proxy(app, grants, tmp_path) as wire:
        before = await wire.call("echo", {"text": "a"})
        assert "tools/call" not in wire.seen_methods()
        assert states(app)["odd.echo"] == "new"
        assert len(states(app)) > 1
        app.accept_tool("odd.echo", credential=BOB)
        after = await wire.call("echo", {"text": "a"})

    assert before["_meta"][DENIAL_META]["code"] == "tool_changed"
    assert "isError" not in after
    assert states(app)["odd.echo"] == "accepted"


async def test_accept_tools_takes_the_first_listing_and_records_it(
    app: remit.App, grants: remit_mcp.Grants, tmp_path: Path
) -> None:
    """One that changes afterwards waits for a person."""
    async with through_proxy(app, grants, tmp_path, accept_tools=True) as wire:
        before = await wire.call("echo", {"text": "a"})
        await wire.call("change")
        after = await wire.call("echo", {"text": "a"})
    accepted = [record.data for record in app.records() if record.type == "tool.accepted"]

    assert "isError" not in before
    assert after["_meta"][DENIAL_META]["code"] == "tool_changed"
    assert {one["basis"] for one in accepted} == {"accept_tools"}


async def test_calls_that_come_before_the_listing_are_judged_by_it(
    app: remit.App, grants: remit_mcp.Grants, tmp_path: Path
) -> None:
    """A client that sends several calls at once does not slip past the pin with the second."""
    async with through_proxy(app, grants, tmp_path) as wire:
        for number in range(5):
            params = {"name": "echo", "arguments": {"text": str(number)}}
            await wire.send({"id": number, "method": "tools/call", "params": params})
        replies = [await wire.next() for _ in range(5)]
        assert "tools/call" not in wire.seen_methods()

    assert {reply["result"]["_meta"][DENIAL_META]["code"] for reply in replies} == {"tool_changed"}
