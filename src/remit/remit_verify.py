#!/usr/bin/env python3
"""Verify an evidence bundle of Remit: `python remit_verify.py BUNDLE --key VKEY --witness VKEY --fresh 24h`.

One file; Python 3.11 and `cryptography`, nothing else. It trusts nothing but its arguments.

```
(1) roots        keys of the log, witnesses, how fresh: what the caller gave. Keys inside a bundle are never used
(2) files        plain names inside the bundle; what is there is what manifest.json lists, no file more, no byte other
(3) head         `checkpoint` is signed by a given key that may sign heads of that size, and by enough given witnesses,
                 recently enough; it continues the head that the caller kept (--since)
(4) export       exported/record is in the log behind that head, and names the digest of manifest.json
(5) records      each is under the head at its index, is canonical, and has the shape of its type
(6) scope        nothing is left out: a range has no gap, a session no gap for any writer, up to the last that
                 `session.closed` and the export name
(7) writers      numbers rise, hashes link to the record before, time never goes back; whoever signs heads does so from
                 where a record of the log says
(8) artefacts    are what their digest says, came with a record that is here, and none that a record needs is missing
(9) authority    every grant carries a valid signature by the key that the log had recorded, and says what its record
                 says; every person's statement is signed by the key that was enrolled for them at that moment
(10) disclosures fit the commitments in the records, and nothing that was erased is disclosed
```

Exit codes: 0 verified, 1 not verified, 2 misuse. Specifications: RFC 6962, RFC 9162 (2.1.3.2, 2.1.4.2), RFC 8785,
c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature, tlog-proof@v1, tlog-tiles, tlog-policy; DSSE.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import hmac
import json
import re
import stat
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT: Final = "remit-bundle@v1"
MAX_LEAF: Final = 65_535
MAX_NOTE: Final = 1_000_000
MAX_SIGNATURES: Final = 100
TILE: Final = 256
CLOCK_SKEW: Final = 300
"""Seconds by which a witness's clock may be ahead of the one here."""


class NotVerified(Exception):
    """The bundle does not verify; `.index` is the record at which it breaks, if one can be named."""

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


class Misuse(Exception):
    """What the caller asked cannot be done: a key that is none, a freshness without a witness."""


# ---------------------------------------------------------------------------------------------------- bytes and JSON


def decode_base64(text: str, what: str) -> bytes:
    """Standard base64 in its only canonical form: no other alphabet, no line break, no unused bit set."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotVerified(f"{what} is not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise NotVerified(f"{what} is not canonical base64")
    return raw


def canonical(value: Any) -> bytes:
    """RFC 8785. Raises `ValueError` for what JSON cannot say."""
    return _jcs(value).encode()


def _jcs(value: Any) -> str:
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a key is not text")
        items = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{_jcs(key)}:{_jcs(item)}" for key, item in items) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_jcs, value)) + "]"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53 - 1:
        raise ValueError("an integer that not every reader of JSON reads exactly")
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _number(value: float) -> str:
    """A number as ECMAScript writes it: the shortest digits that read back, and an exponent only far from zero."""
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError("not a finite number")
    if value == 0:
        return "0"
    sign, digits, exponent = "-" if value < 0 else "", *_shortest(abs(value))
    point = len(digits) + exponent  # the decimal point stands after this many digits
    if len(digits) <= point <= 21:
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    mantissa = digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{sign}{mantissa}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def _shortest(value: float) -> tuple[str, int]:
    """(digits, exponent): value = digits × 10^exponent, no zero at either end of the digits."""
    mantissa, _, power = repr(value).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    exponent = int(power or "0") - len(fraction)
    short = digits.rstrip("0")
    return short, exponent + len(digits) - len(short)


class _Unusual(Exception):
    """JSON that the standard library may write otherwise than RFC 8785: fractions, long numbers."""


def _unusual(text: str) -> Any:
    raise _Unusual


def _whole(text: str) -> int:
    if len(text) > 15:
        raise _Unusual
    return int(text)


_ASTRAL: Final = (b"\xf0", b"\xf1", b"\xf2", b"\xf3", b"\xf4")
"""First bytes of characters beyond U+FFFF, by which keys sort differently."""

_READ: Final = json.JSONDecoder(parse_float=_unusual, parse_int=_whole, parse_constant=_unusual).decode
_WRITE: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def read_json(content: bytes, what: str, index: int | None = None) -> Any:
    """A JSON document that is canonical to the byte, so that no two readers read it differently."""
    try:
        text = content.decode()
        try:
            value = _READ(text)
            plain = not any(first in content for first in _ASTRAL)
            written = _WRITE(value).encode() if plain else canonical(value)
        except _Unusual:
            value = json.loads(text)
            written = canonical(value)
    except (ValueError, RecursionError) as error:
        raise NotVerified(f"{what} is not canonical JSON: {error}", index) from error
    if written != content:
        raise NotVerified(f"{what} is not canonical JSON", index)
    return value


def sha256(content: bytes) -> str:
    """The hex digest."""
    return hashlib.sha256(content).hexdigest()


# ------------------------------------------------------------------------------------------------------------- tree


def leaf_hash(record: bytes) -> bytes:
    """`SHA-256(0x00 || record)`."""
    return hashlib.sha256(b"\x00" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """`SHA-256(0x01 || left || right)`."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The tree head over these hashes (RFC 6962, 2.1), level by level: a node without a sibling goes up as it is."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    level = list(hashes)
    while len(level) > 1:
        above = [node_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """RFC 9162, 2.1.3.2."""
    if not 0 <= index < size:
        raise NotVerified(f"record {index} is outside of a log of {size}", index)
    position, last, found = index, size - 1, leaf
    for step in path:
        if last == 0:
            raise NotVerified(f"the inclusion proof of record {index} is too long", index)
        if position & 1 or position == last:
            found = node_hash(step, found)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            found = node_hash(found, step)
        position >>= 1
        last >>= 1
    if last != 0 or found != root:
        raise NotVerified(f"record {index} is not under the signed head of {size} records: it was changed", index)


def check_consistency(first: int, first_root: bytes, second: int, second_root: bytes, path: Sequence[bytes]) -> None:
    """RFC 9162, 2.1.4.2: the log of `second` records continues that of `first`."""
    if not 0 < first <= second:
        raise NotVerified(f"the log shrank, or was empty: {second} records after {first}")
    if first == second:
        if path or first_root != second_root:
            raise NotVerified(f"two different heads of {first} records: the log was forked")
        return
    steps = ([first_root] if first & (first - 1) == 0 else []) + list(path)
    if not steps:
        raise NotVerified("the consistency proof is empty")
    position, last = first - 1, second - 1
    while position & 1:
        position >>= 1
        last >>= 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            raise NotVerified("the consistency proof is too long")
        if position & 1 or position == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            new = node_hash(new, step)
        position >>= 1
        last >>= 1
    if last != 0 or old != first_root or new != second_root:
        raise NotVerified(f"the log of {second} records does not continue that of {first}: history was rewritten")


# --------------------------------------------------------------------------------------------------- keys and notes

LOG: Final = 0x01
COSIGNER: Final = 0x04
_KEY_NAME: Final = re.compile(r"[^\s+\x00-\x20\x7f]{1,200}\Z")
_EPOCH: Final = re.compile(r"(.+)@(0|[1-9][0-9]{0,18})-([1-9][0-9]{0,18})?\Z", re.DOTALL)
_DECIMAL: Final = re.compile(r"(0|[1-9][0-9]{0,18})\Z")


@dataclass(frozen=True, slots=True)
class Key:
    """An Ed25519 verifier key (c2sp.org/signed-note): of a log (type 1) or of a cosigner (type 4)."""

    name: str
    kind: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """What marks this key's lines in a note."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    @property
    def vkey(self) -> str:
        """The key as text."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"

    @classmethod
    def parse(cls, text: str, kind: int) -> Key:
        """Read a vkey of this type. Raises `Misuse`."""
        wanted = "a log's key (Ed25519, type 1)" if kind == LOG else "a witness's key (Ed25519 cosignature, type 4)"
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            raw = decode_base64(encoded, "the key")
        except NotVerified as error:
            raise Misuse(f"{text!r} is not a verifier key: {error}; expected NAME+KEYID+BASE64") from error
        if len(raw) != 33 or raw[0] != kind or not _KEY_NAME.match(name):
            raise Misuse(f"{text!r} is not {wanted}")
        key = cls(name, kind, raw[1:])
        if key.key_id.hex() != key_id:
            raise Misuse(f"{text!r} says key id {key_id!r}, but its name and key give {key.key_id.hex()}")
        return key


@lru_cache(maxsize=4_096)
def _check_signature(public: bytes, signature: bytes, message: bytes) -> None:
    """Raises `InvalidSignature` or `ValueError`; what was valid once is remembered."""
    Ed25519PublicKey.from_public_bytes(public).verify(signature, message)


class Note(NamedTuple):
    """A signed note: the text, and (name, key id, signature) of every line below it, known or not."""

    text: bytes
    lines: tuple[tuple[str, bytes, bytes], ...]

    def by(self, key: Key) -> list[bytes]:
        """The signatures that say they are by `key`."""
        return [raw for name, key_id, raw in self.lines if name == key.name and key_id == key.key_id]


def read_note(content: bytes, what: str) -> Note:
    """One text for one note: UTF-8, no control character but the newline, canonical base64."""
    if len(content) > MAX_NOTE:
        raise NotVerified(f"{what} is larger than a note may be")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise NotVerified(f"{what} is not UTF-8") from error
    if any((letter < " " and letter != "\n") or letter == "\x7f" for letter in text):
        raise NotVerified(f"{what} contains control characters")
    body, gap, tail = text.rpartition("\n\n")
    if not gap or not tail.endswith("\n"):
        raise NotVerified(f"{what} is not a signed note")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NotVerified(f"{what} has more than {MAX_SIGNATURES} signatures")
    return Note((body + "\n").encode(), tuple(_signature_line(line, what) for line in lines))


def _signature_line(line: str, what: str) -> tuple[str, bytes, bytes]:
    mark, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if mark != "—" or not _KEY_NAME.match(name):
        raise NotVerified(f"{what}: a signature line is not “— NAME BASE64”")
    raw = decode_base64(encoded, f"{what}: a signature")
    if len(raw) < 5:
        raise NotVerified(f"{what}: a signature is too short")
    return name, raw[:4], raw[4:]


class Head(NamedTuple):
    """A tree head that a given key signed."""

    origin: str
    size: int
    root: bytes
    note: Note
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LogKey:
    """A key of the log and its epoch: it signs heads of `start` records and more, but fewer than `end`."""

    key: Key
    start: int = 0
    end: int | None = None

    @classmethod
    def parse(cls, text: str) -> LogKey:
        """`VKEY`, `VKEY@0-1000` (heads of fewer than 1000 records) or `VKEY@1000-`. Raises `Misuse`."""
        found = _EPOCH.match(text)
        if found is None:
            return cls(Key.parse(text, LOG))
        start, end = int(found[2]), int(found[3]) if found[3] else None
        if end is not None and end <= start:
            raise Misuse(f"{start}-{end} is no range of sizes: its end is not behind its start")
        return cls(Key.parse(found[1], LOG), start, end)

    def covers(self, size: int) -> bool:
        """Whether this key may sign a head of `size` records."""
        return self.start <= size and (self.end is None or size < self.end)


@dataclass(frozen=True, slots=True)
class Quorum:
    """How many of which witnesses are enough: `needed` of `members`, which are keys or quorums themselves."""

    needed: int
    members: tuple[Key | Quorum, ...]

    def met(self, cosigned: Mapping[Key, datetime]) -> bool:
        """Whether these witnesses are enough."""
        return sum(m.met(cosigned) if isinstance(m, Quorum) else m in cosigned for m in self.members) >= self.needed

    def witnesses(self) -> Iterator[Key]:
        """Every witness in it."""
        for member in self.members:
            if isinstance(member, Quorum):
                yield from member.witnesses()
            else:
                yield member


@dataclass(frozen=True, slots=True)
class Roots:
    """Step (1): everything that is trusted. `since` is a checkpoint that the caller kept from an earlier time."""

    keys: tuple[LogKey, ...]
    quorum: Quorum = field(default_factory=lambda: Quorum(0, ()))
    fresh: timedelta | None = None
    since: bytes | None = None
    now: datetime | None = None

    def __post_init__(self) -> None:
        if not self.keys:
            raise Misuse("nothing to trust: give the log's key with --key")
        if len({key.key.name for key in self.keys}) > 1:
            raise Misuse("the keys are of different logs; a bundle is of one")
        if self.fresh is not None and self.quorum.needed < 1:
            raise Misuse("freshness is a witness's word: give --witness together with --fresh")

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.keys[0].key.name

    def head(self, content: bytes, what: str) -> Head:
        """A checkpoint signed by a given key that may sign its size. Lines of other keys are left aside."""
        note = read_note(content, what)
        lines = note.text.decode().split("\n")
        if len(lines) != 4 or lines[3] or not _DECIMAL.match(lines[1]):
            raise NotVerified(f"{what} is not a checkpoint: expected origin, size and root")
        if lines[0] != self.origin:
            raise NotVerified(f"{what} is of log {lines[0]!r}; the given key is of {self.origin!r}")
        root = decode_base64(lines[2], f"the root in {what}")
        if len(root) != 32:
            raise NotVerified(f"the root in {what} is not 32 bytes long")
        size = int(lines[1])
        return Head(lines[0], size, root, note, self._signing(note, size, what))

    def _signing(self, note: Note, size: int, what: str) -> tuple[str, ...]:
        """The given keys that signed this, each of which may sign heads of this size."""
        named = [log for log in self.keys if note.by(log.key)]
        signing = [log for log in named if log.covers(size)]
        if not signing:
            why = f"is signed by a key that does not sign heads of {size} records" if named else "is not signed"
            raise NotVerified(f"{what} {why}{'' if named else ' by a key that you gave'}")
        for log in signing:
            signatures = note.by(log.key)
            if len(signatures) != 1:
                raise NotVerified(f"{what} carries {len(signatures)} signatures by {log.key.name}; expected one")
            try:
                _check_signature(log.key.public, signatures[0], note.text)
            except (InvalidSignature, ValueError) as error:
                raise NotVerified(f"the signature of {log.key.name} on {what} is not valid") from error
        return tuple(log.key.vkey for log in signing)

    def cosigners(self, head: Head) -> dict[Key, datetime]:
        """Which given witnesses cosigned this head, and when they last did, as they say."""
        found = {}
        for key in self.quorum.witnesses():
            stamps = [_cosigned_at(key, raw, head.note.text) for raw in head.note.by(key)]
            if stamps:
                found[key] = max(stamps)
        return found

    def check_witnessed(self, head: Head) -> dict[Key, datetime]:
        """Enough witnesses, recently enough. Returns those that count."""
        cosigned = self.cosigners(head)
        now = self.now or datetime.now(UTC)
        for key, moment in cosigned.items():
            if (moment - now).total_seconds() > CLOCK_SKEW:
                raise NotVerified(f"{key.name} says that it cosigned at {_say(moment)}, which is yet to come")
        if not self.quorum.met(cosigned):
            names = ", ".join(sorted(key.name for key in cosigned)) or "none"
            raise NotVerified(f"not enough witnesses cosigned the head of {head.size} records: found {names}")
        if self.fresh is not None:
            recent = {key: moment for key, moment in cosigned.items() if now - moment <= self.fresh}
            if not self.quorum.met(recent):
                newest = max(cosigned.values())
                raise NotVerified(
                    f"the head of {head.size} records is not fresh: last cosigned at {_say(newest)}, "
                    f"{_span(now - newest)} ago; expected at most {_span(self.fresh)}"
                )
        return cosigned


def _cosigned_at(key: Key, raw: bytes, text: bytes) -> datetime:
    """When a witness says that this was the newest head (c2sp.org/tlog-cosignature, Ed25519)."""
    stamp = int.from_bytes(raw[:8], "big")
    try:
        if len(raw) != 72 or not 0 < stamp < 253_402_300_800:  # the year 10000
            raise ValueError("not a timestamped signature")
        _check_signature(key.public, raw[8:], b"cosignature/v1\ntime %d\n" % stamp + text)
    except (InvalidSignature, ValueError) as error:
        raise NotVerified(f"the cosignature of {key.name} is not valid") from error
    return datetime.fromtimestamp(stamp, UTC)


def read_policy(content: bytes) -> tuple[tuple[LogKey, ...], Quorum]:
    """A trust policy (c2sp.org/tlog-policy). Raises `Misuse` with the line."""
    logs: list[LogKey] = []
    named: dict[str, Key | Quorum] = {}
    used: set[str] = set()
    quorum: Quorum | None = None

    def take(name: str) -> Key | Quorum:
        if name not in named or name in used:
            raise Misuse(f"{name!r} is not defined above, or belongs to a group already")
        used.add(name)
        return named[name]

    def define(name: str, value: Key | Quorum) -> None:
        if name in named or name == "none":
            raise Misuse(f"{name!r} is defined twice")
        named[name] = value

    for number, line in enumerate(content.decode("utf-8", "surrogateescape").split("\n"), start=1):
        words = line.replace("\t", " ").split(" ")
        words = [word for word in words if word]
        if not words or words[0].startswith("#"):
            continue
        try:
            if quorum is not None and words[0] == "quorum":
                raise Misuse("a second quorum")
            match words:
                case ["log", vkey] | ["log", vkey, _]:
                    logs.append(LogKey(Key.parse(vkey, LOG)))
                case ["witness", name, vkey] | ["witness", name, vkey, _]:
                    define(name, Key.parse(vkey, COSIGNER))
                case ["group", name, count, *members] if members:
                    many = {"all": len(members), "any": 1}.get(
                        count, int(count) if re.fullmatch("[1-9][0-9]{0,4}", count) else 0
                    )
                    if not 1 <= many <= len(members):
                        raise Misuse(f"{count!r} of {len(members)} members")
                    define(name, Quorum(many, tuple(take(member) for member in members)))
                case ["quorum", "none"]:
                    quorum = Quorum(0, ())
                case ["quorum", name]:
                    quorum = Quorum(1, (take(name),))
                case _:
                    raise Misuse("not a line of a policy")
        except Misuse as error:
            raise Misuse(f"the policy, line {number}: {error}") from error
    if quorum is None:
        raise Misuse("the policy has no quorum line")
    publics = [key.public for key in named.values() if isinstance(key, Key)]
    if len(set(publics)) != len(publics):
        raise Misuse("the policy lists one witness key twice")
    return tuple(logs), quorum


# ------------------------------------------------------------------------------------------------------------ proofs


@dataclass(frozen=True, slots=True)
class Proof:
    """An inclusion proof (c2sp.org/tlog-proof@v1): index, path from the leaf's sibling up, checkpoint."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes


def read_proof(content: bytes, what: str) -> Proof:
    """Read a tlog-proof without extra data, which nothing would authenticate."""
    head, gap, checkpoint = content.partition(b"\n\n")
    lines = _lines(head, what)
    index = lines[1].removeprefix("index ") if len(lines) > 1 else ""
    if not gap or lines[0] != "c2sp.org/tlog-proof@v1" or lines[1] == index or not _DECIMAL.match(index):
        raise NotVerified(f"{what} is not a c2sp.org/tlog-proof@v1")
    return Proof(int(index), _hashes(lines[2:], what), checkpoint)


def read_consistency(content: bytes, what: str) -> tuple[int, tuple[bytes, ...], bytes]:
    """(earlier size, path, checkpoint), written as in an add-checkpoint request (c2sp.org/tlog-witness)."""
    head, gap, checkpoint = content.partition(b"\n\n")
    lines = _lines(head, what)
    old = lines[0].removeprefix("old ")
    if not gap or lines[0] == old or not _DECIMAL.match(old):
        raise NotVerified(f"{what} is not a consistency proof: expected “old SIZE”, hashes and a checkpoint")
    return int(old), _hashes(lines[1:], what), checkpoint


def _lines(head: bytes, what: str) -> list[str]:
    try:
        return head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise NotVerified(f"{what} is not ASCII") from error


def _hashes(lines: Sequence[str], what: str) -> tuple[bytes, ...]:
    if len(lines) > 64:
        raise NotVerified(f"{what} has more hashes than any tree has levels")
    found = tuple(decode_base64(line, f"a hash in {what}") for line in lines)
    if any(len(one) != 32 for one in found):
        raise NotVerified(f"a hash in {what} is not 32 bytes long")
    return found


def check_record(record: bytes, proof: bytes, roots: Roots) -> tuple[int, Head]:
    """One record and its proof, by themselves: (index, head). The first use of the tlog-proof format."""
    found = read_proof(proof, "the proof")
    head = roots.head(found.checkpoint, "the checkpoint in the proof")
    check_inclusion(leaf_hash(record), found.index, head.size, found.path, head.root)
    return found.index, head


# ------------------------------------------------------------------------------------------------------------- files

_INDEX = r"(0|[1-9][0-9]{0,17})"
_TILE_N = r"(x[0-9]{3}/)*[0-9]{3}(\.p/[1-9][0-9]{0,2})?"
NAMES: Final = re.compile(
    r"(README\.md|report\.html|remit_verify\.py|manifest\.json|checkpoint|policy"
    rf"|records/{_INDEX}|proofs/{_INDEX}\.tlog-proof|consistency/{_INDEX}-{_INDEX}|disclosures/{_INDEX}\.json"
    r"|keys/[a-z0-9-]{1,40}\.(vkey|pub)|artefacts/[0-9a-f]{64}"
    rf"|exported/(record|proof\.tlog-proof|consistency)|tile/([0-9]|[1-5][0-9]|6[0-3]|entries)/{_TILE_N})\Z"
)
"""Every file that has a place in a bundle. No name leads out of it."""

OUTSIDE: Final = frozenset({"manifest.json", "exported/record", "exported/proof.tlog-proof", "exported/consistency"})
"""Files that the manifest does not list, because they vouch for it."""


MAX_FILE: Final = 2**30
"""Bytes of one file that are read. None that Remit writes comes near it, so a larger one is no part of a bundle."""

MAX_ZIP: Final = 2**32
"""Bytes of a zip that are read: more does not fit into the only kind that is written."""


class Files:
    """The files of a bundle, by name; each is checked against the manifest when it is read.

    `fetch` reads no more of a file than one byte beyond what it is asked for.
    """

    def __init__(self, names: Iterable[str], fetch: Callable[[str, int], bytes]) -> None:
        self.names = frozenset(names)
        self._fetch = fetch
        self._listed: Mapping[str, Any] = {}
        self._unread: set[str] = set()
        for name in self.names:
            if not NAMES.match(name):
                raise NotVerified(f"{name!r} has no place in a bundle")

    @classmethod
    def of(cls, content: Mapping[str, bytes]) -> Files:
        """Files in memory."""
        return cls(content, lambda name, _: content[name])

    @classmethod
    def open(cls, path: Path) -> Files:
        """A folder or a zip. Raises `Misuse` when there is none."""
        try:
            if path.is_dir():
                return _folder(path)
            if path.stat().st_size > MAX_ZIP:
                raise NotVerified(f"{path.name} is larger than a bundle's zip can be")
            return cls.of(read_zip(path.read_bytes()))
        except OSError as error:
            raise Misuse(f"cannot read a bundle from {path}: {error.strerror}") from error

    def raw(self, name: str) -> bytes:
        """A file that vouches for itself. Raises `NotVerified` when it is missing."""
        if name not in self.names:
            raise NotVerified(f"{name} is missing")
        content = self._fetch(name, MAX_FILE)
        if len(content) > MAX_FILE:
            raise NotVerified(f"{name} is larger than a file of a bundle may be")
        return content

    def bind(self, listed: Mapping[str, Any]) -> None:
        """Step (2): from here on nothing is read that the manifest does not list, byte for byte."""
        inside = self.names - OUTSIDE
        if inside != listed.keys():
            missing, more = sorted(listed.keys() - inside), sorted(inside - listed.keys())
            raise NotVerified(f"{missing[0]} is missing" if missing else f"{more[0]} is not in the manifest")
        self._listed, self._unread = listed, set(listed)

    def read(self, name: str) -> bytes:
        """A file as the manifest lists it."""
        if name not in self._listed:
            raise NotVerified(f"{name} is missing")
        listed = self._listed[name]
        size = listed.get("size") if isinstance(listed, dict) else None
        if type(size) is not int or not 0 <= size <= MAX_FILE:
            raise NotVerified(f"the manifest does not say how large {name} is")
        content = self._fetch(name, size)
        if listed != {"sha256": sha256(content), "size": len(content)}:
            raise NotVerified(f"{name} is not what the manifest lists: it was changed")
        self._unread.discard(name)
        return content

    def below(self, folder: str) -> list[str]:
        """Names in a folder, without it."""
        return sorted(name.removeprefix(folder) for name in self._listed if name.startswith(folder))

    def finish(self) -> None:
        """Whatever no other step has read is read now: pages for people are covered as well."""
        for name in sorted(self._unread):
            self.read(name)


def _folder(path: Path) -> Files:
    names: list[str] = []
    waiting = [path]
    while waiting:
        for entry in sorted(waiting.pop().iterdir()):
            mode = entry.lstat().st_mode
            if stat.S_ISDIR(mode):
                waiting.append(entry)
            elif stat.S_ISREG(mode):
                names.append(entry.relative_to(path).as_posix())
            else:
                raise NotVerified(f"{entry.name!r} is neither a file nor a folder; links lead out of a bundle")
    return Files(names, lambda name, most: _bounded(path / name, most))


def _bounded(path: Path, most: int) -> bytes:
    """The content of a file; of one that is larger than it may be, one byte more than that."""
    with path.open("rb") as file:
        return file.read(most + 1)


def write_zip(content: Mapping[str, bytes]) -> bytes:
    """The one zip of these files: in order, stored, one fixed date. Raises `ValueError` when they are too many."""
    if len(content) > 65_534 or sum(map(len, content.values())) > 2**32 - 2**26:
        raise ValueError("too much for one zip")
    parts, directory, at = [], [], 0
    for name in sorted(content):
        fixed = _zip_fields(name, content[name])
        parts += [b"PK\x03\x04" + fixed, name.encode(), content[name]]
        directory.append(b"PK\x01\x02\x14\x03" + fixed + bytes(6) + b"\x00\x00\xa4\x81" + at.to_bytes(4, "little"))
        directory.append(name.encode())
        at += 30 + len(name) + len(content[name])
    tail = b"".join(directory)
    count = len(content).to_bytes(2, "little")
    ends = b"PK\x05\x06" + bytes(4) + count * 2 + len(tail).to_bytes(4, "little") + at.to_bytes(4, "little") + bytes(2)
    return b"".join([*parts, tail, ends])


def _zip_fields(name: str, content: bytes) -> bytes:
    """Version, flags, method, time and date (1980-01-01), CRC, sizes, length of name, no extra field."""
    size = len(content).to_bytes(4, "little")
    return b"\x14\x00\x00\x00\x00\x00\x00\x00\x21\x00%b%b%b%b\x00\x00" % (
        zlib.crc32(content).to_bytes(4, "little"),
        size,
        size,
        len(name).to_bytes(2, "little"),
    )


def read_zip(raw: bytes) -> dict[str, bytes]:
    """The files of a bundle's zip. Any other zip of the same files is refused: every bit of it means something."""
    content: dict[str, bytes] = {}
    at = 0
    while raw[at : at + 4] == b"PK\x03\x04":
        size, length = (
            int.from_bytes(raw[at + 18 : at + 22], "little"),
            int.from_bytes(raw[at + 26 : at + 28], "little"),
        )
        name = raw[at + 30 : at + 30 + length].decode("ascii", "replace")
        content[name] = raw[at + 30 + length : at + 30 + length + size]
        at += 30 + length + size
    try:
        same = bool(content) and write_zip(content) == raw
    except (ValueError, OverflowError):
        same = False
    if not same:
        raise NotVerified(
            "this is not the zip of a bundle as it was written: it was changed, repacked, or is no bundle"
        )
    return content


# ----------------------------------------------------------------------------------------------------------- records

RECORD_TYPES: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(required.split())
    for name, required in {
        "session.opened": "grant principal agent",
        "session.joined": "",
        "session.context": "claimed",
        "session.suspended": "reason",
        "session.resumed": "by",
        "session.closed": "writers",
        "grant.issued": "grant version digest",
        "grant.amended": "grant version digest",
        "grant.requested": "",
        "grant.refused": "",
        "grant.revoked": "grant by",
        "grant.delegated": "grant parent digest",
        "call.intent": "call tool decision",
        "call.outcome": "call intent status",
        "call.denied": "call tool decision",
        "call.replayed": "call intent",
        "call.resumed": "call tool decision",
        "call.resolved": "call outcome by",
        "identity.exchanged": "effect principal workload actors",
        "identity.conflict": "",
        "approval.requested": "call by decision expires",
        "approval.decided": "approval answer by",
        "approval.used": "approval call",
        "approval.lapsed": "approval",
        "tool.accepted": "tool",
        "tool.changed": "tool",
        "recorder.started": "boot host pid start",
        "recorder.heartbeat": "",
        "recorder.stopped": "records",
        "recorder.gap": "",
        "recorder.degraded": "",
        "token.issued": "grant digest audience expires",
        "auth.succeeded": "",
        "auth.failed": "",
        "review.assigned": "",
        "review.viewed": "",
        "review.revealed": "",
        "review.commented": "",
        "review.verdict": "verdict reason",
        "review.signed": "",
        "review.reopened": "",
        "sample.drawn": "",
        "sample.concluded": "",
        "evidence.exported": "",
        "evidence.erased": "records",
        "person.enrolled": "person key",
        "person.removed": "person",
        "key.rotated": "key",
        "config.changed": "",
    }.items()
}
"""Every record type with what its data must have. The list is closed."""

_LEAF: Final = frozenset({"data", "id", "mono", "prev", "time", "type", "v", "writer", "wseq"})
_MORE: Final = frozenset({"artefacts", "private", "session", "sseq"})
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z", re.ASCII)
_HASH: Final = re.compile(r"([0-9a-f]{64})?\Z")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}\Z")
_FORMS: Final = (
    ("id", _ID.match),
    ("writer", _ID.match),
    ("session", _ID.match),
    ("time", _TIME.match),
    ("prev", _HASH.match),
)


def read_record(body: bytes, index: int) -> dict[str, Any]:
    """Step (5): the parsed record. Raises `NotVerified` unless it is canonical and of the shape of its type."""
    if len(body) > MAX_LEAF:
        raise NotVerified(f"record {index} is larger than a record may be", index)
    leaf = read_json(body, f"record {index}", index)
    if not isinstance(leaf, dict) or not _LEAF <= leaf.keys() <= _LEAF | _MORE:
        raise NotVerified(f"record {index} has missing or unknown keys", index)
    required = RECORD_TYPES.get(leaf["type"]) if isinstance(leaf["type"], str) else None
    if required is None or leaf["v"] != 1 or leaf["v"] is True:
        raise NotVerified(f"record {index} is of a type or version that this verifier does not know", index)
    if not isinstance(leaf["data"], dict) or not required <= leaf["data"].keys():
        raise NotVerified(f"record {index} lacks what a {leaf['type']} must say", index)
    if not _is_well_formed(leaf):
        raise NotVerified(f"record {index} has a malformed field", index)
    return leaf


def _is_well_formed(leaf: Mapping[str, Any]) -> bool:
    if ("session" in leaf) != ("sseq" in leaf):
        return False
    for name, form in _FORMS:
        text = leaf.get(name)
        if text is None and name == "session" and name not in leaf:
            continue
        if not isinstance(text, str) or not form(text):
            return False
    for number in (leaf["mono"], leaf["wseq"], leaf.get("sseq", 0)):
        if type(number) is not int or number < 0:
            return False
    artefacts, private = leaf.get("artefacts", []), leaf.get("private", {})
    return (
        isinstance(artefacts, list)
        and isinstance(private, dict)
        and all(isinstance(one, str) and _DIGEST.match(one) for one in artefacts)
        and all(isinstance(one, dict) for one in private.values())
    )


@dataclass(slots=True)
class _Writer:
    index: int
    wseq: int
    hashed: str
    time: str


@dataclass(slots=True)
class _Session:
    """What was seen of one session: how many records by each writer, whether it was opened and closed."""

    counts: dict[str, int] = field(default_factory=dict)
    opened: bool = False
    closed: bool = False


@dataclass(slots=True)
class Seen:
    """Step (6) and (7), and what later steps need to know of the records, which come in order of index."""

    dense: Callable[[int], bool]
    """Whether records at this index are part of a range without gaps."""
    only: str | None
    """The session whose records have to be complete; None: every one that is opened in the range."""
    whole: bool
    """Whether the range begins with the log's first record."""
    writers: dict[str, _Writer] = field(default_factory=dict)
    sessions: dict[str, _Session] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    brought: dict[str, int] = field(default_factory=dict)
    needed: dict[str, int] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)
    commitments: dict[int, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    keys: dict[str, list[tuple[int, str | None]]] = field(default_factory=dict)
    issue_keys: list[tuple[int, str]] = field(default_factory=list)
    grants: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    rotations: dict[int, Any] = field(default_factory=dict)
    chains: dict[str, int] = field(default_factory=dict)
    statements: int = 0
    vouched: int = 0
    notes: set[str] = field(default_factory=set)
    records: int = 0

    def record(self, index: int, leaf: Mapping[str, Any], body: bytes, *, keep: frozenset[int]) -> None:
        """Take one record in. `keep`: indexes whose commitments are compared with disclosures later."""
        if leaf["id"] in self.ids:
            raise NotVerified(f"records {self.ids[leaf['id']]} and {index} have the same id", index)
        self.ids[leaf["id"]] = index
        self.records += 1
        self._writer(index, leaf, body)
        if "session" in leaf and (leaf["session"] == self.only or (self.only is None and self.dense(index))):
            self._session(index, leaf)
        for digest in leaf.get("artefacts", ()):
            if digest in self.brought:
                raise NotVerified(f"record {index} brings an artefact that an earlier one brought", index)
            self.brought[digest] = index
        if index in keep:
            self.commitments[index] = (leaf["id"], leaf.get("private", {}))
        self._learn(index, leaf)

    def _writer(self, index: int, leaf: Mapping[str, Any], body: bytes) -> None:
        """Step (7)."""
        name, wseq = leaf["writer"], leaf["wseq"]
        before = self.writers.get(name)
        hashed = leaf_hash(body).hex()
        if (wseq == 0) != (leaf["prev"] == ""):
            raise NotVerified(f"record {index} does not say which record its writer wrote before", index)
        if before is not None:
            if wseq <= before.wseq or leaf["time"] < before.time:
                raise NotVerified(f"record {index} is out of its writer's order", index)
            if wseq == before.wseq + 1 and leaf["prev"] != before.hashed:
                raise NotVerified(f"record {index} does not link to record {before.index}, one was changed", index)
        expected = 0 if before is None and self.whole else before.wseq + 1 if before is not None else wseq
        if self.dense(index) and (before is None or self.dense(before.index)) and wseq != expected:
            raise NotVerified(f"a record of writer {name} is left out before record {index}", index)
        self.writers[name] = _Writer(index, wseq, hashed, leaf["time"])

    def _session(self, index: int, leaf: Mapping[str, Any]) -> None:
        """Step (6) for sessions."""
        name, writer = leaf["session"], leaf["writer"]
        session = self.sessions.get(name)
        if session is None:
            if self.only is None and not self.whole and leaf["type"] != "session.opened":
                return  # it began before the range; its writers' numbers show that nothing in the range is left out
            session = self.sessions[name] = _Session()
        if leaf["type"] == "session.opened" and session.counts:
            raise NotVerified(f"record {index} opens session {name}, which had records before", index)
        if leaf["type"] == "session.closed":
            last = {known: count - 1 for known, count in session.counts.items()}
            if leaf["data"]["writers"] != last:
                raise NotVerified(
                    f"session {name} was closed after {_counted(leaf['data']['writers'])}; here are {_counted(last)}: "
                    "records are left out",
                    index,
                )
            session.closed = True
        expected = session.counts.get(writer, 0)
        if leaf["sseq"] != expected:
            raise NotVerified(
                f"record {index} has number {leaf['sseq']} of its writer in session {name}; {expected} is left out",
                index,
            )
        session.counts[writer] = expected + 1
        session.opened = session.opened or leaf["type"] == "session.opened"

    def _learn(self, index: int, leaf: Mapping[str, Any]) -> None:
        kind, data = leaf["type"], leaf["data"]
        if kind == "person.enrolled":
            self.keys.setdefault(str(data["person"]), []).append((index, str(data["key"])))
        elif kind == "person.removed":
            self.keys.setdefault(str(data["person"]), []).append((index, None))
        elif kind == "config.changed" and isinstance(data.get("issue_key"), str):
            self.issue_keys.append((index, data["issue_key"]))
        elif kind in ("grant.issued", "grant.amended", "grant.delegated"):
            self.grants.append((index, data))
            self.need(index, data["digest"])
        elif kind == "evidence.erased" and isinstance(data["records"], list):
            self.erased.update(str(name) for name in data["records"])
        elif kind == "key.rotated" and data["key"] == "log":
            self.rotations[index] = data.get("vkey")
        elif kind == "session.opened" and data.get("development"):
            self.notes.add("identities were claimed, not proved: the ledger was open for development")
        elif kind in ("recorder.gap", "recorder.degraded"):
            self.notes.add(f"record {index} says that recording was not whole ({kind})")
        if self.dense(index) or (self.only is not None and leaf.get("session") == self.only):
            named = [data.get(name) for name in ("catalogue", "guardrails", "definition")]
            for digest in (*_list(data.get("chain")), *named):
                if digest is not None:
                    self.need(index, digest)
            for digest in _list(data.get("chain")):
                self.chains.setdefault(digest, index)

    def need(self, index: int, digest: Any) -> None:
        """A record refers to this artefact."""
        if not isinstance(digest, str) or not _DIGEST.match(digest):
            raise NotVerified(f"record {index} names {digest!r}, which is no digest", index)
        self.needed.setdefault(digest, index)

    def key_of(self, person: str, index: int) -> str | None:
        """The key that was enrolled for a person when record `index` was written."""
        before = [key for at, key in self.keys.get(person, ()) if at < index]
        return before[-1] if before else None

    def issue_key(self, index: int) -> str | None:
        """The key for grants that was in force when record `index` was written."""
        before = [key for at, key in self.issue_keys if at < index]
        return before[-1] if before else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _counted(writers: Any) -> str:
    if not isinstance(writers, dict):
        return "nothing readable"
    return ", ".join(f"{name}: {count + 1 if type(count) is int else count}" for name, count in sorted(writers.items()))


# --------------------------------------------------------------------------------------------------------- authority

GRANT_TYPE: Final = b"application/vnd.remit.grant.v1+json"
STATEMENT_TYPE: Final = b"application/vnd.remit.statement.v1+json"
_GRANT_SAYS: Final = {"id": "grant", "version": "version", "not_before": "not_before", "expires": "expires"}


def check_signed(kind: bytes, payload: bytes, signature: Any, key: Any, what: str, index: int) -> None:
    """A detached signature over DSSE's pre-authentication encoding."""
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    try:
        if not isinstance(signature, str) or not isinstance(key, str):
            raise NotVerified(f"{what} has no signature or no key")
        _check_signature(decode_base64(key, "the key"), decode_base64(signature, "the signature"), message)
    except (InvalidSignature, ValueError, NotVerified) as error:
        raise NotVerified(f"the signature of {what} is not valid", index) from error


def key_id(key: str) -> str:
    """How records name a person's or the deployment's key: 16 hex digits of its digest."""
    return sha256(decode_base64(key, "a public key"))[:16]


def check_grant(index: int, data: Mapping[str, Any], content: bytes, seen: Seen) -> None:
    """Step (9): what the deployment signed is the grant, and the record says the same of it."""
    key = seen.issue_key(index)
    if key is None:
        raise NotVerified(f"the record that says which key signs grants is not here, for grant record {index}", index)
    if data.get("key") != key_id(key):
        raise NotVerified(f"the grant of record {index} is signed by another key than the log had recorded", index)
    check_signed(GRANT_TYPE, content, data.get("signature"), key, f"the grant of record {index}", index)
    terms = read_json(content, f"the grant of record {index}", index)
    body = terms.get("grant") if isinstance(terms, dict) else None
    if not isinstance(terms, dict) or not isinstance(body, dict):
        raise NotVerified(f"the grant of record {index} is not readable", index)
    said = {**{name: terms.get(name) for name in _GRANT_SAYS}, "principal": body.get("principal")}
    recorded = {**{name: data.get(there) for name, there in _GRANT_SAYS.items()}, "principal": data.get("principal")}
    issuer = data.get("issuer")
    issued_by = issuer.get("subject") if isinstance(issuer, dict) else None
    if said != recorded or body.get("agent") != data.get("agent") or terms.get("issuer") != issued_by:
        raise NotVerified(f"record {index} says something else than the grant that it is about", index)


ACTS: Final[Mapping[str, Mapping[str, str]]] = {
    "approval.approve": {"approval.decided": "approval call shown"},
    "approval.refuse": {"approval.decided": "approval call shown"},
    "auth.login": {"auth.succeeded": ""},
    "call.resolve": {"call.resolved": "call outcome"},
    "evidence.erase": {"evidence.erased": "scope"},
    "evidence.export": {"evidence.exported": "bundle"},
    "evidence.exported": {"evidence.exported": "record path"},
    "fsck.repair": {"config.changed": "findings rows records"},
    "grant.accept": {"grant.issued": "grant issuer of"},
    "grant.amend": {"grant.amended": "grant version"},
    "grant.delegate": {"grant.delegated": "grant parent content", "grant.refused": "parent"},
    "grant.issue": {"grant.issued": "grant content"},
    "grant.refuse": {"grant.refused": "request grant"},
    "grant.revoke": {"grant.revoked": "grant"},
    "key.rotate": {"key.rotated": "former vkey"},
    "person.enrol": {"person.enrolled": "person key"},
    "person.remove": {"person.removed": "person key"},
    "review.revealed": {"review.revealed": "record path"},
    "review.verdict": {"review.verdict": "session call verdict reason seen"},
    "session.close": {"session.closed": "session"},
    "session.resume": {"session.resumed": "session"},
    "token.issue": {"token.issued": "grant"},
    "tool.accept": {"tool.accepted": "tool definition"},
}
"""What a person can sign → the type of the record that says so → what both of them have to name, and alike."""

_ANSWERS: Final = {"approval.approve": "approved", "approval.refuse": "refused"}


def _check_act(index: int, leaf: Mapping[str, Any], said: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """A signature under one act says nothing of another, nor of what it does not name."""
    act, kind = said.get("act"), leaf["type"]
    names = ACTS.get(act, {}).get(kind) if isinstance(act, str) else None
    if names is None:
        raise NotVerified(f"record {index} is a {kind}, and what was signed for it is {act!r}", index)
    recorded = {**leaf["data"], **({"session": leaf["session"]} if "session" in leaf else {})}
    token = recorded.get("from_token")
    if act == "grant.accept" and isinstance(token, dict):
        recorded |= {name: token.get(name) for name in ("issuer", "of")}  # whose grant it was before
    missing = sorted(name for name in names.split() if name not in about or name not in recorded)
    other = sorted(name for name in about.keys() & recorded.keys() if _differs(about[name], recorded[name]))
    if missing or other:
        what = (missing or other)[0]
        raise NotVerified(f"what {said.get('subject')} signed and what record {index} says differ in {what}", index)
    if act in _ANSWERS and leaf["data"].get("answer") != _ANSWERS[act]:
        raise NotVerified(f"record {index} says {leaf['data'].get('answer')!r}, and what was signed is {act}", index)


def check_statements(index: int, leaf: Mapping[str, Any], seen: Seen, origin: str) -> None:
    """Step (9): whoever is said to have proved who they are by a key has signed exactly this act, in this log."""
    for who in _identities(leaf["data"]):
        subject = who.get("subject")
        key = seen.key_of(str(subject), index)
        if key is None or key_id(key) != who.get("key"):
            raise NotVerified(f"record {index}: no key of {subject} was enrolled at that time, or another one", index)
        statement = str(who.get("statement")).encode("utf-8", "surrogatepass")
        check_signed(STATEMENT_TYPE, statement, who.get("signature"), key, f"{subject} in record {index}", index)
        said = read_json(statement, f"the statement in record {index}", index)
        about = said.get("about") if isinstance(said, dict) else None
        if not isinstance(about, dict):
            raise NotVerified(f"the statement in record {index} is about nothing", index)
        if (said.get("log"), said.get("subject"), said.get("time")) != (origin, subject, leaf["time"]):
            raise NotVerified(f"the statement in record {index} was made for another log, person or time", index)
        _check_act(index, leaf, said, about)
        seen.statements += 1
    seen.vouched += sum(1 for _ in _vouched(leaf["data"]))


def _identities(data: Any) -> Iterator[Mapping[str, Any]]:
    """Identities that a signature has to prove."""
    for node in _mappings(data):
        if "statement" in node or (_authenticated(node) and node.get("method") == "ed25519"):
            yield node


def _vouched(data: Any) -> Iterator[Mapping[str, Any]]:
    """Identities of people for which there is the host's word alone."""
    return (node for node in _mappings(data) if _authenticated(node) and "statement" not in node)


def _authenticated(node: Mapping[str, Any]) -> bool:
    return "subject" in node and node.get("authenticated") is True


def _mappings(data: Any) -> Iterator[Mapping[str, Any]]:
    waiting = [data]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _differs(signed: Any, recorded: Any) -> bool:
    if isinstance(recorded, dict) and isinstance(signed, str):
        recorded = recorded.get("digest")  # of what a person was shown they sign the digest
    return bool(signed != recorded) or type(signed) is not type(recorded)


# ------------------------------------------------------------------------------------------------------- disclosures


def check_disclosures(name: str, content: bytes, seen: Seen) -> int:
    """Step (10): values that are shown, with the salt that proves each one alone. Returns how many."""
    index = int(name.removesuffix(".json"))
    what = f"disclosures/{name}"
    found = read_json(content, what, index)
    if index not in seen.commitments:
        raise NotVerified(f"{what} is about a record that is not here", index)
    record, private = seen.commitments[index]
    if not isinstance(found, dict) or found.keys() != {"index", "record", "v", "values"}:
        raise NotVerified(f"{what} has missing or unknown keys", index)
    if (found["v"], found["index"], found["record"]) != (1, index, record):
        raise NotVerified(f"{what} is about another record", index)
    if record in seen.erased:
        raise NotVerified(f"{what} discloses what was erased", index)
    values = _list(found["values"])
    paths = [value.get("path") if isinstance(value, dict) else None for value in values]
    if not values or len(set(map(str, paths))) != len(values):
        raise NotVerified(f"{what} discloses nothing, or one value twice", index)
    for value, path in zip(values, paths, strict=True):
        if not isinstance(value, dict) or value.keys() != {"path", "salt", "value"} or not isinstance(path, str):
            raise NotVerified(f"{what} is malformed", index)
        if not path.startswith("/"):
            raise NotVerified(f"{what}: {path!r} is no pointer to a value", index)
        if not isinstance(value["salt"], str) or not re.fullmatch(r"[0-9a-f]{64}", value["salt"]):
            raise NotVerified(f"{what}: the salt of {path} is not 32 bytes in hex", index)
        try:
            written = canonical(value["value"])
        except (ValueError, RecursionError) as error:
            raise NotVerified(f"{what}: {path} is no value of canonical JSON", index) from error
        made = hmac.new(bytes.fromhex(value["salt"]), written, hashlib.sha256).hexdigest()
        if made != _committed(private, path):
            raise NotVerified(f"{what}: {path} is not what record {index} commits to", index)
    return len(values)


def _committed(private: Mapping[str, Any], path: str) -> Any:
    """The commitment at a pointer (RFC 6901) of one or two names."""
    names = [name.replace("~1", "/").replace("~0", "~") for name in path.split("/")[1:]]
    found = private.get(names[0], {}) if names else {}
    if len(names) == 1:
        return found.get("commitment")
    each = found.get("each", {})
    return each.get(names[1]) if len(names) == 2 and isinstance(each, dict) else None


# -------------------------------------------------------------------------------------------------------- the bundle


@dataclass(frozen=True, slots=True)
class Verified:
    """What was verified, and what a reader should know besides."""

    origin: str
    size: int
    root: str
    scope: Mapping[str, Any]
    records: int
    sessions: Mapping[str, bool]
    """Every session that is complete here, and whether it was closed."""
    grants: int
    statements: int
    disclosed: int
    erased: int
    witnesses: Mapping[str, str]
    exported: Mapping[str, Any]
    """Who exported this, whether they proved it, when, and as which record."""
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            name: list(found) if isinstance(found := getattr(self, name), tuple) else found for name in self.__slots__
        }


def verify(files: Files, roots: Roots) -> Verified:
    """Steps (2) to (10). Raises `NotVerified` at the first thing that is not as it should be."""
    manifest_bytes = files.raw("manifest.json")  # (2)
    manifest = read_manifest(manifest_bytes)
    files.bind(manifest["files"])
    head = roots.head(files.read("checkpoint"), "checkpoint")  # (3)
    if (manifest["origin"], manifest["size"], manifest["root"]) != (head.origin, head.size, head.root.hex()):
        raise NotVerified("the manifest is of another head than the checkpoint")
    cosigned = roots.check_witnessed(head)
    tiles = Tiles(files, head) if manifest["scope"] == {"all": True} else None
    _check_since(files, roots, head, tiles)
    exported = _check_exported(files, roots, head, manifest, manifest_bytes)  # (4)
    seen = _check_records(files, roots, head, manifest["scope"], tiles)  # (5), (6), (7), (9)
    check_complete(seen, manifest["scope"], exported.leaf)
    _check_rotations(seen, roots, head, whole=tiles is not None)
    check_statements(exported.index, exported.leaf, seen, head.origin)
    _check_artefacts(files, seen, whole=tiles is not None)  # (8), (9)
    disclosed = sum(  # (10)
        check_disclosures(name, files.read(f"disclosures/{name}"), seen) for name in files.below("disclosures/")
    )
    files.finish()
    return _verified(head, manifest, seen, exported, cosigned, disclosed)


def read_manifest(content: bytes) -> dict[str, Any]:
    """The list of files. Raises `NotVerified` unless it has exactly the shape of this format."""
    found = read_json(content, "manifest.json")
    keys = {"files", "format", "origin", "root", "scope", "size", "time"}
    if not isinstance(found, dict) or found.keys() != keys or found["format"] != FORMAT:
        raise NotVerified(f"manifest.json is not of the format {FORMAT}")
    if not isinstance(found["files"], dict) or type(found["size"]) is not int or not _TIME.match(str(found["time"])):
        raise NotVerified("manifest.json is malformed")
    if not _is_scope(found["scope"], found["size"]):
        raise NotVerified("manifest.json does not say what the bundle is about")
    return found


def _is_scope(scope: Any, size: int) -> bool:
    if not isinstance(scope, dict):
        return False
    if scope.keys() == {"session"}:
        return isinstance(scope["session"], str) and bool(_ID.match(scope["session"]))
    if scope.keys() == {"first", "last"}:
        first, last = scope["first"], scope["last"]
        return type(first) is int and type(last) is int and 0 <= first <= last < size
    return scope == {"all": True} and scope["all"] is True


def _check_since(files: Files, roots: Roots, head: Head, tiles: Tiles | None) -> None:
    """Step (3): the head continues the one that the caller kept."""
    if roots.since is None:
        return
    kept = roots.head(roots.since, "the checkpoint that you kept")
    if tiles is not None and kept.size <= head.size:
        tiles.since = kept
        return
    if kept.size == head.size:
        check_consistency(kept.size, kept.root, head.size, head.root, ())
        return
    name = f"consistency/{kept.size}-{head.size}"
    if kept.size > head.size:
        raise NotVerified(
            f"the checkpoint that you kept has {kept.size} records, this bundle's has {head.size}: it is older"
        )
    if name not in files.names:
        raise NotVerified(f"the bundle has no {name}: export it again with --since and the checkpoint that you kept")
    old, path, checkpoint = read_consistency(files.read(name), name)
    if old != kept.size or checkpoint != files.read("checkpoint"):
        raise NotVerified(f"{name} is about other heads")
    check_consistency(kept.size, kept.root, head.size, head.root, path)


@dataclass(frozen=True, slots=True)
class _Exported:
    index: int
    leaf: dict[str, Any]


def _check_exported(
    files: Files, roots: Roots, head: Head, manifest: Mapping[str, Any], manifest_bytes: bytes
) -> _Exported:
    """Step (4): the log itself vouches for the manifest, in a record behind everything that it lists."""
    body = files.raw("exported/record")
    proof = read_proof(files.raw("exported/proof.tlog-proof"), "exported/proof.tlog-proof")
    later = roots.head(proof.checkpoint, "the checkpoint of the export")
    if len(later.note.lines) != 1:
        raise NotVerified(
            "the checkpoint of the export has lines that nobody checks; expected the log's signature alone"
        )
    check_inclusion(leaf_hash(body), proof.index, later.size, proof.path, later.root)
    old, path, checkpoint = read_consistency(files.raw("exported/consistency"), "exported/consistency")
    if old != head.size or checkpoint != proof.checkpoint or proof.index < head.size:
        raise NotVerified("exported/consistency is about other heads")
    check_consistency(head.size, head.root, later.size, later.root, path)
    leaf = read_record(body, proof.index)
    said = {name: leaf["data"].get(name) for name in ("bundle", "scope", "size")}
    if leaf["type"] != "evidence.exported" or said != {
        "bundle": f"sha256:{sha256(manifest_bytes)}",
        "scope": manifest["scope"],
        "size": head.size,
    }:
        raise NotVerified(
            "the manifest is not the one that the log recorded for this export: it was changed", proof.index
        )
    return _Exported(proof.index, leaf)


def _check_records(files: Files, roots: Roots, head: Head, scope: Mapping[str, Any], tiles: Tiles | None) -> Seen:
    """Steps (5), (6), (7), and (9) for statements: every record, in order of index."""
    disclosed = frozenset(int(name.removesuffix(".json")) for name in files.below("disclosures/"))
    first, last = scope.get("first", 0), scope.get("last", head.size - 1 if tiles is not None else -1)
    seen = Seen(
        dense=lambda index: first <= index <= last,
        only=scope.get("session"),
        whole=first == 0 and last >= 0,
    )
    following = first
    for index, body in tiles.records() if tiles is not None else _proved(files, roots, head):
        leaf = read_record(body, index)
        if first <= index <= last:
            if index != following:
                raise NotVerified(f"record {following} is left out of the range {first} to {last}", following)
            following += 1
        seen.record(index, leaf, body, keep=disclosed)
        check_statements(index, leaf, seen, head.origin)
    if last >= 0 and following != last + 1:
        raise NotVerified(f"record {following} is left out of the range {first} to {last}", following)
    return seen


def _proved(files: Files, roots: Roots, head: Head) -> Iterator[tuple[int, bytes]]:
    """Records that each have a proof. One without the other is refused."""
    proofs = {name.removesuffix(".tlog-proof") for name in files.below("proofs/")}
    names = set(files.below("records/"))
    if proofs != names or files.below("tile/"):
        odd = sorted(proofs ^ names)
        raise NotVerified(f"record {odd[0]} has no proof, or the proof no record" if odd else "tiles beside proofs")
    checkpoint = files.read("checkpoint")
    for index in sorted(map(int, names)):
        body = files.read(f"records/{index}")
        proof = read_proof(files.read(f"proofs/{index}.tlog-proof"), f"proofs/{index}.tlog-proof")
        if proof.index != index or proof.checkpoint != checkpoint:
            raise NotVerified(f"the proof of record {index} is of another record or head", index)
        check_inclusion(leaf_hash(body), index, head.size, proof.path, head.root)
        yield index, body


class Tiles:
    """A whole log as c2sp.org/tlog-tiles lays it out, read once from its first entry to its last."""

    def __init__(self, files: Files, head: Head) -> None:
        self._files = files
        self._head = head
        self.since: Head | None = None
        if len(files.below("tile/entries/")) != -(-head.size // TILE):  # before as many names are made up
            raise NotVerified(f"the bundles of entries are not those of a log of {head.size} records")
        expected = {f"tile/entries/{name}" for name in tile_names(head.size)} | set(_tile_files(head.size))
        if expected != {f"tile/{name}" for name in files.below("tile/")} or files.below("records/"):
            raise NotVerified(f"the tiles are not those of a log of {head.size} records")

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Every entry; afterwards all tiles and the head are compared with what the entries give."""
        levels: list[list[bytes]] = [[]]
        kept: list[bytes] = []
        index = 0
        for name in tile_names(self._head.size):
            raw, at = self._files.read(f"tile/entries/{name}"), 0
            bodies = []
            while at < len(raw):
                length = int.from_bytes(raw[at : at + 2], "big")
                bodies.append(raw[at + 2 : at + 2 + length])
                at += 2 + length
            if at != len(raw) or len(bodies) != min(TILE, self._head.size - index):
                raise NotVerified(f"tile/entries/{name} does not hold the records that it should", index)
            hashes = [leaf_hash(body) for body in bodies]
            self._compare(0, index // TILE, hashes)
            if self.since is not None and len(kept) < self.since.size:
                kept += hashes[: self.since.size - len(kept)]
            self._raise(levels, hashes)
            for body in bodies:
                yield index, body
                index += 1
        self._finish(levels, kept)

    def _raise(self, levels: list[list[bytes]], hashes: list[bytes]) -> None:
        """A full tile becomes one hash of the level above."""
        levels[0] = hashes
        level = 0
        while len(levels[level]) == TILE:
            if level + 1 == len(levels):
                levels.append([])
            levels[level + 1].append(root_of(levels[level]))
            levels[level] = []
            level += 1
            if len(levels[level]) == TILE:
                self._compare(level, self._number(level, levels), levels[level])

    def _number(self, level: int, levels: list[list[bytes]]) -> int:
        return sum(len(levels[above]) * TILE ** (above - level - 1) for above in range(level + 1, len(levels)))

    def _finish(self, levels: list[list[bytes]], kept: list[bytes]) -> None:
        for level in range(1, len(levels)):
            if levels[level]:
                self._compare(level, self._number(level, levels), levels[level])
        root = b""
        for hashes in levels:  # what is not a full tile of a level joins from the right
            tail = [*hashes, root] if root else hashes
            root = root_of(tail) if tail else b""
        if (root or root_of([])) != self._head.root:
            raise NotVerified("the records do not give the signed head: one of them was changed")
        if self.since is not None and root_of(kept) != self.since.root:
            raise NotVerified("the log does not continue the checkpoint that you kept: history was rewritten")

    def _compare(self, level: int, number: int, hashes: list[bytes]) -> None:
        width = "" if len(hashes) == TILE else f".p/{len(hashes)}"
        name = f"tile/{level}/{tile_path(number)}{width}"
        if self._files.read(name) != b"".join(hashes):
            raise NotVerified(f"{name} is not what the records give")


def tile_path(number: int) -> str:
    """1234067 is `x001/x234/067`."""
    path = f"{number % 1000:03d}"
    while number >= 1000:
        number //= 1000
        path = f"x{number % 1000:03d}/{path}"
    return path


def tile_names(size: int) -> list[str]:
    """The tiles of one level with `size` hashes, the last one partial."""
    full, rest = divmod(size, TILE)
    return [tile_path(number) for number in range(full)] + ([f"{tile_path(full)}.p/{rest}"] if rest else [])


def _tile_files(size: int) -> Iterator[str]:
    level = 0
    while size:
        yield from (f"tile/{level}/{name}" for name in tile_names(size))
        size //= TILE
        level += 1


def _check_rotations(seen: Seen, roots: Roots, head: Head, *, whole: bool) -> None:
    """Step (7): a record that changes the log's key is the last one under a head of the old key."""
    before = [index for index in sorted(seen.rotations) if index + 1 < head.size]
    if before and seen.rotations[before[-1]] not in head.keys:
        raise NotVerified(f"record {before[-1]} says that another key signs from there on", before[-1])
    for log in roots.keys if whole else ():
        if 2 <= log.start < head.size and seen.rotations.get(log.start - 2) != log.key.vkey:
            raise NotVerified(f"a key is trusted from {log.start} records on, and no record says so", log.start - 2)


def check_complete(seen: Seen, scope: Mapping[str, Any], exported: Mapping[str, Any]) -> None:
    """Step (6): a session's end is where its closing and its export say."""
    name = scope.get("session")
    if name is None:
        return
    session = seen.sessions.get(name)
    if session is None or not session.opened:
        raise NotVerified(f"the opening of session {name} is left out")
    last = {writer: count - 1 for writer, count in session.counts.items()}
    if exported["data"].get("writers") != last:
        raise NotVerified(
            f"session {name} was exported with {_counted(exported['data'].get('writers'))}; here are {_counted(last)}: "
            "records are left out"
        )


def _check_artefacts(files: Files, seen: Seen, *, whole: bool) -> None:
    """Steps (8) and (9): every artefact that is here, and those that have to be."""
    here = {f"sha256:{name}" for name in files.below("artefacts/")}
    wanted = set(seen.brought) | set(seen.needed) if whole else set(seen.needed)
    for digest in sorted(wanted - here):
        index = seen.needed.get(digest, seen.brought.get(digest))
        raise NotVerified(f"artefact {digest}, which record {index} needs, is missing", index)
    grants = {data["digest"]: (index, data) for index, data in seen.grants}
    if len(grants) != len(seen.grants):
        raise NotVerified("two records issue the same grant")
    for digest, index in sorted(seen.chains.items()):
        if digest not in grants or grants[digest][0] > index:
            raise NotVerified(f"record {index} ran under a grant that no record here issues before it: {digest}", index)
    for digest in sorted(here):
        content = files.read(f"artefacts/{digest.removeprefix('sha256:')}")
        if f"sha256:{sha256(content)}" != digest:
            raise NotVerified(f"artefact {digest} was changed")
        if digest not in seen.brought:
            raise NotVerified(f"artefact {digest} came with no record that is here")
        if digest in grants:
            check_grant(*grants[digest], content, seen)


def _verified(
    head: Head,
    manifest: Mapping[str, Any],
    seen: Seen,
    exported: _Exported,
    cosigned: Mapping[Key, datetime],
    disclosed: int,
) -> Verified:
    by = exported.leaf["data"].get("by", {})
    by = by if isinstance(by, dict) else {}
    notes = sorted(seen.notes)
    notes += [f"session {name} was not closed yet" for name, one in seen.sessions.items() if not one.closed]
    if not cosigned:
        notes.append(
            "no witness was asked for: nothing here shows that others were given the same log, or that it is recent"
        )
    if not by.get("authenticated"):
        notes.append(f"who exported it is claimed, not proved: {by.get('subject')}")
    if seen.vouched:
        notes.append(
            f"{seen.vouched} acts are by somebody whom the log's host authenticated in another way than by a key: it "
            "vouches for them, and no signature of theirs is here"
        )
    notes.append("report.html and README.md are the exporter's own words: nothing here compares them with the records")
    return Verified(
        origin=head.origin,
        size=head.size,
        root=head.root.hex(),
        scope=manifest["scope"],
        records=seen.records,
        sessions={name: one.closed for name, one in seen.sessions.items()},
        grants=len(seen.grants),
        statements=seen.statements,
        disclosed=disclosed,
        erased=len(seen.erased & seen.ids.keys()),
        witnesses={key.name: _say(moment) for key, moment in sorted(cosigned.items(), key=lambda item: item[0].name)},
        exported={
            "by": by.get("subject"),
            "authenticated": bool(by.get("authenticated")),
            "time": exported.leaf["time"],
            "record": exported.index,
        },
        notes=tuple(notes),
    )


# ------------------------------------------------------------------------------------------------------ command line


def _say(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _span(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for name, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {name}"
    return f"{seconds} seconds"


def read_span(text: str) -> timedelta:
    """`24h`, `90m`, `7d`, `30s`. Raises `Misuse`."""
    found = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", text)
    if found is None:
        raise Misuse(f"{text!r} is not a span of time; expected such as 24h, 90m or 7d")
    return timedelta(seconds=int(found[1]) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[found[2]])


def roots_of(
    keys: Sequence[str],
    witnesses: Sequence[str] = (),
    *,
    quorum: int | None = None,
    policy: Path | None = None,
    fresh: str | None = None,
    since: Path | None = None,
) -> Roots:
    """Trust roots as the command line gives them. A key is a vkey, or a file with one. Raises `Misuse`."""
    logs = tuple(LogKey.parse(line) for key in keys for line in _key_lines(key))
    cosigners = tuple(Key.parse(line, COSIGNER) for key in witnesses for line in _key_lines(key))
    if policy is not None:
        if cosigners or quorum is not None:
            raise Misuse("a policy says which witnesses are enough: give it, or --witness and --quorum")
        listed, needed = read_policy(_content(policy))
        logs += listed
    else:
        if len({key.public for key in cosigners}) != len(cosigners):
            raise Misuse("one witness key was given twice")
        needed = Quorum(len(cosigners) if quorum is None else quorum, cosigners)
        if not 0 <= needed.needed <= len(cosigners) or (quorum == 0):
            raise Misuse(f"{quorum} of {len(cosigners)} witnesses cannot be enough")
    return Roots(
        logs,
        needed,
        read_span(fresh) if fresh is not None else None,
        _content(since) if since is not None else None,
    )


def _key_lines(text: str) -> list[str]:
    if "+" in text:
        return [text]
    lines = [line.strip() for line in _content(Path(text)).decode("utf-8", "replace").split("\n")]
    return [line for line in lines if line and not line.startswith("#")]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Misuse(f"cannot read {path}: {error.strerror}") from error


def printable(text: str) -> str:
    """A line in which nothing that a record says ends the line, moves the cursor, or turns the direction of writing."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode() for letter in text
    )


def sentences(found: Verified) -> list[str]:
    """What was verified, for a person."""
    scope = found.scope
    if "session" in scope:
        what = f"session {scope['session']}, whole"
    elif "first" in scope:
        what = f"records {scope['first']} to {scope['last']} without a gap"
    else:
        what = "the whole log"
    said = [f"Verified: {what}, {found.records} records under the signed head of {found.size} in {found.origin}."]
    said.append(f"Signatures of {found.grants} grants and {found.statements} acts of people are valid.")
    if found.witnesses:
        said.append("Cosigned by " + ", ".join(f"{name} at {time}" for name, time in found.witnesses.items()) + ".")
    said.append(
        f"{found.disclosed} values are disclosed, and are what was recorded; {found.erased} records are erased."
    )
    said.append(f"Exported by {found.exported['by']} at {found.exported['time']}, record {found.exported['record']}.")
    return [printable(line) for line in [*said, *(f"Note: {note}." for note in found.notes)]]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 verified, 1 not verified, 2 misuse."""
    parser = argparse.ArgumentParser(prog="remit-verify", description="Verify an evidence bundle of Remit, offline.")
    parser.add_argument("bundle", type=Path, help="folder or zip")
    parser.add_argument("--key", action="append", default=[], help="the log's key: VKEY, VKEY@0-1000, or a file")
    parser.add_argument("--witness", action="append", default=[], help="a witness's key: VKEY, or a file; repeatable")
    parser.add_argument("--quorum", type=int, help="how many of the witnesses are enough; all of them by default")
    parser.add_argument("--policy", type=Path, help="a c2sp.org/tlog-policy file instead of --witness and --quorum")
    parser.add_argument("--fresh", help="how old the witnesses' word may be: 24h, 90m, 7d")
    parser.add_argument("--since", type=Path, help="a checkpoint that you kept: the log has to continue it")
    parser.add_argument("--json", action="store_true", help="JSON instead of text")
    given = parser.parse_args(arguments)
    try:
        roots = roots_of(
            given.key,
            given.witness,
            quorum=given.quorum,
            policy=given.policy,
            fresh=given.fresh,
            since=given.since,
        )
        found = verify(Files.open(given.bundle), roots)
    except NotVerified as error:
        if given.json:
            print(json.dumps({"verified": False, "at": error.index, "why": str(error)}))  # noqa: T201
        else:
            print(printable(f"NOT verified: {error}"), file=sys.stderr)  # noqa: T201
        return 1
    except Misuse as error:
        print(printable(f"remit-verify: {error}"), file=sys.stderr)  # noqa: T201
        return 2
    print(json.dumps({"verified": True, **found.as_dict()}) if given.json else "\n".join(sentences(found)))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
