"""What people and models are told of a grant, and what is refused or doubted when it is issued."""

from __future__ import annotations

from typing import Any

import pytest

from remit.authority.breadth import check_breadth, warnings
from remit.authority.brief import brief
from remit.authority.explain import sentences
from remit.authority.source import read_grant
from remit.errors import GrantError
from tests.authority.granting import CATALOGUE, NOTHING, compiled, facts, issued, written


def doubts(tools: dict[str, Any], **more: Any) -> str:
    """Every warning about these tools, one a line."""
    return "\n".join(warnings(issued(written(tools, **more)), CATALOGUE))


class TestSentences:
    """`remit grant check`."""

    def test_a_grant_reads_as_sentences(self) -> None:
        """Who, for how long, and each clause."""
        tools = {
            "crm.read_ticket": {"resources": ["read crm://tickets/88"]},
            "payments.refund": {
                "arguments": {"amount": {"min": 0.01, "max": 50}, "note": {"max_len": 9, "optional": True}},
                "limits": {"calls": 1, "sum": {"argument": "amount", "max": 60}},
                "approval": {"by": "role:finance", "reason": "money leaves"},
            },
        }

        said = sentences(issued(written(tools, limits={"calls": 3, "denied": 5})), CATALOGUE)

        assert said[:5] == [
            "For user:alice@acme.com, agent:support may do this from 2026-11-24 09:00:00 UTC until "
            "2026-11-24 09:20:00 UTC: Refund order 4711 and tell the customer.",
            "crm.read_ticket may read crm://tickets/88.",
            "payments.refund may be called with `amount` at least 0.01 and at most 50; "
            "`note` left out or at most 9 long, at most one call and a sum of 60 over `amount`, "
            "each call after approval by role:finance (money leaves).",
            "In all, at most 3 calls.",
            "After more than 5 refused calls the session is suspended until a person resumes it.",
        ]

    def test_what_is_unbounded_is_said(self) -> None:
        """`any` is explicit, and visible."""
        tools = {"kb.search": "any", "mail.send": {"arguments": {"to": ["a@b.com"], "subject": "any"}}}

        said = "\n".join(sentences(issued(written(tools)), CATALOGUE))

        assert "Unbounded: kb.search takes any argument that the clause does not name." in said
        assert "Unbounded: mail.send takes anything as `subject`." in said
        assert "Unbounded: kb.search and mail.send may be called as often as the window lasts." in said

    def test_a_template_reads_with_its_parameters(self) -> None:
        """Before anybody gave them."""
        source = read_grant(
            {
                **written(
                    {"crm.read_ticket": {"resources": ["read crm://tickets/${ticket}"]}}, task="Triage ${ticket}"
                ),
                "template": "triage",
                "parameters": {"ticket": {"type": "integer"}},
            }
        )

        said = sentences(source.document, CATALOGUE)

        assert "Triage ${ticket}" in said[0]
        assert said[1] == "crm.read_ticket may read crm://tickets/${ticket}."


class TestBreadth:
    """No silent breadth."""

    @pytest.mark.parametrize("tool", ["crm.read_ticket", "crm.*"])
    def test_silence_about_resources_is_refused(self, tool: str) -> None:
        """Where the catalogue knows what the tool touches."""
        terms = issued(written({tool: {"other_arguments": "any"}}))

        with pytest.raises(GrantError, match="or say `resources: any`"):
            check_breadth(terms, CATALOGUE)
        check_breadth(terms, NOTHING)

    @pytest.mark.parametrize(
        "clause", ["any", {"resources": "any", "other_arguments": "any"}, {"resources": ["read crm://**"]}]
    )
    def test_saying_which_or_any_is_accepted(self, clause: Any) -> None:
        """It is said, so it is not silent."""
        check_breadth(issued(written({"crm.read_ticket": clause})), CATALOGUE)

    @pytest.mark.parametrize(
        ("tools", "sentence"),
        [
            ({"x.y": {"resources": ["read crm://a"]}}, "so every call is refused"),
            ({"t.t": {"arguments": {"a": {"like": "/srv/*"}}}}, "use `under` for paths"),
            ({"t.t": {"arguments": {"a": {"matches": "\\d+"}}}}, "write [0-9]"),
            ({"t.t": {"arguments": {"a": {"not_one_of": ["x"]}}}}, "list what is allowed instead"),
            ({"t.t": {"arguments": {"a": "absent"}}}, 'means exactly the text "absent"'),
            ({"t.t": {"arguments": {"a": 1}, "observe": True}}, "only observes"),
        ],
    )
    def test_doubtful_grants_are_pointed_out(self, tools: dict[str, Any], sentence: str) -> None:
        """They are allowed, and seldom meant."""
        assert sentence in doubts(tools)

    def test_a_long_window_is_pointed_out(self) -> None:
        """A grant is for one task."""
        assert "lasts 60 days" in doubts({"t.t": "any"}, expires_in="60d")


class TestOverlap:
    """A clause without approval wins, so it must not cover what the other one wants approved."""

    @staticmethod
    def overlap(free: Any, asked: Any) -> bool:
        """Whether the two bounds of one argument are said to overlap."""
        tools = {
            "t.t": [
                {"name": "free", "arguments": {"a": free}},
                {"name": "asked", "arguments": {"a": asked}, "approval": {"by": "role:finance"}},
            ]
        }
        return "runs without approval" in doubts(tools)

    @pytest.mark.parametrize(
        ("free", "asked"),
        [
            ({"below": 20}, {"min": 20}),
            ({"max": 19}, {"min": 20}),
            (["a", "b"], ["c"]),
            ({"type": "string"}, {"min": 1}),
            ("a", {"matches": "b+"}),
            ({"any_of": [{"max": 1}]}, ["x"]),
        ],
    )
    def test_bounds_that_meet_nowhere_are_fine(self, free: Any, asked: Any) -> None:
        """Ranges that end where the other begins, and finite values that the other refuses."""
        assert not self.overlap(free, asked)

    @pytest.mark.parametrize(
        ("free", "asked"),
        [
            ({"max": 20}, {"min": 20}),
            ("any", {"min": 20}),
            (["a", "b"], ["b"]),
            ({"matches": "a+"}, {"matches": "b+"}),
            ({"below": 20, "optional": True}, {"min": 20, "optional": True}),
        ],
    )
    def test_bounds_that_may_meet_are_pointed_out(self, free: Any, asked: Any) -> None:
        """When in doubt, it is said."""
        assert self.overlap(free, asked)


def test_a_brief_says_what_is_granted_and_what_remains() -> None:
    """For a system prompt."""
    tools = {"t.t": {"arguments": {"a": {"max": 5}}, "limits": {"calls": 3}}}
    grant = compiled(tools, limits={"calls": 9})

    text = brief(grant, facts(counters={"g-1/calls": "2", "g-1/t.t/only:calls": "3"}))

    assert "You act for user:alice@acme.com. Your task: Refund order 4711 and tell the customer." in text
    assert "- t.t may be called with `a` at most 5, at most 3 calls." in text
    assert "- 7 of 9 calls in all" in text
    assert "- 0 of 3 calls of t.t/only" in text
    assert brief((), facts()).startswith("You have no grant")
