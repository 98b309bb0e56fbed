"""`remit grant delegate`: a child by hand, and every reason why not."""

from __future__ import annotations

from pathlib import Path

import pytest

import remit
from tests.cli.conftest import Run

PARENT = """\
task: Triage ticket 88
principal: user:ravi@acme.com
agent: agent:triage
expires_in: 20m
delegation: {depth: 1}
tools:
  kb.search: {arguments: {q: {max_len: 20}}}
"""
CHILD = """\
template: search
parameters: {most: {type: integer}}
task: Search
agent: agent:reader
expires_in: 5m
tools:
  kb.search: {arguments: {q: {max_len: "${most}"}}}
"""


@pytest.mark.requirement("P2")
@pytest.mark.requirement("code:delegation_widened")
def test_a_grant_is_handed_on_or_refused_with_every_reason(run: Run, folder: Path) -> None:
    """The child names its parent; a wider one is exit code 1 and a list of reasons."""
    (folder / "parent.yaml").write_text(PARENT, encoding="utf-8")
    (folder / "child.yaml").write_text(CHILD, encoding="utf-8")
    me = ("--as", "user:ravi@acme.com", "--development")
    assert run("init").code == 0
    parent = run("grant", "issue", "parent.yaml", *me, "--json").json["grant"]

    done = run("grant", "delegate", parent, "child.yaml", "-p", "most=20", *me, "--json")
    assert (done.code, done.json["parent"], done.json["principal"]) == (0, parent, "user:ravi@acme.com")
    assert parent in run("grant", "show", done.json["grant"]).out
    with remit.open(development=True) as app, app.session(done.json["grant"]) as session:
        session_id = session.id
    assert f"handed on from grant {parent}" in run("session", "show", session_id).words.replace("  ", " ")
    assert "Handed on as g-" in run("grant", "delegate", parent, "child.yaml", "-p", "most=9", *me).out

    wider = run("grant", "delegate", parent, "child.yaml", "-p", "most=21", *me, "--json")
    assert wider.code == 1
    assert wider.json["code"] == "delegation_widened"
    assert wider.json["reasons"] == ["kb.search: `q` allows at most 21 long; its parent allows at most 20 long"]
    said = run("grant", "delegate", parent, "child.yaml", "-p", "most=21", *me)
    assert said.code == 1
    assert "is not narrower than its parent" in said.err
