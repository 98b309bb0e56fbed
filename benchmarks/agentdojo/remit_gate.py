"""Remit as a gate of the harness, through its public API only.

Every run has a grant of its own, issued from the task's file in `grants/`, and a session of its own. Every
call goes through `session.call`, so it is decided and recorded; a call that a clause holds for approval is
answered by a person who is not the principal, and then resumed. One ledger serves all runs of a suite and is
verified at the end.
"""

from __future__ import annotations

import collections
import pathlib
import tempfile
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal

from gates import Approver, Execute, Verdict
from hijack import signature

import remit
from remit.testing import reproduce

GRANTS: Final = pathlib.Path(__file__).resolve().parent / "grants"
CATALOGUE: Final = GRANTS.parent / "catalogue.yaml"
ISSUER: Final = "user:emma@bluesparrow.example"
PERSON: Final = "user:approver@bluesparrow.example"
MEMORY: Final = pathlib.Path("/dev/shm")
"""A folder in memory, used where there is one: the disk is not what is measured here."""


def grant_file(suite: str, task: str) -> pathlib.Path:
    """The grant of one user task."""
    return GRANTS / suite / f"{task}.yaml"


@cache
def definition(suite: str, tool: str) -> remit.ToolDefinition:
    """The tool's definition, as an adapter would have it from its framework."""
    schema, description = signature(suite, tool)
    return remit.ToolDefinition(f"{suite}.{tool}", schema, description)


class _Body:
    """A tool's body for Remit: returns what AgentDojo's tool returned, as JSON, and knows whether it failed."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._error: str | None = None

    def __call__(self, /, **arguments: Any) -> Any:
        output = self._execute(**arguments)
        self._error = output.error
        return output.data

    def status(self, result: Any) -> tuple[Literal["ok", "tool_error"], str | None]:
        """What AgentDojo says of the call, beside what it returned."""
        del result
        return ("tool_error", self._error) if self._error else ("ok", None)


class RemitRun:
    """One agent run under one grant and one session."""

    def __init__(
        self,
        app: remit.App,
        suite: str,
        task: str,
        approver: Approver,
        verdicts: collections.Counter[Verdict],
    ) -> None:
        self._app, self._suite, self._approver, self._verdicts = app, suite, approver, verdicts
        self._session = app.session(app.issue(grant_file(suite, task), credential=ISSUER))

    def call(self, tool: str, arguments: Mapping[str, Any], execute: Execute) -> Verdict:
        verdict = self._decide(tool, arguments, execute)
        self._verdicts[verdict] += 1
        return verdict

    def _decide(self, tool: str, arguments: Mapping[str, Any], execute: Execute) -> Verdict:
        body = _Body(execute)
        try:
            self._session.call(
                f"{self._suite}.{tool}",
                arguments,
                run=body,
                classify=body.status,
                definition=definition(self._suite, tool),
            )
        except remit.ApprovalRequired as held:
            return self._ask(held.approval_id, tool, arguments, execute)
        except remit.Denied:
            return "deny"
        return "permit"

    def _ask(self, approval_id: str, tool: str, arguments: Mapping[str, Any], execute: Execute) -> Verdict:
        if not self._approver(tool, arguments):
            self._app.refuse(approval_id, credential=PERSON, reason="not what the task asks for")
            return "refused"
        self._app.approve(approval_id, credential=PERSON)
        self._session.resume(approval_id, run=_Body(execute))
        return "approved"

    def close(self) -> None:
        self._session.close("run ended")


class RemitGate:
    """Opens a development ledger in a temporary folder; `finish` verifies it and throws it away."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self._app = remit.open(f"sqlite:///{self._folder.name}/remit.db", development=True, catalogue=CATALOGUE)
        self._verdicts: collections.Counter[Verdict] = collections.Counter()

    def begin(self, suite: str, task: str, approver: Approver) -> RemitRun:
        return RemitRun(self._app, suite, task, approver, self._verdicts)

    def finish(self) -> dict[str, Any]:
        """Verifies the ledger, takes every decision again from its record, checks that every verdict has its record."""
        size = self._app.verify().size
        again = reproduce(self._app)
        beside = again.undecidable[
            "beside"
        ]  # a call that a person had refused before, and the like: no decision of ours
        if again.same + beside != again.decisions:
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
        return {
            "records verified": size,
            "decisions reproduced": again.same,
            "sessions": kinds["session.opened"],
            **found,
        }
