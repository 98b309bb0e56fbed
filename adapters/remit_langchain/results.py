"""What came back from a tool: what it says of itself, and the form in which it can be kept and given again.

A node that LangGraph runs again gets the stored result instead of a second run, so messages and commands are kept as
data that they can be built from. What has no such form is not kept; then a second run is refused `already_executed`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, ToolMessage, message_to_dict, messages_from_dict

from remit_langchain.graph import Command, Handoff, Send

TAG: Final = "$langchain"


def said(result: Any) -> tuple[Literal["ok", "tool_error"], str | None]:
    """Whether a returned result says that the tool failed, and in which words (invariant 11)."""
    if isinstance(result, Handoff):
        return "ok", None
    if isinstance(result, ToolMessage):
        return ("tool_error", str(result.content)) if result.status == "error" else ("ok", None)
    if isinstance(result, BaseException):
        return "tool_error", f"{type(result).__name__}: {result}"
    if isinstance(result, Command):
        update = result.update
        return said(update.get("messages") if isinstance(update, Mapping) else update)
    if isinstance(result, list | tuple):
        return next((found for found in map(said, result) if found[0] != "ok"), ("ok", None))
    for name in ("isError", "is_error"):  # MCP's result object, as JSON and as Python spell it
        flag = result.get(name) if isinstance(result, Mapping) else getattr(result, name, None)
        if flag is True:
            return "tool_error", str(result)
    return "ok", None


def keep(result: Any) -> Any:
    """`result` as data that `restore` builds it from again. What has no such form is returned as it is."""
    kind = type(result)
    if kind is list:
        return [keep(item) for item in result]
    if kind is tuple:
        return tuple(keep(item) for item in result)
    if kind is dict:
        kept = {key: keep(item) for key, item in result.items()}
        return {TAG: "map", "v": kept} if TAG in result else kept
    if isinstance(result, BaseMessage):
        return {TAG: "message", "v": message_to_dict(result)}
    if kind is Document:
        return {TAG: "document", "v": result.model_dump()}
    if kind is Command:
        return {TAG: "command", "v": {name: keep(getattr(result, name)) for name in _COMMAND}}
    if kind is Send:
        return {TAG: "send", "v": {"node": result.node, "arg": keep(result.arg)}}
    if isinstance(result, Handoff):
        return {TAG: "handoff", "v": keep(result.args[0])}
    return result


def restore(kept: Any) -> Any:
    """What `keep` was given."""
    if isinstance(kept, list):
        return [restore(item) for item in kept]
    if isinstance(kept, tuple):
        return tuple(restore(item) for item in kept)
    if not isinstance(kept, dict):
        return kept
    if TAG in kept:
        return _READERS[kept[TAG]](kept["v"])
    return _map(kept)


def _map(kept: Mapping[str, Any]) -> dict[str, Any]:
    return {key: restore(item) for key, item in kept.items()}


_COMMAND: Final = ("graph", "update", "resume", "goto")

_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "map": _map,
    "message": lambda kept: messages_from_dict([kept])[0],
    "document": lambda kept: Document(**kept),
    "command": lambda kept: Command(**_map(kept)),
    "send": lambda kept: Send(kept["node"], restore(kept["arg"])),
    "handoff": lambda kept: Handoff(restore(kept)),
}
