"""Hostile e-mail addresses: one bare address is one recipient."""

from __future__ import annotations

from email.utils import getaddresses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.errors import NotCanonical
from remit.resources.access import Access, Pattern
from remit.resources.catalogue import Catalogue
from remit.resources.emails import canonical_email, domain_of

CATALOGUE = Catalogue.load(
    {
        "tools": {
            "mail.send": {
                "accesses": ["send mailto:{to*}", "send mailto:{cc*?}"],
                "kinds": {"to": "email", "cc": "email"},
                "secret": ["token"],
            }
        }
    }
)


def accesses(**arguments: object) -> list[str]:
    """The accesses of a call that sends mail."""
    found = CATALOGUE.entry("mail.send")
    assert found is not None
    return [str(access) for access in found.resolve(arguments)]


def refused(address: str) -> None:
    with pytest.raises(NotCanonical):
        canonical_email(address)
    with pytest.raises(NotCanonical, match="the argument to is refused"):
        accesses(to=[address])


def test_a_bare_address_is_kept_as_written() -> None:
    """Plus signs, dots and apostrophes are ordinary; the local part keeps its case."""
    for address in ("bob@acme.com", "Bob.O'Neil+tag@mail.acme.com", "a_b-c=d@xn--cme-5cd.com"):
        assert canonical_email(address) == address
    assert domain_of("bob@mail.acme.com") == "mail.acme.com"


@pytest.mark.requirement("H23")
@pytest.mark.parametrize(
    "address",
    ["Bob <bob@acme.com>", "<bob@acme.com>", "bob@acme.com, eve@evil.com", "bob@acme.com;eve@evil.com",
    "bob@acme.com eve@evil.com",
     "bob@acme.com\neve@evil.com", "bob@acme.com\r\nBcc: eve@evil.com", "bob@acme.com(eve@evil.com)",
     "team: bob@acme.com;",
     "bob@acme.com,", " bob@acme.com", "bob@acme.com ", "mailto:bob@acme.com", "bob@acme.com?bcc=eve@evil.com"],
)  # fmt: skip
def test_more_than_one_bare_address_in_a_string_is_refused(address: str) -> None:
    """Display names, lists, groups, comments and headers are not an address."""
    refused(address)


@pytest.mark.requirement("H24")
@pytest.mark.parametrize(
    "address",
    ["eve%evil.com@acme.com", "evil.com!eve@acme.com",
    "@evil.com:bob@acme.com", '"bob"@acme.com', '"a@b"@acme.com', "-oQ/tmp@acme.com",
     "|cmd@acme.com", "/etc/x@acme.com", "bob@[127.0.0.1]", "bob@127.0.0.1", "bob@localhost", ".bob@acme.com",
     "bob.@acme.com",
     "a..b@acme.com", "@acme.com", "bob@", "bob", "", "b@o@acme.com", "a" * 65 + "@acme.com", "bob\\@acme.com",
     "`x`@acme.com"],
)  # fmt: skip
def test_relay_syntax_options_and_quoting_are_refused(address: str) -> None:
    """Old routing syntax, mailer options and address literals reach somebody else."""
    refused(address)


@pytest.mark.requirement("H25")
@pytest.mark.parametrize(
    "address",
    ["bob@\u0430cme.com", "bob@ACME.com", "bob@acme.com.", "bob@acme\u3002com", "b\u043eb@acme.com",
    "bob@xn--acme.com", "bob\u200b@acme.com",
     "bob\uff20acme.com", "bob@acme.\ud800"],
)  # fmt: skip
def test_a_look_alike_address_is_refused(address: str) -> None:
    """Other scripts, letter case and dots in a domain never pass for the real one."""
    refused(address)


@pytest.mark.requirement("H25")
def test_a_domain_pattern_matches_the_whole_domain() -> None:
    """Neither a longer domain nor a subdomain is the granted one."""
    pattern = Pattern.parse("send mailto:*@acme.com")
    assert pattern.matches(Access("send", "mailto:bob@acme.com"))
    for uri in (
        "mailto:bob@acme.com.evil.com",
        "mailto:bob@evilacme.com",
        "mailto:bob@mail.acme.com",
        "mailto:bob@acmeXcom",
    ):
        assert not pattern.matches(Access("send", uri)), uri


@pytest.mark.requirement("H29")
def test_recipients_are_one_access_each() -> None:
    """Every recipient of every list is judged, once, in order; an absent optional list adds none."""
    assert accesses(to=["a@acme.com", "b@acme.com"]) == ["send mailto:a@acme.com", "send mailto:b@acme.com"]
    assert accesses(to="a@acme.com", cc=["b@acme.com", "a@acme.com"]) == accesses(to=["a@acme.com", "b@acme.com"])
    assert accesses(to=["a@acme.com"], cc=None) == ["send mailto:a@acme.com"]


@given(st.text(alphabet=st.sampled_from("ab@.,;<>\"' %!-+/\\|\u0430\n"), max_size=20))
def test_an_accepted_address_is_one_recipient_to_another_parser(text: str) -> None:
    """Nothing that is accepted could be split into two recipients, or read as a display name."""
    try:
        found = canonical_email(f"a{text}@acme.com")
    except NotCanonical:
        return
    assert getaddresses([found]) == [("", found)]
    assert not set(found) & set(',;<>()"[]: \n\r\t!%|/\\')
    assert domain_of(found) == "acme.com"
