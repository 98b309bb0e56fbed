"""Whatever guardrails say and whatever is remembered, the answers are those of cedarpy, called plainly each time."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import cedarpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.authority.calls import CallView, Facts, SessionFacts
from remit.authority.cedar import CedarGuardrails, engine
from remit.authority.cedar.encode import NotEncodable, access_facts, number
from remit.authority.decide import decide
from remit.resources.access import Access
from tests.authority.granting import compiled, facts

TOOL = "web.fetch"
GRANT = compiled({TOOL: {"resources": "any", "other_arguments": "any"}})

WORDS = st.sampled_from(
    ["", "-", "--", "a", "A", "b", ".ssh", "acme.com", "read", "send", "file", "https", "file:///a/b"]
)
TEXTS = st.sampled_from(["action", "uri", "kind", "host", "name"]).map(lambda name: f"context.access.{name}")
SETS = st.lists(WORDS, max_size=3).map(json.dumps)
SEGMENTS = "context.access.segments"


def _one(template: str, *parts: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda found: template.format(*found))


QUOTED = WORDS.map(json.dumps)
ATOMS = st.one_of(
    _one("{} == {}", TEXTS, QUOTED),
    _one("{} != {}", TEXTS, QUOTED),
    _one("{} == {}", QUOTED, TEXTS),
    _one("{} == {}", TEXTS, TEXTS),
    _one("{} == {}", TEXTS, SETS),
    _one("{}.contains({})", SETS, TEXTS),
    _one("[{}, context.session.mode].contains({})", QUOTED, TEXTS),
    _one('{} like "*{}*"', TEXTS, st.sampled_from(["a", "ssh", "b", "com"])),
    _one(SEGMENTS + ".contains({})", QUOTED),
    _one(SEGMENTS + ".contains({})", TEXTS),
    _one(SEGMENTS + ".contains({})", SETS),
    _one(SEGMENTS + ".containsAny({})", SETS),
    _one(SEGMENTS + ".containsAll({})", SETS),
    _one("{}.containsAll(" + SEGMENTS + ")", SETS),
    _one(SEGMENTS + " == {}", SETS),
    st.sampled_from(
        [
            f"{SEGMENTS}.isEmpty()",
            "context.access has name",
            "context.catalogued",
            "context.accesses.isEmpty()",
            'context.accesses.contains({"action": "read", "uri": "file:///a/b", "kind": "file"})',
            "context.input has n",
            "context.input.n > 2",
            "context.input.n + 1 == 3",
            'context.input.amount.greaterThan(decimal("0.5"))',
            'context.input.t == "a"',
            'context.input.t like "a*"',
            "context.input.t == context.access.name",
            'context.input has o && context.input.o has x && context.input.o.x == "a"',
            'context.session.labels.contains("a")',
            'context.session.environment == "test"',
            "context.session.call_count > 2",
            "context.session.hour_utc == 9",
            'principal in Role::"r"',
            'resource == Agent::"agent:other"',
        ]
    ),
)
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        _one("({}) && ({})", inner, inner),
        _one("({}) || ({})", inner, inner),
        _one("!({})", inner),
        _one("(if {} then {} else {})", inner, inner, inner),
    ),
    max_leaves=4,
)
CLAUSES = st.tuples(st.sampled_from(["when", "unless"]), CONDITIONS)
URIS = st.sampled_from(
    [
        "file:///a/b", "file:///", "file:///.ssh/A", "file:///x%20y/%C3%A9", "https://acme.com/a?b=c", "https://other.example/",
        "mailto:bob@acme.com", "mailto:b", "db://-/--",
    ]
)  # fmt: skip
ACCESSES = st.lists(st.builds(Access, st.sampled_from(["read", "send", "write"]), URIS), max_size=3, unique=True)
MISSING = object()
ARGUMENTS = st.fixed_dictionaries(
    {
        "n": st.sampled_from([MISSING, None, 0, 2, 3, 2**63 - 1]),
        "amount": st.sampled_from([MISSING, 0, 0.5, 0.5001, 3]),
        "t": st.sampled_from([MISSING, "a", "b", "ab", True, 7]),
        "o": st.sampled_from([MISSING, {}, {"x": "a"}, {"x": 1, "y": 2}, "a"]),
    }
).map(lambda found: {name: value for name, value in found.items() if value is not MISSING})
AROUND = st.builds(
    SessionFacts,
    labels=st.frozensets(st.sampled_from(["a", "b"])),
    calls=st.integers(0, 4),
    mode=st.sampled_from(["enforce", "observe"]),
    environment=st.sampled_from(["test", "production"]),
    roles=st.frozensets(st.sampled_from(["r"])),
)
CALLS = st.lists(st.tuples(ACCESSES, ARGUMENTS, AROUND, st.booleans()), min_size=1, max_size=8)


def plainly(clauses: list[tuple[str, str]], call: CallView, when: Facts) -> str:
    """`permit`, `deny` or `error`, by `cedarpy.is_authorized` under the whole context, one access at a time."""
    around, encoded = when.around, dict(call.effective)
    if "amount" in encoded:
        encoded["amount"] = {"__extn": {"fn": "decimal", "arg": f"{encoded['amount']:.4f}"}}
    context: dict[str, Any] = {
        "input": {name: value for name, value in encoded.items() if value is not None},
        "session": {
            "labels": sorted(around.labels), "call_count": around.calls, "mode": around.mode,
            "environment": around.environment, "hour_utc": when.now.hour,
        },
        "catalogued": call.catalogued,
        "accesses": [{"action": one.action, "uri": one.uri, "kind": one.kind} for one in call.accesses],
    }  # fmt: skip
    contexts = [{**context, "access": access_facts(one)} for one in call.accesses]
    about_each = ("context.access.", "context.access has")
    used = [one for one in clauses if contexts or not any(text in one[1] for text in about_each)]
    text = "permit(principal, action, resource);" + "".join(
        f"forbid(principal, action, resource) {word} {{ {condition} }};" for word, condition in used
    )
    user = {"type": "User", "id": "alice@acme.com"}
    known = [{"uid": user, "attrs": {}, "parents": [{"type": "Role", "id": role} for role in around.roles]}]
    denied = False
    for one in contexts or [context]:
        request = {
            "principal": 'User::"alice@acme.com"',
            "action": f'Action::"{TOOL}"',
            "resource": 'Agent::"agent:support"',
            "context": one,
        }
        result = cedarpy.is_authorized(request, text, known)
        if result.diagnostics.errors or result.decision is cedarpy.Decision.NoDecision:
            return "error"
        denied |= result.decision is cedarpy.Decision.Deny
    return "deny" if denied else "permit"


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(CLAUSES, min_size=1, max_size=5), CALLS)
def test_random_guardrails_answer_random_calls_as_cedar_does(
    clauses: list[tuple[str, str]], calls: list[tuple[list[Access], dict[str, Any], SessionFacts, bool]]
) -> None:
    """Each call twice, among others, so that memory answers too: same permits, same forbids, same errors."""
    guardrails = CedarGuardrails.from_text(
        "".join(
            f'@id("p{index}") forbid(principal, action, resource) {word} {{ {condition} }};'
            for index, (word, condition) in enumerate(clauses)
        )
    )
    for accesses, arguments, around, catalogued in calls * 2:
        call = CallView(TOOL, arguments, arguments, frozenset(), {}, tuple(accesses), frozenset(), None, catalogued)
        when = facts(around=around)
        ruling = guardrails.judge(call, (GRANT,), when)
        expected = plainly(clauses, call, when)
        if expected == "permit":
            assert ruling is None, (clauses, call, when)
        else:
            assert ruling is not None, (clauses, call, when)
            assert ruling.code == ("evaluator_error" if expected == "error" else "guardrail"), (clauses, call, when)


EXACT = st.one_of(
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(-(10**16), 10**16, allow_nan=False, allow_infinity=False, places=4),
    st.decimals(allow_nan=False, allow_infinity=False),
)


@settings(max_examples=500, deadline=None)
@given(EXACT, st.sampled_from([None, "long", "decimal"]))
def test_a_number_is_encoded_exactly_or_refused(value: int | float | Decimal, compared: Any) -> None:
    """Never rounded: what Cedar is given equals what the call brought, as it is written."""
    try:
        found = number(value, compared, "n")
    except NotEncodable:
        return

    written = found if isinstance(found, int) else found["__extn"]["arg"]
    assert Fraction(str(written)) == Fraction(repr(value) if isinstance(value, float) else str(value))


def test_digits_beyond_those_of_decimal_arithmetic_are_not_rounded_away() -> None:
    """28 digits are the default precision of `Decimal`; a longer fraction is refused all the same."""
    guardrails = CedarGuardrails.from_text(
        '@id("a") forbid(principal, action, resource) when { context.input.n.greaterThan(decimal("1.0")) };'
    )
    arguments = {"n": Decimal("1.00000000000000000000000000000000001")}
    call = CallView(TOOL, arguments, arguments, frozenset(), {}, (), frozenset(), None, True)

    assert decide((GRANT,), call, facts(), guardrails).code == "argument_unrepresentable"


def test_the_beginning_of_an_allowing_answer_is_what_cedarpy_writes() -> None:
    """Were it not, every answer would be parsed, which is only slower: this keeps that from going unnoticed."""
    context = json.dumps({})
    who = ({"type": "User", "id": "a"}, {"type": "Action", "id": "b.c"}, {"type": "Agent", "id": "d"})
    request = {**dict(zip(("principal", "action", "resource"), who, strict=True)), "context": context}
    [text] = engine._authorize([request], engine.policy_set({}), engine.entities([]), None, False)

    assert engine.PERMIT in text
    assert text.startswith(engine._ALLOW)
