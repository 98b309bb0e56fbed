"""Where a governed tool meets the gate: under which key, in which session, as which call."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, Self

from langchain_core.runnables import RunnableConfig

import remit
from remit.app import only_app
from remit.current import no_grant, resolve_session
from remit_langchain.arguments import Arguments
from remit_langchain.definitions import Definitions
from remit_langchain.graph import CONTROL_FLOW, CallIdentity, Handoff, configured_session
from remit_langchain.results import keep, restore, said


@dataclass(eq=False, slots=True)
class Seat:
    """What a governed tool knows of Remit. Shared by all copies of the tool; it does not leave the process."""

    key: str
    app: remit.App | None
    session: remit.Session | None
    definitions: Definitions

    def find_session(self, config: RunnableConfig | None, arguments: dict[str, Any]) -> remit.Session:
        """The session of a call. Raises `Denied` (`no_grant`), on the record where an app is known."""
        try:
            return resolve_session(self.session, configured_session(config), self.app)
        except remit.Denied:
            raise no_grant(self.app or only_app(), self.key, arguments) from None

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise remit.UsageError(
            "a governed tool cannot be pickled, because its gate stays in this process; "
            "pickle the tool itself, and govern it where it runs"
        )


@dataclass(slots=True)
class Passage:
    """One call on its way through the gate."""

    seat: Seat
    arguments: Arguments
    config: RunnableConfig | None
    identity: CallIdentity
    definition: remit.ToolDefinition | None
    _returned: list[Any] = field(default_factory=list)

    def through(self, body: Callable[..., Any]) -> Any:
        """Have the gate judge, record and run `body`. Raises what the gate or the body raises."""

        def run(**snapshot: Any) -> Any:
            positional, named = self.arguments.build(snapshot)
            try:
                return self._keep(body(*positional, **named))
            except Handoff as handoff:
                return self._keep(handoff)

        session = self.seat.find_session(self.config, self.arguments.judged)
        return self._result(session.call(self.seat.key, self.arguments.judged, run, **self._options()))

    async def athrough(self, body: Callable[..., Any]) -> Any:
        """As `through`, for an async body."""

        async def run(**snapshot: Any) -> Any:
            positional, named = self.arguments.build(snapshot)
            try:
                result = body(*positional, **named)
                return self._keep(await result if inspect.isawaitable(result) else result)
            except Handoff as handoff:
                return self._keep(handoff)

        session = self.seat.find_session(self.config, self.arguments.judged)
        return self._result(await session.acall(self.seat.key, self.arguments.judged, run, **self._options()))

    def _options(self) -> dict[str, Any]:
        return {
            "call_id": self.identity.call_id,
            "scope": self.identity.scope,
            "injected": self.arguments.injected,
            "classify": lambda _: said(self._returned[-1]),
            "definition": self.definition,
            "passthrough": CONTROL_FLOW,
            "objection": self.arguments.objection,
        }

    def _keep(self, result: Any) -> Any:
        self._returned.append(result)
        return keep(result)

    def _result(self, kept: Any) -> Any:
        """What the tool returned here, or, when it ran before, what was kept of that."""
        result = self._returned[-1] if self._returned else restore(kept)
        if isinstance(result, Handoff):
            raise result
        return result
