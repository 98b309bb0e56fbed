"""`remit grant amend | requests | refuse | suggest`: how a grant changes, and what it would need to be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from remit.authority.explain import sentences
from remit.authority.source import read_grant
from remit.cli.grant import GrantId, Parameters, described, typed
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
    credential,
    opened,
)
from remit.cli.output import arguments, at, bullets, console, facts, heading, indented, plural, show_json
from remit.errors import UsageError
from remit.requesting import GrantRequest
from remit.review import suggest as suggesting
from remit.review.learning import WHY

RequestId = Annotated[str, typer.Argument(help="The request's id, such as q-0192….", metavar="REQUEST")]


def amend(
    grant_id: GrantId,
    file: Annotated[
        Path | None,
        typer.Argument(help="What changes, in YAML; or a whole grant or template, which replaces everything."),
    ] = None,
    parameter: Parameters = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", metavar="TOOL", help="Take a tool away; may be repeated.")
    ] = None,
    version: Annotated[
        int | None, typer.Option(help="The version that you looked at; another one in the meantime is an error.")
    ] = None,
    request: Annotated[
        str | None, typer.Option(help="Answer this request; without a file, give what it asks for.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the record.", show_default=False)] = None,
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
    """Issue the next version of a grant under the same id: its sessions go on with it from their next call."""
    who = credential(person, key_file, development)
    given = typed(read_grant(file), parameter) if parameter and file is not None else None
    with opened(
        url,
        can=["issue"],
        people=people,
        catalogue=catalogue,
        policies=policies,
        environment=environment,
        development=development,
    ) as remit:
        before = remit.grant(grant_id)
        known = remit.deployment.catalogue
        after = remit.amend(
            before if version is None else grant_id,
            file,
            given,
            without=without or (),
            version=version,
            request=request,
            reason=reason,
            credential=who,
        )
        old, new = sentences(before.terms, known), sentences(after.terms, known)
    gone, come = [one for one in old if one not in new], [one for one in new if one not in old]
    if as_json:
        show_json({**described(after), "no_longer": gone, "now": come})
        return
    show = console()
    show.print(f"Amended {after.id}: version {after.version}, in force until {at(after.expires)}.")
    for title, lines in (("No longer", gone), ("Now", come)):
        if lines:
            show.print(heading(title))
            show.print(indented(bullets(lines)))


def requests(
    grant: Annotated[str | None, typer.Option(help="Only about this grant.", show_default=False)] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """What agents asked for and nobody has answered. Changes and reason are the agent's own words: claimed."""
    with opened(url) as remit:
        waiting = remit.requests(grant)
    if as_json:
        show_json({"requests": [_as_dict(one) for one in waiting]})
        return
    show = console()
    if not waiting:
        show.print("Nothing is asked for.")
    for one in waiting:
        show.print(heading(f"{one.grant_id}, version {one.version}  ({one.id})"))
        rows: list[tuple[str, Any]] = [
            ("agent", one.agent),
            ("on behalf of", one.principal),
            ("asks for", arguments(one.changes, 2000) if one.changes else "(see its reason)"),
            ("because", one.reason or "(erased)"),
            ("session", one.session_id),
            ("since", at(one.time)),
        ]
        show.print(indented(facts(rows)))


def refuse(
    request_id: RequestId,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the record.", show_default=False)] = None,
    url: Url = None,
    person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    development: Development = False,
    as_json: AsJson = False,
) -> None:
    """Answer an agent's request with no. `remit grant amend --request` answers with yes."""
    who = credential(person, key_file, development)
    with opened(url, can=["issue"], people=people, development=development) as remit:
        refused = remit.refuse_request(request_id, reason=reason, credential=who)
    if as_json:
        show_json(_as_dict(refused))
    else:
        console().print(f"Refused {refused.id}; grant {refused.grant_id} stays as it is.")


def suggest(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A grant's id, a template's name, or its file (whose parameters are then taken over).",
            metavar="GRANT-OR-TEMPLATE",
            show_default=False,
        ),
    ] = None,
    session: Annotated[
        list[str] | None, typer.Option("--session", help="Only these sessions; may be repeated.", show_default=False)
    ] = None,
    url: Url = None,
    catalogue: CatalogueFiles = None,
    as_json: AsJson = False,
) -> None:
    """The narrowest grant that recorded sessions needed, as YAML on stdout; its replay on history on stderr."""
    source = read_grant(Path(name)) if name is not None and name.endswith((".yaml", ".yml")) else None
    if source is not None:
        name = source.document.template
        if name is None:
            raise UsageError(f"{source.name} is no template; name a grant by its id")
    with opened(url, catalogue=catalogue) as remit:
        found = suggesting.suggest(remit.deployment, name, sessions=session or (), template=source)
    if as_json:
        show_json(found.as_dict())
        return
    typer.echo(found.text, nl=False)
    typer.echo(_replayed(found), err=True)


def _replayed(found: suggesting.Suggestion) -> str:
    lines = [
        f"Replayed: {plural(found.permitted, 'call')} of {plural(found.sessions, 'session')} permitted, none refused "
        "of what it was learned from.",
        f"Of what was refused, {found.still_refused} still would be.",
    ]
    if found.would_permit:
        lines.append(
            f"{plural(len(found.would_permit), 'call')} would be permitted that a spent limit or more refused."
        )
    if found.left_out:
        lines += [f"Not learned from {count}: {WHY[why]}." for why, count in sorted(found.left_out.items())]
    if found.would_refuse:
        lines.append(f"Of those it would refuse {len(found.would_refuse)}:")
        lines += [f"  {one.tool} ({one.call}): {one.reason}" for one in found.would_refuse]
    return "\n".join(lines)


def _as_dict(one: GrantRequest) -> dict[str, Any]:
    return {
        "request": one.id,
        "state": one.state,
        "grant": one.grant_id,
        "version": one.version,
        "session": one.session_id,
        "agent": one.agent,
        "principal": one.principal,
        "time": one.time,
        "changes": dict(one.changes) if one.changes is not None else None,
        "reason": one.reason,
    }
