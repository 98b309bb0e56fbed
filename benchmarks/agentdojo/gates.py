"""What the harness asks of a gate, and the reference gates that give the bounds of the measurement."""

from __future__ import annotations

import collections
import json
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Literal, NamedTuple, Protocol

Verdict = Literal["permit", "deny", "approved", "refused"]
"""permit: ran. deny: did not run. approved: ran after a person said yes. refused: a person said no."""

RAN: frozenset[Verdict] = frozenset({"permit", "approved"})


class ToolOutput(NamedTuple):
    """What a tool gave back: JSON-able data, and AgentDojo's error text when it failed."""

    data: Any
    error: str | None


Execute = Callable[..., ToolOutput]
Approver = Callable[[str, Mapping[str, Any]], bool]
"""A person's answer to one call, seen with its exact arguments."""


class Run(Protocol):
    """One agent run: the authority for it is fresh, and so are its limits."""

    def call(self, tool: str, arguments: Mapping[str, Any], execute: Execute) -> Verdict:
        """Decides, and calls `execute(**arguments)` exactly when the call may run."""

    def close(self) -> None: ...


class Gate(Protocol):
    """Opens runs. `finish` says what evidence they left, or None for a gate that keeps none."""

    def begin(self, suite: str, task: str, approver: Approver) -> Run: ...

    def finish(self) -> dict[str, Any] | None: ...


def plain(value: Any) -> Any:
    """`value` with enum members as their values and tuples as lists: what a model would have sent as JSON."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    return value


def call_key(tool: str, arguments: Mapping[str, Any]) -> str:
    """One text per call: equal for calls that do the same (12 and 12.0, a missing and a null argument)."""

    def canonical(value: Any) -> Any:
        if isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, Mapping):
            return {key: canonical(item) for key, item in value.items()}
        return [canonical(item) for item in value] if isinstance(value, list) else value

    given = {name: canonical(plain(value)) for name, value in arguments.items() if value is not None}
    return json.dumps([tool, given], sort_keys=True, default=str)


class _Decided:
    """A run whose verdict is a plain function of the call."""

    def __init__(self, permits: Callable[[str, Mapping[str, Any]], bool]) -> None:
        self._permits = permits

    def call(self, tool: str, arguments: Mapping[str, Any], execute: Execute) -> Verdict:
        if not self._permits(tool, arguments):
            return "deny"
        execute(**arguments)
        return "permit"

    def close(self) -> None:
        pass


GroundTruth = Callable[[str, str], list[tuple[str, Mapping[str, Any]]]]
"""(suite, user task) → the calls that AgentDojo's authors make for it."""


class ReferenceGate:
    """none: everything runs. tools: the task's own tools. exact: its own calls. exact-once: each once.

    All but `none` read the ground truth, so they are bounds and not defences.
    """

    def __init__(self, kind: str, ground_truth: GroundTruth) -> None:
        self._kind = kind
        self._ground_truth = ground_truth

    def begin(self, suite: str, task: str, approver: Approver) -> Run:
        if self._kind == "none":
            return _Decided(lambda tool, arguments: True)
        calls = self._ground_truth(suite, task)
        if self._kind == "tools":
            tools = {tool for tool, _ in calls}
            return _Decided(lambda tool, arguments: tool in tools)
        left = collections.Counter(call_key(tool, arguments) for tool, arguments in calls)

        def exact(tool: str, arguments: Mapping[str, Any]) -> bool:
            key = call_key(tool, arguments)
            if left[key] <= 0:
                return False
            if self._kind == "exact-once":
                left[key] -= 1
            return True

        return _Decided(exact)

    def finish(self) -> dict[str, Any] | None:
        return None


REFERENCE_GATES = ("none", "tools", "exact", "exact-once")
