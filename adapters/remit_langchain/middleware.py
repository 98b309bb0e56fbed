"""`RemitMiddleware`: governs whatever tools an agent or a `ToolNode` is given, and what the model is shown of them."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.tools import BaseTool
from langgraph.types import Command

import remit
from remit.current import resolve_session
from remit_langchain.arguments import Arguments
from remit_langchain.definitions import Definitions
from remit_langchain.governing import govern
from remit_langchain.graph import configured_session, identify
from remit_langchain.refusals import refusal_message
from remit_langchain.seat import Passage, Seat

Answer = ToolMessage | Command[Any]

MAX_KNOWN: Final = 1024
"""Governed tools that a middleware remembers; tools made anew for each request push out the oldest."""


class RemitMiddleware(AgentMiddleware[Any, Any]):
    """Put it last in `create_agent(…, middleware=[…, RemitMiddleware()])`, or give its hooks to a `ToolNode`:
    `ToolNode(tools, wrap_tool_call=m.wrap_tool_call, awrap_tool_call=m.awrap_tool_call)`.

    Tools that are governed already pass as they are; others are governed for the call, with those that tool code can
    reach through its runtime. A call to a tool that does not exist is judged and recorded too. Tools that the model's
    provider executes never reach this process: a model request that carries one is refused with `UsageError`.

    Args:
        app, session, server: As for `govern`.
        hide_ungranted: Do not show the model tools that the session's grant does not name. A hidden tool that is
            called all the same is refused and recorded.
    """

    def __init__(
        self,
        app: remit.App | None = None,
        session: remit.Session | None = None,
        server: str | None = None,
        *,
        hide_ungranted: bool = False,
    ) -> None:
        super().__init__()
        self._app = app
        self._session = session
        self._server = server
        self._hide_ungranted = hide_ungranted
        self._known: dict[int, tuple[BaseTool, BaseTool]] = {}
        self._lock = threading.Lock()

    # -- tool calls

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Answer]) -> Answer:
        """Have the call pass the gate, exactly once."""
        if request.tool is None:
            refused = self._judge_missing(request)
            return refused if refused is not None else handler(request)
        return handler(self._governed(request))

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Answer]]
    ) -> Answer:
        """As `wrap_tool_call`."""
        if request.tool is None:
            refused = await asyncio.to_thread(self._judge_missing, request)
            return refused if refused is not None else await handler(request)
        return await handler(self._governed(request))

    def _governed(self, request: ToolCallRequest) -> ToolCallRequest:
        runtime = request.runtime
        if runtime is not None and runtime.tools:
            runtime = dataclasses.replace(runtime, tools=[self._govern(tool) for tool in runtime.tools])
        assert request.tool is not None
        return dataclasses.replace(request, tool=self._govern(request.tool), runtime=runtime)

    def _govern(self, tool: BaseTool) -> BaseTool:
        """The governed tool of `tool`: the same one each time, since a tool may keep state between calls."""
        with self._lock:
            known, governed = self._known.get(id(tool), (None, None))
            if known is not tool or governed is None:
                governed = govern(tool, self._app, self._session, self._server)
                self._known[id(tool)] = (tool, governed)
                if len(self._known) > MAX_KNOWN:
                    del self._known[next(iter(self._known))]
            return governed

    def _judge_missing(self, request: ToolCallRequest) -> ToolMessage | None:
        """The refusal of a call to a tool that is not there; None when a grant would allow it."""
        call = request.tool_call
        config = request.runtime.config if request.runtime is not None else ensure_config()
        arguments = Arguments(dict(call["args"]))
        passage = Passage(self._seat(call["name"]), arguments, config, identify(call["id"], config), None)
        try:
            passage.through(_missing)
        except _MissingTool:
            return None
        except remit.Denied as denied:
            return refusal_message(denied, call["id"] or "", call["name"])
        raise AssertionError("a missing tool cannot return")

    def _seat(self, name: str) -> Seat:
        key = f"{self._server}.{name}" if self._server else name
        return Seat(key, self._app, self._session, Definitions(key))

    # -- model calls

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Refuse what cannot be governed; hide what is not granted."""
        return handler(self._shown(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """As `wrap_model_call`."""
        return await handler(await asyncio.to_thread(self._shown, request))

    def _shown(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        bound = getattr(request.model, "kwargs", None) or {}
        refuse_provider_tools([*request.tools, *_listed(request.model_settings), *_listed(bound)])
        if not self._hide_ungranted:
            return request
        config = ensure_config()
        shown = [tool for tool in request.tools if not isinstance(tool, BaseTool) or self._granted(tool, config)]
        return request.override(tools=shown)

    def _granted(self, tool: BaseTool, config: RunnableConfig) -> bool:
        seat: Seat = self._govern(tool)._remit_seat  # type: ignore[attr-defined]
        try:
            session = resolve_session(seat.session, configured_session(config), seat.app)
        except remit.Denied:
            return False  # no session, no grant: nothing was called yet, so there is nothing to record
        return session.explain(seat.key, {}).code != "tool_not_granted"


def refuse_provider_tools(tools: Iterable[Any]) -> None:
    """Raises `UsageError` when one of `tools` is executed by the model's provider, out of the gate's reach.

    A dict that only declares a function is none: its calls come back here.
    """
    for tool in tools:
        if isinstance(tool, dict) and not _declares_function(tool):
            name = tool.get("type") or tool.get("name") or ", ".join(map(str, tool)) or "unnamed"
            raise remit.UsageError(
                f"the tool {name!r} is executed by the model's provider and never reaches this process, so no grant "
                "can bound it and no record can be made; remove it from the agent's tools"
            )


def _declares_function(tool: dict[str, Any]) -> bool:
    kind = tool.get("type")
    return kind in ("function", "custom") or (kind is None and "name" in tool and "input_schema" in tool)


def _listed(settings: Any) -> list[Any]:
    tools = settings.get("tools") if isinstance(settings, dict) else None
    return list(tools) if isinstance(tools, list | tuple) else []


class _MissingTool(Exception):
    """The tool that was called does not exist."""


def _missing(**_: Any) -> None:
    raise _MissingTool("no tool of this name is registered")
