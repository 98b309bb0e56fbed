"""Governed tools: a subclass of the tool's own class whose innermost method, `_run` or `_arun`, is the gate.

Every way into a LangChain tool (`invoke`, `batch`, `stream`, `run`, an agent, a `ToolNode`) ends in `_run` or `_arun`,
after validation. There the arguments are judged, and the original method runs, on an object of the original class
that has the governed tool's state and lives as long as the call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.tools import BaseTool, StructuredTool, Tool
from pydantic import PrivateAttr

import remit
from remit_langchain import doors
from remit_langchain.arguments import aliases_of, injected_names, sort_arguments
from remit_langchain.definitions import framework_names
from remit_langchain.dressing import dress, parameters_of
from remit_langchain.graph import identify
from remit_langchain.invocation import noted, take
from remit_langchain.models import like, subclass
from remit_langchain.refusals import refusal_message
from remit_langchain.seat import Passage, Seat

T = TypeVar("T", bound=BaseTool)

ENTRANCES: Final = (
    "invoke", "ainvoke", "run", "arun", "batch", "abatch", "batch_as_completed", "abatch_as_completed",
    "stream", "astream", "transform", "atransform",
)  # fmt: skip
"""Ways into a tool that LangChain itself leads to `_run` or `_arun`; a class that has its own cannot be vouched for."""


class GovernedTool:
    """What a governed tool has beside its own class. `isinstance(tool, GovernedTool)` says that a tool is governed."""

    _remit_seat: Seat

    def run(
        self,
        tool_input: Any,
        *args: Any,
        config: RunnableConfig | None = None,
        tool_call_id: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """As `BaseTool.run`. A refusal is an error message where a model asked; without a tool call id it raises."""
        with noted(self, tool_input, config, tool_call_id):
            try:
                return super().run(tool_input, *args, config=config, tool_call_id=tool_call_id, **kwargs)  # type: ignore[misc]
            except remit.Denied as denied:
                return _answer(self, denied, tool_call_id)

    async def arun(
        self,
        tool_input: Any,
        *args: Any,
        config: RunnableConfig | None = None,
        tool_call_id: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """As `BaseTool.arun`; see `run`."""
        with noted(self, tool_input, config, tool_call_id):
            try:
                return await super().arun(tool_input, *args, config=config, tool_call_id=tool_call_id, **kwargs)  # type: ignore[misc]
            except remit.Denied as denied:
                return _answer(self, denied, tool_call_id)

    def model_copy(self, **kwargs: Any) -> Any:
        """As `BaseTool.model_copy`: the copy is governed as this one is, with whatever is updated."""
        return _close(super().model_copy(**kwargs))  # type: ignore[misc]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in doors.FIELDS:
            value = _door(self, name, value)
        super().__setattr__(name, value)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        _seat(self).__reduce_ex__(protocol)


def wrap(tool: T, seat: Seat) -> T:
    """A governed copy of `tool`; one that is governed already is returned as it is.

    Raises `UsageError` for a class with ways in of its own.
    """
    if isinstance(tool, GovernedTool):
        return tool  # type: ignore[unreachable]  # the class is made at run time
    base = type(tool)
    _refuse_own_entrances(base)
    private = {**(tool.__pydantic_private__ or {}), "_remit_seat": seat}
    made: T = like(tool, _governed_class(base), dict(tool.__dict__), private)
    _close(made)
    seat.definitions.of(made)
    return made


def _close(tool: Any) -> Any:
    """Put a door before each function that the tool holds in the open."""
    for name in doors.FIELDS:
        if name in tool.__dict__:
            tool.__dict__[name] = _door(tool, name, tool.__dict__[name])
    return tool


def _door(tool: Any, name: str, function: Any) -> Any:
    names = tuple(tool.args) if isinstance(tool, Tool) else None
    return doors.door(function, _seat(tool), names, asynchronous=name == "coroutine")


def _seat(tool: Any) -> Seat:
    seat = (tool.__pydantic_private__ or {}).get("_remit_seat")
    if not isinstance(seat, Seat):
        raise remit.UsageError(
            f"this {type(tool).__name__} was constructed, not governed, so it has no gate and does not run; "
            "call govern() on a tool, or copy a governed one"
        )
    return seat


def _answer(tool: Any, denied: remit.Denied, tool_call_id: str | None) -> ToolMessage:
    if tool_call_id is None:
        raise denied
    return refusal_message(denied, tool_call_id, tool.name)


def _refuse_own_entrances(base: type[BaseTool]) -> None:
    for name in ENTRANCES:
        owner = next(one for one in base.__mro__ if name in one.__dict__)
        if owner.__module__.partition(".")[0] != "langchain_core":
            raise remit.UsageError(
                f"{owner.__qualname__} has its own {name}(), which need not pass the gate; "
                "do the work in _run() or _arun(), where every way into a LangChain tool ends"
            )


# -- the classes


@functools.lru_cache(maxsize=1024)
def _governed_class(base: type[BaseTool]) -> type[Any]:
    members: dict[str, Any] = {"_remit_seat": PrivateAttr(), "_run": _gate(base)}
    if base._arun is not BaseTool._arun:  # else it runs `_run` in a thread, and the gate with it
        members["_arun"] = _async_gate(base)
    return subclass(base, GovernedTool, members)


@functools.lru_cache(maxsize=1024)
def _bare_class(base: type[BaseTool]) -> type[Any]:
    """The class of the object that a tool's own method runs on: `base`, seeing functions where its state has doors."""
    made = subclass(base, None, {})
    for name in doors.FIELDS:
        if name in base.model_fields:
            setattr(made, name, property(functools.partial(_behind_door, name)))
    return made


def _behind_door(name: str, tool: BaseTool) -> Any:
    return doors.behind(tool.__dict__.get(name))


def _bare(tool: Any, base: type[BaseTool]) -> Any:
    return like(tool, _bare_class(base), tool.__dict__, tool.__pydantic_private__)


def _gate(base: type[BaseTool]) -> Any:
    original = base._run
    own_body = original not in (StructuredTool._run, Tool._run)
    arrange = _arranger(original)

    def _run(self: Any, *args: Any, **kwargs: Any) -> Any:
        bare = _bare(self, base)
        if not own_body and self.__dict__.get("func") is None:
            return bare._run(*args, **kwargs)  # has no body: says so
        return arrange(self, args, kwargs).through(bare._run)

    return dress(_run, original)


def _async_gate(base: type[BaseTool]) -> Any:
    original = base._arun
    own_body = original not in (StructuredTool._arun, Tool._arun)
    arrange = _arranger(original)

    async def _arun(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not own_body and self.__dict__.get("coroutine") is None:
            return await BaseTool._arun(self, *args, **kwargs)  # runs `_run` in a thread, and the gate with it
        return await arrange(self, args, kwargs).athrough(_bare(self, base)._arun)

    return dress(_arun, original)


def _arranger(original: Callable[..., Any]) -> Callable[[Any, tuple[Any, ...], dict[str, Any]], Passage]:
    """Makes a passage of a call to `original`, a tool's `_run` or `_arun`."""
    framework = framework_names(original)
    declared = tuple(name for name in parameters_of(original)[1:] if name not in framework)

    def arrange(tool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Passage:
        seat = _seat(tool)
        call = take(tool)
        positional = _positional_names(tool, declared, len(args))
        raw = call.raw if call is not None else None
        if isinstance(tool, Tool) and raw is not None and len(raw) == 1:
            raw = dict(zip(positional, raw.values(), strict=False))  # whatever a model called the one input
        named = dict(zip(positional, args, strict=True)) | kwargs
        definition = seat.definitions.of(tool)
        arguments = sort_arguments(
            named,
            raw,
            positional=positional,
            injected=injected_names(tool, named.keys() | (raw or {}).keys()),
            framework=framework,
            aliases=aliases_of(tool),
            defaults=definition.effective({})[0],
        )
        config = call.config if call is not None else ensure_config()
        tool_call_id = call.tool_call_id if call is not None else None
        return Passage(seat, arguments, config, identify(tool_call_id, config), definition)

    return arrange


def _positional_names(tool: Any, declared: tuple[str, ...], count: int) -> tuple[str, ...]:
    if count <= len(declared):
        return declared[:count]
    names = list(tool.args)
    return tuple(names[index] if index < len(names) else f"argument_{index + 1}" for index in range(count))
