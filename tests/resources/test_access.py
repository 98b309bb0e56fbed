"""Patterns: what one line of `resources` matches, and how it must be written."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.errors import GrantError
from remit.resources.access import Access, Pattern
from remit.resources.catalogue import Catalogue


def matches(pattern: str, access: str) -> bool:
    """Whether `pattern` allows `access`, both written as `action uri`."""
    action, _, uri = access.partition(" ")
    return Pattern.parse(pattern).matches(Access(action, uri))


def test_an_access_reads_as_action_and_uri() -> None:
    """`str`, kind and order are what reports rely on."""
    access = Access("read", "crm://tickets/88")
    assert (str(access), access.kind) == ("read crm://tickets/88", "crm")
    assert sorted([Access("write", "a://x"), Access("read", "b://x")])[0].action == "read"


@pytest.mark.parametrize(
    ("pattern", "access", "expected"),
    [
        ("read crm://tickets/88", "read crm://tickets/88", True),
        ("read crm://tickets/88", "write crm://tickets/88", False),
        ("read crm://tickets/88", "read crm://tickets/889", False),
        ("read crm://tickets/88", "read crm://tickets/88/x", False),
        ("read crm://tickets/88", "read crmx://tickets/88", False),
        ("read crm://tickets/*", "read crm://tickets/88", True),
        ("read crm://tickets/*", "read crm://tickets", False),
        ("read crm://tickets/*", "read crm://tickets/88/x", False),
        ("read crm://*/88", "read crm://tickets/88", True),
        ("read crm://*/88", "read crm:///88", False),
        ("read crm://tickets/*/comments", "read crm://tickets/88/comments", True),
        ("read crm://tickets/*/comments", "read crm://tickets/88/x/comments", False),
        ("read crm://tickets/**", "read crm://tickets", True),
        ("read crm://tickets/**", "read crm://tickets/88/x", True),
        ("read crm://tickets/**", "read crm://ticketsX", False),
        ("read crm://**", "read crm://anything/at/all", True),
        ("read crm://**/comments", "read crm://comments", True),
        ("read crm://**/comments", "read crm://a/b/comments", True),
        ("read crm://**/comments", "read crm://a/xcomments", False),
        ("read crm://a/**/z", "read crm://a/z", True),
        ("read crm://a/**/z", "read crm://a/b/c/z", True),
        ("read crm://a/**/z", "read crm://az", False),
        ("read crm://a/*/**", "read crm://a/b", True),
        ("read crm://a/*/**", "read crm://a", False),
        ("read file:///**", "read file:///", True),
        ("read file:///**", "read file:///etc/passwd", True),
        ("read file:///srv/*/x", "read file:///srv/a/x", True),
        ("read file:///", "read file:///etc", False),
        ("read git:///srv/app", "read git:///srv/app", True),
        ("read https://acme.com", "read https://acme.com/", True),
        ("read https://*/x", "read https://acme.com/x", True),
        ("read https://acme.com/a.b", "read https://acme.com/aXb", False),
        ("send mailto:*", "send mailto:bob@acme.com", True),
        ("send mailto:*@acme.com", "send mailto:bob@acme.com", True),
        ("send mailto:bob@*", "send mailto:bob@acme.com", True),
        ("send mailto:bob@acme.com", "send mailto:bobby@acme.com", False),
    ],
)  # fmt: skip
def test_a_pattern_matches_segment_by_segment(pattern: str, access: str, expected: bool) -> None:
    """`*` is one segment, `**` any number of them, and everything else is itself."""
    assert matches(pattern, access) is expected


def test_a_literal_may_be_written_plainly_or_encoded() -> None:
    """Both spellings are one pattern, the one that accesses are encoded in."""
    for written in (
        "read file:///srv/donn\u00e9es/a(1)",
        "read file:///srv/donn%C3%A9es/a%281%29",
        "read file:///srv/donn%c3%a9es/a%281)",
    ):
        assert Pattern.parse(written).text == "read file:///srv/donn%C3%A9es/a%281%29"
    assert Pattern.parse("read crm://users/bob@acme.com") == Pattern.parse("read crm://users/bob%40acme.com")
    assert len({Pattern.parse("read crm://a%2A"), Pattern.parse("read crm://a%2a")}) == 1
    assert Pattern.parse("read crm://%2A").segments == ("%2A",)
    assert not matches("read crm://%2A", "read crm://x")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected an action word"), ("read", "expected an action word"),
        ("* crm://x", "expected an action word"),
        ("Read crm://x", "expected an action word"), ("read  crm://x", "expected an action word"),
        ("read crm://a b", "a space is %20"), ("read crm://x ", "expected an action word"),
        ("read tickets", "no scheme"),
        ("read tickets/88", "no scheme"), ("read CRM://x", "no scheme"), ("read crm:x", "names nothing"),
        ("read crm://", "names nothing"),
        ("read crm://a*", "a literal * is %2A"), ("read crm://a/***", "a literal * is %2A"),
        ("read crm://**/a/**", "at most once"),
        ("read crm://a//b", "empty segment"), ("read crm://a/", "for everything below"),
        ("read file://srv/x", "three slashes"),
        ("read file:///srv/../x", "means a directory"), ("read file:///srv/%2e%2e/x", "means a directory"),
        ("read crm://a%2Fb", "slash"), ("read crm://%", "two hexadecimal digits"), ("read crm://%ff", "UTF-8"),
        ("read crm://e\u0301", "normal form C"), ("read file:///~/x", "~"),
        ("read crm://a?b", "which only web URLs have"),
        ("read crm://a#b", "which no resource has"), ("read https://ACME.com/", "lower-case"),
        ("read https://*.acme.com/", "a literal * is %2A"),
        ("read https://u@acme.com/", "user info"), ("read https://acme.com:443/", "default port"),
        ("read https://127.0.0.1/", "numeric"),
        ("read https://acme.com/%2e", "upper-case hexadecimal"), ("read https://acme.com/**?x", "covers every query"),
        ("read https://acme.com/?a b", "expected an action word"), ("read https://acme.com//x", "one segment"),
        ("send mailto:bob", "not an address"), ("send mailto:Bob <b@acme.com>", "expected an action word"),
        ("send mailto:bob@ACME.com", "lower-case"), ("send mailto:a,b@acme.com", "not one bare address"),
        ("send mailto:a,b@*", "not one bare"),
        ("read crm://" + "x" * 5000, "at most 4096"),
    ],
)  # fmt: skip
def test_a_pattern_that_could_be_misread_is_refused(text: str, says: str) -> None:
    """The sentence says what is wrong and how it is written instead."""
    with pytest.raises(GrantError, match=re.escape(says)):
        Pattern.parse(text)


@pytest.mark.parametrize(
    "text",
    ["read crm://a%2A/*", "read file:///srv/a%20b", "read https://acme.com/a(b)/**",
    "send mailto:o'b+x@acme.com",
     "send mailto:a&b@*", "read https://acme.com/x?a=%2F", "read crm://100%25", "read https://*/%3Bx?*"],
)  # fmt: skip
def test_the_canonical_text_of_a_pattern_is_a_pattern_again(text: str) -> None:
    """What a grant records of a pattern reads back as the same pattern."""
    pattern = Pattern.parse(text)
    assert Pattern.parse(pattern.text) == pattern
    assert Pattern.parse(pattern.text).segments == pattern.segments


def test_an_address_is_matched_whatever_it_is_made_of() -> None:
    """Characters that an address may have and a URI may not are encoded on both sides."""
    entry = Catalogue.load({"tools": {"m.s": {"accesses": ["send mailto:{to}"], "kinds": {"to": "email"}}}}).entry(
        "m.s"
    )
    assert entry is not None
    (access,) = entry.resolve({"to": "o'b+x@acme.com"})
    assert access.uri == "mailto:o%27b%2Bx@acme.com"
    for text in ("send mailto:o'b+x@acme.com", "send mailto:o%27b%2Bx@acme.com", "send mailto:*@acme.com"):
        assert Pattern.parse(text).matches(access)


SEGMENT = st.sampled_from(["a", "b", "ab", "a%20b", "88"])


@given(
    st.lists(st.one_of(SEGMENT, st.just("*"), st.just("**")), min_size=1, max_size=5),
    st.lists(SEGMENT, min_size=1, max_size=6),
)
def test_matching_agrees_with_its_definition(pattern: list[str], uri: list[str]) -> None:
    """The compiled test gives what a naive comparison of segments gives."""
    if pattern.count("**") > 1:
        with pytest.raises(GrantError):
            Pattern.parse("read x://" + "/".join(pattern))
        return
    assert matches("read x://" + "/".join(pattern), "read x://" + "/".join(uri)) == naive(pattern, uri)


def naive(pattern: list[str], uri: list[str]) -> bool:
    """Matching by its definition."""
    if not pattern:
        return not uri
    if pattern[0] == "**":
        return any(naive(pattern[1:], uri[count:]) for count in range(len(uri) + 1))
    return bool(uri) and pattern[0] in ("*", uri[0]) and naive(pattern[1:], uri[1:])
