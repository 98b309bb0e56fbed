"""`remit erase`, `remit reveal`, `remit disclose`: what becomes of text that only the payload holds."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from remit.app import App
from remit.cli.border import NO
from remit.cli.call import find
from remit.cli.options import AsJson, AsPerson, Development, KeyFile, PeopleFile, Url, credential, opened
from remit.cli.output import bullets, console, indented, plural, show_json, visible
from remit.erasing import Erasure, finish
from remit.errors import UsageError
from remit.ledger.salting import pointer

RecordOrCall = Annotated[
    str, typer.Argument(help="A record's id (r-…), a call's (c-…), or SESSION/NUMBER.", metavar="RECORD")
]
Argument = Annotated[
    str | None, typer.Option("--argument", help="One argument of the call, by its name.", show_default=False)
]
Path = Annotated[
    str | None,
    typer.Option("--path", help="Another value: /reason, /result, /error, /accesses, …", show_default=False),
]
Why = Annotated[str | None, typer.Option("--reason", help="Why; kept in the record.", show_default=False)]


def erase(
    record: Annotated[
        list[str] | None, typer.Option("--record", help="A record's id; may be repeated.", show_default=False)
    ] = None,
    session: Annotated[
        str | None, typer.Option("--session", help="Every record of a closed session.", show_default=False)
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option("--subject", help="Whatever was done for them: user:ravi@acme.com.", show_default=False),
    ] = None,
    reason: Why = None,
    basis: Annotated[
        str | None, typer.Option("--basis", help="On which ground, such as “GDPR art. 17”.", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; it cannot be undone.")] = False,
    only_finish: Annotated[
        bool, typer.Option("--finish", help="Only empty the write-ahead log, after an erasure that could not.")
    ] = False,
    url: Url = None,
    person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    development: Development = False,
    as_json: AsJson = False,
) -> None:
    """Destroy text for good: its key and its ciphertext. Leaves and proofs stay. Exit 1: something is left to do."""
    if only_finish:
        with opened(url, can=["configure"], people=people, development=development) as remit:
            left = finish(remit.deployment)
        _tell_rest(left.complete, left.advice, as_json)
        return
    if reason is None:
        raise UsageError("erasing takes a reason (--reason); it is recorded")
    who = credential(person, key_file, development)
    what = session or subject or ", ".join(record or ())
    if not yes:
        if as_json:
            raise UsageError("with --json nobody can be asked; add --yes")
        typer.confirm(f"Destroy the text of {what or 'nothing'}? It cannot be brought back", abort=True)
    with opened(url, can=["configure"], people=people, development=development) as remit:
        found = remit.erase(
            records=record or (), session=session, subject=subject, reason=reason, basis=basis, credential=who
        )
    if as_json:
        show_json(found.as_dict())
    else:
        _show(found)
    if not found.scrubbed.complete:
        raise typer.Exit(NO)


def _show(found: Erasure) -> None:
    show = console()
    show.print(
        f"Erased the text of {plural(len(found.records), 'record')}; {', '.join(found.said_by)} says by whom and why."
    )
    if found.exported:
        show.print("Copies left before, and nobody can call them back:")
        show.print(indented(bullets([_copy(one) for one in found.exported])))
    if found.scrubbed.advice is not None:
        show.print(found.scrubbed.advice)


def _copy(one: Any) -> str:
    recipient = one.get("for") or one.get("recipient") or "nobody named"
    about = one.get("session") or one.get("record_id") or ""
    return visible(f"{one['record']} at {one['time']}, for {recipient} {about}".rstrip())


def _tell_rest(complete: bool, advice: str | None, as_json: bool) -> None:
    if as_json:
        show_json({"complete": complete, "advice": advice})
    else:
        console().print("Nothing that was erased is left in the database's files." if complete else advice or "")
    if not complete:
        raise typer.Exit(NO)


def reveal(
    wanted: RecordOrCall,
    argument: Argument = None,
    path: Path = None,
    reason: Why = None,
    url: Url = None,
    person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    development: Development = False,
    as_json: AsJson = False,
) -> None:
    """Show one masked value. That somebody looked is recorded before it is shown."""
    who = credential(person, key_file, development)
    place = _place(argument, path)
    with opened(url, can=["review"], people=people, development=development) as remit:
        record = _record(remit, wanted)
        value = remit.reveal(record, place, reason=reason, credential=who)
    if as_json:
        show_json({"record": record, "path": place, "value": value})
    else:
        console().print(visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))


def disclose(
    wanted: RecordOrCall,
    recipient: Annotated[str, typer.Option("--for", help="Who gets it; kept in the record.")],
    argument: Argument = None,
    path: Path = None,
    reason: Why = None,
    url: Url = None,
    person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    development: Development = False,
) -> None:
    """One value as JSON, with the salt that proves it against the leaf; nothing of the values beside it."""
    who = credential(person, key_file, development)
    place = _place(argument, path)
    with opened(url, can=["review"], people=people, development=development) as remit:
        found = remit.disclose(_record(remit, wanted), place, recipient=recipient, reason=reason, credential=who)
    show_json(found.as_dict())


def _place(argument: str | None, path: str | None) -> str:
    if (argument is None) == (path is None):
        raise UsageError("say which value: --argument NAME, or --path /reason")
    return pointer("arguments", argument) if argument is not None else path or ""


def _record(remit: App, wanted: str) -> str:
    if wanted.startswith("r-"):
        return wanted
    call = find(remit, wanted)[1]
    row = remit.ledger.run(lambda txn: txn.get("calls", call.id))
    assert row is not None
    return str(row["intent_record"])
