"""Every way into a LangChain tool is one pass through the gate, no more and no less."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import BaseTool, Tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

import remit
from remit_langchain import GovernedTool, govern
from tests.adapters.langchain.conftest import (
    ASYNC_TOOLS,
    SYNC_TOOLS,
    Body,
    async_ways,
    call,
    coroutine_only,
    decorated,
    disclosed,
    kinds,
    own_class,
    scripted,
    single_input,
    statuses,
    structured,
    ways,
)

Make = Callable[[Body], BaseTool]
ARGS = {"order": "ord_1", "amount": 7}
ONE_PASS = ["call.intent", "call.outcome"]


@pytest.mark.requirement("I2")
@pytest.mark.parametrize("make", SYNC_TOOLS)
@pytest.mark.usefixtures("session")
def test_a_synchronous_way_is_exactly_one_pass(app: remit.App, body: Body, make: Make) -> None:
    """One intent, one outcome, one entry into the body, with the arguments that were judged."""
    for count, (way, enter) in enumerate(ways(govern(make(body), server="shop"), ARGS).items(), start=1):
        enter()

        assert kinds(app) == ONE_PASS * count, way
        assert body.entered == [ARGS] * count, way
    assert set(statuses(app)) == {"ok"}
    assert all(intent["arguments"] == ARGS for intent in disclosed(app, "call.intent"))


@pytest.mark.requirement("I2")
@pytest.mark.parametrize("make", ASYNC_TOOLS)
@pytest.mark.usefixtures("session")
def test_an_asynchronous_way_is_exactly_one_pass(app: remit.App, body: Body, make: Make) -> None:
    """As for the synchronous ways; a tool without async code runs in a thread, and is gated there."""

    async def main() -> None:
        for count, (way, enter) in enumerate(async_ways(govern(make(body), server="shop"), ARGS).items(), start=1):
            await enter()

            assert kinds(app) == ONE_PASS * count, way
            assert body.entered == [ARGS] * count, way

    asyncio.run(main())
    assert set(statuses(app)) == {"ok"}


@pytest.mark.usefixtures("session")
def test_each_input_of_a_batch_is_a_pass_of_its_own(app: remit.App, body: Body) -> None:
    """Three inputs in three threads, three intents, one session."""
    tool = govern(decorated(body), server="shop")

    assert tool.batch([{"order": "ord_1", "amount": amount} for amount in (1, 2, 3)]) == ["paid"] * 3
    assert kinds(app).count("call.intent") == 3
    assert sorted(entry["amount"] for entry in body.entered) == [1, 2, 3]


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize(
    "enter",
    [
        lambda tool: tool.invoke("shoes"),
        lambda tool: tool.run("shoes"),
        lambda tool: tool.func("shoes"),
        lambda tool: tool.invoke(call("search", __arg1="shoes")),
        lambda tool: asyncio.run(tool.ainvoke("shoes")),
    ],
)
def test_a_single_input_tool_is_judged_by_the_name_that_langchain_gives_its_input(
    app: remit.App, body: Body, enter: Callable[[Any], Any]
) -> None:
    """`Tool.args` calls the one input `tool_input`, whatever a model calls it."""
    tool = govern(single_input(body), server="shop")
    enter(tool)

    assert isinstance(tool, Tool)
    assert body.entered == [{"text": "shoes"}]
    assert kinds(app) == ONE_PASS
    [arguments] = [found["arguments"] for found in disclosed(app, "call.intent")]
    assert list(arguments.values()) == ["shoes"]


@pytest.mark.usefixtures("session")
def test_an_agent_is_one_pass_per_call(app: remit.App, body: Body) -> None:
    """`create_agent` with a governed tool: the call runs once and its answer reaches the model."""
    agent = create_agent(scripted([call("pay", **ARGS)]), govern([decorated(body)], server="shop"))
    found = agent.invoke({"messages": [("user", "Pay ord_1")]})

    assert kinds(app) == ONE_PASS
    assert body.entered == [ARGS]
    assert [message.content for message in found["messages"] if message.type == "tool"] == ["paid"]


@pytest.mark.usefixtures("session")
def test_an_async_agent_is_one_pass_per_call(app: remit.App, body: Body) -> None:
    """As the synchronous agent, on an event loop."""
    agent = create_agent(scripted([call("pay", **ARGS)]), govern([coroutine_only(body)], server="shop"))
    asyncio.run(agent.ainvoke({"messages": [("user", "Pay ord_1")]}))

    assert kinds(app) == ONE_PASS
    assert body.entered == [ARGS]


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("make", [decorated, structured, own_class])
def test_a_tool_node_is_one_pass_per_call(app: remit.App, body: Body, make: Make) -> None:
    """A hand-built graph around a `ToolNode`."""
    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode(govern([make(body)], server="shop")))
    graph.add_edge(START, "tools")
    graph.add_edge("tools", END)
    graph.compile().invoke({"messages": scripted([call("pay", **ARGS)]).script})

    assert kinds(app) == ONE_PASS
    assert body.entered == [ARGS]


@pytest.mark.parametrize("make", [*ASYNC_TOOLS, single_input])
def test_a_governed_tool_is_still_what_it_was(body: Body, make: Make) -> None:
    """Its class, name, description, schema and what a provider is shown do not change."""
    tool = make(body)
    governed = govern(tool)

    assert isinstance(governed, type(tool))
    assert isinstance(governed, GovernedTool)
    assert not isinstance(tool, GovernedTool)
    assert (governed.name, governed.description, governed.args) == (tool.name, tool.description, tool.args)
    assert convert_to_openai_tool(governed) == convert_to_openai_tool(tool)
    assert governed.get_input_jsonschema() == tool.get_input_jsonschema()


@pytest.mark.usefixtures("session")
def test_a_tool_keeps_its_state_between_calls(body: Body) -> None:
    """Fields that a body changes stay changed, on the governed tool and not on the original."""
    tool = own_class(body)
    governed = govern(tool, server="shop")
    governed.invoke(ARGS)
    governed.invoke(ARGS)

    assert governed.count == 2  # type: ignore[attr-defined]
    assert tool.count == 0  # type: ignore[attr-defined]


@pytest.mark.usefixtures("session")
def test_a_governed_tool_is_not_wrapped_twice(app: remit.App, body: Body) -> None:
    """Governing again gives the same tool."""
    governed = govern(decorated(body), server="shop")

    assert govern(governed) is governed
    assert govern([governed])[0] is governed
    governed.invoke(ARGS)
    assert kinds(app) == ONE_PASS


@pytest.mark.usefixtures("session")
def test_remit_govern_finds_this_adapter(body: Body) -> None:
    """`remit.govern` is the same function, found by the type's module."""
    assert isinstance(remit.govern(decorated(body)), GovernedTool)
    assert isinstance(remit.govern([own_class(body)])[0], GovernedTool)


def test_a_function_in_a_list_becomes_a_governed_tool(app: remit.App, session: remit.Session) -> None:
    """As `create_agent` takes them."""

    def search(text: str) -> str:
        """Search."""
        return text

    [tool] = govern([search], server="shop")

    assert tool.invoke({"text": "a"}) == "a"
    assert kinds(app) == ONE_PASS
    assert session.id


def test_what_cannot_be_governed_is_refused_with_the_reason(app: remit.App, body: Body) -> None:
    """Unknown objects, provider tools, an option that means nothing here, and classes that go around `_run`."""

    class Around(BaseTool):
        name: str = "around"
        description: str = "Goes around the gate."

        def _run(self) -> str:
            return "a"

        def invoke(self, *args: Any, **kwargs: Any) -> str:
            return "b"

    with pytest.raises(remit.UsageError, match="expected a LangChain tool"):
        govern(object())
    with pytest.raises(remit.UsageError, match="executed by the model's provider"):
        govern([{"type": "web_search"}])  # type: ignore[list-item]
    with pytest.raises(remit.UsageError, match="is no tool"):
        govern([7])  # type: ignore[list-item]
    with pytest.raises(remit.UsageError, match="grants="):
        govern(decorated(body), grants={})
    with pytest.raises(remit.UsageError, match=r"its own invoke\(\)"):
        govern(Around())
