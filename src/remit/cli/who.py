"""`remit who`: who did this?"""

from __future__ import annotations

from typing import Annotated

import typer

from remit.cli.border import NO
from remit.cli.options import AsJson, Url, opened
from remit.cli.output import at, console, show_json, state, table
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
        console().print(
            table(
                [
                    ("time (UTC)", {"no_wrap": True}),
                    ("state", {"no_wrap": True}),
                    ("tool", {"overflow": "fold"}),
                    ("who, for whom, in which call", {"overflow": "fold"}),
                ],
                [
                    (
                        at(deed.call.time)[:19],
                        state(deed.call.state),
                        deed.call.tool,
                        f"{deed.acting} for {deed.principal}\n{deed.session_id}/{deed.call.number}",
                    )
                    for deed in deeds
                ],
            )
        )
    if not deeds:
        raise typer.Exit(NO)
