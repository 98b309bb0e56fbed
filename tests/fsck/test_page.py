"""docs/operations.md is what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")


def test_the_program_on_the_page_prints_what_it_says(tmp_path: Path) -> None:
    """As it stands, in an empty folder."""
    program = PAGE.split("```python\n", 1)[1].split("```", 1)[0]
    said = PAGE.split("prints\n\n```\n", 1)[1].split("```", 1)[0]
    (tmp_path / "home").mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", said)
