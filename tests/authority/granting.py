"""What the tests of the authority share: one moment, a way to a compiled grant, and a way to one decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from remit.authority.compile import CompiledGrant, compile_grant
from remit.authority.decide import CallView, Decision, Facts, decide
from remit.authority.source import read_grant
from remit.authority.templates import instantiate
from remit.authority.terms import GrantTerms, issue_terms
from remit.errors import NotCanonical
from remit.resources.access import Access
from remit.resources.catalogue import Catalogue

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)

CATALOGUE = Catalogue.load(
    {
        "tools": {
            "crm.read_ticket": {"accesses": ["read crm://tickets/{id}"]},
            "crm.comment": {"accesses": ["write crm://tickets/{id}"]},
            "fs.read_file": {"accesses": ["read file://{path}"], "kinds": {"path": "path"}},
            "fs.write_file": {"accesses": ["write file://{path}"], "kinds": {"path": "path"}},
            "mail.deliver": {"accesses": ["send mailto:{to*}"], "kinds": {"to": "email"}, "secret": ["token"]},
        }
    }
)
NOTHING = Catalogue.load()


def written(tools: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A grant as a mapping, with everything but its tools filled in; `None` takes a key out."""
    grant: dict[str, Any] = {
        "task": "Refund order 4711 and tell the customer",
        "principal": "user:alice@acme.com",
        "agent": "agent:support",
        "expires_in": "20m",
        "tools": tools,
        **more,
    }
    return {key: value for key, value in grant.items() if value is not None}


def issued(source: Any, *, grant_id: str = "g-1", parameters: Mapping[str, Any] | None = None) -> GrantTerms:
    """Terms issued at NOW."""
    result = instantiate(read_grant(source), parameters or {})
    return issue_terms(result, grant_id=grant_id, version=1, issued_at=NOW, issuer="user:alice@acme.com")


def compiled(tools: Mapping[str, Any], *, grant_id: str = "g-1", **more: Any) -> CompiledGrant:
    """A compiled grant for these tools."""
    return compile_grant(issued(written(tools, **more), grant_id=grant_id))


def facts(**changes: Any) -> Facts:
    """An open session at NOW with nothing spent."""
    values: dict[str, Any] = {"now": NOW, "session": "open", "revoked": frozenset(), "counters": {}}
    return Facts(**{**values, **changes})


def view(
    tool: str,
    arguments: Mapping[str, Any],
    *,
    catalogue: Catalogue = CATALOGUE,
    defaults: Mapping[str, Any] | None = None,
    injected: Mapping[str, Any] | None = None,
) -> CallView:
    """A call as the gate would judge it, with its accesses found by the catalogue."""
    effective = {**(defaults or {}), **arguments}
    defaulted = frozenset(name for name, value in (defaults or {}).items() if effective[name] == value)
    entry = catalogue.entry(tool)
    accesses: tuple[Access, ...] = ()
    unresolved: str | None = None
    if entry is not None:
        try:
            accesses = entry.resolve(effective)
        except NotCanonical as error:
            unresolved = str(error)
    return CallView(
        tool=tool,
        arguments=arguments,
        effective=effective,
        defaulted=defaulted,
        injected=injected or {},
        accesses=accesses,
        covered=entry.covered if entry is not None else frozenset(),
        unresolved=unresolved,
        catalogued=entry is not None and entry.yields_accesses,
        secret=entry.secret if entry is not None else frozenset(),
    )


def decided(
    grant: CompiledGrant | Sequence[CompiledGrant],
    tool: str,
    arguments: Mapping[str, Any],
    *,
    when: Facts | None = None,
    **how: Any,
) -> Decision:
    """The decision about one call."""
    chain = (grant,) if isinstance(grant, CompiledGrant) else tuple(grant)
    return decide(chain, view(tool, arguments, **how), when or facts())


def judged(constraint: Any, value: Any, **more: Any) -> Decision:
    """The decision about a call whose one argument is bounded by `constraint`."""
    return decided(compiled({"t.t": {"arguments": {"value": constraint}}}, **more), "t.t", {"value": value})
