"""From a template and its parameters to the canonical content of one grant.

Parameters are judged by their own constraint words, then put into the parsed tree (`placeholders`), and the whole is
read again: what comes out is concrete, JSON, and has every default written out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remit.authority.literals import Slot, show, to_json
from remit.authority.names import did_you_mean
from remit.authority.placeholders import check_value
from remit.authority.refusal import Refusal
from remit.authority.source import GrantSource, fill_in
from remit.authority.words.base import Scope


def instantiate(source: GrantSource, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The canonical content of a grant: what `issue_terms` signs, without id and window.

    Raises `GrantError` for a parameter that is missing, unknown or out of bounds, or that would become a pattern,
    separator or key where it stands.
    """
    problems = [
        Refusal(f"got the parameter {name!r}, which it does not have{did_you_mean(str(name), source.parameters)}")
        for name in parameters
        if name not in source.parameters
    ]
    slots: dict[str, Slot] = {}
    for name, constraint in source.parameters.items():
        if name not in parameters:
            problems.append(Refusal(f"needs the parameter {name!r}: {constraint.describe()}", "parameters", name))
            continue
        value = parameters[name]
        try:
            check_value(value, name)
        except Refusal as refusal:
            problems.append(refusal.below("parameters", name))
            continue
        fault = constraint.compile(Scope())(value)
        if fault is not None:
            sentence = f"got {show(value)}, expected {fault.expected}"
            problems.append(Refusal(sentence, "parameters", name))
        slots[name] = Slot(name, constraint.kinds, value)
    if problems:
        raise source.error(*problems)
    document = fill_in(source, slots)
    return {
        **document.to_json(),
        "source": source.digest,
        "parameters": {name: to_json(parameters[name]) for name in source.parameters},
    }
