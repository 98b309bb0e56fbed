"""Attempts to reach a governed tool's body around the gate. None gets there."""

from __future__ import annotations

import asyncio
import copy
import functools
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, tool
from langgraph.prebuilt import ToolRuntime

import remit
from remit_langchain import govern
from tests.adapters.langchain.conftest import (
    ASYNC_TOOLS,
    SYNC_TOOLS,
    Body,
    async_ways,
    call,
    codes,
    decorated,
    kinds,
    own_class,
    scripted,
    single_input,
    structured,
    ways,
)

Make = Callable[[Body], BaseTool]
OUTSIDE = {"order": "ord_2", "amount": 7}

pytestmark = [pytest.mark.requirement("I2"), pytest.mark.usefixtures("session")]


def refused(reach: Callable[[], Any], app: remit.App, body: Body, count: int = 1) -> None:
    """Reaching for the body is refused before it is entered, on the record."""
    try:
        answer = reach()
    except remit.Denied as denied:
        answer = ToolMessage(str(denied), tool_call_id="none", status="error")
    assert isinstance(answer, ToolMessage)
    assert answer.status == "error"
    assert body.entered == []
    assert kinds(app) == ["call.denied"] * count
    assert codes(app) == ["argument_out_of_bounds"] * count


@pytest.mark.parametrize("make", SYNC_TOOLS)
def test_no_synchronous_way_leads_around_the_gate(app: remit.App, body: Body, make: Make) -> None:
    """Whatever the way, a refused call leaves the body untouched."""
    for count, enter in enumerate(ways(govern(make(body), server="shop"), OUTSIDE).values(), start=1):
        refused(enter, app, body, count)


@pytest.mark.parametrize("make", ASYNC_TOOLS)
def test_no_asynchronous_way_leads_around_the_gate(app: remit.App, body: Body, make: Make) -> None:
    """As for the synchronous ways."""
    for count, enter in enumerate(async_ways(govern(make(body), server="shop"), OUTSIDE).values(), start=1):

        async def run(enter: Callable[[], Any] = enter) -> Any:
            return await enter()

        refused(lambda run=run: asyncio.run(run()), app, body, count)  # type: ignore[misc]


@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        lambda tool: tool.model_copy(),
        lambda tool: tool.model_copy(deep=True),
        lambda tool: tool.model_copy(update={"description": "Pay an order."}),
        lambda tool: type(tool).model_copy(tool),
    ],
)
@pytest.mark.parametrize("make", [decorated, structured, own_class])
def test_copies_are_governed(app: remit.App, body: Body, make: Make, copied: Callable[[Any], Any]) -> None:
    """Shallow, deep and pydantic copies lead through the same gate."""
    other = copied(govern(make(body), server="shop"))

    refused(lambda: other.invoke(OUTSIDE), app, body)


def test_a_copy_with_another_function_is_governed(app: remit.App, body: Body) -> None:
    """A function put in later gets a door too, through `model_copy` and through assignment."""
    governed = govern(decorated(Body()), server="shop")
    function = decorated(body).func  # type: ignore[attr-defined]
    other = governed.model_copy(update={"func": function})
    refused(lambda: other.func(**OUTSIDE), app, body)  # type: ignore[attr-defined]

    governed.func = function
    with pytest.raises(remit.Denied):
        governed.func(**OUTSIDE)  # type: ignore[attr-defined]
    assert body.entered == []
    assert other.func(order="ord_1", amount=1) == "paid"  # type: ignore[attr-defined]
    assert governed.invoke({"order": "ord_1", "amount": 2}) == "paid"
    assert body.entered == [{"order": "ord_1", "amount": 1}, {"order": "ord_1", "amount": 2}]


def test_a_renamed_copy_is_judged_as_what_it_was_governed_as(app: remit.App, body: Body) -> None:
    """The key is taken when the tool is governed: a granted name cannot be put on afterwards."""
    governed = govern(decorated(body), server="other")
    renamed = governed.model_copy(update={"name": "pay"})
    governed.name = "shop.pay"

    for one in (renamed, governed):
        with pytest.raises(remit.Denied) as caught:
            one.invoke({"order": "ord_1"})
        assert caught.value.code == "tool_not_granted"
    assert body.entered == []


@pytest.mark.parametrize("make", ASYNC_TOOLS)
def test_pickling_is_refused(body: Body, make: Make) -> None:
    """A pickle would be a tool without its gate, or a gate without its ledger."""
    governed = govern(make(body), server="shop")

    with pytest.raises(remit.UsageError, match="pickle"):
        pickle.dumps(governed)


def test_constructing_the_governed_class_gives_a_tool_that_does_not_run(app: remit.App, body: Body) -> None:
    """Without `govern` there is no gate, so there is no way in either."""
    governed = govern(own_class(body), server="shop")
    made = type(governed)(name="pay", description="Pay an order.")

    with pytest.raises(remit.UsageError, match="no gate"):
        made.invoke({"order": "ord_1"})
    assert kinds(app) == []


def test_reconfiguring_gives_a_governed_tool_or_one_that_does_not_run(app: remit.App, body: Body) -> None:
    """`configurable_fields` constructs the class anew; that may not lose the gate."""
    from langchain_core.runnables import ConfigurableField

    governed = govern(decorated(body), server="shop")
    other = governed.configurable_fields(description=ConfigurableField(id="text"))

    with pytest.raises((remit.Denied, remit.UsageError)):
        other.invoke(OUTSIDE, config={"configurable": {"text": "Other words."}})
    assert body.entered == []


@pytest.mark.parametrize("make", [*ASYNC_TOOLS, single_input])
def test_nothing_that_a_tool_holds_in_the_open_is_what_it_was_made_of(body: Body, make: Make) -> None:
    """Neither the original tool nor its functions are among the attributes, and no door has `__wrapped__`."""
    original = make(body)
    hidden = [original, *(getattr(original, name, None) for name in ("func", "coroutine"))]
    governed = govern(original, server="shop")
    held = [*governed.__dict__.values(), *(governed.__pydantic_private__ or {}).values()]
    held += [getattr(governed, name, None) for name in ("func", "coroutine", "_run", "_arun", "run", "invoke")]

    for thing in held:
        assert not any(thing is one for one in hidden if one is not None)
        assert not hasattr(thing, "__wrapped__")
        for inner in getattr(thing, "__dict__", {}).values():
            assert not any(inner is one for one in hidden if one is not None)


def test_a_decorated_function_leaves_no_door_either(app: remit.App, body: Body) -> None:
    """`functools.wraps` in the user's own code puts `__wrapped__` on the function; the door does not take it over."""

    def inner(order: str, amount: int = 5) -> str:
        """Pay an order."""
        return body(order=order, amount=amount)

    @functools.wraps(inner)
    def outer(*args: Any, **kwargs: Any) -> str:
        return inner(*args, **kwargs)

    governed = govern(tool("pay")(outer), server="shop")

    assert not hasattr(governed.func, "__wrapped__")  # type: ignore[attr-defined]
    refused(lambda: governed.invoke(OUTSIDE), app, body)


def test_siblings_in_the_runtime_are_governed(app: remit.App, body: Body) -> None:
    """A tool's code can reach the other tools of its node; they are the governed ones."""

    @tool
    def ask(runtime: ToolRuntime) -> str:
        """Ask."""
        return str([one.invoke(OUTSIDE) for one in runtime.tools if one.name == "pay"])

    agent = create_agent(scripted([call("ask")]), govern([ask, decorated(body)], server="shop"))
    found = agent.invoke({"messages": [("user", "Pay ord_2")]})

    assert body.entered == []
    assert codes(app) == ["argument_out_of_bounds"]
    [answer] = [message for message in found["messages"] if message.type == "tool"]
    assert answer.status == "error"


def test_a_body_that_calls_its_own_tool_again_makes_another_call(app: remit.App) -> None:
    """The pass of the outer call does not serve the inner one."""
    entered: list[str] = []

    @tool
    def look_up(order: str) -> str:
        """Look up an order."""
        entered.append(order)
        return str(governed.func("ord_2") if order == "ord_1" else order)  # type: ignore[attr-defined]

    governed = govern(look_up, server="shop")
    with pytest.raises(remit.Denied):
        governed.invoke({"order": "ord_1"})

    assert entered == ["ord_1"]
    assert kinds(app) == ["call.intent", "call.denied", "call.outcome"]
    [denied] = [record.data for record in app.records() if record.type == "call.denied"]
    [intent] = [record.data for record in app.records() if record.type == "call.intent"]
    assert denied["parent"] == intent["call"]
