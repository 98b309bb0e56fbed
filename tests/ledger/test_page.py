"""docs/ledger.md says what the code does, and its program runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from remit.ledger.records import RECORD_TYPES
from remit.ledger.values import KINDS

PAGE = (Path(__file__).parents[2] / "docs/ledger.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    below = PAGE.split(f"{heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[0].splitlines()[2:]]


def test_the_program_on_the_page_runs(tmp_path: Path) -> None:
    """As it stands, in an empty folder."""
    program = PAGE.split("```python\n", 1)[1].split("```", 1)[0]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "{'subject': 'user:bob@acme.com'}" in lines[0]
    assert lines[1].startswith("acme.com/remit-demo+")
    assert lines[2] == "3 records verify"


def test_every_record_type_is_on_the_page_with_its_reason() -> None:
    """No type more or less, and what each must say."""
    found = {name.strip("`"): (reason, set(re.findall(r"`(\w+)`", keys))) for name, reason, keys in rows("### Types")}
    assert found == {name: (kind.reason, set(kind.required)) for name, kind in RECORD_TYPES.items()}


def test_every_kind_of_value_is_on_the_page() -> None:
    """The table is the list of kinds."""
    assert [cells[0].strip("`") for cells in rows("### Values that JSON cannot say")] == list(KINDS)


def test_the_steps_of_verifying_are_those_of_the_code() -> None:
    """As many steps on the page as in the module that takes them."""
    module = sys.modules["remit.ledger.verify"].__doc__ or ""
    steps = PAGE.split("## Verifying\n", 1)[1].split("\n## ", 1)[0]
    assert re.findall(r"^(\d+)\. ", steps, re.MULTILINE) == re.findall(r"^\((\d+)\) ", module, re.MULTILINE)
