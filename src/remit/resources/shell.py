"""Shell text as accesses: the programs it runs, and the files that it and they name.

```python
reader = ShellReader(base="/srv/app")
reader.accesses("git log -5 | head -1 > last.txt")
# run program://git, read git:///srv/app, write file:///srv/app/last.txt, run program://head
```

`run program://git` for each program, `run file:///srv/app/run.sh` for one that is named by its path, `read` and `write`
of files, `read env://process/HOME` for variables that come from outside, `send` of URLs. Paths are relative to `base`,
followed through `cd`; without a base only absolute ones are read. What cannot be read with certainty is refused:
expansions where a program or a file is named, programs that run other programs and whose arguments are not
understood, and everything that changes what later words mean (`eval`, `source`, aliases, functions, `export`).
Programs that are on no list are refused, unless the catalogue's entry lists them.

What a program does beyond its arguments stays with the machine: its configuration, what a link points to, and what
`rm -r` finds below the folder that it is given. The table is that of GNU coreutils.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final, Literal, NamedTuple

from remit.errors import NotCanonical
from remit.resources.access import Access
from remit.resources.paths import canonical_path, joined
from remit.resources.shell_agreement import require_agreement
from remit.resources.shell_own import OWN_PROGRAM, starts_remit
from remit.resources.shell_programs import PLAIN, SPECS, Touch, literal, touched
from remit.resources.shell_special import SPECIAL, Words
from remit.resources.shell_syntax import parse
from remit.resources.shell_tree import Group, Redirect, Sequence_, Simple, Word
from remit.resources.shell_wrappers import HARMLESS, NEVER, SHELLS, WRAPPERS, inner_text
from remit.resources.text import shown
from remit.resources.uris import encode_path, encode_segment

ACTIONS: Final = ("run", "read", "write", "send")
"""What an access of a `shell` argument can be."""
MAX_NESTING: Final = 3

_PROGRAM: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\Z|[:\[]\Z")
_OWN_VARIABLE: Final = re.compile(r"[a-z_][a-z0-9_]*\Z")
_ZSH_VARIABLES: Final = frozenset({"path", "cdpath", "fpath", "prompt", "histchars", "auto_resume"})
_SAFE_SET: Final = re.compile(r"(?:-[eu]+|-[eu]*o pipefail|\+[eu]+)(?: -o pipefail)?\Z")
_SPECIAL: Final = re.compile(r"[0-9@*#?$!-]\Z")

Bases = frozenset[str | None]
"""The directories that a command may run in; None is the unknown one it starts in when no base is given."""


class Ends(NamedTuple):
    """Where the shell may be after a command, by whether it succeeded."""

    ok: Bases
    failed: Bases

    @property
    def either(self) -> Bases:
        return self.ok | self.failed


class ShellReader:
    """Reads the commands of one tool. Immutable, and safe to share between threads."""

    def __init__(self, *, base: str | None = None, programs: Collection[str] | Literal["any"] = ()) -> None:
        """`base` is the directory that commands start in. `programs` may be run whatever their arguments; of `any`,
        every program but those that are known to run others. Raises NotCanonical for a base that is no canonical path.
        """
        self.base = None if base is None else canonical_path(base)
        self.programs: frozenset[str] | Literal["any"] = "any" if programs == "any" else frozenset(programs)

    def accesses(self, text: str) -> tuple[Access, ...]:
        """What `text` runs and touches, in its order. Raises NotCanonical."""
        walk = _Walk(self)
        walk.text(text, frozenset({self.base}))
        return tuple(walk.found)

    def is_opaque(self, name: str) -> bool:
        """Whether the operator lets this program run whatever its arguments."""
        return self.programs != "any" and name in self.programs


class _Walk:
    """One reading: what was found, and the variables that the text itself has set."""

    def __init__(self, reader: ShellReader) -> None:
        self.reader = reader
        self.found: dict[Access, None] = {}
        self._set: set[str] = set()
        self._nesting = 0
        self._looping = False

    def text(self, text: str, bases: Bases) -> None:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise NotCanonical(f"shells are nested more than {MAX_NESTING} deep")
        found = parse(text)
        require_agreement(text, found)
        self._sequence(found, bases)
        self._nesting -= 1

    def _add(self, action: str, uri: str) -> None:
        self.found[Access(action, uri)] = None

    def _sequence(self, sequence: Sequence_, bases: Bases) -> Ends:
        ends = Ends(bases, bases)
        for operator, pipeline, background in sequence.steps:
            start = ends.ok if operator == "&&" else ends.failed if operator == "||" else ends.either
            if len(pipeline.commands) > 1 or background:
                for command in pipeline.commands:
                    self._command(command, start)  # each in a shell of its own
                after = Ends(start, start)
            else:
                after = self._command(pipeline.commands[0], start)
            if pipeline.negated:
                after = Ends(after.failed, after.ok)
            if operator == "&&":
                ends = Ends(after.ok, ends.failed | after.failed)
            elif operator == "||":
                ends = Ends(ends.ok | after.ok, after.failed)
            else:
                ends = after
        return ends

    def _command(self, command: Simple | Group, bases: Bases) -> Ends:
        if isinstance(command, Simple):
            return self._simple(command, bases)
        self._redirects(command.redirects, bases)
        if command.kind == "group":
            return self._sequence(command.lists[0], bases)
        looping, self._looping = self._looping, self._looping or command.kind == "loop"
        if command.variable is not None:
            for word in command.items:
                self._expansions(word, bases)
            _require_single("for", command.items)
            self._assign(command.variable)
        reached = bases
        for each in command.lists:
            inner = self._sequence(each, reached).either
            reached = bases if command.kind == "subshell" else reached | inner
        self._looping = looping
        return Ends(reached, reached)

    def _simple(self, command: Simple, bases: Bases) -> Ends:
        for name, value in command.assignments:
            self._expansions(value, bases)
            if command.words:
                if name not in HARMLESS:
                    raise NotCanonical(f"{name}=… before a command can change what it runs; expected none")
            else:
                self._assign(name)
        self._redirects(command.redirects, bases)
        if not command.words:
            return Ends(bases, bases)
        for word in command.words:
            self._expansions(word, bases)
        return self._run(command.words, bases, builtin=True)

    def _assign(self, name: str) -> None:
        if not _OWN_VARIABLE.match(name) or name in _ZSH_VARIABLES or name.endswith("_proxy"):
            raise NotCanonical(f"setting {name} can change what later commands do; expected a name in lower case")
        self._set.add(name)

    def _expansions(self, word: Word, bases: Bases) -> None:
        for body in word.bodies:
            self._sequence(body, bases)
        self._variables(word.variables)

    def _variables(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._set and not _SPECIAL.match(name):
                self._add("read", f"env://process/{encode_segment(name)}")

    def _run(self, words: Words, bases: Bases, *, builtin: bool) -> Ends:
        """One command: `builtin` says whether the shell itself runs it, and not another program."""
        name = literal(words[0], "the command line")
        if name == "cd" and builtin:
            return self._cd(words[1:], bases)
        if "/" in name:
            for path in self._paths(name, bases):
                self._add("run", f"file://{encode_path(path)}")
            name = name.rpartition("/")[2]
            builtin = False
        elif _PROGRAM.match(name):
            self._add("run", f"program://{'test' if name == '[' else encode_segment(name)}")
        else:
            raise NotCanonical(f"{shown(name)} is not the name of a program")
        if name == "set" and builtin and _SAFE_SET.match(" ".join(literal(word, "set") for word in words[1:])):
            return Ends(bases, bases)
        if name == "cd" or name in NEVER:
            raise NotCanonical(f"{name} runs or changes what is not in its arguments; it is not understood")
        self._arguments(name, words[1:], bases)
        return Ends(bases, bases)

    def _arguments(self, name: str, words: Words, bases: Bases) -> None:
        if self.reader.is_opaque(name) or (name not in _KNOWN and self.reader.programs == "any"):
            if starts_remit(name, (word.text for word in words)):
                self._add("run", OWN_PROGRAM)
            return
        if name in SHELLS:
            self.text(inner_text(name, words), bases)
        elif name in WRAPPERS:
            rest = WRAPPERS[name](words)
            if rest:
                self._run(rest, bases, builtin=False)
            elif name == "env":
                self._add("read", "env://process")
        elif name == "printenv":
            self._printenv(words)
        elif name in PLAIN:
            _require_plain(name, words)
        elif name in SPECS:
            self._touch(touched(name, words), bases)
        elif name in SPECIAL:
            self._touch(SPECIAL[name](words), bases)
        else:
            raise NotCanonical(
                f"the program {shown(name)} is not one whose arguments are understood; expected one that is, or "
                f"programs: [{name}] in the catalogue's entry"
            )

    def _printenv(self, words: Words) -> None:
        names = [literal(word, "printenv") for word in words]
        self._variables(names)
        if not names or any(name.startswith("-") for name in names):
            self._add("read", "env://process")

    def _touch(self, touches: Iterable[Touch | tuple[str, str]], bases: Bases) -> None:
        for each in touches:
            if isinstance(each, Touch):
                for path in self._paths(each.path, bases):
                    self._add(each.action, f"{each.scheme}://{encode_path(path)}")
            else:
                self._add(*each)

    def _cd(self, words: Words, bases: Bases) -> Ends:
        if len(words) != 1 or self._looping:
            raise NotCanonical("cd is understood with one directory, and outside loops")
        target = literal(words[0], "cd")
        if target.startswith("-"):
            raise NotCanonical("cd to an earlier directory, or with options, is not understood")
        return Ends(frozenset(self._paths(target, bases)), bases)

    def _paths(self, text: str, bases: Bases) -> list[str]:
        """What a path means from each directory that the command may run in. Raises NotCanonical."""
        plain = text
        while plain.startswith("./"):
            plain = plain[2:].lstrip("/") or "."
        if len(plain) > 1 and plain.endswith("/"):
            plain = plain[:-1]
        if plain.startswith("/"):
            return [canonical_path(plain)]
        if None in bases:
            raise NotCanonical(
                f"{shown(text)} is relative to a directory that is not known; expected an absolute path, or base: in "
                "the catalogue's entry"
            )
        return [joined(base, plain) for base in sorted(base for base in bases if base is not None)]

    def _redirects(self, redirects: Iterable[Redirect], bases: Bases) -> None:
        for each in redirects:
            self._variables(each.variables)
            if each.target is not None:
                self._expansions(each.target, bases)
                self._redirect(each.operator, each.target, bases)

    def _redirect(self, operator: str, target: Word, bases: Bases) -> None:
        if operator == "<<<":
            return
        if target.process:
            return
        text = literal(target, "a redirection")
        if operator in ("<&", ">&") and re.fullmatch(r"[0-9]|-|[0-9]-", text):
            return
        if operator == "<&":
            raise NotCanonical("<& is followed by something other than a number")
        for path in self._paths(text, bases):
            if path.startswith(("/dev/tcp", "/dev/udp")):
                raise NotCanonical(f"{shown(path)} is the network to bash")
            if path != "/dev/null":
                self._add("read" if operator == "<" else "write", f"file://{encode_path(path)}")


def _require_plain(name: str, words: Words) -> None:
    """Arguments that name neither files nor programs, and that the shell cannot make names of."""
    if name == "printf" and words and (not words[0].literal or words[0].text.startswith("-")):
        raise NotCanonical("printf with an option, or a format that is expanded, is not understood")
    if name in ("wait", "break", "continue", "exit", "umask"):
        for word in words:
            literal(word, name)
    _require_single(name, words)


def _require_single(name: str, words: Iterable[Word]) -> None:
    for word in words:
        if not word.single:
            raise NotCanonical(
                f"an argument of {name}, {shown(word.text)}, may become a list of files; expected it in double quotes"
            )


_KNOWN: Final = SHELLS | WRAPPERS.keys() | PLAIN | SPECS.keys() | SPECIAL.keys() | {"printenv"}
