"""The command line: one module per noun. `remit --help` lists them."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from remit.cli import (
    amend,
    approval,
    call,
    demo,
    doctor,
    erase,
    export,
    fsck,
    grant,
    key,
    login,
    mcp,
    person,
    policy,
    review,
    session,
    setup,
    token,
    tool,
    usage,
    verify,
    who,
    witness,
)
from remit.cli.border import RemitGroup


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"remit {version('remit')}")
        raise typer.Exit


app = typer.Typer(
    name="remit",
    cls=RemitGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 ok, 1 the answer is no, 2 misuse. $REMIT_URL names the ledger for every command.",
)


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")
    ] = False,
) -> None:
    """Give an agent a remit. Prove that it stayed within it."""


app.command("demo")(demo.demo)
app.command("init")(setup.init)
app.command("doctor")(doctor.doctor)
app.add_typer(person.app, name="person")
app.command("login")(login.login)
grant.app.command("amend")(amend.amend)
grant.app.command("requests")(amend.requests)
grant.app.command("refuse")(amend.refuse)
grant.app.command("suggest")(amend.suggest)
app.add_typer(grant.app, name="grant")
app.add_typer(token.app, name="token")
app.add_typer(session.app, name="session")
app.add_typer(call.app, name="call")
app.add_typer(approval.app, name="approval")
app.add_typer(tool.app, name="tool")
app.command("who")(who.who)
app.command("usage")(usage.usage)
app.add_typer(review.app, name="review")
app.add_typer(policy.app, name="policy")
app.command("verify")(verify.verify)
app.command("erase")(erase.erase)
app.command("reveal")(erase.reveal)
app.command("disclose")(erase.disclose)
app.command("fsck")(fsck.fsck)
app.add_typer(export.app, name="export")
app.add_typer(key.app, name="key")
app.add_typer(witness.app, name="witness")
app.add_typer(mcp.app, name="mcp")


def main() -> None:
    """The console script `remit`."""
    app()


__all__ = ["app", "main"]
