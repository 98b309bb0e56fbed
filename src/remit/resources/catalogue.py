"""The catalogue: how the arguments of each tool become the resources that a call touches.

```yaml
tools:
  crm.read_ticket: {accesses: ["read crm://tickets/{id}"], read_only: true, idempotent: true}
  fs.move:
    accesses:
      - write file://{source}
      - write file://{destination}
    kinds: {source: path, destination: path}
  mail.send: {accesses: ["send mailto:{to*}"], kinds: {to: email}, secret: [token]}
  inbox.list: {accesses: ["read mail://inbox"], read_only: true}
```

A key is `server.tool`, or `server.*` for every tool of a server. No two entries may reach one tool.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import rfc8785

from remit.errors import GrantError
from remit.resources.entries import EntryRefused, ToolEntry, read_entry
from remit.resources.text import kind_of, shown
from remit.resources.yaml_source import Located, load_strict

MAX_ENTRIES: Final = 10_000

_SERVER: Final = re.compile(r"[a-z0-9_-]{1,64}\Z")
_TOOL: Final = re.compile(r"[!-)+-~]{1,200}\Z")
_TOP: Final = "tools"


class Catalogue:
    """Entries by tool key, from one or several sources; immutable once loaded."""

    __slots__ = ("_entries", "digest", "source")

    def __init__(self, entries: Mapping[str, ToolEntry], words: Mapping[str, Any]) -> None:
        """For `load`, which checks; `words` are the canonical words of each entry."""
        self._entries = dict(entries)
        self.source: bytes = rfc8785.dumps({_TOP: dict(words)})
        """Canonical JSON (RFC 8785) of everything loaded; itself a source that loads to the same
        catalogue.
        """
        self.digest: str = "sha256:" + hashlib.sha256(self.source).hexdigest()

    @classmethod
    def load(cls, *sources: Path | str | Mapping[str, Any]) -> Catalogue:
        """Read and merge catalogues: YAML files, directories of `*.yaml`, or mappings. Of none, the empty
        one.

        Raises GrantError with every problem found, each with its file and line: unknown words, templates that
        could be read in two ways, kinds that do not exist, and two entries that reach one tool.
        """
        loading = _Loading()
        for source in _opened(sources):
            loading.take(source)
        if loading.problems:
            more = f" (and {len(loading.problems) - 1} more)" if len(loading.problems) > 1 else ""
            raise GrantError(loading.problems[0] + more, problems=loading.problems)
        return cls(loading.entries, loading.words)

    def entry(self, tool: str) -> ToolEntry | None:
        """The entry that reaches `server.tool`: its own or its server's. None when the catalogue says
        nothing.
        """
        found = self._entries.get(tool)
        return found if found is not None else self._entries.get(tool.partition(".")[0] + ".*")

    def keys(self) -> tuple[str, ...]:
        """Every key that has an entry, sorted."""
        return tuple(sorted(self._entries))


@dataclass(frozen=True, slots=True)
class _Source:
    """One parsed source; `located` knows the lines when it was text."""

    name: str
    tree: Any
    located: Located | None

    def say(self, path: tuple[str | int, ...], sentence: str) -> str:
        if self.located is not None:
            return str(self.located.refuse(path, sentence))
        place = ".".join(str(part) for part in path)
        return f"{self.name}, {place}: {sentence}" if place else f"{self.name}: {sentence}"


def _opened(sources: tuple[Path | str | Mapping[str, Any], ...]) -> Iterator[_Source]:
    for number, source in enumerate(sources, start=1):
        if isinstance(source, Mapping):
            name = "the catalogue" if len(sources) == 1 else f"catalogue {number}"
            yield _Source(name, source, None)
        elif isinstance(source, str | Path):
            for path in _files(Path(source)):
                yield _read(path)
        else:
            raise GrantError(f"a catalogue is a path or a mapping; got {kind_of(source)}")


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.yaml"))
    if not found:
        raise GrantError(f"{path} has no catalogue: expected at least one *.yaml file in it")
    return found


def _read(path: Path) -> _Source:
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise GrantError(f"the catalogue {path} cannot be read: {error.strerror or error}") from error
    except UnicodeError as error:
        raise GrantError(f"the catalogue {path} is not UTF-8: {error}") from error
    located = load_strict(text, name=str(path))
    return _Source(str(path), located.tree, located)


class _Loading:
    """What has been read so far, and every problem found on the way."""

    def __init__(self) -> None:
        self.entries: dict[str, ToolEntry] = {}
        self.words: dict[str, Any] = {}
        self.problems: list[str] = []
        self._servers: dict[str, list[str]] = {}
        self._origin: dict[str, str] = {}

    def take(self, source: _Source) -> None:
        tools = self._tools(source)
        if len(self.entries) + len(tools) > MAX_ENTRIES:
            self.problems.append(source.say((_TOP,), f"has more than {MAX_ENTRIES} entries"))
            return
        for written, value in tools.items():
            path = (_TOP, written)
            try:
                key = _entry_key(written)
            except ValueError as error:
                self.problems.append(source.say(path, str(error)))
                continue
            other = self._reached(key)
            if other is not None:
                sentence = f"{key} and {other} (in {self._origin[other]}) reach the same tool; keep one of them"
                self.problems.append(source.say(path, sentence))
                continue
            try:
                self.entries[key], self.words[key] = read_entry(key, value)
            except EntryRefused as error:
                self.problems.extend(source.say((*path, *each.path), each.sentence) for each in error.problems)
                continue
            self._origin[key] = source.name
            self._servers.setdefault(key.partition(".")[0], []).append(key)

    def _tools(self, source: _Source) -> Mapping[str, Any]:
        if not isinstance(source.tree, Mapping):
            self.problems.append(source.say((), f"is {kind_of(source.tree)}, expected a mapping with {_TOP}"))
            return {}
        for word in source.tree:
            if word != _TOP:
                near = difflib.get_close_matches(str(word), [_TOP], 1)
                hint = f"; did you mean {_TOP}?" if near else ""
                self.problems.append(source.say((word,), f"the word {word} is unknown{hint}; expected {_TOP} alone"))
        tools = source.tree.get(_TOP)
        if not isinstance(tools, Mapping) or not tools:
            got = "nothing" if not tools else kind_of(tools)
            self.problems.append(source.say((_TOP,), f"{_TOP} is {got}, expected a mapping from tool keys to entries"))
            return {}
        return tools

    def _reached(self, key: str) -> str | None:
        """The key taken so far that reaches a tool which `key` reaches too."""
        same_server = self._servers.get(key.partition(".")[0], [])
        wildcard = key.endswith(".*")
        return next((other for other in same_server if wildcard or other == key or other.endswith(".*")), None)


def _entry_key(written: Any) -> str:
    """`server.tool` or `server.*`, with `local.` before a bare name. Raises ValueError with a sentence."""
    if not isinstance(written, str):
        raise ValueError(f"a tool key is {kind_of(written)}, expected a string such as crm.read_ticket")
    server, dot, tool = written.partition(".")
    if not dot:
        server, tool = "local", written
    if not _SERVER.match(server):
        raise ValueError(
            f"{shown(written)} is not a tool key: the server name {shown(server)} has characters outside "
            "a-z 0-9 _ -; expected server.tool, such as crm.read_ticket"
        )
    if tool == "*" and dot:
        return written
    if not _TOOL.match(tool):
        raise ValueError(
            f"{shown(written)} is not a tool key: expected 1 to 200 printable ASCII characters without space "
            "or * after the first dot, or * alone there"
        )
    return f"{server}.{tool}"
