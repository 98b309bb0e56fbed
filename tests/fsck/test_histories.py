"""Whatever happens through the public API, in whatever order, the records rebuild every read model."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

import remit
from remit.errors import RemitError
from remit.fsck import compare
from remit.testing import Clock
from tests.core.conftest import PEOPLE
from tests.fsck.conftest import BOB, CAROL, CATALOGUE, CHILD, GRANT, RAVI
from tests.stores import drop_below, temporary

AMOUNTS = st.sampled_from([0, 5, 12.5, 20, 33.25])
KEYS = st.sampled_from(["1", "2", None])


def _ends(how: str) -> Callable[..., Any]:
    def run(**arguments: Any) -> Any:
        if how == "fails":
            raise ValueError("no")
        return arguments

    return run


class Histories(RuleBasedStateMachine):
    """Grants, sessions, calls of every kind, questions, amendments, delegations, verdicts, and time that passes."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.stack.callback(drop_below, folder)
        self.clock = Clock()
        options: dict[str, Any] = {"clock": self.clock, "people": PEOPLE, "catalogue": CATALOGUE}
        self.app = self.stack.enter_context(temporary(folder, **options))
        self.sessions: list[remit.Session] = []
        self.grants = [self.app.issue(GRANT, key="a", credential=RAVI).id]
        for key, idle in (("x", None), (None, "10m")):
            self.sessions.append(self.app.session(self.grants[0], key=key, idle=idle).open())

    def teardown(self) -> None:
        """What happened is rebuilt."""
        found = [finding.sentence for finding in compare(self.app.ledger).findings]
        self.stack.close()
        assert found == []

    # -- grants

    @precondition(lambda self: len(self.grants) < 4)
    @rule(key=st.sampled_from(["a", "b", None]))
    def issue(self, key: str | None) -> None:
        self.grants.append(self.app.issue(GRANT, key=key, credential=RAVI).id)

    @rule(
        which=st.integers(0, 9),
        calls=st.integers(1, 40),
        rate=st.sampled_from(["2/minute", "30/hour"]),
        drop=st.booleans(),
    )
    def amend(self, which: int, calls: int, rate: str, drop: bool) -> None:
        grant = self.app.grant(self.grants[which % len(self.grants)])
        changes: dict[str, Any] = {
            "limits": {"calls": calls, "denied": 2},
            "expires_in": "3h",
            "tools": {"kb.search": {"other_arguments": "any", "limits": {"rate": rate, "calls": calls}}},
        }
        if drop:
            changes["tools"]["payments.refund"] = {
                "name": "other",
                "arguments": {"amount": {"min": 0, "max": 50}},
                "limits": {"sum": {"argument": "amount", "max": 90}},
            }
        with contextlib.suppress(RemitError):
            self.app.amend(grant, changes, credential=RAVI)

    @precondition(lambda self: len(self.grants) == 3)
    @rule(which=st.integers(0, 9))
    def revoke(self, which: int) -> None:
        self.app.revoke(self.grants[which % len(self.grants)], reason="enough", credential=RAVI)

    @rule(which=st.integers(0, 9))
    def delegate(self, which: int) -> None:
        with contextlib.suppress(RemitError):
            child = self._session(which).delegate(CHILD)
            self.sessions.append(self.app.session(child).open())

    # -- sessions

    @rule(which=st.integers(0, 9), key=st.sampled_from(["x", "y", None]), idle=st.sampled_from(["10m", None]))
    def open(self, which: int, key: str | None, idle: str | None) -> None:
        with contextlib.suppress(RemitError):
            session = self.app.session(self.grants[which % len(self.grants)], key=key, idle=idle).open()
            self.sessions.append(session)

    @precondition(lambda self: len(self.sessions) > 4)
    @rule(which=st.integers(0, 9))
    def close(self, which: int) -> None:
        self._session(which).close("done")

    @rule(which=st.integers(0, 9))
    def resume_session(self, which: int) -> None:
        with contextlib.suppress(RemitError):
            self.app.resume_session(self._session(which).id, credential=RAVI)

    # -- calls

    @rule(which=st.integers(0, 9), ticket=st.integers(86, 90), key=KEYS)
    def read(self, which: int, ticket: int, key: str | None) -> None:
        self._call(which, "crm.read_ticket", {"id": ticket}, "ok", key)

    @rule(
        which=st.integers(0, 9),
        amount=AMOUNTS,
        how=st.sampled_from(["ok", "fails", "not_run", "unknown", "pending"]),
        key=KEYS,
    )
    def refund(self, which: int, amount: float, how: str, key: str | None) -> None:
        self._call(which, "payments.refund", {"amount": amount}, how, key)

    @rule(which=st.integers(0, 9), how=st.sampled_from(["ok", "not_run", "unknown", "pending"]), key=KEYS)
    def search(self, which: int, how: str, key: str | None) -> None:
        definition = remit.ToolDefinition("kb.search", {"type": "object"}, "Search")
        self._call(which, "kb.search", {"q": "a"}, how, key, definition=definition)

    @rule(which=st.integers(0, 9), amount=AMOUNTS, key=KEYS)
    def ask(self, which: int, amount: float, key: str | None) -> None:
        self._call(which, "payments.large", {"amount": amount}, "ok", key)

    @rule(which=st.integers(0, 9), yes=st.booleans())
    def answer(self, which: int, yes: bool) -> None:
        waiting = self.app.pending()
        if waiting:
            approval = waiting[which % len(waiting)]
            with contextlib.suppress(RemitError):
                (self.app.approve if yes else self.app.refuse)(approval.id, credential=BOB)
                self.app.join(approval.session_id).resume(approval.id, run=_ends("ok"))

    @rule(outcome=st.sampled_from(["ok", "not_run"]))
    def resolve(self, outcome: Any) -> None:
        for record in self.app.records():
            if record.type == "call.outcome" and record.data["status"] == "unknown":
                with contextlib.suppress(RemitError):
                    self.app.resolve(record.data["call"], outcome, reason="looked", credential=RAVI)
                    return

    # -- people and time

    @rule(which=st.integers(0, 9), said=st.sampled_from([("within", None), ("exceeded", "ran_outside_grant")]))
    def verdict(self, which: int, said: tuple[Any, Any]) -> None:
        with contextlib.suppress(RemitError):
            self.app.verdict(self._session(which).id, said[0], reason=said[1], credential=CAROL)

    @rule(which=st.integers(0, 9))
    def ask_for_more(self, which: int) -> None:
        with contextlib.suppress(RemitError):
            request = self._session(which).request({"limits": {"calls": 99}}, reason="more")
            if which % 2:
                self.app.refuse_request(request.id, credential=RAVI)

    @rule(minutes=st.sampled_from([1, 5, 12]))
    def wait(self, minutes: int) -> None:
        self.clock.forward(minutes=minutes)

    @rule()
    def recover(self) -> None:
        with contextlib.suppress(RemitError):
            self.app.recover()

    # --

    def _session(self, which: int) -> remit.Session:
        return self.sessions[which % len(self.sessions)]

    def _call(
        self, which: int, tool: str, arguments: dict[str, Any], how: str, key: str | None, **options: Any
    ) -> None:
        def classify(result: Any) -> tuple[Any, None]:
            return (how if how in ("not_run", "unknown", "pending") else "ok"), None

        with contextlib.suppress(RemitError, ValueError):
            self._session(which).call(
                tool, arguments, run=_ends(how), call_id=key, scope="s", classify=classify, **options
            )


Histories.TestCase.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.requirement("fsck")
class TestEveryHistory(Histories.TestCase):  # type: ignore[misc, valid-type]
    """Random histories of up to forty steps."""
