"""Terms: what is signed is canonical, reads back as the same authority, and says when it ends."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import rfc8785

from remit.authority.compile import compile_grant
from remit.authority.source import read_grant
from remit.authority.templates import instantiate
from remit.authority.terms import GrantTerms, issue_terms
from remit.errors import GrantError
from tests.authority.granting import NOW, issued, written
from tests.authority.test_words import OWN, WORDS

FULL: dict[str, Any] = {
    "issue": {"by": ["role:support"], "per_principal": "20/day", "open": 3},
    "bindings": {"change": "CHG-7", "build": 12345678901234567890, "dry": True},
    "self": OWN,
    "limits": {
        "calls": 30,
        "denied": 20,
        "shared": [{"tools": ["t.t"], "calls": 3, "sum": {"argument": "a", "max": 0.3}}],
    },
    "delegation": {"depth": 1},
}
TOOLS: dict[str, Any] = {
    "t.t": {
        "name": "one",
        "arguments": {"a": {"min": 0, "max": 1e22}},
        "injected": {"tenant": ["acme"]},
        "limits": {"calls": 2, "sum": [{"argument": "a", "max": 2.5}]},
        "approval": {"by": ["role:finance", "user:bob@acme.com"], "reason": "because", "expires_in": "1h30m"},
        "observe": True,
    },
    "crm.*": {"resources": ["read crm://tickets/*"], "other_arguments": "any"},
}


def test_terms_read_back_as_themselves() -> None:
    """Canonical bytes hold everything."""
    terms = issued(written(TOOLS, **FULL))

    again = GrantTerms.from_bytes(terms.canonical)

    assert again == terms
    assert again.digest == terms.digest
    assert terms.canonical == rfc8785.dumps(json.loads(terms.canonical))
    assert compile_grant(again).limit_ids == compile_grant(terms).limit_ids


@pytest.mark.parametrize("constraint", [row[0] for row in WORDS], ids=repr)
def test_every_constraint_reads_back(constraint: Any) -> None:
    """Typed literals, big integers, 2.0 and `self` included."""
    terms = issued(written({"t.t": {"arguments": {"a": constraint}}}, self=OWN))

    again = GrantTerms.from_bytes(terms.canonical)

    assert again.tools["t.t"][0].arguments == terms.tools["t.t"][0].arguments


def test_typed_values_are_exposed() -> None:
    """For those who enforce what the grant says."""
    terms = issued(written(TOOLS, **FULL))
    rule = terms.issue

    assert rule is not None
    assert rule.by == ("role:support",)
    assert rule.per_principal is not None
    assert (rule.per_principal.count, rule.per_principal.period, rule.open) == (20, timedelta(days=1), 3)
    assert dict(terms.bindings) == FULL["bindings"]
    assert (terms.delegation.depth, terms.delegation.may_use) == (1, True)
    assert terms.limits.denied == 20
    assert (terms.template, terms.template_digest, terms.parent) == (None, None, None)


class TestWindow:
    """Every grant ends."""

    def test_expires_in_counts_from_issue_or_from_the_beginning(self) -> None:
        """From `not_before`, where there is one."""
        later = "2026-11-24T12:00:00+01:00"

        assert issued(written({"t.t": "any"})).expires == NOW + timedelta(minutes=20)
        assert issued(written({"t.t": "any"}, not_before=later)).expires == datetime(2026, 11, 24, 11, 20, tzinfo=UTC)

    def test_moments_are_utc(self) -> None:
        """Whatever offset they were written with."""
        terms = issued(written({"t.t": "any"}, expires_in=None, expires="2026-11-24T12:00:00.5-02:00"))

        assert terms.expires == datetime(2026, 11, 24, 14, 0, 0, 500_000, tzinfo=UTC)
        assert terms.not_before == NOW

    def test_a_window_that_is_over_is_refused(self) -> None:
        """Such a grant would authorise nothing."""
        with pytest.raises(GrantError, match="before it is issued"):
            issued(written({"t.t": "any"}, expires_in=None, expires="2026-11-24T08:00:00Z"))

    def test_time_of_issue_is_stored_in_utc(self) -> None:
        """Another zone is another spelling of the same moment."""
        result = instantiate(read_grant(written({"t.t": "any"})), {})
        zone = timezone(timedelta(hours=2))
        terms = [
            issue_terms(result, grant_id="g", version=1, issued_at=moment, issuer="user:a")
            for moment in (NOW, NOW.astimezone(zone))
        ]

        assert terms[0].canonical == terms[1].canonical


class TestStoredBytes:
    """Bytes that are not what this version writes are refused."""

    @pytest.mark.parametrize(
        "content",
        [b"", b"{}", b"[]", b'{"v":1}', b'{"v":2}', b"null"],
    )
    def test_something_else_is_refused(self, content: bytes) -> None:
        """As `grant_invalid`, not as a traceback."""
        with pytest.raises(GrantError):
            GrantTerms.from_bytes(content)

    def test_an_unknown_word_is_refused(self) -> None:
        """A constraint of a later version is not half understood."""
        content = issued(written({"t.t": {"arguments": {"a": {"max": 5}}}})).canonical

        with pytest.raises(GrantError, match="no constraint word"):
            GrantTerms.from_bytes(content.replace(b'{"max":5}', b'{"maximum":5}'))

    def test_other_spacing_is_refused(self) -> None:
        """One content, one digest."""
        content = issued(written({"t.t": "any"})).canonical

        with pytest.raises(GrantError, match="canonical form"):
            GrantTerms.from_bytes(content.replace(b'"v":1', b'"v": 1'))
