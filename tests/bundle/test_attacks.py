"""What somebody may do to a bundle on its way, and what the verifier says to it."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import remit
from remit import remit_verify
from remit.bundle.exporting import Exported
from remit.ledger import Ledger
from remit.remit_verify import Files, Misuse, NotVerified, check_record, roots_of, verify, write_zip
from tests.bundle.conftest import Bundle, compact


def test_an_unchanged_bundle_verifies_and_says_what_it_is(bundle: Bundle, session_id: str) -> None:
    """Records, grants, signatures of people and disclosures are counted; what is not shown is said."""
    found = bundle.verify()
    assert found.scope == {"session": session_id}
    assert found.sessions == {session_id: True}
    assert (found.grants, found.erased) == (1, 0)
    assert found.statements >= 6
    assert found.disclosed > 5
    assert found.exported["by"] == "user:carol@acme.com"
    assert found.exported["authenticated"] is True
    assert any("witness" in note for note in found.notes)


@pytest.mark.requirement("R3")
def test_a_record_that_is_left_out_shows_wherever_it_was(bundle: Bundle) -> None:
    """Every single record of a session, with its proof: even to somebody who believes any manifest, a gap is a gap."""
    for name in [name for name in bundle.files if name.startswith("records/")]:
        index = name.removeprefix("records/")
        files = bundle.without(name, f"proofs/{index}.tlog-proof", f"disclosures/{index}.json")
        with pytest.raises(NotVerified, match=r"manifest|left out|not here|missing|enrolled|opening"):
            bundle.verify(files=files)


def test_a_record_left_out_of_a_session_is_found_without_the_manifest(bundle: Bundle, session_id: str) -> None:
    """The numbers in the records themselves show it: the manifest could be anybody's."""
    leaves = {
        int(name.removeprefix("records/")): json.loads(content)
        for name, content in bundle.files.items()
        if name.startswith("records/")
    }
    exported = json.loads(bundle.files["exported/record"])

    def read(left_out: int | None) -> None:
        seen = remit_verify.Seen(dense=lambda index: False, only=session_id, whole=False)
        for index, leaf in sorted(leaves.items()):
            if index != left_out:
                seen.record(index, leaf, bundle.files[f"records/{index}"], keep=frozenset())
        remit_verify.check_complete(seen, {"session": session_id}, exported)

    read(None)
    for missing in [index for index, leaf in leaves.items() if leaf.get("session") == session_id]:
        with pytest.raises(NotVerified, match="left out"):
            read(missing)


def test_a_file_that_is_missing_or_added_is_found(bundle: Bundle) -> None:
    """What is there is what the manifest lists."""
    for name in bundle.files:
        files = {other: content for other, content in bundle.files.items() if other != name}
        with pytest.raises(NotVerified):
            bundle.verify(files=files)
    for name in ("records/4000", "artefacts/" + "0" * 64, "disclosures/4000.json", "tile/0/000", "keys/x.vkey"):
        with pytest.raises(NotVerified, match="not in the manifest"):
            bundle.verify(files={**bundle.files, name: b"{}"})


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/etc/passwd",
        "records/../../outside",
        "records/4/../5",
        "records\\4",
        "records/4\n",
        "records/04",
        "records/+4",
        "records/٤",
        ".hidden",
        "keys/../../x.vkey",
        "tile/0/000.p/256x",
        "",
        "records",
        "records/",
    ],
)
def test_a_name_that_has_no_place_in_a_bundle_is_refused(bundle: Bundle, name: str) -> None:
    """No name leads out of it, and none can be read in two ways."""
    with pytest.raises(NotVerified, match="no place"):
        bundle.verify(files={**bundle.files, name: b""})


def test_links_and_other_things_than_files_are_refused(bundle: Bundle) -> None:
    """A link could lead anywhere."""
    (bundle.path / "keys" / "x.vkey").symlink_to("/etc/hostname")
    with pytest.raises(NotVerified, match="neither a file nor a folder"):
        verify(Files.open(bundle.path), bundle.roots)
    (bundle.path / "keys" / "x.vkey").unlink()
    (bundle.path / "more").symlink_to(bundle.path / "records", target_is_directory=True)
    with pytest.raises(NotVerified, match="neither a file nor a folder"):
        verify(Files.open(bundle.path), bundle.roots)
    (bundle.path / "more").unlink()
    os.mkfifo(bundle.path / "keys" / "x.vkey")
    with pytest.raises(NotVerified, match="neither a file nor a folder"):
        verify(Files.open(bundle.path), bundle.roots)


def test_two_records_that_changed_places_are_found(bundle: Bundle) -> None:
    """Each record is where its proof says, and each proof where its name says."""
    one, other = sorted(name for name in bundle.files if name.startswith("records/"))[:2]
    files = {**bundle.files, one: bundle.files[other], other: bundle.files[one]}
    for changed in (files, bundle.relisted(files)):
        with pytest.raises(NotVerified):
            bundle.verify(files=changed)


def test_no_key_of_a_bundle_is_trusted(
    bundle: Bundle, app: remit.App, tmp_path: Path, people: dict[str, remit.Credential]
) -> None:
    """A bundle of a forged log, whole and signed, with its own key inside: another key is needed from outside."""
    with pytest.raises(Misuse, match="nothing to trust"):
        roots_of([])
    with Ledger.create(f"sqlite:///{tmp_path / 'forged.db'}", origin=app.ledger.origin) as forged:
        key = forged.verifier_key
    with pytest.raises(NotVerified, match="not signed by a key that you gave"):
        bundle.verify(roots_of([key]))
    with Ledger.create(f"sqlite:///{tmp_path / 'other.db'}", origin="acme.com/other") as other:
        with pytest.raises(NotVerified, match="is of log"):
            bundle.verify(roots_of([other.verifier_key]))
        with pytest.raises(Misuse, match="different logs"):
            roots_of([app.ledger.verifier_key, other.verifier_key])


def test_an_old_key_signs_no_new_head(bundle: Bundle, app: remit.App) -> None:
    """A key that was given for sizes signs heads of these sizes and of no other (CVE-2023-31439)."""
    key, size = app.ledger.verifier_key, bundle.verify().size
    assert bundle.verify(roots_of([f"{key}@0-"])).size == size
    assert bundle.verify(roots_of([f"{key}@{size}-{size + 2}"])).size == size
    for epoch in (f"0-{size}", f"{size + 1}-", f"{size + 1}-{size + 9}"):
        with pytest.raises(NotVerified, match="does not sign heads of"):
            bundle.verify(roots_of([f"{key}@{epoch}"]))
    with pytest.raises(NotVerified, match="does not sign heads of"):  # the head of the export is newer
        bundle.verify(roots_of([f"{key}@0-{size + 1}"]))
    for wrong in ("5-5", "9-3"):
        with pytest.raises(Misuse, match="range of sizes"):
            roots_of([f"{key}@{wrong}"])
    for wrong in ("x", "1-2-3", "-1"):
        with pytest.raises(Misuse):
            roots_of([f"{key}@{wrong}"])


def test_one_value_has_one_text(bundle: Bundle, session_id: str) -> None:
    """JSON with a space, base64 with unused bits set, a control character, trailing data: each is refused as such."""
    name = next(name for name in bundle.files if name.startswith("proofs/"))
    proof = bundle.files[name]
    lines = proof.split(b"\n")
    last = bytearray(lines[2])
    last[-2] += 1  # the two unused bits of the last character
    assert base64.b64decode(bytes(last)) == base64.b64decode(lines[2])
    variants = {
        "unused bits": b"\n".join([*lines[:2], bytes(last), *lines[3:]]),
        "vertical tab": proof.replace(b"\nindex", b"\x0bindex", 1),
        "carriage return": proof.replace(b"\n", b"\r\n", 1),
        "trailing data": proof + b"\n",
        "leading zero": proof.replace(b"index ", b"index 0", 1),
        "extra": proof.replace(b"index", b"extra AAAA\nindex", 1),
    }
    record = bundle.files[name.replace("proofs", "records").removesuffix(".tlog-proof")]
    assert check_record(record, proof, bundle.roots)[0] == int(lines[1].removeprefix(b"index "))
    for what, content in variants.items():
        with pytest.raises(NotVerified):
            check_record(record, content, bundle.roots)
        with pytest.raises(NotVerified):
            bundle.verify(files={**bundle.files, name: content})
        assert what
    for content in (b" " + bundle.files["manifest.json"], bundle.files["manifest.json"] + b"\n"):
        with pytest.raises(NotVerified, match="canonical"):
            bundle.verify(files={**bundle.files, "manifest.json": content})


def test_a_scope_that_says_less_is_found(bundle: Bundle) -> None:
    """A manifest that calls a part of a session the whole does not fit what the log recorded."""
    manifest = bundle.named("manifest.json")
    for scope in ({"first": 5, "last": 6}, {"all": True}, {"session": "s-other"}, {"all": 1}, {}, None):
        with pytest.raises(NotVerified):
            bundle.verify(files={**bundle.files, "manifest.json": compact({**manifest, "scope": scope})})


def test_a_zip_is_the_one_zip_of_its_files(bundle: Bundle, exporting: Callable[..., Exported], session_id: str) -> None:
    """Every bit of it means something; repacked, with a comment, or with a file twice, it is refused."""
    path = exporting(session=session_id, suffix=".zip").path
    raw = path.read_bytes()
    assert verify(Files.open(path), bundle.roots).sessions == {session_id: True}
    for position in range(0, len(raw) * 8, 997):
        changed = bytearray(raw)
        changed[position // 8] ^= 1 << position % 8
        path.write_bytes(changed)
        with pytest.raises(NotVerified):
            verify(Files.open(path), bundle.roots)
    comment = raw[:-2] + b"\x01\x00c"
    for other in (raw + b"x", b"x" + raw, raw[:-1], b"PK\x05\x06" + bytes(18), b"", comment):
        path.write_bytes(other)
        with pytest.raises(NotVerified, match="zip"):
            verify(Files.open(path), bundle.roots)
    path.write_bytes(write_zip({**bundle.files, "../outside": b""}))
    with pytest.raises(NotVerified, match="no place"):
        Files.open(path)


def test_a_bundle_that_is_not_there_is_misuse(tmp_path: Path) -> None:
    """Nothing was found wrong, and nothing right."""
    with pytest.raises(Misuse, match="cannot read"):
        Files.open(tmp_path / "nothing")
