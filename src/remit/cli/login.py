"""`remit login`: say once who you are, prove it with your key, and later commands know."""

from __future__ import annotations

from typing import Annotated

import typer

from remit.cli import whoami
from remit.cli.border import NO
from remit.cli.options import AsJson, KeyFile, Url, opened
from remit.cli.output import console, show_json
from remit.errors import IdentityError
from remit.identity import Credential, subject_of


def login(
    person: Annotated[str, typer.Argument(help="Who you are, such as bob@acme.com.")],
    key_file: KeyFile = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Prove who you are, so that later commands act in your name.

    Without a key yet, one is made for you; somebody who may then enrols its public half.
    """
    subject = subject_of(person)
    path = key_file or whoami.own_key_file(subject)
    made = not path.exists() and key_file is None
    proof = Credential.generate(subject, path) if made else Credential.load(subject, path)
    enrol = f"remit person add {subject.removeprefix('user:')} --key {proof.public_key}"
    try:
        with opened(url, can=()) as app:
            app.authenticate(proof)
    except IdentityError as error:
        if as_json:
            show_json({"person": subject, "key_file": str(path), "public_key": proof.public_key, "logged_in": False})
        else:
            show = console()
            if made:
                show.print(f"A new key for {subject} is in {path}; it stays with you.")
            show.print(f"{error}" if not made else "Nobody has enrolled it yet. Ask somebody who may to run:")
            show.print(f"  {enrol}" if made else "", soft_wrap=True)
        raise typer.Exit(NO) from None
    whoami.save(subject, path)
    if as_json:
        show_json({"person": subject, "key_file": str(path), "public_key": proof.public_key, "logged_in": True})
    else:
        console().print(f"Logged in as {subject} (key {proof.key_id}); later commands act in this name.")
