"""`remit mcp`: MCP servers that nobody can change, put behind the gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from remit.authority.source import read_grant
from remit.cli.grant import Parameters, typed
from remit.cli.options import (
    AsJson,
    AsPerson,
    CatalogueFiles,
    Development,
    Environment,
    KeyFile,
    PeopleFile,
    PolicyFiles,
    Url,
    catalogue_files,
    credential,
    people_file,
    policy_files,
    require_ledger,
)
from remit.cli.output import show_json
from remit.deploying import default_url
from remit.errors import UsageError
from remit.resources.drafting import as_yaml, draft

app = typer.Typer(no_args_is_help=True, help="MCP servers behind the gate: proxy, inspect.")


@app.command()
def proxy(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND…", help="The server: its program and arguments.")],
    name: Annotated[str, typer.Option(help="What grants call the server: the first half of every tool key.")],
    grant: Annotated[
        Path | None, typer.Option(help="A grant or template, issued anew for each burst of work.", show_default=False)
    ] = None,
    session: Annotated[
        str | None, typer.Option(help="Instead of --grant: join this open session.", show_default=False)
    ] = None,
    parameter: Parameters = None,
    idle: Annotated[str, typer.Option(help="How long a pause ends a burst of work.")] = "30m",
    url: Url = None,
    person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    catalogue: CatalogueFiles = None,
    policies: PolicyFiles = None,
    environment: Environment = "unspecified",
    development: Development = False,
    accept_tools: Annotated[
        bool,
        typer.Option("--accept-tools", help="Accept tools that were never seen here; one that changed still waits."),
    ] = False,
) -> None:
    """Run any stdio MCP server behind the gate: a client starts this command in the server's place.

    Each tools/call is decided and recorded before the server sees it. A tool that was never seen is refused until
    `remit tool accept` (or with --accept-tools). stdout carries the protocol alone.
    """
    try:
        from remit_mcp import run_stdio
    except ImportError as error:
        raise UsageError(f'the proxy needs `pip install "remit[mcp]"` ({error})') from error

    ledger = url or default_url()
    require_ledger(ledger)
    issuing = grant is not None
    code = run_stdio(
        command,
        grant=grant,
        session=session,
        name=name,
        parameters=typed(read_grant(grant), parameter) if grant is not None else None,
        catalogue=catalogue_files(catalogue),
        url=ledger,
        idle=idle,
        people=people_file(people),
        policies=policy_files(policies),
        environment=environment,
        credential=credential(person, key_file, development) if issuing else None,
        development=development,
        accept_tools=accept_tools,
    )
    raise typer.Exit(code)


@app.command()
def inspect(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- COMMAND…]", help="The server: its program and arguments.")
    ] = None,
    name: Annotated[str, typer.Option(help="What grants call the server: the first half of every tool key.")] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="Instead of a command: the address of a server that speaks Streamable HTTP."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draft a catalogue from a live server's tools: names, schemas, hints. Calls none of them; read it before use."""
    try:
        from remit_mcp.inspecting import inspect as listed
    except ImportError as error:
        raise UsageError(f'inspecting needs `pip install "remit[mcp]"` ({error})') from error

    drafted = draft(name, listed(command or (), address=address))
    if as_json:
        show_json({"tools": [{"tool": each.key, "entry": each.words, "remarks": each.remarks} for each in drafted]})
    else:
        typer.echo(as_yaml(name, drafted), nl=False)
