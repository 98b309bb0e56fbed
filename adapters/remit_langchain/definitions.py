"""A tool's definition as the model sees it, so that the ledger notices when it changes."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, Tool

import remit
from remit_langchain.arguments import FRAMEWORK
from remit_langchain.dressing import hints_of


class Definitions:
    """The definition of one tool, made again when its schema or description changes."""

    __slots__ = ("_schema", "_text", "key", "latest")

    def __init__(self, key: str) -> None:
        self.key = key
        self.latest: remit.ToolDefinition | None = None
        self._schema: Any = None
        self._text: str | None = None

    def of(self, tool: BaseTool) -> remit.ToolDefinition:
        """The definition that `tool` has now."""
        schema = tool.args_schema
        seen = json.dumps(schema, sort_keys=True, default=repr) if isinstance(schema, dict) else schema
        if self.latest is None or self._schema != seen or self._text != tool.description:
            self.latest = remit.ToolDefinition(self.key, shown_schema(tool), tool.description or None)
            self._schema, self._text = seen, tool.description
        return self.latest


def shown_schema(tool: BaseTool) -> dict[str, Any] | None:
    """The JSON Schema that models see, without what the application or LangChain fills in; None where the arguments
    have no JSON form."""
    try:
        if tool.args_schema is None and isinstance(tool, Tool):
            return {"type": "object", "properties": tool.args, "required": list(tool.args)}
        schema = tool.tool_call_schema
        found: Any = schema if isinstance(schema, dict) else _json_schema(schema)
    except Exception:  # noqa: BLE001 - schemas run foreign code; what it raises has no common class
        return None
    shown = {name: part for name, part in found.items() if name not in ("title", "description")}
    return shown if tool.args_schema is not None else _without(shown, framework_names(tool._run))


def framework_names(method: Callable[..., Any]) -> frozenset[str]:
    """The parameters of a tool's method that LangChain fills in."""
    configs = {name for name, hint in hints_of(method).items() if hint is RunnableConfig}
    return frozenset(configs | (FRAMEWORK & set(inspect.signature(method).parameters)))


def _without(schema: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """A schema that LangChain read from a method, which also shows what LangChain itself fills in."""
    properties = {name: part for name, part in schema.get("properties", {}).items() if name not in names}
    required = [name for name in schema.get("required", []) if name not in names]
    return {**schema, "properties": properties, "required": required}


def _json_schema(model: Any) -> dict[str, Any]:
    made: dict[str, Any] = model.model_json_schema() if hasattr(model, "model_json_schema") else model.schema()
    return made
