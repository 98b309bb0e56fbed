"""Installs the real MCP servers that the tests put behind the gate: once per machine, in a cache folder.

`python tests/adapters/mcp/servers.py install` does it ahead of the tests; otherwise the first test that needs a server
does. The folder is `$REMIT_TEST_CACHE`, by default `remit-tests` in the user's cache directory. It takes `npm` (Node 18
or newer) and this Python; both package managers are used as they are configured on the machine.

One server, sqlite, is kept on the old SDK (`mcp<2`) on purpose: such servers have to be governable too.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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
        return [_found("node"), str(root / entry)]

    def python(self, environment: str, program: str) -> list[str]:
        """The command that starts a Python server, by the name of its script, in one of the environments."""
        return [str(self.folder / environment / "bin" / program)]


def cache_folder() -> Path:
    """`$REMIT_TEST_CACHE`, or `remit-tests` in the user's cache directory."""
    chosen = os.environ.get("REMIT_TEST_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "remit-tests"


def install() -> Installed:
    """Install whatever is missing and say where it lies. Safe to call from several processes at once."""
    folder = cache_folder() / f"mcp-servers-{_digest()}"
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "complete"
    if not done.exists():
        with _locked(folder / "lock"):
            if not done.exists():
                _install_node(folder / "node")
                for name, requirements in PYTHON_PACKAGES.items():
                    _install_python(folder / name, requirements)
                done.touch()
    return Installed(folder)


def _digest() -> str:
    said = json.dumps([NODE_PACKAGES, PYTHON_PACKAGES, sys.version_info[:2]], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:12]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _install_node(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "package.json").write_text(json.dumps({"private": True}), encoding="utf-8")
    wanted = [f"{package}@{version}" for package, version in NODE_PACKAGES.items()]
    _run([_found("npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts", "--save-exact", *wanted], folder)


def _install_python(folder: Path, requirements: tuple[str, ...]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *requirements], folder)


def _found(program: str) -> str:
    where = shutil.which(program)
    if where is None:
        raise SystemExit(f"the MCP tests need {program!r} on PATH; install Node.js 18 or newer, which brings it")
    return where


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")


def main(arguments: list[str]) -> int:
    """`install`, and nothing else."""
    if arguments != ["install"]:
        print("usage: python tests/adapters/mcp/servers.py install", file=sys.stderr)
        return 2
    print(f"MCP servers for the tests: {install().folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
