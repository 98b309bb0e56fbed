"""What the page on approvals shows runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "approvals.md"


@pytest.mark.requirement("T13")
def test_example_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both ways, with two people."""
    example = re.search(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    assert example is not None
    monkeypatch.chdir(tmp_path)
    exec(compile(example[1], str(PAGE), "exec"), {"__name__": "example"})

    assert capsys.readouterr().out == "30 back for ord_4711\n12.5 back for ord_4711\n"
