"""`narrower` never accepts a child that admits what its parent does not: by a seeded generator, and by Hypothesis.

`python -m benchmarks.narrower` does the same for 200,000 pairs and more.
"""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from benchmarks.narrower.check import Tally, constraints, grants, patterns
from benchmarks.narrower.generate import BINDINGS, OWN, PARAMETERS, TASK, VALUES, Maker
from hypothesis import example, given, settings
from hypothesis import strategies as st

from remit.authority.constraints import CONSTRAINT_WORDS, Constraint, Reader
from remit.authority.narrower.resources import covers
from remit.authority.narrower.values import Pair
from remit.authority.refusal import Refusal
from remit.authority.words.base import Scope
from remit.errors import GrantError
from remit.resources.access import Access, Pattern

pytestmark = pytest.mark.requirement("I4")

SCOPE = Scope(addresses=tuple(OWN), task=TASK, bindings=BINDINGS, parameters=PARAMETERS)


def read(node: Any) -> Constraint:
    """A constraint as a grant has it."""
    return Reader("source", tuple(OWN)).constraint(node)


def inside(child: Constraint, parent: Constraint) -> bool:
    """Whether `narrower` says that the child accepts no more."""
    return Pair(SCOPE, SCOPE).inside(child, parent)


def test_generated_constraints_of_every_word_have_no_counterexample() -> None:
    """Some of them are accepted for every word, so that each rule has been put to the test."""
    tally = Tally()
    constraints(4_000, 20260302, tally)
    assert tally.counterexamples == []
    assert set(CONSTRAINT_WORDS) - {"optional"} <= set(tally.accepted_words)
    assert tally.accepted > 1_000


def test_generated_resources_and_grants_have_no_counterexample() -> None:
    """The same for resource patterns, and for whole grants tried with whole calls."""
    for run, count in ((patterns, 6_000), (grants, 120)):
        tally = Tally()
        run(count, 20260302, tally)
        assert tally.counterexamples == []
        assert tally.accepted > 30


@given(st.integers(0, 2**32), st.sampled_from(VALUES))
@settings(max_examples=150, deadline=None)
def test_a_constraint_is_inside_itself_and_inside_any(seed: int, value: Any) -> None:
    """Handing on what one has, unchanged, is never refused."""
    maker = Maker(random.Random(seed))
    try:
        node = read(maker.constraint())
    except (Refusal, TypeError, OverflowError):
        return
    assert inside(node, node)
    assert inside(node, read("any"))
    if inside(read({"any": True}), node):
        assert node.compile(SCOPE)(value) is None


GLOBS = st.text("ab*", min_size=1, max_size=7)


@given(GLOBS, GLOBS, st.lists(st.text("abc", max_size=6), max_size=8))
@example("a*b*", "a*b", ["ab", "abc"])
@settings(max_examples=300, deadline=None)
def test_globs(child: str, parent: str, texts: list[str]) -> None:
    """Text that the child's pattern admits, stars filled in with anything, the parent's admits too."""
    mine, theirs = read({"like": child}), read({"like": parent})
    if not inside(mine, theirs):
        return
    filled = [child.replace("*", text) for text in texts]
    for text in (*texts, *filled):
        if mine.compile(SCOPE)(text) is None:
            assert theirs.compile(SCOPE)(text) is None, (child, parent, text)


NUMBERS = st.one_of(
    st.integers(-(2**60), 2**60),
    st.integers(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(1, 30).map(lambda power: 10**power),
    st.integers(1, 30).map(lambda power: float(10**power)),
)
BOUNDS = st.dictionaries(st.sampled_from(["min", "max", "above", "below"]), NUMBERS, min_size=1, max_size=2)


@given(BOUNDS, BOUNDS, NUMBERS)
@settings(max_examples=300, deadline=None)
def test_bounds(child: dict[str, Any], parent: dict[str, Any], number: Any) -> None:
    """Integers, floats and decimals at and around the bounds, where binary and decimal fractions part."""
    try:
        mine, theirs = read(child), read(parent)
    except Refusal:
        return
    if not inside(mine, theirs):
        return
    around = [number, *child.values(), *parent.values()]
    around += [Decimal(repr(value)) if isinstance(value, float) else Decimal(value) for value in around]
    around += [int(value) + step for value in around for step in (-1, 0, 1)]
    for value in around:
        if mine.compile(SCOPE)(value) is None:
            assert theirs.compile(SCOPE)(value) is None, (child, parent, value)


SEGMENTS = st.lists(st.sampled_from(["a", "b", "*", "**", ""]), min_size=1, max_size=5)


@given(SEGMENTS, SEGMENTS, st.lists(st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=5), max_size=20))
@settings(max_examples=300, deadline=None)
def test_paths_of_resources(child: list[str], parent: list[str], paths: list[list[str]]) -> None:
    """Of files and of web addresses, which treat an empty segment and a query in their own ways."""
    for scheme in ("file:///", "https://acme.com/"):
        try:
            mine, theirs = (Pattern.parse(f"read {scheme}{'/'.join(parts)}") for parts in (child, parent))
        except GrantError:
            continue
        if not covers(theirs, mine):
            continue
        for path in paths:
            for tail in ("", "?q=1"):
                access = Access("read", f"{scheme}{'/'.join(path)}{tail}")
                assert theirs.matches(access) or not mine.matches(access), (str(mine), str(theirs), access)
