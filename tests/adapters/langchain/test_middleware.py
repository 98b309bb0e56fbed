"""`RemitMiddleware`: what an agent or a `ToolNode` is given passes the gate, whoever made it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ToolRetryMiddleware, wrap_tool_call
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, ToolRuntime

import remit
from remit_langchain import RemitMiddleware, govern
from tests.adapters.langchain.conftest import Body, PayTool, ScriptedModel, call, codes, decorated, kinds, scripted

PAY = call("pay", "call_1", order="ord_1", amount=1)
OUTSIDE = call("pay", "call_1", order="ord_2", amount=1)
GO: Any = {"messages": [("user", "go")]}

pytestmark = pytest.mark.requirement("I2")


def run(agent: Any, asynchronous: bool, config: Any = None) -> list[ToolMessage]:
    """Run an agent; its tool messages."""
    found = asyncio.run(agent.ainvoke(GO, config)) if asynchronous else agent.invoke(GO, config)
    return [message for message in found["messages"] if isinstance(message, ToolMessage)]


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("governed", [False, True])
def test_a_call_is_one_pass_whether_or_not_the_tool_was_governed_before(
    app: remit.App, body: Body, asynchronous: bool, governed: bool
) -> None:
    """The middleware governs what is not governed, and makes no second intent for what is."""
    pay = decorated(body)
    tools = [govern(pay, server="shop") if governed else pay]
    agent = create_agent(scripted([PAY]), tools, middleware=[RemitMiddleware(server="shop")])

    assert [message.content for message in run(agent, asynchronous)] == ["paid"]
    assert kinds(app) == ["call.intent", "call.outcome"]
    assert len(body.entered) == 1


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_call_outside_the_grant_is_refused(app: remit.App, body: Body, asynchronous: bool) -> None:
    """As an error message, recorded, without entering the body."""
    agent = create_agent(scripted([OUTSIDE]), [decorated(body)], middleware=[RemitMiddleware(server="shop")])
    [answer] = run(agent, asynchronous)

    assert answer.status == "error"
    assert answer.artifact["remit"]["code"] == "argument_out_of_bounds"
    assert codes(app) == ["argument_out_of_bounds"]
    assert body.entered == []


@pytest.mark.parametrize("asynchronous", [False, True])
def test_without_a_session_the_answer_is_no(app: remit.App, body: Body, asynchronous: bool) -> None:
    """Sync and async hooks both."""
    agent = create_agent(scripted([PAY]), [decorated(body)], middleware=[RemitMiddleware(server="shop")])
    [answer] = run(agent, asynchronous)

    assert answer.artifact["remit"]["code"] == "no_grant"
    assert body.entered == []


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_session_may_be_given_or_named_in_the_config(
    app: remit.App, grant: remit.Grant, body: Body, asynchronous: bool
) -> None:
    """As for `govern`."""
    session = app.session(grant, key="thread:1").open()
    named = create_agent(scripted([PAY]), [decorated(body)], middleware=[RemitMiddleware(app, server="shop")])
    given = create_agent(
        scripted([PAY]), [decorated(body)], middleware=[RemitMiddleware(session=session, server="shop")]
    )
    run(named, asynchronous, {"configurable": {"remit_session": session.id}})
    run(given, asynchronous)

    assert len(body.entered) == 2


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_tool_node_takes_the_hooks(app: remit.App, body: Body, asynchronous: bool) -> None:
    """`wrap_tool_call=` and `awrap_tool_call=` of a hand-built node."""
    hooks = RemitMiddleware(server="shop")
    node = ToolNode([decorated(body)], wrap_tool_call=hooks.wrap_tool_call, awrap_tool_call=hooks.awrap_tool_call)
    graph = StateGraph(MessagesState)
    graph.add_node("tools", node)
    graph.add_edge(START, "tools")
    graph.add_edge("tools", END)
    compiled: Any = graph.compile()
    for request in (PAY, OUTSIDE):
        state = {"messages": [AIMessage("", tool_calls=[request])]}
        asyncio.run(compiled.ainvoke(state)) if asynchronous else compiled.invoke(state)

    assert kinds(app) == ["call.intent", "call.outcome", "call.denied"]
    assert len(body.entered) == 1


@pytest.mark.usefixtures("session")
def test_a_middleware_that_rewrites_arguments_later_is_judged_on_what_it_wrote(app: remit.App, body: Body) -> None:
    """The gate is in the tool, so the order of middleware does not matter for that."""

    @wrap_tool_call
    def rewrite(request: Any, handler: Callable[[Any], Any]) -> Any:
        changed = {**request.tool_call, "args": {"order": "ord_2", "amount": 9999}}
        return handler(request.override(tool_call=changed))

    agent = create_agent(scripted([PAY]), [decorated(body)], middleware=[RemitMiddleware(server="shop"), rewrite])
    [answer] = run(agent, False)

    assert answer.status == "error"
    assert body.entered == []


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("last", [False, True])
def test_retries_around_or_inside_the_gate_run_once(app: remit.App, last: bool) -> None:
    """A failed call that is not idempotent is not run again, wherever the retrying happens."""
    attempts: list[int] = []

    @tool
    def search(text: str) -> str:
        """Search."""
        attempts.append(1)
        raise ConnectionError("again")

    retry = ToolRetryMiddleware(max_retries=3, initial_delay=0, jitter=False)
    gate = RemitMiddleware(server="shop")
    agent = create_agent(
        scripted([call("search", text="a")]), [search], middleware=[retry, gate] if last else [gate, retry]
    )
    run(agent, False)

    assert len(attempts) == 1
    assert kinds(app) == ["call.intent", "call.outcome", "call.denied"]


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("asynchronous", [False, True])
def test_siblings_that_tool_code_can_reach_are_governed(app: remit.App, body: Body, asynchronous: bool) -> None:
    """`runtime.tools` holds the raw tools; for the call they are replaced."""

    @tool
    def ask(runtime: ToolRuntime) -> str:
        """Ask."""
        return str([one.invoke({"order": "ord_2"}) for one in runtime.tools if one.name == "pay"])

    agent = create_agent(scripted([call("ask")]), [ask, decorated(body)], middleware=[RemitMiddleware(server="shop")])
    [answer] = run(agent, asynchronous)

    assert answer.status == "error"
    assert body.entered == []
    assert codes(app) == ["argument_out_of_bounds"]


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("asynchronous", [False, True])
def test_tools_that_middleware_brings_are_governed(app: remit.App, body: Body, asynchronous: bool) -> None:
    """Registered by another middleware, or put in place of one for a call."""

    class Brings(AgentMiddleware[Any, Any]):
        tools = (decorated(body),)

    agent = create_agent(scripted([OUTSIDE]), [], middleware=[Brings(), RemitMiddleware(server="shop")])
    [answer] = run(agent, asynchronous)

    assert answer.status == "error"
    assert body.entered == []


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_tool_that_does_not_exist_is_recorded_when_it_is_called(
    app: remit.App, body: Body, asynchronous: bool
) -> None:
    """A model that invents a tool leaves a trace."""
    agent = create_agent(
        scripted([call("shell", command="id")]), [decorated(body)], middleware=[RemitMiddleware(server="shop")]
    )
    [answer] = run(agent, asynchronous)

    assert answer.status == "error"
    assert answer.artifact["remit"]["code"] == "tool_not_granted"
    assert codes(app) == ["tool_not_granted"]


@pytest.mark.usefixtures("session")
def test_a_granted_tool_that_does_not_exist_is_langgraphs_error_and_an_exception_on_record(app: remit.App) -> None:
    """The grant would have allowed it; there is nothing to run."""
    agent = create_agent(scripted([call("search", text="a")]), [], middleware=[RemitMiddleware(server="shop")])
    [answer] = run(agent, False)

    assert "not a valid tool" in answer.content
    assert kinds(app) == ["call.intent", "call.outcome"]


PROVIDER_TOOLS = [
    {"type": "web_search"},
    {"type": "web_search_20260901", "name": "web_search"},
    {"google_search": {}},
    {"type": "mcp", "server_label": "x", "server_url": "https://example.com"},
]
DECLARED = {"type": "function", "function": {"name": "pay", "parameters": {"type": "object"}}}


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("provided", PROVIDER_TOOLS)
def test_tools_that_the_provider_executes_are_refused(body: Body, provided: dict[str, Any], asynchronous: bool) -> None:
    """They never reach this process, so no grant can bound them."""
    model = scripted([PAY])
    agent = create_agent(model, [decorated(body), provided], middleware=[RemitMiddleware(server="shop")])
    with pytest.raises(remit.UsageError, match="executed by the model's provider"):
        run(agent, asynchronous)

    assert model.turn == 0


@pytest.mark.usefixtures("session")
def test_tools_that_are_bound_to_the_model_beforehand_are_refused_too(body: Body) -> None:
    """`model.bind(tools=…)` hides them in the model's arguments."""
    from remit_langchain.middleware import refuse_provider_tools

    refuse_provider_tools([DECLARED, {"name": "pay", "input_schema": {"type": "object"}}, decorated(body)])
    bound: Any = ScriptedModel(script=[]).bind(tools=[{"type": "web_search"}])
    agent = create_agent(bound, [decorated(body)], middleware=[RemitMiddleware(server="shop")])
    with pytest.raises(remit.UsageError, match="web_search"):
        run(agent, False)


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("asynchronous", [False, True])
def test_ungranted_tools_are_hidden_and_still_recorded_when_called(
    app: remit.App, body: Body, asynchronous: bool
) -> None:
    """The model sees what the grant names; guessing the rest gets it nothing."""
    entered: list[str] = []

    @tool
    def shell(command: str) -> str:
        """Run a command."""
        entered.append(command)
        return "root"

    model = scripted([call("shell", command="id"), PAY])
    agent = create_agent(
        model, [shell, decorated(body)], middleware=[RemitMiddleware(server="shop", hide_ungranted=True)]
    )
    first, second = run(agent, asynchronous)

    assert model.shown == [["pay"], ["pay"]]
    assert first.artifact["remit"]["code"] == "tool_not_granted"
    assert second.content == "paid"
    assert codes(app) == ["tool_not_granted"]
    assert entered == []


def test_without_a_session_every_tool_is_hidden_and_nothing_is_recorded(app: remit.App, body: Body) -> None:
    """Showing tools is no call."""
    model = scripted([])
    middleware = [RemitMiddleware(server="shop", hide_ungranted=True)]
    create_agent(model, [decorated(body)], middleware=middleware).invoke(GO)

    assert model.shown == []
    assert kinds(app) == []


@pytest.mark.usefixtures("session")
def test_a_tool_keeps_its_state_between_the_calls_of_an_agent(app: remit.App, body: Body) -> None:
    """The middleware governs a tool once, not anew for each call."""
    seen: list[int] = []

    class Counting(PayTool):
        def _run(self, order: str, amount: int = 5) -> str:
            answer = super()._run(order, amount)
            seen.append(self.count)
            return answer

    tool = Counting()
    tool._body = body
    again = call("pay", "call_2", order="ord_1", amount=2)
    run(create_agent(scripted([PAY], [again]), [tool], middleware=[RemitMiddleware(server="shop")]), False)

    assert seen == [1, 2]


@pytest.mark.usefixtures("session")
@pytest.mark.requirement("I10")
def test_an_interrupt_in_an_agent_resumes_through_the_middleware(app: remit.App, body: Body) -> None:
    """Identity is the same as for tools that were governed beforehand."""
    from langgraph.types import Command, interrupt

    @tool
    def ask(question: str) -> str:
        """Ask a person."""
        return f"answer: {interrupt(question)}"

    agent = create_agent(
        scripted([PAY, call("ask", "call_2", question="sure?")]),
        [decorated(body), ask],
        middleware=[RemitMiddleware(server="shop")],
        checkpointer=InMemorySaver(),
    )
    config: Any = {"configurable": {"thread_id": "thread-1"}}
    agent.invoke(GO, config)
    found = agent.invoke(Command(resume="yes"), config)

    assert [message.content for message in found["messages"] if message.type == "tool"] == ["paid", "answer: yes"]
    assert len(body.entered) == 1
