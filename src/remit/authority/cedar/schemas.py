"""Checking guardrails against what tools take: a misspelt argument, or a string compared as a number, before any call.

A tool's JSON schema becomes a Cedar schema with `context.input` as a record. What Cedar's types cannot say (unions,
objects without properties, arrays of anything) is left out, and guardrails that read it are reported as not checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from remit.authority.cedar import engine
from remit.authority.cedar.reads import ACCESS, AGENT, PRINCIPAL, SESSION, Wanted
from remit.authority.cedar.source import Policy
from remit.authority.keys import server_wildcard

_NAMED: Final = re.compile(r"^for policy `[^`]*`, ")
_SCALARS: Final = {"string": "String", "boolean": "Bool", "integer": "Long", "number": "decimal"}


def check_tools(policies: Iterable[Policy], tools: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences for every guardrail that does not fit a tool it speaks of; `tools` are JSON schemas by tool key."""
    found: list[str] = []
    for tool, schema in tools.items():
        for policy in policies:
            if policy.covers(tool):
                found += [
                    f"{policy.where}: {policy.id}, for {tool}: {sentence}" for sentence in _fit(policy, tool, schema)
                ]
    return found


def _fit(policy: Policy, tool: str, schema: Mapping[str, Any]) -> list[str]:
    wanted = policy.reading.context.parts.get("input")
    if wanted is None:
        return []
    if wanted.whole:
        return ["reads context.input whole, which cannot be checked against the tool's schema"]
    properties = schema.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    missing = sorted(name for name in wanted.parts if name not in known)
    if missing:
        listed = ", ".join(sorted(known)) or "no argument"
        return [f"reads `{name}`, which the tool does not take (it takes {listed}); every call would be refused"
                for name in missing]  # fmt: skip
    types = {name: _type(known[name], part) or "" for name, part in wanted.parts.items()}
    unsure = sorted(name for name, found in types.items() if not found)
    if unsure:
        return [
            f"reads `{name}`, whose type in the tool's schema Cedar has no word for; not checked" for name in unsure
        ]
    required = set(schema.get("required", ()))
    fields = {
        f"{json.dumps(name)}{'' if name in required and not _nullable(known[name]) else '?'}": found
        for name, found in types.items()
    }
    text = cedar_schema(tool, fields)
    scoped = {**policy.json, "action": {"op": "==", "entity": {"type": "Action", "id": tool}}}
    return [_NAMED.sub("", error) for _, error in engine.validate({policy.id: scoped}, text)]


def cedar_schema(tool: str, fields: Mapping[str, str]) -> str:
    """A Cedar schema in which one tool is the only action, with these fields (`"name"?` → type) as its input."""
    session = {f'"{name}"': found for name, found in SESSION.items() if found}
    accesses = {f'"{name}"': ACCESS[name] for name in ("action", "uri", "kind")}
    context = (
        f"input: {_record(fields)}, session: {_record(session)}, catalogued: Bool, "
        f"access: {_record({json.dumps(name): found for name, found in ACCESS.items()})}, "
        f"accesses: Set<{_record(accesses)}>"
    )
    person = _record({f'"{name}"': found for name, found in PRINCIPAL.items()})
    group = json.dumps(server_wildcard(tool))
    return (
        f"entity Role; entity User in [Role] = {person}; entity Service in [Role] = {person}; "
        f"entity Agent = {_record({json.dumps(name): found for name, found in AGENT.items()})};"
        f"action {group}; action {json.dumps(tool)} in [{group}] appliesTo {{"
        f"principal: [User, Service], resource: [Agent], context: {{{context}}}}};"
    )


def _record(fields: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{name}: {found}" for name, found in fields.items()) + "}"


def _type(schema: Any, wanted: Wanted) -> str | None:
    """The Cedar type of a JSON schema; None where there is none."""
    if not isinstance(schema, Mapping):
        return None
    if "enum" in schema and "type" not in schema:
        return "String" if all(isinstance(value, str) for value in schema["enum"]) else None
    kind = _kind(schema)
    if kind == "number" and wanted.number == "long":
        return "decimal"  # so that the comparison is reported: a fraction would be refused
    if kind == "integer" and wanted.number == "decimal":
        return "decimal"  # it is encoded as what it is compared as
    if kind in _SCALARS:
        return _SCALARS[kind]
    if kind == "array":
        inner = _type(schema.get("items"), Wanted(whole=True, number=wanted.number))
        return f"Set<{inner}>" if inner else None
    if kind == "object" and isinstance(schema.get("properties"), Mapping):
        required = set(schema.get("required", ()))
        fields = {}
        for name, part in schema["properties"].items():
            found = _type(part, wanted.parts.get(name) or Wanted(whole=True))
            if found is None:
                if name in wanted.parts or wanted.whole:
                    return None
                continue
            fields[f"{json.dumps(name)}{'' if name in required else '?'}"] = found
        return _record(fields)
    return None


def _kind(schema: Mapping[str, Any]) -> str | None:
    kind = schema.get("type")
    if isinstance(kind, list):
        rest = [one for one in kind if one != "null"]
        return rest[0] if len(rest) == 1 else None
    if kind is None and isinstance(schema.get("anyOf"), list):
        rest = [one for one in schema["anyOf"] if isinstance(one, Mapping) and one.get("type") != "null"]
        return _kind(rest[0]) if len(rest) == 1 else None
    return kind if isinstance(kind, str) else None


def _nullable(schema: Any) -> bool:
    """Whether null is a value: it is absent for a guardrail."""
    if not isinstance(schema, Mapping):
        return False
    kind = schema.get("type")
    return (
        kind == "null"
        or (isinstance(kind, list) and "null" in kind)
        or any(_nullable(one) for one in schema.get("anyOf", ()))
    )
