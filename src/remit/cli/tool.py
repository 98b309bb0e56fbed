"""`remit tool`: definitions that calls are judged by, and accepting one that changed."""

from __future__ import annotations

from typing import Annotated

import typer
from sqlalchemy import select
from sqlmodel import col

from remit.cli.options import AsJson, AsPerson, Development, KeyFile, PeopleFile, Url, credential, opened
from remit.cli.output import console, shorten, show_json, table
from remit.store.tables import ToolRow

app = typer.Typer(no_args_is_help=True, help="Tool definitions: list, accept.")


@app.command("list")
def list_tools(url: Url = None, as_json: AsJson = False) -> None:
    """Every tool whose definition was seen, and whether that definition is accepted."""
    with opened(url) as remit:
        tools = [dict(row) for row in remit.ledger.read().mappings(select(ToolRow).order_by(col(ToolRow.key)))]
    if as_json:
        show_json({"tools": tools})
        return
    if not tools:
        console().print("No tool has been seen here yet.")
        return
    console().print(
        table(["tool", "state", "definition"], [(t["key"], t["state"], shorten(t["digest"], 24)) for t in tools])
    )


@app.command()
def accept(
    tool: Annotated[str, typer.Argument(help="The tool, such as git.git_log.", metavar="TOOL")],
    url: Url = None,
    person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    development: Development = False,
    as_json: AsJson = False,
) -> None:
    """Accept the definition that a tool has now; until then a changed tool is refused."""
    who = credential(person, key_file, development)
    with opened(url, can=["configure"], people=people, development=development) as remit:
        remit.accept_tool(tool, credential=who)
    if as_json:
        show_json({"tool": tool, "state": "accepted"})
    else:
        console().print(f"Accepted {tool} as it is now.")
