"""`remit session`: runs of agents, open and past."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

import typer
from sqlalchemy import select
from sqlmodel import col

from remit.cli.options import AsJson, AsPerson, Development, KeyFile, PeopleFile, Url, credential, opened
from remit.cli.output import at, console, show_json, table
from remit.cli.pages import session_page
from remit.review.calls import RAN
from remit.review.report import report
from remit.store.tables import CallRow, GrantRow, SessionRow

app = typer.Typer(no_args_is_help=True, help="Runs of agents: list, show, close, resume.")

SessionId = Annotated[str, typer.Argument(help="The session's id, such as s-0192….", metavar="SESSION")]


@app.command("list")
def list_sessions(
    state_is: Annotated[
        Literal["open", "suspended", "closed"] | None,
        typer.Option("--state", help="Only those in this state.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1)] = 50,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Sessions, the newest first."""
    with opened(url) as remit:
        query = select(SessionRow).order_by(col(SessionRow.opened).desc(), col(SessionRow.id).desc()).limit(limit)
        if state_is is not None:
            query = query.where(col(SessionRow.state) == state_is)
        reading = remit.ledger.read()
        sessions = [dict(row) for row in reading.mappings(query)]
        for one in sessions:
            calls = select(col(CallRow.state)).where(col(CallRow.session_id) == one["id"])
            one["calls"] = dict(Counter(row[0] for row in reading.rows(calls)))
            grants = reading.rows(select(col(GrantRow.task)).where(col(GrantRow.id) == one["grant_id"]))
            one["task"] = next((row[0] for row in grants), None)
    if as_json:
        show_json({"sessions": sessions})
        return
    if not sessions:
        console().print("No session has been opened here yet." if state_is is None else f"No session is {state_is}.")
        return
    console().print(
        table(
            [
                ("session", {"no_wrap": True}),
                ("opened (UTC)", {"no_wrap": True}),
                ("state", {"no_wrap": True}),
                ("task", {"ratio": 1}),
                ("ran", {"justify": "right"}),
                ("refused", {"justify": "right"}),
            ],
            [_row(one) for one in sessions],
        )
    )


def _row(one: dict[str, Any]) -> tuple[Any, ...]:
    ran = sum(count for name, count in one["calls"].items() if name in RAN)
    return (one["id"], at(one["opened"])[:16], one["state"], one["task"], ran, one["calls"].get("denied", 0))


@app.command()
def show(session_id: SessionId, url: Url = None, as_json: AsJson = False) -> None:
    """What happened in one session: every call in order, and the session in one sentence."""
    with opened(url) as remit:
        found = report(remit.deployment, session_id)
    if as_json:
        show_json(found.as_dict())
    else:
        session_page(console(), found)


@app.command()
def close(
    session_id: SessionId,
    reason: Annotated[str, typer.Option(help="Why; kept in the record.")],
    url: Url = None,
    person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    development: Development = False,
    as_json: AsJson = False,
) -> None:
    """End a session: no call is permitted in it any more."""
    who = credential(person, key_file, development)
    with opened(url, can=["configure"], people=people, development=development) as remit:
        remit.close_session(session_id, reason, credential=who)
    _said(session_id, "closed", as_json)


@app.command()
def resume(
    session_id: SessionId,
    url: Url = None,
    person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    development: Development = False,
    as_json: AsJson = False,
) -> None:
    """Let a suspended session go on: its count of refusals starts anew."""
    who = credential(person, key_file, development)
    with opened(url, can=["configure"], people=people, development=development) as remit:
        remit.resume_session(session_id, credential=who)
    _said(session_id, "open", as_json)


def _said(session_id: str, now: str, as_json: bool) -> None:
    if as_json:
        show_json({"session": session_id, "state": now})
    else:
        console().print(f"Session {session_id} is {now}.")
