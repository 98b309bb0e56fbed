"""Every dependency has its reason on docs/dependencies.md, in the section of the extra that brings it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _declared() -> dict[str, set[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"remit": project["dependencies"], **project["optional-dependencies"]}
    named = {name: {re.split(r"[\[<>=~! ]", line)[0] for line in lines} for name, lines in groups.items()}
    return {name: packages - {"remit"} for name, packages in named.items() if packages - {"remit"}}


def _explained() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    section = ""
    for line in (ROOT / "docs/dependencies.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            extra = re.search(r"remit\[(\w+)\]", line)
            section = extra[1] if extra else "remit"
        elif (row := re.match(r"\| ([\w.-]+) \| (.+) \|$", line)) and row[1] != "package":
            assert row[2].endswith("."), f"{row[1]}: a reason is a sentence"
            found.setdefault(section, set()).add(row[1])
    return found


@pytest.mark.requirement("P3")
def test_every_dependency_has_a_reason_and_every_reason_a_dependency() -> None:
    """The page and pyproject.toml name the same packages, extra by extra."""
    assert _explained() == _declared()
