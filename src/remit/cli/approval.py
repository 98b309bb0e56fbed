"""`remit approval`: questions that agents' calls put to people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from sqlalchemy import select
from sqlmodel import col

from remit.app import App
from remit.approvals import Approval
from remit.cli.options import AsJson, AsPerson, Development, KeyFile, PeopleFile, Url, credential, opened
from remit.cli.output import arguments, at, console, facts, heading, indented, show_json
from remit.errors import UsageError
from remit.store.tables import GrantRow, SessionRow

app = typer.Typer(no_args_is_help=True, help="Questions to people: list, approve, refuse.")

ApprovalId = Annotated[str, typer.Argument(help="The approval's id, such as a-0192….", metavar="APPROVAL")]


@app.command("list")
def list_approvals(
    session: Annotated[str | None, typer.Option(help="Only of this session.", show_default=False)] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """What waits for an answer, oldest first, with exactly the arguments that would run."""
    with opened(url) as remit:
        waiting = [(one, behind(remit, one)) for one in remit.pending(session)]
    if as_json:
        show_json({"approvals": [{**described(one), **who} for one, who in waiting]})
        return
    if not waiting:
        console().print("Nothing waits for an answer.")
    for one, who in waiting:
        show_approval(one, who)


@app.command()
def approve(
    approval_id: ApprovalId,
    url: Url = None,
    person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    development: Development = False,
    as_json: AsJson = False,
) -> None:
    """Answer yes to one exact call. It runs when the agent comes back to it, once."""
    who = credential(person, key_file, development)
    with opened(url, can=["approve"], people=people, development=development) as remit:
        answered = remit.approve(approval_id, credential=who)
    _said(answered, as_json)


@app.command()
def refuse(
    approval_id: ApprovalId,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the record.", show_default=False)] = None,
    url: Url = None,
    person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    development: Development = False,
    as_json: AsJson = False,
) -> None:
    """Answer no."""
    who = credential(person, key_file, development)
    with opened(url, can=["approve"], people=people, development=development) as remit:
        answered = remit.refuse(approval_id, credential=who, reason=reason)
    _said(answered, as_json)


def _said(answered: Approval, as_json: bool) -> None:
    if as_json:
        show_json(described(answered))
    else:
        console().print(f"Approval {answered.id} is {answered.state}: {answered.tool}.")


def behind(remit: App, one: Approval) -> dict[str, str]:
    """Who asks, for whom, and for which task: an approver judges a call against that."""
    query = select(col(SessionRow.agent), col(SessionRow.principal), col(GrantRow.task))
    query = query.join(GrantRow, col(GrantRow.id) == col(SessionRow.grant_id))
    [(agent, principal, task)] = remit.ledger.read().rows(query.where(col(SessionRow.id) == one.session_id))
    return {"agent": agent, "principal": principal, "task": task}


def show_approval(one: Approval, who: Mapping[str, str]) -> None:
    """One question as an approver has to see it."""
    show = console()
    show.print(heading(f"{one.tool}  ({one.id})"))
    given = one.arguments
    if given is None:
        raise UsageError(f"the arguments of approval {one.id} were erased, so nobody can approve it any more")
    rows: list[tuple[str, Any]] = [
        (name, arguments({name: value}, 2000).partition("=")[2]) for name, value in given.items()
    ]
    rows += [
        ("task", who["task"]),
        ("agent", who["agent"]),
        ("on behalf of", who["principal"]),
        ("why it asks", one.reason),
        ("who may answer", " or ".join(one.by)),
        ("until", at(one.expires)),
        ("session", one.session_id),
    ]
    show.print(indented(facts(rows)))


def described(one: Approval) -> dict[str, Any]:
    """An approval as JSON."""
    return {
        "approval": one.id,
        "state": one.state,
        "call": one.call_id,
        "session": one.session_id,
        "tool": one.tool,
        "arguments": dict(one.arguments) if one.arguments is not None else None,
        "reason": one.reason,
        "rule": one.rule,
        "by": list(one.by),
        "needed": one.needed,
        "decided_by": list(one.decided_by),
        "expires": one.expires.isoformat(),
    }
