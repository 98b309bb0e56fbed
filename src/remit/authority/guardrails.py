"""Guardrails: the one that is always there and that nothing disables, and what an organisation's own ones answer.

The one that is always there: an agent never touches Remit's own files.

Whoever could write the database, its log, the locks, the keys, grants or policies could write themselves authority.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol

from remit.authority.calls import CallView, Facts, Failure, Ruling
from remit.authority.compile import CompiledGrant
from remit.errors import Remedy
from remit.resources.access import Access

RULE: Final = "remit/own-files"
_READING: Final = frozenset({"read", "list", "stat", "search"})


class Guardrails(Protocol):
    """An organisation's forbids, as the decision asks them. Pure: the same call, chain and facts, the same ruling."""

    @property
    def digest(self) -> str:
        """Names their content in every decision that they took part in."""
        ...

    def judge(self, call: CallView, chain: Sequence[CompiledGrant], facts: Facts) -> Ruling | None:
        """What they say to a call that the grant admits; None lets it through."""
        ...


class OwnFiles:
    """Refuses file accesses at or below any of `paths`, and to those that differ from one only by a suffix.

    The suffixes are those that SQLite and Remit put behind a database's name: `-wal`, `-shm`, `-journal`, `.lock`.
    A folder above is refused too, unless it is only read: whoever moves or empties it moves what lies in it.
    """

    def __init__(self, paths: Iterable[str | Path]) -> None:
        found: set[str] = set()
        for path in paths:
            absolute = os.path.abspath(os.fspath(path))  # noqa: PTH100 - the link itself and its target are protected
            found.update((_folded(absolute), _folded(os.path.realpath(absolute))))
        self.paths = tuple(sorted(found))

    def check(self, accesses: Iterable[Access]) -> Failure | None:
        """The refusal for the first access that touches one of the files, or None."""
        for access in accesses:
            if access.uri.startswith("file:") and self._touches(access):
                return Failure(
                    "guardrail",
                    RULE,
                    "This call would touch files that Remit itself keeps; no grant allows that.",
                    Remedy("stop"),
                )
        return None

    def _touches(self, access: Access) -> bool:
        path = urllib.parse.unquote(access.uri.removeprefix("file://"))
        spellings = {_folded(path), _folded(os.path.realpath(path))}
        return any(self._at_or_below(one) or (access.action not in _READING and self._above(one)) for one in spellings)

    def _at_or_below(self, path: str) -> bool:
        return any(path == own or path.startswith((f"{own}/", f"{own}-", f"{own}.")) for own in self.paths)

    def _above(self, path: str) -> bool:
        below = f"{path.rstrip('/')}/"
        return any(own.startswith(below) for own in self.paths)


def _folded(path: str) -> str:
    """Case folded: on a file system that ignores case, `REMIT.DB` is the same file."""
    return path.casefold()
