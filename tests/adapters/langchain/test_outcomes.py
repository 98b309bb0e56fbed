"""How a call ended, told truthfully: LangChain has many ways of failing without raising."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, StructuredTool, ToolException, tool
from langgraph.types import Command

import remit
from remit_langchain import govern
from remit_langchain.results import keep, restore, said
from tests.adapters.langchain.conftest import call, disclosed, kinds, statuses

pytestmark = [pytest.mark.requirement("I11"), pytest.mark.usefixtures("session")]


def returning(result: Any, **fields: Any) -> BaseTool:
    """A governed tool that returns, or raises, this."""

    def search(text: str) -> Any:
        if isinstance(result, BaseException) and not fields.pop("return_it", False):
            raise result
        return result

    return govern(StructuredTool.from_function(search, name="search", description="Search.", **fields), server="shop")


class Result:
    """A result object such as MCP clients return."""

    def __init__(self, is_error: bool) -> None:
        self.is_error = is_error


FAILED = ToolMessage("no such order", tool_call_id="call_1", status="error")


@pytest.mark.parametrize(
    ("result", "status"),
    [
        ("found", "ok"),
        ({"isError": False}, "ok"),
        (ToolMessage("fine", tool_call_id="call_1"), "ok"),
        (Result(False), "ok"),
        (FAILED, "tool_error"),
        ([FAILED], "tool_error"),
        ({"isError": True, "content": []}, "tool_error"),
        (Result(True), "tool_error"),
        (Command(update={"messages": [FAILED]}), "tool_error"),
    ],
)
def test_a_returned_error_object_is_tool_error(app: remit.App, result: Any, status: str) -> None:
    """ "Returned normally" is not "succeeded"."""
    returning(result).invoke({"text": "a"})

    assert statuses(app) == [status]


def test_a_returned_exception_is_tool_error() -> None:
    """Some tools return what they should have raised."""
    assert said(ValueError("boom")) == ("tool_error", "ValueError: boom")


@pytest.mark.parametrize(
    ("error", "status"),
    [(ToolException("no"), "exception"), (ValueError("boom"), "exception"), (KeyboardInterrupt(), "cancelled")],
)
def test_a_raised_error_is_recorded_and_reaches_the_caller(app: remit.App, error: BaseException, status: str) -> None:
    """The exception passes through untouched."""
    with pytest.raises(type(error)):
        returning(error).invoke({"text": "a"})

    assert statuses(app) == [status]


def test_a_wrong_shape_of_content_and_artifact_is_langchains_error_after_a_call_that_ran(app: remit.App) -> None:
    """The tool did run, and returned; what LangChain makes of it is another matter."""
    with pytest.raises(ValueError, match="two-tuple"):
        returning("no tuple", response_format="content_and_artifact").invoke({"text": "a"})

    assert statuses(app) == ["ok"]


def test_a_cancelled_coroutine_is_cancelled(app: remit.App) -> None:
    """It was stopped while it ran."""

    async def main() -> None:
        entered = asyncio.Event()

        @tool
        async def search(text: str) -> str:
            """Search."""
            entered.set()
            await asyncio.Event().wait()
            return text

        task = asyncio.ensure_future(govern(search, server="shop").ainvoke({"text": "a"}))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert statuses(app) == ["cancelled"]


@pytest.mark.parametrize("by", ["ainvoke", "arun"])
def test_a_cancelled_await_of_a_tool_in_a_thread_does_not_say_that_the_tool_stopped(app: remit.App, by: str) -> None:
    """The gate is in the thread, so the outcome is what the thread came to."""
    entered, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    app.on("call.outcome", lambda details: ended.set())

    @tool
    def search(text: str) -> str:
        """Search."""
        entered.set()
        go_on.wait(10)
        return text

    async def main() -> None:
        task = asyncio.ensure_future(getattr(govern(search, server="shop"), by)({"text": "a"}))
        await asyncio.to_thread(entered.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert statuses(app) == []
        go_on.set()

    asyncio.run(main())
    assert ended.wait(10)
    assert statuses(app) == ["ok"]


def test_a_sync_call_of_a_coroutine_only_tool_never_enters_the_gate(app: remit.App) -> None:
    """There is no synchronous body, so there is nothing to intend."""

    @tool
    async def search(text: str) -> str:
        """Search."""
        return text

    with pytest.raises(NotImplementedError, match="sync invocation"):
        govern(search, server="shop").invoke({"text": "a"})
    assert kinds(app) == []


def test_arguments_that_langchain_refuses_never_reach_the_gate(app: remit.App) -> None:
    """A validation error is LangChain's answer; no authority was used and none asked for."""

    @tool
    def search(text: str) -> str:
        """Search."""
        raise AssertionError

    governed = govern(search, server="shop")
    governed.handle_validation_error = "say it differently"

    assert governed.invoke(call("search", text=7)).content == "say it differently"
    assert kinds(app) == []


def test_a_result_is_recorded(app: remit.App) -> None:
    """In the erasable part of the outcome, messages as data."""
    returning("found").invoke({"text": "a"})
    returning(FAILED).invoke({"text": "a"})
    first, second = disclosed(app, "call.outcome")

    assert first["result"] == "found"
    assert second["result"]["v"]["data"]["content"] == "no such order"
    assert second["error"] == "no such order"


@pytest.mark.parametrize(
    "result",
    [
        "found",
        ["a", {"b": 1}],
        ("content", {"rows": [1]}),
        {"$langchain": "map", "v": 1},
        FAILED,
        [FAILED, Command(goto="next")],
        Command(graph=Command.PARENT, goto=["a", "b"], update={"messages": [FAILED], "n": 1}),
    ],
)
def test_what_is_kept_can_be_given_again(result: Any) -> None:
    """A node that runs again gets the same objects."""
    assert restore(keep(result)) == result
