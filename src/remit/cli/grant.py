"""`remit grant`: read a grant before it is issued, issue it, look at it, withdraw it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from remit.authority.breadth import check_breadth, warnings
from remit.authority.explain import sentences
from remit.authority.source import GrantSource, read_grant
from remit.authority.templates import instantiate
from remit.authority.terms import issue_terms
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
    opened,
)
from remit.cli.output import at, bullets, console, facts, heading, indented, show_json
from remit.delegating import read_child
from remit.errors import DelegationWidened, UsageError
from remit.issuing import Grant
from remit.resources.catalogue import Catalogue
from remit.resources.yaml_source import load_strict

app = typer.Typer(no_args_is_help=True, help="Authority for one task: check, issue, show, revoke.")

GrantFile = Annotated[Path, typer.Argument(help="A grant or template in YAML.")]
GrantId = Annotated[str, typer.Argument(help="The grant's id, such as g-0192….", metavar="GRANT")]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="A template's parameter; may be repeated."),
]


@app.command()
def check(
    file: GrantFile, parameter: Parameters = None, catalogue: CatalogueFiles = None, as_json: AsJson = False
) -> None:
    """Say in sentences what a grant allows and what it leaves unbounded; refuse it with line and reason when wrong."""
    source = read_grant(file)
    known = Catalogue.load(*catalogue_files(catalogue))
    given = typed(source, parameter)
    if given or not source.parameters:
        result = instantiate(source, given)
        subject: Any = issue_terms(
            result, grant_id="g-check", version=1, issued_at=datetime.now(UTC), issuer=result["principal"]
        )
    else:
        subject = source.document
    check_breadth(subject, known)
    said, careful = sentences(subject, known), warnings(subject, known)
    careful = [warning for warning in careful if not any(warning in sentence for sentence in said)]
    if as_json:
        show_json({"file": str(file), "says": said, "warnings": careful})
        return
    show = console()
    show.print(bullets([*said, *(f"Careful: {warning}" for warning in careful)]))


@app.command()
def issue(
    file: GrantFile,
    parameter: Parameters = None,
    key: Annotated[
        str | None, typer.Option(help="Issue once: the same key and content give the live grant again.")
    ] = None,
    url: Url = None,
    person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    catalogue: CatalogueFiles = None,
    policies: PolicyFiles = None,
    environment: Environment = "unspecified",
    development: Development = False,
    as_json: AsJson = False,
) -> None:
    """Issue a grant: signed by this deployment, recorded with your credential."""
    given = typed(read_grant(file), parameter)
    who = credential(person, key_file, development)
    with opened(
        url,
        can=["issue"],
        people=people,
        catalogue=catalogue,
        policies=policies,
        environment=environment,
        development=development,
    ) as remit:
        grant = remit.issue(file, given, key=key, credential=who)
    if as_json:
        show_json(described(grant))
    else:
        console().print(f"Issued {grant.id}, in force until {at(grant.expires)}.")
        console().print(f"  {grant.agent} may act for {grant.principal}: {grant.task}", markup=False)


@app.command()
def delegate(
    grant_id: GrantId,
    file: Annotated[Path, typer.Argument(help="The child in YAML, without principal, self and bindings.")],
    parameter: Parameters = None,
    key: Annotated[
        str | None, typer.Option(help="Hand on once: the same key and content give the live child again.")
    ] = None,
    url: Url = None,
    person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    catalogue: CatalogueFiles = None,
    policies: PolicyFiles = None,
    environment: Environment = "unspecified",
    development: Development = False,
    as_json: AsJson = False,
) -> None:
    """Hand a grant on to another agent, narrower; with every reason where the child could do more."""
    who = credential(person, key_file, development)
    with opened(
        url,
        can=["issue"],
        people=people,
        catalogue=catalogue,
        policies=policies,
        environment=environment,
        development=development,
    ) as remit:
        given = typed(read_child(file, remit.grant(grant_id).terms).source, parameter)
        try:
            child = remit.delegate(grant_id, file, given, key=key, credential=who)
        except DelegationWidened as error:
            if as_json:
                show_json({"parent": grant_id, "code": error.code, "reasons": list(error.problems)})
                raise typer.Exit(1) from error
            raise
    if as_json:
        show_json(described(child))
    else:
        console().print(f"Handed on as {child.id}, in force until {at(child.expires)}.")
        console().print(f"  {child.agent} may act for {child.principal}: {child.task}", markup=False)


@app.command()
def show(grant_id: GrantId, url: Url = None, catalogue: CatalogueFiles = None, as_json: AsJson = False) -> None:
    """Show one grant as it stands, in words."""
    with opened(url, catalogue=catalogue) as remit:
        grant = remit.grant(grant_id)
        said = sentences(grant.terms, remit.deployment.catalogue)
    if as_json:
        show_json({**described(grant), "says": said})
        return
    show = console()
    show.print(heading(f"Grant {grant.id}"))
    show.print(
        indented(
            facts(
                [
                    ("state", grant.state if grant.expires > datetime.now(UTC) or grant.state != "active" else "ended"),
                    ("task", grant.task),
                    ("principal", grant.principal),
                    ("agent", grant.agent),
                    ("issued by", grant.terms.issuer),
                    ("handed on from", grant.terms.parent),
                    ("in force", f"{at(grant.terms.not_before)} to {at(grant.expires)}"),
                    ("bindings", dict(grant.terms.bindings)),
                    ("template", grant.terms.template),
                    ("parameters", dict(grant.terms.parameters)),
                    ("digest", grant.digest),
                    ("signed by key", grant.key_id),
                ]
            )
        )
    )
    show.print(heading("Allows"))
    show.print(indented(bullets(said[1:])))


@app.command()
def revoke(
    grant_id: GrantId,
    reason: Annotated[str, typer.Option(help="Why; kept in the record.")],
    url: Url = None,
    person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    development: Development = False,
    as_json: AsJson = False,
) -> None:
    """Withdraw a grant: its sessions are refused from the next call on."""
    who = credential(person, key_file, development)
    with opened(url, can=["issue"], people=people, development=development) as remit:
        grant = remit.revoke(grant_id, reason=reason, credential=who)
    if as_json:
        show_json(described(grant))
    else:
        console().print(f"Revoked {grant.id}; every later call under it is refused.")


def described(grant: Grant) -> dict[str, Any]:
    """A grant as JSON."""
    return {
        "grant": grant.id,
        "version": grant.version,
        "state": grant.state,
        "task": grant.task,
        "principal": grant.principal,
        "agent": grant.agent,
        "issuer": grant.terms.issuer,
        "parent": grant.terms.parent,
        "not_before": grant.terms.not_before.isoformat(),
        "expires": grant.expires.isoformat(),
        "bindings": dict(grant.terms.bindings),
        "template": grant.terms.template,
        "parameters": dict(grant.terms.parameters),
        "digest": grant.digest,
        "key": grant.key_id,
    }


def typed(source: GrantSource, given: list[str] | None) -> dict[str, Any]:
    """`NAME=VALUE` pairs, each value read as the kind that the template's parameter wants."""
    found: dict[str, Any] = {}
    for pair in given or []:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"{pair!r} gives no parameter; expected NAME=VALUE, such as ticket=88")
        if name in found:
            raise UsageError(f"the parameter {name!r} is given twice")
        constraint = source.parameters.get(name)
        takes_text = constraint is None or "string" in constraint.kinds
        found[name] = text if takes_text else load_strict(text or '""', name=f"parameter {name}").tree
    return found
