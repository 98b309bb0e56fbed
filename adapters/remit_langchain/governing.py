"""`govern`: LangChain tools, lists of them and toolkits, each behind the gate."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

from langchain_core.tools import BaseTool, BaseToolkit
from langchain_core.tools import tool as make_tool

import remit
from remit_langchain.definitions import Definitions
from remit_langchain.models import like, subclass
from remit_langchain.seat import Seat
from remit_langchain.wrap import GovernedTool, wrap

ToolT = TypeVar("ToolT", bound=BaseTool)
ToolkitT = TypeVar("ToolkitT", bound=BaseToolkit)


class GovernedToolkit:
    """Marks a toolkit whose tools are governed."""


@overload
def govern(
    x: ToolT,
    app: remit.App | None = None,
    session: remit.Session | None = None,
    server: str | None = None,
    grants: None = None,
) -> ToolT: ...
@overload
def govern(
    x: ToolkitT,
    app: remit.App | None = None,
    session: remit.Session | None = None,
    server: str | None = None,
    grants: None = None,
) -> ToolkitT: ...
@overload
def govern(
    x: Sequence[BaseTool | Callable[..., Any]],
    app: remit.App | None = None,
    session: remit.Session | None = None,
    server: str | None = None,
    grants: None = None,
) -> list[BaseTool]: ...
def govern(
    x: Any,
    app: remit.App | None = None,
    session: remit.Session | None = None,
    server: str | None = None,
    grants: None = None,
) -> Any:
    """Put LangChain tools behind the gate. The originals stay as they are; what is returned is governed.

    Args:
        x:
            A tool of any class, a list of tools (plain functions among them become tools, as in `create_agent`), or a
            toolkit, whose `get_tools()` then gives governed tools.
        app:
            Where a session that a run's config names is looked up, and where calls without any session are recorded.
        session:
            The session of every call. Otherwise `config={"configurable": {"remit_session": session.id}}`, otherwise
            the block `with app.session(grant):` that the call runs in. Two that differ are refused.
        server:
            First part of the tool keys that grants name: `govern(tools, server="crm")` makes `read_ticket` the tool
            `crm.read_ticket`. Without it, a name without a dot is `local.read_ticket`.
        grants:
            For servers that find a grant for each request; a LangChain tool runs in a session.

    Raises `UsageError` for what cannot be governed, with the reason.
    """
    if grants is not None:
        raise remit.UsageError(
            "grants= finds a grant for each request of a server; LangChain tools run in a session: "
            "use `with app.session(grant):`, govern(…, session=…) or the config key remit_session"
        )
    seated = functools.partial(_govern_tool, app=app, session=session, server=server)
    if isinstance(x, BaseTool):
        return seated(x)
    if isinstance(x, BaseToolkit):
        return _govern_toolkit(x, seated)
    if isinstance(x, list | tuple):
        return [seated(_as_tool(item)) for item in x]
    raise remit.UsageError(
        f"cannot govern {type(x).__module__}.{type(x).__qualname__}: "
        "expected a LangChain tool, a list of them or a toolkit"
    )


def _govern_tool(tool: BaseTool, *, app: Any, session: Any, server: str | None) -> BaseTool:
    key = f"{server}.{tool.name}" if server else tool.name
    return wrap(tool, Seat(key, app, session, Definitions(key)))


def _as_tool(item: Any) -> BaseTool:
    if isinstance(item, BaseTool):
        return item
    if isinstance(item, dict):
        raise remit.UsageError(
            f"{item.get('type') or item.get('name') or 'this tool'!r} is executed by the model's provider and never "
            "reaches this process, so no grant can bound it; leave it out"
        )
    if not callable(item):
        raise remit.UsageError(f"a {type(item).__qualname__} in the list is no tool: expected a tool or a function")
    made: BaseTool = make_tool(item)
    return made


def _govern_toolkit(toolkit: BaseToolkit, seated: Callable[[BaseTool], BaseTool]) -> BaseToolkit:
    """A copy whose `get_tools()` governs what the toolkit gives, each time; tools in its fields are governed too."""
    if isinstance(toolkit, GovernedToolkit):
        return toolkit
    base: type[BaseToolkit] = type(toolkit)

    def get_tools(self: BaseToolkit) -> list[BaseTool]:
        return [seated(tool) for tool in base.get_tools(self)]

    kind = subclass(base, GovernedToolkit, {"get_tools": get_tools})
    fields = {name: _govern_field(item, seated) for name, item in toolkit.__dict__.items()}
    governed: BaseToolkit = like(toolkit, kind, fields, toolkit.__pydantic_private__)
    return governed


def _govern_field(value: Any, seated: Callable[[BaseTool], BaseTool]) -> Any:
    if isinstance(value, BaseTool):
        return seated(value)
    if type(value) in (list, tuple):
        return type(value)(_govern_field(item, seated) for item in value)
    if type(value) is dict:
        return {name: _govern_field(item, seated) for name, item in value.items()}
    return value


__all__ = ["GovernedTool", "GovernedToolkit", "govern"]
