"""A tool's definition as the model sees it, so that the ledger notices when it changes."""

from __future__ import annotations

import json
from typing import Any

from langchain_core.tools import BaseTool

import remit


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
    """The JSON Schema that models see, without injected arguments; None where the arguments have no JSON form."""
    try:
        schema = tool.tool_call_schema
        found: Any = schema if isinstance(schema, dict) else _json_schema(schema)
    except Exception:  # noqa: BLE001 - schemas run foreign code; what it raises has no common class
        return None
    return {name: part for name, part in found.items() if name not in ("title", "description")}


def _json_schema(model: Any) -> dict[str, Any]:
    made: dict[str, Any] = model.model_json_schema() if hasattr(model, "model_json_schema") else model.schema()
    return made
