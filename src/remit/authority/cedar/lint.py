"""What a guardrail may say but seldom means, one sentence each, with file and line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, Final

from remit.authority.cedar.engine import pst
from remit.authority.cedar.reads import children, path_of
from remit.authority.cedar.source import ANNOTATIONS, Policy

_PLACES: Final = ("path", "url", "uri", "file", "dir", "folder", "href", "link", "endpoint")
_REGEX: Final = ("\\d", "\\w", "\\s", "[0-9]", "[a-z]", ".*", ".+", "^", "$")


def lint(policies: Iterable[Policy]) -> list[str]:
    """Every doubt about the guardrails, in their order."""
    return [
        f"{policy.where}: {policy.id}: {sentence}" for policy in policies for sentence in dict.fromkeys(_doubts(policy))
    ]


def _doubts(policy: Policy) -> Iterator[str]:
    for clause in policy.tree.clauses:
        forbids = isinstance(clause, pst.When)
        for argument in _guarded(clause.expr, forbids):
            yield (
                f"forbids only where the call brings `{argument}`; a call that leaves it out passes, and the tool "
                "takes its own default. Without the `has`, such a call is refused"
            )
        for node in _nodes(clause.expr):
            if isinstance(node, pst.Like):
                yield from _pattern(node)
            elif isinstance(node, pst.BinaryOp) and node.op == "contains_all" and _empty(node.right):
                yield "containsAll of an empty set is always true"
    for name in policy.annotations:
        if name not in ANNOTATIONS:
            near = difflib.get_close_matches(name, sorted(ANNOTATIONS), 1)
            yield f"the annotation @{name} means nothing here" + (f"; did you mean @{near[0]}?" if near else "")
    if policy.reason is None:
        yield "has no @reason, so a refusal can say no more than its id"
    if policy.tools is None and policy.reading.input:
        yield (
            "speaks of every tool and reads arguments; a tool without such an argument is refused. Name the tools "
            "in the action scope"
        )


def _guarded(node: Any, positive: bool) -> Iterator[str]:
    """Arguments whose absence lets a call through: `has` on the side on which true forbids."""
    if isinstance(node, pst.UnaryOp) and node.op == "not":
        yield from _guarded(node.arg, not positive)
    elif isinstance(node, pst.BinaryOp) and node.op in ("and", "or"):
        yield from _guarded(node.left, positive)
        yield from _guarded(node.right, positive)
    elif isinstance(node, pst.HasAttr) and positive:
        path = (*(path_of(node.base) or ()), *node.attrs)
        if path[:2] == ("context", "input") and len(path) > 2:
            yield ".".join(path[2:])


def _pattern(node: pst.Like) -> Iterator[str]:
    path = path_of(node.base) or ()
    text = "".join("*" if isinstance(part, pst.Wildcard) else part.value for part in node.pattern)
    if path[:2] == ("context", "input"):
        name = path[-1].lower()
        if "/" in text or any(place in name for place in _PLACES):
            yield (
                f'`like "{text}"` on `{".".join(path[2:])}`: `*` crosses / and .., so "/srv/a/../../etc" is like '
                '"/srv/a/*". Let the catalogue read it, and use context.access (uri, segments, host)'
            )
    literal = "".join(part.value for part in node.pattern if not isinstance(part, pst.Wildcard))
    if any(sign in literal or sign in text for sign in _REGEX if sign not in (".*", "$", "^")) or text[:1] == "^":
        yield f'`like "{text}"` is no regular expression: only * has a meaning, everything else stands for itself'


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for part in children(node):
        yield from _nodes(part)


def _empty(node: Any) -> bool:
    return isinstance(node, pst.Set) and not node.elements
