"""Tenuo, as its README shows it: a warrant for the tool, `@guard` on the function, receipts through a `Runtime`."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import tempfile
from pathlib import Path

import serving
from tenuo import AnyValue, OneOf, Pattern, Range, Runtime, SigningKey, Warrant, configure, guard
from tenuo.exceptions import TenuoError
from tenuo.identity import HolderIdentity
from tenuo.receipts import FileReceiptSink
from workload import CALLS, TOOL, refund

issuer, holder = SigningKey.generate(), HolderIdentity.generate()
configure(trusted_roots=[issuer.public_key], audit_log=False)
warrant = (
    Warrant.mint_builder()
    .capability(
        TOOL,
        order=Pattern("ord_*"),
        amount=Range(min=0.01, max=50),
        currency=OneOf(["EUR", "USD", "GBP"]),
        reason=AnyValue(),
    )
    .holder(holder.public_key)
    .ttl(3600)
    .mint(issuer)
)
governed = guard(tool=TOOL)(refund)


def one(n: int) -> object:
    return governed(**CALLS[n & 63])


folder = Path(tempfile.mkdtemp(dir=sys.argv[1]))
off = Runtime(holder, [issuer.public_key], receipts="off")
collecting = Runtime(holder, [issuer.public_key], receipts="collect", receipt_maxsize=1_000_000)
sink = FileReceiptSink(folder / "receipts.jsonl")


def hand_over() -> None:
    """Every receipt signed so far reaches the sink, which appends and fsyncs it."""
    receipts = collecting.drain_receipts()
    for receipt in receipts:
        sink.handle(receipt)
    collecting.acknowledge_receipts(len(receipts))


def one_durable(n: int) -> object:
    result = one(n)
    hand_over()
    return result


def guarded(asked: serving.Mapping[str, object]) -> dict[str, object]:
    with off.session_scope(off.session_from_wire(warrant)):
        return serving.latencies(one, int(str(asked["calls"])))


def off_cost(asked: serving.Mapping[str, object]) -> dict[str, object]:
    with off.session_scope(off.session_from_wire(warrant)):
        return serving.cost(one, int(str(asked["calls"])))


def collect(asked: serving.Mapping[str, object]) -> dict[str, object]:
    calls = int(str(asked["calls"]))
    with collecting.session_scope(collecting.session_from_wire(warrant)):
        found = serving.cost(one, calls)
    receipts = collecting.acknowledge_receipts(len(collecting.drain_receipts()))
    assert receipts == calls, f"{receipts} receipts for {calls} calls"
    return found


def durable(asked: serving.Mapping[str, object]) -> dict[str, object]:
    calls, before = int(str(asked["calls"])), _lines()
    with collecting.session_scope(collecting.session_from_wire(warrant)):
        found = serving.cost(one_durable, calls)
    assert _lines() - before == calls, f"{_lines() - before} receipts in the file for {calls} calls"
    return found


def _lines() -> int:
    return sink.path.read_bytes().count(b"\n") if sink.path.exists() else 0


def prove() -> None:
    """A comparison with something that does not refuse would be worth nothing."""
    with off.session_scope(off.session_from_wire(warrant)):
        one(0)
        try:
            governed(**{**CALLS[0], "amount": 51.0})
        except TenuoError:
            return
    raise SystemExit("Tenuo let an amount above the warrant's range pass: this set-up measures nothing")


if __name__ == "__main__":
    os.chdir(folder)
    prove()
    serving.serve(
        {"decide": guarded, "off": off_cost, "collect": collect, "durable": durable},
        {"name": "Tenuo", "version": importlib.metadata.version("tenuo")},
    )
