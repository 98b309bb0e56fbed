"""`remit mcp`: MCP servers that nobody can change, put behind the gate."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, help="MCP servers behind the gate: proxy.")
