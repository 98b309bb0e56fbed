"""What earlier results of a session hold for the `from` of a grant, read from their records.

What was read is kept for as long as the process lives, session by session, and read on from where it ended: records
are never edited, so nothing that was read can become wrong, whoever appended since. Only erasing takes something away,
and the record that says so is looked for first.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select
from sqlmodel import col

from remit.authority.calls import CallView
from remit.authority.compile import CompiledGrant
from remit.authority.picking import EarlierCall, Picker
from remit.authority.sources import Found, used_keys
from remit.errors import RemitError
from remit.ledger import values
from remit.store.tables import LeafRow, RecordRow

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Record
    from remit.resources.catalogue import Catalogue

logger = logging.getLogger("remit")

MAX_SESSIONS: Final = 64
"""Sessions whose calls are kept; the one that was used least recently goes first."""

MAX_RESULTS: Final = 64
"""Results of one session that are kept read; others are read again when they are looked at."""

CALL_TYPES: Final = ("call.intent", "call.resumed", "call.outcome")


class History:
    """The calls of one session so far, as its records have them."""

    def __init__(self) -> None:
        self.calls: dict[str, EarlierCall] = {}
        self.next = 0
        self.ahead: set[str] = set()
        """Records that were taken in before they had their index."""
        self._results: dict[str, tuple[Any] | None] = {}

    def add(self, record: Record, catalogue: Catalogue) -> None:
        """Take in one record of a call."""
        data = record.data
        if record.type == "call.outcome":
            self._ended(record, data)
            return
        permitted = data["decision"]["effect"] == "permit"
        known = self.calls.get(data["call"])
        if known is not None:
            known.permitted = known.permitted and permitted
            return
        entry = catalogue.entry(data["tool"])
        private = record.disclosed()
        made = EarlierCall(
            call=data["call"],
            tool=data["tool"],
            arguments=None if private is None else arguments_of(private),
            accesses=tuple((private or {}).get("accesses", ())),
            read_only=entry is not None and entry.read_only,
            permitted=permitted,
            begun=record.order,
        )
        if private is None:
            made.read_only = False
        self.calls[made.call] = made

    def _ended(self, record: Record, data: Mapping[str, Any]) -> None:
        call = self.calls.get(data["call"])
        if call is None:
            return
        call.ended, call.status, call.record = record.order, data["status"], record.id
        if data["status"] == "ok" and data.get("result", {}).get("kept"):
            call.result = lambda: self._result(record)
        else:
            call.result = lambda: None

    def _result(self, record: Record) -> tuple[Any] | None:
        if record.id not in self._results:
            private = record.disclosed()
            while len(self._results) >= MAX_RESULTS:
                self._results.pop(next(iter(self._results)), None)
            self._results[record.id] = result_of(private)
        return self._results[record.id]


def arguments_of(private: Mapping[str, Any]) -> dict[str, Any]:
    """A call's arguments with the defaults that were filled in, decoded from a record's private part."""
    found: dict[str, Any] = values.decode(private.get("arguments", {}))
    found.update(values.decode(private.get("defaults", {})))
    return found


def result_of(private: Mapping[str, Any] | None) -> tuple[Any] | None:
    """The result that an outcome record keeps, decoded, in a tuple; None where it was erased or cannot be read."""
    if private is None or "result" not in private:
        return None
    try:
        return (flattened(values.decode(private["result"])),)
    except ValueError:
        return None


def flattened(result: Any) -> Any:
    """Lists for tuples and sets, all through: an argument is JSON, and has neither."""
    if isinstance(result, tuple | set | frozenset | list):
        return [flattened(item) for item in result]
    if isinstance(result, dict):
        return {key: flattened(item) for key, item in result.items()}
    return result


class Histories:
    """The sessions of one deployment whose calls were read in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, History] = {}
        self._seen: int | None = None
        self._placed = 0

    def of(self, deployment: Deployment, session_id: str) -> tuple[EarlierCall, ...]:
        """The calls of a session up to now."""
        if not self._lock.acquire(timeout=10.0):  # a fork may have copied it held: then nothing is shared
            return tuple(read_history(deployment, session_id).calls.values())
        try:
            self._forget_erased(deployment)
            history = self._held.pop(session_id, None) or History()
            while len(self._held) >= MAX_SESSIONS:
                self._held.pop(next(iter(self._held)))
            _read_on(deployment, session_id, history)
            self._held[session_id] = history
            return tuple(history.calls.values())
        finally:
            self._lock.release()

    def _forget_erased(self, deployment: Deployment) -> None:
        """Erasing is rare and concerns any session, so that whatever was read before is simply read anew."""
        ledger = deployment.ledger
        newest = select(func.max(col(RecordRow.rid)), select(func.max(col(LeafRow.idx))).scalar_subquery())
        [(last, placed)] = ledger.read().rows(newest)
        if self._seen is not None and self._seen != last:
            erased = next(ledger.records(types=("evidence.erased",), start=self._placed), None)
            if erased is not None:
                self._held.clear()
        self._seen, self._placed = last or 0, 0 if placed is None else placed + 1


def read_history(deployment: Deployment, session_id: str, *, before: int | None = None) -> History:
    """A session's calls read from the start, up to (not including) the record whose order is `before`."""
    history = History()
    _read_on(deployment, session_id, history, before=before)
    return history


def _read_on(deployment: Deployment, session_id: str, history: History, *, before: int | None = None) -> None:
    for record in deployment.ledger.records(session=session_id, types=CALL_TYPES, start=history.next):
        if before is not None and record.order >= before:
            continue
        if record.id not in history.ahead:
            history.add(record, deployment.catalogue)
        if record.placed:
            history.ahead.discard(record.id)
            history.next = record.index + 1
        else:
            history.ahead.add(record.id)


def pickers_for(chain: Iterable[CompiledGrant], tool: str) -> tuple[Picker, ...]:
    """What has to be looked for, over all links; most grants need nothing."""
    return tuple({picker.key: picker for link in chain for picker in link.pickers_for(tool)}.values())


def gather(
    deployment: Deployment, session_id: str, chain: Iterable[CompiledGrant], view: CallView
) -> Mapping[str, Found]:
    """What earlier results of the session hold for this call. Empty when the grant asks for nothing.

    What cannot be read is not found: the call is then refused for want of a source, never let through.
    """
    pickers = pickers_for(chain, view.tool)
    if not pickers:
        return {}
    try:
        earlier = deployment.histories.of(deployment, session_id)
    except RemitError:
        logger.exception("the earlier results of session %s could not be read", session_id)
        return {}
    return find(pickers, earlier, view)


def find(pickers: Iterable[Picker], earlier: tuple[EarlierCall, ...], view: CallView) -> Mapping[str, Found]:
    """The same, from calls that were read already."""
    used = used_keys((*view.effective.values(), *view.injected.values()))
    return {picker.key: picker.find(earlier, used) for picker in pickers}


def recorded(sources: Mapping[str, Found]) -> list[dict[str, Any]]:
    """As a decision's record keeps them, erasable: for each selector what was found, and in which record."""
    return [{"key": key, **found.to_json()} for key, found in sources.items()]


def from_record(private: Mapping[str, Any]) -> dict[str, Found]:
    """What a decision was given, from its record."""
    return {
        each["key"]: Found.from_json({**each, "values": values.decode(each["values"])})
        for each in private.get("sources", ())
    }
