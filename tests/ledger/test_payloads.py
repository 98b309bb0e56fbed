"""What a leaf commits to: nothing readable in the leaf, everything provable beside it, all of it erasable."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

import pytest

from remit.errors import Unrepresentable, UsageError, VerificationError
from remit.ledger import Encoded, Ledger, Record
from remit.ledger.canonical import canonical
from remit.ledger.payload import MAX_NAMED
from remit.ledger.salting import commitment, pointer, salt
from remit.ledger.values import encode
from tests.ledger.conftest import Place, append

ARGUMENTS = {"order": "ord_4711", "amount": Decimal("19.90"), "to": ["ravi@acme.com", "bob@acme.com"]}


def intent(ledger: Ledger, arguments: Any = ARGUMENTS, named: frozenset[str] = frozenset({"order", "to"})) -> Record:
    """A record with private arguments."""
    draft = ledger.draft(
        "call.intent",
        session="s-1",
        data={"call": "c-1", "tool": "payments.refund", "decision": {"effect": "permit"}},
        private={"arguments": arguments, "accesses": ["write payments://ord_4711"], "reason": "small refund"},
        named=named,
    )
    appended = ledger.run(lambda txn: txn.append(draft))
    ledger.wait_sequenced([appended.id])
    record = ledger.record(appended.id)
    assert record is not None
    return record


def test_no_argument_stands_in_the_leaf_or_in_the_database(ledger: Ledger, place: Place) -> None:
    """Neither values nor their bare hashes: only keyed commitments, and equal values give different ones."""
    first, second = intent(ledger), intent(ledger)
    assert first.private["arguments"]["commitment"] != second.private["arguments"]["commitment"]
    ledger.close()
    raw = b"".join(path.read_bytes() for path in place.database.parent.iterdir() if path.is_file())
    for secret in (b"ord_4711", b"ravi@acme.com", b"19.90", b"small refund"):
        assert secret not in raw


def test_commitments_cover_the_whole_and_named_parts(ledger: Ledger) -> None:
    """One commitment over the arguments, one for each argument that the grant names, and the length of lists."""
    record = intent(ledger)
    assert set(record.private) == {"arguments", "accesses", "reason"}
    assert set(record.private["arguments"]["each"]) == {"order", "to"}
    assert record.private["accesses"]["count"] == 1
    assert record.disclosed() == {
        "arguments": encode(ARGUMENTS),
        "accesses": ["write payments://ord_4711"],
        "reason": "small refund",
    }


def test_one_argument_is_disclosed_without_the_others(ledger: Ledger) -> None:
    """Path, value and salt prove one argument; the salt of one path says nothing about another."""
    draft = ledger.draft(
        "auth.succeeded", data={}, private={"arguments": {"a/b": 1, "c~": 2}}, named=frozenset({"a/b"})
    )
    assert draft.private is not None
    assert set(draft.private["arguments"]["each"]) == {"a/b"}
    key = bytes(range(32))
    assert pointer("arguments", "a/b", "c~") == "/arguments/a~1b/c~0"
    assert salt(key, "/arguments/a~1b") != salt(key, "/arguments")
    told = commitment(salt(key, "/arguments/a~1b"), canonical(1))
    assert told == commitment(salt(key, "/arguments/a~1b"), b"1")
    assert told != commitment(salt(key, "/arguments/a~1b"), b"2")


def test_a_leaf_is_bounded_however_many_arguments_there_are(ledger: Ledger) -> None:
    """Beyond the most that are named, arguments are covered by the one commitment over all."""
    many = {f"a{n:03}": n for n in range(500)}
    record = intent(ledger, many, frozenset(many))
    assert len(record.private["arguments"]["each"]) == MAX_NAMED
    assert record.private["accesses"]["count"] == 1
    assert len(record.body) < 8_000


def test_a_value_that_was_encoded_already_is_taken_as_it_is(ledger: Ledger) -> None:
    """Digest, commitment and payload can share one encoding."""
    encoded = Encoded(encode(ARGUMENTS))
    assert encoded.canonical == canonical(encoded.tree)
    assert intent(ledger, encoded).disclosed() == intent(ledger).disclosed()


def test_private_values_beyond_the_cap_are_refused(ledger: Ledger) -> None:
    """Each within the cap and together beyond that of a payload, or escaped beyond it: refused before it is written."""
    for private in ({f"p{n}": "x" * 1_000_000 for n in range(5)}, {"a": "\x01" * 300_000}, {"a": ["x" * 600_000] * 2}):
        with pytest.raises(Unrepresentable) as refused:
            ledger.draft("auth.succeeded", data={}, private=private)
        assert refused.value.code == "too_large"


def test_nothing_private_needs_no_payload(ledger: Ledger) -> None:
    """A record without private values discloses an empty map, not `erased`."""
    append(ledger)
    assert next(ledger.records(start=1)).disclosed() == {}


@pytest.mark.requirement("R6")
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE payload SET ciphertext = (SELECT ciphertext FROM payload ORDER BY record_id DESC LIMIT 1)",
        "UPDATE payload SET wrapped_key = (SELECT wrapped_key FROM payload ORDER BY record_id DESC LIMIT 1)",
        "UPDATE payload SET ciphertext = CAST(x'00' || substr(ciphertext, 2) AS BLOB)",
        "UPDATE payload SET wrapped_key = substr(wrapped_key, 1, 20)",
        "UPDATE payload SET ciphertext = x''",
        "UPDATE payload SET ciphertext = (SELECT ciphertext FROM payload ORDER BY record_id DESC LIMIT 1),"
        " wrapped_key = (SELECT wrapped_key FROM payload ORDER BY record_id DESC LIMIT 1)",
    ],
)
def test_a_payload_that_was_changed_or_swapped_does_not_open(ledger: Ledger, place: Place, change: str) -> None:
    """Ciphertext and key are bound to their record; another record's does not open in its place."""
    first = intent(ledger)
    intent(ledger)
    place.tamper(change)
    with pytest.raises(VerificationError, match=first.id):
        first.disclosed()
    with pytest.raises(VerificationError) as found:
        ledger.verify()
    assert found.value.index == first.index


def erase(ledger: Ledger, *records: str) -> None:
    """Erase with the record that says so."""

    def job(txn: Any) -> None:
        txn.erase(records)
        txn.append(ledger.draft("evidence.erased", data={"records": list(records), "basis": "request"}))

    ledger.run(job)


@pytest.mark.requirement("I9")
def test_erasing_takes_the_text_and_leaves_the_proof(ledger: Ledger, place: Place) -> None:
    """Key and ciphertext are gone from the files, the leaf stays, everything verifies and says what was erased."""
    kept, gone = intent(ledger), intent(ledger)
    [(ciphertext,)] = place.query(f"SELECT ciphertext FROM payload WHERE record_id = '{gone.id}'")
    erase(ledger, gone.id)
    assert gone.disclosed() is None
    assert kept.disclosed() is not None
    found = ledger.verify()
    assert (found.erased, found.payloads_opened) == (1, True)
    ledger.close()
    raw = b"".join(path.read_bytes() for path in place.database.parent.iterdir() if path.is_file())
    assert ciphertext not in raw
    assert ciphertext[40:80] not in raw


@pytest.mark.requirement("R6")
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE payload SET ciphertext = NULL, wrapped_key = NULL",
        "DELETE FROM payload",
        "UPDATE payload SET wrapped_key = NULL",
    ],
)
def test_text_that_vanished_without_a_record_is_no_erasure(ledger: Ledger, place: Place, change: str) -> None:
    """Only a record makes a missing payload an erased one."""
    record = intent(ledger)
    place.tamper(change)
    with pytest.raises(VerificationError) as found:
        ledger.verify()
    assert found.value.index == record.index


def test_erasing_without_saying_so_is_refused(ledger: Ledger) -> None:
    """The job fails and the text stays, whether nothing was said or another record was named."""
    record = intent(ledger)

    def silent(txn: Any) -> None:
        txn.erase([record.id])

    def other(txn: Any) -> None:
        txn.erase([record.id])
        txn.append(ledger.draft("evidence.erased", data={"records": ["r-other"]}))

    for job in (silent, other):
        with pytest.raises(UsageError, match=r"evidence\.erased"):
            ledger.run(job)
    assert record.disclosed() is not None
    ledger.verify()


def test_an_erasure_that_was_recorded_and_not_done_is_found(ledger: Ledger) -> None:
    """The record says erased, the text is there: somebody promised what did not happen."""
    record = intent(ledger)
    append_erased = ledger.draft("evidence.erased", data={"records": [record.id]})
    ledger.run(lambda txn: txn.append(append_erased))
    with pytest.raises(VerificationError, match="still there"):
        ledger.verify()


def test_without_the_key_the_rest_still_verifies(ledger: Ledger, place: Place) -> None:
    """A verifier who was not given the key checks everything but the text, and says so; nothing new can be kept."""
    record = intent(ledger)
    ledger.close()
    (place.home / "kek.key").unlink()
    with place.open() as keyless:
        assert next(keyless.records(start=record.index)).disclosed() is None
        assert dataclasses.asdict(keyless.verify())["payloads_opened"] is False
        with pytest.raises(UsageError, match=r"kek\.key"):
            keyless.draft("auth.succeeded", data={}, private={"a": 1})
