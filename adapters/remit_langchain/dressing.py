"""Making a wrapper look like what it wraps, without leaving a way to it.

LangChain and LangGraph read signatures and type hints to decide what to inject. `functools.wraps` would keep them, and
with them `__wrapped__`; so signature and hints are copied resolved, and nothing points back.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

F = TypeVar("F", bound=Callable[..., Any])


def dress(wrapper: F, original: Callable[..., Any]) -> F:
    """Give `wrapper` the name, documentation, signature and type hints of `original`."""
    functools.update_wrapper(wrapper, original)
    wrapper.__dict__.pop("__wrapped__", None)
    hints = hints_of(original)
    wrapper.__annotations__ = hints
    try:
        signature = inspect.signature(original)
    except (ValueError, TypeError):  # some builtins have none
        return wrapper
    parameters = [one.replace(annotation=hints.get(one.name, one.annotation)) for one in signature.parameters.values()]
    returns = hints.get("return", signature.return_annotation)
    wrapper.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=parameters, return_annotation=returns
    )
    return wrapper


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Resolved type hints, `Annotated` kept; one that cannot be resolved stays as it was written."""
    target: Any = function.func if isinstance(function, functools.partial) else function
    if not inspect.isroutine(target):
        target = type(target).__call__
    try:
        return get_type_hints(target, include_extras=True)
    except Exception:  # noqa: BLE001 - annotations run foreign code; one that fails must not hide the others
        written = dict(getattr(target, "__annotations__", {}))
        return {name: _resolved(hint, getattr(target, "__globals__", {})) for name, hint in written.items()}


def _resolved(hint: Any, names: dict[str, Any]) -> Any:
    def holder() -> None: ...

    holder.__annotations__ = {"hint": hint}
    try:
        return get_type_hints(holder, globalns=names, include_extras=True)["hint"]
    except Exception:  # noqa: BLE001 - as above
        return hint


def parameters_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names that positional arguments would take, in order; empty where nobody can say."""
    try:
        found = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return ()
    return tuple(one.name for one in found if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD))
