"""Remit as the gate of a replay, through its public API only: one ledger, and for each run a grant and a session."""

from __future__ import annotations

import collections
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmarks.agentdojo.gates import Approver, ToolOutput, Verdict
from benchmarks.recorded import authority, critical, world

import remit
from remit.testing import reproduce

ISSUER = "user:emma@bluesparrow.example"
PERSON = "user:approver@bluesparrow.example"
MEMORY = Path("/dev/shm")
"""A folder in memory, used where there is one: the disk is not what is measured here."""


class Mode(NamedTuple):
    """Under which grants, and before whom, the runs are replayed."""

    rules: authority.Rules
    approver: critical.ApproverKind


class Made(NamedTuple):
    """One call, and what became of it: `code` and `rule` say why it was refused, `error` what the tool said."""

    tool: str
    arguments: dict[str, Any]
    verdict: Verdict
    code: str | None = None
    rule: str | None = None
    error: str | None = None


@cache
def definition(suite: str, tool: str) -> remit.ToolDefinition:
    """The tool's definition, as an adapter would have it from its framework."""
    schema, description = world.signature(suite, tool)
    return remit.ToolDefinition(f"{suite}.{tool}", schema, description)


class _Body:
    """A tool's body for Remit. Knows afterwards whether it was entered, and how it ended."""

    def __init__(self, place: world.World, tool: str) -> None:
        self._place, self._tool = place, tool
        self.outputs: list[ToolOutput] = []

    def __call__(self, /, **arguments: Any) -> Any:
        self.outputs.append(self._place.run(self._tool, arguments))
        return self.outputs[-1].data

    def status(self, result: Any) -> tuple[Literal["ok", "tool_error"], str | None]:
        """What AgentDojo says of the call, beside what it returned."""
        del result
        return ("tool_error", self.outputs[-1].error) if self.outputs[-1].error else ("ok", None)


class GatedRun:
    """One run under one grant and one session."""

    def __init__(self, app: remit.App, place: world.World, mode: Mode) -> None:
        self._app, self._place = app, place
        self._approver: Approver = critical.approver(mode.approver, place.suite, place.task)
        terms = authority.grant(place.suite, place.task, mode.rules)
        self._session = app.session(app.issue(terms, credential=ISSUER))

    def call(self, tool: str, arguments: dict[str, Any]) -> Made:
        """Makes the call if it may be made."""
        body = _Body(self._place, tool)
        made = self._decide(tool, arguments, body)
        if len(body.outputs) != (made.verdict in ("permit", "approved")):
            raise AssertionError(f"{tool}: {made.verdict}, but it ran {len(body.outputs)} times")
        return made._replace(error=body.outputs[0].error) if body.outputs else made

    def _decide(self, tool: str, arguments: dict[str, Any], body: _Body) -> Made:
        key = f"{self._place.suite}.{tool}"
        known = definition(self._place.suite, tool)
        try:
            self._session.call(key, arguments, run=body, classify=body.status, definition=known)
        except remit.ApprovalRequired as held:
            return self._ask(held, Made(tool, arguments, "approved"), body)
        except remit.Denied as denied:
            return Made(tool, arguments, "deny", str(denied.code), denied.rule)
        return Made(tool, arguments, "permit")

    def _ask(self, held: remit.ApprovalRequired, made: Made, body: _Body) -> Made:
        if self._approver(made.tool, made.arguments):
            self._app.approve(held.approval_id, credential=PERSON)
            self._session.resume(held.approval_id, run=body)
            return made
        self._app.refuse(held.approval_id, credential=PERSON, reason="not what the task asks for")
        return made._replace(verdict="refused", code=str(held.code), rule=held.rule)

    def close(self) -> None:
        self._session.close("run ended")


class Gate:
    """A development ledger in a temporary folder; `finish` verifies it and throws it away."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._folder = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        url = f"sqlite:///{self._folder.name}/remit.db"
        self._app = remit.open(url, development=True, catalogue=authority.CATALOGUE)
        self._verdicts: collections.Counter[Verdict] = collections.Counter()

    def play(self, place: world.World, calls: list[tuple[str, Mapping[str, Any]]]) -> list[Made]:
        """All of a run's calls, one after the other, whatever was refused before."""
        run = GatedRun(self._app, place, self._mode)
        made = [run.call(tool, dict(arguments)) for tool, arguments in calls]
        run.close()
        self._verdicts.update(each.verdict for each in made)
        return made

    def finish(self) -> dict[str, int]:
        """Verifies the ledger, takes every decision again from its record, checks that every verdict has its record."""
        size = self._app.verify().size
        again = reproduce(self._app)
        if again.same + again.undecidable["beside"] != again.decisions:
            raise AssertionError(f"decisions that were not taken again: {dict(again.undecidable)}")
        kinds = collections.Counter(record.type for record in self._app.records())
        self._app.close()
        self._folder.cleanup()
        said = self._verdicts
        expected = {
            "call.intent": said["permit"] + said["approved"],
            "call.denied": said["deny"],
            "approval.requested": said["approved"] + said["refused"],
        }
        found = {kind: kinds[kind] for kind in expected}
        if found != expected:
            raise AssertionError(f"the ledger holds {found}, the verdicts were {expected}")
        return {"records verified": size, "decisions reproduced": again.same, "sessions": kinds["session.opened"]}
