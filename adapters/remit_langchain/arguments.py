"""The arguments of one call, sorted: what the model sent and is judged, what the application injects, and the rest."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Final

from langchain_core.tools import BaseTool
from langchain_core.tools.base import _DirectlyInjectedToolArg

from remit_langchain.reading import Differs, is_plain, judged, plain, public_names, sent

FRAMEWORK: Final = frozenset({"run_manager", "callbacks"})
"""Parameters that LangChain fills in by name."""

_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Arguments:
    """`judged` goes to the gate; `build` turns the gate's snapshot of it back into what the tool takes. `objection`
    says why what was sent is not what would run."""

    judged: dict[str, Any]
    injected: dict[str, Any] = field(default_factory=dict)
    objection: str | None = None
    positional: tuple[str, ...] = ()
    live: dict[str, Any] = field(default_factory=dict)

    def build(self, snapshot: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments of the tool: plain values from the snapshot, the rest as it was read."""
        values = {**snapshot, **self.live}
        return [values.pop(name) for name in self.positional], values


def sort_arguments(
    named: Mapping[str, Any],
    raw: Mapping[str, Any] | None,
    *,
    positional: tuple[str, ...] = (),
    injected: Set[str] = frozenset(),
    framework: Set[str] = frozenset(),
    aliases: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Arguments:
    """Sort what a tool is about to be called with.

    Args:
        named: The values as the tool will take them, after validation, under its own parameter names.
        raw: What was sent, before validation; None when nothing validates in between.
        positional: Names that the tool takes by position.
        injected: Names that the application fills in; judged apart.
        framework: Names that LangChain fills in; not judged.
        aliases: Parameter name → another name under which it may be sent.
        defaults: The pinned defaults: a value that was not sent and equals its default is left to the gate to fill in.
    """
    injected = injected | {name for name, value in named.items() if isinstance(value, _DirectlyInjectedToolArg)}
    own = {name: value for name, value in named.items() if name not in injected and name not in framework}
    rest = {name: value for name, value in named.items() if name not in own}
    scalars = {name: value for name, value in rest.items() if name in injected and _scalar(value)}
    if raw is None:
        found = {name: plain(value) for name, value in own.items()}
    else:
        sent_here = {name: value for name, value in raw.items() if name not in injected}
        try:
            found = _judge(own, sent_here, aliases or {}, defaults or {})
        except Differs as differs:
            said = {name: plain(value) for name, value in sent_here.items()}
            return Arguments(said, scalars, str(differs))
    live = rest | _held(own, found)
    return Arguments(found, scalars, None, positional, live)


def _judge(
    own: Mapping[str, Any], raw: Mapping[str, Any], aliases: Mapping[str, str], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    left = set(raw)
    for name, value in own.items():
        key = aliases.get(name, name)
        key = key if key in raw else name
        if key in raw:
            left.discard(key)
            found[name] = judged(raw[key], value, name)
        elif not _equal(defaults.get(name, _MISSING), plain(value)):
            found[name] = plain(value)
    if left:
        raise Differs(f"the tool does not take `{min(left)}`; it would be dropped")
    return found


def _held(own: Mapping[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Copies of the values that JSON does not say as they are, and defaults; the rest comes from the gate."""
    held: dict[str, Any] = {}
    for name, value in own.items():
        if name not in found:
            held[name] = value
        elif found[name] is not value and not is_plain(value):
            try:
                held[name] = copy.deepcopy(value)
            except Exception:  # noqa: BLE001 - __deepcopy__ is foreign code
                found[name] = value  # the gate refuses what cannot be held still, or knows it as opaque
    return held


def injected_names(tool: BaseTool, names: Set[str]) -> frozenset[str]:
    """Which of `names` the tool declares as filled in by the application."""
    kept = tool._filter_injected_args(dict.fromkeys(names))
    return frozenset(names - kept.keys() - FRAMEWORK)


def aliases_of(tool: BaseTool) -> dict[str, str]:
    """Parameter name → alias, for a tool whose arguments a model class reads. Grants use the parameter's name, which
    is what LangChain shows to models."""
    schema = tool.args_schema
    return public_names(schema) if isinstance(schema, type) else {}


def as_sent(tool_input: Any) -> dict[str, Any] | None:
    """A copy of a tool input that validation cannot change; None for a bare string, which is not validated."""
    return {name: sent(value) for name, value in tool_input.items()} if isinstance(tool_input, dict) else None


def _scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)
