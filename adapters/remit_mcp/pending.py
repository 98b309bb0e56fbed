"""Calls that have not ended: the server asked for input first, or answers later as a task.

A continuation is a request of its own, so what it continues is recognised by what came back: the same session, tool,
arguments and `requestState`, or the task's id. The memory is this process's; after a restart, or when it is full, a
continuation is a new call, decided and counted as one.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

MAX_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call that may be continued."""

    session_id: str
    tool: str
    arguments: Mapping[str, Any]
    call_id: str


class Pending:
    """Remembers pending calls until they are continued."""

    def __init__(self) -> None:
        self._states: OrderedDict[str, list[PendingCall]] = OrderedDict()
        self._tasks: OrderedDict[tuple[str, str], PendingCall] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, call: PendingCall, *, state: str, task: str | None) -> None:
        """`call` returned without having ended: with a `requestState` (or "" for none), or as a task."""
        with self._lock:
            if task is not None:
                self._tasks[call.session_id, task] = call
            else:
                self._states.setdefault(_key(call.session_id, call.tool, call.arguments, state), []).append(call)
            for memory in (self._states, self._tasks):
                while len(memory) > MAX_REMEMBERED:
                    memory.popitem(last=False)

    def take(self, session_id: str, tool: str, arguments: Mapping[str, Any], state: str) -> PendingCall | None:
        """The call that this continues, once. Calls with the same content and state are interchangeable."""
        key = _key(session_id, tool, arguments, state)
        with self._lock:
            waiting = self._states.get(key)
            if not waiting:
                return None
            found = waiting.pop(0)
            if not waiting:
                del self._states[key]
            return found

    def task(self, session_id: str, task: str) -> PendingCall | None:
        """The call that became this task, while its outcome is not known."""
        with self._lock:
            return self._tasks.get((session_id, task))

    def settle(self, session_id: str, task: str) -> None:
        """The task has ended."""
        with self._lock:
            self._tasks.pop((session_id, task), None)


def _key(session_id: str, tool: str, arguments: Mapping[str, Any], state: str) -> str:
    return json.dumps([session_id, tool, arguments, state], sort_keys=True)
