"""The demo as a story in five parts: the grant, the work, the session in a sentence, the verdict, the evidence."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

import remit
from remit.authority.explain import sentences
from remit.cli.options import catalogue_files
from remit.cli.output import arguments, bullets, console, heading, indented, state, table
from remit.cli.pages import verdict_sentence
from remit.demo.world import PRINCIPAL, REVIEWER, TICKETS, World, comments, make, require_parts
from remit.errors import IdentityError, VerificationError
from remit.review.report import SessionReport, report

if TYPE_CHECKING:
    from remit.demo.agent import Step

COMMENT = "It followed instructions that a stranger wrote into the ticket; the grant stopped them."


def tell(folder: Path) -> None:
    """Run the demo in `folder` and print it. Raises `UsageError` when something that it needs is missing."""
    require_parts()
    from remit.demo.agent import script  # needs the extras that `require_parts` looked for

    show = console()
    [git_catalogue] = catalogue_files([Path("git")])
    world = make(folder, git_catalogue)
    show.print(heading("Remit demo: an agent, a ticket, and a stranger who wrote into the ticket"))
    show.print("  Only the model is scripted. Database, git server, keys and ledger are real. Ticket 88 says:")
    show.print(Padding(Text(TICKETS[0][2], style="italic"), (1, 4, 0, 4)))
    with _open(world, folder) as app:
        people = _enrol(app, world)
        grant = _grant(show, app, world, people[PRINCIPAL])
        session = app.session(grant, workload="process:demo")
        _work(show, app, world, session, script(world))
        found = report(app.deployment, session.id)
        _sentence(show, world, found)
        _verdict(show, app, session.id, people)
    _evidence(show, world, folder)
    _leave(show, folder, session.id)


def _open(world: World, folder: Path) -> remit.App:
    return remit.open(world.url, catalogue=world.catalogues, people=world.people)


def _enrol(app: remit.App, world: World) -> dict[str, remit.Credential]:
    people = {person: remit.Credential.load(person, world.key(person)) for person in (PRINCIPAL, REVIEWER)}
    app.enrol(PRINCIPAL, people[PRINCIPAL].public_key)
    app.enrol(REVIEWER, people[REVIEWER].public_key, credential=people[PRINCIPAL])
    return people


def _grant(show: Console, app: remit.App, world: World, me: remit.Credential) -> remit.Grant:
    grant = app.issue(world.grant, {"ticket": 88}, key="ticket-88", credential=me)
    _part(show, 1, f"The grant: what {PRINCIPAL} lets the agent do, signed, for 20 minutes")
    shown = [said.replace(str(world.folder), "…") for said in sentences(grant.terms, app.deployment.catalogue)]
    show.print(indented(bullets(said for said in shown[1:] if not said.startswith("Unbounded"))))
    return grant


def _work(show: Console, app: remit.App, world: World, session: remit.Session, steps: Sequence[Step]) -> None:
    from remit.demo.agent import work

    _part(show, 2, "The work: LangChain calls a database and, through `remit mcp proxy`, a git MCP server")
    with show.status("the agent works"):
        asyncio.run(work(app, world, session))
    show.print(indented(_timeline(world, report(app.deployment, session.id), steps)))


def _timeline(world: World, found: SessionReport, steps: Sequence[Step]) -> Table:
    """What the agent said, from its script, beside what the ledger says happened."""
    rows = []
    for step, call in zip(steps, found.calls, strict=True):
        given = {name: _short(world, value) for name, value in (call.arguments or {}).items()}
        gate = Text.assemble(state(call.state))
        if call.reason is not None and call.effect != "permit":
            gate.append(f" {call.code}\n", style="bold")
            gate.append(_short(world, call.reason), style="dim")
        rows.append((call.number, step.says, f"{call.tool}\n{arguments(given, 40)}", gate))
    return table(
        [
            ("#", {"justify": "right"}),
            ("the agent says", {"ratio": 5}),
            ("and calls", {"ratio": 6, "overflow": "fold"}),
            ("the gate", {"ratio": 8, "overflow": "fold"}),
        ],
        rows,
    )


def _short(world: World, value: Any) -> Any:
    return value.replace(str(world.folder / "repositories"), "…") if isinstance(value, str) else value


def _sentence(show: Console, world: World, found: SessionReport) -> None:
    _part(show, 3, "The session in one sentence")
    show.print(f"  {found.summary}")
    unused = ", ".join(clause.title for clause in found.unused)
    lines = [f"Granted and never used: {unused}."] if unused else []
    written = comments(world)
    lines.append(f"The ticket database holds {written} comment; the refused calls never reached a tool.")
    show.print(indented(bullets(lines)))


def _verdict(show: Console, app: remit.App, session_id: str, people: dict[str, remit.Credential]) -> None:
    _part(show, 4, "The verdict: a person decides, and not the one whose authority it was")
    try:
        app.verdict(session_id, "within", reason=None, credential=people[PRINCIPAL])
    except IdentityError as error:
        show.print(indented(Text.assemble(("✗ ", "red"), f"{PRINCIPAL} tries: {error}")))
    app.verdict(session_id, "attempted", reason="attempt_hostile", comment=COMMENT, credential=people[REVIEWER])
    [given] = report(app.deployment, session_id).verdicts
    show.print(indented(Text.assemble(("✓ ", "green"), verdict_sentence(given))))


def _evidence(show: Console, world: World, folder: Path) -> None:
    _part(show, 5, "The evidence: recomputed from the first byte, then tampered with")
    with _open(world, folder) as app:
        verified = app.verify()
    whole = f"{verified.size} records verified: every hash, signature and sequence recomputed."
    show.print(indented(Text.assemble(("✓ ", "green"), whole)))
    copy = _copy(world)
    index, was, now = _edit_one_byte(copy.folder / "remit.db")
    show.print(indented(Text(f"In a copy, one byte of record {index} is changed on disk: {was} becomes {now}.")))
    try:
        with _open(copy, folder) as tampered:
            tampered.verify()
    except VerificationError as error:
        show.print(indented(Text.assemble(("✗ ", "red"), f"the copy does not verify: {error}")))
    else:
        raise VerificationError("the copy was edited and verified all the same", index=index)


def _copy(world: World) -> World:
    """A copy of ledger and keys, in a folder of its own."""
    copy = World(world.folder / "tampered")
    copy.folder.mkdir()
    with (
        closing(sqlite3.connect(world.folder / "remit.db")) as source,
        closing(sqlite3.connect(copy.folder / "remit.db")) as target,
    ):
        source.backup(target)
    shutil.copytree(world.folder / "remit.db.remit", copy.folder / "remit.db.remit")
    for name in ("catalogue.yaml", "git.yaml", "people.yaml"):
        shutil.copy(world.folder / name, copy.folder / name)
    return copy


def _edit_one_byte(database: Path) -> tuple[int, str, str]:
    """Change on whose behalf the agent commented, in the file itself: (record, what stood there, what does)."""
    with closing(sqlite3.connect(database)) as reading:
        [(index, body)] = reading.execute(
            "SELECT leaf.idx, record.body FROM record JOIN leaf ON leaf.rid = record.rid "
            "WHERE record.type = 'call.intent' ORDER BY leaf.idx DESC LIMIT 1"
        ).fetchall()
    content = bytearray(database.read_bytes())
    was, now = b"user:ravi@acme.com", b"user:ravi@acne.com"
    place = content.index(bytes(body)) + bytes(body).index(was)
    content[place : place + len(now)] = now
    database.write_bytes(content)
    return int(index), was.decode(), now.decode()


def _leave(show: Console, folder: Path, session_id: str) -> None:
    show.print()
    show.print(heading("It is all still there"))
    program, flag = _program(), f"--url sqlite:///{folder / 'remit.db'}"
    for line in (f"session show {session_id}", f"review show {session_id}", "who crm://tickets/89", "verify"):
        show.print(f"  {program} {line} {flag}", soft_wrap=True, markup=False)


def _program() -> str:
    """How to call the command line from this shell: by its name where that is on the path, else as it was called."""
    if shutil.which("remit") is not None:
        return "remit"
    return sys.argv[0] if Path(sys.argv[0]).name == "remit" else f"{sys.executable} -m remit"


def _part(show: Console, number: int, title: str) -> None:
    show.print()
    show.print(heading(f"{number}. {title}"))


__all__ = ["tell"]
