"""docs/delegation.md begins with a program, and it runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from remit.authority.constraints import CONSTRAINT_WORDS

PAGE = (Path(__file__).parents[2] / "docs" / "delegation.md").read_text(encoding="utf-8")


@pytest.mark.requirement("T13")
def test_first_program_of_the_page_runs_and_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands."""
    program, printed = re.findall(r"```(?:python|text)\n(.*?)```", PAGE, re.S)[:2]
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "docs/delegation.md", "exec"), {})
    assert capsys.readouterr().out == printed


def test_page_says_how_every_word_is_compared() -> None:
    """A word that is added later needs a line here; some are counted, and named as values."""
    counted = {"any", "eq", "one_of", "absent", "self", "optional"}
    for word in CONSTRAINT_WORDS - counted:
        assert re.search(rf"\b{word}\b", PAGE), word
