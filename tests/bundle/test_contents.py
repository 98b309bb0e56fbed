"""What is in a bundle, for each scope; and what is wrong with one that a dishonest exporter signed himself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

import remit
from remit import remit_verify
from remit.bundle.exporting import Exported, export
from remit.ledger.records import RECORD_TYPES
from remit.remit_verify import Files, NotVerified, canonical
from remit.testing import Clock
from tests.bundle.conftest import Bundle
from tests.review.conftest import GRANT, Tools, attempt
from tests.stores import temporary


def test_the_verifier_knows_every_record_type() -> None:
    """Its list is the ledger's: it cannot import it."""
    assert {name: kind.required for name, kind in RECORD_TYPES.items()} == dict(remit_verify.RECORD_TYPES)
    assert {kind.version for kind in RECORD_TYPES.values()} == {1}


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
@settings(max_examples=400, deadline=None)
def test_its_canonical_json_is_that_of_the_reference(value: Any) -> None:
    """RFC 8785, floats and astral keys included; and reading gives the value back or refuses it."""
    written = rfc8785.dumps(value)
    assert canonical(value) == written
    if _exact(json.loads(written)):  # of a longer whole number not every reader reads the same
        assert canonical(remit_verify.read_json(written, "it")) == written


def _exact(value: Any) -> bool:
    if isinstance(value, list | dict):
        return all(map(_exact, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, int) or abs(value) < 2**53


@pytest.mark.parametrize(
    "text",
    ["1.0", "-0", "1e3", "[1,2 ]", '{"b":1,"a":2}', '{"a":1,"a":1}', "NaN", '"\\u0041"', '"\\ud800"', "1E-7", "01", "",
     "9007199254740993.0", "9007199254740993", '{"\U0001f600":1,"\uffee":2}', "[" * 100_000],
)  # fmt: skip
def test_json_that_is_not_canonical_is_refused(text: str) -> None:
    """Whatever another reader might take for the same, or for something else."""
    if text.startswith('{"\U0001f600'):
        assert remit_verify.read_json(text.encode(), "it")  # UTF-16 order: U+1F600 sorts before U+FFEE
        text = '{"\uffee":2,"\U0001f600":1}'
    with pytest.raises(NotVerified, match="canonical"):
        remit_verify.read_json(text.encode("utf-8", "surrogatepass"), "it")


def test_by_default_a_bundle_shows_no_text(exporting: Callable[..., Exported], session_id: str, app: remit.App) -> None:
    """Neither in a file nor on a page: what an argument held is only committed to."""
    bundle = Bundle(exporting(session=session_id).path, app.ledger.verifier_key)
    assert not [name for name in bundle.files if name.startswith("disclosures/")]
    assert bundle.verify().disclosed == 0
    for name, content in bundle.files.items():
        assert b"crm://tickets/89" not in content, name  # the refused call's resource
    assert b"arguments not disclosed" in bundle.files["report.html"]


def test_one_argument_is_shown_without_the_rest(
    exporting: Callable[..., Exported], session_id: str, app: remit.App
) -> None:
    """By name or pointer; its salt proves it and no other value."""
    for choice in ("arguments.amount", "/arguments/amount"):
        bundle = Bundle(exporting(session=session_id, disclose=[choice]).path, app.ledger.verifier_key)
        shown = [json.loads(bundle.files[name]) for name in bundle.files if name.startswith("disclosures/")]
        assert {value["path"] for one in shown for value in one["values"]} == {"/arguments/amount"}
        assert {value["value"] for one in shown for value in one["values"]} == {20}
        assert bundle.verify().disclosed == len(shown) == 2
    with pytest.raises(remit.UsageError, match="cannot be disclosed"):
        exporting(session=session_id, disclose=["arguments.nothing"])


def test_a_disclosure_that_does_not_fit_is_refused(bundle: Bundle) -> None:
    """Another value, salt, path, record or shape: the commitment in the leaf says otherwise."""
    name = next(name for name in bundle.files if name.startswith("disclosures/"))
    index = int(name.removeprefix("disclosures/").removesuffix(".json"))
    seen = remit_verify.Seen(dense=lambda index: False, only=None, whole=False)
    body = bundle.files[f"records/{index}"]
    seen.record(index, json.loads(body), body, keep=frozenset([index]))
    honest = bundle.named(name)

    def check(**changed: Any) -> int:
        return remit_verify.check_disclosures(f"{index}.json", canonical({**honest, **changed}), seen)

    assert check() == len(honest["values"])
    first, *others = honest["values"]
    changes: list[dict[str, Any]] = [
        {"v": 2},
        {"index": index + 1},
        {"record": "r-other"},
        {"values": []},
        {"values": [first, first, *others]},
        {"values": [{**first, "value": "other"}]},
        {"values": [{**first, "salt": "0" * 64}]},
        {"values": [{**first, "salt": first["salt"].upper() + " "}]},
        {"values": [{**first, "path": "/other"}]},
        {"values": [{**first, "path": first["path"] + "/x"}]},
        {"values": [{**first, "path": ""}]},
        {"values": [{**first, "more": 1}]},
        {"values": ["x"]},
        {"more": 1},
    ]
    for wrong in changes:
        with pytest.raises(NotVerified):
            check(**wrong)
    seen.erased.add(honest["record"])
    with pytest.raises(NotVerified, match="was erased"):
        check()


def test_what_was_erased_stays_erased_and_still_verifies(
    app: remit.App, session_id: str, exporting: Callable[..., Exported], people: dict[str, remit.Credential]
) -> None:
    """The record that says so comes along; the text is in no file; every proof holds."""
    [intent, *_] = [record for record in app.records(session_id) if record.type == "call.intent"]

    app.erase(records=[intent.id], reason="asked for", credential=people["carol"])
    bundle = Bundle(exporting(session=session_id, disclose=["everything"]).path, app.ledger.verifier_key)
    found = bundle.verify()
    assert found.erased == 1
    assert f"disclosures/{intent.index}.json" not in bundle.files
    assert b"Erased" in bundle.files["report.html"]


def test_a_range_has_no_gap(app: remit.App, session_id: str, exporting: Callable[..., Exported]) -> None:
    """From one index to another, with what is needed from before it; or from one moment to another."""
    size = sum(1 for _ in app.records())
    for start, end in (("0", str(size - 1)), ("8", "12"), ("9", "9"), (None, "3"), ("12", None)):
        bundle = Bundle(exporting(start=start, end=end).path, app.ledger.verifier_key)
        found = bundle.verify()
        first, last = found.scope["first"], found.scope["last"]
        assert first == int(start or 0)
        assert all(f"records/{index}" in bundle.files for index in range(first, last + 1))
    for start, end in (
        ("5", "4"),
        ("0", "100000"),
        ("x", None),
        ("2026-11-24T09:00:00", None),
        ("2090-01-01T00:00:00Z", None),
    ):
        with pytest.raises(remit.UsageError):
            exporting(start=start, end=end)
    with pytest.raises(remit.UsageError, match="not both"):
        exporting(session=session_id, start="1")


def test_a_range_by_time_holds_what_was_recorded_then(
    app: remit.App, clock: Clock, people: dict[str, remit.Credential], exporting: Callable[..., Exported]
) -> None:
    """Times are those of the records."""
    grant = app.issue({**GRANT, "expires_in": "3h"}, credential=people["dora"])
    tools = Tools()
    with app.session(grant) as session:
        attempt(session, tools, "crm.read_ticket", id=88)
        clock.forward(hours=1)
        begin = clock.now
        attempt(session, tools, "crm.read_ticket", id=88)
        clock.forward(hours=1)
        attempt(session, tools, "crm.read_ticket", id=88)
    later = begin.replace(minute=(begin.minute + 1) % 60)
    bundle = Bundle(exporting(start=begin.isoformat(), end=max(begin, later).isoformat()).path, app.ledger.verifier_key)
    scope = bundle.verify().scope
    kinds = [bundle.named(f"records/{index}")["type"] for index in range(scope["first"], scope["last"] + 1)]
    assert kinds == ["call.intent", "call.outcome"]


@pytest.mark.parametrize("records", [1, 255, 256, 257, 700])
def test_the_whole_log_is_tiles_that_give_its_head(
    app: remit.App, people: dict[str, remit.Credential], exporting: Callable[..., Exported], records: int
) -> None:
    """Around the width of a tile, and beyond: the entries give every tile and the signed root."""
    have = sum(1 for _ in app.records())
    drafts = [app.ledger.draft("recorder.heartbeat", data={"n": n}) for n in range(max(0, records - have))]
    app.ledger.run(lambda txn: [txn.append(draft) for draft in drafts])
    found = exporting()
    bundle = Bundle(found.path, app.ledger.verifier_key)
    assert bundle.verify().records == max(records, have) == found.records
    tiles = [name for name in bundle.files if name.startswith("tile/")]
    for name in tiles:
        content = bytearray(bundle.files[name])
        content[len(content) // 2] ^= 1
        files = bundle.relisted({**bundle.files, name: bytes(content)})
        manifest = remit_verify.read_manifest(files["manifest.json"])
        reading = Files.of(files)
        reading.bind(manifest["files"])
        head = bundle.roots.head(reading.read("checkpoint"), "checkpoint")
        with pytest.raises(NotVerified):
            list(remit_verify.Tiles(reading, head).records())


def test_a_bundle_is_never_written_over_anything(
    tmp_path: Path, app: remit.App, session_id: str, people: dict[str, remit.Credential]
) -> None:
    """Nor is a half of one left when it fails; nor is one written without being recorded."""
    out = tmp_path / "out"
    out.mkdir()
    before = [record.id for record in app.records()]
    for target in (out, tmp_path / "no folder" / "out"):
        with pytest.raises(remit.UsageError, match=r"exists already|cannot write"):
            export(app.deployment, target, session=session_id, credential=people["carol"])
    with pytest.raises(remit.IdentityError):
        export(app.deployment, tmp_path / "new", session=session_id)
    with pytest.raises(remit.UsageError, match="no session"):
        export(app.deployment, tmp_path / "new", session="s-unknown", credential=people["carol"])
    assert [record.id for record in app.records()] == before
    assert not [path for path in tmp_path.iterdir() if "new" in path.name]


@pytest.mark.requirement("I8")
def test_every_export_is_recorded(app: remit.App, session_id: str, exporting: Callable[..., Exported]) -> None:
    """Who, what, up to where, for whom, and the digest of what left."""
    found = exporting(session=session_id, recipient="Auditors Ltd, engagement 7", disclose=["arguments"])
    record = app.ledger.record(found.record)
    assert record is not None
    assert record.type == "evidence.exported"
    assert record.data["by"]["subject"] == "user:carol@acme.com"
    assert record.data["by"]["authenticated"] is True
    assert record.data["scope"] == {"session": session_id}
    assert record.data["bundle"] == found.digest
    assert record.data["disclosed"] == found.disclosed
    assert (record.data["kind"], record.data["for"]) == ("bundle", "Auditors Ltd, engagement 7")


class Forger:
    """Somebody who has the log's keys and rewrites what a bundle is made of, before it is signed."""

    def __init__(self, app: remit.App) -> None:
        self.app = app

    def append(self, kind: str, session: str | None = None, **data: Any) -> None:
        """A record that no gate wrote."""
        draft = self.app.ledger.draft(kind, session=session, data=data)
        self.app.ledger.run(lambda txn: txn.append(draft))


@pytest.mark.changes_evidence
def test_a_statement_that_somebody_else_signed_is_refused(
    app: remit.App, session_id: str, exporting: Callable[..., Exported]
) -> None:
    """A verdict that names carol, with her old signature on another act: the log's own key does not help."""
    [verdict] = [record for record in app.records(session_id) if record.type == "review.verdict"]
    Forger(app).append("review.verdict", session_id, **{**verdict.data, "verdict": "exceeded"})
    bundle = Bundle(exporting(session=session_id).path, app.ledger.verifier_key)
    with pytest.raises(NotVerified, match=r"differ in verdict|another log, person or time"):
        bundle.verify()


@pytest.mark.changes_evidence
def test_who_proved_by_nothing_is_refused(app: remit.App, session_id: str, exporting: Callable[..., Exported]) -> None:
    """A record that calls bob authenticated by his key, and has no signature of his."""
    by = {"authenticated": True, "method": "ed25519", "roles": ["finance"], "subject": "user:bob@acme.com"}
    Forger(app).append("session.resumed", session_id, by=by)
    bundle = Bundle(exporting(session=session_id).path, app.ledger.verifier_key)
    with pytest.raises(NotVerified, match=r"no key of user:bob@acme\.com"):
        bundle.verify()


@pytest.mark.changes_evidence
def test_a_call_under_a_grant_that_was_never_issued_is_refused(
    app: remit.App, session_id: str, exporting: Callable[..., Exported]
) -> None:
    """Its terms lie in the ledger, brought by a record of another kind."""
    [intent, *_] = [record for record in app.records(session_id) if record.type == "call.intent"]
    draft = app.ledger.draft("call.intent", session=session_id, data=dict(intent.data))

    def job(txn: Any) -> None:
        draft.data["chain"] = [txn.artefact(b'{"v":1}')]
        txn.append(draft)

    app.ledger.run(job)
    bundle = Bundle(exporting(session=session_id).path, app.ledger.verifier_key)
    with pytest.raises(NotVerified, match="no record here issues"):
        bundle.verify()


@pytest.mark.changes_evidence
def test_a_grant_that_the_deployment_did_not_sign_is_refused(
    app: remit.App, session_id: str, exporting: Callable[..., Exported]
) -> None:
    """Terms with another amount, recorded under the old signature."""
    [issued] = [record for record in app.records() if record.type == "grant.issued"]
    terms = json.loads(app.ledger.artefact(issued.data["digest"]))
    terms["grant"]["task"] = "Do anything"
    draft = app.ledger.draft("grant.issued", data=dict(issued.data))

    def job(txn: Any) -> None:
        draft.data["digest"] = txn.artefact(canonical(terms))
        txn.append(draft)

    app.ledger.run(job)
    bundle = Bundle(exporting(session=session_id).path, app.ledger.verifier_key)
    with pytest.raises(NotVerified, match="signature of the grant"):
        bundle.verify()


def test_a_bundle_of_development_says_so(tmp_path: Path) -> None:
    """Claimed identities, on the page and by the verifier, the exporter's too."""
    with temporary(tmp_path) as app:
        grant = app.issue({**GRANT}, credential="user:ravi@acme.com")
        with app.session(grant) as session:
            attempt(session, Tools(), "crm.comment", body="<script>alert(1)</script>")
            attempt(session, Tools(), "kb.search", q="<script>alert(1)</script>")
            found = export(app.deployment, tmp_path / "b", session=session.id, disclose=["everything"])
        bundle = Bundle(found.path, app.ledger.verifier_key)
        notes = " ".join(bundle.verify().notes)
    assert "claimed, not proved: the ledger was open for development" in notes
    assert "was not closed yet" in notes
    assert "who exported it is claimed" in notes
    page = bundle.files["report.html"].decode()
    assert "Development mode" in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_the_page_reads_as_a_person_reads(bundle: Bundle) -> None:
    """Who delegated what to whom for which task; each call with decision, clause, approval and outcome."""
    page = " ".join(bundle.files["report.html"].decode().split())
    for said in (
        "Triage ticket 88 and leave one comment",
        "user:ravi@acme.com",
        "spiffe://acme.com/agents/triage",
        "user:dora@acme.com",
        "(proved by their key)",
        "refused (resource_out_of_scope)",
        "approved by user:bob@acme.com",
        "The session: within, by user:carol@acme.com",
        "1 attempt outside it was blocked",
        "Unbounded: kb.search takes any argument",
        "CHG-7",
    ):
        assert said in page, said
    assert "http" not in page.replace("http-equiv", "")  # it fetches nothing, and nothing else runs on it


def test_the_readme_names_every_kind_of_file(bundle: Bundle) -> None:
    """And the key is nowhere in it: a reader needs one from elsewhere."""
    text = bundle.files["README.md"].decode()
    for name in {name.partition("/")[0] for name in bundle.files} - {"README.md"}:
        assert name in text, name
    assert bundle.files["keys/log.vkey"].decode().strip() not in text


def test_the_verifier_in_a_bundle_is_the_one_that_is_shipped(bundle: Bundle) -> None:
    """The same bytes, so that one look at its digest is enough."""
    assert bundle.files["remit_verify.py"] == Path(remit_verify.__file__).read_bytes()
