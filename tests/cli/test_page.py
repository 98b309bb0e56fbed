"""docs/command-line.md and the command line say the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from typer.main import get_command

from remit.cli import app
from remit.review.verdicts import REASONS_FOR

PAGE = (Path(__file__).parents[2] / "docs/command-line.md").read_text(encoding="utf-8")


def _paths(command: Any, path: str = "remit") -> list[str]:
    inner = getattr(command, "commands", {})
    own = [path] if not inner or command.invoke_without_command else []
    return own + [found for name, one in inner.items() for found in _paths(one, f"{path} {name}")]


def _parameters(command: Any) -> list[Any]:
    inner = getattr(command, "commands", {})
    own = list(command.params)
    return own + [found for one in inner.values() for found in _parameters(one)]


def test_the_page_lists_every_command_and_no_other() -> None:
    """Commands in the table are the commands there are."""
    listed = re.findall(r"^\| `(remit [a-z ]+)` \|", PAGE, flags=re.MULTILINE)
    assert sorted(listed) == sorted(_paths(get_command(app)))


def test_the_page_names_every_variable_with_its_option() -> None:
    """Configuration by environment is documented, option by option."""
    found = {
        (parameter.opts[0], parameter.envvar if isinstance(parameter.envvar, str) else parameter.envvar[0])
        for parameter in _parameters(get_command(app))
        if parameter.envvar
    }
    assert set(re.findall(r"\| `(--[a-z-]+)` \| `(REMIT_[A-Z_]+)` \|", PAGE)) == found


def test_the_page_lists_the_verdicts_with_their_reasons() -> None:
    """The closed lists on the page are the closed lists in the code."""
    section = PAGE.partition("## Verdicts")[2]
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|$", section, flags=re.MULTILINE)
    assert {verdict: tuple(re.findall(r"`(\w+)`", reasons)) for verdict, reasons in rows} == dict(REASONS_FOR)
