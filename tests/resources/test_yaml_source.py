"""Strict YAML: one meaning per file, and the line of whatever is refused."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.errors import GrantError
from remit.resources.yaml_source import load_strict


def tree(text: str) -> Any:
    """The plain tree of a document that is accepted."""
    return load_strict(text, name="x.yaml").tree


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("off", "off"), ("y", "y"), ("NO", "NO"),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("12", 12), ("-3", -3), ("+3", 3), ("017", 17), ("0o17", 15), ("0x1F", 31), ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("1e3", 1000.0), (".5", 0.5), ("1.", 1.0), ("-0.01", -0.01), ("12:30:00", "12:30:00"), ("190:20", "190:20"),
        ("2026-11-24", "2026-11-24"), ("2026-11-24T00:00:00Z", "2026-11-24T00:00:00Z"), ("=", "="), ("'12'", "12"),
        ('"true"', "true"),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_schema(written: str, value: object) -> None:
    """YAML 1.2 core, not 1.1: no surprising booleans, octals, sexagesimals or dates."""
    found = tree(f"a: {written}")["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.requirement("H20")
@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb: 2\na: 3", 3, "stands twice (first on line 1)"),
        ("a:\n  b: 1\n  'b': 2", 3, "stands twice"),
        ("a: &x 1\nb: 2", 1, "the anchor &x is refused"),
        ("a: 1\nb: *a", 2, "the alias *a is refused"),
        ("a: !!str 1", 1, "the tag"),
        ("a: !python/object/apply:os.system [x]", 1, "the tag"),
        ("a: ! x", 1, "the tag"),
        ("a: 1\n---\nb: 2", 2, "second document"),
        ("%YAML 1.1\n---\na: 1", 1, "%YAML 1.1"),
        ("%TAG ! tag:x,2026:\n---\na: 1", 1, "%TAG"),
        ("a: 1\n2: b", 2, "the key 2 is a number"),
        ("true: b", 1, "the key true is a boolean"),
        ("null: b", 1, "the key null is null"),
        ("? [a]\n: b", 1, "a key is a list or a mapping"),
        ("<<: {a: 1}", 1, "merge key"),
        ("a:\n\tb: 1", 2, "tab"),
        ("a: {\n\tb: 1}", 2, "tab"),
        ("a: .inf", 1, "not a finite number"),
        ("a: -.INF", 1, "not a finite number"),
        ("a: .nan", 1, "not a finite number"),
        ("a: 1e999", 1, "cannot be held exactly"),
        ("a: 0.10000000000000000001", 1, "cannot be held exactly"),
        ("a: " + "9" * 65, 1, "65 characters"),
        ("a: 1\nb: \u202eevil", 2, "U+202E"),
        ("a: x\u2028y", 1, "U+2028"),
        ("a: \ud800", 1, "U+D800"),
        ('a: "\\ud800"', 1, "not YAML"),
        ("a: \x00", 1, "not YAML"),
        ("a: 'x", 1, "not YAML"),
        ("a: b: c", 1, "not YAML"),
        ("a: [read crm://tickets/{id}]", 1, '"quotes"'),
        ("", 1, "is empty"),
        ("# nothing", 1, "is empty"),
        ("a: " + "[" * 70 + "]" * 70, 1, "nested more than 64"),
        ("a: " + "[" * 100_000, 1, "nest"),
        ("x" * (1 << 21), 1, "characters"),
    ],
)  # fmt: skip
def test_what_could_hide_a_meaning_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    """Every refusal names source, line and reason."""
    with pytest.raises(GrantError) as error:
        load_strict(text, name="x.yaml")
    message = str(error.value)
    assert message.startswith(f"x.yaml, line {line}: ")
    assert says in message
    assert error.value.problems == (message,)


def test_lines_are_found_by_path() -> None:
    """A path leads to the line of its key or item, and an unknown one to the nearest part above it."""
    found = load_strict("a:\n  b: 1\n  c:\n    - x\n    - {d: y}\n", name="x.yaml")
    assert [found.line_of(path) for path in (("a",), ("a", "b"), ("a", "c", 0), ("a", "c", 1, "d"))] == [1, 2, 4, 5]
    assert found.line_of(("a", "c", 9)) == 3
    assert found.line_of(("nope",)) == 1
    assert str(found.refuse(("a", "b"), "is wrong")) == "x.yaml, line 2: is wrong"


def test_ordinary_documents_are_read() -> None:
    """Block scalars with tabs inside, quotes, comments, a byte order mark and an explicit %YAML 1.2 are all
    fine.
    """
    assert tree("\ufeff%YAML 1.2\n---\na: |\n  x\n  \ty\nb: 'it''s' # why\n") == {"a": "x\n\ty\n", "b": "it's"}
    assert tree("[1, [], {}]") == [1, [], {}]
    assert tree('"plain"') == "plain"
    assert tree('a: "\\u202e"') == {"a": "\u202e"}


@given(st.text(alphabet=st.sampled_from("ab:-? \n\t[]{},&*!|>'\"%#<~0x1.e"), max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but GrantError comes out of a bad file."""
    with contextlib.suppress(GrantError):
        load_strict(text, name="x.yaml")
