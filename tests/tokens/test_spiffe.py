"""SPIFFE IDs are read as the specification writes them, and in no other way."""

from __future__ import annotations

import pytest

import remit
from remit.errors import IdentityError, NotCanonical
from remit.parties import Agent, Workload, check_agent
from remit.spiffe import parse_spiffe_id


@pytest.mark.parametrize(
    "text",
    [
        "spiffe://acme.com/agents/triage",
        "spiffe://td_1.a-b/x",
        "spiffe://1.2.3.4/service",
        "spiffe://acme.com/A/b.c/...",
        f"spiffe://{'a' * 255}/x",
    ],
)
def test_well_formed_id_comes_back_byte_for_byte(text: str) -> None:
    """Nothing is folded or normalised."""
    assert str(parse_spiffe_id(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "acme.com/agents/triage",
        "SPIFFE://acme.com/a",
        "Spiffe://acme.com/a",
        "spiffe:/acme.com/a",
        "spiffe:///a",
        "spiffe://",
        "spiffe://acme.com",
        "spiffe://acme.com/",
        "spiffe://Acme.com/a",
        "spiffe://acme.com:8443/a",
        "spiffe://user@acme.com/a",
        "spiffe://acme.com/a/",
        "spiffe://acme.com//a",
        "spiffe://acme.com/./a",
        "spiffe://acme.com/a/..",
        "spiffe://acme.com/a%2Fb",
        "spiffe://acme.com/a?b",
        "spiffe://acme.com/a#b",
        "spiffe://acme.com/a b",
        "spiffe://acme.com/ä",
        "spiffe://äcme.com/a",
        "spiffe://acme.com/a\n",
        "spiffe://acme.com\\a/b",
        f"spiffe://{'a' * 256}/x",
        f"spiffe://acme.com/{'a' * 2048}",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """Scheme, trust domain, path and length each have one spelling."""
    with pytest.raises(NotCanonical, match="is not a SPIFFE ID"):
        parse_spiffe_id(text)


def test_agents_and_workloads_have_to_be_well_named() -> None:
    """An agent is a SPIFFE ID or agent:NAME; a workload is a SPIFFE ID or text without spaces."""
    assert check_agent("agent:triage") == "agent:triage"
    assert Workload("process:ravi@host/1").as_record() == {
        "id": "process:ravi@host/1",
        "authenticated": False,
        "method": "claimed",
    }
    for wrong in ("triage", "spiffe://acme.com", "agent:", "spiffe://acme.com/a/../b"):
        with pytest.raises(IdentityError):
            Agent(wrong)
    for wrong in ("", "two words", "SPIFFE://acme.com/a", "spiffe://acme.com/a/"):
        with pytest.raises(IdentityError):
            Workload(wrong)


def test_grant_with_a_malformed_spiffe_id_is_refused(app: remit.App) -> None:
    """The mistake is found where the grant is written, not where it is used."""
    grant = {"task": "t", "principal": "user:a@acme.com", "expires_in": "1h", "tools": {"a.b": "any"}}
    with pytest.raises(remit.GrantError, match="no empty segment"):
        app.issue({**grant, "agent": "spiffe://acme.com/agents//triage"}, credential="user:a@acme.com")
