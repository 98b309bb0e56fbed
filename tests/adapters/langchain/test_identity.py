"""Invariant 10 under LangGraph: one call, one run, however often a node runs again; no two calls taken for one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ToolRetryMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, InjectedToolCallId, tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, RetryPolicy, interrupt

import remit
from remit.testing import temporary
from remit_langchain import govern
from tests.adapters.langchain.conftest import SHOP, Body, call, codes, decorated, kinds, scripted, statuses

pytestmark = pytest.mark.requirement("I10")

PAY = call("pay", "call_1", order="ord_1", amount=1)
ASK = call("ask", "call_2", question="sure?")
THREAD: RunnableConfig = {"configurable": {"thread_id": "thread-1"}}


@tool
def ask(question: str) -> str:
    """Ask a person."""
    return f"answer: {interrupt(question)}"


def graph_of(tools: list[BaseTool], saver: BaseCheckpointSaver[Any] | None = None, **node: Any) -> Any:
    """One `ToolNode`, built by hand: all calls of a message run in one task."""
    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode(tools), **node)
    graph.add_edge(START, "tools")
    graph.add_edge("tools", END)
    return graph.compile(checkpointer=saver or InMemorySaver())


def turn(*calls: Any) -> dict[str, Any]:
    """A model's message with these calls, as graph input."""
    return {"messages": [AIMessage("", tool_calls=list(calls))]}


def answers(state: dict[str, Any]) -> list[Any]:
    """Contents of the tool messages."""
    return [message.content for message in state["messages"] if isinstance(message, ToolMessage)]


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_sibling_of_an_interrupt_runs_once_and_its_stored_result_is_given_on_resume(
    app: remit.App, body: Body, asynchronous: bool
) -> None:
    """The node runs again on resume: `pay` is answered from the ledger, `ask` goes on where it waited."""
    graph = graph_of(govern([decorated(body), ask], server="shop"))
    resume: Command[Any] = Command(resume="yes")
    if asynchronous:
        waiting = asyncio.run(graph.ainvoke(turn(PAY, ASK), THREAD))
        found = asyncio.run(graph.ainvoke(resume, THREAD))
    else:
        waiting = graph.invoke(turn(PAY, ASK), THREAD)
        found = graph.invoke(resume, THREAD)

    assert waiting["__interrupt__"][0].value == "sure?"
    assert answers(found) == ["paid", "answer: yes"]
    assert len(body.entered) == 1
    assert sorted(kinds(app)) == [
        "call.intent", "call.intent", "call.outcome", "call.outcome", "call.outcome", "call.replayed", "call.resumed",
    ]  # fmt: skip
    assert sorted(statuses(app)) == ["ok", "ok", "pending"]


@pytest.mark.usefixtures("session")
def test_an_async_interrupt_is_pending_and_then_one_outcome(app: remit.App) -> None:
    """Interrupts pass through the gate untouched; the answer continues the same call."""

    @tool("ask")
    async def ask_later(question: str) -> str:
        """Ask a person."""
        return f"answer: {interrupt(question)}"

    graph = graph_of(govern([ask_later], server="shop"))
    asyncio.run(graph.ainvoke(turn(ASK), THREAD))
    assert statuses(app) == ["pending"]

    found = asyncio.run(graph.ainvoke(Command(resume="yes"), THREAD))
    assert answers(found) == ["answer: yes"]
    assert kinds(app) == ["call.intent", "call.outcome", "call.resumed", "call.outcome"]
    assert statuses(app) == ["pending", "ok"]
    assert len({record.data["call"] for record in app.records() if record.type.startswith("call.")}) == 1


@pytest.mark.usefixtures("session")
def test_an_agent_that_is_interrupted_runs_no_call_twice(app: remit.App, body: Body) -> None:
    """`create_agent` gives each call a task of its own."""
    tools = govern([decorated(body), ask], server="shop")
    agent = create_agent(scripted([PAY, ASK]), tools, checkpointer=InMemorySaver())
    agent.invoke({"messages": [("user", "Pay")]}, THREAD)
    found = agent.invoke(Command(resume="yes"), THREAD)

    assert answers(found) == ["paid", "answer: yes"]
    assert len(body.entered) == 1
    assert sorted(statuses(app)) == ["ok", "ok", "pending"]


def test_a_resume_in_another_process_gives_the_stored_result(tmp_path: Path, body: Body) -> None:
    """Another app on the same ledger, a graph rebuilt, the session rejoined by its key."""
    saver = InMemorySaver()
    with temporary(tmp_path) as app:
        grant = app.issue(SHOP, credential="user:ravi@acme.com")
        with app.session(grant, key="thread:1"):
            graph_of(govern([decorated(body), ask], server="shop"), saver).invoke(turn(PAY, ASK), THREAD)
    with temporary(tmp_path) as app:
        with app.session(grant.id, key="thread:1"):
            found = graph_of(govern([decorated(body), ask], server="shop"), saver).invoke(Command(resume="yes"), THREAD)

        assert answers(found) == ["paid", "answer: yes"]
        assert len(body.entered) == 1
        assert kinds(app).count("call.replayed") == 1


@pytest.mark.usefixtures("session")
def test_a_command_and_an_artifact_are_given_again_as_they_were(app: remit.App) -> None:
    """Stored results are messages and commands again, not their text."""
    entered: list[str] = []

    @tool
    def look_up(order: str, tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Look up an order."""
        entered.append("look_up")
        return Command(update={"messages": [ToolMessage("shipped", tool_call_id=tool_call_id, artifact=[1])]})

    @tool(response_format="content_and_artifact")
    def search(text: str) -> tuple[str, dict[str, Any]]:
        """Search."""
        entered.append("search")
        return "found", {"rows": [1]}

    graph = graph_of(govern([look_up, search, ask], server="shop"))
    graph.invoke(turn(call("look_up", "a", order="ord_1"), call("search", "b", text="x"), ASK), THREAD)
    found = graph.invoke(Command(resume="yes"), THREAD)

    assert answers(found) == ["shipped", "found", "answer: yes"]
    assert [message.artifact for message in found["messages"][1:3]] == [[1], {"rows": [1]}]
    assert sorted(entered) == ["look_up", "search"]


@pytest.mark.usefixtures("session")
@pytest.mark.requirement("code:already_executed")
def test_a_result_that_could_not_be_kept_is_not_replaced_by_a_second_run(app: remit.App) -> None:
    """An object that evidence cannot hold: the model is told that it ran."""
    entered: list[str] = []

    @tool(response_format="content_and_artifact")
    def search(text: str) -> tuple[str, Any]:
        """Search."""
        entered.append(text)
        return "found", object()

    graph = graph_of(govern([search, ask], server="shop"))
    graph.invoke(turn(call("search", "a", text="x"), ASK), THREAD)
    found = graph.invoke(Command(resume="yes"), THREAD)

    assert entered == ["x"]
    assert codes(app) == ["already_executed"]
    assert answers(found)[0].startswith("Refused (already_executed)")


@pytest.mark.usefixtures("session")
def test_two_runs_with_the_same_call_id_are_two_calls(app: remit.App, body: Body) -> None:
    """Two threads, two turns of one thread, and no checkpointer at all: a provider's id is no identity."""
    tools = govern([decorated(body)], server="shop")
    saver = InMemorySaver()
    graph_of(tools, saver).invoke(turn(PAY), {"configurable": {"thread_id": "thread-1"}})
    graph_of(tools, saver).invoke(turn(PAY), {"configurable": {"thread_id": "thread-2"}})
    graph_of(tools, saver).invoke(turn(PAY), {"configurable": {"thread_id": "thread-1"}})
    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "tools")
    for _ in range(2):
        graph.compile().invoke(turn(PAY))

    assert len(body.entered) == 5
    assert kinds(app).count("call.replayed") == 0


@pytest.mark.usefixtures("session")
def test_two_turns_of_an_agent_with_the_same_call_id_are_two_calls(app: remit.App, body: Body) -> None:
    """Some providers number calls from one in every message."""
    agent = create_agent(scripted([PAY], [PAY]), govern([decorated(body)], server="shop"), checkpointer=InMemorySaver())
    agent.invoke({"messages": [("user", "Pay twice")]}, THREAD)

    assert len(body.entered) == 2


@pytest.mark.usefixtures("session")
def test_a_fork_of_the_past_is_another_call(app: remit.App, body: Body) -> None:
    """Somebody who goes back to an earlier checkpoint and runs it again means to."""
    graph = graph_of(govern([decorated(body)], server="shop"))
    graph.invoke(turn(PAY), THREAD)
    [before] = [state for state in graph.get_state_history(THREAD) if state.next == ("tools",)]
    graph.invoke(None, before.config)

    assert len(body.entered) == 2


@pytest.mark.usefixtures("session")
def test_without_a_graph_no_id_is_an_identity(app: remit.App, body: Body) -> None:
    """A loop written by hand knows its own steps; the adapter does not, with or without a thread id."""
    governed = govern(decorated(body), server="shop")
    governed.invoke(PAY)
    governed.invoke(PAY)
    governed.invoke(PAY, THREAD)
    governed.invoke(PAY, THREAD)

    assert len(body.entered) == 4


@pytest.mark.usefixtures("session")
@pytest.mark.requirement("code:call_conflict")
def test_one_id_for_two_contents_in_one_step_is_a_conflict(app: remit.App, body: Body) -> None:
    """A re-entry that says something else is none."""
    governed = govern(decorated(body), server="shop")

    def node(state: MessagesState) -> MessagesState:
        first = governed.invoke(PAY)
        second = governed.invoke(call("pay", "call_1", order="ord_1", amount=2))
        return {"messages": [first, second]}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    found = graph.compile().invoke({"messages": []})

    assert answers(found)[0] == "paid"
    assert answers(found)[1].startswith("Refused (call_conflict)")
    assert len(body.entered) == 1


@pytest.mark.usefixtures("session")
def test_a_node_that_calls_a_tool_and_then_asks_runs_it_once(app: remit.App, body: Body) -> None:
    """Node code runs from its top on resume; what it called with an id is answered from the ledger."""
    governed = govern(decorated(body), server="shop")

    def node(state: MessagesState) -> MessagesState:
        paid = governed.invoke(PAY)
        return {"messages": [paid, HumanMessage(interrupt("sure?"))]}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    compiled = graph.compile(checkpointer=InMemorySaver())
    compiled.invoke({"messages": []}, THREAD)
    found = compiled.invoke(Command(resume="yes"), THREAD)

    assert answers(found) == ["paid"]
    assert len(body.entered) == 1


@pytest.mark.usefixtures("session")
def test_an_agent_inside_a_node_that_asks_runs_its_calls_once(app: remit.App, body: Body) -> None:
    """A subgraph invoked by node code, in a node that is run again."""
    model = scripted([PAY])
    agent = create_agent(model, govern([decorated(body)], server="shop"))

    def node(state: MessagesState) -> MessagesState:
        inner = agent.invoke({"messages": [("user", "Pay")]})
        return {"messages": [*inner["messages"], HumanMessage(interrupt("sure?"))]}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    compiled = graph.compile(checkpointer=InMemorySaver())
    compiled.invoke({"messages": []}, THREAD)
    model.turn = 0  # it would say the same again
    compiled.invoke(Command(resume="yes"), THREAD)

    assert len(body.entered) == 1


@pytest.mark.usefixtures("session")
def test_a_retried_node_runs_no_call_that_ended_well_again(app: remit.App, body: Body) -> None:
    """A sibling fails, LangGraph retries the node: `pay` is answered from the ledger."""
    attempts: list[int] = []

    @tool
    def search(text: str) -> str:
        """Search."""
        attempts.append(1)
        raise ConnectionError("again")

    policy = RetryPolicy(max_attempts=3, initial_interval=0, jitter=False, retry_on=ConnectionError)
    graph = graph_of(govern([decorated(body), search], server="shop"), retry_policy=policy)
    found = graph.invoke(turn(PAY, call("search", "call_2", text="a")), THREAD)

    assert len(body.entered) == 1
    assert len(attempts) == 1
    assert codes(app) == ["already_executed"]
    assert answers(found)[1].startswith("Refused (already_executed)")


@pytest.mark.parametrize(("idempotent", "runs"), [(False, 1), (True, 3)])
def test_a_failed_call_is_retried_only_where_the_catalogue_says_that_it_may(
    tmp_path: Path, idempotent: bool, runs: int
) -> None:
    """Retry middleware runs an idempotent tool again, and is refused for any other."""
    attempts: list[int] = []

    @tool
    def search(text: str) -> str:
        """Search."""
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError("again")
        return "found"

    catalogue = {"tools": {"shop.search": {"accesses": ["read kb://articles"], "idempotent": idempotent}}}
    with temporary(tmp_path, catalogue=catalogue) as app:
        grant = app.issue(
            {**SHOP, "tools": {"shop.search": {"resources": ["read kb://articles"], "arguments": {"text": "any"}}}},
            credential="user:ravi@acme.com",
        )
        agent = create_agent(
            scripted([call("search", text="a")]),
            govern([search], server="shop"),
            middleware=[ToolRetryMiddleware(max_retries=5, initial_delay=0, jitter=False)],
        )
        with app.session(grant):
            found = agent.invoke({"messages": [("user", "Search")]})

        assert len(attempts) == runs
        assert answers(found)[0].startswith("found" if idempotent else "Refused (already_executed)")


@pytest.mark.usefixtures("session")
def test_a_handoff_to_the_parent_graph_is_a_call_that_ended(app: remit.App) -> None:
    """`Command(graph=PARENT)` raised from inside a tool's own subgraph leaves by an exception, and is no failure."""
    from langgraph.errors import ParentCommand

    @tool
    def search(text: str) -> str:
        """Search."""
        raise ParentCommand(Command(graph="x", goto="other"))

    with pytest.raises(ParentCommand):
        govern(search, server="shop").invoke({"text": "a"})

    assert statuses(app) == ["ok"]
