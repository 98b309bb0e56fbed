"""docs/identity.md begins with a program, and it runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from remit.parties import Method
from remit.tokens.projection import DETAILS_TYPE, TOKEN_TYPE

PAGE = (Path(__file__).parents[2] / "docs" / "identity.md").read_text(encoding="utf-8")


@pytest.mark.requirement("T13")
def test_first_program_of_the_page_runs_and_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands."""
    program, printed = re.findall(r"```(?:python|text)\n(.*?)```", PAGE, re.S)[:2]
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "docs/identity.md", "exec"), {})
    assert capsys.readouterr().out == printed


def test_page_names_every_method_and_the_types_of_our_tokens() -> None:
    """What the code can say, the page explains."""
    for word in (*get_args(Method), DETAILS_TYPE, TOKEN_TYPE):
        assert f"`{word}`" in PAGE
