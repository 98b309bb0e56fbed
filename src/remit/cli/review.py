"""`remit review`: read a session beside its authority, and give a verdict that you sign."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from remit.cli.options import AsJson, AsPerson, Development, KeyFile, PeopleFile, Url, credential, opened
from remit.cli.output import console, show_json
from remit.cli.pages import review_page
from remit.cli.session import SessionId
from remit.review.report import report
from remit.review.verdicts import REASONS_FOR

app = typer.Typer(no_args_is_help=True, help="What people decide of sessions: show, verdict.")

_REASONS = "; ".join(f"{verdict}: {', '.join(reasons)}" for verdict, reasons in REASONS_FOR.items())


@app.command()
def show(session_id: SessionId, url: Url = None, as_json: AsJson = False) -> None:
    """Each call beside the clause that decided it, what was granted and never used, what ran unbounded."""
    with opened(url) as remit:
        found = report(remit.deployment, session_id)
    if as_json:
        show_json(found.as_dict())
    else:
        review_page(console(), found)


@app.command()
def verdict(
    session_id: SessionId,
    verdict: Annotated[
        Literal["within", "attempted", "exceeded", "inconclusive"], typer.Argument(help="What you decide.")
    ],
    reason: Annotated[str | None, typer.Option(help=f"Why. {_REASONS}.", show_default=False)] = None,
    comment: Annotated[str | None, typer.Option(help="In your own words.", show_default=False)] = None,
    call: Annotated[str | None, typer.Option(help="Judge this one call of the session.", show_default=False)] = None,
    url: Url = None,
    person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    development: Development = False,
    as_json: AsJson = False,
) -> None:
    """Record what you decided, signed with your key. A later verdict supersedes; nothing is edited.

    Refused when you are the session's principal, issued its grant, or answered one of its approvals.
    """
    who = credential(person, key_file, development)
    with opened(url, can=["review"], people=people, development=development) as remit:
        record = remit.verdict(session_id, verdict, reason=reason, comment=comment, call_id=call, credential=who)
        found = report(remit.deployment, session_id)
    [given] = [one for one in found.verdicts if one.id == record]
    if as_json:
        show_json(given.as_dict())
    else:
        how = "signed" if given.authenticated else "claimed, not proved"
        subject = f"Call {call}" if call else f"Session {session_id}"
        console().print(f"{subject}: {verdict}, decided by {given.reviewer} ({how}). Record {record}.")
