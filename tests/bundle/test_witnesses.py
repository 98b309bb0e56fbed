"""A witness's word on the head: how many of whom, how long ago."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import remit
from remit.bundle.exporting import Exported
from remit.remit_verify import COSIGNER, Key, Misuse, NotVerified, Roots, read_policy, roots_of
from tests import stores
from tests.bundle.conftest import Bundle

pytestmark = pytest.mark.sqlite  # cosignatures are put into its file

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class Witness:
    """Cosigns as c2sp.org/tlog-cosignature says, with nothing of ours."""

    def __init__(self, name: str) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.key = Key(name, COSIGNER, self._key.public_key().public_bytes_raw())

    def line(self, note: bytes, moment: datetime) -> bytes:
        """The line below a checkpoint."""
        body = note.partition(b"\n\n")[0] + b"\n"
        stamp = int(moment.timestamp())
        signature = self._key.sign(b"cosignature/v1\ntime %d\n" % stamp + body)
        raw = self.key.key_id + stamp.to_bytes(8, "big") + signature
        return b"\xe2\x80\x94 %b %b\n" % (self.key.name.encode(), base64.b64encode(raw))


@pytest.fixture
def witnesses() -> list[Witness]:
    """Three."""
    return [Witness(f"witness-{name}.example.com") for name in ("east", "west", "north")]


@pytest.fixture
def cosigned(
    app: remit.App,
    session_id: str,
    exporting: Callable[..., Exported],
    tmp_path: Path,
    witnesses: list[Witness],
) -> Bundle:
    """A bundle whose head was cosigned by two of three, one an hour ago, one two days ago, in the ledger itself."""
    [(size, note)] = stores.query(tmp_path, "SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1")
    seen = [(witnesses[0], timedelta(hours=1)), (witnesses[1], timedelta(days=2)), (witnesses[1], timedelta(days=3))]
    for witness, ago in [*seen, (Witness("stranger.example.com"), timedelta(0))]:
        line, stamp = witness.line(note, NOW - ago).hex(), int((NOW - ago).timestamp())
        stores.tamper(
            tmp_path,
            "INSERT INTO cosignature (id, size, witness, time, line) "
            f"VALUES ('{size}/{witness.key.key_id.hex()}/{stamp}', {size}, '{witness.key.vkey}', {stamp}, x'{line}')",
        )
    return Bundle(exporting(session=session_id).path, app.ledger.verifier_key)


def roots(app: remit.App, witnesses: list[Witness], **options: Any) -> Roots:
    """What an auditor gives."""
    made = roots_of([app.ledger.verifier_key], [one.key.vkey for one in witnesses], **options)
    return Roots(made.keys, made.quorum, made.fresh, made.since, NOW)


def test_enough_witnesses_are_enough(app: remit.App, cosigned: Bundle, witnesses: list[Witness]) -> None:
    """k of n, by the keys that the auditor gives; lines of strangers are left aside."""
    assert cosigned.verify().witnesses == {}
    found = cosigned.verify(roots(app, witnesses[:2]))
    assert set(found.witnesses) == {"witness-east.example.com", "witness-west.example.com"}
    assert not any("witness" in note for note in found.notes)
    assert cosigned.verify(roots(app, witnesses, quorum=2)).witnesses == found.witnesses
    with pytest.raises(NotVerified, match="not enough witnesses"):
        cosigned.verify(roots(app, witnesses))
    with pytest.raises(NotVerified, match="found none"):
        cosigned.verify(roots(app, witnesses[2:]))


def test_a_head_that_is_too_old_shows_a_log_taken_back(
    app: remit.App, cosigned: Bundle, witnesses: list[Witness]
) -> None:
    """Freshness is the age of the cosignatures that make the quorum."""
    east, west, _ = witnesses
    assert cosigned.verify(roots(app, [east], fresh="2h"))
    assert cosigned.verify(roots(app, [east, west], quorum=1, fresh="24h"))
    assert cosigned.verify(roots(app, [east, west], fresh="3d"))
    for given, options in (([east], {"fresh": "30m"}), ([east, west], {"fresh": "24h"}), ([west], {"fresh": "24h"})):
        with pytest.raises(NotVerified, match="not fresh"):
            cosigned.verify(roots(app, given, **options))
    with pytest.raises(Misuse, match="a witness's word"):
        roots(app, [], fresh="24h")
    for wrong in ("24", "h", "0h", "1y", "-1h"):
        with pytest.raises(Misuse, match="span of time"):
            roots(app, [east], fresh=wrong)


def test_a_cosignature_from_the_future_is_refused(app: remit.App, cosigned: Bundle, witnesses: list[Witness]) -> None:
    """A clock that runs ahead would keep an old head fresh for as long."""
    made = roots(app, witnesses[:1])
    with pytest.raises(NotVerified, match="yet to come"):
        cosigned.verify(Roots(made.keys, made.quorum, made.fresh, None, NOW - timedelta(hours=2)))


def test_a_cosignature_of_another_head_is_refused(app: remit.App, cosigned: Bundle, witnesses: list[Witness]) -> None:
    """Every bit of a cosignature that is asked for counts, whatever the manifest says of the file."""
    note = cosigned.files["checkpoint"]
    made = roots(app, witnesses[:1])
    head = made.head(note, "checkpoint")
    assert made.check_witnessed(head)
    line = next(one for one in note.split(b"\n") if b"witness-east" in one)
    encoded = line.rpartition(b" ")[2]
    raw = base64.b64decode(encoded)
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        other = note.replace(encoded, base64.b64encode(changed))
        with pytest.raises(NotVerified):
            assert made.check_witnessed(made.head(other, "checkpoint")), bit


def test_a_policy_file_says_which_witnesses_are_enough(
    app: remit.App, cosigned: Bundle, witnesses: list[Witness], tmp_path: Path
) -> None:
    """c2sp.org/tlog-policy: groups of groups, a number, all or any."""
    names = ["east", "west", "north"]
    defined = "".join(f"witness {name} {one.key.vkey} https://x\n" for name, one in zip(names, witnesses, strict=True))
    file = tmp_path / "policy"
    head = f"# who has to agree\n\nlog {app.ledger.verifier_key}\n{defined}"

    def check(lines: str) -> Any:
        file.write_text(head + lines, encoding="utf-8")
        made = roots_of([], policy=file)
        return cosigned.verify(Roots(made.keys, made.quorum, None, None, NOW))

    assert check("quorum none\n")
    assert check("quorum east\n")
    assert check("group g 2 east west north\nquorum g\n")
    assert check("group g any west north\n\tgroup h  all east g \nquorum h\n")
    for lines in ("quorum north\n", "group g all east north\nquorum g\n", "group g 3 east west north\nquorum g\n"):
        with pytest.raises(NotVerified, match="not enough"):
            check(lines)
    for lines in (
        "",
        "quorum nobody\n",
        "quorum east\nquorum east\n",
        "group g 0 east\nquorum g\n",
        "group g 3 east west\nquorum g\n",
        "group g any east east\nquorum g\n",
        "group g any east\ngroup h any east\nquorum h\n",
        "group none any east\nquorum none\n",
        "witness east " + witnesses[0].key.vkey + "\nquorum east\n",
        "witness again " + witnesses[0].key.vkey + "\nquorum east\n",
        "witness log " + app.ledger.verifier_key + "\nquorum log\n",
        "quorum\n",
        "witnesses east\nquorum east\n",
    ):
        with pytest.raises(Misuse, match="policy"):
            check(lines)
    with pytest.raises(Misuse, match="give it, or"):
        roots_of([], [witnesses[0].key.vkey], policy=file)
    assert read_policy(b"quorum none\n")[1].needed == 0


def test_wrong_keys_of_witnesses_are_misuse(app: remit.App, witnesses: list[Witness]) -> None:
    """A log's key is no witness, one witness is not two, and none is not some."""
    key, east = app.ledger.verifier_key, witnesses[0].key.vkey
    with pytest.raises(Misuse, match="not a witness's key"):
        roots_of([key], [key])
    with pytest.raises(Misuse, match="not a log's key"):
        roots_of([east])
    with pytest.raises(Misuse, match="twice"):
        roots_of([key], [east, east])
    for quorum in (0, 2, -1):
        with pytest.raises(Misuse, match="cannot be enough"):
            roots_of([key], [east], quorum=quorum)
    for wrong in (east[:-4] + "AAA=", east.replace("+", "-"), "x+00000000+" + east.rpartition("+")[2], "+" + east):
        with pytest.raises(Misuse):
            roots_of([key], [wrong])


def test_the_export_s_own_head_carries_one_signature(cosigned: Bundle) -> None:
    """Lines that nobody checks would be bits that nobody sees flipped: the manifest does not cover that file."""
    proof = cosigned.files["exported/proof.tlog-proof"]
    assert proof.count(b"\xe2\x80\x94") == 1
    more = proof + Witness("stranger.example.com").line(proof.partition(b"\n\n")[2], NOW)
    with pytest.raises(NotVerified, match="nobody checks"):
        cosigned.verify(files={**cosigned.files, "exported/proof.tlog-proof": more})


def test_a_kept_checkpoint_is_continued(
    app: remit.App, session_id: str, exporting: Callable[..., Exported], bundle: Bundle, tmp_path: Path
) -> None:
    """What an auditor kept from an earlier bundle: the log goes on from it, or history was rewritten."""
    kept = tmp_path / "kept"
    kept.write_bytes(bundle.files["checkpoint"])
    key = app.ledger.verifier_key
    given = roots_of([key], since=kept)
    assert bundle.verify(given)  # the same head
    later = Bundle(exporting(session=session_id, since=kept).path, key)
    assert later.verify(given)
    [name] = [name for name in later.files if name.startswith("consistency/")]
    assert json.loads(later.files["manifest.json"])["files"][name]
    whole = Bundle(exporting(since=kept).path, key)
    assert whole.verify(given)
    without = Bundle(exporting(session=session_id).path, key)
    with pytest.raises(NotVerified, match="export it again with --since"):
        without.verify(given)
    newer = tmp_path / "newer"
    newer.write_bytes(without.files["checkpoint"])
    with pytest.raises(NotVerified, match="it is older"):
        bundle.verify(roots_of([key], since=newer))
    forged = tmp_path / "forged"
    forged.write_bytes(bundle.files["checkpoint"].replace(b"\n", b"\n1", 1))
    with pytest.raises(NotVerified):
        later.verify(roots_of([key], since=forged))


def test_a_head_of_another_log_cannot_be_continued(
    app: remit.App, session_id: str, exporting: Callable[..., Exported], bundle: Bundle, tmp_path: Path
) -> None:
    """The exporter says so, rather than proving nothing."""
    other = tmp_path / "other"
    other.write_bytes(bundle.files["checkpoint"].replace(app.ledger.origin.encode(), b"acme.com/other"))
    with pytest.raises(remit.VerificationError, match="no earlier head"):
        exporting(session=session_id, since=other)
    with pytest.raises(remit.UsageError, match="cannot read"):
        exporting(session=session_id, since=tmp_path / "nothing")
    other.write_text("nonsense", encoding="utf-8")
    with pytest.raises(remit.UsageError, match="not a checkpoint"):
        exporting(session=session_id, since=other)
