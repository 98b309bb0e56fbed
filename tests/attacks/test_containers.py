"""What a bundle is carried in, and what is printed about it: huge files, endless names, text that moves the cursor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import remit
from remit import remit_verify
from remit.bundle.exporting import Exported
from remit.ledger.canonical import canonical
from remit.ledger.notes import Signer, read_checkpoint, read_note
from remit.remit_verify import Files, Misuse, NotVerified, check_disclosures, read_policy, roots_of, verify
from tests.attacks.attacker import Leaf, log_key
from tests.attacks.forger import CLAIMED, forge, read

pytestmark = pytest.mark.changes_evidence

LARGE = 1 << 40
"""Bytes of a file that takes no room, and that nobody has the memory to read."""


@pytest.fixture
def path(session_id: str, exporting: Callable[..., Exported]) -> Path:
    """A bundle of the session, as a folder."""
    return exporting(session=session_id, disclose=["arguments"]).path


def test_a_file_that_is_larger_than_listed_is_not_read_to_its_end(app: remit.App, path: Path) -> None:
    """A terabyte in the place of a record: refused at once, as what was changed."""
    name = next((path / "records").iterdir())
    os.truncate(name, LARGE)
    with pytest.raises(NotVerified, match=f"records/{name.name} is not what the manifest lists"):
        verify(Files.open(path), roots_of([app.ledger.verifier_key]))


def test_a_list_that_says_nonsense_of_sizes_is_refused(app: remit.App, path: Path) -> None:
    """Before anything is read by it."""
    files = read(path)
    for size in (LARGE, -1, "5", None, True, 5.5):
        manifest = json.loads(files["manifest.json"])
        manifest["files"]["checkpoint"]["size"] = size
        with pytest.raises(NotVerified, match="how large checkpoint is"):
            verify(Files.of({**files, "manifest.json": canonical(manifest)}), roots_of([app.ledger.verifier_key]))


def test_a_zip_that_cannot_be_one_is_not_read(tmp_path: Path) -> None:
    """Whatever begins like one."""
    file = tmp_path / "b.zip"
    file.write_bytes(b"PK\x03\x04")
    os.truncate(file, LARGE)
    with pytest.raises(NotVerified, match="larger than"):
        Files.open(file)


def test_a_head_of_endlessly_many_records_costs_nothing(app: remit.App, exporting: Callable[..., Exported]) -> None:
    """Whoever holds the log's key can sign any number: no list of as many names is made of it."""
    files = read(exporting().path)
    signer_roots = roots_of([app.ledger.verifier_key])
    made = forge(files, log_key(app.ledger.home), lambda leaves: None)
    root = read_checkpoint(read_note(made["checkpoint"]).body).root
    huge = Signer(app.ledger.origin, log_key(app.ledger.home)).checkpoint(10**15, root)
    manifest = json.loads(made["manifest.json"])
    manifest["size"] = 10**15
    listed = {"sha256": remit_verify.sha256(huge), "size": len(huge)}
    manifest["files"]["checkpoint"] = listed
    changed = {**made, "checkpoint": huge, "manifest.json": canonical(manifest)}
    with pytest.raises(NotVerified, match="not those of a log of 1000000000000000 records"):
        verify(Files.of(changed), signer_roots)


def test_a_folder_that_cannot_be_read_is_misuse() -> None:
    """A sentence, not a traceback. Root reads everything, so somebody else has to try, where they may look at all."""
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom remit.remit_verify import Files, Misuse\n"
        "os.geteuid() or os.setuid(65534)\n"
        "try:\n    Files.open(Path(sys.argv[1]))\nexcept Misuse as error:\n    print(error)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "records").mkdir(mode=0)
        command = [sys.executable, "-c", script, folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        (Path(folder) / "records").chmod(0o700)
    assert (done.stderr, done.returncode) == ("", 0)
    assert "cannot read a bundle" in done.stdout


SAYS = "user:carol@acme.com\x1b[2J\nVerified: the whole log\u202e"


def test_nothing_that_a_record_says_moves_the_cursor(
    app: remit.App,
    session_id: str,
    exporting: Callable[..., Exported],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No escape, no line end and no turned writing reaches the terminal, be the bundle good or not."""
    assert session_id
    files = read(exporting().path)
    key = log_key(app.ledger.home)

    def odd(leaves: list[Leaf]) -> None:
        leaf = next(leaf for leaf in leaves if leaf["type"] == "grant.issued")
        leaf["data"]["issuer"]["subject"] = SAYS

    good = forge(files, key, lambda leaves: None, by={**CLAIMED, "subject": SAYS})
    bad = forge(files, key, odd)
    for name, content, code in (("good.zip", good, 0), ("bad.zip", bad, 1)):
        (tmp_path / name).write_bytes(remit_verify.write_zip(content))
        assert remit_verify.main([str(tmp_path / name), "--key", app.ledger.verifier_key]) == code
        said = capsys.readouterr()
        text = said.out + said.err
        assert "carol@acme.com\\x1b[2J\\nVerified: the whole log\\u202e" in text
        assert all(letter.isprintable() or letter == "\n" for letter in text)
        assert not any(line.startswith("Verified: the whole log\\u202e") for line in text.split("\n"))


def test_a_pointer_has_one_spelling(path: Path) -> None:
    """`x/arguments` is not `/arguments`: the same value twice would be counted twice."""
    files = read(path)
    name = next(name for name in files if name.startswith("disclosures/"))
    index = int(name.removeprefix("disclosures/").removesuffix(".json"))
    found: dict[str, Any] = json.loads(files[name])
    seen = remit_verify.Seen(dense=lambda index: False, only=None, whole=False)
    leaf = json.loads(files[f"records/{index}"])
    seen.commitments[index] = (leaf["id"], leaf["private"])
    assert check_disclosures(f"{index}.json", canonical(found), seen) > 0
    found["values"].append({**found["values"][0], "path": "x" + found["values"][0]["path"]})
    with pytest.raises(NotVerified, match="no pointer"):
        check_disclosures(f"{index}.json", canonical(found), seen)


def test_deep_nesting_is_a_sentence(path: Path) -> None:
    """In a record, in a manifest, in what is disclosed: refused, never a traceback."""
    deep = b"[" * 5_000 + b"]" * 5_000
    with pytest.raises(NotVerified, match="not canonical"):
        remit_verify.read_json(deep, "a file")
    nested: Any = {}
    for _ in range(900):
        nested = {"a": nested}
    body = read(path)["exported/record"]
    leaf = json.loads(body)
    leaf["data"] |= {"x": nested}
    try:
        written = json.dumps(leaf, sort_keys=True, separators=(",", ":")).encode()
        found = remit_verify.read_record(written, 0)
    except NotVerified:
        return
    seen = remit_verify.Seen(dense=lambda index: False, only=None, whole=False)
    with pytest.raises(NotVerified):
        remit_verify.check_statements(0, found, seen, "acme.com/x")


def test_a_number_in_a_policy_that_no_group_has_is_misuse() -> None:
    """However long."""
    for count in ("9" * 5_000, "٢", "-1", "1.0"):
        with pytest.raises(Misuse, match="policy"):
            read_policy(f"group g {count} a b\nquorum g\n".encode())
