"""The shipped guardrails, their tests, and the command line that runs them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from remit.authority.cedar import CedarGuardrails, source
from remit.authority.cedar.lint import lint
from remit.cli import app as command_line
from remit.errors import Denied
from remit.review.policy_tests import run_file

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "policies/tests").glob("*.yaml"))

POLICY = '@id("org/cap") @reason("x") forbid(principal, action == Action::"pay.refund", resource) when { context.input.amount > 9 };'  # fmt: skip # noqa: E501

TESTS = """\
policies: [org.cedar]
grant:
  task: Refund
  principal: user:alice@acme.com
  agent: agent:support
  expires_in: 20m
  tools:
    pay.refund: {arguments: {amount: any}}
cases:
  - {call: {pay.refund: {amount: 9}}, expect: permit}
  - {call: {pay.refund: {amount: 10}}, expect: deny, code: guardrail, rule: org/cap}
  - {call: {pay.refund: {amount: 9}}, expect: deny, code: grant_expired, after: 21m}
"""


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_shipped_guardrails_do_what_their_tests_say(path: Path) -> None:
    """Each default is proved by a file of calls, some let through and some not."""
    results = run_file(path)

    assert [result for result in results if not result.passed] == []
    assert {"permit"} < {result.expected.split()[0] for result in results}


def test_shipped_guardrails_load_together_and_leave_no_doubt() -> None:
    """Each default has a test file of its name."""
    folder = ROOT / "policies/guardrails"

    CedarGuardrails.load(folder)

    assert lint(source.load(folder).policies) == []
    assert [path.stem for path in sorted(folder.glob("*.cedar"))] == [path.stem for path in SHIPPED]


def test_the_example_on_the_page_runs_and_is_refused_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page shows a whole program first; this is it."""
    page = (ROOT / "docs/guardrails.md").read_text("utf-8")
    [policy] = re.findall(r"```cedar\n(.*?)```", page, re.DOTALL)
    [program] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policies/guardrails").mkdir(parents=True)
    (tmp_path / "policies/guardrails/house.cedar").write_text(policy, "utf-8")
    names: dict[str, Any] = {}

    with pytest.raises(Denied) as refused:
        exec(compile(program, "page", "exec"), names)
    names["app"].close()

    assert refused.value.rule == "house/egress"
    assert refused.value.reason.startswith("The guardrail house/egress forbids this call of mail.send: something conf")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with one guardrail and its tests."""
    monkeypatch.chdir(tmp_path)
    for name in ("policies/guardrails", "policies/tests"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "policies/guardrails/org.cedar").write_text(POLICY, "utf-8")
    (tmp_path / "policies/tests/org.yaml").write_text(TESTS.replace("org.cedar", "../guardrails/org.cedar"), "utf-8")
    return tmp_path


def test_policy_test_runs_what_is_here(folder: Path) -> None:
    """Without arguments, the folder's own tests; exit 0 when all pass."""
    ran = CliRunner().invoke(command_line, ["policy", "test"])

    assert ran.exit_code == 0
    assert "3 cases, 0 failed." in ran.output


def test_policy_test_says_which_case_failed_and_why(folder: Path) -> None:
    """File, line, expected, got, and the decision's sentence; exit 1."""
    path = folder / "policies/tests/org.yaml"
    path.write_text(path.read_text("utf-8").replace("amount: 10}}, expect: deny", "amount: 10}}, expect: ask"), "utf-8")

    ran = CliRunner().invoke(command_line, ["policy", "test", "--json"])

    assert ran.exit_code == 1
    [failed] = [one for one in json.loads(ran.output)["results"] if not one["passed"]]
    assert failed["where"] == "policies/tests/org.yaml:11"
    assert failed["expected"] == "ask guardrail org/cap"
    assert failed["got"] == "deny guardrail org/cap"
    assert "forbids this call" in failed["reason"]


def test_policy_test_refuses_a_file_with_its_line(folder: Path) -> None:
    """An unknown word is a mistake, not a case that passes."""
    path = folder / "policies/tests/org.yaml"
    path.write_text(path.read_text("utf-8").replace("code: guardrail", "cod: guardrail"), "utf-8")

    ran = CliRunner().invoke(command_line, ["policy", "test"])

    assert ran.exit_code == 1
    assert "policies/tests/org.yaml, line 11" in ran.output


def test_policy_check_says_what_is_doubtful_and_what_does_not_fit(folder: Path) -> None:
    """Doubts leave exit 0; a guardrail that does not fit a tool's schema makes it 1."""
    (folder / "tools.json").write_text(
        json.dumps({"pay.refund": {"properties": {"amount": {"type": "string"}}, "required": ["amount"]}}), "utf-8"
    )

    fine = CliRunner().invoke(command_line, ["policy", "check"])
    wrong = CliRunner().invoke(command_line, ["policy", "check", "--tools", "tools.json", "--json"])

    assert fine.exit_code == 0
    assert "1 guardrail, digest sha256:" in fine.output
    assert wrong.exit_code == 1
    [problem] = json.loads(wrong.output)["problems"]
    assert "org/cap, for pay.refund" in problem


def test_policy_check_refuses_a_permit_with_its_line(folder: Path) -> None:
    """As loading does."""
    (folder / "policies/guardrails/org.cedar").write_text(f"{POLICY}\npermit(principal, action, resource);", "utf-8")

    ran = CliRunner().invoke(command_line, ["policy", "check"])

    assert ran.exit_code == 1
    assert "org.cedar:2: this is a `permit`" in " ".join(ran.output.split())
