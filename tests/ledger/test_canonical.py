"""Canonical JSON: the quick way writes the same bytes as RFC 8785, or is not taken."""

from __future__ import annotations

import math

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.errors import Unrepresentable
from remit.ledger.canonical import MAX_SAFE_INTEGER, canonical

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
keys = text | st.sampled_from(["", "\ue000", "\uffff", "\U00010000", "\U0001d4b6", "\u00e9", "e\u0301", "a/b", "~"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5), max_leaves=30
)


@given(json_values)
@settings(max_examples=600, deadline=None)
def test_the_bytes_are_those_of_rfc_8785(value: object) -> None:
    """Whatever JSON can say comes out byte for byte as the reference implementation writes it."""
    assert canonical(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=1500, deadline=None)
def test_every_finite_float_is_written_as_rfc_8785_does(value: float) -> None:
    """The two ways print floats differently; the gate lets through only those that they print alike."""
    assert canonical([value]) == rfc8785.dumps([value])


@pytest.mark.parametrize(
    "value",
    [0.0, -0.0, 1.0, 1e15, 1e16, 1e21, 1e-4, 1e-5, 1e-7, 5e-324, 123456789012345.6, 0.1, 1 / 3, 1e300, -1.5],
)
def test_floats_at_the_edges_of_the_quick_way_agree(value: float) -> None:
    """Where the quick way ends, the slow one goes on without a seam."""
    assert canonical({"x": value}) == rfc8785.dumps({"x": value})


def test_keys_are_ordered_by_utf_16_units() -> None:
    """An astral key sorts before U+FFFF: by UTF-16 unit, not by code point."""
    assert canonical({"\uffff": 1, "\U00010000": 2}) == '{"\U00010000":2,"\uffff":1}'.encode()


def test_nothing_is_normalised() -> None:
    """Composed and decomposed text stay two texts."""
    assert canonical("\u00e9") != canonical("e\u0301")


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        2**53,
        -(2**53),
        "\ud800",
        {"\udfff": 1},
        {1: "a"},
        {None: 1},
        b"x",
        {1, 2},
        pytest.param(object(), id="object"),
        [math.nan],
        {"a": {"b": math.inf}},
    ],
    ids=repr,
)
def test_what_json_cannot_say_is_refused(value: object) -> None:
    """Nothing is turned into null, into text or into another number on the way."""
    with pytest.raises(Unrepresentable):
        canonical(value)


def test_nesting_without_end_is_refused() -> None:
    """A list within itself is refused as too large, without a traceback from the depth."""
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(Unrepresentable) as refused:
        canonical(endless)
    assert refused.value.code == "too_large"


def test_bool_and_int_stay_apart() -> None:
    """True is not 1, and a subclass of int does not slip through as a bool."""
    assert canonical([True, 1, False, 0]) == b"[true,1,false,0]"
