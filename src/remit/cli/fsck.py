"""`remit fsck`: rebuild what lists, limits and lookups read from the records, and compare."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from remit.cli.border import NO, say
from remit.cli.options import (
    AsJson,
    AsPerson,
    Development,
    KeyFile,
    PeopleFile,
    Url,
    credential,
    opened,
    require_ledger,
)
from remit.cli.output import console, plural, show_json
from remit.deploying import default_url
from remit.errors import VerificationError
from remit.fsck import NOT_DERIVABLE, Checked, check, repair
from remit.ledger import Ledger

MAX_LINES: Final = 100
"""Findings that are printed; `--json` gives all of them."""

Repair = Annotated[
    bool, typer.Option("--repair", help="Put right what differs, from the records; that is recorded, with who did it.")
]


def fsck(
    url: Url = None,
    mend: Repair = False,
    person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    development: Development = False,
    as_json: AsJson = False,
) -> None:
    """Rebuild the read models (grants, sessions, calls, counters, approvals, people …) from the records and compare.

    Exit 1: something differs, or the records themselves do not verify. Records and other evidence are never changed.
    """
    url = url or default_url()
    require_ledger(url)
    try:
        found = _repaired(url, person, key_file, people, development) if mend else _checked(url)
    except VerificationError as error:
        if as_json:
            show_json({"whole": False, "verified": False, "at": error.index, "why": str(error)})
        else:
            say(f"The records do not verify, so nothing can be rebuilt from them: {error}")
        raise typer.Exit(NO) from None
    if as_json:
        show_json({"verified": True, "repaired": mend and not found.whole, **found.as_dict()})
    else:
        _show(found, mended=mend)
    if not found.whole and not mend:
        raise typer.Exit(NO)


def _checked(url: str) -> Checked:
    with Ledger.open(url, writer=False) as ledger:
        return check(ledger)


def _repaired(url: str, person: Any, key_file: Any, people: Any, development: bool) -> Checked:
    who = credential(person, key_file, development)
    with opened(url, can=["configure"], people=people, development=development) as app:
        return repair(app.deployment, who)


def _show(found: Checked, *, mended: bool) -> None:
    show = console()
    for finding in found.findings[:MAX_LINES]:
        show.print(f"✗ {finding.sentence}", markup=False, highlight=False)
    if len(found.findings) > MAX_LINES:
        show.print(f"… and {len(found.findings) - MAX_LINES} more; --json gives all of them")
    for one in found.untold:
        show.print(f"· {one.sentence}", markup=False, highlight=False)
    show.print(f"Not compared, because no record tells them: {', '.join(sorted(NOT_DERIVABLE))}.", style="dim")
    over = f"{plural(found.rows, 'row')} of the read models, rebuilt from {plural(found.records, 'record')}"
    if found.whole:
        show.print(f"Whole: {over}, are what the records show.")
    elif mended:
        show.print(f"Put right, and recorded: {plural(len(found.findings), 'difference')} in {over}.")
    else:
        show.print(f"NOT whole: {plural(len(found.findings), 'difference')} in {over}.")
        show.print(
            "Find out who changed the database. `remit fsck --repair` then rewrites these rows from the records."
        )
