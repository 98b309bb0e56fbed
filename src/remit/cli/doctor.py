"""`remit doctor`: look at an installation and its ledger, and say what is wrong and what to do."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points, version
from typing import Final

import typer
from rich.text import Text

import remit
from remit.cli import whoami
from remit.cli.border import NO
from remit.cli.options import CATALOGUE_FOLDER, PEOPLE_FILE, AsJson, Url, catalogue_files, database_path, people_file
from remit.cli.output import console, plural, show_json, table
from remit.deploying import default_url
from remit.doctor import Finding, examine
from remit.errors import RemitError
from remit.identity import People
from remit.resources.catalogue import Catalogue
from remit.store.stores import shown

MARKS: Final = {"ok": ("✓ ok", "green"), "warn": ("· warn", "yellow"), "fail": ("✗ fail", "red")}


def doctor(url: Url = None, as_json: AsJson = False) -> None:
    """Look at this installation, its ledger, and what agents can reach beside the gate. Exit 1: something fails."""
    url = url or default_url()
    found = [*_installation(), *_policies(), *_ledger(url)]
    if as_json:
        show_json({"url": shown(url), "findings": [one.as_dict() for one in found]})
    else:
        console().print(
            table(
                ["what", ("state", {"no_wrap": True}), ("found", {"ratio": 1})],
                [(one.what, Text(*MARKS[one.state]), _words(one)) for one in found],
            )
        )
    if any(one.state == "fail" for one in found):
        raise typer.Exit(NO)


def _words(one: Finding) -> str:
    return f"{one.said}. To do: {one.do}" if one.do else one.said


def _installation() -> Iterator[Finding]:
    yield Finding("remit", "ok", f"{version('remit')} on Python {platform.python_version()}")
    adapters = sorted({point.value.partition(":")[0] for point in entry_points(group="remit.adapters")})
    for adapter in adapters:
        framework = {"remit_langchain": "langchain_core", "remit_mcp": "mcp"}.get(adapter, adapter)
        extra = adapter.removeprefix("remit_")
        there = importlib.util.find_spec(framework) is not None
        said = f"{adapter} can govern" if there else f'not installed; pip install "remit[{extra}]" where it is wanted'
        yield Finding(f"adapter {extra}", "ok", said)


def _policies() -> Iterator[Finding]:
    file = people_file(None)
    if file is None:
        yield Finding("people", "warn", f"no {PEOPLE_FILE} here, so nobody holds a role", "`remit init` makes one")
    else:
        yield _read("people", lambda: f"{file}: {plural(len(People.load(file).roles_by_subject), 'person', 'people')}")
    files = catalogue_files(None)
    if files:
        yield _read("catalogue", lambda: f"{plural(len(Catalogue.load(*files).keys()), 'tool')} in {CATALOGUE_FOLDER}")
    else:
        said = f"no {CATALOGUE_FOLDER}/*.yaml here, so no argument becomes a resource"
        yield Finding("catalogue", "warn", said, "docs/catalogues.md says how one is written")
    saved = whoami.saved()
    if saved is None:
        yield Finding("you", "ok", "not logged in; `remit login PERSON` proves who you are")
    elif not saved.key_file.exists():
        said = f"logged in as {saved.person}, but the key {saved.key_file} is gone"
        yield Finding("you", "fail", said, "restore it, or enrol a new key and `remit login` again")
    else:
        yield Finding("you", "ok", f"{saved.person}, key in {saved.key_file}")


def _read(what: str, reading: Callable[[], str]) -> Finding:
    try:
        return Finding(what, "ok", reading())
    except RemitError as error:
        return Finding(what, "fail", str(error), "mend the file")


def _ledger(url: str) -> Iterator[Finding]:
    path = database_path(url)
    if path is not None and not path.exists():
        yield Finding("ledger", "ok", f"none at {url} yet; `remit init` makes one")
        yield from examine(None)
        return
    try:
        app = remit.open(url, can=())
    except RemitError as error:
        yield Finding("ledger", "fail", str(error), "`remit verify` says where it is broken")
        yield from examine(None)
        return
    with app:
        yield Finding("ledger", "ok", f"{shown(url)}, log {app.ledger.origin}")
        yield from examine(app)
