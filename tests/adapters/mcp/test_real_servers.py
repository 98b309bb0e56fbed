"""Eight servers that nobody here wrote, behind `run_stdio` in a process of its own, with the SDK's client in front.

Each is listed and called directly and through the proxy, and must look the same; a call outside the grant must leave no
trace in the server. One of them, sqlite, runs on the old SDK.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

import remit
from remit.resources.catalogue import Catalogue
from remit_mcp.wire import DENIAL_META
from tests.adapters.mcp.servers import Installed, install
from tests.packages import need

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
TEE = Path(__file__).with_name("tee.py")
PROXY = """
import json, sys
from remit_mcp import run_stdio
asked = json.loads(sys.argv[1])
raise SystemExit(run_stdio(sys.argv[2:], development=True, credential="user:ravi@acme.com", **asked))
"""

Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Target:
    """One server: how it starts, what its grant allows, one call inside and one outside, and what must not happen."""

    name: str
    command: Callable[[Installed, Path], list[str]]
    tools: dict[str, Any]
    inside: Callable[[Path], Call]
    outside: Callable[[Path], Call]
    untouched: Callable[[Path], bool] = lambda _: True
    environment: Callable[[Path], dict[str, str]] = lambda _: {}
    catalogue: list[str] = field(default_factory=list)
    fails: bool = False


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.com", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _repository(installed: Installed, folder: Path) -> list[str]:
    if not (folder / ".git").exists():
        _git(folder, "init", "-q")
        (folder / "a.txt").write_text("a", encoding="utf-8")
        _git(folder, "add", "a.txt")
        _git(folder, "commit", "-q", "-m", "first")
    return [*installed.python("current", "mcp-server-git"), "--repository", str(folder)]


def _files(installed: Installed, folder: Path) -> list[str]:
    (folder / "hello.txt").write_text("hello", encoding="utf-8")
    return [*installed.node("filesystem"), str(folder)]


def _database(installed: Installed, folder: Path) -> list[str]:
    with sqlite3.connect(folder / "t.db") as database:
        database.execute("create table if not exists tickets (id integer)")
    database.close()
    return [*installed.python("old-sdk", "mcp-server-sqlite"), "--db-path", str(folder / "t.db")]


def _rows(folder: Path) -> int:
    database = sqlite3.connect(folder / "t.db")
    try:
        [count] = database.execute("select count(*) from tickets").fetchone()
        return int(count)
    finally:
        database.close()


THOUGHT = {"thought": "one", "nextThoughtNeeded": False, "thoughtNumber": 1, "totalThoughts": 1}
TOKYO = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}

TARGETS = [
    Target(
        "filesystem",
        _files,
        {"filesystem.read_text_file": {"resources": ["read file://@FOLDER@/**"]}},
        lambda folder: ("read_text_file", {"path": str(folder / "hello.txt")}),
        lambda folder: ("write_file", {"path": str(folder / "new.txt"), "content": "x"}),
        untouched=lambda folder: not (folder / "new.txt").exists(),
        catalogue=["filesystem.yaml"],
    ),
    Target(
        "everything",
        lambda installed, _: installed.node("everything"),
        {"everything.echo": {"arguments": {"message": "hello"}}},
        lambda _: ("echo", {"message": "hello"}),
        lambda _: ("echo", {"message": "goodbye"}),
    ),
    Target(
        "memory",
        lambda installed, _: installed.node("memory"),
        {"memory.read_graph": {"resources": ["read memory://graph"]}},
        lambda _: ("read_graph", {}),
        lambda _: ("create_entities", {"entities": [{"name": "n", "entityType": "t", "observations": []}]}),
        untouched=lambda folder: not (folder / "memory.jsonl").exists(),
        environment=lambda folder: {"MEMORY_FILE_PATH": str(folder / "memory.jsonl")},
        catalogue=["memory.yaml"],
    ),
    Target(
        "thinking",
        lambda installed, _: installed.node("sequential-thinking"),
        {"thinking.sequentialthinking": {"arguments": {"thought": "one"}, "other_arguments": "any"}},
        lambda _: ("sequentialthinking", THOUGHT),
        lambda _: ("sequentialthinking", {**THOUGHT, "thought": "two"}),
    ),
    Target(
        "time",
        lambda installed, _: installed.python("current", "mcp-server-time"),
        {"time.convert_time": "any"},
        lambda _: ("convert_time", TOKYO),
        lambda _: ("get_current_time", {"timezone": "UTC"}),
    ),
    Target(
        "git",
        _repository,
        {"git.git_log": "any"},
        lambda folder: ("git_log", {"repo_path": str(folder)}),
        lambda folder: ("git_create_branch", {"repo_path": str(folder), "branch_name": "sneaky"}),
        untouched=lambda folder: "sneaky" not in _git(folder, "branch"),
    ),
    Target(
        "fetch",
        lambda installed, _: installed.python("current", "mcp-server-fetch"),
        {"fetch.fetch": {"arguments": {"url": "http://127.0.0.1:1/"}}},
        lambda _: ("fetch", {"url": "http://127.0.0.1:1/"}),
        lambda _: ("fetch", {"url": "http://127.0.0.1:2/"}),
        fails=True,
    ),
    Target(
        "sqlite",
        _database,
        {"sqlite.list_tables": "any"},
        lambda _: ("list_tables", {}),
        lambda _: ("write_query", {"query": "insert into tickets values (88)"}),
        untouched=lambda folder: _rows(folder) == 0,
    ),
]


@asynccontextmanager
async def connected(command: list[str], environment: dict[str, str], folder: Path, mode: str) -> AsyncIterator[Client]:
    """The SDK's client, connected over stdio to `command`."""
    known = {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'adapters'}", **environment}
    parameters = StdioServerParameters(command=command[0], args=command[1:], env=known)
    with (folder / "stderr.txt").open("a", encoding="utf-8") as errors:
        async with Client(stdio_client(parameters, errlog=errors), mode=mode) as client:
            yield client


def said(result: Any) -> str:
    """A result as sorted JSON, without the stamp that names the server."""
    found = result.model_dump(by_alias=True, mode="json", exclude_none=True)
    return json.dumps(found, sort_keys=True)


@pytest.fixture(scope="session")
def installed() -> Installed:
    """The servers, installed once per machine."""
    need("npm", "these servers come from npm")
    return install()


@pytest.mark.requirement("I2")
@pytest.mark.requirement("T8")
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
async def test_server_behind_the_proxy_is_the_same_but_for_what_is_refused(
    target: Target, installed: Installed, tmp_path: Path
) -> None:
    """Same tools, same result; the call outside the grant is an error result, is recorded, and reaches no server."""
    box, log = tmp_path / "box", tmp_path / "arrived.jsonl"
    box.mkdir()
    command, environment = target.command(installed, box), target.environment(box)
    grant = tmp_path / "grant.yaml"
    tools = json.loads(json.dumps(target.tools).replace("@FOLDER@", str(box)))
    document = {"task": "Try it", "principal": "user:ravi@acme.com", "agent": "agent:tester", "expires_in": "20m"}
    grant.write_text(yaml.safe_dump({**document, "tools": tools}), encoding="utf-8")
    asked = {
        "grant": str(grant),
        "name": target.name,
        "url": f"sqlite:///{tmp_path / 'remit.db'}",
        "catalogue": [str(ROOT / "policies" / "catalogues" / name) for name in target.catalogue],
    }
    logged = [sys.executable, str(TEE), str(log), *command]
    behind = [sys.executable, "-W", "error", "-c", PROXY, json.dumps(asked), *logged]

    async def look(command: list[str], *calls: Call) -> list[Any]:
        async with connected(command, environment, tmp_path, "auto") as client:
            seen = [client.protocol_version, client.instructions, said(await client.list_tools())]
            return [*seen, *[await client.call_tool(*call) for call in calls]]

    direct, proxied = await asyncio.gather(
        look(command, target.inside(box)), look(behind, target.inside(box), target.outside(box))
    )

    assert proxied[:3] == direct[:3]
    assert said(proxied[3]) == said(direct[3])
    assert proxied[4].is_error
    assert (proxied[4].meta or {})[DENIAL_META]["code"] in ("tool_not_granted", "argument_out_of_bounds")
    assert target.untouched(box)
    arrived = [json.loads(line) for line in log.read_bytes().splitlines()]
    assert [frame["params"]["name"] for frame in arrived if frame["method"] == "tools/call"] == [target.inside(box)[0]]
    with remit.open(f"sqlite:///{tmp_path / 'remit.db'}", development=True) as app:
        records = list(app.records())
        app.verify()
    assert [r.data["status"] for r in records if r.type == "call.outcome"] == ["tool_error" if target.fails else "ok"]
    assert [r.data["tool"] for r in records if r.type == "call.denied"] == [f"{target.name}.{target.outside(box)[0]}"]
    assert [r.type for r in records if r.session is not None][-1] == "session.closed"


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_inspecting_a_server_drafts_a_catalogue_of_all_its_tools(
    target: Target, installed: Installed, tmp_path: Path
) -> None:
    """`remit mcp inspect` over each of them: it loads, knows the called tools, and calls none."""
    log = tmp_path / "arrived.jsonl"
    command = [sys.executable, str(TEE), str(log), *target.command(installed, tmp_path)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'adapters'}"}
    done = subprocess.run(
        [sys.executable, "-m", "remit", "mcp", "inspect", "--name", target.name, "--", *command],
        check=True, capture_output=True, text=True, cwd=tmp_path, env=environment | target.environment(tmp_path),
    )  # fmt: skip
    (tmp_path / "drafted.yaml").write_text(done.stdout, encoding="utf-8")
    drafted = Catalogue.load(tmp_path / "drafted.yaml")
    assert {f"{target.name}.{target.inside(tmp_path)[0]}", *target.tools} <= set(drafted.keys())
    if target.name == "filesystem":
        entry = drafted.entry("filesystem.read_text_file")
        assert entry is not None
        assert entry.accesses == ("read file://{path}",)
        assert entry.read_only
    arrived = [json.loads(line)["method"] for line in log.read_bytes().splitlines()]
    assert "tools/list" in arrived
    assert "tools/call" not in arrived
