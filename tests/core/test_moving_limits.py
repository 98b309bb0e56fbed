"""Rates and limits on different resources: exact, shared along a chain, given back when nothing ran."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import remit
from remit.authority.decide import decide
from remit.authority.source import read_grant
from remit.facts import recorded_facts
from remit.review.replay import Others, replay
from remit.testing import Clock
from tests.core.conftest import CATALOGUE, PEOPLE, TRIAGE, Tool
from tests.stores import temporary


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> Iterator[remit.App]:
    """With a catalogue that knows tickets."""
    with temporary(tmp_path, clock=clock, catalogue=CATALOGUE, people=PEOPLE) as opened:
        yield opened


def granted(whole: dict[str, Any], **clause: Any) -> dict[str, Any]:
    """Any ticket may be read and commented on."""
    return {
        **TRIAGE,
        "expires_in": "30d",
        "limits": {"denied": 1000, **whole},
        "tools": {
            "crm.read_ticket": {"resources": ["read crm://tickets/*"], **clause},
            "crm.comment": {"resources": ["write crm://tickets/*"], "arguments": {"body": "any"}},
        },
    }


def codes(session: remit.Session, ids: list[Any], tool: Tool) -> list[str]:
    """What became of a read of each ticket."""
    found = []
    for ticket in ids:
        try:
            session.call("crm.read_ticket", {"id": ticket}, run=tool)
            found.append("ok")
        except remit.Denied as denied:
            found.append(denied.code)
    return found


class TestRates:
    """`rate: 3/minute`."""

    @pytest.mark.requirement("limits:rate")
    def test_no_stretch_of_the_length_ever_holds_more_calls(self, app: remit.App, tool: Tool, clock: Clock) -> None:
        """Not even across the seam between two minutes: each call makes room a minute after it came."""
        grant = app.issue(granted({"rate": "3/minute"}), credential="user:ravi@acme.com")
        permitted: list[Any] = []
        with app.session(grant) as session:
            for _ in range(60):
                if codes(session, [1], tool) == ["ok"]:
                    permitted.append(clock.now)
                clock.forward(seconds=7)

        assert len(permitted) > 15
        for index, moment in enumerate(permitted[3:]):
            assert (moment - permitted[index]).total_seconds() >= 60

    def test_refusal_says_when_the_next_call_may_come(self, app: remit.App, tool: Tool, clock: Clock) -> None:
        """The remedy is true: a second earlier is too early, at the moment it runs."""
        grant = app.issue(granted({"rate": ["2/minute", "100/day"]}), credential="user:ravi@acme.com")
        with app.session(grant) as session:
            assert codes(session, [1, 2], tool) == ["ok", "ok"]
            clock.forward(seconds=20)
            with pytest.raises(remit.Denied) as caught:
                session.call("crm.read_ticket", {"id": 3}, run=tool)
            seconds = caught.value.remedy.details["seconds"]
            clock.forward(seconds=seconds - 1)
            assert codes(session, [3], tool) == ["limit_reached"]
            clock.forward(seconds=1)
            assert codes(session, [3], tool) == ["ok"]

        assert caught.value.remedy.kind == "retry_after"
        assert caught.value.rule == "crm.read_ticket/only:rate"

    @pytest.mark.parametrize(
        ("rate", "says"),
        [("2000/day", "at most 1000"), (["1/hour", "2/hour"], "same stretch"), ("5 per hour", "a rate such as")],
    )
    def test_rate_that_cannot_be_kept_is_refused(self, app: remit.App, rate: Any, says: str) -> None:
        """With a reason."""
        with pytest.raises(remit.GrantError, match=says):
            app.issue(granted({"rate": rate}), credential="user:ravi@acme.com")


class TestDifferentResources:
    """`distinct: {resources: crm://tickets/*, max: 2}`."""

    DISTINCT: ClassVar[dict[str, Any]] = {"distinct": {"resources": "crm://tickets/*", "max": 2}}

    @pytest.mark.requirement("limits:distinct")
    def test_what_was_touched_before_costs_nothing_and_a_third_is_too_many(self, app: remit.App, tool: Tool) -> None:
        """However it is touched, and by whichever session."""
        grant = app.issue(granted(self.DISTINCT), credential="user:ravi@acme.com")
        with app.session(grant) as session:
            assert codes(session, [1, 1, 2, 1], tool) == ["ok"] * 4
            assert codes(session, [3, "3"], tool) == ["limit_reached"] * 2
        with app.session(grant) as session:
            session.call("crm.comment", {"id": 2, "body": "b"}, run=tool)
            with pytest.raises(remit.Denied):
                session.call("crm.comment", {"id": 4, "body": "b"}, run=tool)

    def test_an_action_narrows_what_counts(self, app: remit.App, tool: Tool) -> None:
        """Reads are counted here, comments are not."""
        only = {"distinct": {"resources": ["read crm://tickets/*"], "max": 1}}
        grant = app.issue(granted(only), credential="user:ravi@acme.com")
        with app.session(grant) as session:
            session.call("crm.comment", {"id": 5, "body": "b"}, run=tool)
            assert codes(session, [1, 2], tool) == ["ok", "limit_reached"]

    def test_over_a_tool_that_nobody_describes_is_refused(self, app: remit.App) -> None:
        """A limit that would count nothing is no limit."""
        document = {**TRIAGE, "tools": {"kb.search": {"other_arguments": "any", "limits": self.DISTINCT}}}
        with pytest.raises(remit.GrantError, match=r"no catalogue says what kb\.search touches"):
            app.issue(document, credential="user:ravi@acme.com")

    def test_nothing_that_was_touched_is_readable_in_the_counters(self, app: remit.App, tool: Tool) -> None:
        """The rows hold keyed hashes, and two limits do not show that they count the same ticket."""
        both = granted(self.DISTINCT, limits=self.DISTINCT)
        grant = app.issue(both, credential="user:ravi@acme.com")
        with app.session(grant) as session:
            codes(session, ["secret-ticket"], tool)
        rows = [row[0] for row in app.ledger.read().rows(_counter_ids())]
        members = [row.partition("#")[2] for row in rows if "#" in row]

        assert len(members) == len(set(members)) == 2
        assert not any("secret-ticket" in row for row in rows)


def _counter_ids() -> Any:
    from sqlalchemy import select
    from sqlmodel import col

    from remit.store.tables import CounterRow

    return select(col(CounterRow.id))


@pytest.mark.requirement("limits:given-back")
def test_call_that_did_not_run_gives_back_its_rate_and_its_resource(app: remit.App, tool: Tool) -> None:
    """A person settles an unknown call as not run: what it took is free again, once."""
    limits = {"rate": "1/day", "distinct": {"resources": "crm://tickets/*", "max": 1}}
    grant = app.issue(granted(limits), credential="user:ravi@acme.com")
    with app.session(grant) as session:

        def unreadable(_: Any) -> Any:
            raise RuntimeError("nobody can read this")

        session.call("crm.read_ticket", {"id": 1}, run=tool, classify=unreadable)
        assert codes(session, [2], tool) == ["limit_reached"]
        [call] = [record.data["call"] for record in app.records() if record.type == "call.intent"]
        app.resolve(call, "not_run", reason="the server was down", credential="user:bob@acme.com")
        assert codes(session, [2, 1], tool) == ["ok", "limit_reached"]


@pytest.mark.requirement("limits:replay")
def test_decisions_under_moving_limits_are_decided_again_alike(app: remit.App, tool: Tool, clock: Clock) -> None:
    """From what the record says alone."""
    from remit.authority.calls import CallView
    from remit.authority.compile import compile_grant
    from remit.authority.terms import GrantTerms
    from remit.resources.access import Access

    limits = {"rate": "3/minute", "distinct": {"resources": "crm://tickets/*", "max": 2}}
    grant = app.issue(granted(limits), credential="user:ravi@acme.com")
    with app.session(grant) as session:
        for step in range(12):
            codes(session, [step % 4], tool)
            clock.forward(seconds=11)
    chain = (compile_grant(GrantTerms.from_bytes(grant.terms.canonical)),)
    found = []
    for record in app.records():
        if record.type not in ("call.intent", "call.denied"):
            continue
        private = record.disclosed() or {}
        arguments = private["arguments"]
        accesses = tuple(Access(*text.split(" ", 1)) for text in private["accesses"])
        view = CallView(
            "crm.read_ticket", arguments, arguments, frozenset(), {}, accesses, frozenset({"id"}), None, True
        )
        again = decide(chain, view, recorded_facts(record.data["facts"]))
        said = record.data["decision"]
        assert (again.effect, again.code, again.rule) == (said["effect"], said["code"], said["rule"])
        found.append(again.rule)

    assert {rule for rule in found if rule} >= {"crm.read_ticket/only:rate", "crm.read_ticket/only:resources"}


def _spend(url: str, grant_id: str, process: int, report: Any) -> None:
    permitted = 0
    with remit.open(url, development=True, catalogue=CATALOGUE) as app, app.session(grant_id, key="shared") as session:
        for number in range(12):
            try:
                session.call("crm.read_ticket", {"id": f"{process}-{number}"}, run=lambda id: id)  # noqa: A006
            except remit.Denied:
                continue
            permitted += 1
    report.put(permitted)


@pytest.mark.requirement("limits:processes")
@pytest.mark.parametrize(
    "limits", [{"rate": "40/day"}, {"distinct": {"resources": "crm://tickets/*", "max": 40}}], ids=["rate", "distinct"]
)
def test_eight_processes_spend_exactly_one_budget(tmp_path: Path, limits: dict[str, Any]) -> None:
    """96 attempts on a budget of 40; `benchmarks/chaos/budget.py` does it with 1,000."""
    with temporary(tmp_path, catalogue=CATALOGUE) as app:
        grant = app.issue(granted(limits), credential="user:ravi@acme.com")
        spawn = multiprocessing.get_context("spawn")
        report = spawn.Queue()
        workers = [spawn.Process(target=_spend, args=(app.url, grant.id, process, report)) for process in range(8)]
        for worker in workers:
            worker.start()
        permitted = [report.get(timeout=120) for _ in workers]
        for worker in workers:
            worker.join(60)

        assert sum(permitted) == 40
        assert sum(record.type == "call.intent" for record in app.records()) == 40
        app.verify()


@pytest.mark.requirement("limits:replay")
def test_tally_of_what_would_have_been_spent_agrees_with_the_store(app: remit.App, tool: Tool, clock: Clock) -> None:
    """Replay under other grants counts in memory as the store counts for real, refusals included."""
    limits = {"rate": ["3/minute", "20/hour"], "distinct": {"resources": "crm://tickets/*", "max": 4}, "calls": 25}
    grant = app.issue(granted(limits), credential="user:ravi@acme.com")
    with app.session(grant) as session:
        for step in range(60):
            codes(session, [step * step % 7], tool)
            clock.forward(seconds=13)
    replayed = replay(app, Others(grant=read_grant(granted(limits))))

    assert len(tool.calls) > 15
    assert not replayed.changed
    assert not replayed.undecidable
    assert replayed.unchanged == 60
