"""Guardrails: the one that is always there and that nothing disables, and what an organisation's own ones answer.

The one that is always there: an agent never touches Remit's own files, and never runs its command line.

Whoever could write the database, its log, the locks, the keys, grants or policies could write themselves authority;
whoever runs `remit` beside the person's key could approve, issue and revoke as that person.
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
from remit.resources.shell_own import is_remit, starts_remit

RULE: Final = "remit/own-files"
_READING: Final = frozenset({"read", "list", "stat", "search"})
_RUNNING: Final = frozenset({"run", "execute", "exec", "start"})
_ELSEWHERE: Final = frozenset({"http", "https", "mailto", "program", "env"})
"""Schemes whose URIs name no file of this machine, with or without a host."""


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
    """Refuses accesses to files at or below any of `paths`, in whatever kind of URI they are named.

    Files whose names differ from one only by a suffix are meant too.
    The suffixes are those that SQLite and Remit put behind a database's name: `-wal`, `-shm`, `-journal`, `.lock`.
    A folder above is refused too, unless it is only read: whoever moves or empties it moves what lies in it.
    So is running `remit`: by name, by path, or as the shell reader finds it in the arguments of others.
    """

    def __init__(self, paths: Iterable[str | Path]) -> None:
        found: set[str] = set()
        for path in paths:
            absolute = os.path.abspath(os.fspath(path))  # noqa: PTH100 - the link itself and its target are protected
            found.update((_folded(absolute), _folded(os.path.realpath(absolute))))
        self.paths = tuple(sorted(found))

    def check(self, accesses: Iterable[Access]) -> Failure | None:
        """The refusal for the first access that touches one of the files or runs the command line, or None."""
        for access in accesses:
            paths = _paths(access.uri)
            if _runs_remit(access, paths):
                return _refused("run Remit's own command line")
            if paths and self._touches(access, paths):
                return _refused("touch files that Remit itself keeps")
        return None

    def _touches(self, access: Access, paths: Iterable[str]) -> bool:
        """Only a file access reaches a folder's files by way of the folder: a database in it is one file."""
        above = access.action not in _READING and access.uri.startswith("file:")
        spellings = {_folded(spelling) for path in paths for spelling in (path, os.path.realpath(path))}
        return any(self._at_or_below(one) or (above and self._above(one)) for one in spellings)

    def _at_or_below(self, path: str) -> bool:
        return any(path == own or path.startswith((f"{own}/", f"{own}-", f"{own}.")) for own in self.paths)

    def _above(self, path: str) -> bool:
        below = f"{path.rstrip('/')}/"
        return any(own.startswith(below) for own in self.paths)


def _paths(uri: str) -> tuple[str, ...]:
    """The files of this machine that a URI may mean: `file:///srv/a`, `sqlite:/srv/a`, `sqlite://localhost/srv/a?mode=ro`.

    `sqlite:///a.db` is `/a.db` to some libraries, and to others `a.db` in the directory where the process runs.
    """
    scheme, _, rest = uri.partition(":")
    if scheme in _ELSEWHERE:
        return ()
    authority, slash, path = rest[2:].partition("/") if rest.startswith("//") else ("", "", rest)
    host = urllib.parse.unquote(authority)
    if host.startswith("/"):  # a path as one segment, with its separators encoded
        path = f"{host}{slash}{path}"
    elif host and host.casefold() != "localhost":
        return ()
    path = urllib.parse.unquote(path.partition("?")[0]).lstrip("/")
    absolute = os.path.normpath(f"/{path}")
    return (absolute,) if scheme == "file" else (absolute, os.path.abspath(path))  # noqa: PTH100 - links count too


def _runs_remit(access: Access, paths: Iterable[str]) -> bool:
    if access.uri.startswith("program:"):
        if access.action in _READING:
            return False
        words = urllib.parse.unquote(access.uri.partition(":")[2]).split() or [""]
        return is_remit(words[0]) or starts_remit(words[0], words[1:])
    return access.action in _RUNNING and any(is_remit(path) or is_remit(os.path.realpath(path)) for path in paths)


def _refused(what: str) -> Failure:
    return Failure("guardrail", RULE, f"This call would {what}; no grant allows that.", Remedy("stop"))


def _folded(path: str) -> str:
    """Case folded: on a file system that ignores case, `REMIT.DB` is the same file."""
    return path.casefold()
