"""`remit verify`: recompute everything that the ledger, or a bundle of evidence, claims."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from remit import remit_verify
from remit.authority.durations import read_span
from remit.cli.border import NO, say
from remit.cli.options import AsJson, Url, require_ledger
from remit.cli.output import at, console, facts, plural, show_json
from remit.deploying import default_url
from remit.errors import UsageError, VerificationError
from remit.ledger import Ledger, Verified
from remit.ledger.helping import MAX_JOBS
from remit.ledger.witnessed import Witnessed, require_witnessed
from remit.witness.policy import Policy

Keys = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        help="The log's key: VKEY, VKEY@FROM-TO for the heads of these sizes only, or a file; may be repeated.",
        show_default=False,
    ),
]
Witnesses = Annotated[
    list[str] | None,
    typer.Option("--witness", help="A witness's key: VKEY or a file; may be repeated.", show_default=False),
]
Quorum = Annotated[
    int | None, typer.Option(help="How many of the witnesses are enough. Without it, all.", show_default=False)
]
PolicyFile = Annotated[
    Path | None,
    typer.Option("--policy", help="A c2sp.org/tlog-policy file instead of --witness.", show_default=False),
]
Fresh = Annotated[
    str | None, typer.Option(help="How old the witnesses' word may be: 24h, 90m, 7d.", show_default=False)
]
Since = Annotated[
    Path | None,
    typer.Option(help="A checkpoint that you kept: the log has to continue it.", show_default=False),
]
BundlePath = Annotated[
    Path | None,
    typer.Argument(metavar="BUNDLE", help="A folder or zip of evidence. Without it, the ledger.", show_default=False),
]

Jobs = Annotated[int, typer.Option(help="Processes that share the work on a long ledger.", min=1, max=MAX_JOBS)]


def verify(
    bundle: BundlePath = None,
    key: Keys = None,
    witness: Witnesses = None,
    quorum: Quorum = None,
    policy: PolicyFile = None,
    fresh: Fresh = None,
    since: Since = None,
    jobs: Jobs = 1,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Recompute every hash, signature and sequence. Exit 1: it breaks.

    Of a ledger, compared with the head pinned outside it, and, with --witness, with what these witnesses cosigned. Of a
    BUNDLE, with --key as the only trust root: nothing in it is taken for a key. `remit-verify` is the same check in one
    file.
    """
    if bundle is None:
        if key or since:
            raise UsageError("--key and --since are for a BUNDLE; name one. A ledger is checked against its pin")
        wanted = _quorum(witness, quorum, policy)
        if fresh is not None and wanted is None:
            raise UsageError("--fresh asks how old the word of witnesses may be: name them with --witness or --policy")
        _ledger(url, as_json, wanted, read_span("--fresh", fresh), jobs)
    else:
        if jobs != 1:
            raise UsageError("--jobs is for a ledger; a BUNDLE is checked by one process")
        _bundle(bundle, key, witness, quorum, policy, fresh, since, as_json)


def _bundle(
    bundle: Path,
    key: list[str] | None,
    witness: list[str] | None,
    quorum: int | None,
    policy: Path | None,
    fresh: str | None,
    since: Path | None,
    as_json: bool,
) -> None:
    try:
        roots = remit_verify.roots_of(key or (), witness or (), quorum=quorum, policy=policy, fresh=fresh, since=since)
        found = remit_verify.verify(remit_verify.Files.open(bundle), roots)
    except remit_verify.Misuse as error:
        raise UsageError(str(error)) from error
    except remit_verify.NotVerified as error:
        _not_verified(str(error), error.index, as_json)
    if as_json:
        show_json({"verified": True, **found.as_dict()})
    else:
        for sentence in remit_verify.sentences(found):
            console().print(sentence, markup=False)


def _not_verified(why: str, index: int | None, as_json: bool) -> NoReturn:
    if as_json:
        show_json({"verified": False, "at": index, "why": why})
    else:
        where = f" at record {index}" if index is not None else ""
        say(remit_verify.printable(f"NOT verified{where}: {why}"))
    raise typer.Exit(NO) from None


def _quorum(witness: list[str] | None, quorum: int | None, policy: Path | None) -> Policy | None:
    if policy is not None:
        if witness or quorum is not None:
            raise UsageError("--policy says who the witnesses are and how many it takes; leave --witness and --quorum")
        return Policy.load(policy)
    if witness:
        return Policy.of([_text(one) for one in witness], quorum)
    if quorum is not None:
        raise UsageError("--quorum says how many of the witnesses it takes: name them with --witness")
    return None


def _text(given: str) -> str:
    """A key, or what the file of this name holds."""
    path = Path(given)
    return path.read_text(encoding="utf-8").strip() if "+" not in given and path.is_file() else given


def _ledger(url: str | None, as_json: bool, quorum: Policy | None, fresh: timedelta | None, jobs: int) -> None:
    url = url or default_url()
    require_ledger(url)
    try:
        with Ledger.open(url, writer=False) as ledger:
            found = ledger.verify(jobs=jobs)
            origin, key = ledger.origin, ledger.verifier_key
            silent = ledger.silences()
            witnessed = None if quorum is None else require_witnessed(ledger.read(), quorum, fresh=fresh)
    except VerificationError as error:
        _not_verified(str(error), error.index, as_json)
    if as_json:
        said: dict[str, object] = {"silences": [one.as_record() for one in silent]}
        if witnessed is not None:
            said["witnessed"] = witnessed.as_record()
        show_json({"verified": True, "origin": origin, "key": key, **_as_dict(found), **said})
    else:
        _show(found, origin, key, witnessed)
        for one in silent:
            console().print(f"Note: {one}.")


def _as_dict(found: Verified) -> dict[str, object]:
    return {
        "records": found.size,
        "root": found.root.hex(),
        "checkpoints": found.checkpoints,
        "writers": found.writers,
        "sessions": found.sessions,
        "erased": found.erased,
        "pinned_size": found.pinned_size,
        "payloads_opened": found.payloads_opened,
        "relaxed_writers": found.relaxed,
        "lost": found.lost,
        "cosignatures": found.cosignatures,
    }


def _witnessed(found: Witnessed | None, size: int) -> str | None:
    if found is None:
        return None
    after = size - found.size
    rest = f"; {plural(after, 'record')} after that not yet" if after else ""
    return f"the first {plural(found.size, 'record')}, at {at(found.time)}, by {', '.join(found.by)}{rest}"


def _show(found: Verified, origin: str, key: str, witnessed: Witnessed | None) -> None:
    show = console()
    show.print(f"Verified: {found.size} records, every hash, signature and sequence recomputed.")
    if not found.payloads_opened:
        show.print("The key for arguments and results was not here, so only their presence was checked.")
    if found.relaxed:
        show.print(
            f"{plural(found.relaxed, 'writer')} recorded with relaxed durability: what they acknowledged last may have "
            "been lost in a power loss without a trace."
        )
    if found.lost:
        show.print(f"{plural(found.lost, 'record')} could not be written at the time; each recorder.gap says when.")
    pairs = [
        ("log", origin),
        ("key", key),
        ("root", found.root.hex()),
        ("signed checkpoints", found.checkpoints),
        ("cosignatures", found.cosignatures or None),
        ("witnessed", _witnessed(witnessed, found.size)),
        ("writers", found.writers),
        ("sessions", found.sessions),
        ("erased records", found.erased or None),
        ("pinned outside at", f"record {found.pinned_size}"),
    ]
    show.print(facts(pairs))
