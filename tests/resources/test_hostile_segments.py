"""Hostile values in access templates: a value is one segment, whatever it holds, or the call is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.errors import NotCanonical
from remit.resources.access import Access, Pattern
from remit.resources.catalogue import Catalogue
from remit.resources.uris import encode_segment, recode_segment


def resolve(access: str | list[str], arguments: dict[str, Any], **words: Any) -> list[str]:
    """The accesses of a call of a tool with these templates."""
    lines = [access] if isinstance(access, str) else access
    found = Catalogue.load({"tools": {"crm.tool": {"accesses": lines, **words}}}).entry("crm.tool")
    assert found is not None
    return [str(each) for each in found.resolve(arguments)]


HOSTILE = st.one_of(
    st.text(max_size=20),
    st.text(alphabet=st.sampled_from("a./\\%2e5cC*?#&;:@ \u0301\u200b\uff0f\u2025\x00"), max_size=12),
    st.sampled_from([".", "..", "", "*", "**", "88/../89", "%2e%2e", "..;", "a?b", "a#b"]),
)


@pytest.mark.requirement("H26")
@pytest.mark.parametrize(
    "value",
    ["", ".", "..", "88/89", "/88", "88/", "88/../89", "88\\89", "..\\89", "%2e%2e", "88%2f89", "88%2F89", "88%5C89",
    "88%2589",
     "..;", "..;x", ".;", " 88", "88 ", "88\n", "88\x00", "\uff0f", "88\uff0f89", "\u2025", "8\u200b8", "e\u0301",
     "\ud800", "%u002f",
     "a" * 2049],
)  # fmt: skip
def test_a_value_that_could_become_another_number_of_segments_is_refused(value: str) -> None:
    """Separators, dots, escapes, blanks at the ends and nothing at all are refused, with the argument's
    name.
    """
    with pytest.raises(NotCanonical, match="the argument id is refused"):
        resolve("read crm://tickets/{id}/comments", {"id": value})


@pytest.mark.requirement("H26")
@given(HOSTILE)
def test_a_template_never_crosses_a_segment(value: str) -> None:
    """For any string the URI has as many segments as for a plain one, and only that string gives it."""
    try:
        (found,) = resolve("read crm://tickets/{id}/comments", {"id": value})
    except NotCanonical:
        return
    uri = found.removeprefix("read ")
    assert uri.count("/") == "crm://tickets/88/comments".count("/")
    assert uri.startswith("crm://tickets/")
    assert uri.endswith("/comments")
    middle = uri.removeprefix("crm://tickets/").removesuffix("/comments")
    assert uri.isascii()
    assert not set(middle) & set("/?#*\\")
    assert recode_segment(middle) == encode_segment(value) == middle


@pytest.mark.requirement("H26")
@given(HOSTILE, HOSTILE)
def test_two_values_never_share_a_resource(first: str, second: str) -> None:
    """The encoding loses nothing, so the URI bounds the whole value."""
    try:
        same = encode_segment(first) == encode_segment(second)
    except NotCanonical:
        return
    assert same == (first == second)


@pytest.mark.requirement("H27")
@pytest.mark.parametrize(
    "value", ["*", "**", "8*", "{id}", "${id}", "88?x=1", "88#x", "88&x", "a:b@c", "a+b", "100% sure", "é"]
)
def test_a_value_that_looks_like_syntax_stays_a_value(value: str) -> None:
    """Wildcards, placeholders, queries and fragments inside a value are encoded, and only that value
    matches.
    """
    (found,) = resolve("read crm://tickets/{id}", {"id": value})
    access = Access("read", found.removeprefix("read "))
    literal = Pattern.parse(f"read crm://tickets/{encode_segment(value)}")
    assert literal.matches(access)
    assert not literal.matches(Access("read", "crm://tickets/88"))
    assert Pattern.parse("read crm://tickets/*").matches(access)


@pytest.mark.requirement("H28")
@pytest.mark.parametrize(
    "value", [True, False, 1.0, 88.5, float("nan"), None, [], {}, ["88"], {"id": 88}, b"88", 2**300, object()]
)
def test_a_value_that_is_neither_string_nor_integer_is_refused(value: Any) -> None:
    """A boolean, float, null or container would be written differently by different tools."""
    with pytest.raises(NotCanonical, match="the argument id is refused: got"):
        resolve("read crm://tickets/{id}", {"id": value})


@pytest.mark.requirement("H28")
@pytest.mark.parametrize("kind", ["path", "url", "email"])
@pytest.mark.parametrize("value", [88, True, None, ["/x"], {"path": "/x"}, b"/x"])
def test_a_kind_reads_strings_only(kind: str, value: Any) -> None:
    """A path, URL or address that is not a string is refused."""
    template = {"path": "read file://{x}", "url": "read {x}", "email": "read mailto:{x}"}[kind]
    with pytest.raises(NotCanonical, match="the argument x is refused: got"):
        resolve(template, {"x": value}, kinds={"x": kind})


@pytest.mark.requirement("H28")
def test_an_integer_and_its_digits_name_the_same_resource() -> None:
    """88 and "88" are one ticket; 088 is another."""
    assert resolve("read crm://tickets/{id}", {"id": 88}) == ["read crm://tickets/88"]
    assert resolve("read crm://tickets/{id}", {"id": "88"}) == ["read crm://tickets/88"]
    assert resolve("read crm://tickets/{id}", {"id": -1}) == ["read crm://tickets/-1"]
    assert resolve("read crm://tickets/{id}", {"id": "088"}) == ["read crm://tickets/088"]


@pytest.mark.requirement("H28")
def test_a_missing_argument_that_names_a_resource_is_refused() -> None:
    """Nothing is filled in: a call without its resource is not resolved."""
    with pytest.raises(NotCanonical, match="the argument id is missing"):
        resolve("read crm://tickets/{id}", {})


@pytest.mark.requirement("H29")
def test_a_call_that_names_no_resource_is_refused() -> None:
    """Empty lists and absent optional arguments do not slip past `resources` as nothing to check."""
    nothing: tuple[dict[str, Any], ...] = ({"ids": []}, {"ids": ()})
    for arguments in nothing:
        with pytest.raises(NotCanonical, match="names no resource"):
            resolve("read crm://tickets/{ids*}", arguments)
    with pytest.raises(NotCanonical, match="names no resource"):
        resolve(["read file://{path?}", "read mailto:{to*?}"], {"path": None}, kinds={"path": "path", "to": "email"})


@pytest.mark.requirement("H29")
def test_every_item_of_a_list_is_judged_and_one_bad_item_refuses_the_call() -> None:
    """A list is as good as its worst item, nested fields included."""
    template, kinds = "write gh://{owner}/{repo}/{files*.path}", {"files.path": "path"}
    arguments = {"owner": "acme", "repo": "infra", "files": [{"path": "a/b.txt"}, {"path": "c"}]}
    assert resolve(template, arguments, kinds=kinds) == ["write gh://acme/infra/a/b.txt", "write gh://acme/infra/c"]
    for bad in ({"path": "../c"}, {"path": "/etc"}, {"path": 1}, {}, "c", None, {"path": ""}):
        with pytest.raises(NotCanonical, match=r"files\.path is refused"):
            resolve(template, {**arguments, "files": [{"path": "a"}, bad]}, kinds=kinds)


@pytest.mark.requirement("H29")
def test_more_than_a_thousand_accesses_are_too_large() -> None:
    """The cap is counted over the whole call and has its own code."""
    template = "read crm://tickets/{ids*}"
    assert len(resolve(template, {"ids": list(range(1000))})) == 1000
    with pytest.raises(NotCanonical) as error:
        resolve(template, {"ids": list(range(1001))})
    assert error.value.code == "too_large"
    with pytest.raises(NotCanonical) as error:
        resolve([template, "write crm://tickets/{others*}"], {"ids": list(range(600)), "others": list(range(600))})
    assert error.value.code == "too_large"


@pytest.mark.requirement("H29")
@pytest.mark.parametrize("value", [{"a": 1}, None, 1.5, {1, 2}])
def test_a_list_argument_that_is_no_list_is_refused(value: Any) -> None:
    """An object or set has no order that the tool and the gate would share."""
    with pytest.raises(NotCanonical, match="the argument ids is refused"):
        resolve("read crm://tickets/{ids*}", {"ids": value})


def test_optional_segments_are_left_out_from_the_end_only() -> None:
    """An absent middle would move later values into its place."""
    template = "read git://acme/{repo?}/{branch?}"
    assert resolve(template, {}) == ["read git://acme"]
    assert resolve(template, {"repo": "x", "branch": None}) == ["read git://acme/x"]
    assert resolve(template, {"repo": "x", "branch": "main"}) == ["read git://acme/x/main"]
    with pytest.raises(NotCanonical, match="branch is given without repo"):
        resolve(template, {"branch": "main"})


def test_text_beside_a_placeholder_and_a_path_before_more_segments_are_kept() -> None:
    """A segment may have fixed text around its value, and the root directory adds no slash of its own."""
    assert resolve("read crm://ticket-{id}.json", {"id": 8}) == ["read crm://ticket-8.json"]
    kinds = {"folder": "path"}
    assert resolve("write out://{folder}/{name}", {"folder": "/a b", "name": "x"}, kinds=kinds) == [
        "write out:///a%20b/x"
    ]
    assert resolve("write out://{folder}/{name}", {"folder": "/", "name": "x"}, kinds=kinds) == ["write out:///x"]
    assert resolve("read s3://{bucket}/{key*}", {"bucket": "b", "key": "a/b"}, kinds={"key": "path"}) == [
        "read s3://b/a/b"
    ]


def test_a_fixed_access_comes_from_no_argument() -> None:
    """Some tools touch the same thing whatever they are told."""
    assert resolve("read mail://inbox", {"anything": object()}) == ["read mail://inbox"]


def test_equal_accesses_are_named_once() -> None:
    """A call that touches one thing twice touches one thing."""
    assert resolve(["read crm://t/{a}", "read crm://t/{b}"], {"a": 1, "b": "1"}) == ["read crm://t/1"]
