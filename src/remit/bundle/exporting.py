"""Writing a bundle, and recording in the log itself that it was written, for whom, and what is in it.

```
(1) head       the newest signed head that witnesses cosigned, if there are any and it covers what is asked for; else
               the newest; everything below is proved against it
(2) survey     every leaf is hashed once: the tree from which all proofs are looked up
(3) gather     the records of the scope, and the context without which they cannot be judged
(4) write      records, proofs, artefacts, disclosures, keys, the pages for people; each into the manifest
(5) record     `evidence.exported` names the digest of the manifest: the log vouches for every byte
(6) vouch      that record, its proof, and that its head continues the one of step (1)
```
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remit import remit_verify
from remit.bundle import disclosing, gathering, heads, pages
from remit.bundle.gathering import Gathered, Scope, Survey
from remit.bundle.writing import Sink, sink
from remit.errors import EvidenceUnavailable, UsageError, VerificationError
from remit.identity import Credential
from remit.ledger.canonical import canonical
from remit.ledger.notes import read_checkpoint, read_note
from remit.ledger.proofs import Tree, consistency_text, inclusion_text
from remit.ledger.reading import Record
from remit.ledger.tiles import entry_bundles, hash_tiles

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Ledger, Txn


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
    kept in the record. Raises `UsageError`, `IdentityError`, `EvidenceUnavailable`, and `VerificationError` for a log
    that is not what its head says: nothing is handed out of it.
    """
    deployment.require("review")
    ledger = deployment.ledger
    heads.settle(ledger)
    scope = gathering.scope_of(ledger, session, start, end)
    note, size = heads.choose(ledger, scope.newest, ask=_has_witnesses(deployment))  # (1)
    found = gathering.survey(ledger, size)  # (2)
    _require_head(found, note)
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


def _require_head(found: Survey, note: bytes) -> None:
    """What was read is what the head signs. Raises `VerificationError`."""
    if found.tree.size != found.size or found.tree.root(found.size) != read_checkpoint(read_note(note).body).root:
        raise VerificationError(
            f"the first {found.size} records are not those that the signed head says, so nothing was exported; "
            "`remit verify` says where it breaks"
        )


def _has_witnesses(deployment: Deployment) -> bool:
    return deployment.witnesses is not None and bool(deployment.witnesses.witnesses)


def _subject(credential: Credential | str | None) -> list[str]:
    return [credential.subject] if isinstance(credential, Credential) else []


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


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
        keys = "".join(f"{epoch.text}\n" for epoch in self._ledger.keys.epochs)
        self._files.put("keys/log.vkey", keys.encode())
        self._files.put("keys/issue.pub", self._deployment.issue_public.text.encode() + b"\n")
        self._files.put("policy", self._policy())
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

    def _policy(self) -> bytes:
        """The deployment's own trust policy (c2sp.org/tlog-policy), for comparison."""
        key = self._ledger.keys.at(self._found.size).vkey
        policy = self._deployment.witnesses
        said = policy.source.rstrip("\n") if policy is not None else "quorum none"
        lines = [line for line in said.split("\n") if line.split()[:1] != ["log"]]
        return "\n".join(["# What the log's operator says. Compare it with yours.", f"log {key}", *lines, ""]).encode()

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

    data = {**about, "kind": "bundle", **({"for": recipient} if recipient is not None else {})}

    def job(txn: Txn) -> str:
        draft = deployment.ledger.draft("evidence.exported", data=data)
        who = deployment.identify(txn, credential, act="evidence.export", about={"bundle": about["bundle"]})
        draft.data["by"] = who.as_record()
        return txn.append(draft).id

    ledger = deployment.ledger
    record_id = ledger.run(job)
    ledger.wait_sequenced([record_id], deadline=heads.SEQUENCED)
    record = ledger.record(record_id)
    if record is None or not record.placed:
        raise EvidenceUnavailable(f"the export is recorded ({record_id}), but no signed head covers it yet")
    return record


def _vouch(ledger: Ledger, files: Sink, found: Survey, note: bytes, record: Record) -> None:
    """Step (6): files that the manifest cannot list, because they come after it."""
    tree: Tree = found.tree
    later, size = heads.newest(ledger)
    gathering.extend(ledger, tree, size)
    files.put("exported/record", record.body, listed=False)
    proof = inclusion_text(record.index, tree.inclusion(record.index, size), later)
    files.put("exported/proof.tlog-proof", proof, listed=False)
    path = tree.consistency(found.size, size)
    files.put("exported/consistency", consistency_text(found.size, path, later), listed=False)


__all__ = ["Exported", "Scope", "export"]
