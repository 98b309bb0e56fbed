"""`remit init` makes a deployment."""

from __future__ import annotations

import os
from typing import Annotated

import typer

import remit
from remit.cli.options import (
    CATALOGUE_FOLDER,
    PEOPLE_FILE,
    AsJson,
    Url,
    catalogue_files,
    database_path,
    people_file,
    policy_files,
    shipped_file,
)
from remit.cli.output import console, facts, show_json
from remit.deploying import default_url
from remit.errors import UsageError
from remit.store.stores import shown, store_of


def init(
    url: Url = None,
    grant_roles: Annotated[
        bool,
        typer.Option(
            "--grant-roles",
            help="PostgreSQL: also make the roles remit_reader, remit_writer, remit_sequencer and remit_eraser, or "
            "give them their rights again on a ledger that is there.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a ledger with its keys, and policies/ for people and catalogues where there is none yet."""
    url = url or default_url()
    store = store_of(url)
    if grant_roles and store.sequences:
        raise UsageError("a ledger in a file has no roles: who may read and write the file is the file system's to say")
    if store.exists():
        if grant_roles:
            _show_roles(_grant(url), as_json)
            return
        raise UsageError(f"a ledger is at {shown(url)} already; `remit doctor --url {shown(url)}` looks at it")
    path = database_path(url)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    made_people = not PEOPLE_FILE.exists()
    if made_people:
        PEOPLE_FILE.parent.mkdir(parents=True, exist_ok=True)
        PEOPLE_FILE.write_text(shipped_file("people.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    CATALOGUE_FOLDER.mkdir(parents=True, exist_ok=True)
    with remit.open(url, people=people_file(None), catalogue=catalogue_files(None), policies=policy_files(None)) as app:
        app.ledger.run(app.deployment.record_configuration)
        origin, key, home = app.ledger.origin, app.ledger.verifier_key, app.ledger.home
    granted = _grant(url) if grant_roles else []
    if as_json:
        made = {"url": shown(url), "origin": origin, "key": key, "home": str(home), "people": str(PEOPLE_FILE)}
        show_json({**made, "roles": granted} if grant_roles else made)
        return
    show = console()
    show.print("A new ledger is ready.")
    show.print(
        facts(
            [
                ("ledger", shown(url)),
                ("log", origin),
                ("its key", key),
                ("keys and pinned head", f"{home} (back it up apart from the ledger)"),
                ("people", f"{PEOPLE_FILE}" + (" (new)" if made_people else "")),
                ("catalogues", f"{CATALOGUE_FOLDER}/*.yaml"),
            ]
        )
    )
    if grant_roles:
        _show_roles(granted, as_json=False)
    flag = f" --url {shown(url)}" if not os.environ.get("REMIT_URL") else ""
    show.print(f"Next: remit person add YOU@EXAMPLE.COM --role admin{flag}, then remit login YOU@EXAMPLE.COM{flag}")


def _grant(url: str) -> list[str]:
    from remit.store.postgres import PostgresStore
    from remit.store.roles import grant_roles

    return grant_roles(PostgresStore.of(url))


def _show_roles(done: list[str], as_json: bool) -> None:
    from remit.store.roles import ROLES

    if as_json:
        show_json({"roles": done})
        return
    show = console()
    for statement in done:
        show.print(statement, markup=False, highlight=False)
    show.print(facts([(role.name, role.purpose) for role in ROLES]))
    show.print("Next: make a user for each process, and GRANT it one of these roles; only the owner migrates.")
