"""Verifying quickly accepts nothing that verifying slowly refuses: forms of leaves, stretches, several processes."""

from __future__ import annotations

import random
import string
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.errors import UsageError, VerificationError
from remit.ledger import Draft, Ledger, Txn
from remit.ledger.canonical import canonical
from remit.ledger.forms import Forms, plain
from remit.ledger.merkle import Frontier, leaf_hash
from remit.ledger.records import RECORD_TYPES, parse_leaf
from tests.ledger.conftest import Place, append

RECORDS = 1_200
"""More than two stretches."""

HASH = "0f" * 32
PLAIN = st.text(string.ascii_letters + string.digits + " -_:/.,{}[]", max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**53 - 1) | PLAIN | st.text(max_size=5) | st.floats(0.001, 9.5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN, inner, max_size=3),
    max_leaves=6,
)
PRIVATE = st.dictionaries(
    st.sampled_from(["arguments", "reason", "result"]),
    st.fixed_dictionaries({"commitment": st.just(HASH)}, optional={"count": st.integers(0, 9)}),
    max_size=2,
)
PIECES = [b'"', b"\\", b"\x00", b"\n", b"\xc3\xa9", b"0", b"-", b".", b"e", b"{", b"}", b"[", b"]", b",", b":", b" "]


@st.composite
def leaves(draw: st.DrawFn) -> dict[str, Any]:
    """A leaf that a writer could have written."""
    kind = draw(st.sampled_from(["call.intent", "call.outcome", "auth.failed", "review.viewed", "session.opened"]))
    leaf: dict[str, Any] = {
        "data": {key: draw(VALUES) for key in RECORD_TYPES[kind].required}
        | draw(st.dictionaries(PLAIN, VALUES, max_size=2)),
        "id": draw(st.sampled_from(["r-1", "r-01a20f17c77552ca4e172a97ae649fa8"])),
        "mono": draw(st.integers(0, 2**53 - 1)),
        "prev": draw(st.sampled_from(["", HASH])),
        "time": "2026-11-24T19:45:46.357959Z",
        "type": kind,
        "v": 1,
        "writer": "w-1",
        "wseq": draw(st.integers(0, 2**40)),
    }
    if draw(st.booleans()):
        leaf |= {"session": "s-1", "sseq": draw(st.integers(0, 99))}
    if draw(st.booleans()):
        leaf["private"] = draw(PRIVATE)
    return leaf


def changed(draw: st.DrawFn, body: bytes) -> bytes:
    """A few bytes of a leaf replaced, put in, taken away, moved, or doubled."""
    for _ in range(draw(st.integers(1, 3))):
        at, end = sorted((draw(st.integers(0, len(body))), draw(st.integers(0, len(body)))))
        end = min(end, at + 40)
        what = draw(st.integers(0, 4))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=2))
        if what == 0:
            body = body[:at] + piece + body[at + len(piece) :]
        elif what == 1:
            body = body[:at] + piece + body[at:]
        elif what == 2:
            body = body[:at] + body[end:]
        elif what == 3:
            body = body[:end] + body[at:end] + body[end:]
        else:
            body = body.replace(draw(st.sampled_from([b"0", b"1", b"a", b"2026", b"null"])), piece, 1)
    return body


@st.composite
def learnt(draw: st.DrawFn) -> tuple[bytes, bytes, bytes]:
    """A leaf, one of the same form as far as chance has it, and either of them changed."""
    one, other = draw(leaves()), draw(leaves())
    if draw(st.booleans()):
        other = one | {"id": "r-2", "mono": 7, "prev": HASH, "wseq": draw(st.integers(0, 2**53 - 1))}
    bodies = canonical_or_plain(one), canonical_or_plain(other)
    return *bodies, changed(draw, draw(st.sampled_from(bodies)))


def canonical_or_plain(leaf: dict[str, Any]) -> bytes:
    """The bytes of a leaf; numbers that it cannot say are made smaller."""
    return canonical({key: min(value, 2**53 - 1) if type(value) is int else value for key, value in leaf.items()})


def quickly(forms: Forms, body: bytes) -> str | None:
    """The type under which a form takes these bytes for a leaf."""
    if not plain([body]):
        return None
    for kind, known in forms.by_type.items():
        for form in known:
            match = form.fullmatch(body.decode("ascii"))
            if match is not None:
                leaf = parse_leaf(body, 0)
                assert (leaf["id"], leaf["prev"], leaf["type"]) == (match[1], match[2], kind)
                assert (form.session, form.private) == ("session" in leaf, "private" in leaf)
                return kind
    return None


@settings(max_examples=400, deadline=None)
@given(learnt())
def test_whatever_a_form_takes_for_a_leaf_parses_as_one(found: tuple[bytes, bytes, bytes]) -> None:
    """A leaf that is recognised without parsing is one that `parse_leaf` accepts, with the same id, type and prev."""
    one, other, broken = found
    forms = Forms()
    for body in (one, one, other, other):
        if plain([body]):
            forms.learn(parse_leaf(body, 0))

    for body in found:
        quickly(forms, body)
    if plain([one]):
        assert quickly(forms, one) is not None
    if quickly(forms, broken) is not None:
        parse_leaf(broken, 0)


def test_a_form_is_made_of_the_second_leaf_and_none_of_types_that_tell_the_verifier_something() -> None:
    """Types whose data the verifier reads, and leaves with artefacts, are parsed each time."""
    leaf = parse_leaf(canonical(_leaf("auth.failed", {"why": "no key"})), 0)
    forms = Forms()

    forms.learn(leaf)
    assert forms.by_type == {}
    forms.learn(leaf)
    assert len(forms.by_type["auth.failed"]) == 1

    for telling in (
        _leaf("session.closed", {"writers": {"w-1": 3}}),
        _leaf("evidence.erased", {"records": ["r-1"]}),
        _leaf("key.rotated", {"key": "log"}),
        _leaf("recorder.gap", {"lost": 3}),
        _leaf("auth.failed", {}) | {"artefacts": ["sha256:" + HASH]},
    ):
        for _ in range(3):
            forms.learn(parse_leaf(canonical(telling), 0))
    assert list(forms.by_type) == ["auth.failed"]
    assert len(forms.by_type["auth.failed"]) == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"wseq":3', b'"wseq":03'),
        (b'"wseq":3', b'"wseq":-3'),
        (b'"wseq":3', b'"wseq":3.0'),
        (b'"v":1', b'"v":1.0'),
        (b'"v":1', b'"v":true'),
        (b'"why":"no key"', b'"why":"no\nkey"'),
        (b'"why":"no key"', b'"why":"no\\u0020key"'),
        (b'"why":"no key"', b'"why" :"no key"'),
        (b'"why":"no key"', b'"why":"no key","why":"no key"'),
        (b'"prev":""', b'"prev":"' + b"0F" * 32 + b'"'),
        (b'"id":"r-1"', b'"id":"-1"'),
        (b"19:45", b"1945:"),
        (b'"writer":"w-1"', b'"writer":"w-\xc3\xa9"'),
    ],
)
def test_what_parsing_refuses_no_form_takes(before: bytes, after: bytes) -> None:
    """One spelling of one leaf: other spellings and shapes are refused by both ways."""
    body = canonical(_leaf("auth.failed", {"why": "no key"}))
    forms = Forms()
    forms.learn(parse_leaf(body, 0))
    forms.learn(parse_leaf(body, 0))
    assert quickly(forms, body) == "auth.failed"

    other = body.replace(before, after)
    assert other != body
    assert quickly(forms, other) is None
    with pytest.raises(VerificationError):
        parse_leaf(other, 0)


def _leaf(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    time = "2026-11-24T19:45:46.357959Z"
    shape = {"data": data, "id": "r-1", "mono": 5, "prev": "", "time": time, "type": kind, "v": 1}
    return shape | {"writer": "w-1", "wseq": 3}


@given(st.lists(st.integers(0, 40), max_size=12))
def test_leaves_that_are_added_together_give_the_tree_of_leaves_added_one_by_one(pieces: list[int]) -> None:
    """`Frontier.extend` is `append`, repeated."""
    together, apart, number = Frontier(), Frontier(), 0
    for piece in pieces:
        fresh = [leaf_hash(b"%d" % (number + n)) for n in range(piece)]
        number += piece
        together.extend(fresh)
        for leaf in fresh:
            apart.append(leaf)
        assert (together.size, together.peaks) == (apart.size, apart.peaks)


# -- several processes


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A closed ledger of several stretches: sessions that go on in the next, payloads, erasures."""
    place = Place(tmp_path_factory.mktemp("long"))
    for part in range(2):
        with place.create() if part == 0 else place.open() as ledger:
            _fill(ledger, part)
    return place


def _append_all(drafts: list[Draft], txn: Txn) -> None:
    for draft in drafts:
        txn.append(draft)


def _fill(ledger: Ledger, part: int) -> None:
    for at in range(0, RECORDS // 2, 50):
        drafts = [_draft(ledger, n) for n in range(at, at + 50)]
        ledger.run(partial(_append_all, drafts))
    kept = [record for record in ledger.records() if record.private]
    chosen = kept[3 + part].id

    def erase(txn: Any) -> None:
        txn.erase([chosen])
        txn.append(ledger.draft("evidence.erased", data={"records": [chosen]}))

    ledger.run(erase)


def _draft(ledger: Ledger, number: int) -> Any:
    session = f"s-{number % 7}" if number % 3 else None
    private = {"arguments": {"id": number}} if number % 20 == 0 else None
    return ledger.draft("auth.succeeded", session=session, data={"n": number, "who": "ravi"}, private=private)


def verified(place: Place, jobs: int) -> Any:
    """As an auditor does it."""
    with place.open(writer=False) as ledger:
        return ledger.verify(jobs=jobs)


def test_several_processes_find_what_one_finds(long: Place) -> None:
    """Root, heads, writers, sessions and erasures are the same however many processes share the work."""
    alone, together = verified(long, 1), verified(long, 3)

    assert alone == together
    assert alone.size > RECORDS
    assert (alone.writers, alone.sessions, alone.erased) == (2, 7, 2)
    assert alone.payloads_opened


def test_how_many_processes_help_is_bounded(long: Place) -> None:
    """Neither none nor hundreds."""
    for jobs in (0, 65):
        with pytest.raises(UsageError, match="expected 1 to 64"):
            verified(long, jobs)


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE record SET body = replace(CAST(body AS TEXT), 'ravi', 'olga') WHERE rid = {early}",
        "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), 'ravi', 'olga') AS BLOB) WHERE rid = {early}",
        "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), 'ravi', 'olga') AS BLOB) WHERE rid = {late}",
        "UPDATE record SET time = '2026-01-01T00:00:00.000000Z' WHERE rid = {late}",
        "UPDATE record SET sseq = sseq + 1000 WHERE rid = {of_session}",
        "DELETE FROM leaf WHERE idx = {late}",
        "DELETE FROM record WHERE rid = {late}",
        "DELETE FROM checkpoint WHERE size > 700",
        "DELETE FROM payload WHERE record_id = (SELECT max(record_id) FROM payload)",
        "UPDATE payload SET ciphertext = x'00' WHERE record_id = (SELECT max(record_id) FROM payload)",
        "UPDATE payload SET ciphertext = NULL, wrapped_key = NULL"
        " WHERE record_id = (SELECT max(record_id) FROM payload)",
        "INSERT INTO payload VALUES ('r-0', x'00', x'00')",
        "UPDATE writer SET state = 'running'; DELETE FROM leaf WHERE idx = 0",
    ],
)
def test_several_processes_refuse_what_one_refuses(long: Place, tmp_path: Any, change: str) -> None:
    """Every change is found, at the same record and in the same words."""
    import shutil

    copied = Place(tmp_path)
    shutil.copy(long.database, copied.database)
    shutil.copytree(long.home, copied.home)
    [(of_session,)] = copied.query("SELECT max(rid) FROM record WHERE session IS NOT NULL")
    places = {"early": 40, "late": RECORDS - 60 - random.Random(change).randrange(40), "of_session": of_session}
    copied.tamper(*change.format(**places).split("; "))

    said = []
    for jobs in (1, 3):
        with pytest.raises(VerificationError) as found:
            verified(copied, jobs)
        said.append((str(found.value), found.value.index))
    assert said[0] == said[1]


def test_of_several_records_under_one_head_the_changed_one_is_named(place: Place) -> None:
    """What its writer wrote next, under a later head, tells which it was."""
    with place.create() as ledger:
        drafts = [_draft(ledger, number) for number in range(6)]
        ledger.run(partial(_append_all, drafts))
        ledger.wait_sequenced([draft.id for draft in drafts])
        append(ledger)
        found = ledger.record(drafts[5].id)
        assert found is not None
    changed = found.body.replace(b'"n":5', b'"n":4')
    place.tamper(f"UPDATE record SET body = x'{changed.hex()}' WHERE id = '{found.id}'")
    with place.open(writer=False) as ledger, pytest.raises(VerificationError, match="wrote next") as raised:
        ledger.verify()
    assert raised.value.index == found.index
