"""Writing a bundle, and recording in the log itself that it was written, for whom, and what is in it.

```
(1) head       the newest signed head; everything below is proved against it
(2) survey     every leaf is hashed once: the tree from which all proofs are looked up
(3) gather     the records of the scope, and the context without which they cannot be judged
(4) write      records, proofs, artefacts, disclosures, keys, the pages for people; each into the manifest
(5) record     `evidence.exported` names the digest of the manifest: the log vouches for every byte
(6) vouch      that record, its proof, and that its head continues the one of step (1)
```
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select
from sqlmodel import col

from remit import remit_verify
from remit.bundle import disclosing, gathering, pages
from remit.bundle.gathering import Gathered, Scope, Survey
from remit.bundle.writing import Sink, sink
from remit.errors import EvidenceUnavailable, UsageError, VerificationError
from remit.identity import Credential
from remit.ledger.canonical import canonical
from remit.ledger.notes import read_checkpoint, read_note
from remit.ledger.proofs import Tree, consistency_text, inclusion_text
from remit.ledger.reading import Record
from remit.ledger.tiles import entry_bundles, hash_tiles
from remit.store.tables import CheckpointRow

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Ledger, Txn

SEQUENCED: Final = 30.0
"""Seconds to wait for a signed head over the record of the export, where another process signs heads."""

PAUSE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle that was written. `digest` is that of its manifest, which record `record` names."""

    path: Path
    scope: Mapping[str, Any]
    size: int
    records: int
    context: int
    disclosed: int
    digest: str
    record: str
    index: int

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {**{name: getattr(self, name) for name in self.__slots__}, "path": str(self.path)}


def export(
    deployment: Deployment,
    out: Path,
    *,
    session: str | None = None,
    start: str | None = None,
    end: str | None = None,
    disclose: Iterable[str] = (),
    since: Path | None = None,
    recipient: str | None = None,
    credential: Credential | str | None = None,
) -> Exported:
    """Write a bundle of one session, of the records from `start` to `end`, or, with none of these, of the whole log.

    `since`: a checkpoint that the receiver kept; the bundle proves that the log continues it. `recipient`: for whom,
    kept in the record. Raises `UsageError`, `IdentityError`, `EvidenceUnavailable`.
    """
    deployment.require("review")
    if session is not None and (start is not None or end is not None):
        raise UsageError("name a session, or the records from where to where, not both")
    ledger = deployment.ledger
    note, size = _head(ledger)  # (1)
    between = start is not None or end is not None
    scope = Scope.between(ledger, size, start, end) if between else Scope(session=session)
    found = gathering.survey(ledger, size)  # (2)
    with sink(out) as files:
        made = _Bundle(deployment, files, scope, found, note)
        counts = made.write(disclose, since, _subject(credential))  # (3), (4)
        manifest = made.manifest()
        digest = _digest(manifest)
        about = {"bundle": digest, "scope": scope.as_dict(), "size": size, **counts}
        record = _record(deployment, about, recipient, credential)  # (5)
        files.put("manifest.json", manifest, listed=False)
        _vouch(ledger, files, found, note, record)  # (6)
    return Exported(
        path=out,
        scope=scope.as_dict(),
        size=size,
        records=counts["records"],
        context=made.context,
        disclosed=counts["disclosed"],
        digest=digest,
        record=record.id,
        index=record.index,
    )


def _subject(credential: Credential | str | None) -> list[str]:
    return [credential.subject] if isinstance(credential, Credential) else []


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _head(ledger: Ledger, least: int = 1) -> tuple[bytes, int]:
    """The newest signed head. Raises `UsageError` when it has fewer than `least` records."""
    rows = ledger.read().rows(
        select(col(CheckpointRow.size), col(CheckpointRow.note)).order_by(col(CheckpointRow.size).desc()).limit(1)
    )
    if not rows or rows[0][0] < least:
        raise UsageError("nothing is recorded and signed yet, so there is no evidence to export")
    return bytes(rows[0][1]), int(rows[0][0])


class _Bundle:
    """Step (4): the files, in the order in which a reader needs them."""

    def __init__(self, deployment: Deployment, files: Sink, scope: Scope, found: Survey, note: bytes) -> None:
        self._deployment = deployment
        self._ledger = deployment.ledger
        self._files = files
        self._scope = scope
        self._found = found
        self._note = note
        self.context = 0

    def write(self, disclose: Iterable[str], since: Path | None, also: Iterable[str]) -> dict[str, Any]:
        """Everything that the manifest lists. Returns what the record of the export says of it."""
        self._files.put("checkpoint", self._note)
        if since is not None:
            self._put_consistency(since)
        self._files.put("keys/log.vkey", self._ledger.verifier_key.encode() + b"\n")
        self._files.put("keys/issue.pub", self._deployment.issue_public.text.encode() + b"\n")
        gathered, counts = self._whole() if self._scope.whole else self._part(also)
        shown = disclosing.disclosures(self._ledger, self._inside(gathered), disclose)
        for index, content in shown.items():
            self._files.put(f"disclosures/{index}.json", content)
        artefacts = {}
        for digest in sorted(gathered.artefacts):
            if digest in self._found.brought:
                artefacts[digest] = self._ledger.artefact(digest)
                self._files.put(f"artefacts/{digest.removeprefix('sha256:')}", artefacts[digest])
        source = Path(remit_verify.__file__).read_bytes()
        self._files.put("remit_verify.py", source)
        about = pages.About(self._ledger.origin, self._scope, self._found.size, self._ledger.verifier_key)
        self._files.put("README.md", pages.readme(about))
        records = list(self._inside(gathered)) if not self._scope.whole else None
        self._files.put("report.html", pages.report(about, gathered, records, artefacts, shown))
        return {**counts, "disclosed": len(shown)}

    def _inside(self, gathered: Gathered) -> Iterable[Record]:
        if self._scope.whole:
            return (record for record in self._ledger.records(placed=True) if record.index < self._found.size)
        return (record for index, record in gathered.records.items() if index in gathered.inside)

    def _part(self, also: Iterable[str]) -> tuple[Gathered, dict[str, Any]]:
        gathered = gathering.gather(self._ledger, self._scope, self._found, also)
        for index, record in gathered.records.items():
            path = self._found.tree.inclusion(index, self._found.size)
            self._files.put(f"records/{index}", record.body)
            self._files.put(f"proofs/{index}.tlog-proof", inclusion_text(index, path, self._note))
        self.context = len(gathered.records) - len(gathered.inside)
        counts: dict[str, Any] = {"records": len(gathered.inside)}
        if self._scope.session is not None:
            last: dict[str, int] = {}
            for index in sorted(gathered.inside):
                leaf = gathered.records[index].leaf
                last[leaf["writer"]] = leaf["sseq"]
            counts["writers"] = last
        return gathered, counts

    def _whole(self) -> tuple[Gathered, dict[str, Any]]:
        for tile in hash_tiles(self._found.tree):
            self._files.put(*tile)
        bodies = (record.body for record in self._ledger.records(placed=True) if record.index < self._found.size)
        for tile in entry_bundles(bodies):
            self._files.put(*tile)
        return Gathered({}, frozenset(), frozenset(self._found.brought)), {"records": self._found.size}

    def _put_consistency(self, since: Path) -> None:
        """Proves that the log continues the checkpoint that the receiver kept."""
        try:
            kept = read_checkpoint(read_note(since.read_bytes()).body)
        except OSError as error:
            raise UsageError(f"cannot read {since}: {error.strerror}") from error
        except VerificationError as error:
            raise UsageError(f"{since} is not a checkpoint: {error}") from error
        tree, size = self._found.tree, self._found.size
        if kept.origin != self._ledger.origin or not 0 < kept.size <= size or tree.root(kept.size) != kept.root:
            raise VerificationError(
                f"the checkpoint in {since} ({kept.size} records of {kept.origin}) is no earlier head of this log"
            )
        if kept.size < size:
            path = tree.consistency(kept.size, size)
            self._files.put(f"consistency/{kept.size}-{size}", consistency_text(kept.size, path, self._note))

    def manifest(self) -> bytes:
        """Every file with its digest, and what the bundle is about."""
        root = self._found.tree.root(self._found.size)
        return canonical(
            {
                "files": self._files.listed,
                "format": remit_verify.FORMAT,
                "origin": self._ledger.origin,
                "root": root.hex(),
                "scope": self._scope.as_dict(),
                "size": self._found.size,
                "time": pages.now(self._ledger),
            }
        )


def _record(
    deployment: Deployment, about: dict[str, Any], recipient: str | None, credential: Credential | str | None
) -> Record:
    """Step (5)."""

    def job(txn: Txn) -> str:
        private = {"recipient": recipient} if recipient is not None else None
        draft = deployment.ledger.draft("evidence.exported", data=dict(about), private=private)
        who = deployment.identify(txn, credential, act="evidence.export", about={"bundle": about["bundle"]})
        draft.data["by"] = who.as_record()
        return txn.append(draft).id

    record_id = deployment.ledger.run(job)
    return _signed(deployment.ledger, record_id)


def _signed(ledger: Ledger, record_id: str) -> Record:
    """The record, once a signed head covers it."""
    until = time.monotonic() + SEQUENCED
    while True:
        record = ledger.record(record_id)
        if record is not None and _head(ledger)[1] > record.index:
            return record
        if time.monotonic() > until:
            raise EvidenceUnavailable(
                f"the export is recorded ({record_id}), but no signed head covers it yet: nobody signs"
            )
        time.sleep(PAUSE)


def _vouch(ledger: Ledger, files: Sink, found: Survey, note: bytes, record: Record) -> None:
    """Step (6): files that the manifest cannot list, because they come after it."""
    tree: Tree = found.tree
    later, size = _head(ledger, record.index + 1)
    gathering.extend(ledger, tree, size)
    later = _bare(ledger, later)
    files.put("exported/record", record.body, listed=False)
    proof = inclusion_text(record.index, tree.inclusion(record.index, size), later)
    files.put("exported/proof.tlog-proof", proof, listed=False)
    path = tree.consistency(found.size, size)
    files.put("exported/consistency", consistency_text(found.size, path, later), listed=False)


def _bare(ledger: Ledger, note: bytes) -> bytes:
    """A checkpoint with the log's signature alone: lines of others would be bytes that the manifest does not cover."""
    text, gap, lines = note.partition(b"\n\n")
    ours = [line for line in lines.split(b"\n") if line.startswith(f"— {ledger.origin} ".encode())]
    return text + gap + ours[0] + b"\n"


__all__ = ["Exported", "Scope", "export"]
