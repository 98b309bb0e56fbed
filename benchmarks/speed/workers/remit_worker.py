"""Remit, through its public API: a session under a grant, `call` and `acall`, both records durable.

`decide` alone goes below it, to `match` and `settle`, on the very call that `Session.call` would hand them.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import breakdown
import serving
from workload import CALLS, CATALOGUE, GRANT, TOOL, refund

import remit
from remit import prepare
from remit.authority.calls import Facts
from remit.authority.decide import match, settle
from remit.calls import CallRequest

SESSIONS = 32

folder = Path(tempfile.mkdtemp(dir=sys.argv[1]))
app = remit.open(f"sqlite:///{folder / 'remit.db'}", development=True, catalogue=CATALOGUE)


def opened(limits: dict[str, Any]) -> list[Any]:
    """Sessions under one grant, whose small refunds have `limits` beside the grant's own."""
    document = json.loads(json.dumps(GRANT))
    if limits:
        document["tools"][TOOL][0]["limits"] = limits
    grant = app.issue(document, credential="user:olga@acme.com")
    return [app.session(grant).open() for _ in range(SESSIONS)]


sessions = opened({})
summed = opened({"sum": {"argument": "amount", "max": 1_000_000_000}})[0]


def solo(n: int) -> object:
    return sessions[0].call(TOOL, CALLS[n & 63], run=refund)


def solo_summed(n: int) -> object:
    return summed.call(TOOL, CALLS[n & 63], run=refund)


def shared(n: int) -> object:
    return sessions[n % SESSIONS].call(TOOL, CALLS[n & 63], run=refund)


async def arefund(order: str, amount: float, currency: str, reason: str) -> dict[str, Any]:
    return refund(order, amount, currency, reason)


async def ashared(n: int) -> object:
    return await sessions[n % SESSIONS].acall(TOOL, CALLS[n & 63], run=arefund)


def decider() -> Any:
    """`match` and `settle` on calls that are resolved already, with the facts as the store would give them."""
    session = sessions[0]
    chain = session.chain
    views = [prepare.prepare(app.deployment, session, CallRequest(TOOL, arguments, refund)).view for arguments in CALLS]
    counters = dict.fromkeys(chain[0].limit_ids, "17")
    facts = Facts(datetime.now(UTC), "open", frozenset(), counters)

    def decide(n: int) -> object:
        decision = settle(chain, match(chain, views[n & 63]), facts)
        if decision.effect != "permit":
            raise PermissionError(decision.reason)
        return decision

    return decide


decide = decider()


def leaves(asked: serving.Mapping[str, Any]) -> dict[str, Any]:
    """Write the leaves of real calls to a file, as pairs, for the bare writer. Gives bytes per call, and on disk."""
    before = _stored()
    for n in range(len(CALLS)):
        solo(n)
    intents: dict[str, bytes] = {}
    pairs = []
    for record in app.records(sessions[0].id):
        if record.type == "call.intent":
            intents[record.data["call"]] = record.body
        elif record.type == "call.outcome":
            pairs.append((intents.pop(record.data["call"]), record.body))
    chosen = pairs[-len(CALLS) :]
    encoded = [[base64.b64encode(body).decode() for body in pair] for pair in chosen]
    Path(asked["path"]).write_text(json.dumps(encoded), "utf-8")
    if "records" in asked:
        Path(asked["records"]).write_text(json.dumps(_records(set(_flat(chosen)))), "utf-8")
    return {
        "intent": sum(len(intent) for intent, _ in chosen) / len(chosen),
        "outcome": sum(len(outcome) for _, outcome in chosen) / len(chosen),
        "stored": (_stored() - before) / len(CALLS),
    }


def _flat(pairs: list[tuple[bytes, bytes]]) -> list[bytes]:
    return [body for pair in pairs for body in pair]


def _records(bodies: set[bytes]) -> list[list[dict[str, Any]]]:
    """These records as `ledger_worker` makes them anew: type, data, private values, and the leaf's commitments."""
    found = [
        {
            "type": record.type,
            "data": record.data,
            "private": record.disclosed(),
            "named": sorted({key for one in record.private.values() for key in one.get("each", ())}),
            "commitments": record.private,
        }
        for record in app.records(sessions[0].id)
        if record.body in bodies
    ]
    return [found[at : at + 2] for at in range(0, len(found), 2)]


def _stored() -> int:
    """Bytes in database and log after a checkpoint has moved everything into the database."""
    import sqlite3

    store = sqlite3.connect(folder / "remit.db")
    store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    [pages] = store.execute("PRAGMA page_count").fetchone()
    [size] = store.execute("PRAGMA page_size").fetchone()
    store.close()
    return int(pages * size)


def lag(asked: serving.Mapping[str, Any]) -> dict[str, Any]:
    """Many `acall`s at once, each once: how late the event loop is meanwhile."""
    return serving.tasks(ashared, asked["callers"], asked["callers"])


def prove() -> None:
    """What is measured must refuse, record and verify."""
    try:
        sessions[0].call(TOOL, {**CALLS[0], "amount": 51.0}, run=refund)
    except remit.ApprovalRequired:
        pass
    else:
        raise SystemExit("an amount above the clause's bound passed: this set-up measures nothing")
    solo(0)
    kinds = [record.type for record in app.records(sessions[0].id)]
    if kinds[-3:] != ["approval.requested", "call.intent", "call.outcome"]:
        raise SystemExit(f"the records are {kinds}: this set-up measures nothing")


def verify(asked: serving.Mapping[str, Any]) -> dict[str, Any]:
    """The ledger that the whole run has written verifies, and how fast, records per second."""
    import time

    began = time.perf_counter()
    size = app.verify().size
    return {"size": size, "rate": size / (time.perf_counter() - began)}


if __name__ == "__main__":
    os.chdir(folder)
    prove()
    serving.serve(
        {
            "decide": lambda asked: serving.latencies(decide, asked["calls"]),
            "off": lambda asked: serving.cost(decide, asked["calls"]),
            "solo": lambda asked: serving.cost(solo, asked["calls"]),
            "summed": lambda asked: serving.cost(solo_summed, asked["calls"]),
            "threads": lambda asked: serving.threads(shared, asked["callers"], asked["calls"]),
            "tasks": lambda asked: serving.tasks(ashared, asked["callers"], asked["calls"]),
            "lag": lag,
            "leaves": leaves,
            "breakdown": lambda asked: breakdown.measure(solo, asked["calls"]),
            "verify": verify,
        },
        {"name": "Remit", "version": "this checkout"},
    )
