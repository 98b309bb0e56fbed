"""A process that keeps every signed head that it sees, as an auditor would, and the check that all of them agree.

It reads the store every few milliseconds and writes each note to a file. Nothing of the ledger's processes tells it
anything, and none of them knows of it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.chaos.scene import forked

PACE = 0.01
"""Seconds between two looks."""


@contextmanager
def watching(url: str, path: Path) -> Iterator[None]:
    """Beside the block, keep every head in `path`."""
    pid = forked(lambda: _watch(url, path))
    try:
        yield
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


def _watch(url: str, path: Path) -> None:
    from sqlalchemy import select
    from sqlalchemy.exc import SQLAlchemyError

    from remit.errors import RemitError
    from remit.store.stores import store_of
    from remit.store.tables import Base

    heads = Base.metadata.tables["checkpoint"].c
    engine, connection, last = store_of(url).reading_engine(), None, -1
    query = select(heads.size, heads.note).order_by(heads.size)
    with path.open("ab", buffering=0) as seen:
        while True:
            try:
                connection = connection or engine.connect()
                newest = connection.execute(select(heads.size).order_by(heads.size.desc()).limit(1)).scalar()
                if newest is not None and newest < last:
                    seen.write(b"%d -\n" % newest)  # the log is shorter than it was
                for size, note in connection.execute(query.where(heads.size > last)):
                    seen.write(b"%d %s\n" % (size, bytes(note).hex().encode()))
                    last = size
            except (SQLAlchemyError, RemitError):  # the server is down; nothing to see
                if connection is not None:
                    connection.invalidate()
                    connection.close()
                connection = None
            except Exception as error:
                if not type(error).__module__.startswith("psycopg"):
                    raise
                connection = None
            time.sleep(PACE)


def disagreements(path: Path, keys: Any, bodies: Sequence[bytes]) -> tuple[int, list[str]]:
    """How many heads were seen, and those that the log as it is now does not continue, by consistency proofs."""
    from remit.errors import VerificationError
    from remit.ledger.merkle import leaf_hash, verify_consistency
    from remit.ledger.proofs import Tree

    tree = Tree(leaf_hash(body) for body in bodies)
    root, wrong, seen = tree.root(), [], 0
    for line in path.read_text("ascii").split("\n")[:-1]:
        size, _, note = line.partition(" ")
        if note == "-":
            wrong.append(f"a watcher saw the log go back to {size} records")
            continue
        seen += 1
        try:
            head = keys.open(bytes.fromhex(note))
            if head.size != int(size):
                wrong.append(f"the note stored for {size} records is of {head.size}")
            elif head.size > tree.size:
                wrong.append(f"a head of {size} records was signed, of which {tree.size} are left")
            elif head.size:
                verify_consistency(head.size, head.root, tree.size, root, tree.consistency(head.size))
        except VerificationError as error:
            wrong.append(f"the head of {size} records that a watcher saw: {error}")
    return seen, wrong
