"""What a model and a program are told of a refusal."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ToolRetryMiddleware
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

import remit
from remit_langchain import govern
from tests.adapters.langchain.conftest import Body, call, codes, decorated, kinds, scripted

pytestmark = [pytest.mark.requirement("I2"), pytest.mark.usefixtures("session")]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_model_gets_an_error_message_with_code_and_remedy(app: remit.App, body: Body, asynchronous: bool) -> None:
    """`status="error"`, one sentence for the model, and the facts in the artifact."""
    governed = govern(decorated(body), server="shop")
    request = call("pay", order="ord_2", amount=1)
    answer = asyncio.run(governed.ainvoke(request)) if asynchronous else governed.invoke(request)

    assert isinstance(answer, ToolMessage)
    assert (answer.status, answer.tool_call_id, answer.name) == ("error", "call_1", "pay")
    assert answer.text.startswith("Refused (argument_out_of_bounds): ")
    assert answer.text.endswith("Do not retry the same call.")
    [denied] = [record.data for record in app.records() if record.type == "call.denied"]
    assert answer.artifact["remit"]["call_id"] == denied["call"]
    assert answer.artifact["remit"]["rule"] == denied["decision"]["rule"]
    assert answer.artifact["remit"]["remedy"]["kind"] == "change_argument"
    assert body.entered == []


def test_a_program_gets_an_exception(app: remit.App, body: Body) -> None:
    """Without a tool call id there is no model to answer."""
    with pytest.raises(remit.Denied) as caught:
        govern(decorated(body), server="shop").invoke({"order": "ord_2"})

    assert caught.value.code == "argument_out_of_bounds"


def test_an_agent_goes_on_after_a_refusal(app: remit.App, body: Body) -> None:
    """The refusal is a tool result; the model's next turn may do better."""
    model = scripted([call("pay", order="ord_2", amount=1)], [call("pay", "call_2", order="ord_1", amount=1)])
    found = create_agent(model, govern([decorated(body)], server="shop")).invoke({"messages": [("user", "Pay")]})

    assert [message.status for message in found["messages"] if message.type == "tool"] == ["error", "success"]
    assert kinds(app) == ["call.denied", "call.intent", "call.outcome"]


@pytest.mark.parametrize("handling", [True, False, "please retry", lambda error: "please retry"])
def test_no_error_handling_of_a_tool_node_masks_a_refusal(app: remit.App, body: Body, handling: Any) -> None:
    """The message says refused, whatever the node makes of exceptions."""
    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode(govern([decorated(body)], server="shop"), handle_tool_errors=handling))
    graph.add_edge(START, "tools")
    graph.add_edge("tools", END)
    found = graph.compile().invoke({"messages": scripted([call("pay", order="ord_2")]).script})

    assert found["messages"][-1].content.startswith("Refused (")


def test_a_refusal_is_not_retried(app: remit.App, body: Body) -> None:
    """Retry middleware retries exceptions; a refusal is an answer."""
    agent = create_agent(
        scripted([call("pay", order="ord_2", amount=1)]),
        govern([decorated(body)], server="shop"),
        middleware=[ToolRetryMiddleware(max_retries=3, initial_delay=0, jitter=False)],
    )
    agent.invoke({"messages": [("user", "Pay")]})

    assert codes(app) == ["argument_out_of_bounds"]


@pytest.mark.requirement("code:approval_required")
def test_a_call_that_needs_approval_says_so_and_runs_once_it_is_given(app: remit.App) -> None:
    """The model is told to wait; after the answer the same call, made again, runs once."""
    entered: list[str] = []

    @tool
    def approve(order: str) -> str:
        """Approve."""
        entered.append(order)
        return "approved"

    governed = govern(approve, server="shop")
    answer = governed.invoke(call("approve", order="ord_1"))
    facts = answer.artifact["remit"]

    assert (answer.status, facts["code"], facts["remedy"]["kind"]) == ("error", "approval_required", "await_approval")
    with pytest.raises(remit.ApprovalRequired):
        governed.invoke({"order": "ord_1"})
    assert entered == []

    app.approve(facts["remedy"]["approval_id"], credential="user:bob@acme.com")
    assert governed.invoke(call("approve", "call_2", order="ord_1")).content == "approved"
    assert governed.invoke(call("approve", "call_3", order="ord_1")).status == "error"
    assert entered == ["ord_1"]


@pytest.mark.requirement("code:evidence_unavailable")
def test_missing_evidence_is_never_an_answer_to_the_model(app: remit.App, body: Body, tmp_path: Path) -> None:
    """When no record can be made the run stops, also where a refusal would have been a message."""
    agent = create_agent(scripted([call("pay", order="ord_1", amount=1)]), govern([decorated(body)], server="shop"))
    (tmp_path / "remit.db").rename(tmp_path / "elsewhere.db")

    with pytest.raises(remit.EvidenceUnavailable) as caught:
        agent.invoke({"messages": [("user", "Pay")]})
    (tmp_path / "elsewhere.db").rename(tmp_path / "remit.db")
    assert not caught.value.executed
    assert body.entered == []


@pytest.mark.requirement("code:grant_expired")
def test_a_refusal_by_time_is_an_answer_too(app: remit.App, body: Body, clock: Any) -> None:
    """The grant ends while the agent works."""
    governed = govern(decorated(body), server="shop")
    clock.forward(minutes=21)

    answer = governed.invoke(call("pay", order="ord_1", amount=1))
    assert answer.artifact["remit"]["code"] == "grant_expired"
    assert body.entered == []
