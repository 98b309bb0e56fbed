"""Values that JSON cannot say: one encoding each, and none for the rest."""

from __future__ import annotations

import dataclasses
import enum
import math
import uuid
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from remit.errors import Unrepresentable
from remit.ledger.canonical import canonical
from remit.ledger.values import (
    KINDS,
    MAX_DEPTH,
    MAX_SIZE,
    Opaque,
    copy_plain,
    decode,
    encode,
    encode_arguments,
    is_plain,
)


class Colour(enum.Enum):
    """An enum whose values are text."""

    RED = "red"


class Level(enum.IntEnum):
    """An enum that is also a number."""

    LOW = 1


@dataclasses.dataclass(frozen=True)
class Point:
    """A dataclass."""

    x: int
    y: Decimal


class Order(BaseModel):
    """A model."""

    id: int
    lines: list[Decimal]


class Login(BaseModel):
    """A model with a secret in it."""

    password: SecretStr


Pair = namedtuple("Pair", ["left", "right"])

TABLE: list[tuple[Any, Any, Any]] = [
    (2**53, {"$remit": "int", "v": "9007199254740992"}, 2**53),
    (-(2**80), {"$remit": "int", "v": "-1208925819614629174706176"}, -(2**80)),
    (20.0, {"$remit": "float", "v": "20.0"}, 20.0),
    (-0.0, {"$remit": "float", "v": "-0.0"}, -0.0),
    (0.5, 0.5, 0.5),
    (Decimal("1.50"), {"$remit": "decimal", "v": "1.50"}, Decimal("1.50")),
    (
        datetime(2026, 11, 24, 9, 30, tzinfo=UTC),
        {"$remit": "datetime", "v": "2026-11-24T09:30:00+00:00"},
        datetime(2026, 11, 24, 9, 30, tzinfo=UTC),
    ),
    (date(2026, 11, 24), {"$remit": "date", "v": "2026-11-24"}, date(2026, 11, 24)),
    (time(9, 30, 1, 5), {"$remit": "time", "v": "09:30:01.000005"}, time(9, 30, 1, 5)),
    (timedelta(minutes=-1), {"$remit": "timedelta", "v": "-60000000"}, timedelta(minutes=-1)),
    (b"\x00\xff", {"$remit": "bytes", "v": "AP8="}, b"\x00\xff"),
    (bytearray(b"a"), {"$remit": "bytes", "v": "YQ=="}, b"a"),
    (uuid.UUID(int=1), {"$remit": "uuid", "v": "00000000-0000-0000-0000-000000000001"}, uuid.UUID(int=1)),
    (PurePosixPath("/a/b"), {"$remit": "path", "v": "/a/b"}, PurePosixPath("/a/b")),
    ((1, "a"), {"$remit": "tuple", "v": [1, "a"]}, (1, "a")),
    ({3, 1, 2}, {"$remit": "set", "v": [1, 2, 3]}, {1, 2, 3}),
    (
        Colour.RED,
        {"$remit": "enum", "v": {"class": f"{__name__}.Colour", "name": "RED", "value": "red"}},
        "red",
    ),
    (Level.LOW, {"$remit": "enum", "v": {"class": f"{__name__}.Level", "name": "LOW", "value": 1}}, 1),
    (
        Point(1, Decimal("2.5")),
        {
            "$remit": "model",
            "v": {"class": f"{__name__}.Point", "fields": {"x": 1, "y": {"$remit": "decimal", "v": "2.5"}}},
        },
        {"x": 1, "y": Decimal("2.5")},
    ),
    (
        Order(id=7, lines=[Decimal("1")]),
        {
            "$remit": "model",
            "v": {"class": f"{__name__}.Order", "fields": {"id": 7, "lines": [{"$remit": "decimal", "v": "1"}]}},
        },
        {"id": 7, "lines": [Decimal("1")]},
    ),
    (
        Pair(1, 2),
        {"$remit": "model", "v": {"class": f"{__name__}.Pair", "fields": {"left": 1, "right": 2}}},
        {"left": 1, "right": 2},
    ),
    (OrderedDict(a=1), {"a": 1}, {"a": 1}),
]


@pytest.mark.parametrize(("value", "encoded", "decoded"), TABLE, ids=lambda item: repr(item)[:30])
def test_the_documented_table_holds(value: Any, encoded: Any, decoded: Any) -> None:
    """Each kind is written as docs/ledger.md says, and read back as a builtin value."""
    found = encode(value)
    assert found == encoded
    assert canonical(found)
    back = decode(found)
    assert back == decoded
    assert type(back) is type(decoded)
    assert str(back) == str(decoded)


def test_every_kind_is_in_the_table() -> None:
    """A kind that the table does not show would be an undocumented encoding."""
    shown = {encoded["$remit"] for _, encoded, _ in TABLE if isinstance(encoded, dict) and "$remit" in encoded}
    assert shown | {"opaque", "secret", "masked"} == set(KINDS)


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(plain_values)
@settings(max_examples=400, deadline=None)
def test_what_is_encoded_decodes_to_the_same_value_of_the_same_type(value: Any) -> None:
    """Evidence gives back what was decided on, down to 20.0 not being 20."""
    try:
        found = encode(value)
    except Unrepresentable:
        assert "\\u" in ascii(value) or "\\ud" in ascii(value) or "$remit" in ascii(value)
        return
    assert repr(decode(found)) == repr(value)


@pytest.mark.requirement("code:argument_unrepresentable")
@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"$remit": "int"}, "reserved"),
        ({"a": {"b": [1, {"$remit": 1}]}}, "a.b[1]"),
        (math.nan, "nan"),
        ({"x": [math.inf]}, "x[0]"),
        ("\ud800", "surrogate"),
        ({"\ud800": 1}, "surrogate"),
        ({1: "a"}, "key of type"),
        pytest.param(object(), "builtins.object", id="object"),
        ({"f": lambda: 1}, "function"),
        (Decimal("NaN"), "NaN"),
        (Login(password=SecretStr("hunter2")), "SecretStr"),
        (Colour, "has no encoding"),
        ({Colour.RED: 1}, "key of type"),
    ],
    ids=lambda item: repr(item)[:24],
)
def test_what_has_no_encoding_is_refused_and_named(value: Any, where: str) -> None:
    """A refusal says where in the value it stands and what was found, and never the secret."""
    with pytest.raises(Unrepresentable) as refused:
        encode(value)
    assert where in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert refused.value.code == "argument_unrepresentable"


@pytest.mark.requirement("code:too_large")
def test_values_beyond_the_caps_are_too_large() -> None:
    """One level or one byte more than the cap is refused, and a small value that unfolds into a huge one is too."""
    deep: Any = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert encode(deep)
    assert encode({"text": "x" * (MAX_SIZE - 20), "n": 1})
    assert encode([1] * (MAX_SIZE // 2 - 10))
    laughs: Any = "ha"
    for _ in range(40):
        laughs = [laughs, laughs]
    endless: list[Any] = []
    endless.append(endless)
    for value in ([deep], "x" * MAX_SIZE, [1] * MAX_SIZE, {"a": "é" * (MAX_SIZE // 2)}, laughs, endless, 1 << 20_000):
        with pytest.raises(Unrepresentable) as refused:
            encode(value)
        assert refused.value.code == "too_large"


def test_an_opaque_argument_is_kept_as_the_name_of_its_type() -> None:
    """What the catalogue calls opaque need not be representable; what is, is kept whole all the same."""
    found = encode_arguments({"client": object(), "id": 88}, opaque=frozenset({"client", "id"}))
    assert found == {"client": {"$remit": "opaque", "v": "builtins.object"}, "id": 88}
    assert decode(found)["client"] == Opaque("builtins.object")
    with pytest.raises(Unrepresentable):
        encode_arguments({"client": object()}, opaque=frozenset({"other"}))


def test_the_encoding_shares_nothing_with_the_value() -> None:
    """Changing the caller's list afterwards changes no evidence."""
    value = {"to": ["a"]}
    found = encode(value)
    value["to"].append("b")
    assert found == {"to": ["a"]}


@pytest.mark.parametrize(
    "tree", [{"$remit": "exec", "v": "x"}, {"$remit": "int"}, {"$remit": "uuid", "v": "zz"}, {"$remit": 1, "v": 1}]
)
def test_a_kind_that_is_unknown_or_damaged_does_not_decode(tree: Any) -> None:
    """Reading evidence never guesses, and never makes an object of a class that evidence names."""
    with pytest.raises(Unrepresentable):
        decode(tree)


def test_plain_values_are_told_apart_and_copied() -> None:
    """Only exact JSON types count as plain, and their copy is deep."""
    value = {"a": [1, {"b": None}]}
    assert is_plain(value)
    assert copy_plain(value) == value
    assert copy_plain(value)["a"][1] is not value["a"][1]
    for odd in ((1,), {"a": {1}}, {1: 2}, Level.LOW, OrderedDict()):
        assert not is_plain(odd)
