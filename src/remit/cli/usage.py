"""`remit usage`: what a grant, or every grant of a template, was used for."""

from __future__ import annotations

from typing import Annotated

import typer

from remit.cli.options import AsJson, CatalogueFiles, Url, opened
from remit.cli.output import bullets, console, facts, heading, indented, plural, show_json, table
from remit.review.usage import ClauseUse, Usage
from remit.review.usage import usage as found_usage


def usage(
    name: Annotated[str, typer.Argument(help="A grant's id, or the name of a template.", metavar="GRANT-OR-TEMPLATE")],
    url: Url = None,
    catalogue: CatalogueFiles = None,
    as_json: AsJson = False,
) -> None:
    """What was granted, used, at the edge, attempted and never used, down to arguments and resources."""
    with opened(url, catalogue=catalogue) as remit:
        found = found_usage(remit.deployment, name)
    if as_json:
        show_json(found.as_dict())
        return
    _show(found)


def _show(found: Usage) -> None:
    show = console()
    show.print(heading(f"Usage of {found.subject}"))
    pairs = [
        ("grants", found.grants),
        ("sessions", found.sessions),
        ("calls that ran", found.calls),
        ("erased calls", found.erased or None),
    ]
    show.print(indented(facts(pairs)))
    show.print(heading("Granted and used"))
    rows = [(one.title, one.calls, one.sessions, _used(one)) for one in found.clauses]
    show.print(indented(table(["clause", "calls", "sessions", ("used", {"overflow": "fold"})], rows)))
    for title, lines in (("At the edge", found.at_edge), ("Never used", found.never_used)):
        if lines:
            show.print(heading(title))
            show.print(indented(bullets(lines)))
    if found.attempts:
        show.print(heading("Attempted"))
        tried = [
            (one.tool, one.code, plural(one.calls, "call"), plural(one.sessions, "session"), "; ".join(one.examples))
            for one in found.attempts
        ]
        show.print(indented(table(["tool", "refused", "", "", ("such as", {"overflow": "fold"})], tried)))


def _used(one: ClauseUse) -> str:
    parts = []
    for resource in one.resources:
        if resource.calls:
            parts.append(f"{resource.line} ({resource.distinct} different)")
    for argument in one.arguments:
        if argument.least is not None and argument.least != argument.most:
            parts.append(f"{argument.name} {argument.least} to {argument.most}")
        elif argument.calls:
            parts.append(f"{argument.name} ({plural(argument.distinct, 'value')})")
    return ", ".join(parts)
