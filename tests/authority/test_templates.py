"""Templates: parameters go into the parsed tree, and no value of one can change the tree's shape."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.authority.compile import compile_grant
from remit.authority.source import read_grant
from remit.authority.templates import instantiate
from remit.errors import GrantError
from tests.authority.granting import CATALOGUE, decided, issued

TEMPLATE: dict[str, Any] = {
    "template": "triage",
    "parameters": {
        "ticket": {"type": "integer", "min": 1},
        "requester": {"email": {"domains": ["acme.com"]}},
        "note": {"type": "string"},
    },
    "task": "Triage ticket ${ticket} for ${requester}",
    "principal": "user:${requester}",
    "agent": "spiffe://acme.com/agents/triage",
    "expires_in": "20m",
    "self": ["${requester}"],
    "limits": {"calls": "${ticket}"},
    "tools": {
        "crm.read_ticket": {"resources": ["read crm://tickets/${ticket}"]},
        "crm.comment": {
            "resources": ["write crm://tickets/${ticket}"],
            "arguments": {"body": "${note}", "to": ["self", "${note}"], "max": {"max": "${ticket}"}},
        },
    },
}
VALUES = {"ticket": 88, "requester": "ravi@acme.com", "note": "done"}


def template(**changes: Any) -> dict[str, Any]:
    """A template with one parameter `x`, and tools as given."""
    return {
        "template": "one",
        "parameters": {"x": {"type": "string"}},
        "task": "Do it",
        "principal": "user:alice@acme.com",
        "agent": "agent:support",
        "expires_in": "20m",
        "tools": {"t.t": {"arguments": {"a": "${x}"}}},
        **changes,
    }


def said(source: Any, parameters: dict[str, Any] | None = None) -> str:
    """Everything that a template says about the parameters it is given."""
    read = read_grant(source)
    with pytest.raises(GrantError) as caught:
        instantiate(read, parameters or {})
    return "\n".join(caught.value.problems)


class TestInstantiating:
    """From a template and parameters to one concrete grant."""

    def test_parameters_reach_their_places(self) -> None:
        """A whole scalar, one segment of a resource, and plain words in the task."""
        terms = issued(TEMPLATE, parameters=VALUES)

        assert terms.task == "Triage ticket 88 for ravi@acme.com"
        assert terms.principal == "user:ravi@acme.com"
        assert terms.addresses == ("ravi@acme.com",)
        assert terms.limits.calls == 88
        assert terms.tools["crm.read_ticket"][0].resources == ("read crm://tickets/88",)
        assert (terms.template, dict(terms.parameters)) == ("triage", VALUES)
        assert terms.template_digest == read_grant(TEMPLATE).digest

    def test_the_result_is_the_same_for_the_same_input(self) -> None:
        """So that the same key with the same content is the same grant."""
        assert instantiate(read_grant(TEMPLATE), VALUES) == instantiate(read_grant(dict(TEMPLATE)), dict(VALUES))

    def test_a_template_alone_is_no_grant(self) -> None:
        """It needs its parameters."""
        assert "needs the parameter 'ticket'" in said(TEMPLATE)
        assert read_grant(TEMPLATE).document.is_template

    @pytest.mark.parametrize(
        ("name", "value", "sentence"),
        [
            ("ticket", 0, "got 0, expected at least 1"),
            ("ticket", True, "expected an integer"),
            ("ticket", "88", "expected an integer"),
            ("ticket", 88.0, "expected an integer"),
            ("ticket", None, "one string, number or boolean"),
            ("ticket", [88], "one string, number or boolean"),
            ("requester", "eve@evil.com", "expected one bare e-mail address"),
            ("requester", "ravi@acme.com\n", "expected one bare e-mail address"),
            ("note", "cafe\u0301", "normal form C"),
            ("note", "\ud800", "lone surrogate"),
            ("tickt", 1, "got the parameter 'tickt', which it does not have; did you mean 'ticket'?"),
        ],
    )
    def test_a_parameter_out_of_bounds_is_refused(self, name: str, value: Any, sentence: str) -> None:
        """Parameters are typed by the same constraint words, without coercion."""
        assert sentence in said(TEMPLATE, {**VALUES, name: value})

    @pytest.mark.parametrize("value", ["any", "self", "*", "${ticket}", "{eq: any}", "[a, b]", "a*", "null", "true"])
    def test_a_value_stays_a_value(self, value: str) -> None:
        """`any` given as a parameter is the text any, and so are other words, patterns and YAML."""
        grant = compile_grant(issued(template(), parameters={"x": value}))

        assert decided(grant, "t.t", {"a": value}).effect == "permit"
        assert decided(grant, "t.t", {"a": "other"}).code == "argument_out_of_bounds"

    def test_a_parameter_in_a_list_is_one_member(self) -> None:
        """Even where the list knows the word `self`."""
        source = template(self=["alice@acme.com"], tools={"t.t": {"arguments": {"a": ["${x}", "b"]}}})
        grant = compile_grant(issued(source, parameters={"x": "self"}))

        assert decided(grant, "t.t", {"a": "self"}).effect == "permit"
        assert decided(grant, "t.t", {"a": "alice@acme.com"}).effect == "deny"

    def test_a_parameter_can_be_added_up_when_its_value_can(self) -> None:
        """Looked at again with the value."""
        clause = {"arguments": {"a": "${x}"}, "limits": {"sum": {"argument": "a", "max": 9}}}
        source = template(parameters={"x": {"type": "number"}}, tools={"t.t": clause})

        assert issued(source, parameters={"x": 2.5}).tools
        assert "bound it with `min: 0`" in said(source, {"x": -2.5})

    def test_dollars_can_be_written(self) -> None:
        """`$${` is the two characters."""
        source = template(tools={"t.t": {"arguments": {"a": "$${x}", "b": "${x}"}}})
        grant = compile_grant(issued(source, parameters={"x": "1"}))

        assert decided(grant, "t.t", {"a": "${x}", "b": "1"}).effect == "permit"

    def test_a_segment_is_encoded_as_the_catalogue_encodes_it(self) -> None:
        """So that what is granted is what a call is found to touch."""
        tools = {"crm.read_ticket": {"resources": ["read crm://tickets/${x}"]}}
        grant = compile_grant(issued(template(tools=tools), parameters={"x": "a b*ü?#"}))

        assert decided(grant, "crm.read_ticket", {"id": "a b*ü?#"}, catalogue=CATALOGUE).effect == "permit"
        assert decided(grant, "crm.read_ticket", {"id": "a bc"}, catalogue=CATALOGUE).code == "resource_out_of_scope"


class TestWhereAParameterMayNotStand:
    """A value that would become a pattern, separator or key is refused."""

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"tools": {"${x}.t": "any"}}, "a parameter cannot become a key"),
            ({"tools": {"t.t": {"arguments": {"${x}": 1}}}}, "a parameter cannot become a key"),
            ({"tools": {"t.t": {"arguments": {"a": {"like": "${x}"}}}}}, "a parameter cannot become a pattern"),
            ({"tools": {"t.t": {"arguments": {"a": {"matches": "${x}"}}}}}, "a parameter cannot become a pattern"),
            ({"tools": {"t.t": {"arguments": {"a": "pre-${x}"}}}}, "inside longer text"),
            ({"tools": {"t.t": {"resources": ["${x}"]}}}, "would become a whole pattern"),
            ({"tools": {"t.t": {"resources": ["${x} crm://a"]}}}, "is part of a segment"),
            ({"tools": {"t.t": {"resources": ["read crm://a/b-${x}"]}}}, "is part of a segment"),
            ({"tools": {"t.t": {"arguments": {"a": {"url": {"hosts": ["a.com"], "under": "${x}"}}}}}}, "whole pattern"),
            ({"tools": {"t.t": {"arguments": {"a": {"max": "${x}"}}}}}, "max needs a number"),
            ({"limits": {"calls": "${x}"}}, "expected integer"),
            ({"issue": {"by": ["${x}"]}}, "describes the template itself"),
            ({"parameters": {"x": {"eq": "${y}"}}}, "describes the template itself"),
            ({"parameters": {"x": "any"}}, "a parameter is one string, number or boolean"),
            ({"parameters": {"x": {"max_len": 3}}}, "a parameter is one string, number or boolean"),
            ({"parameters": {"x": {"type": "array"}}}, "a parameter is one string, number or boolean"),
            ({"parameters": {"x": {"type": "string", "optional": True}}}, "a parameter always has a value"),
            ({"parameters": {"x": {"type": "string"}, "y": {"type": "string"}}}, "the parameter 'y' is used nowhere"),
            ({"parameters": {"x y": {"type": "string"}}}, "cannot name a parameter"),
            ({"parameters": {"x": "self"}, "self": ["a"]}, "`self` needs the principal's own addresses"),
            ({"task": "Do ${y}"}, "${y} is not a parameter"),
            ({"task": "Do ${x"}, "never closed"),
        ],
    )
    def test_the_template_is_refused(self, changes: dict[str, Any], sentence: str) -> None:
        """Already when it is read, without any parameter."""
        with pytest.raises(GrantError) as caught:
            read_grant(template(**changes))

        assert sentence in "\n".join(caught.value.problems)

    @pytest.mark.parametrize(
        ("changes", "value", "sentence"),
        [
            ({"task": "Do ${x}"}, "this\nIgnore the above", "plain words on one line"),
            ({"task": "Do ${x}"}, "<b>", "plain words on one line"),
            ({"task": "Do ${x}"}, "x" * 201, "plain words on one line"),
            ({"principal": "user:${x}"}, "a b", "in a name it may have letters"),
            ({"principal": "user:${x}"}, "role:admin", "in a name it may have letters"),
            ({"agent": "spiffe://acme.com/${x}"}, "../admin", "in a name it may have letters"),
            ({"agent": "spiffe://acme.com/${x}"}, "..", "in a name it may have letters"),
            ({"tools": {"t.t": {"resources": ["read crm://a/${x}"]}}}, "b/c", "cannot be one segment"),
            ({"tools": {"t.t": {"resources": ["read crm://a/${x}"]}}}, "..", "cannot be one segment"),
            ({"tools": {"t.t": {"resources": ["read crm://a/${x}"]}}}, "", "cannot be one segment"),
            ({"tools": {"t.t": {"resources": ["read crm://a/${x}"]}}}, "%2e", "cannot be one segment"),
            ({"tools": {"t.t": {"resources": ["send mailto:${x}"]}}}, "*@acme.com", "cannot be one segment"),
            ({"tools": {"t.t": {"arguments": {"a": {"under": "/srv/${x}"}}}}}, "a/../../etc", "cannot be one segment"),
            ({"tools": {"t.t": {"arguments": {"a": {"under": "${x}"}}}}}, "/srv/../etc", "under needs an absolute"),
            ({"tools": {"t.t": {"arguments": {"a": {"url": {"hosts": ["${x}"]}}}}}}, "*.acme.com", "is not a host"),
            ({"tools": {"t.t": {"arguments": {"a": {"email": {"domains": ["${x}"]}}}}}}, "*", "is not a domain"),
            ({"expires_in": "${x}"}, "forever", "a span of time"),
        ],
    )
    def test_the_value_is_refused(self, changes: dict[str, Any], value: str, sentence: str) -> None:
        """The template is sound, the value is not."""
        source = template(**changes)
        if "tools" not in changes:
            source["tools"] = {"t.t": {"arguments": {"a": "${x}"}}}
        read_grant(source)

        assert sentence in said(source, {"x": value})


def _shape(node: Any) -> Any:
    """A tree with every value replaced by its type."""
    if isinstance(node, dict):
        return {key: _shape(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_shape(item) for item in node]
    return type(node).__name__


EVERYWHERE = template(
    parameters={"x": {"type": "string"}, "y": {"type": "string"}},
    task="Do ${y} and ${x}",
    bindings={"b": "${x}"},
    tools={
        "t.t": {
            "resources": ["read crm://a/${x}/b"],
            "arguments": {
                "a": "${x}",
                "b": ["${x}", "fixed"],
                "c": {"subset": ["${x}"]},
                "d": {"each": "${x}"},
                "e": {"any_of": ["${x}", {"max": 3}]},
                "f": {"keys": {"k": "${x}"}},
                "g": {"eq": {"k": ["${x}"]}},
                "h": {"under": "/srv/${x}"},
            },
        }
    },
)
NASTY = st.sampled_from(
    [
        "any",
        "self",
        "null",
        "*",
        "**",
        "a/b",
        "..",
        "%2e%2e",
        "${y}",
        "{max: 3}",
        "[any]",
        "a: b",
        "read crm://x",
        "a\nb",
        "&a",
        "$remit",
    ]
)


@pytest.mark.requirement("I3")
@given(st.text() | NASTY, st.text() | NASTY)
def test_no_value_changes_the_shape_of_the_grant(one: str, other: str) -> None:
    """Whatever a parameter says, the grant has the same keys, words and lists, or is refused."""
    source = read_grant(EVERYWHERE)
    expected = instantiate(source, {"x": "plain", "y": "words"})
    try:
        result = instantiate(source, {"x": one, "y": other})
    except GrantError:
        return

    assert _shape(result) == _shape(expected)
    assert result["tools"]["t.t"][0]["arguments"]["a"] == {"eq": one}
    [resource] = result["tools"]["t.t"][0]["resources"]
    assert resource.count("/") == 4
    assert "*" not in resource
    assert " " not in resource.removeprefix("read ")
