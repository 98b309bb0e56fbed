"""`remit verify`: recompute everything that the ledger claims."""

from __future__ import annotations

import typer

from remit.cli.border import NO, say
from remit.cli.options import AsJson, Url, require_ledger
from remit.cli.output import console, facts, show_json
from remit.deploying import default_url
from remit.errors import VerificationError
from remit.ledger import Ledger, Verified


def verify(url: Url = None, as_json: AsJson = False) -> None:
    """Recompute every hash, signature and sequence, and compare with the head pinned outside. Exit 1: it breaks."""
    url = url or default_url()
    require_ledger(url)
    try:
        with Ledger.open(url, writer=False) as ledger:
            found = ledger.verify()
            origin, key = ledger.origin, ledger.verifier_key
    except VerificationError as error:
        if as_json:
            show_json({"verified": False, "at": error.index, "why": str(error)})
        else:
            where = f" at record {error.index}" if error.index is not None else ""
            say(f"NOT verified{where}: {error}")
        raise typer.Exit(NO) from None
    if as_json:
        show_json({"verified": True, "origin": origin, "key": key, **_as_dict(found)})
    else:
        _show(found, origin, key)


def _as_dict(found: Verified) -> dict[str, object]:
    return {
        "records": found.size,
        "root": found.root.hex(),
        "checkpoints": found.checkpoints,
        "writers": found.writers,
        "sessions": found.sessions,
        "erased": found.erased,
        "pinned_size": found.pinned_size,
        "payloads_opened": found.payloads_opened,
    }


def _show(found: Verified, origin: str, key: str) -> None:
    show = console()
    show.print(f"Verified: {found.size} records, every hash, signature and sequence recomputed.")
    if not found.payloads_opened:
        show.print("The key for arguments and results was not here, so only their presence was checked.")
    pairs = [
        ("log", origin),
        ("key", key),
        ("root", found.root.hex()),
        ("signed checkpoints", found.checkpoints),
        ("writers", found.writers),
        ("sessions", found.sessions),
        ("erased records", found.erased or None),
        ("pinned outside at", f"record {found.pinned_size}"),
    ]
    show.print(facts(pairs))
