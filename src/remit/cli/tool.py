"""`remit tool`: definitions that calls are judged by, what changed in one, and accepting it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.text import Text
from sqlalchemy import select
from sqlmodel import col

from remit.app import App
from remit.cli.options import AsJson, AsPerson, Development, KeyFile, PeopleFile, Url, credential, opened
from remit.cli.output import console, heading, indented, shorten, show_json, table, visible
from remit.errors import UsageError
from remit.review.definition_diff import Change, DefinitionDiff, diff_of
from remit.store.tables import ToolRow

app = typer.Typer(no_args_is_help=True, help="Tool definitions: list, diff, accept.")

Tool = Annotated[str, typer.Argument(help="The tool, such as git.git_log.", metavar="TOOL")]
Tools = Annotated[
    list[str], typer.Argument(help="Tools, such as git.git_log; git.* for all of that server.", metavar="TOOL…")
]


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
    rows = [(tool["key"], tool["state"], shorten(tool["seen"] or tool["digest"], 24)) for tool in tools]
    console().print(table(["tool", "state", "definition"], rows))
    waiting = [tool["key"] for tool in tools if tool["state"] != "accepted"]
    if waiting:
        console().print(f"Calls of {', '.join(waiting[:5])} are refused until somebody accepts: remit tool diff TOOL")


@app.command()
def diff(tool: Tool, url: Url = None, as_json: AsJson = False) -> None:
    """What changed in a tool since it was accepted: its text and its arguments, word by word."""
    with opened(url) as remit:
        found = diff_of(remit.deployment, tool)
    if as_json:
        show_json(found.as_dict())
    else:
        _show(found)
    raise typer.Exit(0 if found.state == "accepted" else 1)


@app.command()
def accept(
    tools: Tools,
    url: Url = None,
    person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    development: Development = False,
    as_json: AsJson = False,
) -> None:
    """Accept the definitions that tools have now; until then one that is new or changed is refused."""
    who = credential(person, key_file, development)
    with opened(url, can=["configure"], people=people, development=development) as remit:
        names = list(dict.fromkeys(name for tool in tools for name in _named(remit, tool)))
        shown = [diff_of(remit.deployment, name) for name in names]
        for name in names:
            remit.accept_tool(name, credential=who)
    if as_json:
        show_json({"tools": [{"tool": name, "state": "accepted"} for name in names]})
        return
    for one in shown:
        if one.state != "accepted":
            _show(one)
        console().print(f"Accepted {one.tool} as it is now.")
    if not names:
        console().print("Nothing waits to be accepted.")


def _named(remit: App, tool: str) -> list[str]:
    if not tool.endswith(".*"):
        return [tool]
    server = tool.removesuffix("*")
    rows = remit.ledger.read().rows(select(col(ToolRow.key), col(ToolRow.state)).order_by(col(ToolRow.key)))
    found = [(key, state) for key, state in rows if key.startswith(server)]
    if not found:
        raise UsageError(
            f"no tool of {server.rstrip('.')!r} has been seen here; `remit tool list` shows those that were"
        )
    return [key for key, state in found if state != "accepted"]


def _show(found: DefinitionDiff) -> None:
    show = console()
    words = {"new": "never accepted here", "changed": "changed", "accepted": "as it was accepted"}
    show.print(heading(f"{found.tool}: {words[found.state]}"))
    for name, changes in (("description", found.description), ("arguments", found.schema)):
        if any(kind != "same" for kind, _ in changes):
            show.print(f"{name}:")
            show.print(indented(_marked(changes)))
        elif found.state == "changed":
            show.print(f"{name}: unchanged")


def _marked(changes: Iterable[Change]) -> Text:
    """Readable without colours too: `[-old-]` and `{+new+}`."""
    text = Text()
    for kind, part in changes:
        shown = visible(part)
        if kind == "same":
            text.append(shown)
        elif kind == "removed":
            text.append(f"[-{shown}-]", style="red")
        else:
            text.append(f"{{+{shown}+}}", style="green")
    return text
