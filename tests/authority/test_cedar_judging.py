"""Guardrails in a decision: what they forbid, what they ask for, and that nothing gets past them by its form."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from remit.authority.calls import SessionFacts
from remit.authority.cedar import CedarGuardrails
from remit.authority.cedar.rules import MEMO_ENTRIES
from remit.authority.compile import CompiledGrant
from remit.authority.decide import Decision, Facts, decide
from remit.resources.catalogue import Catalogue
from tests.authority.granting import CATALOGUE, NOW, compiled, facts, view

CAP = """
@id("org/cap") @reason("no agent refunds more than 100")
forbid(principal, action == Action::"payments.refund", resource)
when { context.input.amount.greaterThan(decimal("100.0")) };
"""
COUNT = '@id("org/count") forbid(principal, action, resource) when { context.input.count > 1000 };'

OPEN: dict[str, Any] = {"other_arguments": "any"}


def grant(**more: Any) -> CompiledGrant:
    """A grant that allows everything these tests try."""
    tools = {
        "payments.refund": OPEN,
        "crm.search": OPEN,
        "fs.read_file": {"resources": "any"},
        "fs.write_file": {"resources": "any"},
        "mail.deliver": {"resources": "any", "arguments": {"body": "any"}},
    }
    return compiled(tools, **more)


def judged(text: str, tool: str, arguments: Mapping[str, Any], *, when: Facts | None = None, **how: Any) -> Decision:
    """The decision under these guardrails."""
    return decide((grant(),), view(tool, arguments, **how), when or facts(), CedarGuardrails.from_text(text))


def around(**known: Any) -> Facts:
    """Facts with something known of the session."""
    return facts(around=SessionFacts(**known))


class TestForbid:
    """A satisfied forbid takes away what the grant allows."""

    @pytest.mark.requirement("code:guardrail")
    def test_refuses_with_its_id_and_reason(self) -> None:
        """The rule is the policy's id; the sentence gives its reason, and no source."""
        decision = judged(CAP, "payments.refund", {"amount": 100.5})

        assert (decision.effect, decision.code, decision.rule) == ("deny", "guardrail", "org/cap")
        assert decision.reason == (
            "The guardrail org/cap forbids this call of payments.refund: no agent refunds more than 100."
        )
        assert decision.remedy is not None
        assert decision.remedy.expected == "no agent refunds more than 100"

    def test_lets_through_what_it_does_not_speak_of(self) -> None:
        """The grant's own decision stands."""
        assert judged(CAP, "payments.refund", {"amount": 100}).rule == "payments.refund/only"
        assert judged(CAP, "crm.search", {"amount": 5000}).effect == "permit"

    def test_never_permits_what_no_clause_allows(self) -> None:
        """Guardrails only take away."""
        assert judged(CAP, "payments.payout", {"amount": 1}).code == "tool_not_granted"

    def test_the_first_one_in_file_order_speaks(self) -> None:
        """Whatever order Cedar gives its reasons in."""
        text = "".join(f'@id("{name}") forbid(principal, action, resource);' for name in "zay")

        assert judged(text, "crm.search", {}).rule == "z"

    def test_a_group_of_tools_is_their_server(self) -> None:
        """`action in Action::"crm.*"` speaks of every tool of crm."""
        text = '@id("a") forbid(principal, action in Action::"crm.*", resource);'

        assert judged(text, "crm.search", {}).rule == "a"
        assert judged(text, "payments.refund", {}).effect == "permit"

    def test_the_action_can_be_named_in_the_condition_too(self) -> None:
        """The request's action and its group are entities like any other."""
        text = '@id("a") forbid(principal, action, resource) when { action in [Action::"crm.*"] };'

        assert judged(text, "crm.search", {}).rule == "a"
        assert judged(text, "payments.refund", {}).effect == "permit"

    def test_reads_who_acts_for_whom(self) -> None:
        """Principal with id and roles, agent with id."""
        roles = '@id("a") forbid(principal in Role::"intern", action, resource) when { principal.roles.contains("x") };'
        name = '@id("a") forbid(principal == User::"alice@acme.com", action, resource == Agent::"agent:support");'
        ids = '@id("a") forbid(principal, action, resource) when { principal.id == "user:alice@acme.com" && resource.id == "agent:support" };'  # fmt: skip # noqa: E501

        assert judged(roles, "crm.search", {}, when=around(roles=frozenset({"intern", "x"}))).effect == "deny"
        assert judged(roles, "crm.search", {}, when=around(roles=frozenset({"intern"}))).effect == "permit"
        assert judged(name, "crm.search", {}).effect == "deny"
        assert judged(ids, "crm.search", {}).effect == "deny"

    @pytest.mark.parametrize(
        ("condition", "known"),
        [
            ('context.session.labels.contains("confidential")', {"labels": frozenset({"confidential"})}),
            ("context.session.call_count >= 5", {"calls": 5}),
            ("context.session.tool_call_count >= 2", {"tool_calls": 2}),
            ('context.session.environment == "production"', {"environment": "production"}),
            ('context.session.mode == "observe"', {"mode": "observe"}),
        ],
    )
    def test_reads_the_session_as_the_facts_say(self, condition: str, known: dict[str, Any]) -> None:
        """Each fact is part of the decision's recorded input."""
        text = f'@id("a") forbid(principal, action, resource) when {{ {condition} }};'

        assert judged(text, "crm.search", {}).effect == "permit"
        assert judged(text, "crm.search", {}, when=around(**known)).rule == "a"

    def test_reads_hour_and_day_of_the_decision(self) -> None:
        """From the recorded moment, never from a clock."""
        text = """@id("a") forbid(principal, action, resource)
            unless { context.session.hour_utc == 9 && context.session.day_utc == "tuesday" };"""

        assert judged(text, "crm.search", {}).effect == "permit"
        assert judged(text, "crm.search", {}, when=facts(now=NOW + timedelta(minutes=10))).effect == "permit"
        later = grant(expires_in="2d")
        for moment in (NOW + timedelta(hours=1), NOW + timedelta(days=1)):
            decision = decide((later,), view("crm.search", {}), facts(now=moment), CedarGuardrails.from_text(text))
            assert decision.rule == "a"

    def test_reads_what_the_grant_is_bound_to(self) -> None:
        """`context.session.bindings` are the grant's."""
        guardrails = CedarGuardrails.from_text(
            '@id("a") forbid(principal, action, resource) unless { context.session.bindings has change };'
        )
        bound = grant(bindings={"change": "CHG-7"})

        assert decide((bound,), view("crm.search", {}), facts(), guardrails).effect == "permit"
        assert decide((grant(),), view("crm.search", {}), facts(), guardrails).rule == "a"


class TestAccesses:
    """What a call touches, as the catalogue found it."""

    SECRETS = '@id("a") forbid(principal, action, resource) when { context.access.segments.contains(".ssh") };'

    def test_one_access_that_is_forbidden_forbids_the_call(self) -> None:
        """`context.access` is each access in turn."""
        text = '@id("a") forbid(principal, action, resource) when { context.access.host == "evil.example" };'
        good, bad = "bob@acme.com", "x@evil.example"

        assert judged(text, "mail.deliver", {"to": [good], "body": ""}).effect == "permit"
        assert judged(text, "mail.deliver", {"to": [good, bad], "body": ""}).rule == "a"
        assert judged(text, "mail.deliver", {"to": [bad, good], "body": ""}).rule == "a"

    def test_parts_of_a_path_are_whole_decoded_and_without_case(self) -> None:
        """Neither an escape nor a capital gets around a name."""
        for path in ("/home/a/.ssh/id", "/home/a/.SSH/id"):
            assert judged(self.SECRETS, "fs.read_file", {"path": path}).rule == "a"
        assert judged(self.SECRETS, "fs.read_file", {"path": "/home/a/.sshd/id"}).effect == "permit"

    def test_a_call_that_touches_nothing_has_no_access(self) -> None:
        """Not satisfied, and no error either."""
        assert judged(self.SECRETS, "crm.search", {}).effect == "permit"
        negated = '@id("a") forbid(principal, action, resource) unless { context.access.kind == "file" };'
        assert judged(negated, "crm.search", {}).effect == "permit"

    def test_all_accesses_are_a_set_of_records(self) -> None:
        """Exactly action, uri and kind."""
        text = """@id("a") forbid(principal, action, resource)
            when { context.accesses.contains({"action": "read", "uri": "file:///etc/hosts", "kind": "file"}) };"""

        assert judged(text, "fs.read_file", {"path": "/etc/hosts"}).rule == "a"
        assert judged(text, "fs.write_file", {"path": "/etc/hosts"}).effect == "permit"

    def test_unknown_tools_can_be_told(self) -> None:
        """`context.catalogued` says whether anybody knows what the tool touches."""
        text = '@id("a") forbid(principal, action, resource) unless { context.catalogued };'

        assert judged(text, "crm.search", {}).rule == "a"
        assert judged(text, "fs.read_file", {"path": "/a"}).effect == "permit"

    def test_many_accesses_that_look_alike_are_one_question(self) -> None:
        """A thousand recipients cost what one costs, where only their kind is read."""
        text = '@id("a") forbid(principal, action, resource) when { context.access.kind == "file" };'
        to = [f"person{n}@acme.com" for n in range(900)]

        assert judged(text, "mail.deliver", {"to": to, "body": ""}).effect == "permit"

    def test_what_cannot_be_resolved_is_refused_even_where_a_clause_observes(self) -> None:
        """A guardrail that has to know what is touched does not let through what nobody can read."""
        watching = compiled({"fs.read_file": {"resources": ["read file:///srv/**"], "observe": True}})
        call = view("fs.read_file", {"path": "/srv/../etc"})

        decision = decide((watching,), call, facts(), CedarGuardrails.from_text(self.SECRETS))

        assert (decision.effect, decision.enforced, decision.rule) == ("deny", True, "a")


class TestHostileArguments:
    """Attempts to get past a guardrail by the form of a value."""

    @pytest.mark.parametrize(
        "value",
        [
            {"__extn": {"fn": "decimal", "arg": "1.0"}},
            {"__entity": {"type": "User", "id": "x"}},
            {"__expr": 'decimal("1.0")'},
            {"amount": {"__extn": {"fn": "decimal", "arg": "1.0"}}},
            "99999",
            "1.0",
            True,
            ["1"],
            [1],
            {},
            2**63,
            -(2**63) - 1,
            1e300,
            Decimal("922337203685477.5808"),
            0.00001,
            "\ud800",
        ],
    )
    def test_a_value_that_is_no_number_is_refused(self, value: Any) -> None:
        """Injected escapes, text for a number, lists, overflow, a fifth digit: refused, naming the guardrail."""
        for text in (CAP, CAP.replace("greaterThan", "lessThan")):
            decision = judged(text, "payments.refund", {"amount": value})

            assert decision.effect == "deny"
            assert decision.code in ("argument_unrepresentable", "evaluator_error")
            assert value == "\ud800" or decision.rule == "org/cap"

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN")])
    def test_a_number_that_is_none_is_refused(self, value: Any) -> None:
        """Before the guardrail is asked."""
        assert judged(CAP, "payments.refund", {"amount": value}).code == "argument_unrepresentable"

    @pytest.mark.parametrize("arguments", [{}, {"amount": None}])
    def test_an_argument_that_is_left_out_is_refused(self, arguments: dict[str, Any]) -> None:
        """Cedar skips a forbid that cannot be evaluated; here an error is a refusal that names it."""
        decision = judged(CAP, "payments.refund", arguments)

        assert (decision.effect, decision.code, decision.rule) == ("deny", "evaluator_error", "org/cap")

    def test_a_default_counts_as_sent(self) -> None:
        """Leaving an argument out does not hide the tool's own default."""
        decision = judged(CAP, "payments.refund", {}, defaults={"amount": 5000})

        assert (decision.code, decision.rule) == ("guardrail", "org/cap")

    @pytest.mark.parametrize("value", [100, 100.0, Decimal("100.0000")])
    def test_equal_numbers_are_judged_alike(self, value: Any) -> None:
        """Whatever they are written as."""
        equal = CAP.replace('greaterThan(decimal("100.0"))', "").replace("context.input.amount.", 'context.input.amount == decimal("100.0")')  # fmt: skip # noqa: E501

        assert judged(CAP, "payments.refund", {"amount": value}).effect == "permit"
        assert judged(equal, "payments.refund", {"amount": value}).rule == "org/cap"
        assert judged(COUNT, "crm.search", {"count": value * 10}).effect == "permit"
        assert judged(COUNT, "crm.search", {"count": value * 11}).rule == "org/count"

    def test_a_fraction_is_no_whole_number(self) -> None:
        """What cannot be compared is refused."""
        assert judged(COUNT, "crm.search", {"count": 999.5}).code == "evaluator_error"

    def test_text_is_not_equal_to_the_number_in_it(self) -> None:
        """Cedar finds `"5" == 5` false without an error; a tool that takes both would be reached."""
        text = '@id("a") forbid(principal, action, resource) when { context.input.level == 5 };'

        assert judged(text, "crm.search", {"level": 5}).rule == "a"
        assert judged(text, "crm.search", {"level": "5"}).code == "argument_unrepresentable"
        assert judged(text, "crm.search", {"level": 5.0}).rule == "a"

    def test_what_no_guardrail_reads_disturbs_none(self) -> None:
        """A float, a null, an escape or depth elsewhere is none of a guardrail's business."""
        deep: Any = 0.1
        for _ in range(60):
            deep = [deep]
        others = {"note": {"__entity": 1}, "rate": 0.123456789, "none": None, "big": 2**80, "deep": deep}

        assert judged(CAP, "payments.refund", {"amount": 5, **others}).effect == "permit"
        assert judged(CAP, "payments.refund", {"amount": 500, **others}).rule == "org/cap"

    def test_reserved_names_are_refused_where_all_arguments_are_read(self) -> None:
        """An argument called __entity would turn the whole input into something else."""
        text = '@id("a") forbid(principal, action, resource) when { context.input == {"x": 1} };'

        assert judged(text, "crm.search", {"__entity": {"type": "User", "id": "x"}}).code == "argument_unrepresentable"
        assert judged(text, "crm.search", {"x": 1}).rule == "a"

    def test_nested_arguments_are_read_as_records_and_sets(self) -> None:
        """Only the parts that are read; null inside a record is absent, inside a list it is refused."""
        text = """@id("a") forbid(principal, action, resource)
            when { context.input.filter.tags.contains("secret") || context.input.filter has limit };"""

        assert judged(text, "crm.search", {"filter": {"tags": ["a"], "limit": None}}).effect == "permit"
        assert judged(text, "crm.search", {"filter": {"tags": ["a", "secret"]}}).rule == "a"
        assert judged(text, "crm.search", {"filter": {"tags": [], "limit": 3}}).rule == "a"
        assert judged(text, "crm.search", {"filter": {"tags": ["a", None]}}).code == "argument_unrepresentable"
        assert judged(text, "crm.search", {"filter": "tags"}).code == "evaluator_error"

    def test_overflow_inside_a_guardrail_is_refused(self) -> None:
        """Arithmetic that Cedar cannot do is an error, so a refusal."""
        text = '@id("a") forbid(principal, action, resource) when { context.input.n + 1 > 5 };'

        assert judged(text, "crm.search", {"n": 2**63 - 1}).code == "evaluator_error"


class TestApproval:
    """A forbid that a person can lift."""

    TEXT = """
    @id("org/hours") @approval("role:duty") @reason("mail at night needs the duty manager")
    forbid(principal, action == Action::"mail.deliver", resource) when { context.input.body == "night" };
    @id("org/legal") @approval("role:legal")
    forbid(principal, action == Action::"mail.deliver", resource) when { context.access.host == "press.example" };
    @id("org/never")
    forbid(principal, action == Action::"mail.deliver", resource) when { context.access.host == "evil.example" };
    """

    def decided(self, body: str, *to: str, approved: tuple[str, ...] = (), clause: Any = None) -> Decision:
        """The decision about one mail."""
        made = compiled({"mail.deliver": {"resources": "any", "arguments": {"body": "any"}, **(clause or {})}})
        call = view("mail.deliver", {"to": list(to), "body": body})
        when = facts(approved_rules=frozenset(approved))
        return decide((made,), call, when, CedarGuardrails.from_text(self.TEXT))

    def test_is_asked_for_when_every_satisfied_forbid_allows_that(self) -> None:
        """With whose approval, and why."""
        decision = self.decided("night", "bob@acme.com")

        assert (decision.effect, decision.code, decision.rule) == ("ask", "approval_required", "org/hours")
        assert decision.need is not None
        assert decision.need.by == ("role:duty",)
        assert decision.need.reason == "mail at night needs the duty manager"
        assert self.decided("night", "bob@acme.com", approved=("org/hours",)).effect == "permit"

    def test_does_not_lift_a_forbid_without_one(self) -> None:
        """One forbid that nobody can lift refuses at once."""
        assert self.decided("night", "x@evil.example").rule == "org/never"
        assert self.decided("night", "x@evil.example", approved=("org/hours", "org/never")).rule == "org/never"

    def test_is_asked_for_by_each_rule_in_turn(self) -> None:
        """Two guardrails, two answers."""
        to = "bob@press.example"

        assert self.decided("night", to).rule == "org/hours"
        assert self.decided("night", to, approved=("org/hours",)).rule == "org/legal"
        assert self.decided("night", to, approved=("org/hours", "org/legal")).effect == "permit"

    def test_composes_with_the_clause(self) -> None:
        """The clause's own approval is needed beside the guardrail's: either alone is not enough."""
        clause = {"approval": {"by": "role:finance", "reason": "finance wants to know"}}
        rule = "mail.deliver/only"

        assert self.decided("night", "bob@acme.com", clause=clause).rule == "org/hours"
        assert self.decided("night", "bob@acme.com", clause=clause, approved=("org/hours",)).rule == rule
        assert self.decided("night", "bob@acme.com", clause=clause, approved=(rule,)).rule == "org/hours"
        both = self.decided("night", "bob@acme.com", clause=clause, approved=("org/hours", rule))
        assert both.effect == "permit"

    def test_is_not_asked_for_a_call_whose_limit_is_spent(self) -> None:
        """Nobody is asked about what cannot run."""
        made = compiled({"mail.deliver": {"resources": "any", "arguments": {"body": "any"}, "limits": {"calls": 1}}})
        call = view("mail.deliver", {"to": ["bob@acme.com"], "body": "night"})
        spent = facts(counters={"g-1/mail.deliver/only:calls": "1"})

        assert decide((made,), call, spent, CedarGuardrails.from_text(self.TEXT)).code == "limit_reached"


class TestObserving:
    """Guardrails that are tried out, and clauses that only observe."""

    def test_a_guardrail_that_observes_is_recorded_and_lets_the_call_run(self) -> None:
        """The decision says what it would have been."""
        decision = judged(CAP.replace("@reason", "@observe @reason"), "payments.refund", {"amount": 500})

        assert (decision.effect, decision.enforced, decision.rule) == ("deny", False, "org/cap")

    def test_one_that_observes_does_not_hide_one_that_holds(self) -> None:
        """Nor can an argument that only the observing one reads."""
        text = """
        @id("trial") @observe forbid(principal, action, resource) when { context.input.note == "x" };
        @id("holds") forbid(principal, action, resource) when { context.session.environment == "unspecified" };
        """
        for note in ("x", {"__entity": 1}, 2**70, "y"):
            decision = judged(text, "crm.search", {"note": note})
            assert (decision.effect, decision.enforced, decision.rule) == ("deny", True, "holds")

    def test_a_clause_that_observes_disables_no_guardrail(self) -> None:
        """A call outside an observing clause runs, unless a guardrail forbids it."""
        watching = compiled({"payments.refund": {"arguments": {"amount": {"max": 10}}, "observe": True}})
        guardrails = CedarGuardrails.from_text(CAP)

        beyond = decide((watching,), view("payments.refund", {"amount": 50}), facts(), guardrails)
        forbidden = decide((watching,), view("payments.refund", {"amount": 500}), facts(), guardrails)

        assert (beyond.effect, beyond.enforced) == ("deny", False)
        assert (forbidden.effect, forbidden.enforced, forbidden.rule) == ("deny", True, "org/cap")


class TestMemory:
    """Answers are remembered exactly."""

    def test_values_that_python_thinks_equal_are_told_apart(self) -> None:
        """`1 == True == 1.0` in Python; in a guardrail they are three things."""
        guardrails = CedarGuardrails.from_text(
            '@id("a") forbid(principal, action, resource) when { context.input.flag == true };'
        )
        one = grant()

        def effect(flag: Any) -> str:
            return decide((one,), view("crm.search", {"flag": flag}), facts(), guardrails).effect

        assert [effect(flag) for flag in (1, True, 1.0, "true", True, 1)] == [
            "permit", "deny", "permit", "permit", "deny", "permit",
        ]  # fmt: skip

    def test_is_bounded(self) -> None:
        """However many different calls there are."""
        guardrails = CedarGuardrails.from_text(
            '@id("a") forbid(principal, action, resource) when { context.input.n == -1 };'
        )
        one = grant()
        guardrails._memo.update({(number, None, b""): ((), ()) for number in range(MEMO_ENTRIES)})  # type: ignore[misc]

        for number in range(10):
            assert decide((one,), view("crm.search", {"n": number}), facts(), guardrails).effect == "permit"

        assert len(guardrails._memo) <= MEMO_ENTRIES


def test_guardrails_hold_on_every_link_of_a_chain() -> None:
    """A delegated child is under the same forbids."""
    parent = compiled({"payments.refund": OPEN}, delegation={"depth": 1})
    child = compiled({"payments.refund": OPEN}, grant_id="g-2")

    decision = decide(
        (parent, child), view("payments.refund", {"amount": 500}), facts(), CedarGuardrails.from_text(CAP)
    )

    assert decision.rule == "org/cap"


def test_the_catalogue_of_these_tests_knows_mail() -> None:
    """The accesses above come from the catalogue, not from the tests."""
    assert isinstance(CATALOGUE, Catalogue)
    assert CATALOGUE.entry("mail.deliver") is not None
