"""What a call does that needs a person's answer: raise at once, or wait a while for it.

An answer may come from anywhere: another thread, another process, another host. So whoever waits looks at the store,
often at first and then twice a second; nobody else is held up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select
from sqlmodel import col

from remit.authority.durations import parse_span, show_moment
from remit.errors import ApprovalRequired, Denied, Remedy, UsageError
from remit.store.tables import ApprovalRow

if TYPE_CHECKING:
    from remit.deployment import Deployment

RAISE: Final = "raise"
FIRST: Final = 0.02
SLOWEST: Final = 0.5


def read_on_ask(text: str) -> timedelta | None:
    """How long to wait for an answer: None for `raise`, a span for `wait:45s`. Raises `UsageError`."""
    if text == RAISE:
        return None
    kind, colon, span = text.partition(":") if isinstance(text, str) else ("", "", "")
    if kind == "interrupt":
        raise UsageError(
            'on_ask="interrupt" pauses a framework that can be paused (LangGraph, MCP elicitation); that part comes '
            'with a later version. Use "raise", or "wait:45s"'
        )
    if kind == "wait" and colon:
        try:
            return parse_span(span)
        except ValueError as error:
            raise UsageError(f"on_ask={text!r}: {error}") from error
    raise UsageError(f'on_ask={text!r} is not known; expected "raise", or "wait:" and a span such as "wait:45s"')


class Waiting:
    """One wait for the answers that a call needs, until its time is over."""

    def __init__(self, deployment: Deployment, span: timedelta) -> None:
        self._deployment = deployment
        self._deadline = time.monotonic() + span.total_seconds()

    def answered(self, asked: ApprovalRequired) -> None:
        """Block this thread until the answer is yes. Raises `Denied` for no, and `asked` when the time is over."""
        for pause in self._pauses(asked):
            if self._look(asked):
                return
            time.sleep(pause)

    async def aanswered(self, asked: ApprovalRequired) -> None:
        """As `answered`, without holding up the event loop."""
        for pause in self._pauses(asked):
            if await asyncio.to_thread(self._look, asked):
                return
            await asyncio.sleep(pause)

    def _pauses(self, asked: ApprovalRequired) -> Iterator[float]:
        pause = FIRST
        while (left := self._deadline - time.monotonic()) > 0:
            yield min(pause, left)
            pause = min(SLOWEST, pause * 1.5)
        raise asked

    def _look(self, asked: ApprovalRequired) -> bool:
        """Whether there is nothing left to wait for: an answer, or a question that somebody else used up."""
        row = self._row(asked.approval_id)
        state = row["state"]
        if state == "refused":
            raise Denied(
                "A person refused exactly this call.",
                code="approval_refused",
                rule=asked.rule,
                call_id=asked.call_id,
                remedy=Remedy("stop"),
            )
        return bool(state != "requested" or row["expires"] <= show_moment(self._deployment.ledger.now()))

    def _row(self, approval_id: str) -> Any:
        query = select(col(ApprovalRow.state), col(ApprovalRow.expires)).where(col(ApprovalRow.id) == approval_id)
        [row] = self._deployment.ledger.read().mappings(query)
        return row
