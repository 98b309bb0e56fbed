"""`remit witness`: serve one, or look after those of a ledger."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from remit.cli.border import NO, say
from remit.cli.options import AsJson, Url, opened
from remit.cli.output import at, console, show_json, show_line, table
from remit.errors import UsageError
from remit.ledger.epochs import Epoch
from remit.witness.keeping import cosigned_note, states
from remit.witness.policy import Policy

if TYPE_CHECKING:
    from remit.witness.witness import Witness

app = typer.Typer(help="Be a second party who cosigns the heads of a log; or ask those who are.")

KeyOption = Annotated[
    Path, typer.Option("--key", help="The witness's private key; made, with its memory, where neither exists.")
]
MemoryOption = Annotated[
    Path | None,
    typer.Option("--memory", help="Where the witness keeps what it cosigned; KEY.db beside the key when omitted."),
]
NameOption = Annotated[
    str | None, typer.Option(help="The name of a new witness, such as witness.acme.com/w1.", show_default=False)
]


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    key: KeyOption = Path("witness.key"),
    log: Annotated[
        list[str] | None,
        typer.Option(
            help="The key of a log to cosign for: VKEY, or VKEY@FROM-TO for one that was rotated (`remit key list`); "
            "may be repeated.",
            metavar="VKEY",
        ),
    ] = None,
    listen: Annotated[str, typer.Option(help="Where to listen; port 0 takes a free one.", metavar="HOST:PORT")] = (
        "127.0.0.1:4700"
    ),
    name: NameOption = None,
    memory: MemoryOption = None,
    as_json: AsJson = False,
) -> None:
    """Serve a witness (C2SP tlog-witness). The first line says where it is, and its key; Ctrl-C ends it."""
    if context.invoked_subcommand is not None:
        return
    from remit.witness import server

    witness = _open(key, memory, log or [], name)
    listening = server.listen(listen)
    url, vkey = server.url_of(listening), witness.cosigner.key.vkey
    if as_json:
        show_line({"url": url, "vkey": vkey})
    else:
        sys.stdout.write(f"{url} {vkey}\n")
        sys.stdout.flush()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    try:
        server.serve(witness, listening)
    except KeyboardInterrupt:
        pass
    finally:
        listening.close()


def _open(key: Path, memory: Path | None, logs: list[str], name: str | None) -> Witness:
    from remit.witness.witness import open_witness

    if not logs:
        raise UsageError("say which log to cosign for: --log VKEY, which `remit key list` prints")
    return open_witness(
        key,
        memory or Path(f"{key}.db"),
        [Epoch.parse(one) for one in logs],
        name=name,
        clock=lambda: datetime.now(UTC),
    )


@app.command()
def init(
    name: Annotated[str, typer.Option(help="Its name, such as witness.acme.com/w1.")],
    key: KeyOption = Path("witness.key"),
    memory: MemoryOption = None,
    as_json: AsJson = False,
) -> None:
    """Make a witness's key and memory, and print its verifier key: what logs and auditors are to know."""
    from remit.witness.state import State
    from remit.witness.witness import make_key

    place = memory or Path(f"{key}.db")
    if place.exists():
        raise UsageError(f"the memory {place} of a witness exists already")
    cosigner = make_key(key, name)
    State(place, create=True).close()
    if as_json:
        show_json({"name": name, "vkey": cosigner.key.vkey, "key": str(key), "memory": str(place)})
    else:
        sys.stdout.write(f"{cosigner.key.vkey}\n")


@app.command()
def ask(
    policy: Annotated[
        Path | None, typer.Option(help="The witness policy; witness.policy in the ledger's home when omitted.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Have the newest head of a ledger cosigned now: for one that no process keeps fresh. Exit 1: too few did."""
    with opened(url) as remit:
        known = remit.deployment.witnesses if policy is None else Policy.load(policy)
        if known is None or not known.witnesses:
            raise UsageError(f"no witnesses are named: --policy FILE, or {remit.ledger.home / 'witness.policy'}")
        from remit.witness.asking import ask_once  # its library comes with an extra

        failed = ask_once(remit.ledger, known)
        note = cosigned_note(remit.ledger)
        enough = note is not None and known.satisfied([key for key in known.keys if key.name not in failed])
    if as_json:
        show_json({"enough": enough, "wanted": known.describe(), "failed": failed, "note": (note or b"").decode()})
    else:
        sys.stdout.write((note or b"").decode())
        for why in failed.values():
            say(why)
    if not enough:
        raise typer.Exit(NO)


@app.command()
def status(url: Url = None, as_json: AsJson = False) -> None:
    """Which witnesses a ledger has, and when each of them last cosigned. Exit 1: one shows another history."""
    with opened(url) as remit:
        found = states(remit.ledger.read())
    if as_json:
        show_json({"witnesses": [one.as_record() for one in found]})
    elif not found:
        console().print("No witness was ever asked for this ledger; docs/witness.md shows how.")
    else:
        cells = [
            (one.name, one.size, at(one.cosigned) or "never", "ANOTHER HISTORY" if one.conflict else one.why or "ok")
            for one in found
        ]
        console().print(table(["witness", "records", "cosigned", ("state", {"overflow": "fold"})], cells))
    if any(one.conflict for one in found):
        raise typer.Exit(NO)
