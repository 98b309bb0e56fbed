"""`remit key`: the keys that sign the log's heads, and changing them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from remit.cli.options import AsJson, AsPerson, Development, KeyFile, PeopleFile, Url, credential, opened
from remit.cli.output import console, show_json, table
from remit.ledger.epochs import Epoch, LogKeys

app = typer.Typer(no_args_is_help=True, help="The keys that sign the log's heads: list, prepare, rotate.")


@app.command("list")
def list_keys(url: Url = None, as_json: AsJson = False) -> None:
    """Which key signs heads of which sizes: what auditors and witnesses are to know."""
    with opened(url) as remit:
        keys = remit.ledger.keys
    if as_json:
        show_json(_as_dict(keys))
        return
    show = console()
    rows = [(_sizes(epoch), epoch.verifier.key_id.hex(), epoch.text) for epoch in keys.epochs]
    show.print(table(["heads of", "key id", ("key, as --key and --log take it", {"overflow": "fold"})], rows))


@app.command()
def prepare(
    url: Url = None,
    as_person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    development: Development = False,
    as_json: AsJson = False,
) -> None:
    """Make the next key, beside the one that signs, so that witnesses can be told of it before `remit key rotate`."""
    credential(as_person, key_file, development)
    with opened(url, can=["configure"], people=people, development=development) as remit:
        vkey = remit.ledger.next_key().vkey
    if as_json:
        show_json({"next": vkey})
    else:
        console().print(vkey, soft_wrap=True)


@app.command()
def rotate(
    reason: Annotated[str | None, typer.Option(help="Why; kept in the record.", show_default=False)] = None,
    url: Url = None,
    as_person: AsPerson = None,
    key_file: KeyFile = None,
    people: PeopleFile = None,
    development: Development = False,
    as_json: AsJson = False,
) -> None:
    """Let another key sign from here on: the one that was prepared, or a new one. The old private key is gone then."""
    who = credential(as_person, key_file, development)
    with opened(url, can=["configure"], people=people, development=development) as remit:
        done = remit.rotate_key(reason=reason, credential=who)
    keys = LogKeys(done.epochs)
    if as_json:
        show_json({"record": done.record_id, **_as_dict(keys)})
        return
    former, current = keys.epochs[-2:]
    show = console()
    show.print(f"Key {current.verifier.key_id.hex()} signs {_sizes(current)} records; record {done.record_id} says so.")
    show.print("Give these to auditors and witnesses in the place of the key that they know:")
    for epoch in (former, current):
        show.print(f"  {epoch.text}", soft_wrap=True)


def _as_dict(keys: LogKeys) -> dict[str, Any]:
    return {
        "origin": keys.origin,
        "keys": [
            {
                "key": epoch.text,
                "vkey": epoch.verifier.vkey,
                "key_id": epoch.verifier.key_id.hex(),
                "from": epoch.start,
                "to": epoch.end,
            }
            for epoch in keys.epochs
        ],
    }


def _sizes(epoch: Epoch) -> str:
    return f"{epoch.start} and more" if epoch.end is None else f"{epoch.start} to {epoch.end - 1}"
