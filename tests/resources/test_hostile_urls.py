"""Hostile URLs and hosts: one grammar, so that gate and client cannot read the same text differently."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AnyUrl

from remit.errors import NotCanonical
from remit.resources.access import Access, Pattern
from remit.resources.catalogue import Catalogue
from remit.resources.urls import Url, canonical_host, parse_url

CATALOGUE = Catalogue.load({"tools": {"http.get": {"accesses": ["read {url}"], "kinds": {"url": "url"}}}})


def access(url: str) -> Access:
    """The access of a call that fetches `url`."""
    found = CATALOGUE.entry("http.get")
    assert found is not None
    (only,) = found.resolve({"url": url})
    return only


def refused(url: str) -> None:
    with pytest.raises(NotCanonical):
        parse_url(url, schemes=("https", "http"))
    with pytest.raises(NotCanonical, match="the argument url is refused"):
        access(url)


def test_a_plain_url_is_read_into_its_parts() -> None:
    """Scheme, host, port, path and query come out as written; an absent path is the root."""
    assert parse_url("https://api.acme.com/v1/x?y=1") == Url("https", "api.acme.com", 443, "/v1/x", "y=1")
    assert parse_url("https://api.acme.com:8443") == Url("https", "api.acme.com", 8443, "/", None)
    assert parse_url("http://localhost:8000/", schemes=("http",)).port == 8000
    assert str(parse_url("https://acme.com?")) == "https://acme.com/?"
    assert access("https://acme.com").uri == "https://acme.com/"


def test_a_scheme_outside_the_list_is_refused() -> None:
    """`http` has to be asked for, and nothing but web URLs reaches a catalogue entry."""
    with pytest.raises(NotCanonical, match="got the URL scheme http, expected https"):
        parse_url("http://acme.com/")
    for url in ("ftp://acme.com/", "file:///etc/passwd", "gopher://acme.com/", "javascript://acme.com/%0aalert(1)"):
        refused(url)


@pytest.mark.requirement("H14")
@pytest.mark.parametrize(
    "url",
    ["https://acme.com@evil.com/", "https://acme.com:443@evil.com/", "https://user:pw@acme.com/",
    "https://@acme.com/",
     "https://acme.com%40evil.com/", "https://acme.com%2f@evil.com/"],
)  # fmt: skip
def test_a_url_with_user_info_is_refused(url: str) -> None:
    """What stands before an @ is not the host, whatever it looks like."""
    refused(url)


@pytest.mark.requirement("H15")
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "169.254.169.254", "[::1]",
    "[::ffff:7f00:1]",
     "1.1", "0", "0x", "acme.com.1", "::1"],
)  # fmt: skip
def test_a_numeric_host_is_refused(host: str) -> None:
    """Addresses have many spellings; a host is a name."""
    refused(f"https://{host}/")
    with pytest.raises(NotCanonical):
        canonical_host(host)


@pytest.mark.requirement("H16")
@pytest.mark.parametrize(
    "host",
    ["\u0430cme.com", "acme\u3002com", "acm\u0435.com", "\uff41cme.com", "acme.com\u2024evil.com", "xn--acme.com",
    "xn--",
     "xn--acme-.com", "xn--a-0hb.com.", "ab--cd.com", "ACME.com", "acme.com.", ".acme.com", "acme..com", "-acme.com",
     "acme-.com", "ac_me.com", "a" * 64 + ".com", ".".join(["a" * 60] * 5), "acme.com\u200b"],
)  # fmt: skip
def test_a_look_alike_or_malformed_host_is_refused(host: str) -> None:
    """A host is lower-case ASCII in one spelling; other scripts come as a valid xn-- label."""
    refused(f"https://{host}/")


@pytest.mark.requirement("H16")
def test_a_look_alike_host_in_its_ascii_form_is_another_host() -> None:
    """The Cyrillic `аcme.com` in xn-- form is readable, and matches nothing but itself."""
    spelled = "https://xn--cme-5cd.com/"
    assert access(spelled).uri == spelled
    assert not Pattern.parse("read https://acme.com/**").matches(access(spelled))


@pytest.mark.requirement("H17")
@pytest.mark.parametrize(
    "url",
    ["https:\\\\evil.com/", "https://acme.com\\@evil.com/", "https:/acme.com/", "https:acme.com", "//acme.com/",
    "acme.com",
     "HTTPS://acme.com/", "https ://acme.com/", " https://acme.com/", "https://acme.com/ ", "https://acme.com/a b",
     "https://acme.com/\t", "https://acme.com/\r\nHost: evil.com", "ht\ttps://acme.com/", "https://acme.com/\x00",
     "https://", "https:///x",
     "https://?x", "https://acme.com/\u00e9", "https://acme.com/<x>", "https://acme.com/{x}", "https://acme.com/a|b",
     ""],
)  # fmt: skip
def test_a_url_outside_the_strict_grammar_is_refused(url: str) -> None:
    """Backslashes, white space, controls and missing slashes are what parsers repair differently."""
    refused(url)


@pytest.mark.requirement("H18")
@pytest.mark.parametrize(
    "path",
    ["/../x", "/a/../b", "/.", "/a/.", "/..", "/a/..;/b", "/a/..;x=1/b", "/.;/x", "/%2e%2e/x", "/%2E%2E/x", "/a/%2e",
    "/a%2fb", "/a%2Fb",
     "/a%5cb", "/a%5Cb", "/a%252fb", "/a%25", "/a%00", "/a%0D%0A", "//a", "/a//b", "/a///"],
)  # fmt: skip
def test_a_url_whose_path_means_another_path_is_refused(path: str) -> None:
    """Dot segments, empty segments and separators in escapes are resolved by some and kept by others."""
    refused(f"https://acme.com{path}")


@pytest.mark.requirement("H19")
@pytest.mark.parametrize(
    "url",
    ["https://acme.com:443/", "http://acme.com:80/", "https://acme.com:/", "https://acme.com:0443/",
    "https://acme.com:0/",
     "https://acme.com:65536/", "https://acme.com:+443/", "https://acme.com:8\u0664/", "https://acme.com:80:81/",
     "https://acme.com/#x", "https://acme.com#@evil.com/", "https://acme.com/?x#"],
)  # fmt: skip
def test_a_url_with_a_second_spelling_of_its_port_or_a_fragment_is_refused(url: str) -> None:
    """A port is named only when it is not the default, and a fragment is never sent."""
    refused(url)


@pytest.mark.requirement("H19")
@pytest.mark.parametrize(
    "rest",
    [
        "/%61dmin",
        "/?%61=1",
        "/%c3%a9",
        "/%C3%a9",
        "/%",
        "/%4",
        "/%zz",
        "/?x=%",
        "/?x=%2e",
        "/?x=%7E",
        "/?x=a b",
        "/?x=it's",
    ],
)
def test_a_url_with_needless_lower_case_or_broken_escapes_is_refused(rest: str) -> None:
    """`%61` and `a` are the same letter; only one of them is canonical."""
    refused(f"https://acme.com{rest}")


@pytest.mark.requirement("H19")
@pytest.mark.parametrize(
    "rest", ["/%C3%A9", "/a%20b", "/?x=%2F&y=%25&z=%5B", "/?next=https://b.com/?x", "/a;b=1/@x", "/a/", "/%3B"]
)
def test_a_url_with_the_escapes_it_needs_is_kept_as_written(rest: str) -> None:
    """Canonical text is returned unchanged."""
    assert access(f"https://acme.com{rest}").uri == f"https://acme.com{rest}"


@pytest.mark.requirement("H21")
def test_a_query_is_part_of_the_resource() -> None:
    """A pattern without a query does not cover one, unless it ends in ** or says ?*."""
    users = "https://api.acme.com/v1/users"
    cases = {
        "read https://api.acme.com/v1/users": [True, False],
        "read https://api.acme.com/v1/*": [True, False],
        "read https://api.acme.com/v1/users?admin=true": [False, True],
        "read https://api.acme.com/v1/users?*": [True, True],
        "read https://api.acme.com/v1/*?*": [True, True],
        "read https://api.acme.com/**": [True, True],
        "read https://api.acme.com/v1/users/**": [True, True],
    }
    for text, expected in cases.items():
        pattern = Pattern.parse(text)
        assert [pattern.matches(access(users)), pattern.matches(access(f"{users}?admin=true"))] == expected, text


@pytest.mark.requirement("H21")
def test_a_path_inside_a_query_does_not_satisfy_a_pattern() -> None:
    """A granted path in the query of another URL grants nothing."""
    pattern = Pattern.parse("read https://api.acme.com/*/users")
    assert not pattern.matches(access("https://api.acme.com/x?y=/users"))
    assert not Pattern.parse("read https://api.acme.com/**/users").matches(access("https://api.acme.com/x?y=/a/users"))


@pytest.mark.requirement("H22")
@pytest.mark.parametrize(
    "url",
    ["https://api.acme.com.evil.com/v1/x", "https://evil.com/api.acme.com/v1/x", "https://api.acme.com:8443/v1/x",
     "http://api.acme.com/v1/x", "https://xapi.acme.com/v1/x", "https://api.acme.com/v12",
     "https://api-acme.com/v1/x"],
)  # fmt: skip
def test_a_host_that_resembles_a_granted_one_is_not_matched(url: str) -> None:
    """Scheme, host and port all have to be the granted ones."""
    assert not Pattern.parse("read https://api.acme.com/v1/**").matches(access(url))


@pytest.mark.requirement("H10")
def test_an_overlong_url_is_refused() -> None:
    """8,192 characters is the most."""
    assert access("https://acme.com/" + "a" * 8000)
    refused("https://acme.com/" + "a" * 8192)


URLISH = st.text(alphabet=st.sampled_from("ac.me:/@?#%2f5c \\[]0x;&=\n\u0430-_"), max_size=40)


@given(URLISH)
def test_an_accepted_url_means_the_same_to_other_parsers(text: str) -> None:
    """Python's parser and a WHATWG one find the same host, port, path and query, and accepting is stable."""
    try:
        found = parse_url(f"https://{text}")
    except NotCanonical:
        return
    loose = urlsplit(f"https://{text}")
    assert (loose.hostname, loose.port or 443, loose.path or "/") == (found.host, found.port, found.path)
    assert loose.query == (found.query or "")
    assert (loose.username, loose.fragment) == (None, "")
    browser = AnyUrl(f"https://{text}")
    assert (browser.host, browser.port, browser.path) == (found.host, found.port, found.path)
    assert (browser.query or "") == (found.query or "")
    assert parse_url(str(found)) == found


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789-", max_size=20))
def test_a_punycode_label_is_accepted_or_refused_and_never_breaks(label: str) -> None:
    """Whatever follows xn--, the answer is a host or NotCanonical."""
    try:
        assert canonical_host(f"xn--{label}.com") == f"xn--{label}.com"
    except NotCanonical:
        return
