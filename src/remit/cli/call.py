"""`remit call`: one call, and settling what nobody knows of one."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from sqlalchemy import select
from sqlmodel import col

from remit.app import App
from remit.cli.border import NO
from remit.cli.explaining import explain_page
from remit.cli.options import AsJson, AsPerson, Development, KeyFile, PeopleFile, Url, credential, opened
from remit.cli.output import console, show_json
from remit.cli.pages import call_page
from remit.errors import UsageError
from remit.review import explaining
from remit.review.calls import CallLine
from remit.review.report import SessionReport, report
from remit.store.tables import CallRow

app = typer.Typer(no_args_is_help=True, help="One call: show, explain, resolve.")

CallId = Annotated[
    str, typer.Argument(help="The call's id, such as c-0192…, or SESSION/NUMBER as pages show it.", metavar="CALL")
]


@app.command()
def show(call_id: CallId, url: Url = None, as_json: AsJson = False) -> None:
    """One call: who, for whom, with what, on what, and why it was permitted or refused."""
    with opened(url) as remit:
        found, call = find(remit, call_id)
    if as_json:
        about = {name: found.session[name] for name in ("id", "principal", "agent", "workload", "state")}
        clause = next((one for one in found.clauses if (one.tool, one.name) == (call.tool, call.clause)), None)
        show_json({"session": about, "grant": found.grant, **call.as_dict(), "clause": clause and clause.as_dict()})
    else:
        call_page(console(), found, call)


@app.command()
def explain(call_id: CallId, url: Url = None, as_json: AsJson = False) -> None:
    """Why it was decided so: every grant, clause, condition, limit and guardrail, judged again from the record.

    Exit 1: the record does not give the decision that it holds.
    """
    with opened(url) as remit:
        found, call = find(remit, call_id)
        steps = explaining.explain(remit.deployment, found.session["id"], call.id)
    if as_json:
        decisions = [step.as_dict() for step in steps]
        show_json({"call": call.id, "tool": call.tool, "session": found.session["id"], "decisions": decisions})
    else:
        explain_page(console(), call.id, call.tool, steps)
    if any(step.same is False for step in steps):
        raise typer.Exit(NO)


def find(remit: App, wanted: str) -> tuple[SessionReport, CallLine]:
    """A call by its id, or by `SESSION/NUMBER`, with the report of its session. Raises `UsageError`: there is none."""
    session_id, slash, number = wanted.partition("/")
    if not slash:
        rows = remit.ledger.read().rows(select(col(CallRow.session_id)).where(col(CallRow.id) == wanted))
        session_id = next((row[0] or "" for row in rows), "")
    found = report(remit.deployment, session_id) if session_id else None
    for call in found.calls if found is not None else ():
        if call.id == wanted or (slash and str(call.number) == number):
            assert found is not None
            return found, call
    raise UsageError(f"no call {wanted!r} is in a session of this ledger; `remit session show` lists calls")


@app.command()
def resolve(
    call_id: CallId,
    outcome: Annotated[Literal["ok", "tool_error", "not_run"], typer.Option(help="What is known to have happened.")],
    reason: Annotated[str, typer.Option(help="How that is known; kept in the record.")],
    url: Url = None,
    person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    development: Development = False,
    as_json: AsJson = False,
) -> None:
    """Settle a call whose outcome is unknown: a person says what happened, and how they know."""
    who = credential(person, key_file, development)
    with opened(url, can=["configure"], people=people, development=development) as remit:
        call_id = find(remit, call_id)[1].id
        remit.resolve(call_id, outcome, reason=reason, credential=who)
    if as_json:
        show_json({"call": call_id, "outcome": outcome})
    else:
        console().print(f"Call {call_id} is settled: {outcome}.")
