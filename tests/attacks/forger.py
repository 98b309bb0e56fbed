"""Somebody who holds the log's key, and neither a person's nor the deployment's for grants, makes a bundle of the whole
log say something else: records, tree, heads, manifest and the record of the export, all signed and in order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.ledger.canonical import canonical
from remit.ledger.merkle import leaf_hash
from remit.ledger.notes import Signer
from remit.ledger.proofs import Tree, consistency_text, inclusion_text
from remit.ledger.tiles import entry_bundles, hash_tiles
from tests.attacks.attacker import Leaf, recompute

CLAIMED = {"subject": "user:carol@acme.com", "authenticated": False, "method": "claimed", "roles": []}

Encode = Callable[[Leaf], bytes]


def read(folder: Path) -> dict[str, bytes]:
    """The files of a bundle."""
    return {found.relative_to(folder).as_posix(): found.read_bytes() for found in folder.rglob("*") if found.is_file()}


def bodies_of(files: Mapping[str, bytes]) -> list[bytes]:
    """Every record of a bundle of the whole log."""
    found = []
    for name in sorted(name for name in files if name.startswith("tile/entries/")):
        raw = files[name]
        while raw:
            length = int.from_bytes(raw[:2], "big")
            found.append(raw[2 : 2 + length])
            raw = raw[2 + length :]
    return found


def forge(
    files: Mapping[str, bytes],
    key: Ed25519PrivateKey,
    change: Callable[[list[Leaf]], object],
    *,
    encode: Encode = canonical,
    artefacts: tuple[bytes, ...] = (),
    by: Mapping[str, Any] = CLAIMED,
) -> dict[str, bytes]:
    """The bundle of another history. `encode` writes a record's bytes, `artefacts` are put beside the others."""
    manifest = json.loads(files["manifest.json"])
    leaves = [json.loads(body) for body in bodies_of(files)]
    change(leaves)
    bodies = recompute(leaves, encode)
    signer = Signer(manifest["origin"], key)
    tree = Tree(map(leaf_hash, bodies))
    size = tree.size
    kept = {name: content for name, content in files.items() if not name.startswith(("tile/", "exported/"))}
    del kept["manifest.json"]
    kept |= {f"artefacts/{hashlib.sha256(content).hexdigest()}": content for content in artefacts}
    kept["checkpoint"] = signer.checkpoint(size, tree.root())
    kept |= dict(hash_tiles(tree)) | dict(entry_bundles(bodies))
    listed = {name: {"sha256": hashlib.sha256(raw).hexdigest(), "size": len(raw)} for name, raw in kept.items()}
    written = canonical(manifest | {"files": listed, "root": tree.root().hex(), "size": size})
    return kept | {"manifest.json": written} | _vouch(files, tree, signer, written, by)


def _vouch(
    files: Mapping[str, bytes], tree: Tree, signer: Signer, manifest: bytes, by: Mapping[str, Any]
) -> dict[str, bytes]:
    """The record of the export, behind all others."""
    size = tree.size
    leaf = json.loads(files["exported/record"])
    digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
    leaf["data"] |= {"bundle": digest, "size": size, "records": size, "by": dict(by)}
    body = canonical(leaf)
    tree.extend([leaf_hash(body)])
    note = signer.checkpoint(tree.size, tree.root())
    return {
        "exported/record": body,
        "exported/proof.tlog-proof": inclusion_text(size, tree.inclusion(size), note),
        "exported/consistency": consistency_text(size, tree.consistency(size), note),
    }
