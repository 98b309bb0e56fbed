"""What a server says of its tools, as it is pinned with every call: schema and text, under the operator's tool key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import remit


class Definitions:
    """Makes one `ToolDefinition` per tool and content; made again only when the server says something else."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._known: dict[str, tuple[Any, str | None, remit.ToolDefinition]] = {}

    def of(self, tool: str, schema: Mapping[str, Any] | None, description: str | None) -> remit.ToolDefinition:
        """The definition of `tool` as listed just now."""
        known = self._known.get(tool)
        if known is not None and known[0] == schema and known[1] == description:
            return known[2]
        made = remit.ToolDefinition(f"{self._server}.{tool}", schema, description)
        self._known[tool] = (schema, description, made)
        return made
