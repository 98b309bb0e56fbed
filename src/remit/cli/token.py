"""`remit token`: a grant as a signed token for another process, and the keys that others verify it with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from remit.cli.options import AsJson, AsPerson, Development, KeyFile, PeopleFile, Url, credential, opened
from remit.cli.output import console, show_json
from remit.errors import UsageError

app = typer.Typer(no_args_is_help=True, help="Grants as signed tokens: issue, keys. Needs remit[tokens].")


@app.command()
def issue(
    grant_id: Annotated[str, typer.Argument(help="The grant's id, such as g-0192….", metavar="GRANT")],
    audience: Annotated[list[str], typer.Option("--for", help="Whom it is meant for; may be repeated.")],
    confirm: Annotated[
        Path | None, typer.Option(help="The holder's public key as a JWK (JSON file): who presents it has to prove it.")
    ] = None,
    expires_in: Annotated[str | None, typer.Option(help="How long it lives, such as 5m; never past its grant.")] = None,
    url: Url = None,
    person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    development: Development = False,
    as_json: AsJson = False,
) -> None:
    """Print a grant as a signed token (JWT). It is a secret: the record keeps its digest only."""
    who = credential(person, key_file, development)
    bound = _jwk(confirm) if confirm is not None else None
    with opened(url, can=["issue"], people=people, development=development) as remit:
        made = remit.token(grant_id, audience=audience, confirm=bound, expires_in=expires_in, credential=who)
        origin = remit.ledger.origin
    if as_json:
        show_json({"grant": grant_id, "issuer": origin, "audience": audience, "token": made})
    else:
        typer.echo(made)


@app.command()
def keys(url: Url = None, as_json: AsJson = False) -> None:
    """Print the key set (JWKS) to publish, so that others can verify this deployment's tokens."""
    with opened(url) as remit:
        found, origin = remit.jwks(), remit.ledger.origin
    if as_json:
        show_json(found)
    else:
        console().print(f"Issuer: {origin}", markup=False)
        typer.echo(json.dumps(found, indent=2))


def _jwk(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read a JWK from {path}: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} holds no JWK: expected a JSON object with kty")
    return found
