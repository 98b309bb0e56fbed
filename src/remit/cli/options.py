"""Options that many commands share, and what they open: a ledger, policies, and who is asking."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

import remit
from remit.app import App
from remit.cli import whoami
from remit.deploying import default_url
from remit.errors import UsageError
from remit.identity import Credential
from remit.store.stores import shown, store_of

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="REMIT_URL",
        help="The ledger: sqlite:///PATH or postgresql+psycopg://HOST/NAME. Without it, remit.db in your data "
        "directory.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]
PeopleFile = Annotated[
    Path | None,
    typer.Option(
        "--people",
        envvar="REMIT_PEOPLE",
        help="Who holds which role. Without it, policies/people.yaml where that exists.",
        show_default=False,
    ),
]
CatalogueFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--catalogue",
        envvar="REMIT_CATALOGUE",
        help="How arguments become resources: a file, or the name of one that Remit ships (git, filesystem, …); may "
        "be repeated. Without it, policies/catalogues/*.yaml.",
        show_default=False,
    ),
]
PolicyFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--policies",
        envvar="REMIT_POLICIES",
        help="Guardrails: Cedar files, or folders of them; may be repeated. Without it, policies/guardrails/*.cedar.",
        show_default=False,
    ),
]
Environment = Annotated[
    str, typer.Option("--environment", envvar="REMIT_ENVIRONMENT", help="Where this runs, as guardrails read it.")
]
AsPerson = Annotated[
    str | None,
    typer.Option("--as", envvar="REMIT_PERSON", help="Who you are. Without it, who logged in.", show_default=False),
]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", envvar="REMIT_KEY_FILE", help="Your private key (PEM).", show_default=False),
]
Development = Annotated[
    bool,
    typer.Option(
        "--development", envvar="REMIT_DEVELOPMENT", help="Accept who you say you are, without proof; recorded as such."
    ),
]

PEOPLE_FILE: Final = Path("policies/people.yaml")
CATALOGUE_FOLDER: Final = Path("policies/catalogues")
POLICY_FOLDER: Final = Path("policies/guardrails")

SHIPPED: Final = tuple(folder / "policies" for folder in (Path(remit.__file__).parent, Path(remit.__file__).parents[2]))
"""Where the policies that Remit ships lie: in the package, or, in a checkout, at its top."""

Capability = Literal["session", "issue", "approve", "review", "configure"]


@contextmanager
def opened(
    url: str | None,
    *,
    can: Iterable[Capability] = (),
    people: Path | None = None,
    catalogue: list[Path] | None = None,
    policies: list[Path] | None = None,
    environment: str | None = None,
    development: bool = False,
) -> Iterator[App]:
    """The app that a command works on. Raises `UsageError` when there is no ledger yet: only `remit init` makes one."""
    url, can = url or default_url(), list(can)
    require_ledger(url)
    app = remit.open(
        url,
        can=can,
        people=people_file(people),
        catalogue=catalogue_files(catalogue),
        policies=policy_files(policies) if {"session", "issue"}.intersection(can) else None,
        environment=environment or os.environ.get("REMIT_ENVIRONMENT") or "unspecified",
        development=development,
    )
    try:
        yield app
    finally:
        app.close()


def require_ledger(url: str) -> None:
    """Raises `UsageError` when no ledger is at `url`."""
    if not store_of(url).exists():
        raise UsageError(
            f"no ledger is at {shown(url)}; `remit init --url {shown(url)}` makes one, "
            "--url or $REMIT_URL names another"
        )


def database_path(url: str) -> Path | None:
    """The file behind a SQLite URL."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def people_file(given: Path | None) -> Path | None:
    """The people file that is in force: the one given, else `policies/people.yaml` where that exists."""
    if given is not None:
        return given
    return PEOPLE_FILE if PEOPLE_FILE.is_file() else None


def catalogue_files(given: list[Path] | None) -> list[Path]:
    """The catalogues that are in force: those given, else every file in `policies/catalogues`.

    Raises `UsageError` for one that is neither a file nor the name of a shipped one.
    """
    return [_catalogue(one) for one in given] if given else sorted(CATALOGUE_FOLDER.glob("*.yaml"))


def policy_files(given: list[Path] | None) -> list[Path] | None:
    """The guardrails that are in force: those given, else those in `policies/guardrails`; None where there are none."""
    if given:
        return given
    named = os.environ.get("REMIT_POLICIES")
    if named:
        return [Path(named)]
    return [POLICY_FOLDER] if any(POLICY_FOLDER.glob("*.cedar")) else None


def shipped_file(name: str) -> Path:
    """A file of the shipped policies."""
    return next(folder / name for folder in SHIPPED if (folder / name).is_file())


def _catalogue(given: Path) -> Path:
    if given.exists():
        return given
    shipped = {path.stem: path for folder in SHIPPED for path in sorted(folder.glob("catalogues/*.yaml"))}
    if str(given) in shipped:
        return shipped[str(given)]
    raise UsageError(f"no catalogue {given}: expected a file, or one of {', '.join(sorted(shipped))}")


def credential(person: str | None, key_file: Path | None, development: bool) -> Credential | str | None:
    """Who is asking. Raises `UsageError` when nobody says who, and claims are not accepted."""
    if person is not None and key_file is not None:
        return Credential.load(person, key_file)
    if key_file is not None:
        raise UsageError("--key-file proves who you are only together with --as PERSON")
    saved = whoami.saved()
    if saved is not None and person in (None, saved.person, saved.person.removeprefix("user:")):
        return Credential.load(saved.person, saved.key_file)
    if development:
        return person
    if person is not None:
        raise UsageError(f"say how {person} is known: --key-file FILE, or `remit login {person}` once")
    raise UsageError("this needs to know who you are: `remit login PERSON` once, or --as PERSON --key-file FILE")
