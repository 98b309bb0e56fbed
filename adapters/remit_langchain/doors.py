"""`tool.func` and `tool.coroutine`: calling them is calling the tool, so they lead through the gate too."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final

from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.tools.base import _get_injected_args_keys_from_signature

from remit_langchain.arguments import FRAMEWORK, sort_arguments
from remit_langchain.dressing import dress, hints_of, parameters_of
from remit_langchain.graph import CallIdentity
from remit_langchain.seat import Passage, Seat

FIELDS: Final = ("func", "coroutine")

_behind: Final[weakref.WeakKeyDictionary[Callable[..., Any], Callable[..., Any]]] = weakref.WeakKeyDictionary()
"""What lies behind each door. Kept here, so that nothing on a tool leads to it."""


def door(function: Any, seat: Seat, names: tuple[str, ...] | None = None, *, asynchronous: bool) -> Any:
    """A function that calls `function` through the gate. None, and what is a door already, stay as they are.

    `names` are what its positional arguments are called in a grant; those of its signature when omitted.
    """
    if function is None or is_door(function):
        return function
    names = parameters_of(function) if names is None else names
    injected = _get_injected_args_keys_from_signature(function)
    framework = FRAMEWORK | {name for name, hint in hints_of(function).items() if hint is RunnableConfig}

    def passage(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Passage:
        positional = names[: len(args)] + tuple(f"argument_{index + 1}" for index in range(len(names), len(args)))
        arguments = sort_arguments(
            {**dict(zip(positional, args, strict=True)), **kwargs},
            None,
            positional=positional,
            injected=injected,
            framework=framework,
        )
        return Passage(seat, arguments, ensure_config(), CallIdentity(None, None), seat.definitions.latest)

    if asynchronous or inspect.iscoroutinefunction(function):

        async def through_the_gate(*args: Any, **kwargs: Any) -> Any:
            return await passage(args, kwargs).athrough(function)

        made: Callable[..., Any] = through_the_gate
    else:

        def through_the_gate_now(*args: Any, **kwargs: Any) -> Any:
            return passage(args, kwargs).through(function)

        made = through_the_gate_now
    dress(made, function)
    _behind[made] = function
    return made


def is_door(function: Any) -> bool:
    """Whether `function` leads through the gate."""
    return inspect.isfunction(function) and function in _behind


def behind(function: Any) -> Any:
    """What a door leads to; anything else is itself."""
    return _behind[function] if is_door(function) else function
