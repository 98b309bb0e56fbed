"""What a person does when an agent loops, or its process dies in the middle of a call."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import remit
from tests.cli.conftest import Run, credential
from tests.review.conftest import GRANT, Tools, attempt

DIES = """
import os, remit
with remit.open(catalogue="policies/catalogues/crm.yaml", can={"session"}) as app:
    app.session("GRANT", key="thread:1").call("crm.comment", {"id": 88, "body": "x"}, run=lambda **_: os._exit(9))
"""


@pytest.mark.requirement("I7")
def test_a_call_whose_process_died_is_unknown_until_a_person_settles_it(
    ledger: Run, opened: remit.App, folder: Path
) -> None:
    """Looking changes nothing; the next session makes it `unknown`; doctor names it; `call resolve` settles it."""
    grant = opened.issue(GRANT, credential=credential(folder, "ravi@acme.com"))
    died = subprocess.run(
        [sys.executable, "-c", DIES.replace("GRANT", grant.id)], cwd=folder, check=False, env=os.environ
    )
    assert died.returncode == 9

    [session] = ledger("session", "list", "--json").json["sessions"]
    assert session["calls"] == {"running": 1}
    assert ledger("session", "show", session["id"], "--json").json["calls"][0]["state"] == "running"

    with remit.open(catalogue="policies/catalogues/crm.yaml") as again:
        again.session(grant, key="thread:1").open()
    shown = ledger("session", "show", session["id"])
    assert "1 call began and nobody knows how it ended." in shown.words
    assert ledger("doctor").code == 1

    done = ledger("call", "resolve", f"{session['id']}/1", "--outcome", "not_run", "--reason", "no comment in the crm")

    assert done.code == 0, done.err
    assert ledger("session", "show", session["id"], "--json").json["calls"][0]["state"] == "not_run"
    assert ledger("verify").code == 0


def test_a_looping_agent_is_suspended_until_a_person_lets_it_go_on(
    ledger: Run, opened: remit.App, folder: Path
) -> None:
    """Past its limit of refusals the session takes nothing; doctor says so; `session resume` ends it."""
    looping = {**GRANT, "limits": {"denied": 2}}
    grant = opened.issue(looping, credential=credential(folder, "ravi@acme.com"))
    session = opened.session(grant, key="thread:2").open()
    codes = [attempt(session, Tools(), "crm.read_ticket", id=number) for number in (1, 2, 3, 88)]
    assert codes == ["resource_out_of_scope"] * 3 + ["session_suspended"]

    assert "suspended" in ledger("session", "show", session.id).words
    assert "remit session resume" in ledger("doctor").words

    assert ledger("session", "resume", session.id).code == 0
    assert attempt(session, Tools(), "crm.read_ticket", id=88) is None
