"""The arguments of one call, sorted: what the model sent and is judged, what the application injects, and the rest."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, Final

from langchain_core.tools import BaseTool
from langchain_core.tools.base import _DirectlyInjectedToolArg

from remit_langchain.reading import Differs, is_plain, judged, plain, public_names, sent

FRAMEWORK: Final = frozenset({"run_manager", "callbacks"})
"""Parameters that LangChain fills in by name."""

_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Arguments:
    """`judged` goes to the gate under the names that the tool's schema shows; `build` turns the gate's snapshot of it
    back into what the tool takes. `objection` says why what was sent is not what would run."""

    judged: dict[str, Any]
    injected: dict[str, Any]
    objection: str | None
    positional: tuple[str, ...]
    names: dict[str, str]
    live: dict[str, Any]

    def build(self, snapshot: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments of the tool: plain values from the snapshot, the rest as it was read."""
        values = dict(self.live)
        for name, public in self.names.items():
            if name not in values:
                values[name] = snapshot[public]
        return [values.pop(name) for name in self.positional], values


def sort_arguments(
    named: Mapping[str, Any],
    raw: Mapping[str, Any] | None,
    *,
    positional: tuple[str, ...] = (),
    injected: Set[str] = frozenset(),
    framework: Set[str] = frozenset(),
    public: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Arguments:
    """Sort what a tool is about to be called with.

    Args:
        named: The values as the tool will take them, after validation, under its own parameter names.
        raw: What was sent, before validation; None when nothing validates in between.
        positional: Names that the tool takes by position.
        injected: Names that the application fills in; judged apart.
        framework: Names that LangChain fills in; not judged.
        public: Parameter name → the name that the schema shows.
        defaults: The pinned defaults, by shown name: a value equal to its default is left to the gate to fill in.
    """
    public, defaults = public or {}, defaults or {}
    own = {name for name, value in named.items() if _from_the_model(name, value, injected, framework)}
    names = {name: public.get(name, name) for name in named if name in own}
    rest = {name: value for name, value in named.items() if name not in own}
    scalars = {name: value for name, value in rest.items() if name in injected and _scalar(value)}
    try:
        found = _judge({name: named[name] for name in names}, raw, names, defaults, set(rest) | injected)
    except Differs as differs:
        assert raw is not None
        said = {name: plain(value) for name, value in raw.items() if name not in injected and name not in rest}
        return Arguments(said, scalars, str(differs), positional, names, rest)
    live = dict(rest)
    for name, shown in names.items():
        value = named[name]
        if shown not in found:
            live[name] = value
        elif found[shown] is not value and not is_plain(value):
            try:
                live[name] = copy.deepcopy(value)
            except Exception:  # noqa: BLE001 - __deepcopy__ is foreign code
                found[shown] = value  # the gate refuses what cannot be held still, or knows it as opaque
    return Arguments(found, scalars, None, positional, names, live)


def _judge(
    values: Mapping[str, Any],
    raw: Mapping[str, Any] | None,
    names: Mapping[str, str],
    defaults: Mapping[str, Any],
    others: Set[str],
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if raw is None:
        return {names[name]: plain(value) for name, value in values.items()}
    left = set(raw) - others
    for name, value in values.items():
        shown = names[name]
        key = shown if shown in raw else name
        if key in raw:
            left.discard(key)
            found[shown] = judged(raw[key], value, shown)
        elif not _equal(defaults.get(shown, _MISSING), plain(value)):
            found[shown] = plain(value)
    if left:
        raise Differs(f"the tool does not take `{min(left)}`; it would be dropped")
    return found


def injected_names(tool: BaseTool, names: Set[str]) -> frozenset[str]:
    """Which of `names` the tool declares as filled in by the application."""
    kept = tool._filter_injected_args(dict.fromkeys(names))
    return frozenset(names - kept.keys() - FRAMEWORK)


def shown_names(tool: BaseTool) -> dict[str, str]:
    """Parameter name → the name that the model sees, for a tool whose arguments a model class reads."""
    schema = tool.args_schema
    return public_names(schema) if isinstance(schema, type) else {}


def as_sent(tool_input: Any) -> dict[str, Any] | None:
    """A copy of a tool input that validation cannot change; None for a bare string, which is not validated."""
    return {name: sent(value) for name, value in tool_input.items()} if isinstance(tool_input, dict) else None


def _from_the_model(name: str, value: Any, injected: Set[str], framework: Set[str]) -> bool:
    return name not in injected and name not in framework and not isinstance(value, _DirectlyInjectedToolArg)


def _scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)
