"""How durable the record of a call has to be before its tool runs.

`durable`: committed, and synced to disk. `sequenced`: it has its index, under a signed head (on SQLite at once).
`witnessed`: enough witnesses have cosigned a head that covers it, so that nobody can take it back any more, whoever
holds the log's key. A tool's catalogue entry says what its calls need, the deployment what all calls need, and a call
may ask for more, never for less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

from remit.errors import EvidenceUnavailable, UsageError

if TYPE_CHECKING:
    from remit.calls import CallRequest, Ticket
    from remit.deployment import Deployment

Wait = Literal["durable", "sequenced", "witnessed"]
"""From weak to strong."""

PATIENCE: float = 10.0
"""Seconds that a call waits for its record to become as durable as it has to be."""

LEVELS: Final[tuple[Wait, ...]] = get_args(Wait)


def read_wait(level: str | None) -> Wait:
    """A level by its name; `durable` when omitted. Raises `UsageError`."""
    if level is None:
        return "durable"
    for known in LEVELS:
        if level == known:
            return known
    raise UsageError(f"wait={level!r} is no level of durability; expected {', '.join(LEVELS[:-1])} or {LEVELS[-1]}")


def strongest(*levels: Wait) -> Wait:
    """The one that covers all of them."""
    return max(levels, key=LEVELS.index)


def needed(deployment: Deployment, tool: str, request: CallRequest) -> Wait:
    """What the deployment, the catalogue and the call ask for, whichever is strongest."""
    known = deployment.catalogue.entry(tool)
    asked = read_wait(request.wait)
    return strongest(deployment.wait, asked, known.wait if known is not None else "durable")


def missing(deployment: Deployment, request: CallRequest, ticket: Ticket) -> EvidenceUnavailable | None:
    """Wait until the call's record is as durable as it has to be; why it is not, when it does not become so in time."""
    level = needed(deployment, ticket.tool, request)
    if level == "durable":
        return None
    ledger = deployment.ledger
    try:
        if level == "sequenced":
            ledger.wait_sequenced([ticket.written], deadline=PATIENCE)
        else:
            ledger.wait_witnessed(ticket.written, deadline=PATIENCE)
    except EvidenceUnavailable as error:
        return EvidenceUnavailable(
            f"{ticket.tool} did not run: its record has to be {level}, and {error}", call_id=ticket.call_id
        )
    return None


def may_queue(deployment: Deployment, tool: str) -> bool:
    """Whether the outcome of this tool's calls may ride the next commit, without its caller waiting for that."""
    known = deployment.catalogue.entry(tool)
    return known is not None and known.outcome_wait == "queued"
