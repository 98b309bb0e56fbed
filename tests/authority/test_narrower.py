"""A child grant is narrower than its parent, or refused with every reason: attacks first, word by word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from remit.authority.constraints import CONSTRAINT_WORDS
from remit.authority.narrower import narrower, require_narrower
from remit.errors import DelegationWidened
from tests.authority.granting import CATALOGUE, issued, written

pytestmark = pytest.mark.requirement("I4")

TOOL = "pay.out"
TASK = "Refund order 4711 and tell bob@acme.com"
SELECTOR = {"tool": "crm.read_ticket", "at": "/requester"}

WORDS: list[tuple[str, Any, list[Any], list[Any]]] = [
    ("any", "any", ["any", 1, {"min": 2}, {"each": {"type": "string"}}], []),
    ("eq", 2, [2], [3, 2.0, True, {"type": "number", "eq": 2}, [2, 3], "2", {"type": "integer"}, "any"]),
    ("eq", {"eq": 0}, [{"eq": 0}], [{"eq": False}, {"eq": 0.0}]),
    ("eq", {"eq": True}, [True, {"type": "boolean", "not_one_of": [False]}], [1, {"type": "boolean"}]),
    ("eq", {"type": "number", "eq": 2}, [2, 2.0, {"type": "integer", "min": 2, "max": 2}], [2.5, {"min": 2}]),
    ("eq", {"eq": [1, {"a": 2.5}]}, [{"eq": [1, {"a": 2.5}]}], [{"eq": [1.0, {"a": 2.5}]}, {"eq": [True, {"a": 2.5}]}]),
    ("one_of", ["EUR", "USD"], ["EUR", ["USD"], ["USD", "EUR"]], [["EUR", "GBP"], {"type": "string"}, {"like": "*"}]),
    ("one_of", [1, 2, 3], [{"type": "integer", "min": 1, "max": 3}, 2], [{"min": 1, "max": 3}, [1, 2.0]]),
    ("not_one_of", {"not_one_of": ["prod"]}, ["dev", {"not_one_of": ["prod", "stage"]}, {"like": "dev-*"},
     {"under": "/a"}],
     ["prod", {"not_one_of": ["stage"]}, {"type": "string"}, {"max_len": 3, "type": "string"}, {"like": "*"}]),
    ("not_one_of", {"not_one_of": [2]}, [{"min": 3}, 1, {"type": "integer", "not_one_of": [2]}],
     [2.0, {"min": 1}, {"type": "integer"}, "x"]),
    ("min", {"min": 5}, [{"min": 5}, {"above": 5}, 7, {"min": 5, "max": 6}], [{"min": 4.99},
     {"max": 9}, "7", {"above": 4}]),
    ("max", {"max": 5}, [{"max": 5}, {"below": 5}, 5, [1, 2.5]], [{"max": 5.01}, {"below": 6}, {"min": 1}, 6]),
    ("above", {"above": 5}, [{"above": 5}, {"min": 5.1}, 6], [{"min": 5}, 5, {"above": 4}]),
    ("below", {"below": 5}, [{"below": 5}, {"max": 4.9}, 4], [{"max": 5}, 5, {"below": 6}]),
    ("max", {"max": 1e23}, [{"max": 1e23}], [{"max": 10**23 + 1}, {"max": float(10**24)}]),
    ("like", {"like": "bill-*.txt"}, ["bill-1.txt", {"like": "bill-*a*.txt"}, {"like": "bill-*.txt", "max_len": 20}],
     [{"like": "bill-*"}, {"like": "*bill-*.txt"}, "bill.txt", {"matches": "bill-[0-9]+[.]txt"}, {"type": "string"}]),
    ("matches", {"matches": "[a-z]+"}, [{"matches": "[a-z]+"}, "abc", ["a", "b"]],
     [{"matches": "[a-z]*"}, "A", {"like": "a*"}]),
    ("under", {"under": "/srv/acme"}, [{"under": "/srv/acme"}, {"under": "/srv/acme/a"}, "/srv/acme/x"],
     [{"under": "/srv"}, {"under": "/"}, {"under": "/srv/acme2"}, {"like": "/srv/acme/*"}, "/srv/acme/../x"]),
    ("url", {"url": {"hosts": ["api.acme.com", "acme.com"]}},
     [{"url": {"hosts": ["api.acme.com"]}}, {"url": {"hosts": ["acme.com"], "ports": [443]}}, "https://acme.com/x"],
     [{"url": {"hosts": "any"}}, {"url": {"hosts": ["evil.com"]}}, {"url": {"hosts": ["acme.com"], "ports": [8443]}},
      {"url": {"hosts": ["acme.com"], "schemes": ["https", "http"]}}, "http://acme.com/", "https://acme.com:8443/"]),
    ("url", {"url": {"hosts": "any", "schemes": ["http", "https"], "ports": [443], "under": "/v1"}},
     [{"url": {"hosts": "any", "under": "/v1/x"}}, {"url": {"hosts": ["a.com"], "under": "/v1"}}],
     [{"url": {"hosts": "any", "schemes": ["http"], "under": "/v1"}}, {"url": {"hosts": "any", "under": "/v"}},
      {"url": {"hosts": "any"}}, {"url": {"hosts": "any", "under": "/"}}]),
    ("email", {"email": {"domains": ["acme.com"]}}, [{"email": {"domains": ["acme.com"]}}, "bob@acme.com", "self"],
     [{"email": {"domains": "any"}}, {"email": {"domains": ["acme.com", "evil.com"]}}, "eve@evil.com",
      {"email": {"addresses": ["eve@evil.com"]}}, {"like": "*@acme.com"}]),
    ("self", "self", ["self", "alice@acme.com"], ["bob@acme.com", {"email": {"domains": ["acme.com"]}}]),
    ("subset", {"subset": ["a", "b"]}, [{"subset": ["a"]}, {"each": ["a", "b"]}, {"eq": ["b", "b"]}, {"eq": []}],
     [{"subset": ["a", "c"]}, {"each": {"type": "string"}}, {"type": "array"}, {"contains": ["a"]}, "a"]),
    ("contains", {"contains": ["a"]}, [{"contains": ["a", "b"]}, {"eq": ["a", 1]}], [{"contains": ["b"]},
     {"subset": ["a"]}]),
    ("contains", {"contains": [2]}, [{"contains": [2]}], [{"contains": [2.0]}, {"type": "array"}]),
    ("each", {"each": {"email": {"domains": ["acme.com"]}}},
     [{"each": "self"}, {"subset": ["bob@acme.com"]}, {"each": {"email": {"domains": ["acme.com"]}}, "max_len": 2}],
     [{"each": {"email": "any"}}, {"subset": ["eve@evil.com"]}, {"type": "array"}, "any"]),
    ("keys", {"keys": {"a": {"min": 1}, "b": {"type": "string", "optional": True}}},
     [{"keys": {"a": {"min": 2}}}, {"keys": {"a": 1, "b": "x"}}, {"eq": {"a": 5}}],
     [{"keys": {"a": {"min": 0}}}, {"keys": {"a": {"min": 1, "optional": True}}}, {"keys": {"b": "x"}},
      {"keys": {"a": 1, "c": 1}}, {"type": "object"}]),
    ("max_len", {"max_len": 3}, [{"max_len": 2}, "abc", {"keys": {"a": "any", "b": "any"}}],
     [{"max_len": 4}, "abcd", {"like": "a*"},
     {"type": "string"}]),
    ("type", {"type": "integer"}, [3, {"type": "integer", "min": 1}], [{"min": 1}, 2.0, {"type": "number"}, True]),
    ("type", {"type": "string"}, ["x", {"like": "*"}, {"under": "/a"}], [{"max_len": 3}, 1, "any"]),
    ("absent", {"absent": True}, [{"absent": True}, {"eq": "", "optional": True}], ["x", {"max_len": 1},
     {"type": "string"}]),
    ("all_of", {"all_of": [{"like": "a*"}, {"max_len": 3}]}, [{"like": "ab*", "max_len": 2}, "abc"],
     [{"like": "ab*"}, "abcd"]),
    ("any_of", {"any_of": [{"min": 5}, "x"]}, [{"min": 6}, "x", {"any_of": ["x", 7]}, ["x", 5]],
     [{"min": 4}, ["x", "y"]]),
    ("from", {"from": SELECTOR}, [{"from": SELECTOR}, {"from": SELECTOR, "max_len": 3}],
     ["bob@acme.com", {"from": {**SELECTOR, "at": "/other"}}, {"type": "string"}, {"from": SELECTOR, "type": "number"},
      {"one_of": {"from": SELECTOR}}]),
    ("from", {"one_of": {"from": SELECTOR}}, [{"from": SELECTOR}, {"one_of": {"from": SELECTOR}}],
     [{"from": {"task": True}}]),
    ("from", {"subset": {"from": SELECTOR}}, [{"subset": {"from": SELECTOR}}, {"each": {"from": SELECTOR}}],
     [{"subset": ["a"]}]),
    ("from", {"from": {"binding": "change"}}, [{"from": {"binding": "change"}}, "CHG-7"],
     ["CHG-8", {"from": {"task": True}}]),
    ("from", {"from": {"task": True}}, ["bob@acme.com", {"from": {"task": True}}, 4711],
     ["eve@evil.com", {"type": "string"}]),
    ("optional", {"type": "string", "optional": True}, [{"type": "string"}, {"type": "string", "optional": True}], [1]),
    ("optional", {"type": "string"}, [{"type": "string"}], [{"type": "string", "optional": True}]),
]  # fmt: skip


def grant(tools: Mapping[str, Any], **more: Any) -> Any:
    """Terms that may be handed on three times."""
    return issued(
        written(
            tools,
            **{
                "self": ["alice@acme.com"],
                "bindings": {"change": "CHG-7"},
                "task": TASK,
                "delegation": {"depth": 3},
                **more,
            },
        )
    )


def reasons(child: Mapping[str, Any], parent: Mapping[str, Any], **more: Any) -> list[str]:
    """Why a child with these tools is not narrower."""
    return narrower(grant(child, **{"delegation": {"depth": 0}, **more}), grant(parent), catalogue=CATALOGUE)


@pytest.mark.parametrize(("word", "parent", "accepted", "refused"), WORDS, ids=[str(row[:2])[:60] for row in WORDS])
def test_word_by_word(word: str, parent: Any, accepted: list[Any], refused: list[Any]) -> None:
    """What implies the parent's word is accepted, and whatever could do more is refused and explained."""
    del word
    held = {TOOL: {"arguments": {"x": parent}}}
    for node in accepted:
        assert reasons({TOOL: {"arguments": {"x": node}}}, held) == [], node
    for node in refused:
        found = reasons({TOOL: {"arguments": {"x": node}}}, held)
        assert found, node
        assert all(reason.startswith("pay.out: `x` ") for reason in found)


def test_the_table_has_every_word() -> None:
    """A word that is added later needs a row here."""
    assert {row[0] for row in WORDS} == CONSTRAINT_WORDS


def test_a_reason_names_the_value_that_would_get_through() -> None:
    """Where the child's values can be counted, one that the parent refuses is shown."""
    [reason] = reasons({TOOL: {"arguments": {"x": [1, 7]}}}, {TOOL: {"arguments": {"x": {"max": 5}}}})
    assert reason == "pay.out: `x` allows 1 or 7; its parent allows at most 5, and not 7"


CLAUSE: dict[str, Any] = {
    "arguments": {"x": {"min": 0, "max": 5}, "note": {"max_len": 9, "optional": True}},
    "injected": {"user": "bob"},
    "limits": {"calls": 3, "rate": "2/minute", "sum": {"argument": "x", "max": 12}},
    "approval": {"by": ["role:finance", "user:bob@acme.com"], "count": 2, "expires_in": "30m"},
}


def without(path: str) -> dict[str, Any]:
    """The clause with one line taken out."""
    first, _, second = path.partition(".")
    if not second:
        return {key: value for key, value in CLAUSE.items() if key != first}
    return {**CLAUSE, first: {key: value for key, value in CLAUSE[first].items() if key != second}}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without("arguments.note"), "leaves out `note`"),
        (without("injected"), "leaves out the injected `user`"),
        ({**CLAUSE, "injected": {"user": ["bob", "eve"]}}, "`injected user` allows"),
        (without("limits.calls"), "leaves out the limit of 3 calls"),
        ({**CLAUSE, "limits": {**CLAUSE["limits"], "calls": 4}}, "allows 4 calls; its parent 3"),
        (without("limits.rate"), "leaves out the limit of 2/minute calls"),
        (
            {**CLAUSE, "limits": {**CLAUSE["limits"], "rate": "60/hour"}},
            "is limited to 60/hour; its parent to 2/minute",
        ),
        (without("limits.sum"), "leaves out the limit of a sum of 12 over `x`"),
        ({**CLAUSE, "limits": {**CLAUSE["limits"], "sum": {"argument": "x", "max": 12.5}}}, "a sum of 12.5"),
        (without("approval"), "leaves out the approval by role:finance or user:bob@acme.com"),
        ({**CLAUSE, "approval": {**CLAUSE["approval"], "by": ["role:finance", "user:eve@acme.com"]}}, "lets user:eve"),
        ({**CLAUSE, "approval": {**CLAUSE["approval"], "count": 1}}, "takes 1 approvals; its parent takes 2"),
        ({**CLAUSE, "approval": {**CLAUSE["approval"], "expires_in": "1h"}}, "lets an approval stand for 1h"),
        ({**CLAUSE, "other_arguments": "any"}, "allows arguments that it does not name"),
        ({**CLAUSE, "arguments": {**CLAUSE["arguments"], "y": 1}}, "allows the argument `y`"),
        ({**CLAUSE, "resources": ["read crm://a"]}, "names `resources`"),
        ({**CLAUSE, "observe": True}, "only observes"),
    ],
)
def test_whatever_a_clause_leaves_out_or_stretches_is_a_reason(change: dict[str, Any], reason: str) -> None:
    """A limit, approval, bound or injected bound that the parent has is not lost on the way down."""
    assert reasons({TOOL: CLAUSE}, {TOOL: CLAUSE}) == []
    found = reasons({TOOL: change}, {TOOL: CLAUSE})
    assert any(reason in one for one in found), found


def test_one_clause_of_the_parent_has_to_cover_a_clause_whole() -> None:
    """The bounds of one clause and the missing approval of another are not put together."""
    parent = {
        TOOL: [
            {"name": "small", "arguments": {"x": {"max": 20}, "to": "bob"}},
            {
                "name": "large",
                "arguments": {"x": {"max": 50}, "to": ["bob", "eve"]},
                "approval": {"by": "role:finance"},
            },
        ]
    }
    assert reasons({TOOL: {"arguments": {"x": 10, "to": "bob"}}}, parent) == []
    assert reasons({TOOL: {"arguments": {"x": 10, "to": "eve"}, "approval": {"by": "role:finance"}}}, parent) == []
    assert reasons({TOOL: {"arguments": {"x": 10, "to": "eve"}}}, parent)
    assert reasons({TOOL: {"arguments": {"x": 30, "to": "bob"}}}, parent)


@pytest.mark.parametrize(
    ("parent", "accepted", "refused"),
    [
        ("read crm://tickets/*", ["read crm://tickets/88", "read crm://tickets/*"],
         ["write crm://tickets/88", "read crm://*/88"]),
        ("read crm://tickets/*", [], ["read crm://tickets/**", "read crm://tickets/8/x", "read crm://tickets"]),
        ("read file:///srv/**", ["read file:///srv", "read file:///srv/a/*", "read file:///srv/**"],
         ["read file:///srv2/a", "read file:///**"]),
        ("read https://acme.com/v1/**", ["read https://acme.com/v1/x?*"],
         ["read https://acme.com/**", "read https://evil.com/v1/x"]),
        ("read https://acme.com/v1?q=1", ["read https://acme.com/v1?q=1"],
         ["read https://acme.com/v1?*", "read https://acme.com/v1"]),
        ("read https://acme.com/*", ["read https://acme.com/x"],
         ["read https://acme.com/", "read https://acme.com/x?*"]),
        ("send mailto:*@acme.com", ["send mailto:bob@acme.com"], ["send mailto:*", "send mailto:bob@evil.com"]),
        ("read crm://**/a", ["read crm://x/y/a", "read crm://*/a", "read crm://a"],
         ["read crm://**", "read crm://a/b"]),
    ],
)  # fmt: skip
def test_resource_patterns_are_compared_segment_by_segment(
    parent: str, accepted: list[str], refused: list[str]
) -> None:
    """A wildcard of the child needs one of the parent."""
    held = {"x.y": {"resources": [parent], "other_arguments": "any"}}
    for text in accepted:
        assert reasons({"x.y": {"resources": [text]}}, held) == [], text
    for text in refused:
        assert reasons({"x.y": {"resources": [text]}}, held), text
    assert reasons({"x.y": {"other_arguments": "any"}}, held)
    assert reasons({"x.y": {"resources": "any"}}, held)
    assert reasons({"x.y": {"resources": [parent]}}, {"x.y": "any"}) == []


def test_an_argument_that_becomes_a_resource_may_be_named_by_the_child_alone() -> None:
    """The catalogue says that the URI covers its whole value, so that naming it can only bound it more."""
    parent = {"crm.read_ticket": {"resources": ["read crm://tickets/*"]}}
    child = {"crm.read_ticket": {"resources": ["read crm://tickets/88"], "arguments": {"id": 88}}}
    assert reasons(child, parent) == []
    assert narrower(grant(child, delegation={"depth": 0}), grant(parent))


def test_a_wildcard_speaks_for_what_the_parent_names_too() -> None:
    """`crm.*` of a child reaches the tools that the parent bounds by name."""
    parent = {"crm.*": "any", "crm.delete": {"arguments": {"id": 1}}}
    assert reasons({"crm.*": "any", "crm.delete": {"arguments": {"id": 1}}}, parent) == []
    assert any("crm.delete" in reason for reason in reasons({"crm.*": "any"}, parent))
    assert reasons({"crm.read": {"arguments": {"id": 7}}}, parent) == []
    assert reasons({"crm.*": "any"}, {"crm.read": "any"}) == ["crm.*: its parent grants crm.read only"]
    assert reasons({"mail.send": "any"}, parent)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"denied": 3, "shared": [{"tools": [TOOL, "a.b"], "calls": 4}]}, "leaves out the limit of 9 calls in all"),
        ({"calls": 10, "denied": 3, "shared": [{"tools": [TOOL, "a.b"], "calls": 4}]}, "allows 10 calls in all"),
        ({"calls": 9, "shared": [{"tools": [TOOL, "a.b"], "calls": 4}]}, "leaves out the limit of 3 refusals"),
        ({"calls": 9, "denied": 3}, "allows 9 calls; its parent 4, for pay.out and a.b together"),
        ({"calls": 9, "denied": 3, "shared": [{"tools": [TOOL, "a.b"], "calls": 5}]}, "allows 5 calls; its parent 4"),
        ({"calls": 9, "denied": 3, "shared": [{"tools": [TOOL], "calls": 4}]}, "for pay.out and a.b together"),
    ],
)
def test_limits_of_the_whole_grant(limits: dict[str, Any], reason: str) -> None:
    """Calls in all, refusals, and what tools share."""
    tools = {TOOL: "any", "a.b": "any"}
    held = {"calls": 9, "denied": 3, "shared": [{"tools": [TOOL, "a.b"], "calls": 4}]}
    parent = grant(tools, limits=held)
    assert narrower(grant(tools, limits=held, delegation={"depth": 0}), parent) == []
    found = narrower(grant(tools, limits=limits, delegation={"depth": 0}), parent)
    assert any(reason in one for one in found), found


def test_a_shared_limit_is_met_by_a_clause_that_stands_alone() -> None:
    """A child with one of two tools that share a limit says it at the clause."""
    parent = grant({TOOL: "any", "a.b": "any"}, limits={"shared": [{"tools": [TOOL, "a.b"], "calls": 4}]})
    child = {TOOL: {"resources": "any", "other_arguments": "any", "limits": {"calls": 4}}}
    assert narrower(grant(child, delegation={"depth": 0}), parent) == []
    assert narrower(grant({TOOL: "any"}, delegation={"depth": 0}), parent)


def test_different_resources() -> None:
    """A child that counts as much, and no less strictly, is narrower."""
    clause = {"resources": "any", "other_arguments": "any"}
    held = {"distinct": {"resources": ["crm://tickets/*"], "max": 3}}
    parent = {TOOL: {**clause, "limits": held}}
    for mine, narrow in (
        (held, True),
        ({"distinct": {"resources": ["crm://**"], "max": 2}}, True),
        ({"distinct": {"resources": ["crm://tickets/*"], "max": 4}}, False),
        ({"distinct": {"resources": ["read crm://tickets/*"], "max": 3}}, False),
        ({"calls": 9}, False),
    ):
        assert (reasons({TOOL: {**clause, "limits": mine}}, parent) == []) is narrow, mine


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"expires_in": "21m"}, "it ends at"),
        ({"not_before": "2026-11-24T08:50:00Z"}, "it begins at"),
        ({"principal": "user:eve@acme.com"}, "it speaks for user:eve@acme.com"),
        ({"self": ["eve@evil.com"]}, "`self` names other addresses"),
        ({"bindings": {"change": "CHG-8"}}, "its bindings are not"),
        ({"delegation": {"depth": 3}}, "it may be handed on 3 times, which leaves 2"),
    ],
)
def test_window_inheritance_and_depth(more: dict[str, Any], reason: str) -> None:
    """What is not under `tools` is compared as well."""
    found = reasons({TOOL: "any"}, {TOOL: "any"}, **more)
    assert any(reason in one for one in found), found


@pytest.mark.requirement("code:delegation_too_deep")
def test_every_link_above_counts_the_depth() -> None:
    """A link that may be handed on once is not handed on twice, whatever the one below it says."""
    root, middle = grant({TOOL: "any"}, delegation={"depth": 1}), grant({TOOL: "any"}, delegation={"depth": 5})
    with pytest.raises(DelegationWidened) as caught:
        require_narrower(grant({TOOL: "any"}, delegation={"depth": 0}), (root, middle))
    assert caught.value.code == "delegation_too_deep"


@pytest.mark.requirement("code:delegate_only")
def test_who_may_only_hand_on_does_not_come_back_below() -> None:
    """The agent of a `may_use: false` grant acts under none of its descendants."""
    holder = grant({TOOL: "any"}, delegation={"depth": 2, "may_use": False})
    middle = grant({TOOL: "any"}, agent="agent:other", delegation={"depth": 1})
    with pytest.raises(DelegationWidened) as caught:
        require_narrower(grant({TOOL: "any"}, delegation={"depth": 0}), (holder, middle))
    assert caught.value.code == "delegate_only"
    require_narrower(grant({TOOL: "any"}, agent="agent:third", delegation={"depth": 0}), (holder, middle))


def test_a_grant_that_takes_too_long_to_compare_is_refused() -> None:
    """An agent cannot keep the writer busy with a child of endless alternatives."""
    node: Any = {"like": "a*"}
    for _ in range(7):
        node = {"any_of": [{"all_of": [node, {"like": "*b"}]}, {"all_of": [node, {"like": "b*"}]}]}
    parent = {TOOL: {"arguments": {"x": {"any_of": [{"matches": f"x{n}"} for n in range(150)]}}}}
    assert any("too large to be compared" in one for one in reasons({TOOL: {"arguments": {"x": node}}}, parent))


def test_every_reason_is_raised() -> None:
    """`DelegationWidened.problems` has all of them; the sentence counts them."""
    parent = grant({TOOL: {"arguments": {"x": 1}}})
    with pytest.raises(DelegationWidened, match=r"and 2 more") as caught:
        require_narrower(
            grant({TOOL: {"arguments": {"x": 2}}, "a.b": "any"}, expires_in="1h", delegation={"depth": 0}), (parent,)
        )
    assert len(caught.value.problems) == 3
    assert caught.value.code == "delegation_widened"
