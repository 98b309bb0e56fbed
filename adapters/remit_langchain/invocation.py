"""What LangChain's `run` knows of a call and does not tell `_run`: what was sent, the tool call's id, the config."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig, ensure_config

from remit_langchain.arguments import as_sent


@dataclass(slots=True)
class Invocation:
    """One call of `run` or `arun`. Good for one call of `_run` or `_arun`, of the same tool."""

    tool: object
    raw: dict[str, Any] | None
    tool_call_id: str | None
    config: RunnableConfig
    taken: bool = False


_invocation: contextvars.ContextVar[Invocation | None] = contextvars.ContextVar("remit_langchain", default=None)


@contextlib.contextmanager
def noted(tool: object, tool_input: Any, config: RunnableConfig | None, tool_call_id: str | None) -> Iterator[None]:
    """Note an invocation for as long as it runs. LangChain's threads and tasks copy the context, and find it there."""
    token = _invocation.set(Invocation(tool, as_sent(tool_input), tool_call_id, ensure_config(config)))
    try:
        yield
    finally:
        _invocation.reset(token)


def take(tool: object) -> Invocation | None:
    """What `run` noted for exactly this call; a body that calls its own tool again makes another call."""
    found = _invocation.get()
    if found is None or found.tool is not tool or found.taken:
        return None
    found.taken = True
    return found
