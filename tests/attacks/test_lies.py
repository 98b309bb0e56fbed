"""Evidence that is signed, in order and complete, and says what nobody signed: each lie is refused by name.

The forger holds the log's key. They do not hold a person's key, nor the deployment's for grants; what those have signed
is all that stands against them here. What then is left to them is in the matrix (`test_matrix.py`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import remit
from remit.bundle.exporting import Exported
from remit.errors import VerificationError
from remit.ledger import Ledger
from remit.ledger.canonical import canonical
from remit.remit_verify import Files, NotVerified, Roots, Verified, roots_of, verify
from tests.attacks.attacker import Database, Leaf, log_key, rewrite
from tests.attacks.forger import CLAIMED, Encode, forge, read

pytestmark = [pytest.mark.sqlite, pytest.mark.changes_evidence]


class Forger(NamedTuple):
    """A bundle of the whole log, its files, and what the forger has."""

    files: dict[str, bytes]
    roots: Roots
    key: Ed25519PrivateKey

    def verify(self, change: Callable[[list[Leaf]], object], **options: Any) -> Verified:
        """What an auditor says to the forgery."""
        return verify(Files.of(forge(self.files, self.key, change, **options)), self.roots)


@pytest.fixture
def forger(app: remit.App, session_id: str, exporting: Callable[..., Exported]) -> Forger:
    """They take the bundle of a session in which bob approved a call, and which carol judged."""
    assert session_id
    files = read(exporting().path)
    return Forger(files, roots_of([app.ledger.verifier_key]), log_key(app.ledger.home))


def first(leaves: list[Leaf], kind: str) -> Leaf:
    """The first record of a type."""
    return next(leaf for leaf in leaves if leaf["type"] == kind)


def behind(leaves: list[Leaf], leaf: Leaf, **other: Any) -> Leaf:
    """A copy of a record, right behind it, under an id of its own."""
    made = {**json.loads(json.dumps(leaf)), "id": "r-forged", **other}
    leaves.insert(leaves.index(leaf) + 1, made)
    return made


def answer_turned(leaves: list[Leaf]) -> None:
    """Bob said yes; now he said no."""
    first(leaves, "approval.decided")["data"]["answer"] = "refused"


def signature_under_another_act(leaves: list[Leaf]) -> None:
    """Bob's signature on his approval also removes dora."""
    approved = first(leaves, "approval.decided")
    made = behind(leaves, approved, type="person.removed")
    made["data"] = {"person": "user:dora@acme.com", "key": "", "by": approved["data"]["by"]}
    for name in ("session", "sseq", "private"):
        made.pop(name, None)


def signature_under_less(leaves: list[Leaf]) -> None:
    """Carol's verdict without what she saw of the session before it."""
    del first(leaves, "review.verdict")["data"]["seen"]


def proof_without_signature(leaves: list[Leaf]) -> None:
    """Bob proved who he is; how, is not said."""
    by = first(leaves, "approval.decided")["data"]["by"]
    del by["statement"], by["signature"]


def somebody_else_approved(leaves: list[Leaf]) -> None:
    """Ravi's name over bob's signature."""
    first(leaves, "approval.decided")["data"]["by"]["subject"] = "user:ravi@acme.com"


def somebody_else_issued(leaves: list[Leaf]) -> None:
    """The grant was issued by ravi, who only claims to be."""
    first(leaves, "grant.issued")["data"]["issuer"] = {**CLAIMED, "subject": "user:ravi@acme.com"}


def another_principal(leaves: list[Leaf]) -> None:
    """The grant is for dora."""
    first(leaves, "grant.issued")["data"]["principal"] = "user:dora@acme.com"


def a_longer_grant(leaves: list[Leaf]) -> None:
    """It ended later."""
    first(leaves, "grant.issued")["data"]["expires"] = "2099-01-01T00:00:00.000000Z"


def verdict_moved(leaves: list[Leaf]) -> None:
    """Carol's verdict on this session is on another one."""
    first(leaves, "review.verdict")["session"] = "s-other"


def opened_twice(leaves: list[Leaf]) -> None:
    """The same session again, for somebody else."""
    opened = first(leaves, "session.opened")
    behind(leaves, opened)["data"]["principal"] = "user:dora@acme.com"


def grant_from_nowhere(leaves: list[Leaf]) -> None:
    """A call under terms that a call itself brought."""
    intent = first(leaves, "call.intent")
    intent["data"]["chain"] = [DIGEST]
    intent["artefacts"] = [DIGEST]


def grant_from_later(leaves: list[Leaf]) -> None:
    """The grant is issued after the call that it permits."""
    issued = first(leaves, "grant.issued")
    leaves.remove(issued)
    leaves.insert(leaves.index(first(leaves, "call.outcome")), issued)


def person_who_never_was(leaves: list[Leaf]) -> None:
    """Nobody enrolled bob."""
    leaves.remove(next(one for one in leaves if one["data"].get("person") == "user:bob@acme.com"))


def same_id(leaves: list[Leaf]) -> None:
    """Two records with one id: a reference to it is to either."""
    first(leaves, "call.outcome")["id"] = first(leaves, "call.intent")["id"]


def unknown_type(leaves: list[Leaf]) -> None:
    """A type that no reader knows may mean anything."""
    first(leaves, "recorder.started")["type"] = "recorder.began"


def unknown_version(leaves: list[Leaf]) -> None:
    """True is 1 to some readers."""
    first(leaves, "call.intent")["v"] = True


def unknown_key(leaves: list[Leaf]) -> None:
    """What one reader leaves aside, another reads."""
    first(leaves, "call.intent")["note"] = "x"


def digits_of_another_script(leaves: list[Leaf]) -> None:
    """They sort behind all others."""
    leaf = leaves[-1]
    leaf["time"] = "٢" + leaf["time"][1:]


def nothing(leaves: list[Leaf]) -> None:
    """Only the bytes are other."""
    assert leaves


TERMS = canonical({"v": 1, "grant": {"task": "Do anything"}})
DIGEST = "sha256:" + hashlib.sha256(TERMS).hexdigest()


def _key_twice(leaf: Leaf) -> bytes:
    """The first reading names one tool, the last one another."""
    return canonical(leaf).replace(b'"tool":"', b'"tool":"crm.comment","tool":"', 1)


def _a_space(leaf: Leaf) -> bytes:
    return canonical(leaf).replace(b'{"', b'{ "', 1)


def _escaped(leaf: Leaf) -> bytes:
    return canonical(leaf).replace(b'"recorder', b'"\\u0072ecorder')


def _disordered(leaf: Leaf) -> bytes:
    return (
        json.dumps(leaf, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        .replace('"type":"call.intent","v":1', '"v":1,"type":"call.intent"')
        .encode()
    )


def _a_number_for_another(leaf: Leaf) -> bytes:
    return canonical(leaf).replace(b'"v":1,', b'"v":1.0,')


class Lie(NamedTuple):
    """What is changed, how it is written, and what the refusal says."""

    change: Callable[[list[Leaf]], object]
    says: str
    encode: Encode = canonical
    artefacts: tuple[bytes, ...] = ()


LIES: dict[str, Lie] = {
    "an answer turned into its opposite": Lie(answer_turned, "what was signed is approval.approve"),
    "a signature put under another act": Lie(signature_under_another_act, "what was signed for it is 'approval.app"),
    "a signature put under less than was signed": Lie(signature_under_less, "differ in seen"),
    "proof of identity without a signature": Lie(proof_without_signature, "signature of user:bob@acme.com"),
    "another approver": Lie(somebody_else_approved, "no key of user:ravi|another one"),
    "another issuer, claimed": Lie(somebody_else_issued, "something else than the grant"),
    "another principal": Lie(another_principal, "something else than the grant"),
    "a grant that ends later": Lie(a_longer_grant, "something else than the grant"),
    "a verdict on another session": Lie(verdict_moved, "differ in session"),
    "a session opened twice": Lie(opened_twice, "opens session"),
    "a call under a grant that nobody issued": Lie(grant_from_nowhere, "no record here issues", artefacts=(TERMS,)),
    "a grant issued after its call": Lie(grant_from_later, "no record here issues before it"),
    "an approver whom nobody enrolled": Lie(person_who_never_was, "no key of user:bob"),
    "one id for two records": Lie(same_id, "have the same id"),
    "an unknown type": Lie(unknown_type, "type or version"),
    "true for version 1": Lie(unknown_version, "type or version"),
    "a key more": Lie(unknown_key, "unknown keys"),
    "digits of another script": Lie(digits_of_another_script, "malformed"),
    "a key twice": Lie(nothing, "not canonical", _key_twice),
    "a space": Lie(nothing, "not canonical", _a_space),
    "an escape": Lie(nothing, "not canonical", _escaped),
    "keys in another order": Lie(nothing, "not canonical", _disordered),
    "1.0 for 1": Lie(nothing, "not canonical", _a_number_for_another),
}


def test_a_forgery_that_says_what_was_so_is_accepted(forger: Forger) -> None:
    """The forger's tools work: the same history, signed again, verifies. Every refusal below is for the lie."""
    found = forger.verify(nothing)
    assert found.statements > 5
    assert found.grants == 1


@pytest.mark.requirement("attacks:lies")
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_in_a_bundle_is_refused_by_name(forger: Forger, lie: Lie) -> None:
    """All of it signed with the log's key."""
    with pytest.raises(NotVerified, match=lie.says):
        forger.verify(lie.change, encode=lie.encode, artefacts=lie.artefacts)


SHAPES = (
    "a session opened twice",
    "one id for two records",
    "an unknown type",
    "true for version 1",
    "a key more",
    "digits of another script",
    "a key twice",
    "a space",
    "an escape",
    "keys in another order",
    "1.0 for 1",
)


@pytest.mark.requirement("attacks:lies")
@pytest.mark.parametrize("name", SHAPES)
def test_a_lie_in_the_shape_of_records_is_refused_in_the_database_too(
    app: remit.App, session_id: str, tmp_path: Path, name: str
) -> None:
    """`remit verify` reads no signatures of people; what can be read in two ways it refuses as well."""
    assert session_id
    app.close()
    copy = tmp_path / "copy.db"
    shutil.copy(tmp_path / "remit.db", copy)
    home = shutil.copytree(app.ledger.home, tmp_path / "copy.db.remit")
    pin = json.loads((home / "pin.json").read_text(encoding="utf-8"))
    (home / "pin.json").write_text(json.dumps(pin | {"size": 0}), encoding="utf-8")
    database = Database(copy)
    if name == "one id for two records":
        _without_unique_ids(database)
    rewrite(database, LIES[name].change, app.ledger.origin, log_key(home), encode=LIES[name].encode)
    with pytest.raises(VerificationError), Ledger.open(database.url, writer=False) as ledger:
        ledger.verify()


def _without_unique_ids(database: Database) -> None:
    """What the table itself would refuse, once the attacker has made another table of it."""
    columns = "rid INTEGER PRIMARY KEY, id, writer, wseq, session, sseq, type, time, body"
    database.execute(
        ("ALTER TABLE record RENAME TO kept", ()),
        (f"CREATE TABLE record ({columns})", ()),
        ("INSERT INTO record SELECT * FROM kept", ()),
        ("DROP TABLE kept", ()),
    )
