"""Signed notes and checkpoints: one text for one note, and nothing else is accepted."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from remit.errors import VerificationError
from remit.ledger.merkle import leaf_hash
from remit.ledger.notes import Cosigner, Signer, Verifier, WitnessKey, cosignatures, open_checkpoint, open_note

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNER = Signer("acme.com/remit-prod", KEY)
ROOT = leaf_hash(b"only")
NOTE = SIGNER.checkpoint(1, ROOT)


def test_a_published_note_and_key_are_read() -> None:
    """The example of Go's sumdb/note package (PeterNeumann) verifies here as it does there."""
    vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    note = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
        "\n"
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    )
    assert open_note(note.encode(), Verifier.parse(vkey)).startswith(b"If you think")


def test_a_checkpoint_says_origin_size_and_root() -> None:
    """What was signed comes back, and the layout is that of tlog-checkpoint."""
    found = open_checkpoint(NOTE, SIGNER.verifier)
    assert (found.origin, found.size, found.root) == ("acme.com/remit-prod", 1, ROOT)
    lines = NOTE.decode().split("\n")
    assert lines[:3] == ["acme.com/remit-prod", "1", base64.b64encode(ROOT).decode()]
    assert lines[3] == ""
    assert lines[4].startswith("— acme.com/remit-prod ")


@pytest.mark.requirement("R6")
def test_every_flipped_bit_of_a_checkpoint_is_refused() -> None:
    """No bit of a note is slack: not in base64, not in line ends, not in names."""
    for bit in range(len(NOTE) * 8):
        changed = bytearray(NOTE)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VerificationError):
            open_checkpoint(bytes(changed), SIGNER.verifier)


@pytest.mark.requirement("R6")
def test_every_flipped_bit_of_a_verifier_key_is_refused() -> None:
    """A vkey carries the hash of its own name and key."""
    text = SIGNER.verifier.vkey.encode()
    assert Verifier.parse(text.decode()) == SIGNER.verifier
    for bit in range(len(text) * 8):
        changed = bytearray(text)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VerificationError):
            Verifier.parse(bytes(changed).decode("latin-1"))


def _with_signature(line: str) -> bytes:
    return NOTE + line.encode()


def test_signatures_of_others_are_left_aside() -> None:
    """A witness may add its line; the log's own still counts."""
    witness = Signer("witness.example.com", Ed25519PrivateKey.generate())
    line = witness.checkpoint(1, ROOT).decode().split("\n")[-2]
    assert open_checkpoint(_with_signature(line + "\n"), SIGNER.verifier).size == 1
    with pytest.raises(VerificationError):
        open_checkpoint(witness.checkpoint(1, ROOT), SIGNER.verifier)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\n",
        NOTE[:-1],
        NOTE + b"\n",
        NOTE.replace(b"\n", b"\r\n"),
        NOTE.replace(b"\n1\n", b"\n01\n"),
        NOTE.replace(b"\n1\n", b"\n+1\n"),
        NOTE.replace("— ".encode(), b"- "),
        NOTE + NOTE.split(b"\n\n")[1],
        b"x" * 1_000_001,
        b"\xff" + NOTE,
        NOTE.replace(b"acme.com/remit-prod\n1", b"acme.com/remit-prod\x0b\n1"),
    ],
    ids=range(12),
)
def test_a_malformed_note_is_refused(note: bytes) -> None:
    """Truncated, padded, re-ended, doubled, over-long: no reader may see two notes in one text."""
    with pytest.raises(VerificationError):
        open_checkpoint(note, SIGNER.verifier)


def _signed(body: str) -> bytes:
    return SIGNER.note(body.encode())


@pytest.mark.parametrize(
    "body",
    [
        "acme.com/remit-prod\n1\n",
        f"acme.com/remit-prod\n1\n{base64.b64encode(ROOT).decode()}\nextension\n",
        f"acme.com/other\n1\n{base64.b64encode(ROOT).decode()}\n",
        f"acme.com/remit-prod\n1\n{base64.b64encode(ROOT[:31]).decode()}\n",
        f"acme.com/remit-prod\n-1\n{base64.b64encode(ROOT).decode()}\n",
        "acme.com/remit-prod\n1\nnot base64!\n",
    ],
    ids=range(6),
)
def test_a_signed_text_that_is_no_checkpoint_of_this_log_is_refused(body: str) -> None:
    """A good signature does not make a checkpoint of another log, or of another shape, ours."""
    with pytest.raises(VerificationError):
        open_checkpoint(_signed(body), SIGNER.verifier)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\x00", "é\u2028x y"])
def test_a_name_that_could_be_read_in_two_ways_is_refused(name: str) -> None:
    """Names hold no space, plus or control character."""
    with pytest.raises(VerificationError):
        Signer(name, KEY)


WITNESS = Cosigner("witness.example.com/w1", Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
MOMENT = 1_763_970_000
COSIGNED = NOTE + WITNESS.line(open_note(NOTE, SIGNER.verifier), MOMENT)


def test_a_cosignature_says_who_saw_a_head_and_when() -> None:
    """The layout is that of tlog-cosignature: key id, eight bytes of time, signature over header, time and body."""
    assert cosignatures(COSIGNED, [WITNESS.key]) == {WITNESS.key: MOMENT}
    raw = base64.b64decode(COSIGNED.decode().split("\n")[-2].rpartition(" ")[2])
    assert (raw[:4], int.from_bytes(raw[4:12], "big"), len(raw)) == (WITNESS.key.key_id, MOMENT, 4 + 8 + 64)
    signed = f"cosignature/v1\ntime {MOMENT}\n".encode() + open_note(NOTE, SIGNER.verifier)
    Ed25519PublicKey.from_public_bytes(WITNESS.key.public_key).verify(raw[12:], signed)
    assert WitnessKey.parse(WITNESS.key.vkey) == WITNESS.key


def test_one_key_is_not_both_a_log_s_and_a_witness_s() -> None:
    """The algorithm is part of the key id, so a witness's key opens no note, and a log's cosigns none."""
    with pytest.raises(VerificationError, match="algorithm 4"):
        WitnessKey.parse(SIGNER.verifier.vkey)
    with pytest.raises(VerificationError, match="algorithm 1"):
        Verifier.parse(WITNESS.key.vkey)
    assert cosignatures(NOTE, [WITNESS.key]) == {}


@pytest.mark.requirement("R6")
def test_every_flipped_bit_of_a_cosigned_checkpoint_is_refused_or_leaves_it_without_its_witness() -> None:
    """A flipped bit in the witness's name or key id makes it a stranger's line, which counts for nothing."""
    for bit in range(len(COSIGNED) * 8):
        changed = bytearray(COSIGNED)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            open_checkpoint(bytes(changed), SIGNER.verifier)
            found = cosignatures(bytes(changed), [WITNESS.key])
        except VerificationError:
            continue
        assert found == {}


def test_a_cosignature_of_another_time_or_another_head_is_refused() -> None:
    """The time is signed, and so is the head."""
    raw = base64.b64decode(COSIGNED.decode().split("\n")[-2].rpartition(" ")[2])
    for changed in (raw[:4] + (MOMENT + 1).to_bytes(8, "big") + raw[12:], raw[:4] + bytes(8) + raw[12:], raw[:40]):
        line = f"— {WITNESS.key.name} {base64.b64encode(changed).decode()}\n".encode()
        with pytest.raises(VerificationError):
            cosignatures(NOTE + line, [WITNESS.key])
    other = SIGNER.checkpoint(2, ROOT) + COSIGNED.removeprefix(NOTE)
    with pytest.raises(VerificationError):
        cosignatures(other, [WITNESS.key])
