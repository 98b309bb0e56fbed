"""`remit.govern` and `remit.governed`: the two ways to put a tool behind the gate."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeVar, cast

from remit.app import App, only_app
from remit.current import no_grant, resolve_session
from remit.errors import Denied, UsageError
from remit.sessions import Session

if TYPE_CHECKING:
    from remit.sessions import Session as SessionType

F = TypeVar("F", bound=Callable[..., Any])

EXTRAS = {
    "langchain": "langchain",
    "langchain_core": "langchain",
    "langchain_community": "langchain",
    "langgraph": "langchain",
    "mcp": "mcp",
}
"""Which extra brings the adapter for objects of a package."""


def govern(
    x: Any,
    app: App | None = None,
    session: SessionType | None = None,
    server: str | None = None,
    grants: Any = None,
) -> Any:
    """Put a tool, a list of tools, a toolkit or an MCP server behind the gate.

    The adapter is found by the type's module through the entry points `remit.adapters`, and imported only then.
    Raises `UsageError` naming the extra to install when there is none for this type.
    """
    sample = x[0] if isinstance(x, list | tuple) and x else x
    adapters = {point.name: point for point in entry_points(group="remit.adapters")}
    seen: list[str] = []
    for base in type(sample).__mro__:
        package = base.__module__.partition(".")[0]
        point = adapters.get(package)
        if point is not None:
            try:
                adapter = point.load()
            except ImportError as error:
                extra = EXTRAS.get(package, package)
                raise UsageError(f'the adapter for {package} needs `pip install "remit[{extra}]"` ({error})') from error
            return adapter(x, app=app, session=session, server=server, grants=grants)
        if package not in seen and package not in ("builtins", "pydantic", "abc", "typing"):
            seen.append(package)
    if callable(x) and not isinstance(x, type):
        raise UsageError(
            f'{getattr(x, "__name__", x)!r} is a plain function: decorate it with @remit.governed("server.tool")'
        )
    known = ", ".join(sorted(adapters)) or "none installed"
    raise UsageError(
        f"no adapter governs {type(sample).__module__}.{type(sample).__qualname__} (installed adapters: {known}); "
        "install the extra for its framework, or call session.call(tool, arguments, run=…) yourself"
    )


def governed(tool: str, *, app: App | None = None) -> Callable[[F], F]:
    """Decorate a plain function, sync or async: each call goes through the gate, in the current session.

    Arguments are judged by name, positional ones too; defaults that were not given are judged with their values.
    The original is not reachable through the result: there is no `__wrapped__`.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        kinds = {parameter.kind for parameter in signature.parameters.values()}
        if inspect.Parameter.VAR_POSITIONAL in kinds or inspect.Parameter.POSITIONAL_ONLY in kinds:
            raise UsageError(
                f"{function.__qualname__} takes positional-only or *arguments, which no grant can name; "
                "give every parameter a name"
            )

        def session_for(arguments: dict[str, Any]) -> Session:
            try:
                return resolve_session(app=app)
            except Denied:
                raise no_grant(app or only_app(), tool, arguments) from None

        def named(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            arguments: dict[str, Any] = {}
            for name, value in bound.arguments.items():
                if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                    arguments.update(value)
                else:
                    arguments[name] = value
            return arguments

        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):

            async def through_gate(*args: Any, **kwargs: Any) -> Any:
                arguments = named(args, kwargs)
                return await session_for(arguments).acall(tool, arguments, function)

            wrapper: Callable[..., Any] = through_gate
        else:

            def through_gate_now(*args: Any, **kwargs: Any) -> Any:
                arguments = named(args, kwargs)
                return session_for(arguments).call(tool, arguments, function)

            wrapper = through_gate_now
        functools.update_wrapper(wrapper, function)
        del wrapper.__wrapped__  # type: ignore[attr-defined]
        wrapper.__signature__ = signature  # type: ignore[attr-defined]
        return cast(F, wrapper)

    return decorate


__all__ = ["govern", "governed"]
