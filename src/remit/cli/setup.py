"""`remit init` makes a deployment."""

from __future__ import annotations

import os

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


def init(url: Url = None, as_json: AsJson = False) -> None:
    """Make a ledger with its keys, and policies/ for people and catalogues where there is none yet."""
    url = url or default_url()
    path = database_path(url)
    if path is not None and path.exists():
        raise UsageError(f"a ledger is at {url} already; `remit doctor --url {url}` looks at it")
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
    if as_json:
        show_json({"url": url, "origin": origin, "key": key, "home": str(home), "people": str(PEOPLE_FILE)})
        return
    show = console()
    show.print("A new ledger is ready.")
    show.print(
        facts(
            [
                ("ledger", url),
                ("log", origin),
                ("its key", key),
                ("keys and pinned head", f"{home} (back it up apart from the ledger)"),
                ("people", f"{PEOPLE_FILE}" + (" (new)" if made_people else "")),
                ("catalogues", f"{CATALOGUE_FOLDER}/*.yaml"),
            ]
        )
    )
    flag = f" --url {url}" if not os.environ.get("REMIT_URL") else ""
    show.print(f"Next: remit person add YOU@EXAMPLE.COM --role admin{flag}, then remit login YOU@EXAMPLE.COM{flag}")
