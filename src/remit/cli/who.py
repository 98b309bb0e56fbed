"""`remit who`: who did this?"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from remit.cli.border import NO
from remit.cli.options import AsJson, Url, opened
from remit.cli.output import at, console, facts, indented, plural, show_json, state
from remit.review.who import Deed
from remit.review.who import who as find


def who(
    wanted: Annotated[
        str,
        typer.Argument(
            metavar="RESOURCE-OR-BINDING",
            help="A resource such as crm://tickets/88, or a binding such as CHG-7 or change=CHG-7.",
        ),
    ],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Every call that touched a resource, or ran under a grant with a binding; refused ones too. Exit 1: none."""
    with opened(url) as remit:
        deeds = find(remit.deployment, wanted)
    if as_json:
        show_json({"wanted": wanted, "calls": [deed.as_dict() for deed in deeds]})
    elif not deeds:
        console().print(f"No call touched {wanted}, and no grant is bound to it.", markup=False)
    else:
        show = console()
        for deed in deeds:
            _deed(show, deed)
        show.print(f"{plural(len(deeds), 'call')}. One of them whole: remit call show CALL", style="dim")
    if not deeds:
        raise typer.Exit(NO)


def _deed(show: Console, deed: Deed) -> None:
    """Time, state and tool; what it came to; and everybody and everything behind it."""
    call = deed.call
    show.print(Text.assemble((at(call.time), "bold"), "  ", state(call.state), "  ", (call.tool, "bold")))
    place = f" in {call.workload}{_known(deed, 'workload')}" if call.workload else ""
    pairs = [
        ("what", deed.statement),
        ("on", list(call.accesses or ())),
        ("agent", f"{deed.acting}{_known(deed, 'agent')}{place}"),
        ("for", f"{deed.principal}{_known(deed, 'principal')}"),
        ("bound to", dict(deed.bindings)),
        ("clause", deed.clause),
        ("grant", _grant(deed)),
        ("call", f"{deed.session_id}/{call.number}"),
    ]
    show.print(indented(facts(pairs)))
    show.print()


def _known(deed: Deed, party: str) -> str:
    """How somebody was known, where the record says it."""
    method = deed.call.known.get(party)
    return f" ({'signed' if method == 'ed25519' else method})" if method else ""


def _grant(deed: Deed) -> str | None:
    terms = deed.terms
    if terms is None:
        return deed.grant_id
    template = f" from template {terms.template}" if terms.template else ""
    return f"{terms.id} version {terms.version}{template}, issued by {terms.issuer}"
