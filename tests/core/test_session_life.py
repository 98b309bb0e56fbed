"""When sessions begin, whose block they are, and when they are over."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

import remit
from remit.testing import Clock
from tests.core.conftest import TRIAGE, Tool, data, types

RAVI = "user:ravi@acme.com"


def test_key_is_free_again_when_the_grant_of_its_session_has_ended(
    app: remit.App, grant: remit.Grant, clock: Clock
) -> None:
    """A server that issues a grant for each piece of work keeps its session key."""
    first = app.session(grant, key="thread:42").id
    clock.forward(minutes=21)
    second = app.session(app.issue(TRIAGE, credential=RAVI), key="thread:42").id

    assert second != first
    assert types(app, first)[-1] == "session.closed"
    assert data(app, "session.closed")[0]["why"] == "grant_ended"


def test_idle_session_is_closed_when_its_key_comes_back(
    app: remit.App, grant: remit.Grant, tool: Tool, clock: Clock
) -> None:
    """Who comes back late gets a new session, not a refusal."""
    first = app.session(grant, key="thread:42", idle="5m").id
    clock.forward(minutes=6)
    with app.session(grant, key="thread:42", idle="5m") as session:
        assert session.call("kb.search", {"q": "a"}, run=tool) == "done"
        assert session.id != first
    assert data(app, "session.closed")[0]["why"] == "idle"


def test_block_in_a_generator_that_is_closed_elsewhere_closes_its_session(app: remit.App, grant: remit.Grant) -> None:
    """A web framework closes a stream in another context than it began it in."""
    session = app.session(grant)

    def stream() -> Iterator[int]:
        with session:
            yield 1

    pages = stream()
    contextvars.copy_context().run(next, pages)
    pages.close()  # type: ignore[attr-defined]
    assert types(app, session.id)[-1] == "session.closed"


def test_block_that_several_threads_are_in_ends_with_the_last(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """Each thread leaves its own entering; the session closes once."""
    session = app.session(grant)
    inside = threading.Barrier(3)

    def work(_: int) -> None:
        with session:
            inside.wait(30)
            session.call("kb.search", {"q": "a"}, run=tool)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(work, range(3)))
    assert len(tool.calls) == 3
    assert types(app, session.id).count("session.opened") == 1
    assert types(app, session.id)[-1] == "session.closed"


def test_session_that_was_never_used_can_be_closed(app: remit.App, grant: remit.Grant) -> None:
    """Closing opens first, so that there is something to close."""
    session = app.session(grant)
    session.close()
    assert types(app, session.id) == ["session.opened", "session.closed"]


@pytest.mark.requirement("I2")
def test_call_in_a_session_that_the_grant_does_not_open_any_more_is_recorded(
    app: remit.App, grant: remit.Grant, tool: Tool
) -> None:
    """A denial is a record too, before there is a session as well."""
    app.revoke(grant.id, reason="the ticket was closed", credential=RAVI)
    with pytest.raises(remit.Denied) as denied:
        app.session(grant).call("kb.search", {"q": "a"}, run=tool)
    assert denied.value.code == "grant_revoked"
    assert [record["call"] for record in data(app, "call.denied")] == [denied.value.call_id]
    assert tool.calls == []


def test_each_process_that_joins_is_its_own_workload(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """Who opened a session is not who runs in it."""
    opened = app.session(grant, workload="spiffe://acme.com/web")
    opened.call("kb.search", {"q": "a"}, run=tool)
    joined = app.join(opened.id)
    joined.call("kb.search", {"q": "b"}, run=tool)

    first, second = [record["workload"] for record in data(app, "call.intent")]
    assert first == "spiffe://acme.com/web"
    assert second.startswith("process:")


class Shifty(str):
    """Text that copies itself into something else."""

    def __deepcopy__(self, memo: dict[int, Any]) -> str:
        return "99"


@pytest.mark.requirement("I3")
def test_value_that_copies_itself_into_another_is_recorded_as_what_runs(
    app: remit.App, grant: remit.Grant, tool: Tool
) -> None:
    """What is judged, what is recorded and what runs are one and the same copy."""
    with app.session(grant) as session:
        session.call("kb.search", {"q": Shifty("88")}, run=tool)
    intent = next(record for record in app.records() if record.type == "call.intent")
    private = intent.disclosed()
    assert private is not None
    assert private["arguments"] == tool.calls[0]


@pytest.mark.requirement("code:too_large")
def test_arguments_nested_beyond_every_limit_are_refused_and_recorded(
    app: remit.App, grant: remit.Grant, tool: Tool
) -> None:
    """Depth is an answer, not a crash."""
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    with app.session(grant) as session, pytest.raises(remit.Denied) as denied:
        session.call("kb.search", {"q": deep}, run=tool)
    assert denied.value.code == "too_large"
    assert types(app)[-2:] == ["call.denied", "session.closed"]


def test_grants_that_begin_in_the_past_count_towards_how_many_may_be_issued(app: remit.App, clock: Clock) -> None:
    """The ceiling of a template is about when grants were issued, not about when they begin."""
    template = {name: value for name, value in TRIAGE.items() if name != "expires_in"} | {
        "template": "triage",
        "task": "Triage ticket ${ticket}",
        "parameters": {"ticket": {"type": "integer"}},
        "not_before": (clock.now - timedelta(days=3)).isoformat(timespec="seconds"),
        "expires": (clock.now + timedelta(days=3)).isoformat(timespec="seconds"),
        "issue": {"per_principal": "2/day"},
    }
    for ticket in (1, 2):
        app.issue(template, parameters={"ticket": ticket}, credential=RAVI)
    with pytest.raises(remit.GrantError, match="allows 2"):
        app.issue(template, parameters={"ticket": 3}, credential=RAVI)
