"""`remit verify`: recompute everything that the ledger claims."""

from __future__ import annotations

import typer

from remit.cli.border import NO, say
from remit.cli.options import AsJson, Url, opened
from remit.cli.output import console, facts, show_json
from remit.errors import VerificationError


def verify(url: Url = None, as_json: AsJson = False) -> None:
    """Recompute every hash, signature and sequence, and compare with the head pinned outside. Exit 1: it breaks."""
    try:
        with opened(url) as remit:
            found = remit.verify()
            origin, key = remit.ledger.origin, remit.ledger.verifier_key
    except VerificationError as error:
        if as_json:
            show_json({"verified": False, "at": error.index, "why": str(error)})
        else:
            where = f" at record {error.index}" if error.index is not None else ""
            say(f"NOT verified{where}: {error}")
        raise typer.Exit(NO) from None
    if as_json:
        show_json(
            {
                "verified": True,
                "origin": origin,
                "key": key,
                "records": found.size,
                "root": found.root.hex(),
                "checkpoints": found.checkpoints,
                "writers": found.writers,
                "sessions": found.sessions,
                "erased": found.erased,
                "pinned_size": found.pinned_size,
            }
        )
        return
    show = console()
    show.print(f"Verified: {found.size} records, every hash, signature and sequence recomputed.")
    show.print(
        facts(
            [
                ("log", origin),
                ("key", key),
                ("root", found.root.hex()),
                ("signed checkpoints", found.checkpoints),
                ("writers", found.writers),
                ("sessions", found.sessions),
                ("erased records", found.erased or None),
                ("pinned outside at", f"record {found.pinned_size}"),
            ]
        )
    )
