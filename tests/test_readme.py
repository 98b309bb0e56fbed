"""What the README shows runs, as it stands there."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks in one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def run(folder: Path, *command: str, **environment: str) -> str:
    """Run a command in `folder`; its output. Fails when the command does."""
    known = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config"), **environment}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=known)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.requirement("T13")
def test_the_langchain_program_runs_and_its_last_line_is_a_command_that_works(tmp_path: Path) -> None:
    """One call runs, one is refused with its code, and the session can be shown."""
    [program] = blocks("python")

    printed = run(tmp_path, sys.executable, "-c", program)

    first, second, command = printed.splitlines()
    assert first == "Ticket 88: the export is broken."
    assert second.startswith("argument_out_of_bounds - ")
    shown = run(tmp_path, sys.executable, "-m", *shlex.split(command))
    assert "1 attempt outside it was blocked" in shown


@pytest.mark.requirement("T13")
def test_the_mcp_configuration_runs_a_server_behind_the_gate(tmp_path: Path) -> None:
    """The client's configuration starts the proxy; a granted call answers, one for another repository is refused."""
    pytest.importorskip("mcp_server_git", reason="comes with remit[demo]")
    shop = tmp_path / "shop"
    _repository(shop)
    [grant] = blocks("yaml")
    (tmp_path / "git.yaml").write_text(grant.replace("/srv/acme/shop", str(shop)), encoding="utf-8")
    for line in blocks("sh")[2].splitlines():
        if line.startswith("remit "):
            run(tmp_path, sys.executable, "-m", *shlex.split(line))

    answers = asyncio.run(_talk(tmp_path, shop))

    assert "First commit" in answers[0]
    assert "resource_out_of_scope" in answers[1]


async def _talk(folder: Path, shop: Path) -> list[str]:
    from mcp.client.client import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    server = json.loads(blocks("json")[0])["mcpServers"]["git"]
    script = shutil.which("remit", path=Path(sys.executable).parent)
    assert script is not None, "the console script is installed beside the interpreter"
    on_path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": on_path}
    command = StdioServerParameters(command=script, args=server["args"], cwd=folder, env=environment)
    answers = []
    with (folder / "proxy.log").open("w", encoding="utf-8") as log:
        async with Client(stdio_client(command, errlog=log)) as client:
            for path in (shop, folder):
                result = await client.call_tool("git_log", {"repo_path": str(path), "max_count": 5})
                answers.append("\n".join(getattr(part, "text", "") for part in result.content))
    return answers


def _repository(path: Path) -> None:
    path.mkdir()
    (path / "a.txt").write_text("a\n", encoding="utf-8")
    who = {"GIT_AUTHOR_NAME": "Dev", "GIT_AUTHOR_EMAIL": "dev@acme.com"}
    who |= {"GIT_COMMITTER_NAME": "Dev", "GIT_COMMITTER_EMAIL": "dev@acme.com", "GIT_CONFIG_GLOBAL": os.devnull}
    run(path, "git", "init", "--quiet", **who)
    run(path, "git", "add", "--all", **who)
    run(path, "git", "commit", "--quiet", "--message", "First commit", **who)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\]\(((?!http)[^)#]+)\)", README))))
def test_every_link_leads_somewhere(name: str) -> None:
    """A page that the README names exists."""
    assert (ROOT / name).exists()
