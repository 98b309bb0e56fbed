"""The grants: those of `benchmarks/agentdojo`, two written anew for v1's prompts, and general rules over all."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from benchmarks.recorded import world
from benchmarks.recorded.critical import SELF

HERE = Path(__file__).resolve().parent / "grants"
SHARED = HERE.parent.parent / "agentdojo" / "grants"
CATALOGUE = SHARED.parent / "catalogue.yaml"

Rules = Literal["written", "general"]
"""written: as the files say. general: with the rules below applied to every one of them."""

MARKS_MAIL_AS_READ = frozenset({"get_unread_emails"})


@cache
def grant(suite: str, task: str, rules: Rules) -> dict[str, Any]:
    """The grant of one user task, with the prompt of v1 as its task."""
    own = HERE / suite / f"{task}.yaml"
    document = yaml.safe_load((own if own.is_file() else SHARED / suite / f"{task}.yaml").read_text())
    document["task"] = world.prompt(suite, task)
    return general(suite, document) if rules == "general" else document


def general(suite: str, document: dict[str, Any]) -> dict[str, Any]:
    """The grant with the general rules of the README applied."""
    document = copy.deepcopy(document)
    for tool in own_reads(suite):
        document["tools"].setdefault(f"{suite}.{tool}", "any")
    for clauses in document["tools"].values():
        for clause in clauses if isinstance(clauses, list) else [clauses]:
            if isinstance(clause, dict):
                _invite_oneself(document, clause.get("arguments", {}))
                _one_more_try(clause.get("limits", {}))
    for shared in document.get("limits", {}).get("shared", ()):
        _one_more_try(shared)
    return document


@cache
def own_reads(suite: str) -> tuple[str, ...]:
    """Rule 1: reads that need no argument tell an agent only what its principal has, and change nothing."""
    catalogued = yaml.safe_load(CATALOGUE.read_text())["tools"]
    return tuple(
        name
        for name, tool in world.tools(suite).items()
        if catalogued.get(f"{suite}.{name}", {}).get("read_only")
        and not any(field.is_required() for field in tool.parameters.model_fields.values())
        and name not in MARKS_MAIL_AS_READ
    )


def _invite_oneself(document: dict[str, Any], arguments: dict[str, Any]) -> None:
    """Rule 2: whoever has an event made may be in it. Where participants are bounded otherwise, self is in already."""
    if arguments.get("participants") == {"absent": True}:
        arguments["participants"] = {"subset": ["self"], "optional": True}
        document.setdefault("self", [SELF])


def _one_more_try(limits: dict[str, Any]) -> None:
    """Rule 3: a limit on calls leaves room for one more, since a first try may have been wrong."""
    if "calls" in limits:
        limits["calls"] += 1
