"""`python -m benchmarks.speed.guardrails`: one decision, with and without 20 guardrails, beside cedarpy called naively.

All in one process and one run, in turn, on the same kind of call: a refund under a grant with two clauses. "Memo hit":
the attributes that guardrails read came before. "Miss": the amount, the resource or both never did; or the session's
facts neither, so that every guardrail is asked. "Chain": the grant was handed on once, and both links are judged.
Naive: cedarpy as its readme shows it, the same 20 forbids parsed once, the whole call as context, its answer read and
nothing else decided. Calls are made shortly before they are judged, as an agent's are.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import cedarpy
from benchmarks.speed.workload import CATALOGUE, GRANT, TOOL

from remit.authority.calls import CallView, Facts, SessionFacts
from remit.authority.cedar import CedarGuardrails
from remit.authority.compile import CompiledGrant, compile_grant
from remit.authority.decide import decide
from remit.authority.source import read_grant
from remit.authority.templates import instantiate
from remit.authority.terms import GrantTerms, issue_terms
from remit.resources.catalogue import Catalogue

TURN = 100
KNOWN = range(64)
NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)

POLICIES = """
@id("org/refund-cap") forbid(principal, action == Action::"payments.refund", resource)
when { context.input.amount.greaterThan(decimal("10000.0")) };
@id("org/refund-currency") forbid(principal, action == Action::"payments.refund", resource)
unless { ["EUR", "USD", "GBP"].contains(context.input.currency) };
@id("org/refund-interns") forbid(principal in Role::"intern", action in Action::"payments.*", resource);
@id("org/refund-hours") @approval("role:duty") forbid(principal, action in Action::"payments.*", resource)
unless { context.session.hour_utc >= 6 && context.session.hour_utc < 20 };
@id("org/egress") @approval("role:data-owner") forbid(principal, action, resource)
when { context.session.labels.contains("confidential") && context.access.kind == "mailto" };
@id("org/secret-folders") forbid(principal, action, resource)
when { context.access.segments.containsAny([".ssh", ".aws", ".gnupg", "secrets"]) || context.access.name like "*.pem" };
@id("org/production") @approval("role:duty") forbid(principal, action, resource)
when { context.session.environment == "production" && context.access.action != "read" };
@id("org/payout") forbid(principal, action == Action::"payments.payout", resource)
when { context.input.amount.greaterThan(decimal("500.0")) };
@id("org/mail-hours") @approval("role:duty") forbid(principal, action == Action::"mail.send", resource)
unless { context.session.hour_utc >= 6 && context.session.hour_utc < 20 };
@id("org/mail-size") forbid(principal, action == Action::"mail.send", resource)
when { context.input.subject == "" };
@id("org/sql-admin") forbid(principal, action in Action::"db.*", resource) when { context.access.action == "admin" };
@id("org/sql-ddl") @approval("role:dba") forbid(principal, action in Action::"db.*", resource)
when { context.access.action == "ddl" };
@id("org/shell") forbid(principal, action in Action::"shell.*", resource);
@id("org/deploy") forbid(principal, action == Action::"deploy.apply", resource)
unless { context.session.bindings has change };
@id("org/crm-export") forbid(principal, action == Action::"crm.export", resource)
when { context.input.rows > 1000 };
@id("org/crm-delete") @approval("role:crm") forbid(principal, action == Action::"crm.delete", resource);
@id("org/chat") forbid(principal, action == Action::"chat.post", resource)
when { context.input.channel == "general" };
@id("org/calendar") forbid(principal, action == Action::"calendar.invite", resource)
when { context.session.tool_call_count > 20 };
@id("org/fs-write") forbid(principal, action == Action::"fs.write_file", resource)
when { context.access.segments.contains(".git") };
@id("org/http") forbid(principal, action == Action::"http.get", resource)
unless { context.access.host == "api.acme.com" };
"""


def main() -> int:
    """Measure and print a table; `--json` the plain numbers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.guardrails", description=__doc__.split("\n")[0])
    parser.add_argument("--calls", type=int, default=3_000, metavar="N", help="calls of each kind")
    parser.add_argument("--json", action="store_true", help="plain numbers instead of a table")
    options = parser.parse_args()
    found = measure(options.calls)
    if options.json:
        print(json.dumps(found, indent=1))
        return 0
    print(f"{found['machine']}; {found['guardrails']} guardrails, of which {found['slice']} may speak of the tool\n")
    print("| one decision | p05 µs | p50 µs | p99 µs |\n|---|---:|---:|---:|")
    for name, numbers in found["us"].items():
        print(f"| {name} | " + " | ".join(f"{numbers[key]:.1f}" for key in ("p05", "p50", "p99")) + " |")
    return 0


def measure(calls: int) -> dict[str, Any]:
    """p05, p50 and p99 in µs of each way, taken in turns of `TURN` calls."""
    grant, child = granted("g-1"), granted("g-2", parent="g-1")
    alone, chain = (compile_grant(grant),), (compile_grant(grant), compile_grant(child))
    guardrails = CedarGuardrails.from_text(POLICIES)
    policies = cedarpy.PolicySet.from_str(f"permit(principal, action, resource);{POLICIES}")
    make = Refunds()

    def decided(call: Call, links: Sequence[CompiledGrant] = alone, under: CedarGuardrails | None = None) -> None:
        decision = decide(links, call.view, call.when, under)
        assert decision.effect == "permit", decision

    def guarded(call: Call) -> None:
        decided(call, alone, guardrails)

    def called_naively(call: Call) -> None:
        result = cedarpy.is_authorized(request(call.view), policies, ENTITIES)
        assert result.decision is cedarpy.Decision.Allow, result.diagnostics.errors

    ways: dict[str, tuple[Callable[[], Call], Callable[[Call], object]]] = {
        "Remit, grant only": (make.known, decided),
        "Remit, chain of two grants": (make.known, lambda call: decided(call, chain)),
        "Remit, grant and 20 guardrails, memo hit": (make.known, guarded),
        "Remit, chain of two grants and 20 guardrails, memo hit": (
            make.known,
            lambda call: decided(call, chain, guardrails),
        ),
        "Remit, grant and 20 guardrails, miss (new amount)": (make.new_amount, guarded),
        "Remit, grant and 20 guardrails, miss (new resource)": (make.new_order, guarded),
        "Remit, grant and 20 guardrails, miss (new amount and resource)": (make.new, guarded),
        "Remit, grant and 20 guardrails, miss (everything, the session's facts too)": (make.strange, guarded),
        "cedarpy called naively, 20 guardrails alone": (make.known, called_naively),
    }
    for _ in KNOWN:
        guarded(make.known())
    taken: dict[str, list[int]] = {name: [] for name in ways}
    for _ in range(max(1, calls // TURN)):
        for name, (made, way) in ways.items():
            taken[name] += timed(way, [made() for _ in range(TURN)])
    return {
        "machine": f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}",
        "guardrails": len(guardrails.policies),
        "slice": sum(policy.covers(TOOL) for policy in guardrails.policies),
        "us": {name: spread(values) for name, values in taken.items()},
    }


def granted(grant_id: str, *, parent: str | None = None) -> GrantTerms:
    """The grant of the workload, or one below it with the same bounds."""
    written = GRANT if parent else {**GRANT, "delegation": {"depth": 1}}
    return issue_terms(
        instantiate(read_grant(written), {}),
        grant_id=grant_id, version=1, issued_at=NOW, issuer="user:ravi@acme.com", parent=parent,
    )  # fmt: skip


class Call(NamedTuple):
    """One call, and the facts it is decided on."""

    view: CallView
    when: Facts


class Refunds:
    """Makes calls: amounts of at most four digits after the point, orders by number."""

    def __init__(self) -> None:
        entry = Catalogue.load(CATALOGUE).entry(TOOL)
        assert entry is not None
        self._entry = entry
        self._turn = itertools.cycle(KNOWN)
        self._next = itertools.count(max(KNOWN) + 1)
        self._when = Facts(NOW, "open", frozenset(), {"g-1/calls": "17", "g-2/calls": "17"})

    def known(self) -> Call:
        """One of few."""
        number = next(self._turn)
        return self._call(number, number)

    def new_amount(self) -> Call:
        """An amount that never came before, of an order that did."""
        return self._call(next(self._next), next(self._turn))

    def new_order(self) -> Call:
        """The other way round."""
        return self._call(next(self._turn), next(self._next))

    def new(self) -> Call:
        """Both new."""
        number = next(self._next)
        return self._call(number, number)

    def strange(self) -> Call:
        """Both new, in a session whose facts never came before either."""
        call = self.new()
        around = SessionFacts(environment=f"test-{call.view.arguments['order']}")
        return call._replace(when=dataclasses.replace(call.when, around=around))

    def _call(self, amount: int, order: int) -> Call:
        arguments = {
            "order": f"ord_{order}",
            "amount": round(0.01 + amount * 0.0001, 4),
            "currency": ("EUR", "USD", "GBP")[amount % 3],
            "reason": f"Item {order} arrived damaged; the customer attached a photo and asked for a refund.",
        }
        accesses, covered = self._entry.resolve(arguments), self._entry.covered
        view = CallView(TOOL, arguments, arguments, frozenset(), {}, accesses, covered, None, True)
        return Call(view, self._when)


ENTITIES: list[dict[Any, Any]] = [
    {"uid": {"type": "User", "id": "ravi@acme.com"}, "attrs": {"id": "user:ravi@acme.com", "roles": []}, "parents": []},
    {
        "uid": {"type": "Action", "id": TOOL},
        "attrs": {},
        "parents": [{"type": "Action", "id": "payments.*"}],
    },
]


def request(view: CallView) -> dict[str, Any]:
    """The call as one would hand it to cedarpy by hand: everything, as dicts."""
    amount = {"__extn": {"fn": "decimal", "arg": f"{view.arguments['amount']:.4f}"}}
    [access] = view.accesses
    session = {
        "hour_utc": 9, "labels": [], "environment": "unspecified", "bindings": {}, "tool_call_count": 0,
    }  # fmt: skip
    return {
        "principal": 'User::"ravi@acme.com"',
        "action": f'Action::"{TOOL}"',
        "resource": 'Agent::"spiffe://acme.com/agents/refunds"',
        "context": {
            "input": {**view.arguments, "amount": amount},
            "session": session,
            "access": {
                "action": access.action, "uri": access.uri, "kind": "payments", "host": "orders",
                "segments": [view.arguments["order"]], "name": view.arguments["order"],
            },
        },
    }  # fmt: skip


def timed(way: Callable[[Call], object], calls: Sequence[Call]) -> list[int]:
    """Nanoseconds of each."""
    found = []
    clock = time.perf_counter_ns
    for call in calls:
        begun = clock()
        way(call)
        found.append(clock() - begun)
    return found


def spread(nanoseconds: list[int]) -> dict[str, float]:
    """Percentiles in µs."""
    ordered = sorted(nanoseconds)
    return {f"p{at:02}": ordered[len(ordered) * at // 100] / 1000 for at in (5, 50, 99)}


if __name__ == "__main__":
    sys.exit(main())
