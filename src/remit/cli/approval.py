"""`remit approval`: questions that agents' calls put to people."""

from __future__ import annotations

import contextlib
import json
import math
import time
from typing import Annotated, Any, Final

import typer

from remit.approvals import Approval
from remit.cli.options import AsJson, AsPerson, Development, KeyFile, PeopleFile, Url, credential, opened
from remit.cli.output import at, console, facts, heading, indented, plural, show_json, show_line, visible
from remit.errors import UsageError

app = typer.Typer(no_args_is_help=True, help="Questions to people: list, watch, approve, refuse.")

SHORTEST: Final = 0.5
"""Seconds between two looks of `watch`, at least."""

ApprovalId = Annotated[str, typer.Argument(help="The approval's id, such as a-0192….", metavar="APPROVAL")]


@app.command("list")
def list_approvals(
    session: Annotated[str | None, typer.Option(help="Only of this session.", show_default=False)] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """What waits for an answer, oldest first, with exactly the arguments that would run."""
    with opened(url) as remit:
        waiting = remit.pending(session)
    if as_json:
        show_json({"approvals": [described(one) for one in waiting]})
        return
    if not waiting:
        console().print("Nothing waits for an answer.")
    for one in waiting:
        show_approval(one)


@app.command()
def watch(
    session: Annotated[str | None, typer.Option(help="Only of this session.", show_default=False)] = None,
    every: Annotated[float, typer.Option(help=f"Seconds between two looks, at least {SHORTEST}.")] = 2.0,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show what waits for an answer, and then each new question as it comes, until Ctrl-C. With --json, one a line."""
    if not math.isfinite(every) or every < SHORTEST:
        raise UsageError(f"--every {every:g} is too short; expected at least {SHORTEST} seconds")
    known: set[str] = set()
    with opened(url) as remit, contextlib.suppress(KeyboardInterrupt):
        while True:
            waiting = remit.pending(session)
            for one in waiting:
                if one.id not in known:
                    _tell(one, as_json)
            known = {one.id for one in waiting}  # what was answered is not kept for ever
            time.sleep(every)


def _tell(one: Approval, as_json: bool) -> None:
    if as_json:
        show_line(described(one))
    else:
        show_approval(one)


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
        asked = remit.approval(approval_id)
        if not as_json:
            show_approval(asked)
        answered = remit.approve(approval_id, credential=who, shown=asked.shown)
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
    elif answered.state == "requested":
        left = answered.needed - len(answered.decided_by)
        console().print(f"Recorded. Approval {answered.id} waits for {plural(left, 'more person', 'more persons')}.")
    else:
        console().print(f"Approval {answered.id} is {answered.state}: {answered.tool}.")


def show_approval(one: Approval) -> None:
    """One question as an approver has to see it."""
    show = console()
    show.print(heading(f"{one.tool}  ({one.id})"))
    rows: list[tuple[str, Any]] = [
        (visible(name), visible(json.dumps(value, ensure_ascii=False, default=str)))  # whole: what is cut is not seen
        for name, value in (one.arguments or {}).items()
    ]
    if one.arguments is None:
        rows.append(("arguments", "erased, so nobody can approve this any more"))
    who = " or ".join(one.by)
    rows += [
        ("touches", [visible(access) for access in one.accesses]),
        ("task", one.task),
        ("agent", one.agent),
        ("on behalf of", one.principal),
        ("why it asks", one.reason),
        ("who may answer", who if one.needed == 1 else f"{one.needed} different persons of {who}"),
        ("answered yes", list(one.decided_by)),
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
        "accesses": list(one.accesses),
        "reason": one.reason,
        "rule": one.rule,
        "by": list(one.by),
        "needed": one.needed,
        "decided_by": list(one.decided_by),
        "expires": one.expires.isoformat(),
        "agent": one.agent,
        "principal": one.principal,
        "task": one.task,
        "shown": one.shown,
    }
