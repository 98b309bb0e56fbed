"""`remit person`: whose keys are enrolled, and which roles the people file gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import select
from sqlmodel import col

from remit.cli import whoami
from remit.cli.options import (
    PEOPLE_FILE,
    AsJson,
    AsPerson,
    Development,
    KeyFile,
    PeopleFile,
    Url,
    credential,
    opened,
    people_file,
)
from remit.cli.output import console, show_json, table
from remit.cli.roles import give_roles
from remit.identity import Credential, People, subject_of
from remit.store.tables import PersonRow

app = typer.Typer(no_args_is_help=True, help="People and their keys: add, list, remove.")

Person = Annotated[str, typer.Argument(help="Such as bob@acme.com.", metavar="PERSON")]


@app.command()
def add(
    person: Person,
    key: Annotated[str | None, typer.Option(help="Their public key (base64); `remit login` prints it.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="Write a role into the people file; may be repeated.")] = None,
    url: Url = None,
    as_person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    development: Development = False,
    as_json: AsJson = False,
) -> None:
    """Enrol a person's public key; without --key, make a key pair for them first.

    The first person of a ledger needs no credential; after that an enrolled one does this (with role admin, where
    the people file names an admin).
    """
    subject = subject_of(person)
    roles_in = people_file(people) or PEOPLE_FILE
    made: Path | None = None
    if key is None:
        made = whoami.own_key_file(subject)
        key = (Credential.load(subject, made) if made.exists() else Credential.generate(subject, made)).public_key
    if role:
        give_roles(roles_in, subject, role)
    known = roles_in if roles_in.exists() else None
    with opened(url, can=["configure"], people=known, development=development) as remit:
        first = not list(remit.ledger.read().rows(select(col(PersonRow.id)).limit(1)))
        remit.enrol(person, key, credential=None if first else credential(as_person, key_file, development))
        roles = sorted(remit.deployment.people.roles(subject))
    if as_json:
        show_json({"person": subject, "public_key": key, "key_file": str(made) if made else None, "roles": roles})
        return
    show = console()
    show.print(f"Enrolled {subject}" + (f" with role {', '.join(roles)}." if roles else ", who holds no role."))
    if made is not None:
        show.print(f"The private key is {made}; move it to {person}'s own account and delete it here.", soft_wrap=True)


@app.command("list")
def list_people(url: Url = None, people: PeopleFile = None, as_json: AsJson = False) -> None:
    """Who is enrolled, and who is only named in the people file."""
    file = people_file(people)
    with opened(url, people=people) as remit:
        rows = remit.ledger.read().mappings(select(PersonRow).order_by(col(PersonRow.id)))
        found = {row["id"]: (row["state"], row["key"]) for row in rows}
        named = (People.load(file) if file is not None else People()).roles_by_subject
    everybody = [
        {
            "person": subject,
            "state": found.get(subject, ("not enrolled", None))[0],
            "roles": sorted(named.get(subject, ())),
            "public_key": found.get(subject, ("", None))[1],
        }
        for subject in sorted({*found, *named})
    ]
    if as_json:
        show_json({"people": everybody, "people_file": str(file) if file else None})
        return
    if not everybody:
        console().print("Nobody is enrolled yet; `remit person add PERSON` enrols the first one.")
        return
    cells = [(one["person"], one["state"], one["roles"] or "-", one["public_key"] or "-") for one in everybody]
    console().print(table(["person", "state", "roles", ("public key", {"overflow": "fold"})], cells))


@app.command()
def remove(
    person: Person,
    url: Url = None,
    as_person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    development: Development = False,
    as_json: AsJson = False,
) -> None:
    """Remove a person: their key proves nothing from now on. What they signed before stays."""
    who = credential(as_person, key_file, development)
    with opened(url, can=["configure"], people=people, development=development) as remit:
        remit.remove(person, credential=who)
    subject = subject_of(person)
    if as_json:
        show_json({"person": subject, "state": "removed"})
    else:
        console().print(f"Removed {subject}.")
