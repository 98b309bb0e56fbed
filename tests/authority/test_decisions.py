"""One decision: the order of its checks, its codes and rules, clauses, limits, approval, and chains."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.authority.compile import compile_grant
from remit.authority.decide import ApprovalNeed, Match, Spend, decide, match, settle
from remit.authority.guardrails import OwnFiles
from tests.authority.granting import NOW, compiled, decided, facts, issued, view, written

REFUND: dict[str, Any] = {
    "payments.refund": [
        {
            "name": "large",
            "arguments": {"order": "ord_4711", "amount": {"min": 20, "max": 50}},
            "approval": {"by": "role:finance", "reason": "refunds from 20 up need finance", "expires_in": "30m"},
        },
        {"name": "small", "arguments": {"order": "ord_4711", "amount": {"min": 0.01, "below": 20}}},
    ]
}


class TestPermits:
    """What a permit says."""

    def test_a_permit_names_its_clause(self) -> None:
        """Rule, clause, accesses and what it spends."""
        grant = compiled({"crm.read_ticket": {"resources": ["read crm://tickets/88"]}}, limits={"calls": 3})

        decision = decided(grant, "crm.read_ticket", {"id": 88})

        assert (decision.effect, decision.code, decision.remedy) == ("permit", None, None)
        assert (decision.rule, decision.clause) == ("crm.read_ticket/only", "only")
        assert [str(access) for access in decision.accesses] == ["read crm://tickets/88"]
        assert decision.spends == (Spend("g-1/calls", "1"),)
        assert decision.enforced

    def test_what_ran_without_a_bound_is_listed(self) -> None:
        """Arguments that are `any` or not named, and resources that are `any`."""
        tools = {
            "kb.search": "any",
            "fs.read_file": {"resources": "any", "arguments": {"mode": "any"}},
            "mail.send": {"arguments": {"to": ["a@b.com"], "subject": "any"}},
        }
        grant = compiled(tools)

        assert decided(grant, "kb.search", {"q": 1, "n": 2}).unbounded == ("q", "n")
        assert decided(grant, "fs.read_file", {"path": "/a", "mode": "r"}).unbounded == ("path", "mode", "resources")
        assert decided(grant, "mail.send", {"to": "a@b.com", "subject": ""}).unbounded == ("subject",)


class TestClosedWorld:
    """Empty, unknown, missing and unresolved mean no."""

    @pytest.mark.requirement("I1")
    @pytest.mark.requirement("T2")
    @pytest.mark.requirement("code:no_grant")
    def test_no_grant_is_denied(self) -> None:
        """An empty chain authorises nothing."""
        decision = decide((), view("kb.search", {}), facts())

        assert (decision.effect, decision.code) == ("deny", "no_grant")

    @pytest.mark.requirement("I1")
    @pytest.mark.requirement("code:tool_not_granted")
    @pytest.mark.parametrize("tool", ["kb.delete", "KB.search", "kb.search ", "kb.searchx", "search", "other.search"])
    def test_an_unknown_tool_is_denied(self, tool: str) -> None:
        """Keys match byte for byte."""
        decision = decided(compiled({"kb.search": "any"}), tool, {"q": 1})

        assert (decision.code, decision.rule) == ("tool_not_granted", tool)
        assert decision.remedy is not None
        assert decision.remedy.as_dict()["details"] == {"tool": tool}

    @pytest.mark.requirement("I1")
    def test_an_unknown_argument_is_denied(self) -> None:
        """What the clause does not name is refused, unless it says `other_arguments: any`."""
        closed = compiled({"t.t": {"arguments": {"a": 1}}})
        opened = compiled({"t.t": {"arguments": {"a": 1}, "other_arguments": "any"}})

        decision = decided(closed, "t.t", {"a": 1, "b": 2})

        assert (decision.code, decision.rule) == ("argument_out_of_bounds", "t.t/only:other_arguments")
        assert "`b` of t.t is not named in the grant" in decision.reason
        assert decided(opened, "t.t", {"a": 1, "b": 2}).effect == "permit"
        assert decided(opened, "t.t", {"a": 2, "b": 2}).effect == "deny"

    @pytest.mark.requirement("I1")
    @given(st.dictionaries(st.text(), st.integers() | st.text() | st.none() | st.lists(st.integers()), min_size=1))
    def test_no_unnamed_argument_gets_through(self, extra: dict[str, Any]) -> None:
        """Whatever its name and value."""
        grant = compiled({"t.t": {"arguments": {"a": {"any": True, "optional": True}}}})

        assert (decided(grant, "t.t", extra).effect == "permit") == (extra.keys() == {"a"})

    @pytest.mark.requirement("I1")
    @pytest.mark.requirement("code:resource_out_of_scope")
    def test_an_access_outside_the_patterns_is_denied(self) -> None:
        """With the access and what is allowed in the sentence."""
        grant = compiled({"crm.read_ticket": {"resources": ["read crm://tickets/88"]}})

        decision = decided(grant, "crm.read_ticket", {"id": 89})

        assert (decision.code, decision.rule) == ("resource_out_of_scope", "crm.read_ticket/only:resources")
        assert decision.reason == "crm.read_ticket would read crm://tickets/89; the grant allows read crm://tickets/88."

    @pytest.mark.requirement("code:resource_out_of_scope")
    def test_every_access_must_match_in_the_same_clause(self) -> None:
        """Two half-matching clauses are no match."""
        clauses = [{"name": name, "resources": [f"send mailto:{name}@acme.com"]} for name in ("a", "b")]
        grant = compiled({"mail.deliver": clauses})

        assert decided(grant, "mail.deliver", {"to": ["a@acme.com"]}).effect == "permit"
        assert decided(grant, "mail.deliver", {"to": ["a@acme.com", "b@acme.com"]}).code == "resource_out_of_scope"

    @pytest.mark.requirement("code:resource_out_of_scope")
    def test_a_clause_that_is_silent_about_resources_allows_none(self) -> None:
        """Should the catalogue learn of the tool after the grant was issued."""
        grant = compiled({"crm.read_ticket": {"arguments": {"id": 88}}})

        assert decided(grant, "crm.read_ticket", {"id": 88}).code == "resource_out_of_scope"

    @pytest.mark.requirement("I1")
    @pytest.mark.requirement("code:resource_unresolved")
    def test_an_unresolved_resource_is_denied(self) -> None:
        """Uncatalogued with named resources, unreadable, or naming nothing."""
        grant = compiled(
            {
                "fs.write": {"resources": ["write file:///a"], "arguments": {"path": "any"}},
                "fs.read_file": {"resources": ["read file:///**"]},
                "mail.deliver": {"resources": ["send mailto:*@acme.com"]},
                "crm.read_ticket": {"arguments": {"id": "any"}},
            }
        )

        assert decided(grant, "fs.write", {"path": "/a"}).code == "resource_unresolved"
        assert decided(grant, "fs.read_file", {"path": "/a/../b"}).code == "resource_unresolved"
        assert decided(grant, "mail.deliver", {"to": []}).code == "resource_unresolved"
        assert decided(grant, "crm.read_ticket", {"id": "a/b"}).code == "resource_unresolved"

    @pytest.mark.requirement("code:resource_unresolved")
    def test_any_resource_still_has_to_be_one_that_can_be_read(self) -> None:
        """Otherwise a spelling of Remit's own files could slip past the guardrail."""
        grant = compiled({"fs.read_file": "any"})

        assert decided(grant, "fs.read_file", {"path": "/srv/a"}).effect == "permit"
        assert decided(grant, "fs.read_file", {"path": "/srv/./remit.db"}).code == "resource_unresolved"

    def test_a_covered_argument_need_not_be_named(self) -> None:
        """The URI holds its whole value; where it is named too, both must hold."""
        covered = compiled({"crm.comment": {"resources": ["write crm://tickets/*"], "arguments": {"body": "any"}}})
        named = compiled(
            {"crm.comment": {"resources": ["write crm://tickets/*"], "arguments": {"id": 88, "body": "any"}}}
        )

        assert decided(covered, "crm.comment", {"id": 89, "body": "x"}).effect == "permit"
        assert decided(named, "crm.comment", {"id": 88, "body": "x"}).effect == "permit"
        assert decided(named, "crm.comment", {"id": 89, "body": "x"}).code == "argument_out_of_bounds"

    def test_a_default_need_not_be_named_but_is_judged_where_it_is(self) -> None:
        """Leaving an argument out is no way past its bound."""
        silent = compiled({"t.t": {"arguments": {"a": 1}}})
        bound = compiled({"t.t": {"arguments": {"a": 1, "recursive": {"eq": False, "optional": True}}}})

        assert decided(silent, "t.t", {"a": 1}, defaults={"recursive": True}).effect == "permit"
        assert decided(silent, "t.t", {"a": 1, "recursive": True}, defaults={"recursive": True}).effect == "permit"
        assert decided(silent, "t.t", {"a": 1, "recursive": False}, defaults={"recursive": True}).effect == "deny"
        assert decided(bound, "t.t", {"a": 1}, defaults={"recursive": True}).rule == "t.t/only:recursive"
        assert decided(bound, "t.t", {"a": 1}, defaults={"recursive": False}).effect == "permit"

    def test_an_optional_argument_may_keep_a_default_of_null(self) -> None:
        """Null as a default is what `left out` looks like."""
        grant = compiled({"t.t": {"arguments": {"note": {"max_len": 5, "optional": True}}}})

        assert decided(grant, "t.t", {}, defaults={"note": None}).effect == "permit"
        assert decided(grant, "t.t", {"note": None}).effect == "deny"

    @pytest.mark.requirement("code:argument_unrepresentable")
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {"a": ["\udfff"]}, [[float("-inf")]]])
    def test_values_without_an_encoding_are_denied_under_any(self, value: Any) -> None:
        """Numbers are finite and strings encodable in every argument, bounded or not."""
        decision = decided(compiled({"kb.search": "any"}), "kb.search", {"q": value})

        assert decision.code == "argument_unrepresentable"
        assert "`q` of kb.search holds" in decision.reason

    @pytest.mark.requirement("code:evaluator_error")
    def test_an_error_while_judging_is_denied(self) -> None:
        """Whatever goes wrong inside, the answer is no, and the model learns nothing about it."""

        class Broken(dict[str, Any]):
            def get(self, key: str, default: Any = None) -> Any:
                raise RuntimeError("secret detail")

        call = replace(view("t.t", {"a": 1}), effective=Broken({"a": 1}))

        decision = decide((compiled({"t.t": {"arguments": {"a": 1}}}),), call, facts())

        assert decision.code == "evaluator_error"
        assert "secret" not in decision.reason


class TestInjected:
    """Arguments that the application fills in."""

    TOOLS: ClassVar[dict[str, Any]] = {"t.t": {"arguments": {"a": 1}, "injected": {"tenant": ["acme"]}}}

    def test_they_are_bounded_apart(self) -> None:
        """A listed one must be there and inside; an unlisted scalar is only recorded."""
        grant = compiled(self.TOOLS)

        assert decided(grant, "t.t", {"a": 1}, injected={"tenant": "acme", "user": "u1"}).effect == "permit"
        assert decided(grant, "t.t", {"a": 1}, injected={"tenant": "evil"}).rule == "t.t/only:tenant"
        assert decided(grant, "t.t", {"a": 1}).code == "argument_out_of_bounds"

    @pytest.mark.requirement("I5")
    @pytest.mark.parametrize("injected", [{}, {"tenant": "acme"}])
    def test_the_model_cannot_bring_one(self, injected: dict[str, Any]) -> None:
        """Neither in place of the application nor beside it."""
        decision = decided(compiled(self.TOOLS), "t.t", {"a": 1, "tenant": "acme"}, injected=injected)

        assert decision.code == "argument_out_of_bounds"
        assert "filled in by the application" in decision.reason

    def test_an_unlisted_one_from_the_model_is_refused_too(self) -> None:
        """Even where every argument is allowed."""
        decision = decided(compiled({"kb.search": "any"}), "kb.search", {"user": "eve"}, injected={"user": "alice"})

        assert decision.code == "argument_out_of_bounds"


class TestClauses:
    """Several alternatives under one tool."""

    def test_a_clause_without_approval_wins(self) -> None:
        """Whatever the order of the file."""
        grant = compiled(REFUND)

        assert decided(grant, "payments.refund", {"order": "ord_4711", "amount": 5}).rule == "payments.refund/small"
        assert decided(grant, "payments.refund", {"order": "ord_4711", "amount": 30}).effect == "ask"

    def test_then_the_order_of_the_file_decides(self) -> None:
        """The first of those that match."""
        clauses = [{"name": name, "arguments": {"a": {"max": most}}} for name, most in (("one", 5), ("two", 9))]
        grant = compiled({"t.t": clauses})

        assert decided(grant, "t.t", {"a": 3}).clause == "one"
        assert decided(grant, "t.t", {"a": 7}).clause == "two"

    def test_the_closest_clause_says_why(self) -> None:
        """Fewest failing checks, then the smallest distance."""
        grant = compiled(REFUND)

        far = decided(grant, "payments.refund", {"order": "ord_4711", "amount": 75})
        other = decided(grant, "payments.refund", {"order": "ord_1", "amount": 5})

        assert far.rule == "payments.refund/large:amount"
        assert far.reason == "The argument `amount` of payments.refund is 75; the grant allows at most 50."
        assert other.rule == "payments.refund/small:order"

    def test_a_server_wildcard_speaks_for_tools_that_are_not_named(self) -> None:
        """A tool that is named has only its own clauses."""
        grant = compiled({"crm.*": "any", "crm.delete": {"arguments": {"id": 1}}})

        assert decided(grant, "crm.list", {"x": 1}).effect == "permit"
        assert decided(grant, "crm.delete", {"id": 2}).effect == "deny"
        assert decided(grant, "crmx.list", {}).code == "tool_not_granted"

    def test_a_secret_value_is_in_no_sentence(self) -> None:
        """Neither what was sent nor what was allowed."""
        grant = compiled({"mail.deliver": {"resources": "any", "arguments": {"token": "s3cret"}}})

        decision = decided(grant, "mail.deliver", {"to": ["a@acme.com"], "token": "guess"})

        assert decision.code == "argument_out_of_bounds"
        assert "s3cret" not in decision.reason + str(decision.remedy)
        assert "guess" not in decision.reason + str(decision.remedy)

    def test_a_long_value_is_shortened(self) -> None:
        """A megabyte in an argument is no megabyte in a sentence."""
        decision = decided(compiled({"t.t": {"arguments": {"a": "x"}}}), "t.t", {"a": "y" * 1_000_000})

        assert len(decision.reason) < 300

    def test_an_observing_clause_reports_and_lets_through(self) -> None:
        """`observe: true` records what would have been refused."""
        grant = compiled({"t.t": {"arguments": {"a": {"max": 5}}, "observe": True}})

        inside, outside = decided(grant, "t.t", {"a": 1}), decided(grant, "t.t", {"a": 9})

        assert (inside.effect, inside.enforced) == ("permit", True)
        assert (outside.effect, outside.code, outside.enforced) == ("deny", "argument_out_of_bounds", False)


class TestFacts:
    """Session, window and revocation come before anything about the call."""

    GRANT = compiled({"kb.search": "any"})

    @pytest.mark.parametrize(
        ("changes", "code", "kind"),
        [
            pytest.param(
                {"session": "closed"}, "session_closed", "stop", marks=pytest.mark.requirement("code:session_closed")
            ),
            pytest.param(
                {"session": "suspended"},
                "session_suspended",
                "stop",
                marks=pytest.mark.requirement("code:session_suspended"),
            ),
            pytest.param(
                {"now": NOW - timedelta(seconds=1)},
                "not_yet_valid",
                "retry_after",
                marks=pytest.mark.requirement("code:not_yet_valid"),
            ),
            pytest.param(
                {"now": NOW + timedelta(minutes=20)},
                "grant_expired",
                "request_grant",
                marks=pytest.mark.requirement("code:grant_expired"),
            ),
            pytest.param(
                {"revoked": frozenset({"g-1"})},
                "grant_revoked",
                "stop",
                marks=pytest.mark.requirement("code:grant_revoked"),
            ),
        ],
    )
    @pytest.mark.parametrize("tool", ["kb.search", "kb.delete"])
    def test_they_stop_every_call(self, changes: dict[str, Any], code: str, kind: str, tool: str) -> None:
        """Granted or not: the first reason is the one given."""
        decision = decided(self.GRANT, tool, {}, when=facts(**changes))

        assert (decision.effect, decision.code) == ("deny", code)
        assert decision.remedy is not None
        assert decision.remedy.kind == kind

    def test_the_window_is_exact(self) -> None:
        """It holds at its first moment and not at its last."""
        last = timedelta(minutes=20)

        assert decided(self.GRANT, "kb.search", {}, when=facts(now=NOW)).effect == "permit"
        assert (
            decided(self.GRANT, "kb.search", {}, when=facts(now=NOW + last - timedelta(microseconds=1))).effect
            == "permit"
        )
        assert decided(self.GRANT, "kb.search", {}, when=facts(now=NOW + last)).effect == "deny"

    def test_session_window_revocation_in_that_order(self) -> None:
        """One call can fail all three."""
        late = NOW + timedelta(days=1)
        revoked = frozenset({"g-1"})

        assert (
            decided(self.GRANT, "x", {}, when=facts(session="closed", now=late, revoked=revoked)).code
            == "session_closed"
        )
        assert decided(self.GRANT, "x", {}, when=facts(now=late, revoked=revoked)).code == "grant_expired"
        assert decided(self.GRANT, "x", {}, when=facts(revoked=revoked)).code == "grant_revoked"

    @pytest.mark.requirement("I6")
    @given(st.integers(0, 3), st.sampled_from(["a", "b", 1]), st.sampled_from(["open", "closed"]))
    def test_a_decision_is_a_pure_function(self, spent: int, value: Any, session: Any) -> None:
        """The same input gives the same decision, from a grant read back from its bytes as well."""
        terms = issued(written({"t.t": {"arguments": {"a": "a"}, "limits": {"calls": 2}}}))
        one, other = compile_grant(terms), compile_grant(type(terms).from_bytes(terms.canonical))
        when = facts(session=session, counters={"g-1/t.t/only:calls": str(spent)})

        assert decided(one, "t.t", {"a": value}, when=when) == decided(other, "t.t", {"a": value}, when=when)


class TestLimits:
    """Counters are facts; a decision says what a call would spend."""

    @pytest.mark.requirement("code:limit_reached")
    @pytest.mark.parametrize(
        ("limits", "counter"),
        [
            ({"limits": {"calls": 2}}, "g-1/calls"),
            ({"limits": {"shared": [{"tools": ["a.a", "b.b"], "calls": 2}]}}, "g-1/shared:0"),
        ],
    )
    def test_calls_of_the_grant(self, limits: dict[str, Any], counter: str) -> None:
        """The last one allowed runs, the next does not."""
        grant = compiled({"a.a": "any", "b.b": "any"}, **limits)

        assert counter in grant.limit_ids
        assert decided(grant, "a.a", {}, when=facts(counters={counter: "1"})).spends == (Spend(counter, "1"),)
        decision = decided(grant, "b.b", {}, when=facts(counters={counter: "2"}))
        assert (decision.effect, decision.code, decision.spends) == ("deny", "limit_reached", ())

    def test_limits_are_listed_for_the_store(self) -> None:
        """Every counter that a decision may read."""
        tools = {
            "t.t": {
                "arguments": {"amount": {"min": 0}},
                "limits": {"calls": 3, "sum": {"argument": "amount", "max": 9}},
            }
        }
        grant = compiled(tools, limits={"calls": 5, "denied": 20, "shared": [{"tools": ["t.t"], "calls": 4}]})

        assert set(grant.limit_ids) == {
            "g-1/calls",
            "g-1/denied",
            "g-1/shared:0",
            "g-1/t.t/only:calls",
            "g-1/t.t/only:sum:amount",
        }
        assert grant.denied_limit == 20

    @pytest.mark.requirement("code:limit_reached")
    def test_a_sum_is_exact(self) -> None:
        """0.1 ten times is 1, as people write it, not as binary fractions add up."""
        tools = {"t.t": {"arguments": {"amount": {"min": 0}}, "limits": {"sum": {"argument": "amount", "max": 1}}}}
        grant = compiled(tools)
        counter = "g-1/t.t/only:sum:amount"

        assert decided(grant, "t.t", {"amount": 0.1}, when=facts(counters={counter: "0.9"})).spends == (
            Spend(counter, "0.1"),
        )
        decision = decided(grant, "t.t", {"amount": 0.1}, when=facts(counters={counter: "0.91"}))
        assert decision.code == "limit_reached"
        assert decision.rule == "t.t/only:amount"
        assert "only 0.09 is left" in decision.reason
        assert decision.remedy is not None
        assert decision.remedy.expected == "amount: at most 0.09"

    def test_a_sum_has_more_digits_than_a_calculator(self) -> None:
        """Twenty-eight digits would round the cent away."""
        tools = {"t.t": {"arguments": {"amount": {"min": 0}}, "limits": {"sum": {"argument": "amount", "max": 10**40}}}}
        held = facts(counters={"g-1/t.t/only:sum:amount": str(10**40 - 1)})

        assert decided(compiled(tools), "t.t", {"amount": 1}, when=held).effect == "permit"
        assert decided(compiled(tools), "t.t", {"amount": 1.5}, when=held).code == "limit_reached"

    def test_a_counter_that_cannot_be_read_is_a_refusal(self) -> None:
        """Not an exception inside a store transaction."""
        grant = compiled({"t.t": "any"}, limits={"calls": 1})

        assert decided(grant, "t.t", {}, when=facts(counters={"g-1/calls": "many"})).code == "evaluator_error"

    def test_a_spent_clause_is_passed_over(self) -> None:
        """Small refunds, once their limit is spent, need approval like large ones."""
        tools = {
            "t.t": [
                {"name": "free", "arguments": {"a": {"max": 5}}, "limits": {"calls": 1}},
                {"name": "asked", "arguments": {"a": {"max": 9}}, "approval": {"by": "role:finance"}},
            ]
        }
        spent = facts(counters={"g-1/t.t/free:calls": "1"})
        grant = compiled(tools)

        assert decided(grant, "t.t", {"a": 3}).rule == "t.t/free"
        assert decided(grant, "t.t", {"a": 3}, when=spent).effect == "ask"
        assert decided(grant, "t.t", {"a": 3}, when=spent).rule == "t.t/asked"

    @pytest.mark.requirement("code:limit_reached")
    def test_when_all_that_match_are_spent_the_limit_is_reached(self) -> None:
        """The call was inside the grant; its limits were not."""
        tools = {"t.t": {"arguments": {"a": {"max": 5}}, "limits": {"calls": 1}}}

        decision = decided(compiled(tools), "t.t", {"a": 3}, when=facts(counters={"g-1/t.t/only:calls": "1"}))

        assert (decision.code, decision.rule) == ("limit_reached", "t.t/only:calls")
        assert decision.reason == "The limit of 1 call of t.t/only is reached."


class TestApproval:
    """Clauses that ask a person first."""

    @pytest.mark.requirement("code:approval_required")
    def test_an_ask_says_who_and_why(self) -> None:
        """By whom, for what reason, within what time."""
        decision = decided(compiled(REFUND), "payments.refund", {"order": "ord_4711", "amount": 30})

        assert (decision.effect, decision.code, decision.rule) == ("ask", "approval_required", "payments.refund/large")
        assert decision.need == ApprovalNeed(
            ("role:finance",), "refunds from 20 up need finance", timedelta(minutes=30), 1
        )
        assert decision.remedy is not None
        assert decision.remedy.kind == "await_approval"

    def test_an_approved_rule_is_satisfied_and_no_other(self) -> None:
        """Deciding again with the approval as a fact."""
        call = ("payments.refund", {"order": "ord_4711", "amount": 30})
        grant = compiled(REFUND)

        assert decided(grant, *call, when=facts(approved_rules=frozenset({"payments.refund/large"}))).effect == "permit"
        assert decided(grant, *call, when=facts(approved_rules=frozenset({"payments.refund/small"}))).effect == "ask"

    def test_approval_does_not_outlive_the_grant(self) -> None:
        """Window and revocation are looked at again."""
        when = facts(approved_rules=frozenset({"payments.refund/large"}), now=NOW + timedelta(hours=1))

        assert (
            decided(compiled(REFUND), "payments.refund", {"order": "ord_4711", "amount": 30}, when=when).effect
            == "deny"
        )


class TestChains:
    """Every link is judged on every call; the strictest wins."""

    ROOT: ClassVar[dict[str, Any]] = {"t.t": {"arguments": {"a": {"max": 5}}}}

    @pytest.mark.requirement("I4")
    def test_a_child_cannot_do_what_its_parent_cannot(self) -> None:
        """Even if it was made wider."""
        root = compiled(self.ROOT, grant_id="g-root", delegation={"depth": 1})
        child = compiled({"t.t": {"arguments": {"a": {"max": 9}}}, "x.x": "any"}, grant_id="g-child")

        assert decided((root, child), "t.t", {"a": 5}).effect == "permit"
        assert decided((root, child), "t.t", {"a": 7}).code == "argument_out_of_bounds"
        assert decided((root, child), "x.x", {}).code == "tool_not_granted"
        assert (
            decided((root, child), "t.t", {"a": 5}, when=facts(revoked=frozenset({"g-root"}))).code == "grant_revoked"
        )

    @pytest.mark.requirement("I4")
    def test_limits_of_every_link_are_spent(self) -> None:
        """Children cannot multiply a limit."""
        root = compiled(self.ROOT, grant_id="g-root", limits={"calls": 1}, delegation={"depth": 1})
        child = compiled(self.ROOT, grant_id="g-child", limits={"calls": 9})

        assert decided((root, child), "t.t", {"a": 1}).spends == (
            Spend("g-root/calls", "1"),
            Spend("g-child/calls", "1"),
        )
        assert (
            decided((root, child), "t.t", {"a": 1}, when=facts(counters={"g-root/calls": "1"})).code == "limit_reached"
        )

    @pytest.mark.requirement("I4")
    def test_a_parents_approval_is_still_needed(self) -> None:
        """Where the child leaves it out; under the root's own rule."""
        asked = {"t.t": {"arguments": {"a": {"max": 5}}, "approval": {"by": "role:finance"}}}
        root = compiled(asked, grant_id="g-root", delegation={"depth": 1})
        child = compiled(self.ROOT, grant_id="g-child")
        same = compiled(asked, grant_id="g-child")

        assert decided((root, child), "t.t", {"a": 1}).rule == "g-root/t.t/only"
        assert decided((root, same), "t.t", {"a": 1}).rule == "t.t/only"
        approved = facts(approved_rules=frozenset({"t.t/only"}))
        assert decided((root, same), "t.t", {"a": 1}, when=approved).effect == "permit"
        assert decided((root, child), "t.t", {"a": 1}, when=approved).effect == "ask"

    def test_handing_on_has_a_depth(self) -> None:
        """Counted from each ancestor."""
        root = compiled(self.ROOT, grant_id="g-root")
        child = compiled(self.ROOT, grant_id="g-child")

        assert decided((root, child), "t.t", {"a": 1}).code == "delegation_too_deep"

    def test_authority_to_hand_on_is_not_authority_to_use(self) -> None:
        """`may_use: false` counts on the acting link only, and its agent does not come back as that link's."""
        root = compiled(self.ROOT, grant_id="g-root", delegation={"depth": 1, "may_use": False})
        child = compiled(self.ROOT, grant_id="g-child", agent="agent:other")
        itself = compiled(self.ROOT, grant_id="g-child")

        assert decided(root, "t.t", {"a": 1}).code == "delegate_only"
        assert decided((root, child), "t.t", {"a": 1}).effect == "permit"
        assert decided((root, itself), "t.t", {"a": 1}).code == "delegate_only"


@pytest.mark.requirement("code:guardrail")
class TestOwnFiles:
    """The built-in guardrail: nothing touches Remit's own files."""

    @pytest.mark.parametrize(
        "path",
        [
            "/srv/remit.db",
            "/srv/remit.db-wal",
            "/srv/remit.db-shm",
            "/srv/remit.db.remit/log.key",
            "/srv/REMIT.DB",
        ],
    )
    def test_they_are_out_of_reach_of_any_grant(self, path: str) -> None:
        """The files, and what lies beside and below them."""
        own = OwnFiles(["/srv/remit.db", "/srv/remit.db.remit"])
        grant = compiled({"fs.read_file": "any"})
        call = view("fs.read_file", {"path": path})

        failure = own.check(call.accesses)

        assert match((grant,), call).failure is None
        assert failure is not None
        decision = settle((grant,), Match.refused(failure, call), facts())
        assert (decision.code, decision.rule) == ("guardrail", "remit/own-files")

    @pytest.mark.parametrize("path", ["/srv/other.db", "/srv/remit", "/srv/remit.dbx", "/tmp/a"])
    def test_other_files_are_none_of_its_business(self, path: str) -> None:
        """A name that only begins alike is another file."""
        assert OwnFiles(["/srv/remit.db"]).check(view("fs.read_file", {"path": path}).accesses) is None

    @pytest.mark.parametrize("path", ["/srv", "/"])
    def test_a_folder_above_may_be_read_and_not_written(self, path: str) -> None:
        """Whoever moves or empties a folder moves what lies in it."""
        own = OwnFiles(["/srv/remit.db"])

        assert own.check(view("fs.read_file", {"path": path}).accesses) is None
        assert own.check(view("fs.write_file", {"path": path}).accesses) is not None

    def test_a_link_is_followed(self, tmp_path: Any) -> None:
        """A path that leads there by a symbolic link is there."""
        (tmp_path / "remit.db").touch()
        (tmp_path / "harmless").symlink_to(tmp_path / "remit.db")

        assert OwnFiles([tmp_path / "remit.db"]).check(view("fs.read_file", {"path": f"{tmp_path}/harmless"}).accesses)
