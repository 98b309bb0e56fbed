"""The page about privacy: its example runs, and its commands do what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import remit
from remit.cli import app as command_line
from remit.ledger.disclosures import Disclosure, check
from remit.testing import temporary
from tests.privacy.conftest import CATALOGUE, IBAN, OPEN, PIN, RAVI, places, records

PAGE = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text(encoding="utf-8")

Run = Callable[..., Any]


def test_the_example_on_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands there."""
    [program] = [block for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL) if "GRANT" in block]
    monkeypatch.chdir(tmp_path)

    exec(compile(program, "privacy.md", "exec"), {})

    assert capsys.readouterr().out.split("\n") == ["['catalogue']", "DE02 1203", "None", ""]


class TestCommands:
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        with temporary(tmp_path, catalogue=CATALOGUE) as app:
            with app.session(app.issue(OPEN, credential=RAVI)) as session:
                session.call("bank.login", {"pin": PIN, "iban": IBAN}, run=lambda pin, iban: "ok")
            self.session = session.id
        return app.url

    @pytest.fixture
    def run(self, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
        monkeypatch.chdir(tmp_path)
        runner = CliRunner()
        who = {"REMIT_URL": url, "REMIT_PERSON": "dora@acme.com", "REMIT_DEVELOPMENT": "1"}
        return lambda *arguments, **more: runner.invoke(command_line, list(arguments), env=who, **more)

    def test_reveal_shows_what_is_masked(self, run: Run, url: str) -> None:
        """And records who looked."""
        assert "[redacted]" in run("call", "show", f"{self.session}/1").stdout

        shown = run("reveal", f"{self.session}/1", "--argument", "iban", "--reason", "complaint")

        assert (shown.exit_code, shown.stdout.strip()) == (0, IBAN)
        with remit.open(url, can=()) as app:
            assert records(app, "review.revealed")[0].data["by"]["subject"] == "user:dora@acme.com"

    def test_disclose_writes_what_proves_it(self, run: Run, url: str) -> None:
        """JSON that checks against the leaf."""
        shown = run("disclose", f"{self.session}/1", "--argument", "iban", "--for", "auditor")

        found = Disclosure.from_json(shown.stdout)
        with remit.open(url, can=()) as app:
            check(found, app.ledger.record(found.record).leaf)  # type: ignore[union-attr]

    def test_erase_asks_first_and_says_what_was_done(self, run: Run, tmp_path: Path) -> None:
        """No is no."""
        arguments = ("erase", "--session", self.session, "--reason", "customer asked", "--basis", "GDPR art. 17")
        assert run(*arguments, input="n\n").exit_code != 0
        assert run(*arguments, "--json").exit_code == 2
        assert "[redacted]" in run("call", "show", f"{self.session}/1").stdout

        done = run(*arguments, input="y\n")

        assert done.exit_code == 0
        assert "Erased the text of" in done.stdout
        page = " ".join(run("session", "show", self.session).stdout.split())
        assert "erased by user:dora@acme.com (claimed, not proved) because: customer asked (GDPR art. 17)" in page
        assert places(IBAN, tmp_path) == []
        again = run(*arguments, "--yes", "--json")
        assert (again.exit_code, "nothing of" in again.stderr) == (2, True)
        assert json.loads(run("erase", "--finish", "--json").stdout) == {"complete": True, "advice": None}

    @pytest.mark.parametrize(
        "arguments",
        [
            ("erase", "--reason", "x", "--yes"),
            ("erase", "--record", "r-1", "--yes"),
            ("reveal", "r-1"),
            ("disclose", "r-1", "--for", "x", "--argument", "a", "--path", "/reason"),
        ],
    )
    def test_misuse_is_told(self, run: Run, arguments: tuple[str, ...]) -> None:
        """With exit code 2."""
        assert run(*arguments).exit_code == 2
