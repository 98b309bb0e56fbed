"""The verifiers that Remit's authors did not write, each behind one shape: cases in, an answer for each out.

All of them read the same cases (see `cases.py`), and none of them runs code of Remit's.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore._internal.rekor.checkpoint import SignedCheckpoint, verify_checkpoint
from sigstore._internal.trust import Keyring, RekorKeyring
from sigstore._utils import KeyID
from sigstore.errors import Error
from sigstore.models import TransparencyLogEntry
from sigstore_models.common.v1 import PublicKey, PublicKeyDetails
from sigstore_models.rekor.v1 import TransparencyLogEntry as Entry

from tests.interop.cases import Case
from tests.packages import found, install_node, need, once, run

HERE = Path(__file__).parent
NODE_PACKAGES = {"@sigstore/verify": "4.1.3"}
GOPATH = Path("/usr/share/gocode")
"""Where Debian keeps the sources of Go's libraries: what is built from there needs no network."""


class Answer(NamedTuple):
    """Whether a verifier accepted a case; why not, or what it read in it."""

    accepted: bool
    why: str
    said: dict[str, Any] | None


Verifier = Callable[[Sequence[Case]], list[Answer]]


def go() -> Verifier:
    """golang.org/x/mod/sumdb: all that there is to verify. Built once per source and compiler."""
    need("go", "Go's own verifier is built from Debian's packages", GOPATH / "src/golang.org/x/mod/sumdb")
    source = HERE / "verify.go"
    version = subprocess.run(["go", "version"], capture_output=True, text=True, check=True).stdout

    def build(folder: Path) -> None:
        offline = {"GO111MODULE": "off", "GOPATH": str(GOPATH), "GOFLAGS": "", "GOCACHE": str(folder / "cache")}
        run([found("go"), "build", "-o", str(folder / "verify"), str(source)], folder, offline)

    built = once("interop-go", [version, hashlib.sha256(source.read_bytes()).hexdigest()], build)
    return lambda cases: _ask([str(built / "verify")], cases)


def node() -> Verifier:
    """npm's @sigstore/verify: notes and inclusion."""
    need("npm", "@sigstore/verify comes from npm")

    def install(folder: Path) -> None:
        install_node(folder / "node", NODE_PACKAGES)

    modules = once("interop-node", NODE_PACKAGES, install) / "node" / "node_modules"
    return lambda cases: _ask([found("node"), str(HERE / "verify.cjs"), str(modules)], cases)


def _ask(command: list[str], cases: Sequence[Case]) -> list[Answer]:
    asked = json.dumps([case.as_json() for case in cases])
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise AssertionError(f"{command[0]} ended with {done.returncode}: {done.stderr}")
    return [Answer(one["accepted"], one["why"], one["said"]) for one in json.loads(done.stdout)]


def python() -> Verifier:
    """sigstore-python: notes and inclusion. Its private modules, so its version is pinned."""
    return lambda cases: [_sigstore(case) for case in cases]


def _sigstore(case: Case) -> Answer:
    try:
        return Answer(True, "", _checked(case))
    except (Error, ValueError, IndexError) as error:  # it lets some of Python's own errors through
        return Answer(False, f"{type(error).__name__}: {error}", None)


def _checked(case: Case) -> dict[str, Any]:
    name, _, encoded = case.log.split("+", 2)
    raw = base64.b64decode(encoded)
    known = KeyID(hashlib.sha256(name.encode() + b"\n" + raw).digest())
    key = Ed25519PublicKey.from_public_bytes(raw[1:]).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    given = PublicKey(raw_bytes=base64.b64encode(key), key_details=PublicKeyDetails.PKIX_ED25519)
    keyring = RekorKeyring(Keyring([given]))
    if case.kind == "head":
        signed = SignedCheckpoint.from_text(case.files["checkpoint"].decode())
        signed.signed_note.verify(keyring, known)
        root = base64.b64encode(bytes.fromhex(signed.checkpoint.log_hash)).decode()
        return {"size": signed.checkpoint.log_size, "root": root}
    head, _, envelope = case.files["proof"].decode().partition("\n\n")
    _, index, *path = head.split("\n")
    read = SignedCheckpoint.from_text(envelope).checkpoint
    index = index.removeprefix("index ")
    proof = {
        "logIndex": index,
        "rootHash": base64.b64encode(bytes.fromhex(read.log_hash)).decode(),
        "treeSize": str(read.log_size),
        "hashes": path,
        "checkpoint": {"envelope": envelope},
    }
    described = {
        "logIndex": index,
        "logId": {"keyId": base64.b64encode(known).decode()},
        "kindVersion": {"kind": "record", "version": "1"},
        "inclusionProof": proof,
        "canonicalizedBody": base64.b64encode(case.files["record"]).decode(),
    }
    entry = TransparencyLogEntry(Entry.from_dict(described))
    verify_checkpoint(keyring, entry)
    verify_merkle_inclusion(entry)
    return {"index": int(index), "size": read.log_size}
