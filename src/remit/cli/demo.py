"""`remit demo`: see it once, without a key and without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo works and leaves its ledger.")] = Path("demo"),
) -> None:
    """An agent works on a ticket; some of what it tries is outside its grant. Then a person judges, and evidence is
    checked. No model key, no network; the ledger stays for `remit session show`."""
    from remit.demo.story import tell

    tell(folder)
