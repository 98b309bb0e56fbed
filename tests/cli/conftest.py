"""The command line as a person uses it: in a folder of their own, with a configuration of their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

import remit
from remit.cli import app as command_line
from tests.review.conftest import GRANT, Tools, attempt

Run = Callable[..., "Ran"]

CATALOGUE = """\
tools:
  crm.read_ticket: {accesses: ["read crm://tickets/{id}"], read_only: true, idempotent: true}
  crm.comment: {accesses: ["write crm://tickets/{id}"]}
"""

TEMPLATE = """\
template: triage
parameters:
  ticket: {type: integer, min: 1}
task: Triage ticket ${ticket}
principal: user:ravi@acme.com
agent: spiffe://acme.com/agents/triage
expires_in: 20m
tools:
  crm.read_ticket:
    resources: ["read crm://tickets/${ticket}"]
  kb.search: any
"""


class Ran(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Its output as a person reads it, wherever lines are broken."""
        return " ".join(self.out.split())

    @property
    def json(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a catalogue and a template; nothing else of this account is seen."""
    for name in ("REMIT_URL", "REMIT_PEOPLE", "REMIT_CATALOGUE", "REMIT_PERSON", "REMIT_KEY_FILE", "REMIT_DEVELOPMENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("REMIT_URL", f"sqlite:///{tmp_path / 'remit.db'}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policies/catalogues").mkdir(parents=True)
    (tmp_path / "policies/catalogues/crm.yaml").write_text(CATALOGUE, encoding="utf-8")
    (tmp_path / "triage.yaml").write_text(TEMPLATE, encoding="utf-8")
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    """Run a command: `run("session", "list", "--json")`."""
    runner = CliRunner()

    def invoke(*arguments: str, env: Mapping[str, str] | None = None) -> Ran:
        done = runner.invoke(command_line, list(arguments), env=dict(env or {}))
        return Ran(done.exit_code, done.stdout, done.stderr)

    return invoke


@pytest.fixture
def ledger(run: Run) -> Run:
    """A ledger with three people, carol logged in."""
    for command in (
        ("init",),
        ("person", "add", "carol@acme.com", "--role", "reviewer"),
        ("login", "carol@acme.com"),
        ("person", "add", "ravi@acme.com", "--role", "support"),
        ("person", "add", "bob@acme.com", "--role", "finance"),
    ):
        done = run(*command)
        assert done.code == 0, done.err
    return run


@pytest.fixture
def opened(ledger: Run, folder: Path) -> Iterator[remit.App]:
    """The ledger as an agent's program sees it."""
    with remit.open(catalogue="policies/catalogues/crm.yaml", people="policies/people.yaml") as app:
        yield app


def credential(folder: Path, person: str) -> remit.Credential:
    """A person's credential, from where `remit person add` put it."""
    return remit.Credential.load(person, folder / f"config/remit/keys/{person}.pem")


@pytest.fixture
def session_id(opened: remit.App, folder: Path) -> str:
    """Ravi's agent reads 88, tries 89, asks for a refund and is told to wait."""
    grant = opened.issue(GRANT, credential=credential(folder, "ravi@acme.com"))
    tools = Tools()
    with opened.session(grant) as session:
        attempt(session, tools, "crm.read_ticket", id=88)
        attempt(session, tools, "crm.read_ticket", id=89)
        attempt(session, tools, "payments.refund", amount=20)
        return session.id
