"""What an application injects reaches the body as before, is judged apart from the model's arguments, and what
LangChain tools can do besides survives."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler, CallbackManagerForToolRun
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, InjectedToolArg, InjectedToolCallId, StructuredTool, ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, InjectedStore, ToolNode, ToolRuntime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

import remit
from remit_langchain import govern
from tests.adapters.langchain.conftest import call, codes, disclosed, kinds, scripted, statuses

pytestmark = pytest.mark.usefixtures("session")


class State(MessagesState):
    """A graph's state with a scalar in it."""

    customer: str


def in_tool_node(tool: BaseTool, *calls: Any, **compile_with: Any) -> list[Any]:
    """Run calls in a hand-built graph; the tool messages."""
    graph = StateGraph(State)
    graph.add_node("tools", ToolNode([tool]))
    graph.add_edge(START, "tools")
    graph.add_edge("tools", END)
    found = graph.compile(**compile_with).invoke({"messages": scripted(calls).script, "customer": "cust_1"})
    return [message for message in found["messages"] if isinstance(message, ToolMessage)]


def test_injected_arguments_reach_the_body_and_are_recorded_apart(app: remit.App) -> None:
    """`InjectedToolArg` and `InjectedToolCallId`: filled in by the program, hidden from the model."""
    seen: list[Any] = []

    @tool
    def search(
        text: str, user: Annotated[str, InjectedToolArg], tool_call_id: Annotated[str, InjectedToolCallId]
    ) -> str:
        """Search."""
        seen.append((text, user, tool_call_id))
        return "found"

    governed = govern(search, server="shop")
    governed.invoke(call("search", text="a", user="ravi"))

    assert seen == [("a", "ravi", "call_1")]
    [intent] = disclosed(app, "call.intent")
    assert intent["arguments"] == {"text": "a"}
    assert intent["injected"] == {"user": "ravi", "tool_call_id": "call_1"}
    assert set(governed.args) == {"text"}


def test_a_grant_can_bound_what_is_injected(app: remit.App) -> None:
    """The injected view is judged by `injected:`."""
    grant = app.issue(
        {
            "task": "Search as ravi",
            "principal": "user:ravi@acme.com",
            "agent": "spiffe://acme.com/agents/search",
            "expires_in": "20m",
            "tools": {"shop.search": {"arguments": {"text": "any"}, "injected": {"user": {"eq": "ravi"}}}},
        },
        credential="user:ravi@acme.com",
    )

    @tool
    def search(text: str, user: Annotated[str, InjectedToolArg]) -> str:
        """Search."""
        return "found"

    governed = govern(search, server="shop", session=app.session(grant, key="search"))
    import contextvars

    run = contextvars.Context().run
    assert run(governed.invoke, call("search", text="a", user="ravi")).status == "success"
    assert run(governed.invoke, call("search", text="a", user="mallory")).status == "error"


def test_state_and_store_reach_the_body_and_only_scalars_the_record(app: remit.App) -> None:
    """`InjectedState` whole and by field, `InjectedStore`, `ToolRuntime`."""
    seen: list[Any] = []
    store = InMemoryStore()

    @tool
    def search(
        text: str,
        state: Annotated[dict[str, Any], InjectedState],
        customer: Annotated[str, InjectedState("customer")],
        store: Annotated[BaseStore, InjectedStore()],
        runtime: ToolRuntime,
    ) -> str:
        """Search."""
        seen.append((text, sorted(state), customer, store, runtime.tool_call_id))
        return "found"

    [answer] = in_tool_node(govern(search, server="shop"), call("search", text="a"), store=store)

    assert answer.content == "found"
    assert seen == [("a", ["customer", "messages"], "cust_1", store, "call_1")]
    [intent] = disclosed(app, "call.intent")
    assert intent["arguments"] == {"text": "a"}
    assert intent["injected"] == {"customer": "cust_1"}


def test_a_model_cannot_forge_what_a_tool_node_injects(app: remit.App) -> None:
    """LangGraph replaces it, and the adapter does not take it for an argument."""
    seen: list[Any] = []

    @tool
    def search(text: str, customer: Annotated[str, InjectedState("customer")]) -> str:
        """Search."""
        seen.append(customer)
        return "found"

    in_tool_node(govern(search, server="shop"), call("search", text="a", customer="FORGED"))

    assert seen == ["cust_1"]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_runtime_of_a_tool_class_is_injected(app: remit.App, asynchronous: bool) -> None:
    """A BaseTool subclass whose `_run` takes a `ToolRuntime` and a config."""
    seen: list[Any] = []

    class Search(BaseTool):
        name: str = "search"
        description: str = "Search."

        def _run(self, text: str, runtime: ToolRuntime, config: RunnableConfig) -> str:
            seen.append((text, runtime.tool_call_id, config["configurable"]["remit_test"]))
            return "found"

    agent = create_agent(scripted([call("search", text="a")]), [govern(Search(), server="shop")])
    config: Any = {"configurable": {"remit_test": "x"}}
    if asynchronous:
        asyncio.run(agent.ainvoke({"messages": [("user", "go")]}, config))
    else:
        agent.invoke({"messages": [("user", "go")]}, config)

    assert seen == [("a", "call_1", "x")]
    assert disclosed(app, "call.intent")[0]["arguments"] == {"text": "a"}


class Recorder(BaseCallbackHandler):
    """Remembers tool callbacks."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def on_tool_start(self, *args: Any, **kwargs: Any) -> None:
        self.events.append("start")

    def on_tool_end(self, *args: Any, **kwargs: Any) -> None:
        self.events.append("end")

    def on_tool_error(self, *args: Any, **kwargs: Any) -> None:
        self.events.append("error")

    def on_custom_event(self, name: str, *args: Any, **kwargs: Any) -> None:
        self.events.append(name)


def test_callbacks_config_and_run_manager_survive(app: remit.App) -> None:
    """Tracing sees governed calls, refusals as errors, and children of the body."""
    handler = Recorder()
    seen: list[Any] = []

    class Search(BaseTool):
        name: str = "search"
        description: str = "Search."

        def _run(self, text: str, run_manager: CallbackManagerForToolRun | None = None) -> str:
            assert run_manager is not None
            seen.append(run_manager.parent_run_id)
            return text

    @tool
    def ask(text: str, config: RunnableConfig) -> str:
        """Ask."""
        seen.append(config["tags"])
        return text

    @tool
    def pay(order: str) -> str:
        """Pay."""
        raise AssertionError

    config: RunnableConfig = {"callbacks": [handler], "tags": ["x"]}
    govern(Search(), server="shop").invoke({"text": "a"}, config)
    govern(ask, server="shop").invoke({"text": "a"}, config)
    refused = govern(pay, server="shop").invoke(call("pay", order="ord_2"), config)

    assert seen == [None, ["x"]]
    assert refused.status == "error"
    assert handler.events == ["start", "end", "start", "end", "start", "error"]


def test_content_and_artifact_survive(app: remit.App) -> None:
    """The artifact reaches the message and not the model; both are recorded."""

    @tool(response_format="content_and_artifact")
    def search(text: str) -> tuple[str, dict[str, Any]]:
        """Search."""
        return "found", {"rows": [1, 2]}

    answer = govern(search, server="shop").invoke(call("search", text="a"))

    assert (answer.content, answer.artifact) == ("found", {"rows": [1, 2]})
    assert statuses(app) == ["ok"]


def test_fields_survive(app: remit.App) -> None:
    """`return_direct`, tags, metadata and extras are what they were."""
    made = StructuredTool.from_function(
        lambda text: text, name="search", description="Search.", return_direct=True, tags=["a"], metadata={"b": 1}
    )
    made.extras = {"defer_loading": True}
    governed = govern(made)

    assert governed.return_direct
    assert (governed.tags, governed.metadata, governed.extras) == (["a"], {"b": 1}, {"defer_loading": True})


def test_return_direct_ends_an_agent(app: remit.App) -> None:
    """An agent stops after a governed tool that returns directly."""

    @tool(return_direct=True)
    def search(text: str) -> str:
        """Search."""
        return text

    model = scripted([call("search", text="a")], [call("search", "call_2", text="b")])
    create_agent(model, [govern(search, server="shop")]).invoke({"messages": [("user", "go")]})

    assert model.turn == 1
    assert kinds(app) == ["call.intent", "call.outcome"]


@pytest.mark.parametrize("handler", [True, "please retry", lambda error: "please retry"])
def test_a_tools_own_error_handling_survives_and_does_not_mask_a_refusal(app: remit.App, handler: Any) -> None:
    """`handle_tool_error` answers for the tool's exceptions; the gate answers for itself."""

    @tool
    def search(text: str) -> str:
        """Search."""
        raise ToolException("please retry")

    @tool
    def pay(order: str) -> str:
        """Pay."""
        raise AssertionError

    failing, refused = govern(search, server="shop"), govern(pay, server="shop")
    failing.handle_tool_error = refused.handle_tool_error = handler
    failing.handle_validation_error = refused.handle_validation_error = True

    assert failing.invoke(call("search", text="a")).content == "please retry"
    answer = refused.invoke(call("pay", order="ord_2"))
    assert "Do not retry the same call." in answer.content
    with pytest.raises(remit.Denied):
        refused.invoke({"order": "ord_2"})
    assert statuses(app) == ["exception"]
    assert codes(app) == ["argument_out_of_bounds"] * 2


def test_a_command_reaches_the_graph(app: remit.App) -> None:
    """A tool may update the graph's state."""

    @tool
    def search(text: str, tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Search."""
        return Command(update={"customer": "cust_2", "messages": [ToolMessage("ok", tool_call_id=tool_call_id)]})

    graph = StateGraph(State)
    graph.add_node("tools", ToolNode([govern(search, server="shop")]))
    graph.add_edge(START, "tools")
    graph.add_edge("tools", END)
    compiled = graph.compile(checkpointer=InMemorySaver())
    found = compiled.invoke(
        {"messages": scripted([call("search", text="a")]).script, "customer": "cust_1"},
        {"configurable": {"thread_id": "t"}},
    )

    assert found["customer"] == "cust_2"
    assert statuses(app) == ["ok"]
