"""Slices, projection and memory change nothing: the answers are those of Cedar shown everything, afresh each time."""

from __future__ import annotations

import json
import random
from typing import Any

import cedarpy

from remit.authority.calls import CallView, Facts, SessionFacts
from remit.authority.cedar import CedarGuardrails
from remit.authority.cedar.encode import access_facts
from remit.authority.compile import CompiledGrant
from remit.authority.decide import decide
from remit.resources.catalogue import Catalogue
from tests.authority.granting import NOW, compiled, facts, view

CALLS = 2_500

POLICIES = """
@id("cap") forbid(principal, action == Action::"pay.refund", resource)
when { context.input.amount.greaterThan(decimal("100.0")) };
@id("cap-ask") @approval("role:finance") forbid(principal, action in Action::"pay.*", resource)
when { context.input has amount && context.input.amount.greaterThan(decimal("50.0")) };
@id("currency") forbid(principal, action == Action::"pay.refund", resource)
unless { ["EUR", "USD"].contains(context.input.currency) };
@id("night") @approval("role:duty") forbid(principal, action in [Action::"mail.send", Action::"pay.payout"], resource)
unless { context.session.hour_utc >= 6 && context.session.hour_utc < 20 };
@id("egress") forbid(principal, action, resource)
when { context.session.labels.contains("confidential") && context.access.action == "send" };
@id("many") forbid(principal, action == Action::"crm.search", resource)
when { context.input has limit && context.input.limit > 100 };
@id("tags") forbid(principal, action == Action::"crm.search", resource)
when { context.input has filter && context.input.filter has tags && context.input.filter.tags.contains("secret") };
@id("intern") forbid(principal in Role::"intern", action in Action::"pay.*", resource);
@id("secrets") forbid(principal, action, resource) when { context.access.segments.contains(".ssh") };
@id("domain") @approval("role:press") forbid(principal, action == Action::"mail.send", resource)
unless { context.access.host == "acme.com" };
@id("production") forbid(principal, action, resource)
when { context.session.environment == "production" && context.session.call_count > 3 && !context.catalogued };
@id("pair") forbid(principal, action == Action::"mail.send", resource)
when { context.accesses.contains({"action": "send", "uri": "mailto:eve@evil.example", "kind": "mailto"}) };
@id("same") forbid(principal, action == Action::"crm.search", resource)
when { context.input.query == context.input.sort };
@id("agent") forbid(principal, action, resource == Agent::"agent:rogue");
@id("branch") forbid(principal, action == Action::"fs.read_file", resource)
when { if context.session.mode == "observe" then context.access.name == "x" else context.access.kind == "ftp" };
"""

CATALOGUE = Catalogue.load(
    {
        "tools": {
            "pay.refund": {"accesses": ["refund pay://orders/{order?}"]},
            "mail.send": {"accesses": ["send mailto:{to*}"], "kinds": {"to": "email"}},
            "fs.read_file": {"accesses": ["read file://{path}"], "kinds": {"path": "path"}},
        }
    }
)
TOOLS = ("pay.refund", "pay.payout", "mail.send", "crm.search", "fs.read_file", "kb.read")
OPEN: dict[str, Any] = {"other_arguments": "any"}


def grant() -> CompiledGrant:
    """Everything is granted, so that only guardrails decide."""
    known = {"pay.refund", "mail.send", "fs.read_file"}
    return compiled(
        {tool: {**OPEN, **({"resources": "any"} if tool in known else {})} for tool in TOOLS}, expires_in="2d"
    )


def random_call(chance: random.Random) -> tuple[CallView, Facts]:
    """One call with values from a small pool, some of the wrong type, so that the memory is hit and errors happen."""
    tool = chance.choice(TOOLS)
    pool: dict[str, tuple[Any, ...]] = {
        "amount": (1, 50, 50.0, 50.5, 100, 101, 1e3, "101", None, True),
        "currency": ("EUR", "USD", "RUB", 5),
        "limit": (1, 100, 101, 100.0, 101.5, "1000"),
        "query": ("a", "b", 1),
        "sort": ("a", "b", 1.0),
        "filter": ({"tags": ["a"]}, {"tags": ["secret", 1]}, {"tags": "secret"}, {}, "secret", {"tags": None}),
        "order": ("o1", "o2"),
        "note": ({"x": 1}, "text", False),
    }
    arguments = {name: chance.choice(values) for name, values in pool.items() if chance.random() < 0.6}
    if tool == "mail.send":
        people = ("bob@acme.com", "carol@acme.com", "eve@evil.example", "x@press.example")
        arguments["to"] = chance.sample(people, chance.randint(1, 3))
    if tool == "fs.read_file":
        arguments["path"] = chance.choice(("/a/b", "/home/.ssh/id", "/home/.SSH/id", "/srv/x"))
    if tool == "pay.refund":
        arguments.setdefault("order", "o3")
    around = SessionFacts(
        labels=frozenset(chance.sample(("confidential", "internal"), chance.randint(0, 2))),
        calls=chance.randint(0, 6),
        mode=chance.choice(("enforce", "observe")),
        environment=chance.choice(("production", "test")),
        roles=frozenset(chance.sample(("intern", "support"), chance.randint(0, 1))),
    )
    moment = NOW.replace(hour=chance.choice((9, 12, 21)), minute=chance.randint(0, 59))
    return view(tool, arguments, catalogue=CATALOGUE), facts(now=moment, around=around)


class Reference:
    """Cedar itself: every policy, the whole context, no memory. It shares no code with the guardrails but the JSON of
    single accesses."""

    def __init__(self) -> None:
        parsed = json.loads(cedarpy.policies_to_json_str(POLICIES))["staticPolicies"].values()
        self.policies = {policy["annotations"]["id"]: policy for policy in parsed}
        self.each = {key for key, policy in self.policies.items() if '"attr": "access"' in json.dumps(policy)}

    def answer(self, call: CallView, when: Facts) -> tuple[set[str], bool]:
        """(ids of satisfied forbids, whether anything could not be evaluated)."""
        context: dict[str, Any] = {
            "input": self.encoded(call.effective),
            "session": {
                "hour_utc": when.now.hour,
                "labels": sorted(when.around.labels),
                "call_count": when.around.calls,
                "mode": when.around.mode,
                "environment": when.around.environment,
            },
            "catalogued": call.catalogued,
            "accesses": [{"action": one.action, "uri": one.uri, "kind": one.kind} for one in call.accesses],
        }
        contexts = [{**context, "access": access_facts(one)} for one in call.accesses] or [context]
        used = {key: policy for key, policy in self.policies.items() if call.accesses or key not in self.each}
        permit = json.loads(cedarpy.policies_to_json_str("permit(principal, action, resource);"))
        [allowed] = permit["staticPolicies"].values()
        whole = json.dumps({"templates": {}, "templateLinks": [], "staticPolicies": {**used, "permit": allowed}})
        server = {"type": "Action", "id": call.tool.partition(".")[0] + ".*"}
        known: list[dict[str, Any]] = [
            {
                "uid": {"type": "User", "id": "alice@acme.com"},
                "attrs": {"id": "user:alice@acme.com", "roles": sorted(when.around.roles)},
                "parents": [{"type": "Role", "id": role} for role in when.around.roles],
            },
            {"uid": {"type": "Action", "id": call.tool}, "attrs": {}, "parents": [server]},
        ]
        satisfied: set[str] = set()
        failed = False
        for one in contexts:
            result = cedarpy.is_authorized(
                {
                    "principal": 'User::"alice@acme.com"',
                    "action": f'Action::"{call.tool}"',
                    "resource": 'Agent::"agent:support"',
                    "context": one,
                },
                cedarpy.PolicySet.from_json_str(whole),
                known,
            )
            failed |= bool(result.diagnostics.errors) or result.decision is cedarpy.Decision.NoDecision
            satisfied.update(set(result.diagnostics.reasons) - {"permit"})
        return satisfied, failed

    def encoded(self, value: Any, name: str = "") -> Any:
        """As Cedar is to see it: `amount` as a decimal, other whole numbers as Longs."""
        if isinstance(value, dict):
            return {key: self.encoded(inner, key) for key, inner in value.items() if inner is not None}
        if isinstance(value, list):
            return [self.encoded(inner) for inner in value]
        if isinstance(value, bool | str):
            return value
        if name == "amount" or value != int(value):
            return {"__extn": {"fn": "decimal", "arg": f"{value:.4f}"}}
        return int(value)


def confused(call: CallView) -> bool:
    """Whether a number is compared with what is none: refused here, where Cedar may say false or fail."""
    compared = {"pay.refund": ("amount",), "pay.payout": ("amount",), "crm.search": ("limit",)}
    found = [call.effective.get(name) for name in compared.get(call.tool, ())]
    return any(isinstance(value, str | bool) for value in found)


def test_random_calls_are_answered_as_cedar_answers_them_shown_everything() -> None:
    """Same forbids, same errors, for thousands of calls, in one process with its memory warm."""
    chance = random.Random(20261124)
    one, guardrails, reference = grant(), CedarGuardrails.from_text(POLICIES), Reference()
    approvable = {policy.id for policy in guardrails.policies if policy.approval}
    seen: set[str] = set()
    for _ in range(CALLS):
        call, when = random_call(chance)
        decision = decide((one,), call, when, guardrails)
        if confused(call):
            assert decision.effect == "deny", (call, when, decision)
            continue
        satisfied, failed = reference.answer(call, when)
        seen |= satisfied
        said = (call, when, decision, satisfied, failed)
        if failed:
            assert (decision.effect, decision.code) == ("deny", "evaluator_error"), said
        elif satisfied - approvable:
            assert (decision.effect, decision.code) == ("deny", "guardrail"), said
            assert decision.rule in satisfied - approvable, said
        elif satisfied:
            assert decision.effect == "ask", said
            assert decision.rule in satisfied, said
        else:
            assert decision.effect == "permit", said
    assert seen >= {policy.id for policy in guardrails.policies} - {"agent"}, "too little was tried"
