"""Drafting catalogue entries from what a server says of its tools: names, schemas, descriptions, hints.

What a server says is a claim, and a name is a guess. So a draft never loads as more than it knows: an argument of
unknown meaning stays outside the accesses, where a clause has to bound it; a hint that widens what a call may do
(`read_only`, `idempotent`) is written as a comment, unless the tool's own name says the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from remit.errors import GrantError
from remit.resources.catalogue import Catalogue


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_READS: Final = _set(
    "browse check compare count describe diff download explain fetch find get grep head info inspect list "
    "log look lookup open peek preview query read resolve search show stat status tail tree validate view"
)
_SENDS: Final = _set("email invite notify post publish reply send share submit upload")
_DELETES: Final = _set("clear delete destroy drop erase purge remove reset revoke truncate unlink")
_PATHS: Final = _set(
    "cwd destination dir directory dst file filename filepath folder path paths root source src workspace"
)
_URLS: Final = _set("endpoint href link uri url urls website")
_EMAILS: Final = _set("bcc cc email emails recipient recipients to")
_SQL: Final = frozenset({"query", "sql", "statement"})
_SHELL: Final = frozenset({"cmd", "command", "script", "shell"})
_SECRETS: Final = frozenset({"apikey", "credential", "passphrase", "password", "secret", "token"})
_NAMING: Final = frozenset({"id", "ids", "key", "name", "owner", "number", "repo", "slug", "uuid"})


@dataclass(frozen=True, slots=True)
class Hints:
    """The hints of a tool definition (MCP `ToolAnnotations`): None where the server says nothing."""

    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    open_world: bool | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool as its server lists it; `schema` is the JSON schema of its arguments."""

    name: str
    schema: Mapping[str, Any]
    description: str = ""
    hints: Hints = Hints()


@dataclass(frozen=True, slots=True)
class Drafted:
    """The entry of one tool: its words, and what a person has to look at, a sentence each."""

    key: str
    words: Mapping[str, Any]
    remarks: tuple[str, ...]


def draft(server: str, tools: Iterable[Tool]) -> list[Drafted]:
    """An entry for each tool, in the server's order; of a tool that is listed twice, the first. They load together.

    Raises `GrantError` for a name that no tool key can have: no grant could name the tool either.
    """
    found: dict[str, Drafted] = {}
    for tool in tools:
        if tool.name == "*":
            raise GrantError(
                f"a tool of {server} is called *, which would speak for all of them; it cannot be governed"
            )
        entry = _checked(_entry(server, tool))
        found.setdefault(entry.key, entry)
    return list(found.values())


def as_yaml(server: str, drafted: Iterable[Drafted]) -> str:
    """The draft as a catalogue file, its remarks as comments. What it says loads with `Catalogue.load`."""
    lines = [
        f"# A draft of the tools of {server}, made from their names and schemas. Names are guesses and hints are the",
        "# server's own claims: read every line before a grant relies on it.",
        "tools:",
    ]
    for entry in drafted:
        lines += [f"  # {remark}" for remark in entry.remarks]
        if not entry.words:
            lines.append(f"  {_scalar(entry.key)}: {{}}")
            continue
        lines.append(f"  {_scalar(entry.key)}:")
        lines += [f"    {word}: {_flow(value)}" for word, value in entry.words.items()]
    return "\n".join(lines) + "\n"


def _checked(entry: Drafted) -> Drafted:
    """An entry that does not load would be no help: then it says nothing but why."""
    try:
        Catalogue.load({"tools": {entry.key: dict(entry.words)}})
    except GrantError as error:
        Catalogue.load({"tools": {entry.key: {}}})  # the name itself: nothing can be drafted for a bad one
        why = f"What {entry.key} touches could not be drafted ({error}); write it by hand."
        return Drafted(entry.key, {}, (why, *entry.remarks))
    return entry


def _entry(server: str, tool: Tool) -> Drafted:
    verb = _verb(tool)
    properties = tool.schema.get("properties")
    arguments: Mapping[str, Any] = properties if isinstance(properties, Mapping) else {}
    found = tool.schema.get("required")
    required = frozenset(found if isinstance(found, list) else ())
    kinds: dict[str, str] = {}
    accesses: list[str] = []
    named: list[str] = []
    for name, schema in arguments.items():
        meant = _meaning(name, schema, tool)
        if meant is None:
            continue
        kind, uri = meant
        place = name + ("*" if _many(schema) else "" if name in required else "?")
        action = _action(kind, verb, name)
        if kind == "name":
            named.append(f"{{{place}}}")
            continue
        kinds[name] = kind
        accesses.append(f"{{{name}}}" if kind in ("sql", "shell") else f"{action} {uri.format(f'{{{place}}}')}")
    if named and not accesses:
        accesses.append(f"{'read' if verb == 'read' else 'write'} {_scheme(server)}://{'/'.join(_order(named))}")
    words: dict[str, Any] = {}
    if accesses:
        words["accesses"] = accesses
    if kinds:
        words["kinds"] = kinds
    if "sql" in kinds.values():
        words["base"], words["dialect"] = f"db://{_scheme(server)}", "postgres"
    secret = [name for name in arguments if _words(name)[-1] in _SECRETS]
    if secret:
        words["secret"] = secret
    remarks = list(_remarks(tool, verb, arguments, words))
    if verb == "read" and tool.hints.read_only:
        words["read_only"] = True
    return Drafted(f"{server}.{tool.name}", words, tuple(remarks))


def _remarks(tool: Tool, verb: str, arguments: Mapping[str, Any], words: Mapping[str, Any]) -> Iterable[str]:
    said = " ".join(tool.description.split())
    if said:
        yield json.dumps(said[:160], ensure_ascii=True)[1:-1] + (" …" if len(said) > 160 else "")
    covered = " ".join(words.get("accesses", ()))
    free = [name for name in arguments if not re.search(rf"\{{{re.escape(name)}[*?}}]", covered)]
    if free:
        yield f"Not in an access, so a clause has to bound it: {', '.join(json.dumps(name)[1:-1] for name in free)}."
    if not words.get("accesses"):
        yield 'No argument names a resource. If it touches one all the same, say which: accesses: ["read …"].'
    if "sql" in words.get("kinds", {}).values():
        yield "Say which database this is (base) and whose SQL it speaks (dialect)."
    if tool.hints.read_only and verb != "read":
        yield "The server says that it only reads; its name does not. Where you know that it does: read_only: true."
    if tool.hints.read_only is False and verb == "read":
        yield "The server says that it changes things, though its name reads."
    if tool.hints.destructive and verb != "delete":
        yield "The server says that it may destroy something."
    if tool.hints.idempotent:
        yield "The server says that repeating a call changes nothing more. Where you know that: idempotent: true."


def _verb(tool: Tool) -> str:
    """`read`, `send`, `delete` or `write`: from the tool's name, and never `read` where the server denies it."""
    words = _words(tool.name)
    if _DELETES & set(words):
        return "delete"
    if _SENDS & set(words):
        return "send"
    if _READS & set(words) and tool.hints.read_only is not False:
        return "read"
    return "write"


def _action(kind: str, verb: str, argument: str) -> str:
    if kind == "url":
        return "send"  # a URL that is read carries text out as well
    if kind == "email":
        return "send"
    if kind == "path" and _words(argument)[0] in ("source", "src") and verb in ("send", "read"):
        return "read"
    return "read" if verb == "read" else "delete" if verb == "delete" else "write"


def _meaning(name: str, schema: Any, tool: Tool) -> tuple[str, str] | None:
    """Kind and URI of an argument that names a resource; None for one that does not, as far as can be told."""
    if not isinstance(schema, Mapping) or not _textual(schema):
        return ("name", "") if _words(name)[-1] in _NAMING and _scalar_type(schema) else None
    words, form = _words(name), schema.get("format")
    about = f"{tool.name} {tool.description} {schema.get('description', '')}".lower()
    last = words[-1]
    if form in ("uri", "url") or last in _URLS:
        return "url", "{}"
    if form == "email" or (last in _EMAILS and ("mail" in about or form == "email")):
        return "email", "mailto:{}"
    if last in _SQL and re.search(r"\bsql\b|\bselect\b|database", about):
        return "sql", ""
    if last in _SHELL and re.search(r"shell|bash|terminal|execut|\brun\b|command line", about):
        return "shell", ""
    if last in _PATHS and (last not in ("source", "destination", "root", "workspace") or "file" in about):
        return "path", "file://{}"
    return ("name", "") if last in _NAMING else None


def _textual(schema: Mapping[str, Any]) -> bool:
    kinds = _types(schema)
    items = schema.get("items")
    return "string" in kinds or ("array" in kinds and isinstance(items, Mapping) and "string" in _types(items))


def _scalar_type(schema: Any) -> bool:
    return isinstance(schema, Mapping) and bool(_types(schema) & {"string", "integer"})


def _types(schema: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    for part in (schema, *(schema.get("anyOf") or ())):
        kind = part.get("type") if isinstance(part, Mapping) else None
        found |= {kind} if isinstance(kind, str) else set(kind) if isinstance(kind, list) else set()
    return found


def _many(schema: Any) -> bool:
    return "array" in _types(schema) and "string" not in _types(schema)


def _order(named: list[str]) -> list[str]:
    """Optional places last: a URI that lost a segment in the middle would name something else."""
    return sorted(named, key=lambda place: place.endswith("?}"))


def _words(name: str) -> list[str]:
    """`repoPath`, `repo_path`, `repo-path` → repo, path."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", name)
    return [part.lower() for part in parts] or [name.lower()]


def _scheme(server: str) -> str:
    scheme = re.sub(r"[^a-z0-9]", "-", server).strip("-")
    return scheme if scheme[:1].isalpha() else f"x-{scheme}"


def _scalar(text: str) -> str:
    return text if re.fullmatch(r"[a-z0-9_-]+\.[A-Za-z0-9_-]+", text) else json.dumps(text)


def _flow(value: Any) -> str:
    """Flow YAML of the few shapes that a draft has; strings in JSON's quotes, which YAML reads alike."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


__all__ = ["Drafted", "Hints", "Tool", "as_yaml", "draft"]
