"""The example that the documentation shows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.requirement("T13")
def test_mcp_quickstart_runs_offline_and_shows_one_call_of_each_kind() -> None:
    """One allowed, one refused, both recorded, and the ledger verifies."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'adapters'}"}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / "mcp_quickstart.py")],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=True,
    )

    said = done.stdout.splitlines()
    assert said[0] == "allowed Ticket 88: the printer is on fire"
    assert said[1].startswith("refused Refused (argument_out_of_bounds)")
    assert [line.split()[1] for line in said[-4:-1]] == ["call.outcome", "call.denied", "session.closed"]
    assert said[-1] == "verified 10 records"
