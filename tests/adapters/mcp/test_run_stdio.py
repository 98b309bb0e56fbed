"""`run_stdio`, what `remit mcp proxy` runs: a process of its own between a client and a server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

import remit
import remit_mcp
from remit.testing import temporary
from tests.adapters.mcp.client import ODD

ROOT = Path(__file__).parents[3]
PROXY = """
import json, sys
from remit_mcp import run_stdio
print("whatever prints before or after is no protocol", file=sys.stderr)
raise SystemExit(run_stdio(sys.argv[2:], development=True, **json.loads(sys.argv[1])))
"""


class Process:
    """A proxy in a process of its own, spoken to frame by frame."""

    def __init__(self, running: subprocess.Popen[bytes]) -> None:
        self.running = running

    def send(self, frame: bytes) -> None:
        """One frame."""
        assert self.running.stdin is not None
        self.running.stdin.write(frame + b"\n")
        self.running.stdin.flush()

    def next(self) -> dict[str, Any]:
        """The next frame from its stdout."""
        assert self.running.stdout is not None
        found: dict[str, Any] = json.loads(self.running.stdout.readline())
        return found

    def call(self, tool: str, **arguments: Any) -> None:
        """Send a tools/call with the id 1."""
        params = {"name": tool, "arguments": arguments}
        self.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode())

    def end(self) -> tuple[int, bytes]:
        """Close its stdin; exit code and what was left on stdout."""
        assert self.running.stdin is not None
        assert self.running.stdout is not None
        self.running.stdin.close()
        rest = self.running.stdout.read()
        return self.running.wait(20), rest


@contextmanager
def started(folder: Path, **asked: Any) -> Iterator[Process]:
    """`run_stdio` in front of the odd server; its stderr goes to a file."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'adapters'}", "REMIT_SECRET": "x"}
    server = [sys.executable, "-E", "-S", str(ODD), str(folder / "arrived.jsonl")]
    asked = {"url": f"sqlite:///{folder / 'remit.db'}", "name": "odd", **asked}
    with (
        (folder / "stderr.txt").open("wb") as errors,
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROXY, json.dumps(asked), *server],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
        ) as running,
    ):
        try:
            yield Process(running)
        finally:
            if running.poll() is None:
                running.kill()


@pytest.fixture
def template(tmp_path: Path, granted: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """The options of a proxy that issues a grant for everything the odd server has."""
    path = tmp_path / "grant.yaml"
    path.write_text(yaml.safe_dump(granted({"odd.*": "any"})), encoding="utf-8")
    return {"grant": str(path), "credential": "user:ravi@acme.com"}


def records(folder: Path) -> list[remit.Record]:
    """What the proxy left behind; verified."""
    with remit.open(f"sqlite:///{folder / 'remit.db'}", development=True) as app:
        app.verify()
        return list(app.records())


def test_stdout_carries_protocol_alone(tmp_path: Path, template: dict[str, Any]) -> None:
    """Logs and complaints go to stderr; every line of stdout is a frame."""
    with started(tmp_path, **template) as proxy:
        proxy.send(b"{broken")
        assert "error" in proxy.next()
        proxy.call("echo", text="hello")
        assert proxy.next()["id"] == 1
        assert proxy.end() == (0, b"")

    assert "refused a frame" in (tmp_path / "stderr.txt").read_text(encoding="utf-8")


def test_server_does_not_see_remits_own_environment(tmp_path: Path, template: dict[str, Any]) -> None:
    """Where the ledger is and what unlocks it is not the governed server's business."""
    show = "import json, os; print(json.dumps({'jsonrpc': '2.0', 'method': 'env', 'params': sorted(os.environ)}))"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'adapters'}", "REMIT_SECRET": "x"}
    asked = {"url": f"sqlite:///{tmp_path / 'remit.db'}", **template}
    command = [sys.executable, "-c", PROXY, json.dumps(asked), sys.executable, "-c", show]
    done = subprocess.run(command, input=b"", capture_output=True, env=environment, timeout=60, check=False)

    seen = json.loads(done.stdout)["params"]
    assert "PATH" in seen
    assert not [name for name in seen if name.startswith("REMIT_")]


@pytest.mark.requirement("I7")
def test_sigterm_settles_what_is_open_and_closes_the_session(tmp_path: Path, template: dict[str, Any]) -> None:
    """A host that stops the proxy in the middle of a call leaves a ledger that says so."""
    with started(tmp_path, **template) as proxy:
        proxy.call("slow")
        assert proxy.next()["method"] == "notifications/message"
        proxy.running.send_signal(signal.SIGTERM)
        assert proxy.running.wait(20) == 0

    found = records(tmp_path)
    assert [record.data["status"] for record in found if record.type == "call.outcome"] == ["unknown"]
    assert [record.type for record in found if record.session is not None][-1] == "session.closed"


@pytest.mark.requirement("I7")
def test_kill_leaves_an_intent_that_the_next_writer_calls_unknown(tmp_path: Path, template: dict[str, Any]) -> None:
    """Even kill -9 leaves nothing that a reviewer cannot read."""
    with started(tmp_path, **template) as proxy:
        proxy.call("slow")
        assert proxy.next()["method"] == "notifications/message"
        proxy.running.kill()
        proxy.running.wait(20)
    with started(tmp_path, **template) as proxy:
        proxy.call("echo", text="hello")
        proxy.next()
        proxy.end()

    outcomes = [record.data for record in records(tmp_path) if record.type == "call.outcome"]
    assert [(outcome["tool"], outcome["status"]) for outcome in outcomes] == [
        ("odd.slow", "unknown"),
        ("odd.echo", "ok"),
    ]


def test_server_that_ends_by_itself_is_exit_code_1(tmp_path: Path, template: dict[str, Any]) -> None:
    """The client sees the end of the output; who started the proxy sees that it was not the client."""
    with started(tmp_path, **template) as proxy:
        proxy.call("die")
        assert proxy.next()["result"]["isError"] is True
        assert proxy.running.wait(20) == 1


def test_joined_session_counts_and_stays_open(tmp_path: Path, granted: Callable[..., dict[str, Any]]) -> None:
    """With session= the proxy issues nothing; the session belongs to whoever opened it."""
    with temporary(tmp_path) as app:
        grant = app.issue(granted({"odd.echo": "any"}), credential="user:ravi@acme.com")
        session = app.session(grant, key="thread:42").open()
        with started(tmp_path, session=session.id) as proxy:
            proxy.call("echo", text="hello")
            assert "isError" not in proxy.next()["result"]
            assert proxy.end()[0] == 0
        found = list(app.records())

    assert [record.session for record in found if record.type == "call.intent"] == [session.id]
    assert not [record for record in found if record.type == "session.closed"]


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ([], {"grant": "g.yaml"}, "expected its command"),
        (["server"], {}, "which grant counts"),
        (["server"], {"grant": "g.yaml", "session": "s-1"}, "which grant counts"),
    ],
)
def test_misuse_is_one_sentence(command: list[str], options: dict[str, Any], message: str) -> None:
    """Nothing is started, nothing is opened."""
    with pytest.raises(remit.UsageError, match=message):
        remit_mcp.run_stdio(command, **options)


def test_server_that_cannot_be_started_is_one_sentence(tmp_path: Path, template: dict[str, Any]) -> None:
    """The error names the command."""
    asked = {"url": f"sqlite:///{tmp_path / 'remit.db'}", **template}
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'adapters'}"}
    command = [sys.executable, "-c", PROXY, json.dumps(asked), str(tmp_path / "no-such-server")]
    done = subprocess.run(command, input=b"", capture_output=True, env=environment, timeout=60, check=False)

    assert done.returncode == 1
    assert b"no-such-server' cannot be started: No such file or directory" in done.stderr
    assert done.stdout == b""
