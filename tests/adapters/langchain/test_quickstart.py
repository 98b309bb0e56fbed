"""The example that the documentation shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "langchain_quickstart.py"


@pytest.mark.requirement("T13")
def test_langchain_quickstart_runs_offline_and_shows_what_is_refused() -> None:
    """Two calls within the task run, three others are refused, all are recorded, and the ledger verifies."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'adapters'}"}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=True,
    )
    answers, records = done.stdout.split("\n\n")

    assert [line.split()[:2] for line in answers.splitlines()] == [
        ["success", "read_ticket:"],
        ["error", "shell:"],
        ["error", "read_ticket:"],
        ["success", "comment:"],
        ["error", "comment:"],
    ]
    assert re.findall(r"Refused \((\w+)\)", answers) == ["tool_not_granted", "argument_out_of_bounds", "limit_reached"]
    assert re.findall(r"(call\.\w+) +(\S+)", records) == [
        ("call.intent", "crm.read_ticket"),
        ("call.outcome", "crm.read_ticket"),
        ("call.denied", "crm.shell"),
        ("call.denied", "crm.read_ticket"),
        ("call.intent", "crm.comment"),
        ("call.outcome", "crm.comment"),
        ("call.denied", "crm.comment"),
    ]
    assert re.search(r"^verified \d+ records$", records, re.MULTILINE)


@pytest.mark.requirement("T13")
def test_the_documentation_shows_the_example() -> None:
    """Every line of the page's program is a line of the file that is tested, in the same order."""
    page = (ROOT / "docs" / "langchain.md").read_text()
    shown = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    lines = iter([line.strip() for line in EXAMPLE.read_text().splitlines()])

    assert shown is not None
    for line in shown[1].splitlines():
        assert line.strip() in lines, line
