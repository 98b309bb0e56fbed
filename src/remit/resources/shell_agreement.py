"""A second reading of a shell text: tree-sitter's grammar has to see the same commands and redirections.

Two parsers that were written apart and find the same words in the same places are the best evidence that a shell
finds them there too. Where they differ, the text is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final

import tree_sitter
import tree_sitter_bash

from remit.errors import NotCanonical
from remit.resources.shell_tree import Group, Redirect, Sequence_, Simple, Word

_COMMANDS: Final = frozenset({"command_name", "test_command", "declaration_command", "unset_command"})
_REDIRECTS: Final = frozenset({"file_redirect", "heredoc_redirect", "herestring_redirect"})


def require_agreement(text: str, found: Sequence_) -> None:
    """Raises NotCanonical when the second parser does not see what the first one saw."""
    content = text.encode()
    tree = tree_sitter.Parser(_language()).parse(content)
    if tree.root_node.has_error:
        raise NotCanonical("a second parser cannot read it; expected plain commands, pipelines and redirections")
    theirs = set(_starts(tree.root_node))
    ours = {(kind, len(text[:start].encode())) for kind, start in _ours(found)}
    if theirs != ours:
        raise NotCanonical("two parsers see different commands or redirections in it")


@cache
def _language() -> tree_sitter.Language:
    return tree_sitter.Language(tree_sitter_bash.language())


def _starts(root: tree_sitter.Node) -> Iterator[tuple[str, int]]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.type in _COMMANDS:
            yield ("command", node.start_byte)
        elif node.type in _REDIRECTS:
            operator = next((child for child in node.children if not child.is_named), node)
            yield ("redirect", operator.start_byte)
        waiting.extend(node.children)


def _ours(sequence: Sequence_) -> Iterator[tuple[str, int]]:
    for _, pipeline, _ in sequence.steps:
        for command in pipeline.commands:
            if isinstance(command, Simple):
                if command.words:
                    yield ("command", command.words[0].start)
                for word in (*(value for _, value in command.assignments), *command.words):
                    yield from _in_word(word)
            else:
                yield from _in_group(command)
            for redirect in command.redirects:
                yield from _in_redirect(redirect)


def _in_group(group: Group) -> Iterator[tuple[str, int]]:
    for each in group.lists:
        yield from _ours(each)
    for word in group.items:
        yield from _in_word(word)


def _in_word(word: Word) -> Iterator[tuple[str, int]]:
    for body in word.bodies:
        yield from _ours(body)


def _in_redirect(redirect: Redirect) -> Iterator[tuple[str, int]]:
    yield ("redirect", redirect.start)
    if redirect.target is not None:
        yield from _in_word(redirect.target)
