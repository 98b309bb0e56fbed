"""Which witnesses there are, where they are asked, and how many have to agree (c2sp.org/tlog-policy).

```
witness east witness.example.com/east+1a2b3c4d+BE… https://witness.example.com
witness west …
group both all east west          all, any, or a number
quorum both                       a witness, a group, or none
```
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from remit.errors import GrantError, UsageError, VerificationError
from remit.ledger.notes import Verifier, WitnessKey

MAX_LINES: Final = 1_000
"""Lines of a policy file that are read."""

_NONE: Final = "none"
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class PolicyWitness(NamedTuple):
    """A witness: the policy's own name for it, its key, and where it is asked (None: it is only verified)."""

    name: str
    key: WitnessKey
    url: str | None


class Group(NamedTuple):
    """Witnessed when at least `needed` of its members (witnesses or groups) have witnessed."""

    needed: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as written. `source` is its text; a quorum of None needs nobody."""

    witnesses: tuple[PolicyWitness, ...]
    groups: tuple[tuple[str, Group], ...]
    quorum: str | None
    logs: tuple[Verifier, ...] = ()
    source: str = ""

    @classmethod
    def load(cls, path: Path) -> Policy:
        """Read a policy file. Raises `GrantError` with every wrong line, `UsageError` when it is missing."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the witness policy {path}: {error}") from error
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, what: str = "the witness policy") -> Policy:
        """Read a policy. Raises `GrantError`."""
        return _Reading(what).read(text)

    @classmethod
    def of(cls, witnesses: Iterable[WitnessKey | str], quorum: int | None = None) -> Policy:
        """`quorum` of these witnesses (all of them, when omitted) have to agree. Raises `UsageError`."""
        keys = [WitnessKey.parse(one) if isinstance(one, str) else one for one in witnesses]
        needed = len(keys) if quorum is None else quorum
        if not keys or len({key.public_key for key in keys}) < len(keys):
            raise UsageError("give each witness once, and at least one: nobody's word is no word")
        if not 1 <= needed <= len(keys):
            raise UsageError(f"{needed} of {len(keys)} witnesses is no quorum; expected 1 to {len(keys)}")
        named = tuple(PolicyWitness(f"w{number}", key, None) for number, key in enumerate(keys, 1))
        return cls(named, (("quorum", Group(needed, tuple(one.name for one in named))),), "quorum")

    @property
    def keys(self) -> tuple[WitnessKey, ...]:
        """The witnesses' keys."""
        return tuple(one.key for one in self.witnesses)

    def satisfied(self, cosigned: Collection[WitnessKey]) -> bool:
        """Whether the cosignatures of these witnesses on one head are enough."""
        if self.quorum is None:
            return True
        met = {one.name for one in self.witnesses if one.key in cosigned}
        for name, group in self.groups:  # a group names only what stands before it
            if sum(member in met for member in group.members) >= group.needed:
                met.add(name)
        return self.quorum in met

    def describe(self) -> str:
        """The quorum in words: `2 of 3 witnesses`."""
        groups = dict(self.groups)
        if self.quorum is None:
            return "no witnesses"
        group = groups.get(self.quorum)
        if group is None:
            return f"witness {self.quorum}"
        what = "groups and witnesses" if any(member in groups for member in group.members) else "witnesses"
        return f"{group.needed} of {len(group.members)} {what}"


class _Reading:
    """One pass over a policy's lines, with every problem found."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._problems: list[str] = []
        self._witnesses: list[PolicyWitness] = []
        self._groups: dict[str, Group] = {}
        self._logs: list[Verifier] = []
        self._quorum: list[str] = []
        self._members: set[str] = set()

    def read(self, text: str) -> Policy:
        lines = text.split("\n")
        if len(lines) > MAX_LINES:
            raise GrantError(f"{self._what} has {len(lines)} lines; at most {MAX_LINES} are read")
        for number, line in enumerate(lines, 1):
            self._line(number, line)
        if len(self._quorum) != 1 and not self._problems:
            self._problems.append(f"{len(self._quorum)} quorum lines; expected exactly one")
        if self._problems:
            raise GrantError(f"{self._what} is refused: {self._problems[0]}", problems=self._problems)
        [quorum] = self._quorum
        return Policy(
            tuple(self._witnesses),
            tuple(self._groups.items()),
            None if quorum == _NONE else quorum,
            tuple(self._logs),
            text,
        )

    def _line(self, number: int, line: str) -> None:
        if _CONTROL.search(line):
            self._problems.append(f"line {number}: a control character; expected spaces, tabs and newlines only")
            return
        words = [word for word in re.split("[ \t]+", line) if word]
        if not words or words[0].startswith("#"):
            return
        try:
            self._statement(words[0], words[1:])
        except (VerificationError, ValueError) as error:
            self._problems.append(f"line {number}: {error}")

    def _statement(self, word: str, rest: Sequence[str]) -> None:
        if word == "log" and len(rest) in (1, 2):
            log = Verifier.parse(rest[0])
            if any(log.public_key == other.public_key for other in self._logs):
                raise ValueError(f"the key of log {log.name} is given twice")
            self._logs.append(log)
        elif word == "witness" and len(rest) in (2, 3):
            self._witness(*rest)
        elif word == "group" and len(rest) >= 3:
            self._group(rest[0], rest[1], rest[2:])
        elif word == "quorum" and len(rest) == 1:
            self._quorum.append(rest[0] if rest[0] == _NONE else self._known(rest[0]))
        else:
            raise ValueError(
                f"{word} with {len(rest)} words is no statement; expected `log VKEY [URL]`, `witness NAME VKEY [URL]`, "
                "`group NAME all|any|NUMBER NAME…` or `quorum NAME`"
            )

    def _witness(self, name: str, vkey: str, url: str | None = None) -> None:
        key = WitnessKey.parse(vkey)
        if any(key.public_key == other.key.public_key for other in self._witnesses):
            raise ValueError(f"the key of witness {name} is given twice; one witness counts once")
        if url is not None and not url.startswith(("https://", "http://")):
            raise ValueError(f"the address {url!r} of witness {name} is not https:// or http://")
        self._witnesses.append(PolicyWitness(self._fresh(name), key, url))

    def _group(self, name: str, needed: str, members: Sequence[str]) -> None:
        for member in members:
            self._known(member)
            if member in self._members:
                raise ValueError(f"{member} is a member twice; one witness counts once")
            self._members.add(member)
        count = {"all": len(members), "any": 1}.get(needed)
        if count is None:
            count = int(needed) if re.fullmatch("[1-9][0-9]{0,4}", needed) else 0
        if not 1 <= count <= len(members):
            raise ValueError(
                f"group {name} needs {needed} of {len(members)}; expected all, any, or 1 to {len(members)}"
            )
        self._groups[self._fresh(name)] = Group(count, tuple(members))

    def _fresh(self, name: str) -> str:
        if name == _NONE or name in self._groups or any(one.name == name for one in self._witnesses):
            raise ValueError(f"the name {name} is taken")
        return name

    def _known(self, name: str) -> str:
        if name not in self._groups and all(one.name != name for one in self._witnesses):
            raise ValueError(f"no witness or group {name} stands above this line")
        return name
