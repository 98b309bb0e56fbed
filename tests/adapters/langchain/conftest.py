"""What the LangChain tests share: a grant, tools that remember what reached their bodies, and a scripted model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolCall
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool, StructuredTool, Tool, tool
from pydantic import PrivateAttr

import remit
from remit.testing import Clock, temporary

SHOP: dict[str, Any] = {
    "task": "Refund order ord_1",
    "principal": "user:ravi@acme.com",
    "agent": "spiffe://acme.com/agents/refunds",
    "expires_in": "20m",
    "limits": {"calls": 100, "denied": 100},
    "tools": {
        "shop.pay": {"arguments": {"order": "ord_1", "amount": {"max": 100}}},
        "shop.look_up": {"arguments": {"order": "ord_1"}},
        "shop.search": "any",
        "shop.ask": "any",
        "shop.approve": {"arguments": {"order": "ord_1"}, "approval": {"by": "role:finance", "reason": "always"}},
    },
}

PEOPLE = {"bob@acme.com": {"roles": ["finance"]}, "ravi@acme.com": {"roles": ["support"]}}


@pytest.fixture
def clock() -> Clock:
    """A clock that stands until the test moves it."""
    return Clock()


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> Iterator[remit.App]:
    """A development app on a real SQLite file."""
    with temporary(tmp_path, clock=clock, people=PEOPLE) as opened:
        yield opened


@pytest.fixture
def grant(app: remit.App) -> remit.Grant:
    """The shop grant."""
    return app.issue(SHOP, credential="user:ravi@acme.com")


@pytest.fixture
def session(app: remit.App, grant: remit.Grant) -> Iterator[remit.Session]:
    """An open session under the shop grant, current for the test."""
    with app.session(grant) as opened:
        yield opened


class Body:
    """The inside of a tool: remembers every entry."""

    def __init__(self) -> None:
        self.entered: list[dict[str, Any]] = []

    def __call__(self, **arguments: Any) -> str:
        self.entered.append(arguments)
        return "paid"


@pytest.fixture
def body() -> Body:
    """A tool body that remembers."""
    return Body()


class PayTool(BaseTool):
    """A tool of a class of its own, synchronous."""

    name: str = "pay"
    description: str = "Pay an order."
    count: int = 0
    _body: Body = PrivateAttr()

    def _run(self, order: str, amount: int = 5) -> str:
        self.count += 1
        return self._body(order=order, amount=amount)


class AsyncPayTool(PayTool):
    """As `PayTool`, with an asynchronous method that leads to the synchronous one."""

    async def _arun(self, order: str, amount: int = 5) -> str:
        return self._run(order, amount)


def decorated(body: Body) -> BaseTool:
    """A plain `@tool` function."""

    @tool
    def pay(order: str, amount: int = 5) -> str:
        """Pay an order."""
        return body(order=order, amount=amount)

    return pay


def structured(body: Body) -> BaseTool:
    """A StructuredTool with both a function and a coroutine."""

    def pay(order: str, amount: int = 5) -> str:
        """Pay an order."""
        return body(order=order, amount=amount)

    async def apay(order: str, amount: int = 5) -> str:
        """Pay an order."""
        return body(order=order, amount=amount)

    return StructuredTool.from_function(pay, coroutine=apay)


def coroutine_only(body: Body) -> BaseTool:
    """A StructuredTool with a coroutine only."""

    @tool
    async def pay(order: str, amount: int = 5) -> str:
        """Pay an order."""
        return body(order=order, amount=amount)

    return pay


def own_class(body: Body) -> BaseTool:
    """A BaseTool subclass with `_run`."""
    made = PayTool()
    made._body = body
    return made


def own_async_class(body: Body) -> BaseTool:
    """A BaseTool subclass with `_run` and `_arun`."""
    made = AsyncPayTool()
    made._body = body
    return made


def single_input(body: Body) -> BaseTool:
    """A `Tool`, which takes one string."""
    return Tool(name="search", func=lambda text: body(text=text), description="Search.")


SYNC_TOOLS = [decorated, structured, own_class, own_async_class]
ASYNC_TOOLS = [decorated, structured, coroutine_only, own_class, own_async_class]


def ways(tool: Any, args: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """Synchronous ways to the body of a tool that takes an order and an amount."""
    found: dict[str, Callable[[], Any]] = {
        "invoke": lambda: tool.invoke(args),
        "invoke with a tool call": lambda: tool.invoke(call("pay", **args)),
        "run": lambda: tool.run(dict(args)),
        "batch": lambda: tool.batch([args]),
        "stream": lambda: list(tool.stream(args)),
        "transform": lambda: list(tool.transform(iter([args]))),
        "_run": lambda: tool._run(**args, config={}) if isinstance(tool, StructuredTool) else tool._run(**args),
    }
    if isinstance(tool, StructuredTool):
        found["func"] = lambda: tool.func(**args)  # type: ignore[misc]
        found["func by position"] = lambda: tool.func(*args.values())  # type: ignore[misc]
    return found


def async_ways(tool: Any, args: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """Asynchronous ways to the same."""

    async def stream() -> None:
        async for _ in tool.astream(args):
            pass

    found: dict[str, Callable[[], Any]] = {
        "ainvoke": lambda: tool.ainvoke(args),
        "ainvoke with a tool call": lambda: tool.ainvoke(call("pay", **args)),
        "arun": lambda: tool.arun(dict(args)),
        "abatch": lambda: tool.abatch([args]),
        "astream": stream,
        "_arun": lambda: tool._arun(**args, config={}) if isinstance(tool, StructuredTool) else tool._arun(**args),
    }
    if isinstance(tool, StructuredTool) and tool.coroutine is not None:
        found["coroutine"] = lambda: tool.coroutine(**args)  # type: ignore[misc]
    return found


def call(name: str, call_id: str = "call_1", /, **args: Any) -> ToolCall:
    """A tool call as a model makes it."""
    return ToolCall(name=name, args=args, id=call_id, type="tool_call")


class ScriptedModel(BaseChatModel):
    """A chat model that says what the script says, one message a turn, and then that it is done."""

    script: list[AIMessage]
    turn: int = 0
    _shown: list[list[str]] = PrivateAttr(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def shown(self) -> list[list[str]]:
        """Names of the tools that each turn was shown."""
        return self._shown

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        self._shown.append([one.get("type", "?") if isinstance(one, dict) else one.name for one in tools])
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        message = self.script[self.turn] if self.turn < len(self.script) else AIMessage("done")
        self.turn += 1
        return ChatResult(generations=[ChatGeneration(message=message)])


def scripted(*turns: Sequence[ToolCall]) -> ScriptedModel:
    """A model that makes these tool calls, one sequence a turn."""
    script = [AIMessage("", tool_calls=list(calls), id=f"turn-{index}") for index, calls in enumerate(turns)]
    return ScriptedModel(script=script)


def kinds(app: remit.App) -> list[str]:
    """Types of the call records, in order."""
    return [record.type for record in app.records() if record.type.startswith("call.")]


def statuses(app: remit.App) -> list[str]:
    """Outcomes, in order."""
    return [record.data["status"] for record in app.records() if record.type == "call.outcome"]


def codes(app: remit.App) -> list[str]:
    """Denial codes, in order."""
    return [record.data["decision"]["code"] for record in app.records() if record.type == "call.denied"]


def disclosed(app: remit.App, kind: str) -> list[dict[str, Any]]:
    """The erasable part of every record of one type."""
    return [record.disclosed() or {} for record in app.records() if record.type == kind]
