"""Real evidence, made through the public API: a ledger with sessions, cosigned by a real witness, in two bundles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import remit
from remit.ledger.notes import Signer
from tests import stores
from tests.witness.conftest import WitnessProcess

CALLS = 130
"""Calls of the long session: with their outcomes more records than one tile holds."""

GRANT: dict[str, Any] = {
    "task": "Look at tickets",
    "principal": "user:ravi@acme.com",
    "agent": "spiffe://acme.com/agents/triage",
    "expires_in": "20m",
    "tools": {"crm.read_ticket": {"arguments": {"id": {"max": 500}}}},
}


@dataclass(frozen=True)
class Evidence:
    """What an auditor has: the keys of log and witness, a head kept from an earlier time, and two bundles.

    `fork`: another head of the size of the kept one, signed with the log's key.
    """

    log: str
    witness: str
    kept: bytes
    checkpoint: bytes
    consistency: bytes
    records: Mapping[int, tuple[bytes, bytes]]
    whole: Mapping[str, bytes]
    folder: Path
    fork: bytes


def make(folder: Path) -> Evidence:
    """One session, whose bundle an auditor keeps the head of; a longer one; then the bundles of both and of all."""
    url = stores.url_for(folder)
    with remit.open(url, development=True) as app:
        log, home = app.ledger.verifier_key, app.ledger.home
    witness = WitnessProcess(folder, [log])
    policy = folder / "witness.policy"
    policy.write_text(witness.policy() + "quorum w1\n", encoding="utf-8")
    try:
        with remit.open(url, development=True, witnesses=policy) as app:
            first = _session(app, 3)
            kept = _exported(app, folder / "kept", session=first)["checkpoint"]
            kept_file = folder / "kept" / "checkpoint"
            second = _session(app, CALLS)
            one = _exported(app, folder / "session", session=second, since=kept_file)
            whole = _exported(app, folder / "whole", since=kept_file)
    finally:
        witness.stop()
    [consistency] = (content for name, content in one.items() if name.startswith("consistency/"))
    names = sorted((name for name in one if name.startswith("records/")), key=lambda name: int(name[8:]))
    return Evidence(
        log=log,
        witness=witness.key.vkey,
        kept=kept,
        checkpoint=one["checkpoint"],
        consistency=consistency,
        records={int(name[8:]): (one[name], one[f"proofs/{name[8:]}.tlog-proof"]) for name in names},
        whole=whole,
        folder=folder / "whole",
        fork=_fork(home, log, kept),
    )


def _session(app: remit.App, calls: int) -> str:
    grant = app.issue(GRANT, credential="user:ravi@acme.com")
    with app.session(grant) as session:
        for number in range(calls):
            session.call("crm.read_ticket", {"id": number}, run=lambda id: f"ticket {id}")  # noqa: A006
        return session.id


def _exported(app: remit.App, path: Path, **options: Any) -> dict[str, bytes]:
    app.ledger.wait_witnessed(list(app.records())[-1].id, deadline=30)
    app.export(path, **options, credential="user:carol@acme.com")
    return {found.relative_to(path).as_posix(): found.read_bytes() for found in path.rglob("*") if found.is_file()}


def _fork(home: Path, log: str, kept: bytes) -> bytes:
    """What somebody who holds the log's key could have shown instead."""
    key = serialization.load_pem_private_key((home / "log.key").read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return Signer(log.partition("+")[0], key).checkpoint(int(kept.split(b"\n")[1]), bytes(range(32)))
