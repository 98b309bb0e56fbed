"""Whether `narrower` ever accepts a pair of which the child admits something that the parent does not."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from benchmarks.narrower import generate
from benchmarks.narrower.generate import Maker

from remit.authority.calls import CallView
from remit.authority.compile import compile_grant
from remit.authority.constraints import Constraint, Reader
from remit.authority.decide import match
from remit.authority.narrower import narrower
from remit.authority.narrower.resources import covers
from remit.authority.narrower.values import Pair, TooMuch
from remit.authority.refusal import Refusal
from remit.authority.source import read_grant
from remit.authority.sources import Found, Sourced
from remit.authority.templates import instantiate
from remit.authority.terms import GrantTerms, issue_terms
from remit.authority.words.base import Scope
from remit.errors import GrantError, NotCanonical
from remit.resources.access import Access, Pattern

ISSUED = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@dataclass
class Tally:
    """What came of the pairs: how many, how many accepted, over which words, and every counterexample."""

    pairs: int = 0
    accepted: int = 0
    tried: int = 0
    words: Counter[str] = field(default_factory=Counter)
    accepted_words: Counter[str] = field(default_factory=Counter)
    counterexamples: list[str] = field(default_factory=list)


def constraints(count: int, seed: int, tally: Tally) -> None:
    """Pairs of constraints on one value, tried with values of every kind."""
    chance = random.Random(seed)
    maker = Maker(chance)
    reader = Reader("source", tuple(generate.OWN))
    done = 0
    while done < count:
        first, parent = _readable(maker, reader, None)
        _, child = _readable(maker, reader, first)
        done += 1
        tally.pairs += 1
        tally.words.update(parent.names() | child.names())
        sources = _findings(chance, (*parent.selectors(), *child.selectors()))
        task = chance.choice(generate.CHILD_TASKS)
        try:
            inside = Pair(_scope(task), _scope(generate.TASK)).inside(child, parent)
        except TooMuch:
            continue
        if not inside:
            continue
        tally.accepted += 1
        tally.accepted_words.update(parent.names())
        mine, theirs = child.compile(_scope(task, sources)), parent.compile(_scope(generate.TASK, sources))
        for value in (*generate.VALUES, *_values(chance, sources)):
            tally.tried += 1
            if mine(value) is None and theirs(value) is not None:
                tally.counterexamples.append(
                    f"child {child.to_json()} (task {task!r}) admits {value!r}; parent {parent.to_json()} does not"
                )


def _readable(maker: Maker, reader: Reader, like: Any) -> tuple[Any, Constraint]:
    while True:
        changed = like is not None and maker.chance.random() < 0.65
        node = maker.changed(like) if changed else maker.optional(maker.constraint())
        if changed and maker.chance.random() < 0.3:
            node = maker.changed(node)
        try:
            return node, reader.constraint(node)
        except (Refusal, TypeError, OverflowError):
            continue


def _scope(task: str, sources: dict[str, Found] | None = None) -> Scope:
    return Scope(
        addresses=tuple(generate.OWN),
        task=task,
        bindings=generate.BINDINGS,
        parameters=generate.PARAMETERS,
        sources=sources or {},
    )


def _findings(chance: random.Random, selectors: tuple[Any, ...]) -> dict[str, Found]:
    found = {}
    for selector in selectors:
        values = chance.sample([one for one in generate.VALUES if one is not None and one != {}], chance.randint(0, 2))
        found[selector.key] = Found(len(values), tuple(Sourced(value, "r") for value in values))
    return found


def _values(chance: random.Random, sources: dict[str, Found]) -> list[Any]:
    found = [each.value for one in sources.values() for each in one.values]
    texts = [one for one in generate.VALUES if isinstance(one, str)]
    for _ in range(12):
        found.append(chance.choice(texts)[: chance.randint(0, 6)] + chance.choice(texts))
        found.append(chance.choice(generate.NUMBERS) + chance.choice([0, 0.5, -1, 1]))
        found.append([chance.choice(generate.VALUES) for _ in range(chance.randint(0, 3))])
        found.append(
            {key: chance.choice(generate.VALUES) for key in chance.sample(generate.KEYS, chance.randint(0, 3))}
        )
    return [*found, *([one] for one in found)]


def patterns(count: int, seed: int, tally: Tally) -> None:
    """Pairs of resource patterns, tried with URIs."""
    chance = random.Random(seed)
    uris = generate.uris(chance)
    for _ in range(count):
        try:
            parent, child = Pattern.parse(generate.resources(chance)), Pattern.parse(generate.resources(chance))
        except (GrantError, NotCanonical):
            continue
        tally.pairs += 1
        tally.words["resources"] += 1
        if not covers(parent, child):
            continue
        tally.accepted += 1
        tally.accepted_words["resources"] += 1
        for uri in uris:
            tally.tried += 1
            access = Access(child.action, uri)
            if child.matches(access) and not parent.matches(access):
                tally.counterexamples.append(f"child {child} matches {uri}; parent {parent} does not")


def grants(count: int, seed: int, tally: Tally) -> None:
    """Pairs of whole grants, tried with calls: clauses, unnamed and injected arguments, resources, wildcards."""
    chance = random.Random(seed)
    maker = Maker(chance)
    done = 0
    while done < count:
        node = _tools(maker)
        parent = _terms(node, 2)
        child = _terms({key: [_changed(maker, one) for one in clauses] for key, clauses in node.items()}, 1)
        if parent is None or child is None:
            continue
        done += 1
        tally.pairs += 1
        tally.words["clauses"] += 1
        if narrower(child, parent):
            continue
        tally.accepted += 1
        tally.accepted_words["clauses"] += 1
        mine, theirs = compile_grant(child), compile_grant(parent)
        for _ in range(60):
            call = _call(chance)
            tally.tried += 1
            if match((mine,), call).failure is None and match((theirs,), call).failure is not None:
                tally.counterexamples.append(f"child {child.document.to_json()} admits {call}; its parent does not")


def _tools(maker: Maker) -> dict[str, list[Any]]:
    chance = maker.chance
    keys = chance.sample(["crm.read", "crm.write", "crm.*"], chance.randint(1, 2))
    return {key: [_clause(maker, f"c{place}") for place in range(chance.randint(1, 2))] for key in keys}


def _clause(maker: Maker, name: str) -> dict[str, Any]:
    chance = maker.chance
    found: dict[str, Any] = {"name": name}
    found["arguments"] = {key: maker.optional(maker.constraint(1)) for key in maker.some(["a", "b"])}
    if chance.random() < 0.3:
        found["injected"] = {"u": maker.constraint(0)}
    if chance.random() < 0.3:
        found["other_arguments"] = "any"
    if chance.random() < 0.6:
        found["resources"] = maker.either([generate.resources(chance) for _ in range(2)], "any")
    return found


def _changed(maker: Maker, clause: dict[str, Any]) -> dict[str, Any]:
    chance = maker.chance
    found = {**clause, "arguments": dict(clause["arguments"])}
    for _ in range(chance.randint(0, 2)):
        roll = chance.random()
        name = chance.choice(["a", "b"])
        if roll < 0.4 and name in found["arguments"]:
            found["arguments"][name] = maker.optional(maker.changed(found["arguments"][name]))
        elif roll < 0.6:
            found["arguments"][name] = maker.constraint(1)
        elif roll < 0.7 and len(found["arguments"]) > 1:
            found["arguments"].pop(name, None)
        elif roll < 0.8:
            found["resources"] = [generate.resources(chance)]
        elif roll < 0.9:
            found.pop(chance.choice(["injected", "other_arguments", "resources"]), None)
        else:
            found["injected"] = {"u": maker.constraint(0)}
    return found


def _terms(tools: dict[str, list[Any]], depth: int) -> GrantTerms | None:
    document = {
        "task": generate.TASK,
        "principal": "user:alice@acme.com",
        "agent": "spiffe://acme.com/agents/a",
        "expires_in": "1h",
        "self": generate.OWN,
        "bindings": generate.BINDINGS,
        "delegation": {"depth": depth},
        "tools": tools,
    }
    try:
        terms = issue_terms(
            instantiate(read_grant(document), {}),
            grant_id="g-1",
            version=1,
            issued_at=ISSUED,
            issuer="user:alice@acme.com",
        )
        compile_grant(terms)
    except (GrantError, Refusal, TypeError, OverflowError):
        return None
    return terms


def _call(chance: random.Random) -> CallView:
    arguments = {name: chance.choice(generate.VALUES) for name in chance.sample(["a", "b", "c"], chance.randint(0, 3))}
    accesses = tuple(Access("read", uri) for uri in chance.sample(_URIS, chance.choice([0, 1, 1, 2])))
    return CallView(
        tool=chance.choice(["crm.read", "crm.write", "crm.other"]),
        arguments=arguments,
        effective=arguments,
        defaulted=frozenset(name for name in arguments if chance.random() < 0.1),
        injected={"u": chance.choice(generate.VALUES)} if chance.random() < 0.6 else {},
        accesses=accesses,
        covered=frozenset(name for name in arguments if accesses and chance.random() < 0.3),
        unresolved=None,
        catalogued=bool(accesses) or chance.random() < 0.5,
    )


_URIS = generate.uris(random.Random(0))
