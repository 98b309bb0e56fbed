"""What is put before the other verifiers: evidence as Remit wrote it, and the same with one thing changed.

```
kind          files                                what has to hold
head          checkpoint                           signed by the log, cosigned by every witness of the case
inclusion     record, proof (tlog-proof@v1)        the record is at its index under the signed head in the proof
consistency   kept (a checkpoint), proof           the signed head in the proof continues the one that was kept
tiles         a folder of tlog-tiles               every entry is the leaf that the tiles hold under the signed head
```

Of tiles, `files` and `gone` are what differs from the folder.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.interop.evidence import Evidence


@dataclass(frozen=True)
class Case:
    """One thing to verify. `name` says what was done to it."""

    name: str
    kind: str
    log: str
    files: dict[str, bytes] = field(default_factory=dict)
    witnesses: tuple[str, ...] = ()
    folder: str = ""
    gone: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As the programs in other languages read it."""
        files = {name: base64.b64encode(content).decode() for name, content in self.files.items()}
        given = {"Kind": self.kind, "Log": self.log, "Witnesses": list(self.witnesses), "Files": files}
        return {**given, "Folder": self.folder, "Gone": list(self.gone)}

    def but(self, name: str, **files: bytes) -> Case:
        """The same with other files."""
        return replace(self, name=name, files={**self.files, **files})


# -- what is true


def heads(found: Evidence) -> list[Case]:
    """Every checkpoint that left the ledger, by the log's signature alone."""
    notes = {"kept": found.kept, "session's": found.checkpoint, "whole log's": found.whole["checkpoint"]}
    return [Case(f"the {name} head", "head", found.log, {"checkpoint": note}) for name, note in notes.items()]


def cosigned(found: Evidence) -> list[Case]:
    """The same, and the witness's word on them."""
    return [replace(case, witnesses=(found.witness,)) for case in heads(found)]


def inclusions(found: Evidence) -> list[Case]:
    """Every record of the bundle with its proof."""
    return [
        Case(f"record {index}", "inclusion", found.log, {"record": record, "proof": proof})
        for index, (record, proof) in found.records.items()
    ]


def consistencies(found: Evidence) -> list[Case]:
    """The head that was kept goes on in that of the bundle."""
    files = {"kept": found.kept, "proof": found.consistency}
    return [Case("from the kept head", "consistency", found.log, files)]


def tiles(found: Evidence) -> list[Case]:
    """The whole log."""
    return [Case("the whole log", "tiles", found.log, {}, (found.witness,), str(found.folder))]


# -- what is not


def tampered_heads(found: Evidence) -> Iterator[Case]:
    """A head with one thing changed: text, signature, key."""
    case = heads(found)[1]
    note = case.files["checkpoint"]
    text, signatures = _parts(note)
    origin, size, root = text.split(b"\n")[:3]
    _, kept_size, kept_root = found.kept.split(b"\n")[:3]
    own, *_ = signatures
    name, raw = _signature(own)
    changed: dict[str, bytes] = {
        "a byte of the origin": note.replace(origin, _flip(origin, 2), 1),
        "another origin": note.replace(origin, b"acme.com/other", 1),
        "the size": note.replace(b"\n%b\n" % size, b"\n%d\n" % (int(size) + 1), 1),
        "the size of another head": note.replace(b"\n%b\n" % size, b"\n%b\n" % kept_size, 1),
        "a byte of the root": note.replace(root, _other(root), 1),
        "the root of another head": note.replace(root, kept_root, 1),
        "another line": note.replace(root, root + b"\nanother line", 1),
        "one line less": note.replace(b"\n" + root, b"", 1),
        "no blank line": note.replace(b"\n\n", b"\n", 1),
        "no signature": text + b"\n",
        "the signature of another head": text + b"\n" + _parts(found.kept)[1][0],
        "only the witness has signed": text + b"\n" + signatures[1],
        "another key signed": text + b"\n" + _line(name, _raw_by_another(text, name)),
        "another key signed under this one's id": text + b"\n" + _line(name, raw[:4] + _raw_by_another(text, name)[4:]),
        "another name signed": note.replace("— ".encode() + name, "— acme.com/other".encode(), 1),
    }
    for at in (0, 3, 4, 35, 36, 67):
        changed[f"byte {at} of the signature"] = note.replace(own, _line(name, _flip(raw, at)), 1)
    for what, content in changed.items():
        yield case.but(what, checkpoint=content)


def tampered_cosignatures(found: Evidence) -> Iterator[Case]:
    """A cosignature with one thing changed: time, signature, key, or the head that it is on."""
    case = cosigned(found)[1]
    note = case.files["checkpoint"]
    text, [log, line] = _parts(note)
    name, raw = _signature(line)
    moment = int.from_bytes(raw[4:12], "big")
    changed = {
        "no cosignature": text + b"\n" + log,
        "the cosignature of another head": text + b"\n" + log + _parts(found.kept)[1][1],
        "the log's own signature as the witness's": text + b"\n" + log + _line(name, raw[:12] + _signature(log)[1][4:]),
        "another witness": text + b"\n" + log + _line(b"witness.example/w2", raw),
        "the log has not signed": text + b"\n" + line,
    }
    for seconds in (-1, 1, 86_400, 1 << 40):
        later = raw[:4] + (moment + seconds).to_bytes(8, "big") + raw[12:]
        changed[f"{seconds} seconds later"] = text + b"\n" + log + _line(name, later)
    for at in (0, 12, 43, 75):
        changed[f"byte {at} of the cosignature"] = text + b"\n" + log + _line(name, _flip(raw, at))
    for what, content in changed.items():
        yield case.but(what, checkpoint=content)


def tampered_inclusions(found: Evidence) -> Iterator[Case]:
    """A record or its proof with one thing changed, for records at both ends and in the middle of the bundle."""
    cases = inclusions(found)
    for case in (cases[0], cases[len(cases) // 2], cases[-1]):
        for what, files in _tampered_inclusion(case, cases[1], found.kept):
            yield case.but(f"{case.name}: {what}", **files)


def _tampered_inclusion(case: Case, other: Case, kept: bytes) -> Iterator[tuple[str, dict[str, bytes]]]:
    record, proof = case.files["record"], case.files["proof"]
    top, _, note = proof.partition(b"\n\n")
    _, index, *path = top.split(b"\n")
    number = int(index.removeprefix(b"index "))

    def proving(number: int = number, path: list[bytes] = path, note: bytes = note) -> dict[str, bytes]:
        lines = [b"c2sp.org/tlog-proof@v1", b"index %d" % number, *path]
        return {"proof": b"\n".join(lines) + b"\n\n" + note}

    assert proving()["proof"] == proof
    for at in (0, len(record) // 2, len(record) - 1):
        yield f"byte {at} of the record", {"record": _flip(record, at)}
    yield "a byte more", {"record": record + b"\n"}
    yield "a byte less", {"record": record[:-1]}
    yield "another record", {"record": other.files["record"] if other.name != case.name else b"{}"}
    yield "the proof of another record", {"proof": other.files["proof"] if other.name != case.name else proof[:-1]}
    for to in (number + 1, number ^ 1, number ^ 2, 1 << 40):
        yield f"index {to}", proving(to)
    for at in range(len(path)):
        yield f"hash {at} changed", proving(path=[*path[:at], _other(path[at]), *path[at + 1 :]])
        yield f"hash {at} left out", proving(path=path[:at] + path[at + 1 :])
    yield "a hash more", proving(path=[*path, path[-1]])
    yield "two hashes swapped", proving(path=[path[1], path[0], *path[2:]])
    yield "no hash", proving(path=[])
    yield "another head", proving(note=kept)
    text, signatures = _parts(note)
    size, root = text.split(b"\n")[1:3]
    yield "the head's size", proving(note=note.replace(b"\n%b\n" % size, b"\n%d\n" % (int(size) - 1), 1))
    yield "the head's root", proving(note=note.replace(root, _other(root), 1))
    yield "the head is not signed", proving(note=text + b"\n" + signatures[1])
    leaf = hashlib.sha256(b"\0" + record).digest()
    pair = [leaf, base64.b64decode(path[0])]
    joined = b"".join(pair if number % 2 == 0 else reversed(pair))
    yield "a node as if it were a record", {"record": joined, **proving(number >> 1, path[1:])}
    yield "a node and its prefix as if they were a record", {"record": b"\1" + joined, **proving(number >> 1, path[1:])}


def tampered_consistencies(found: Evidence) -> Iterator[Case]:
    """A rewritten history, and a proof with one thing changed."""
    [case] = consistencies(found)
    top, _, note = found.consistency.partition(b"\n\n")
    old, *path = top.split(b"\n")

    def proving(old: bytes = old, path: list[bytes] = path, note: bytes = note) -> bytes:
        return b"\n".join([old, *path]) + b"\n\n" + note

    assert proving() == found.consistency
    size, root = found.kept.split(b"\n")[1:3]
    yield case.but("the kept head is of a fork, signed by the log", kept=found.fork)
    yield case.but("the kept root", kept=found.kept.replace(root, _other(root), 1))
    yield case.but("the kept size", kept=found.kept.replace(b"\n%b\n" % size, b"\n%d\n" % (int(size) - 1), 1))
    yield case.but("the kept head is not signed", kept=_parts(found.kept)[0] + b"\n" + _parts(found.kept)[1][1])
    yield case.but("the later head was kept", kept=note)
    yield case.but("the old size", proof=proving(old=b"old %d" % (int(size) - 1)))
    yield case.but("the head's root", proof=proving(note=note.replace(note.split(b"\n")[2], root, 1)))
    yield case.but("the head is the kept one", proof=proving(note=found.kept))
    for at in range(len(path)):
        yield case.but(f"hash {at} changed", proof=proving(path=[*path[:at], _other(path[at]), *path[at + 1 :]]))
        yield case.but(f"hash {at} left out", proof=proving(path=path[:at] + path[at + 1 :]))
    yield case.but("a hash more", proof=proving(path=[*path, path[-1]]))
    yield case.but("two hashes swapped", proof=proving(path=[path[1], path[0], *path[2:]]))
    yield case.but("no hash", proof=proving(path=[]))


def tampered_tiles(found: Evidence) -> Iterator[Case]:
    """A tile or bundle of entries with one thing changed, each of them once."""
    [case] = tiles(found)
    names = sorted(name for name in found.whole if name.startswith("tile/"))
    assert {name.split("/")[1] for name in names} == {"0", "1", "entries"}
    changed: dict[str, Callable[[bytes], bytes]] = {
        "first byte": lambda raw: _flip(raw, 0),
        "a byte in the middle": lambda raw: _flip(raw, len(raw) // 2),
        "last byte": lambda raw: _flip(raw, len(raw) - 1),
        "a byte more": lambda raw: raw + b"\0",
        "32 bytes less": lambda raw: raw[:-32],
        "empty": lambda raw: b"",
    }
    for name in names:
        yield replace(case, name=f"{name}: gone", gone=(name,))
        for what, change in changed.items():
            yield case.but(f"{name}: {what}", **{name: change(found.whole[name])})
    one, other = (name for name in names if name.startswith("tile/entries/"))
    yield case.but("bundles of entries swapped", **{one: found.whole[other], other: found.whole[one]})
    text, [log, line] = _parts(found.whole["checkpoint"])
    size, root = text.split(b"\n")[1:3]
    note = found.whole["checkpoint"]
    yield case.but("the head's size", checkpoint=note.replace(b"\n%b\n" % size, b"\n%d\n" % (int(size) - 1), 1))
    yield case.but("the head's root", checkpoint=note.replace(root, _other(root), 1))
    yield case.but("no witness", checkpoint=text + b"\n" + log)
    yield case.but("not signed", checkpoint=text + b"\n" + line)
    yield case.but("an earlier head", checkpoint=found.kept)


# -- taking notes apart


def _parts(note: bytes) -> tuple[bytes, list[bytes]]:
    """The text, and the lines below it: the log's first."""
    text, _, below = note.partition(b"\n\n")
    return text + b"\n", [line + b"\n" for line in below.split(b"\n")[:-1]]


def _signature(line: bytes) -> tuple[bytes, bytes]:
    _, name, encoded = line.split()
    return name, base64.b64decode(encoded)


def _line(name: bytes, raw: bytes) -> bytes:
    return b"\xe2\x80\x94 %b %b\n" % (name, base64.b64encode(raw))


def _raw_by_another(text: bytes, name: bytes) -> bytes:
    """Key id and signature by somebody who calls themselves like the log."""
    key = Ed25519PrivateKey.generate()
    told = hashlib.sha256(name + b"\n\x01" + key.public_key().public_bytes_raw()).digest()[:4]
    return told + key.sign(text)


def _flip(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def _other(encoded: bytes) -> bytes:
    """The base64 of a hash with one bit other."""
    return base64.b64encode(_flip(base64.b64decode(encoded), 7))
