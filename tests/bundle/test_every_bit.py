"""Every bit of a bundle, flipped alone: 0 missed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import remit
from remit import remit_verify
from remit.bundle.exporting import Exported
from remit.remit_verify import Files, Misuse, NotVerified, check_record, roots_of, verify
from tests.bundle.conftest import Bundle

VOUCHING = ("manifest.json", "checkpoint", "exported/record", "exported/proof.tlog-proof", "exported/consistency")

PAGES = ("README.md", "report.html", "remit_verify.py")
"""Files that claim nothing: of these, every 89th bit, since one digest covers each as a whole."""


def flips(content: bytes, step: int = 1) -> Iterator[tuple[int, bytes]]:
    """The content with one bit other, for every `step`-th bit."""
    changed = bytearray(content)
    for bit in range(0, len(content) * 8, step):
        changed[bit // 8] ^= 1 << bit % 8
        yield bit, bytes(changed)
        changed[bit // 8] ^= 1 << bit % 8


def missed(bundle: Bundle, name: str, step: int = 1) -> list[int]:
    """Bits of a file that can be flipped unnoticed."""
    found = []
    for bit, content in flips(bundle.files[name], step):
        try:
            verify(Files.of({**bundle.files, name: content}), bundle.roots)
        except NotVerified:
            continue
        found.append(bit)
    return found


@pytest.fixture
def small(app: remit.App, people: dict[str, remit.Credential], exporting: Callable[..., Exported]) -> Bundle:
    """The bundle of a session with one call."""
    terms = {
        "task": "Look at ticket 88",
        "principal": "user:ravi@acme.com",
        "agent": "spiffe://acme.com/agents/triage",
        "expires_in": "20m",
        "tools": {"crm.read_ticket": {"resources": ["read crm://tickets/88"]}},
    }
    grant = app.issue(terms, credential=people["ravi"])
    with app.session(grant) as session:
        session.call("crm.read_ticket", {"id": 88}, run=lambda **_: "open")
        name = session.id
    found = exporting(session=name, disclose=["arguments"], credential=people["ravi"])
    return Bundle(found.path, app.ledger.verifier_key)


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("name", VOUCHING)
def test_no_flipped_bit_of_what_vouches_for_the_rest_is_missed(small: Bundle, name: str) -> None:
    """The manifest, the head, the record of the export and its proofs: every bit, through the whole verification."""
    small.verify()
    assert missed(small, name) == []


def test_no_flipped_bit_of_a_listed_file_is_missed(small: Bundle) -> None:
    """Every bit of every other file, pages for people included, where the verification reads it."""
    manifest = small.named("manifest.json")
    evidence = [name for name in small.files if name not in VOUCHING]
    assert {name.partition("/")[0] for name in evidence} >= {"artefacts", "disclosures", "keys", "proofs", "records"}
    for name in evidence:
        for bit, content in flips(small.files[name], 89 if name in PAGES else 1):
            files = Files.of({**small.files, name: content})
            files.bind(manifest["files"])
            with pytest.raises(NotVerified, match="changed"):
                assert files.read(name), (name, bit)


def test_no_flipped_bit_is_missed_by_the_verification_as_a_whole(small: Bundle) -> None:
    """The same through all of its steps, which read every file: every 157th bit."""
    found = {name: missed(small, name, 9_973 if name in PAGES else 157) for name in small.files}
    assert {name: bits for name, bits in found.items() if bits} == {}


def test_no_flipped_bit_of_a_record_or_its_proof_is_missed(small: Bundle) -> None:
    """Without any manifest: every record and proof of the bundle, by themselves."""
    for name in [name for name in small.files if name.startswith("records/")]:
        record, proof = small.files[name], small.files[f"{name.replace('records', 'proofs')}.tlog-proof"]
        index, _ = check_record(record, proof, small.roots)
        assert name == f"records/{index}"
        for bit, content in flips(record):
            with pytest.raises(NotVerified):
                assert check_record(content, proof, small.roots), bit
        for bit, content in flips(proof):
            with pytest.raises(NotVerified):
                assert check_record(record, content, small.roots), bit


def test_no_flipped_bit_of_a_disclosure_or_a_grant_is_missed(small: Bundle) -> None:
    """Without any manifest or digest: the commitment refuses the one, the signature the other."""
    seen = remit_verify.Seen(dense=lambda index: False, only=None, whole=False)
    for index in sorted(int(name.removeprefix("records/")) for name in small.files if name.startswith("records/")):
        body = small.files[f"records/{index}"]
        seen.record(index, json.loads(body), body, keep=frozenset([index]))
    [disclosure] = [name for name in small.files if name.startswith("disclosures/")]
    name = disclosure.removeprefix("disclosures/")
    assert remit_verify.check_disclosures(name, small.files[disclosure], seen) == 1
    for bit, content in flips(small.files[disclosure]):
        with pytest.raises(NotVerified):
            assert remit_verify.check_disclosures(name, content, seen), bit
    [(index, data)] = seen.grants
    terms = small.files["artefacts/" + data["digest"].removeprefix("sha256:")]
    remit_verify.check_grant(index, data, terms, seen)
    for _, content in flips(terms):
        with pytest.raises(NotVerified, match="signature"):
            remit_verify.check_grant(index, data, content, seen)


def test_no_flipped_bit_of_a_zip_is_missed(tmp_path: Path) -> None:
    """The container has no bit that means nothing: headers, dates, attributes, lengths, directory."""
    raw = remit_verify.write_zip({"records/0": b"one", "proofs/0.tlog-proof": b"two", "checkpoint": b""})
    assert remit_verify.read_zip(raw)["records/0"] == b"one"
    for _, content in flips(raw):
        with pytest.raises(NotVerified, match="zip"):
            remit_verify.read_zip(content)


def test_no_flipped_bit_of_a_key_is_missed(small: Bundle, app: remit.App) -> None:
    """A vkey with one bit other is no key, or another log's: nothing is verified with it."""
    for bit, content in flips(app.ledger.verifier_key.encode()):
        with pytest.raises((Misuse, NotVerified, UnicodeDecodeError)):
            assert small.verify(roots_of([content.decode()])), bit


def test_the_same_zip_is_written_again(small: Bundle, tmp_path: Path) -> None:
    """A zip depends on its files and on nothing else, so its digest is theirs."""
    content = {name: small.files[name] for name in reversed(list(small.files))}
    assert remit_verify.write_zip(content) == remit_verify.write_zip(small.files)
    assert remit_verify.read_zip(remit_verify.write_zip(content)) == small.files
