"""`python -m benchmarks.speed.guardrails`: one decision, with and without 20 guardrails, beside cedarpy called naively.

All in one process and one run, in turn, on the same calls: a refund whose amount varies, under a grant with two
clauses. "Memo hit": the attributes that guardrails read came before. "Miss": never. Naive: cedarpy as its readme shows
it, the same 20 forbids parsed once, the whole call as context, its answer read and nothing else decided.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import cedarpy
from benchmarks.speed.workload import CATALOGUE, GRANT, TOOL

from remit.authority.calls import CallView, Facts
from remit.authority.cedar import CedarGuardrails
from remit.authority.compile import compile_grant
from remit.authority.decide import decide
from remit.authority.source import read_grant
from remit.authority.templates import instantiate
from remit.authority.terms import issue_terms
from remit.resources.catalogue import Catalogue

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
when { context.access.segments.containsAny([".ssh", ".aws", ".gnupg", "secrets"]) };
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
    """p05, p50 and p99 in µs of each way, taken in turns of 100 calls."""
    terms = issue_terms(
        instantiate(read_grant(GRANT), {}), grant_id="g-1", version=1, issued_at=NOW, issuer="user:ravi@acme.com"
    )
    chain = (compile_grant(terms),)
    guardrails, few = CedarGuardrails.from_text(POLICIES), views(range(64))
    when = Facts(NOW, "open", frozenset(), {"g-1/calls": "17"})
    fresh = iter(views(range(64, 64 + calls + 100)))
    strange = iter(views(range(100_000, 100_100 + calls), orders=1_000_000))
    hits = iter(few * (calls // 64 + 3))
    alone = iter(few * (calls // 64 + 3))
    policies, naive = cedarpy.PolicySet.from_str(f"permit(principal, action, resource);{POLICIES}"), iter(few * calls)

    def decided(view: CallView, under: CedarGuardrails | None) -> None:
        decision = decide(chain, view, when, under)
        assert decision.effect == "permit", decision

    def called_naively(view: CallView) -> None:
        result = cedarpy.is_authorized(request(view), policies, ENTITIES)
        assert result.decision is cedarpy.Decision.Allow, result.diagnostics.errors

    for view in few:
        decided(view, guardrails)
    ways: dict[str, Callable[[], object]] = {
        "Remit, grant only": lambda: decided(next(alone), None),
        "Remit, grant and 20 guardrails, memo hit": lambda: decided(next(hits), guardrails),
        "Remit, grant and 20 guardrails, miss (new amount)": lambda: decided(next(fresh), guardrails),
        "Remit, grant and 20 guardrails, miss (new amount and resource)": lambda: decided(next(strange), guardrails),
        "cedarpy called naively, guardrails alone": lambda: called_naively(next(naive)),
    }
    taken: dict[str, list[int]] = {name: [] for name in ways}
    for _ in range(max(1, calls // 100)):
        for name, way in ways.items():
            taken[name] += timed(way, 100)
    return {
        "machine": f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}",
        "guardrails": len(guardrails.policies),
        "slice": sum(policy.covers(TOOL) for policy in guardrails.policies),
        "us": {name: spread(values) for name, values in taken.items()},
    }


def views(numbers: Sequence[int], orders: int = 7) -> list[CallView]:
    """Refunds whose amounts are all different, of so many orders."""
    entry = Catalogue.load(CATALOGUE).entry(TOOL)
    assert entry is not None
    found = []
    for number in numbers:
        arguments = {
            "order": f"ord_{number % orders}",
            "amount": round(0.01 + number % 4900 * 0.01, 2),
            "currency": ("EUR", "USD", "GBP")[number % 3],
            "reason": f"Item {number} arrived damaged; the customer attached a photo and asked for a refund.",
        }
        found.append(
            CallView(TOOL, arguments, arguments, frozenset(), {}, entry.resolve(arguments), entry.covered, None, True)
        )
    return found


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


def timed(way: Callable[[], object], times: int) -> list[int]:
    """Nanoseconds of each of so many runs."""
    found = []
    clock = time.perf_counter_ns
    for _ in range(times):
        begun = clock()
        way()
        found.append(clock() - begun)
    return found


def spread(nanoseconds: list[int]) -> dict[str, float]:
    """Percentiles in µs."""
    ordered = sorted(nanoseconds)
    return {f"p{at:02}": ordered[len(ordered) * at // 100] / 1000 for at in (5, 50, 99)}


if __name__ == "__main__":
    sys.exit(main())
