"""Text and numbers in one reading."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from remit.errors import NotCanonical
from remit.resources.text import kind_of, require_encodable, require_nfc, require_number, require_visible, shown


@pytest.mark.requirement("H6")
def test_text_in_normal_form_c_is_returned_and_other_forms_are_refused() -> None:
    """NFC is required, never produced."""
    assert require_nfc("caf\u00e9") == "caf\u00e9"
    for text in ("cafe\u0301", "\u212b", "\u1100\u1161", "\ufb1d"):
        with pytest.raises(NotCanonical, match="normal form C"):
            require_nfc(text)


@pytest.mark.requirement("H7")
def test_text_with_a_lone_surrogate_is_refused() -> None:
    """A pair that Python holds as one character is fine; half a pair is not."""
    assert require_encodable("\U0001f600") == "\U0001f600"
    with pytest.raises(NotCanonical, match=r"U\+D83D at position 1"):
        require_encodable("x\ud83d")
    with pytest.raises(NotCanonical, match="lone surrogate"):
        require_nfc("x\udce9")


@pytest.mark.requirement("H8")
def test_text_with_invisible_characters_is_refused() -> None:
    """Control and format characters are refused with their place."""
    assert require_visible("Zoë’s café") == "Zoë’s café"
    for text in ("a\x00", "a\x7f", "a\x9f", "a\u200b", "a\u2066", "a\u2028"):
        with pytest.raises(NotCanonical, match="at position 1"):
            require_visible(text)


@pytest.mark.requirement("H30")
@pytest.mark.parametrize(
    "value", [True, False, "12", None, [1], math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("-Infinity")]
)
def test_what_is_not_a_finite_number_is_refused(value: Any) -> None:
    """A boolean is not a number and neither is its text."""
    with pytest.raises(NotCanonical, match="expected a"):
        require_number(value)


def test_finite_numbers_are_returned_as_they_are() -> None:
    """Integers of any size, floats and decimals."""
    for value in (0, -1, 10**40, 0.1, Decimal("0.10")):
        assert require_number(value) is value


def test_a_sentence_shows_text_escaped_and_short() -> None:
    """Nothing invisible, foreign or long gets into a sentence unmarked."""
    assert shown("a\u202eb\ud800\u0430") == "'a\\u202eb\\ud800\\u0430'"
    assert len(shown("x" * 1000)) < 100
    values: tuple[object, ...] = (None, True, 1, 1.5, "x", [], (), {}, b"")
    assert [kind_of(value) for value in values] == [
        "null", "a boolean", "an integer", "a number", "a string", "a list", "a list", "an object", "a bytes"
    ]  # fmt: skip
