"""The guardrail that is always there and that nothing disables: an agent never touches Remit's own files.

Whoever could write the database, its log, the locks, the keys, grants or policies could write themselves authority.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from remit.authority.calls import Failure
from remit.errors import Remedy
from remit.resources.access import Access

RULE: Final = "remit/own-files"


class OwnFiles:
    """Refuses file accesses at or below any of `paths`, and to those that differ from one only by a suffix.

    The suffixes are those that SQLite and Remit put behind a database's name: `-wal`, `-shm`, `-journal`, `.lock`.
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
            if access.uri.startswith("file:") and self._touches(access.uri):
                return Failure(
                    "guardrail",
                    RULE,
                    "This call would touch files that Remit itself keeps; no grant allows that.",
                    Remedy("stop"),
                )
        return None

    def _touches(self, uri: str) -> bool:
        path = urllib.parse.unquote(uri.removeprefix("file://"))
        return any(self._hits(_folded(spelling)) for spelling in {path, os.path.realpath(path)})

    def _hits(self, path: str) -> bool:
        # a directory above counts as well: whoever moves or empties it moves what is in it
        return any(
            path == own or path.startswith((f"{own}/", f"{own}-", f"{own}.")) or own.startswith(f"{path.rstrip('/')}/")
            for own in self.paths
        )


def _folded(path: str) -> str:
    """Case folded: on a file system that ignores case, `REMIT.DB` is the same file."""
    return path.casefold()


def protected(paths: Iterable[str | Path]) -> OwnFiles:
    """The built-in guardrail for these paths."""
    return OwnFiles(paths)
