"""What a shell text consists of: words, redirections, simple commands, groups, pipelines, lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Word:
    """One word. `text` is what it says when it is `literal`: nothing in it is expanded."""

    start: int
    text: str
    literal: bool
    bare: bool
    """Whether no quotation mark or escape is in it."""
    process: bool = False
    """Whether all of it is one process substitution, `<(…)`."""
    variables: tuple[str, ...] = ()
    bodies: tuple[Sequence_, ...] = ()
    """The commands of the substitutions in it."""
    single: bool = True
    """Whether it stays one word: nothing in it, unquoted, can become a pattern, a list or a home directory."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """`operator` without its number. A here-document has no target; what it expands is in the target's place."""

    start: int
    operator: str
    target: Word | None
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Simple:
    """A simple command: assignments, words, redirections, in any of which commands may hide."""

    start: int
    assignments: tuple[tuple[str, Word], ...]
    words: tuple[Word, ...]
    redirects: tuple[Redirect, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A subshell, a brace group, a branch or a loop; `lists` run in this order, each at most as often as it may."""

    kind: Literal["subshell", "group", "if", "loop"]
    lists: tuple[Sequence_, ...]
    redirects: tuple[Redirect, ...]
    variable: str | None = None
    items: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """`negated` is a `!` before it: success and failure change places."""

    commands: tuple[Simple | Group, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class Sequence_:  # noqa: N801 - a list of the shell; `List` and `Sequence` are taken
    """Pipelines with what precedes each: `;`, `&&` or `||`; and whether it runs in the background."""

    steps: tuple[tuple[Literal[";", "&&", "||"], Pipeline, bool], ...]
