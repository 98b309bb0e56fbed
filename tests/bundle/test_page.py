"""docs/verification.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from typer.main import get_command

from remit import remit_verify
from remit.cli import app

PAGE = (Path(__file__).parents[2] / "docs/verification.md").read_text(encoding="utf-8")

OF_A_LEDGER = {"--url", "--jobs"}


def test_the_steps_are_those_of_the_verifier() -> None:
    """As many, under the same names."""
    steps = PAGE.split("## What is verified\n", 1)[1].split("\n## ", 1)[0]
    listed = [(number, name.lower()) for number, name in re.findall(r"^(\d+)\. \*\*(\w+)\.\*\*", steps, re.MULTILINE)]
    said = re.findall(r"^\((\d+)\) (\w+) ", remit_verify.__doc__ or "", re.MULTILINE)
    assert listed == said


def test_every_option_of_verifying_is_on_the_page() -> None:
    """Those of `remit verify BUNDLE`, which are those of `remit-verify`."""
    command = get_command(app).commands["verify"]  # type: ignore[attr-defined]
    options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    table = PAGE.split("## Keys, witnesses, freshness\n", 1)[1].split("\n## ", 1)[0]
    assert set(re.findall(r"`(--[a-z]+)", table)) >= options - OF_A_LEDGER - {"--json"}
    program = Path(remit_verify.__file__).read_text(encoding="utf-8")
    assert set(re.findall(r'add_argument\("(--[a-z]+)"', program)) == options - OF_A_LEDGER


def test_every_file_on_the_page_has_a_place_in_a_bundle() -> None:
    """The table of files and the closed list of names."""
    table = PAGE.split("## What lies in a bundle\n", 1)[1].split("\n\n", 1)[0].strip()
    names = re.findall(r"`([^`]+)`", "".join(line.split("|")[1] for line in table.splitlines()[2:]))
    for general, one in (("…", "000"), ("/L/", "/0/"), ("M-N", "3-4"), ("/N", "/4"), ("keys/000", "keys/log.vkey")):
        names = [name.replace(general, one) for name in names]
    filled = [name.replace("artefacts/000", f"artefacts/{'0' * 64}") for name in names]
    assert len(filled) > 12
    for name in filled:
        assert remit_verify.NAMES.match(name), name
