"""Remit's ledger alone: records appended through `Ledger.run` and `arun`, without grant, decision or tool.

The records are those of the workload's calls: the data of their leaves, and, in the cases that say so, their private
values, which are committed to and encrypted. A call is two appends, as with `bare_worker`.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import serving

from remit.ledger import Draft, Ledger

SESSIONS = 32

folder = Path(tempfile.mkdtemp(dir=sys.argv[1]))
_, _, *named = sys.argv
url = named[0] if named else f"sqlite:///{folder / 'ledger.db'}"
home = Path(named[1]) if named[1:] else folder / "home"  # another process's: then it is that ledger
ledger = Ledger.open(url, home=home) if named[1:] else Ledger.create(url, home=home)
pairs: list[list[Mapping[str, Any]]] = []


def load(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Take the records of real calls, as pairs of intent and outcome, from the file that Remit's worker wrote."""
    pairs[:] = json.loads(Path(asked["path"]).read_text("utf-8"))
    return {"pairs": len(pairs)}


def draft(record: Mapping[str, Any], n: int, *, private: bool) -> Draft:
    """One record. Without private values its commitments stand in its data, so that the leaf is as long."""
    data = copy.copy(record["data"])
    if not private:
        data["commitments"] = record["commitments"]
    named = frozenset(record["named"])
    hidden = record["private"] if private else None
    return ledger.draft(record["type"], session=f"s-{n % SESSIONS}", data=data, private=hidden, named=named)


def appending(n: int, *, private: bool) -> None:
    for record in pairs[n % len(pairs)]:
        made = draft(record, n, private=private)
        ledger.run(lambda txn, made=made: txn.append(made))  # type: ignore[misc]


async def aappending(n: int, *, private: bool) -> None:
    for record in pairs[n % len(pairs)]:
        made = draft(record, n, private=private)
        await ledger.arun(lambda txn, made=made: txn.append(made))  # type: ignore[misc]


def sealed(n: int) -> None:
    appending(n, private=True)


def plain(n: int) -> None:
    appending(n, private=False)


async def asealed(n: int) -> None:
    await aappending(n, private=True)


async def aplain(n: int) -> None:
    await aappending(n, private=False)


def close(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Wait for the signature over the last record; how many there are."""
    ledger.close()
    return {"closed": True}


if __name__ == "__main__":
    serving.serve(
        {
            "load": load,
            "threads": lambda asked: serving.threads(sealed, asked["callers"], asked["calls"]),
            "tasks": lambda asked: serving.tasks(asealed, asked["callers"], asked["calls"]),
            "threads_plain": lambda asked: serving.threads(plain, asked["callers"], asked["calls"]),
            "tasks_plain": lambda asked: serving.tasks(aplain, asked["callers"], asked["calls"]),
            "close": close,
        },
        {"name": "ledger", "version": "this checkout", "home": str(home)},
    )
