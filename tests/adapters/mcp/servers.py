"""Installs the real MCP servers that the tests put behind the gate: once per machine, in a cache folder.

`python -m tests.adapters.mcp.servers install` does it ahead of the tests; otherwise the first test that needs a server
does. It takes `npm` (Node 18 or newer) and this Python.

One server, sqlite, is kept on the old SDK (`mcp<2`) on purpose: such servers have to be governable too.
"""

from __future__ import annotations

import json
import shutil
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from tests.packages import found, install_node, once, run

NODE_PACKAGES = {
    "@modelcontextprotocol/server-everything": "2026.8.31",
    "@modelcontextprotocol/server-filesystem": "2026.8.31",
    "@modelcontextprotocol/server-memory": "2026.8.31",
    "@modelcontextprotocol/server-sequential-thinking": "2026.8.31",
}

PYTHON_PACKAGES = {
    "current": ("mcp-server-fetch==2026.10.24", "mcp-server-git==2026.10.19", "mcp-server-time==2026.10.19"),
    "old-sdk": ("mcp-server-sqlite==2025.4.25", "mcp<2"),
}
"""Virtual environment → what is installed in it."""


@dataclass(frozen=True, slots=True)
class Installed:
    """Where the servers are."""

    folder: Path

    def node(self, package: str) -> list[str]:
        """The command that starts `@modelcontextprotocol/server-<package>` over stdio."""
        root = self.folder / "node" / "node_modules" / "@modelcontextprotocol" / f"server-{package}"
        described = json.loads((root / "package.json").read_text(encoding="utf-8"))
        [entry] = set(described["bin"].values())
        return [found("node"), str(root / entry)]

    def python(self, environment: str, program: str) -> list[str]:
        """The command that starts a Python server, by the name of its script, in one of the environments."""
        return [str(self.folder / environment / "bin" / program)]


def install() -> Installed:
    """Install whatever is missing and say where it lies. Safe to call from several processes at once."""
    return Installed(once("mcp-servers", [NODE_PACKAGES, PYTHON_PACKAGES, sys.version_info[:2]], _install))


def _install(folder: Path) -> None:
    install_node(folder / "node", NODE_PACKAGES)
    for name, requirements in PYTHON_PACKAGES.items():
        _install_python(folder / name, requirements)


def _install_python(folder: Path, requirements: tuple[str, ...]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *requirements], folder)


def main(arguments: list[str]) -> int:
    """`install`, and nothing else."""
    if arguments != ["install"]:
        print("usage: python -m tests.adapters.mcp.servers install", file=sys.stderr)
        return 2
    print(f"MCP servers for the tests: {install().folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
