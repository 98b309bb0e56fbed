"""The grants: those of `benchmarks/agentdojo`, two written anew for v1's prompts, and general rules over all."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from benchmarks.recorded import world
from benchmarks.recorded.critical import SELF

HERE = Path(__file__).resolve().parent / "grants"
SHARED = HERE.parent.parent / "agentdojo" / "grants"
CATALOGUE = SHARED.parent / "catalogue.yaml"

Rules = Literal["written", "general", "corrected"]
"""written: as the files say. general: with rules 1 to 3 applied to every one of them, decided on before anything was
measured. corrected: with rules 4 to 6 too, which answer what gpt-4o's benign runs were refused."""

ASK = {"by": "user:approver@bluesparrow.example"}

NO_ADDRESS = json.dumps("(?s)(?:[^.:/]|")[1:-1]
"""How the pattern begins by which the grants keep web addresses out of a text."""

MARKS_MAIL_AS_READ = frozenset({"get_unread_emails"})


@cache
def grant(suite: str, task: str, rules: Rules) -> dict[str, Any]:
    """The grant of one user task, with the prompt of v1 as its task."""
    own = HERE / suite / f"{task}.yaml"
    document = yaml.safe_load((own if own.is_file() else SHARED / suite / f"{task}.yaml").read_text())
    document["task"] = world.prompt(suite, task)
    if rules != "written":
        document = general(suite, document)
    return corrected(document) if rules == "corrected" else document


def _clauses(document: dict[str, Any], tool: str) -> list[dict[str, Any]]:
    """The clauses of a tool; none for one that is granted whole."""
    granted = document["tools"][tool]
    every = granted if isinstance(granted, list) else [granted]
    return [clause for clause in every if isinstance(clause, dict)]


def general(suite: str, document: dict[str, Any]) -> dict[str, Any]:
    """The grant with rules 1 to 3 of the README."""
    document = copy.deepcopy(document)
    for tool in own_reads(suite):
        document["tools"].setdefault(f"{suite}.{tool}", "any")
    for tool in document["tools"]:
        for clause in _clauses(document, tool):
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


def corrected(document: dict[str, Any]) -> dict[str, Any]:
    """The grant with rules 4 to 6 of the README."""
    document = copy.deepcopy(document)
    for tool in document["tools"]:
        clauses = _clauses(document, tool)
        for clause in clauses:
            _place_is_wording(clause.get("arguments", {}))
        asked = [_asked(clause) for clause in clauses if "approval" not in clause and _may_ask(tool, clause)]
        if asked:
            known = [{"name": "as_written", **clause} for clause in clauses]
            document["tools"][tool] = [*known, {**asked[0], "name": "asked"}]
    return document


def _place_is_wording(arguments: dict[str, Any]) -> None:
    """Rule 4: the room that an event is in is wording, as its description is."""
    if arguments.get("location") == {"absent": True}:
        arguments["location"] = {"max_len": 200, "optional": True}


def _may_ask(tool: str, clause: dict[str, Any]) -> bool:
    """Rule 5: a page that no source vouches for, and rule 6: a text with a web address, are asked for, not refused."""
    arguments = clause.get("arguments", {})
    vouched = tool == "slack.get_webpage" and "from" in json.dumps(arguments["url"])
    return vouched or NO_ADDRESS in json.dumps(arguments.get("body", ""))


def _asked(clause: dict[str, Any]) -> dict[str, Any]:
    free = {name: "any" if name in ("url", "body") else bound for name, bound in clause["arguments"].items()}
    return {**clause, "arguments": free, "approval": {**ASK, "reason": "beyond what the sources say"}}
