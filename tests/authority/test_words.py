"""Every constraint word: what it lets through and what it does not, through a decision about a real call."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.authority.constraints import CONSTRAINT_WORDS
from tests.authority.granting import compiled, decided, judged

DECOMPOSED = "cafe\u0301"
COMPOSED = "caf\u00e9"

WORDS: list[tuple[Any, list[Any], list[Any]]] = [
    ("any", ["x", 1, None, [], {"a": 1}], []),
    ({"any": True}, ["x", 0], []),
    ("EUR", ["EUR"], ["eur", "EUR ", ["EUR"], None, "EURO"]),
    (2, [2], [2.0, True, "2", 3]),
    (1, [1], [True, 1.0, "1"]),
    (True, [True], [1, "true", False]),
    (2.0, [2.0, 2, Decimal(2)], [True, "2.0", 2.5]),
    ({"eq": "any"}, ["any"], ["x"]),
    ({"eq": ""}, [""], [None, " "]),
    ({"eq": [1, "a"]}, [[1, "a"]], [[1.0, "a"], ["a", 1], [1, "a", 2], (1, "a")]),
    ({"eq": {"a": [True]}}, [{"a": [True]}], [{"a": [1]}, {"a": [True], "b": 1}, {}]),
    ({"type": "number", "eq": 2}, [2, 2.0, Decimal("2.0")], [True, 2.1]),
    ({"eq": 12345678901234567890}, [12345678901234567890], [12345678901234567891, 1.2345678901234567e19]),
    ({"eq": COMPOSED}, [COMPOSED], [DECOMPOSED]),
    (["USD", "EUR"], ["USD", "EUR"], ["usd", "GBP", ["USD"], None, {"USD": 1}]),
    ({"one_of": [1, "1", 2.5]}, [1, "1", 2.5], [1.0, True, "2.5", 2]),
    ({"not_one_of": ["prod"]}, ["dev", ""], ["prod", ["prod"], None, 1, {"prod": 1}]),
    ({"not_one_of": [2]}, [3, 2.5], [2, 2.0, "2", True]),
    ({"not_one_of": [COMPOSED]}, ["tea"], [COMPOSED, DECOMPOSED]),
    ({"min": 0.1}, [0.1, 1, Decimal("0.1"), 10**30], [0.09, 0, -1, True, "1", None, float("inf"), float("nan")]),
    ({"max": 50}, [50, 50.0, -3, Decimal("49.99")], [50.01, 51, False, "3", [1], float("-inf"), Decimal("NaN")]),
    ({"above": 0, "below": 1}, [0.5, Decimal("0.999")], [0, 1, 0.0, 1.0, True]),
    ({"like": "bill-*.txt"}, ["bill-.txt", "bill-a/b.txt", "bill-..txt"], ["Bill-a.txt", "bill-a.txtx", "bill-txt", 3]),
    ({"like": "a*b*a"}, ["aba", "axxbxxa", "abba"], ["aa", "aab", "ab", "xaba"]),
    ({"like": "*"}, ["", "x"], [DECOMPOSED, None, ["x"]]),
    ({"like": "a?[b]"}, ["a?[b]"], ["axb", "a?b"]),
    ({"matches": "ord_[0-9]+"}, ["ord_1"], ["ord_", "ord_1\n", "xord_1", "ord_1;", "ORD_1", 1, "\ud800"]),
    ({"matches": "a|bc"}, ["a", "bc"], ["ac", "abc", "ab"]),
    ({"matches": "(?i)eur"}, ["EUR", "eur"], ["euro"]),
    ({"matches": ".*"}, [COMPOSED], [DECOMPOSED, "a\nb"]),
    ({"max_len": 3}, ["", "abc", [1, 2], {"a": 1}, "\U0001f600\U0001f600"], ["abcd", [1, 2, 3, 4], 3, None]),
    (
        {"under": "/srv/acme"},
        ["/srv/acme", "/srv/acme/a.txt"],
        ["/srv/acmeX", "/srv", "srv/acme/a", "/srv/acme/../x", 1],
    ),
    (
        {"url": {"hosts": ["api.acme.com"]}},
        ["https://api.acme.com/v1?x=1", "https://api.acme.com"],
        [
            "http://api.acme.com/",
            "https://api.acme.com:8443/",
            "https://api.acme.com.evil.com/",
            "https://www.acme.com/",
        ],
    ),
    (
        {"url": {"hosts": "any", "schemes": ["https", "http"], "ports": [443, 8080], "under": "/v1"}},
        ["https://a.com/v1", "http://b.com:8080/v1/x"],
        ["http://b.com/v1", "https://a.com/v10", "https://a.com/", "ftp://a.com/v1"],
    ),
    (
        {"email": {"domains": ["acme.com"], "addresses": ["bob@partner.com"]}},
        ["a@acme.com", "bob@partner.com"],
        [
            "eve@partner.com",
            "a@sub.acme.com",
            "a@ACME.com",
            "A <a@acme.com>",
            "a@acme.com,b@evil.com",
            None,
            ["a@acme.com"],
        ],
    ),
    ({"email": "any"}, ["a@x.org"], ["a", "a@b", "a@x.org b@y.org"]),
    ({"email": {"domains": "any"}}, ["a@x.org"], ["x"]),
    ({"subset": ["a", "b", 1]}, [[], ["a"], ["b", "a", "a"], [1]], [["c"], "a", None, [True], ["a", 1.0], {"a": 1}]),
    ({"contains": "a"}, [["a"], ["b", "a"]], [[], ["b"], "a", None]),
    ({"contains": ["a", 1]}, [[1, "a"]], [["a"], ["a", True]]),
    ({"each": {"min": 1}}, [[], [1, 2]], [[0], [1, "2"], 1, {"a": 1}]),
    ({"each": {"each": {"max_len": 1}}}, [[["a"], []]], [[["ab"]], [["a"], "b"]]),
    (
        {"keys": {"city": {"like": "New York*"}, "zip": {"matches": "[0-9]{5}", "optional": True}}},
        [{"city": "New York"}, {"city": "New York", "zip": "10001"}],
        [{}, {"zip": "10001"}, {"city": "New York", "zip": "1"}, {"city": "New York", "x": 1}, "New York"],
    ),
    ({"type": "string"}, ["", "x"], [1, None, ["x"]]),
    ({"type": "integer"}, [1, -1, 10**40], [1.0, True, "1", Decimal(1)]),
    ({"type": "number"}, [1, 1.5, Decimal("1.5")], [True, "1", float("nan")]),
    ({"type": "boolean"}, [True, False], [0, 1, "true", None]),
    ({"type": "array"}, [[], [1]], ["[]", {}, None]),
    ({"type": "object"}, [{}, {"a": 1}], [[], "{}", None]),
    ({"absent": True}, [None, "", [], {}], [0, False, " ", [None], {"a": None}]),
    ({"any_of": [{"absent": True}, {"eq": True}]}, [None, "", True], [False, 1, "true"]),
    ({"any_of": ["a", {"min": 3}]}, ["a", 3], ["b", 2, True]),
    ({"all_of": [{"min": 1}, {"max": 2}]}, [1, 2], [0, 3]),
    ("self", ["alice@acme.com", "+1-555"], ["ALICE@acme.com", "self", "eve@acme.com", None]),
    ({"one_of": ["self", "bob@acme.com"]}, ["alice@acme.com", "bob@acme.com"], ["self"]),
    ({"subset": "self"}, [[], ["alice@acme.com"]], [["self"], ["bob@acme.com"]]),
    ({"each": "self"}, [[], ["+1-555"]], [["x"]]),
    ({"email": "self"}, ["alice@acme.com"], ["bob@acme.com"]),
    ({"from": {"task": True}}, ["order", 4711, "4711"], ["orde", 471, "Refund order", 4711.5, None, ["order"]]),
    ({"email": {"domains": ["x.org"], "addresses": ["self"]}}, ["alice@acme.com", "a@x.org"], ["bob@acme.com"]),
]
OWN = ["alice@acme.com", "+1-555"]


def _cases(index: int) -> list[Any]:
    return [pytest.param(row[0], value, id=f"{row[0]!r}-{value!r}") for row in WORDS for value in row[index]]


@pytest.mark.parametrize(("constraint", "value"), _cases(1))
def test_a_word_lets_through_what_it_says(constraint: Any, value: Any) -> None:
    """Values inside the bound are permitted."""
    assert judged(constraint, value, self=OWN).effect == "permit"


@pytest.mark.parametrize(("constraint", "value"), _cases(2))
@pytest.mark.requirement("code:argument_out_of_bounds")
def test_a_word_refuses_everything_else(constraint: Any, value: Any) -> None:
    """Values outside the bound are denied, with the argument's name in the sentence."""
    decision = judged(constraint, value, self=OWN)

    assert decision.effect == "deny"
    assert decision.code in ("argument_out_of_bounds", "argument_unrepresentable")
    assert "`value" in decision.reason
    assert decision.remedy is not None
    assert decision.remedy.kind == "change_argument"


def test_every_word_is_in_the_table() -> None:
    """No word of the language is left without cases above."""
    text = repr([row[0] for row in WORDS])

    assert {word for word in CONSTRAINT_WORDS if f"'{word}'" not in text} == set()


class TestLeavingOut:
    """`optional`, `absent` and what implies them."""

    @pytest.mark.requirement("T5")
    def test_a_missing_argument_is_denied(self) -> None:
        """A bounded argument cannot be walked past by leaving it out."""
        grant = compiled({"t.t": {"arguments": {"amount": {"max": 5}}}})

        decision = decided(grant, "t.t", {})

        assert (decision.code, decision.rule) == ("argument_out_of_bounds", "t.t/only:amount")
        assert "missing" in decision.reason

    @pytest.mark.parametrize(
        "constraint",
        [
            {"max": 5, "optional": True},
            {"any": True, "optional": True},
            {"absent": True},
            {"any_of": [{"absent": True}, {"eq": 1}]},
        ],
    )
    def test_what_is_optional_may_be_missing(self, constraint: Any) -> None:
        """`optional`, and what implies it."""
        assert decided(compiled({"t.t": {"arguments": {"a": constraint}}}), "t.t", {}).effect == "permit"

    def test_an_optional_argument_that_is_there_is_judged(self) -> None:
        """Optional is not unbounded."""
        grant = compiled({"t.t": {"arguments": {"amount": {"max": 5, "optional": True}}}})

        assert decided(grant, "t.t", {"amount": 6}).code == "argument_out_of_bounds"
        assert decided(grant, "t.t", {"amount": None}).code == "argument_out_of_bounds"


class TestNumbers:
    """Numbers are compared as numbers, exactly, and nothing else is one."""

    @given(st.integers() | st.floats(allow_nan=True, allow_infinity=True) | st.decimals())
    def test_a_range_agrees_with_exact_arithmetic(self, value: Any) -> None:
        """`min` and `max` say what exact decimals say; NaN and infinities are never inside."""
        exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
        inside = exact.is_finite() and Decimal("0.1") <= exact <= Decimal("49.9")

        assert (judged({"min": 0.1, "max": 49.9}, value).effect == "permit") == inside

    @given(st.booleans() | st.text() | st.none() | st.lists(st.integers()) | st.dictionaries(st.text(), st.integers()))
    def test_nothing_but_a_number_is_a_number(self, value: Any) -> None:
        """Booleans, numeric text and containers pass no numeric bound."""
        assert judged({"min": -1e308}, value).effect == "deny"

    @given(st.integers(-5, 5) | st.floats(-5, 5), st.integers(-5, 5) | st.floats(-5, 5))
    def test_equality_is_typed(self, literal: Any, value: Any) -> None:
        """A whole literal equals the integer alone; one written with a point equals the number."""
        expected = literal == value and (isinstance(literal, float) or isinstance(value, int))

        assert (judged({"eq": literal}, value).effect == "permit") == expected


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.text() | st.binary() | st.datetimes()
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner) | st.frozensets(st.integers()),
    max_leaves=8,
)
EVERY_WORD = compiled(
    {"t.t": {"arguments": {f"a{index}": {"any_of": [row[0]]} for index, row in enumerate(WORDS)}}}, self=OWN
)


@pytest.mark.requirement("I1")
@given(ANYTHING)
def test_no_value_breaks_a_word(value: Any) -> None:
    """Whatever an argument holds, each word says yes or no; none fails."""
    names = [f"a{index}" for index in range(len(WORDS))]

    decision = decided(EVERY_WORD, "t.t", dict.fromkeys(names, value))

    assert decision.effect == "deny"
    assert decision.code in ("argument_out_of_bounds", "argument_unrepresentable")


@given(st.text(alphabet="ab*", max_size=8), st.text(alphabet="ab", max_size=10))
def test_like_agrees_with_a_plain_backtracking_matcher(pattern: str, value: str) -> None:
    """The linear-time `like` gives the answers of the definition."""

    def holds(rest: str, text: str) -> bool:
        if not rest:
            return not text
        if rest[0] == "*":
            return any(holds(rest[1:], text[at:]) for at in range(len(text) + 1))
        return bool(text) and text[0] == rest[0] and holds(rest[1:], text[1:])

    if pattern:
        assert (judged({"like": pattern}, value).effect == "permit") == holds(pattern, value)


def test_a_pattern_takes_linear_time() -> None:
    """The pattern that hangs a backtracking engine is decided at once."""
    assert judged({"matches": "(a+)+b"}, "a" * 20_000).effect == "deny"
