"""Tests of policies, as files: a grant, guardrails, and what is expected of each call of one session.

```yaml
policies: [../guardrails]       # paths are relative to the file
grant: ../../grants/triage.yaml # or the grant itself
parameters: {ticket: 88}
cases:
  - {call: {crm.read_ticket: {id: 88}}, expect: permit}
  - {call: {crm.read_ticket: {id: 89}}, expect: deny, code: resource_out_of_scope}
  - {call: {crm.read_ticket: {id: 88}}, expect: deny, code: grant_expired, after: 21m}
```

A call that is permitted runs a tool that does nothing, so limits are spent and labels gathered as they would be.
`catalogue`, `people` and `environment` are as for `remit.open`; `at` is when the session begins. `rule` of a case names
what decided; `outcome: exception` lets the tool fail.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from remit.authority.durations import parse_moment, parse_span
from remit.errors import ApprovalRequired, Denied, GrantError, RemitError, UsageError
from remit.resources.yaml_source import load_strict
from remit.testing import Clock, temporary

_START: Final = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)  # a Monday morning, the same for every run


class Case(BaseModel):
    """One call and what is expected of it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    call: dict[str, dict[str, Any] | None] = Field(min_length=1, max_length=1)
    expect: Literal["permit", "deny", "ask"]
    code: str | None = None
    rule: str | None = None
    after: str | None = None
    outcome: Literal["ok", "exception"] = "ok"

    @property
    def tool(self) -> str:
        """The tool that is called."""
        return next(iter(self.call))

    @property
    def arguments(self) -> dict[str, Any]:
        """What it is called with."""
        return self.call[self.tool] or {}


class TestFile(BaseModel):
    """One file of tests."""

    __test__ = False  # pytest is not to collect it
    model_config = ConfigDict(extra="forbid", strict=True)

    grant: str | dict[str, Any]
    parameters: dict[str, Any] = {}
    policies: list[str] = []
    catalogue: list[str] | dict[str, Any] = []
    people: str | dict[str, Any] | None = None
    environment: str = "unspecified"
    at: str | None = None
    cases: list[Case] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Result:
    """How one case came out. `got` and `reason` are of the decision; `line` is where the case stands."""

    name: str
    line: int
    passed: bool
    expected: str
    got: str
    reason: str

    @property
    def where(self) -> str:
        """`file:line`."""
        return f"{self.name}:{self.line}"


def run_file(path: str | Path) -> list[Result]:
    """Run every case of one file, in order, in one session of an app of its own, with a clock of its own.

    Raises `UsageError` or `GrantError` when the file, or what it names, cannot be read.
    """
    path = Path(path)
    tests, lines = _read(path)
    clock = Clock(_moment(path, tests.at))
    found: list[Result] = []
    options: dict[str, Any] = {
        "policies": [path.parent / one for one in tests.policies] or None,
        "catalogue": tests.catalogue if isinstance(tests.catalogue, dict) else _below(path, tests.catalogue),
        "people": path.parent / tests.people if isinstance(tests.people, str) else tests.people,
        "environment": tests.environment,
    }
    with (
        tempfile.TemporaryDirectory(prefix="remit-policy-test-") as folder,
        temporary(Path(folder), clock=clock, **options) as app,
    ):
        grant = path.parent / tests.grant if isinstance(tests.grant, str) else tests.grant
        issued = app.issue(grant, tests.parameters, credential="user:policy-test@example.com")
        session = app.session(issued).open()
        for case, line in zip(tests.cases, lines, strict=True):
            if case.after is not None:
                clock.now += _span(f"{path}:{line}", case.after)
            found.append(_run(path, line, case, session))
    return found


def run_files(paths: list[Path]) -> Iterator[Result]:
    """Every case of some files, and of every `*.yaml` in some folders."""
    for path in paths:
        for file in sorted(path.glob("*.yaml")) if path.is_dir() else [path]:
            yield from run_file(file)


def _run(path: Path, line: int, case: Case, session: Any) -> Result:
    def tool(**_: Any) -> None:
        if case.outcome == "exception":
            raise _Failed

    code: str | None = None
    rule: str | None = None
    reason = "permitted"
    effect = "permit"
    try:
        session.call(case.tool, case.arguments, run=tool)
    except _Failed:
        pass
    except ApprovalRequired as asked:
        effect, code, rule, reason = "ask", asked.code, asked.rule, asked.reason
    except Denied as denied:
        effect, code, rule, reason = "deny", denied.code, denied.rule, denied.reason
    except RemitError as error:
        effect, reason = f"{type(error).__name__}", str(error)
    wanted = [case.expect, case.code, case.rule]
    got = [effect, code if case.code else None, rule if case.rule else None]
    return Result(str(path), line, wanted == got, _words(wanted), _words([effect, code, rule]), reason)


class _Failed(Exception):
    """What a tool raises in a case with `outcome: exception`."""


def _words(parts: list[str | None]) -> str:
    return " ".join(part for part in parts if part)


def _read(path: Path) -> tuple[TestFile, list[int]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the policy tests {path}: {error.strerror}") from error
    located = load_strict(text, name=str(path))
    try:
        tests = TestFile.model_validate(located.tree)
    except ValidationError as error:
        problems = [
            str(located.refuse(tuple(problem["loc"]), problem["msg"].lower())) for problem in error.errors()
        ]  # fmt: skip
        raise GrantError(problems[0], problems=problems) from None
    return tests, [located.line_of(("cases", index)) for index in range(len(tests.cases))]


def _below(path: Path, names: list[str]) -> list[Path]:
    return [path.parent / name for name in names]


def _moment(path: Path, text: str | None) -> datetime:
    if text is None:
        return _START
    try:
        return parse_moment(text)
    except ValueError as error:
        raise UsageError(f"{path}: at: {error}") from error


def _span(where: str, text: str) -> Any:
    try:
        return parse_span(text)
    except ValueError as error:
        raise UsageError(f"{where}: after: {error}") from error


__all__ = ["Case", "Result", "TestFile", "run_file", "run_files"]
