"""Reading `*.cedar` files: forbids only, each with an id, each refused with its file and line when it is not that."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import rfc8785

from remit.authority.cedar import engine
from remit.authority.cedar.reads import Reading, read
from remit.authority.keys import grant_tool_key, server_wildcard
from remit.errors import GrantError, UsageError

MAX_POLICIES: Final = 10_000

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:-]{0,127}\Z")
_WHO: Final = re.compile(r"(role|user|service):[^\s,]{1,200}\Z")
_OWN: Final = "remit/"
ANNOTATIONS: Final = frozenset({"id", "reason", "approval", "observe"})


@dataclass(frozen=True, slots=True)
class Policy:
    """One forbid. `where` is its file's name and line; `tools` the keys of its action scope, None for every tool."""

    id: str
    text: str
    where: str
    reason: str | None
    approval: tuple[str, ...]
    observe: bool
    tools: frozenset[str] | None
    annotations: Mapping[str, str]
    tree: engine.pst.Template
    json: Mapping[str, Any]
    reading: Reading

    def covers(self, tool: str) -> bool:
        """Whether the action scope reaches a tool: by its key, or by its server's (`crm.*`)."""
        return self.tools is None or tool in self.tools or server_wildcard(tool) in self.tools


@dataclass(frozen=True, slots=True)
class Policies:
    """What was loaded, in order, with the canonical bytes that are kept as evidence and their digest."""

    policies: tuple[Policy, ...]
    source: bytes
    digest: str


def load(*paths: str | Path) -> Policies:
    """Read `*.cedar` files, and every one in a folder (sorted by name).

    Raises `GrantError` listing every problem with file and line: syntax, `permit`, templates, a missing or doubled
    `@id`, attributes that no call has, an action that is no tool key. `UsageError` when there is nothing to read.
    """
    found: list[Policy] = []
    problems: list[str] = []
    for path in (file for given in paths for file in _files(Path(given))):
        try:
            text = path.read_bytes().decode()
        except OSError as error:
            raise UsageError(f"the guardrails {path} cannot be read: {error.strerror or error}") from error
        except UnicodeError as error:
            raise GrantError(f"the guardrails {path} are not UTF-8: {error}") from error
        _take(str(path), text, found, problems)
    return _whole(found, problems)


def load_text(text: str, *, name: str = "guardrails") -> Policies:
    """As `load`, from one text."""
    found: list[Policy] = []
    problems: list[str] = []
    _take(name, text, found, problems)
    return _whole(found, problems)


def load_source(source: bytes) -> Policies:
    """Read back the canonical bytes of `Policies.source`, as evidence keeps them."""
    found: list[Policy] = []
    problems: list[str] = []
    for entry in json.loads(source)["guardrails"]:
        _take(f"recorded guardrail {entry['id']}", entry["text"], found, problems)
    return _whole(found, problems)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.cedar"))
    if not found:
        raise UsageError(f"{path} has no guardrails: expected at least one *.cedar file in it")
    return found


def _whole(found: list[Policy], problems: list[str]) -> Policies:
    if len(found) > MAX_POLICIES:
        problems.append(f"{len(found)} guardrails are more than the {MAX_POLICIES} that can be loaded")
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise GrantError(problems[0] + more, problems=problems)
    source = rfc8785.dumps({"guardrails": [{"id": policy.id, "text": policy.text} for policy in found]})
    return Policies(tuple(found), source, f"sha256:{hashlib.sha256(source).hexdigest()}")


def _take(name: str, text: str, found: list[Policy], problems: list[str]) -> None:
    for line, statement in statements(text):
        where = f"{name}:{line}"
        try:
            policy = _policy(where, statement)
        except _Refused as error:
            problems.extend(f"{where}: {sentence}" for sentence in error.sentences)
            continue
        earlier = next((other for other in found if other.id == policy.id), None)
        if earlier is not None:
            problems.append(f'{where}: @id("{policy.id}") is taken by the guardrail at {earlier.where}; ids are unique')
            continue
        found.append(policy)


def statements(text: str) -> Iterator[tuple[int, str]]:
    """(line, text) of each policy: up to its `;`, without the comments and white space before it."""
    at, begin, line, first = 0, None, 1, 1
    while at < len(text):
        here = text[at]
        if text.startswith("//", at):
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
            continue
        if begin is None and not here.isspace():
            begin, first = at, line
        if here == '"':
            end = _string_end(text, at)
            line += text.count("\n", at, end)
            at = end
            continue
        line += here == "\n"
        at += 1
        if here == ";" and begin is not None:
            yield first, text[begin:at]
            begin = None
    if begin is not None:
        yield first, text[begin:].rstrip()


def _string_end(text: str, at: int) -> int:
    at += 1
    while at < len(text) and text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    return min(at + 1, len(text))


class _Refused(Exception):
    def __init__(self, *sentences: str) -> None:
        super().__init__(sentences[0])
        self.sentences = sentences


def _policy(where: str, text: str) -> Policy:
    try:
        parsed = engine.parse(text)
    except ValueError as error:
        raise _Refused(f"Cedar cannot read this policy: {error}") from error
    if len(parsed) != 1:
        raise _Refused(f"expected one policy up to the `;`, got {len(parsed)}")
    [one] = parsed
    if one.is_template:
        raise _Refused("this is a template (it has ?principal or ?resource); a guardrail is a whole `forbid`")
    tree = one.tree
    if tree.effect != "forbid":
        raise _Refused("this is a `permit`; a guardrail only takes away, so write `forbid`, and let grants permit")
    notes = {name: value or "" for name, value in tree.annotations.items()}
    policy_id = _id(notes)
    tools, reading = _tools(tree), read(tree)
    if reading.problems:
        raise _Refused(*(f"{policy_id}: {sentence}" for sentence in reading.problems))
    if notes.get("observe"):
        raise _Refused(f"{policy_id}: @observe takes no value; leave it out to enforce")
    return Policy(
        policy_id, text, where, _reason(policy_id, notes), _approvers(policy_id, notes), "observe" in notes, tools,
        notes, tree, one.json, reading,
    )  # fmt: skip


def _id(notes: Mapping[str, str]) -> str:
    found = notes.get("id")
    if not found:
        raise _Refused('this policy has no @id; name it, such as @id("org/refund-cap"), so that a refusal can say it')
    if not _ID.match(found) or found.startswith(_OWN):
        raise _Refused(
            f'@id("{found}") is no id: expected letters, digits and _ . / : - (at most 128), not beginning with {_OWN}'
        )
    return found


def _reason(policy_id: str, notes: Mapping[str, str]) -> str | None:
    found = notes.get("reason")
    if found is not None and not 0 < len(found.strip()) <= 500:
        raise _Refused(f"{policy_id}: @reason is empty or longer than 500 characters; write one sentence")
    return found.strip().rstrip(".") if found else None


def _approvers(policy_id: str, notes: Mapping[str, str]) -> tuple[str, ...]:
    found = notes.get("approval")
    if found is None:
        return ()
    names = tuple(name.strip() for name in found.split(","))
    for name in names:
        if not _WHO.match(name):
            raise _Refused(
                f'{policy_id}: @approval("{found}") names nobody; expected role:NAME or user:NAME, or several'
            )
    return names


def _tools(tree: engine.pst.Template) -> frozenset[str] | None:
    pst = engine.pst
    scope = tree.action
    if isinstance(scope, pst.ScopeAny):
        return None
    actions = (scope.entity,) if isinstance(scope, pst.ActionEq) else scope.entities
    found = set()
    for action in actions:
        if str(action.type) != "Action":
            raise _Refused(f'{action} is no tool; an action is written Action::"server.tool"')
        try:
            key = grant_tool_key(action.id)
        except GrantError as error:
            raise _Refused(f"the action scope names no tool: {error}") from error
        if key != action.id:
            raise _Refused(f'Action::"{action.id}" would never match; write Action::"{key}"')
        if key.endswith(".*") and isinstance(scope, pst.ActionEq):
            raise _Refused(f'action == Action::"{key}" would never match; write action in Action::"{key}"')
        found.add(key)
    return frozenset(found)
