"""`remit init` makes a deployment; `remit doctor` looks at one and says what is wrong and what to do."""

from __future__ import annotations

import importlib.util
import os
import platform
import sqlite3
from collections.abc import Iterator
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import NamedTuple

import typer
from rich.text import Text
from sqlalchemy import select
from sqlmodel import col

import remit
from remit.app import App
from remit.cli import whoami
from remit.cli.border import NO
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
from remit.cli.output import console, facts, plural, show_json, table
from remit.deploying import default_url
from remit.errors import RemitError, UsageError
from remit.identity import People
from remit.resources.catalogue import Catalogue
from remit.store.tables import CallRow, PersonRow, SessionRow, ToolRow


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


class Finding(NamedTuple):
    """One thing that was looked at: `ok`, `note` (worth knowing) or `problem` (needs a person)."""

    what: str
    state: str
    said: str


def doctor(url: Url = None, as_json: AsJson = False) -> None:
    """Look at this installation and its ledger. Exit 1: something needs a person."""
    url = url or default_url()
    found = [*_installation(), *_policies(), *_ledger(url)]
    if as_json:
        show_json({"url": url, "findings": [one._asdict() for one in found]})
    else:
        marks = {"ok": "✓ ok", "note": "· note", "problem": "✗ problem"}
        styles = {"ok": "green", "note": "", "problem": "red"}
        console().print(
            table(
                ["what", ("state", {"no_wrap": True}), ("found", {"ratio": 1})],
                [(one.what, Text(marks[one.state], style=styles[one.state]), one.said) for one in found],
            )
        )
    if any(one.state == "problem" for one in found):
        raise typer.Exit(NO)


def _installation() -> Iterator[Finding]:
    yield Finding("remit", "ok", f"{version('remit')} on Python {platform.python_version()}")
    yield Finding("SQLite", "ok", sqlite3.sqlite_version)
    adapters = sorted({point.value.partition(":")[0] for point in entry_points(group="remit.adapters")})
    for adapter in adapters:
        framework = {"remit_langchain": "langchain_core", "remit_mcp": "mcp"}.get(adapter, adapter)
        there = importlib.util.find_spec(framework) is not None
        extra = adapter.removeprefix("remit_")
        said = f"{adapter} can govern" if there else f'not installed: pip install "remit[{extra}]"'
        yield Finding(f"adapter {extra}", "ok" if there else "note", said)


def _policies() -> Iterator[Finding]:
    file = people_file(None)
    if file is None:
        yield Finding("people", "note", f"no {PEOPLE_FILE} here, so nobody holds a role")
    else:
        yield _read("people", lambda: f"{file}: {plural(len(People.load(file).roles_by_subject), 'person', 'people')}")
    files = catalogue_files(None)
    if files:
        yield _read("catalogue", lambda: f"{plural(len(Catalogue.load(*files).keys()), 'tool')} in {CATALOGUE_FOLDER}")
    else:
        yield Finding("catalogue", "note", f"no {CATALOGUE_FOLDER}/*.yaml here, so no argument becomes a resource")
    saved = whoami.saved()
    if saved is None:
        yield Finding("you", "note", "not logged in; `remit login PERSON` proves who you are")
    elif not saved.key_file.exists():
        yield Finding("you", "problem", f"logged in as {saved.person}, but the key {saved.key_file} is gone")
    else:
        yield Finding("you", "ok", f"{saved.person}, key in {saved.key_file}")


def _read(what: str, reading: object) -> Finding:
    assert callable(reading)
    try:
        return Finding(what, "ok", reading())
    except RemitError as error:
        return Finding(what, "problem", str(error))


def _ledger(url: str) -> Iterator[Finding]:
    path = database_path(url)
    if path is not None and not path.exists():
        yield Finding("ledger", "note", f"none at {url} yet; `remit init` makes one")
        return
    try:
        app = remit.open(url, can=())
    except RemitError as error:
        yield Finding("ledger", "problem", str(error))
        return
    with app:
        yield Finding("ledger", "ok", f"{url}, log {app.ledger.origin}")
        yield _private(app.ledger.home)
        yield from _state(app)


def _private(home: Path) -> Finding:
    mode = home.stat().st_mode & 0o777
    if mode & 0o077:
        return Finding("keys", "problem", f"{home} can be read by others (mode {mode:o}); chmod 700 {home}")
    return Finding("keys", "ok", f"{home}, readable by its owner only")


def _state(app: App) -> Iterator[Finding]:
    reading = app.ledger.read()
    dead = app.ledger.dead_writers()
    if dead:
        yield Finding(
            "writers", "note", f"{plural(len(dead), 'writer')} died while recording; the next session settles it"
        )
    unknown = [row[0] for row in reading.rows(select(col(CallRow.id)).where(col(CallRow.state) == "unknown"))]
    if unknown:
        yield Finding(
            "outcomes", "problem", f"unknown for {', '.join(unknown[:3])}; `remit call resolve CALL` settles one"
        )
    suspended = [row[0] for row in reading.rows(select(col(SessionRow.id)).where(col(SessionRow.state) == "suspended"))]
    if suspended:
        yield Finding("sessions", "problem", f"suspended: {', '.join(suspended[:3])}; `remit session resume SESSION`")
    changed = [row[0] for row in reading.rows(select(col(ToolRow.key)).where(col(ToolRow.state) != "accepted"))]
    if changed:
        yield Finding("tools", "problem", f"not accepted: {', '.join(changed[:5])}; `remit tool accept TOOL`")
    enrolled = len(list(reading.rows(select(col(PersonRow.id)).where(col(PersonRow.state) == "enrolled"))))
    said = (
        plural(enrolled, "person", "people") + " enrolled" if enrolled else "nobody enrolled; `remit person add` starts"
    )
    yield Finding("identities", "ok" if enrolled else "note", said)
