"""The shapes that travel through the gate: what was asked, what was prepared, what came back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

from remit.authority.calls import CallView, Decision
from remit.errors import DenialCode, Remedy
from remit.ledger.values import Encoded
from remit.marks import NOTHING, Marked

if TYPE_CHECKING:
    from remit.authority.compile import CompiledGrant
    from remit.authority.decide import Match
    from remit.ledger import Draft
    from remit.resources.definitions import ToolDefinition

Status = Literal["ok", "tool_error", "exception", "cancelled", "pending", "not_run", "unknown"]
"""How a call ended. `ok`: the tool said it succeeded. `tool_error`: it returned, saying that it failed.
`exception`: it raised. `cancelled`: it was stopped while it ran. `pending`: it has not ended; a continuation follows.
`not_run`: the tool was never entered, and nothing was spent. `unknown`: nobody can say."""

Classify = Callable[[Any], tuple[Status, str | None]]
"""Reads a framework's result object: what it says happened, and in which words."""

RESUMABLE: Final[frozenset[str]] = frozenset({"denied", "not_run"})
"""States of an earlier attempt after which the same identity may be tried afresh: the tool body was never entered."""


@dataclass(frozen=True, slots=True)
class CallRequest:
    """One call as an adapter hands it in. `run(**arguments)` is the tool; nothing else of it is known here.

    `call_id` is the framework's id for the call and `scope` what makes that id unique within the session (a run, step
    or connection). Without `call_id` there is no stable identity and every request is a new call. `objection` is an
    adapter's sentence why what was sent is not what its framework would run; such a call is refused.
    """

    tool: str
    arguments: Mapping[str, Any]
    run: Callable[..., Any]
    call_id: str | None = None
    scope: str | None = None
    injected: Mapping[str, Any] = field(default_factory=dict)
    classify: Classify | None = None
    definition: ToolDefinition | None = None
    passthrough: tuple[type[BaseException], ...] = ()
    continues: str | None = None
    approval_id: str | None = None
    claimed: Mapping[str, Any] = field(default_factory=dict)
    objection: str | None = None
    foreign: bool = False
    """The tool belongs to a server that somebody else runs: first sight does not accept what it says of itself."""
    accept_new: bool = False
    """… but the operator said that it does, this once."""
    on_ask: str | None = None
    wait: str | None = None


class CallOptions(TypedDict, total=False):
    """What `Session.call` and `acall` take beside tool, arguments and the function to run."""

    call_id: str | None
    """The framework's id for the call: with it the call runs once, however often it is asked for."""
    scope: str | None
    """The run, step or connection in which `call_id` is unique."""
    injected: Mapping[str, Any]
    """Arguments that the framework adds, not the model: recorded where they are scalars."""
    classify: Classify | None
    """Reads the result object."""
    definition: ToolDefinition | None
    """The tool's schema and description, to be pinned."""
    passthrough: tuple[type[BaseException], ...]
    """Exceptions that are the framework's control flow, not a failure: the call is `pending` then."""
    continues: str | None
    """The pending call that this one goes on with."""
    claimed: Mapping[str, Any]
    """What the request says of itself (`principal`, `agent`, `grant`): compared, never believed."""
    foreign: bool
    """The tool belongs to a server that somebody else runs: a person accepts its definition before its first call."""
    accept_new: bool
    """The operator said that what such a server lists is accepted at first sight."""
    on_ask: str | None
    """What to do when the call needs an approval: `raise`, or `wait:45s`; the session's own when omitted."""
    wait: str | None
    """How durable the record has to be before the tool runs: `durable`, `sequenced`, `witnessed`. Only strengthens."""


@dataclass(slots=True)
class Prepared:
    """A request after step (1): the snapshot that will run, the view that is judged, and its keyed digests.

    `chain` are the versions of the grants that it was matched with.
    """

    tool: str
    chain: tuple[CompiledGrant, ...]
    snapshot: dict[str, Any]
    encoded: Encoded
    view: CallView
    content: str
    identity: str | None
    named: frozenset[str]
    matched: Match
    provisional: Decision
    draft: Draft | None = None
    injected: Encoded = field(default_factory=lambda: Encoded({}))
    marked: Marked = NOTHING

    def refusal(self, code: DenialCode, reason: str, remedy: Remedy | None = None) -> Decision:
        """The decision to refuse this call for what the store says of it, which no grant decides."""
        return Decision(
            effect="deny",
            code=code,
            rule=f"remit/{code}",
            reason=reason,
            remedy=remedy or Remedy("stop"),
            clause=None,
            accesses=self.view.accesses,
            spends=(),
            need=None,
            unbounded=(),
        )


@dataclass(frozen=True, slots=True)
class Ticket:
    """A call that may run now: its intent is durable. `process` is the one that it may run in."""

    call_id: str
    record_id: str
    tool: str
    spends: tuple[tuple[str, str], ...]
    root: str
    labels: tuple[str, ...]
    started: int
    resumed: bool = False
    process: int = field(default_factory=os.getpid)
    marked: Marked = NOTHING
    written: str = ""
    """The record with which the call was let in: `record_id`, or that of its going on."""

    @classmethod
    def begin(
        cls,
        call_id: str,
        record_id: str,
        tool: str,
        spends: tuple[tuple[str, str], ...],
        root: str,
        labels: tuple[str, ...] = (),
        *,
        resumed: bool = False,
        marked: Marked = NOTHING,
        written: str = "",
    ) -> Ticket:
        """A ticket whose clock starts now (monotonic nanoseconds). `root`: the grant that its `labels` go to.

        `resumed`: the call goes on, it does not begin. `marked`: what of it must not be kept.
        """
        now = time.monotonic_ns()
        return cls(call_id, record_id, tool, spends, root, labels, now, resumed, marked=marked, written=written)


@dataclass(frozen=True, slots=True)
class Refused:
    """A call that may not run, with everything that its refusal says."""

    decision: Decision
    call_id: str
    approval_id: str | None = None
    fresh: tuple[str, ...] = ()
    """Questions that were put just now."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A call that ran before; `result_record` holds what it returned."""

    call_id: str
    result_record: str


@dataclass(frozen=True, slots=True)
class Join:
    """A call that is running in this process at this moment."""

    call_id: str


@dataclass(frozen=True, slots=True)
class Amended:
    """Nothing was decided: a grant has a newer version than the one that the call was matched with."""


Entry = Ticket | Refused | Replay | Join | Amended
"""What the store transaction of steps (3) and (4) came to."""


class Running:
    """Calls with a stable identity that are running in this process, so that a re-entry can wait for the result."""

    def __init__(self) -> None:
        self._futures: dict[str, Future[Any]] = {}

    def begin(self, call_id: str) -> None:
        """Called in the writer thread, before anyone can see that the call runs."""
        self._futures[call_id] = Future()

    def of(self, call_id: str) -> Future[Any] | None:
        """The result to come, or None when the call has ended (or was never here)."""
        return self._futures.get(call_id)

    def end(self, call_id: str, result: Any = None, error: BaseException | None = None) -> None:
        """Hand result or error to whoever joined."""
        future = self._futures.pop(call_id, None)
        if future is None:
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
