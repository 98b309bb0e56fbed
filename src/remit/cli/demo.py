"""`remit demo`: see it once, without a key and without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo works and leaves its ledger.")] = Path("demo"),
) -> None:
    """See it once: an agent, a ticket, a grant, a verdict, the evidence. No model key, no network.

    The ledger stays in the folder, for `remit session show` and the other commands.
    """
    from remit.demo.story import tell

    tell(folder)
