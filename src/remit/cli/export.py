"""`remit export`: evidence for somebody else. `bundle` is what they verify without us."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from remit.bundle import exporting
from remit.bundle.disclosing import EVERYTHING
from remit.cli.options import AsJson, AsPerson, Development, KeyFile, PeopleFile, Url, credential, opened
from remit.cli.output import console, facts, plural, show_json
from remit.errors import UsageError

app = typer.Typer(no_args_is_help=True, help="Evidence for somebody else: bundle.")


@app.callback()
def export() -> None:
    """Evidence for somebody else: bundle."""


@app.command()
def bundle(
    session: Annotated[
        str | None, typer.Argument(help="One session, whole.", metavar="SESSION", show_default=False)
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="The first record: an index or a time.", show_default=False)
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="The last record: an index or a time.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="The whole log, as tlog-tiles.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="A folder, or a file.zip. Without it, a zip here.", show_default=False),
    ] = None,
    disclose: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Text to show, which is none otherwise: `{EVERYTHING}`, arguments, accesses, reason, result, or one "
            "argument, as arguments.amount; may be repeated.",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        Path | None,
        typer.Option(help="A checkpoint that the receiver kept: proves that the log continues it.", show_default=False),
    ] = None,
    recipient: Annotated[
        str | None, typer.Option("--for", help="For whom; kept in the record of the export.", show_default=False)
    ] = None,
    url: Url = None,
    person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    development: Development = False,
    as_json: AsJson = False,
) -> None:
    """Write evidence that verifies offline, and record that it left: who exported what, and the digest of it.

    Name a session, or --from and --to, or --all.
    """
    if sum((session is not None, start is not None or end is not None, everything)) != 1:
        raise UsageError("say what to export: a SESSION, or --from and --to, or --all")
    who = credential(person, key_file, development)
    named = session or ("all" if everything else f"{start or 'first'}-{end or 'last'}")
    target = out or Path(f"evidence-{named.replace(':', '')}.zip")
    with opened(url, can=["review"], people=people, development=development) as remit:
        found = exporting.export(
            remit.deployment,
            target,
            session=session,
            start=start,
            end=end,
            disclose=disclose or (),
            since=since,
            recipient=recipient,
            credential=who,
        )
        key = remit.ledger.verifier_key
    if as_json:
        show_json({**found.as_dict(), "key": key})
        return
    show = console()
    show.print(f"Written: {found.path}")
    pairs = [
        ("records", f"{found.records}" + (f", and {found.context} for context" if found.context else "")),
        ("text shown", plural(found.disclosed, "record") if found.disclosed else "none; --disclose chooses"),
        ("head", f"{found.size} records"),
        ("digest", found.digest),
        ("recorded as", f"record {found.index} ({found.record})"),
    ]
    show.print(facts(pairs))
    show.print("Give the receiver the log's key by another way than the bundle. They run:")
    show.print(f"  remit verify {found.path} --key {key}", soft_wrap=True)
