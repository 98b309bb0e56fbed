"""Arguments that are programs of their own: SQL and shell text, from which both action and resource come.

The readers are imported when a catalogue first names one: their parsers are large, and most catalogues need neither.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from remit.errors import NotCanonical
from remit.resources.access import Access
from remit.resources.text import kind_of

STATEMENT_KINDS: Final = ("sql", "shell")

Resolver = Callable[[Mapping[str, Any]], tuple[Access, ...]]
Read = Callable[[Mapping[str, Any], str], tuple[Access, ...]]
"""The accesses of one text, given the arguments of its call. Raises NotCanonical."""


@dataclass(frozen=True, slots=True)
class SqlWords:
    """The words of a catalogue entry that say how its SQL is read."""

    dialect: Literal["postgres", "sqlite", "mysql", "tsql"] | None = None
    schema: str | None = None
    case: Literal["sensitive", "insensitive"] | None = None
    any_function: bool = False


class Statements(NamedTuple):
    """How the texts of one kind are read: what they can do, and the reader."""

    actions: tuple[str, ...]
    read: Read
    about: str
    """What a text of this kind is, for a sentence."""


def sql_statements(words: SqlWords, base: Resolver | None) -> Statements:
    """SQL of one database, at the URI that `base` gives for a call. Raises NotCanonical for words that are missing or
    do not go together.
    """
    from remit.resources.sql import ACTIONS, SqlReader
    from remit.resources.sql_names import CASE_DIALECTS

    if words.dialect is None:
        raise NotCanonical("SQL is read by dialect; expected dialect: postgres, sqlite, mysql or tsql in the entry")
    if base is None:
        raise NotCanonical("the database has no name; expected base: in the entry, such as postgres://prod")
    if words.case is not None and words.dialect not in CASE_DIALECTS:
        raise NotCanonical(f"how {words.dialect} compares names is no matter of configuration; expected no case:")
    reader = SqlReader(words.dialect, schema=words.schema, case=words.case, any_function=words.any_function)
    database = base

    def read(arguments: Mapping[str, Any], text: str) -> tuple[Access, ...]:
        return tuple(access for at in database(arguments) for access in reader.accesses(at.uri, text))

    return Statements(ACTIONS, read, f"{words.dialect} text")


def shell_statements(programs: Collection[str] | Literal["any"], base: str | None) -> Statements:
    """Commands of a shell that starts in `base`. Raises NotCanonical."""
    from remit.resources.shell import ACTIONS, ShellReader

    reader = ShellReader(base=base, programs=programs)
    return Statements(ACTIONS, lambda arguments, text: reader.accesses(text), "shell text")


def text_of(value: Any) -> str:
    """The text of an argument. Raises NotCanonical for anything but a string."""
    if not isinstance(value, str):
        raise NotCanonical(f"got {kind_of(value)}, expected a string")
    return str.__str__(value)
