"""DelegationBench's defence interface, answered by Remit alone: every refusal below is one that Remit raised.

What the benchmark calls an envelope is a grant token here: a delegation is `session.delegate`, then `app.token`;
whoever receives the envelope opens a session with that token, which serves once. A tool call is `session.call` of the
agent that the task was handed to. The adapter holds what travels between agents (tokens), and who holds which session.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from delegationbench.trace import BlockedError

import remit
from remit.testing import Clock, reproduce, temporary

START: Final = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
NO_END: Final = 86_400.0
"""Seconds that a grant lives here where the scenario gives it no end; every grant of Remit has one."""


class RemitDefense:
    """One scenario's deployment. A context manager: leaving it verifies the ledger and takes every decision again."""

    def __init__(self, scenario: Any, folder: Path) -> None:
        self.scenario = scenario
        self.clock = Clock(START)
        self.virtual: Any = None
        self._app = temporary(folder, clock=self.clock)
        self.tokens: dict[str, str] = {}
        self.sessions: dict[tuple[str, str, str], remit.Session] = {}
        self.refusals: list[str] = []

    def __enter__(self) -> RemitDefense:
        self.app = self._app.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            if error[0] is None:
                self.app.verify()
                reproduce(self.app)
        finally:
            self._app.__exit__(*error)

    # -- the benchmark's interface

    def bind(self, clock: Any, grant_actions: Any, principal: str | None = None) -> None:
        """The root grant: what the scenario's user gives to the root agent."""
        self.virtual = clock
        given = self.scenario.grant
        grant = self.app.issue(
            {
                "task": self.scenario.task.description or self.scenario.name,
                "principal": f"user:{principal}",
                "agent": f"agent:{self.scenario.task.agent}",
                "expires": self._moment(given.ttl_seconds),
                "delegation": {"depth": given.max_delegation_depth},
                "tools": dict.fromkeys(sorted(grant_actions), "any"),
            },
            credential=f"user:{principal}",
        )
        self._keep(self.scenario.task.agent, "nonce-root", self.app.session(grant))

    def before_delegation(self, agent: Any, parent: Any, child: Any, task: str, scope: frozenset[str]) -> None:
        """Hand on what the envelope says, or present an envelope that went out before once more."""
        self._tick()
        with self._refused("delegation"):
            if child.nonce not in self.tokens:
                self.tokens[child.nonce] = self._handed_on(agent, parent, child, task, scope)
            receiver = child.task_id.rpartition("/")[2]
            verifier = self.app.verifier(single_use=True)
            self._keep(receiver, child.nonce, self.app.session(token=self.tokens[child.nonce], verifier=verifier))

    def before_tool_call(self, agent: Any, env: Any, action: str, args: dict[str, Any], source: str) -> None:
        """Ask for the call in the agent's own session. Where it has none for this envelope, there is no grant."""
        del source
        self._tick()
        with self._refused("tool_call"):
            self._session(agent, env).call(action, args, run=lambda **_: None)

    # -- how it is done

    def _handed_on(self, agent: Any, parent: Any, child: Any, task: str, scope: frozenset[str]) -> str:
        session = self._session(agent, parent)
        held = self.app.grant(session.grant_id).terms
        said: dict[str, Any] = {
            "task": task or "as asked",
            "agent": f"agent:{child.task_id.rpartition('/')[2]}",
            "expires": self._moment(child.expires_at),
            "delegation": {"depth": max(0, held.delegation.depth - 1)},
            "tools": dict.fromkeys(sorted(scope), "any"),
        }
        if child.principal != parent.principal:
            said["principal"] = f"user:{child.principal}"
        grant = session.delegate(said)
        return self.app.token(grant, audience=self.app.ledger.origin, credential=held.principal)

    def _session(self, agent: Any, env: Any) -> remit.Session:
        found = self.sessions.get((agent.name, env.nonce, f"user:{env.principal}"))
        return remit.current_session() if found is None else found  # outside any session: Denied (no_grant)

    def _keep(self, agent: str, nonce: str, session: remit.Session) -> None:
        session.open()
        self.sessions[agent, nonce, session.principal] = session

    def _moment(self, seconds: float | None) -> str:
        return (START + timedelta(seconds=NO_END if seconds is None else seconds)).isoformat().replace("+00:00", "Z")

    def _tick(self) -> None:
        self.clock.now = max(self.clock.now, START + timedelta(seconds=self.virtual.now))

    def _refused(self, phase: str) -> _Refused:
        return _Refused(self, phase)


class _Refused:
    """Turns what Remit refuses into the benchmark's `BlockedError`."""

    def __init__(self, defense: RemitDefense, phase: str) -> None:
        self.defense = defense
        self.phase = phase

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, remit.Denied | remit.GrantError | remit.IdentityError):
            self.defense.refusals.append(f"{self.phase}: {error.code}")
            raise BlockedError(f"{error.code}: {error}") from error
