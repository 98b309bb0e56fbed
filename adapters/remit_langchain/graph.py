"""What the adapter knows of LangGraph: its control flow, and which of its config keys make a call id unique.

LangGraph is optional here: tools are governed the same without it, only then no call has a stable identity.

Read in langgraph 1.2.24, `pregel/_algo.py`: a task's `checkpoint_ns` ends in its task id, a hash over the id of the
checkpoint the step began from, the namespace, the step and the node (or the index of the `Send`). It is the same when
the step is run again from that checkpoint, after an interrupt or a retry; another step, turn, fork or run has another
checkpoint, so another one. `thread_id` alone names a conversation of many steps, in which providers repeat call ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langchain_core.runnables import RunnableConfig

if TYPE_CHECKING:
    from langgraph.errors import GraphBubbleUp
    from langgraph.errors import ParentCommand as Handoff
    from langgraph.types import Command, Send
else:
    try:
        from langgraph.errors import GraphBubbleUp
        from langgraph.errors import ParentCommand as Handoff
        from langgraph.types import Command, Send
    except ImportError:

        class GraphBubbleUp(Exception):
            """Never raised: LangGraph is not installed."""

        class Handoff(GraphBubbleUp):
            """Never raised: LangGraph is not installed."""

        class Command:
            """Never made: LangGraph is not installed."""

        class Send:
            """Never made: LangGraph is not installed."""


CONTROL_FLOW: Final[tuple[type[BaseException], ...]] = (GraphBubbleUp,)
"""Exceptions that are no failure of the tool: an interrupt waits for an answer, and its call is `pending`."""

SESSION_KEY: Final = "remit_session"
"""`config={"configurable": {"remit_session": session.id}}` names the session of a run."""


class CallIdentity(NamedTuple):
    """The framework's id of a call and what makes it unique; both None when nothing stable is known."""

    call_id: str | None
    scope: str | None


def identify(tool_call_id: str | None, config: RunnableConfig | None) -> CallIdentity:
    """The identity of a call, from its id and the LangGraph task it runs in. Never a bare provider id."""
    known = _configurable(config)
    task = known.get("checkpoint_ns")
    if not tool_call_id or not isinstance(task, str) or not task:
        return CallIdentity(None, None)
    thread = known.get("thread_id")
    return CallIdentity(tool_call_id, json.dumps(["langgraph", None if thread is None else str(thread), task]))


def configured_session(config: RunnableConfig | None) -> str | None:
    """The session id that a run's config names, or None."""
    named = _configurable(config).get(SESSION_KEY)
    return None if named is None else str(named)


def _configurable(config: RunnableConfig | None) -> Mapping[str, Any]:
    return (config or {}).get("configurable") or {}


__all__ = [
    "CONTROL_FLOW",
    "SESSION_KEY",
    "CallIdentity",
    "Command",
    "Handoff",
    "Send",
    "configured_session",
    "identify",
]
