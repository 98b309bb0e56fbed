"""Tools that an agent can reach without the gate, as far as configuration and records tell.

What is looked at: the configuration files of MCP clients, in which a server is governed when its command is Remit's
own proxy, under its own name or through `uvx`, `uv run`, `pipx run` or `python -m`; and the ledger, in which a tool is
governed when a call of it came through. What cannot be seen from here is named in docs/operations.md: tools that a
program calls directly, clients whose files lie elsewhere, and whatever a shell or an interpreter tool can reach.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlmodel import col

from remit.doctor.findings import Finding
from remit.store.tables import CallRow, ToolRow

if TYPE_CHECKING:
    from remit.app import App

PLACES: Final = (
    ".mcp.json",
    "mcp.json",
    ".cursor/mcp.json",
    ".vscode/mcp.json",
    "claude_desktop_config.json",
    "~/.claude.json",
    "~/.cursor/mcp.json",
    "~/.codeium/windsurf/mcp_config.json",
    "~/.config/Claude/claude_desktop_config.json",
    "~/Library/Application Support/Claude/claude_desktop_config.json",
    "~/AppData/Roaming/Claude/claude_desktop_config.json",
)
"""Where MCP clients keep their servers; relative ones below the current folder."""

_SECTIONS: Final = ("mcpServers", "servers")
_LAUNCHERS: Final = frozenset({"uvx", "uv", "pipx", "python", "python3", "run", "-m", "--from", "tool", "env"})
MAX_BYTES: Final = 1 << 20


class Server(NamedTuple):
    """One server in a client's configuration. `governed` is None where its tools cannot be told from the file."""

    file: Path
    name: str
    governed: bool
    how: str


def configured(files: Iterable[Path] | None = None) -> Iterator[Server | Finding]:
    """Every server of every configuration file that is there; a finding for a file that cannot be read."""
    for file in _files() if files is None else files:
        try:
            content = file.read_bytes()
            tree = json.loads(content) if len(content) <= MAX_BYTES else None
        except (OSError, ValueError) as error:
            yield Finding("MCP servers", "warn", f"{file} cannot be read ({type(error).__name__})", "read it yourself")
            continue
        for name, entry in _servers(tree):
            yield Server(file, name, *_judge(entry))


def look(app: App | None, files: Iterable[Path] | None = None) -> Iterator[Finding]:
    """Findings on servers beside the proxy, and on tools that were listed and never came through the gate."""
    found = list(configured(files))
    yield from (one for one in found if isinstance(one, Finding))
    servers = [one for one in found if isinstance(one, Server)]
    outside = [one for one in servers if not one.governed]
    for one in outside:
        yield Finding(
            "outside the gate",
            "fail",
            f"{one.file}: the server {one.name} is reachable without Remit ({one.how})",
            f"put its command behind `remit mcp proxy --name {one.name} …` (docs/mcp.md)",
        )
    if servers and not outside:
        yield Finding("MCP servers", "ok", f"all {len(servers)} configured servers are behind the proxy")
    if app is not None:
        yield from _never_called(app)


def _never_called(app: App) -> Iterator[Finding]:
    reading = app.ledger.read()
    known = {row[0] for row in reading.rows(select(col(ToolRow.key)))}
    came = {row[0] for row in reading.rows(select(col(CallRow.tool)).distinct())}
    never = sorted(known - came)
    if never:
        more = f" and {len(never) - 5} more" if len(never) > 5 else ""
        yield Finding(
            "tools never called",
            "ok",
            f"listed, and no call came through the gate: {', '.join(never[:5])}{more}; where an agent uses one of them "
            "all the same, it goes past the gate",
        )


def _files() -> Iterator[Path]:
    seen = set()
    for place in PLACES:
        path = Path(place).expanduser()
        if path.is_file() and path.resolve() not in seen:
            seen.add(path.resolve())
            yield path


def _servers(tree: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(name, entry) wherever a client keeps them: at the top, or per project."""
    if not isinstance(tree, dict):
        return
    for section in _SECTIONS:
        servers = tree.get(section)
        if isinstance(servers, dict):
            yield from ((name, entry) for name, entry in servers.items() if isinstance(entry, dict))
    projects = tree.get("projects")
    if isinstance(projects, dict):
        for project in projects.values():
            yield from _servers(project)


def _judge(entry: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether an entry starts the proxy, and how it is reached else."""
    command = entry.get("command")
    if not isinstance(command, str):
        url = entry.get("url") or entry.get("serverUrl")
        host = urlsplit(url).hostname if isinstance(url, str) else None  # the rest of a URL may hold a secret
        return False, f"at {host}" if host else "in a way that is not understood"
    arguments = entry.get("args")
    words = [command, *(str(word) for word in arguments)] if isinstance(arguments, list) else [command]
    names = [Path(word).name.removesuffix(".exe") for word in words]
    at = 0
    while at < len(names) and (names[at] in _LAUNCHERS or names[at].startswith("python3.") or "[" in names[at]):
        at += 1
    if names[at : at + 1] == ["remit"] and names[at + 1 : at + 3] == ["mcp", "proxy"]:
        return True, "behind the proxy"
    return False, f"started as {names[0]}"
