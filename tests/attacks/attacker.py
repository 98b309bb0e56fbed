"""Somebody with write access to the database, who does what the tables allow: rewrites records, recomputes every
sequence, chain, tree and head over them, and signs with whatever key they have.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.ledger.canonical import canonical
from remit.ledger.merkle import Frontier, leaf_hash
from remit.ledger.notes import Signer

Leaf = dict[str, Any]
Change = Callable[[list[Leaf]], object]


@dataclass(frozen=True)
class Database:
    """A SQLite ledger as its file."""

    path: Path

    @property
    def url(self) -> str:
        """As `remit.open` takes it."""
        return f"sqlite:///{self.path}"

    def query(self, statement: str, *values: Any) -> list[Any]:
        """Rows."""
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(statement, values).fetchall()

    def execute(self, *statements: tuple[str, tuple[Any, ...]]) -> None:
        """Change what is there, once the triggers against accidents are gone."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                connection.execute(f"DROP TRIGGER {name}")
            for statement, values in statements:
                connection.execute(statement, values)

    def bodies(self) -> list[bytes]:
        """Every record in its place."""
        return [body for (body,) in self.query("SELECT body FROM leaf JOIN record USING (rid) ORDER BY idx")]

    def heads(self) -> dict[int, bytes]:
        """Signed heads by size."""
        return dict(self.query("SELECT size, note FROM checkpoint ORDER BY size"))


def log_key(home: Path) -> Ed25519PrivateKey:
    """The log's own key, for an attacker who has it."""
    key = serialization.load_pem_private_key((home / "log.key").read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def rewrite(
    database: Database,
    change: Change,
    origin: str,
    key: Ed25519PrivateKey | None,
    *,
    encode: Callable[[Leaf], bytes] = canonical,
) -> None:
    """Change parsed records, and make everything else fit. Without a key the old heads stay as they were signed."""
    leaves = [json.loads(body) for body in database.bodies()]
    last_of = {size: leaves[size - 1]["id"] for size in database.heads()}
    before = {leaf["id"] for leaf in leaves}
    change(leaves)
    bodies = recompute(leaves, encode)
    places = {leaf["id"]: index for index, leaf in enumerate(leaves)}
    gone = sorted(before - places.keys())
    ends = {places[last] + 1 for last in last_of.values() if last in places} | {len(leaves)}
    frontier = Frontier()
    rows: list[tuple[str, tuple[Any, ...]]] = [("DELETE FROM record", ()), ("DELETE FROM leaf", ())]
    heads: dict[int, bytes] = {}
    for index, (leaf, body) in enumerate(zip(leaves, bodies, strict=True)):
        columns = [leaf.get(name) for name in ("id", "writer", "wseq", "session", "sseq", "type", "time")]
        rows.append(("INSERT INTO record VALUES (?,?,?,?,?,?,?,?,?)", (index, *columns, body)))
        rows.append(("INSERT INTO leaf VALUES (?,?)", (index, index)))
        frontier.append(leaf_hash(body))
        if key is not None and frontier.size in ends:
            heads[frontier.size] = Signer(origin, key).checkpoint(frontier.size, frontier.root())
    rows.append(("UPDATE head SET size = ?, frontier = ?", (frontier.size, frontier.to_bytes())))
    rows += [("DELETE FROM payload WHERE record_id = ?", (name,)) for name in gone]
    brought = {digest for leaf in leaves for digest in leaf.get("artefacts", ())}
    rows.append((f"DELETE FROM artefact WHERE digest NOT IN ({_marks(brought)})", tuple(brought)))
    if key is not None:
        kept = {size for size, note in database.heads().items() if heads.get(size) == note}
        rows.append(("DELETE FROM checkpoint", ()))
        rows += [("INSERT INTO checkpoint VALUES (?,?)", (size, note)) for size, note in heads.items()]
        rows.append((f"DELETE FROM cosignature WHERE size NOT IN ({_marks(kept)})", tuple(kept)))
    database.execute(*rows)


def _marks(values: Collection[Any]) -> str:
    return ",".join("?" * len(values))


def recompute(leaves: list[Leaf], encode: Callable[[Leaf], bytes] = canonical) -> list[bytes]:
    """Sequences, chains and counts as if nothing had ever been otherwise."""
    bodies: list[bytes] = []
    last: dict[str, tuple[int, str]] = {}
    counts: dict[tuple[str, str], int] = {}
    for leaf in leaves:
        wseq, prev = last.get(leaf["writer"], (-1, ""))
        leaf |= {"wseq": wseq + 1, "prev": prev}
        if "session" in leaf:
            if leaf["type"] == "session.closed":
                leaf["data"]["writers"] = {w: n - 1 for (s, w), n in counts.items() if s == leaf["session"]}
            place = (leaf["session"], leaf["writer"])
            leaf["sseq"] = counts.get(place, 0)
            counts[place] = leaf["sseq"] + 1
        bodies.append(encode(leaf))
        last[leaf["writer"]] = (wseq + 1, leaf_hash(bodies[-1]).hex())
    return bodies
