"""`erase`: afterwards the text is nowhere, byte for byte, and every proof verifies."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.bundle.exporting import export
from remit.ledger import Ledger
from remit.review.replay import reproduce
from remit.review.report import report
from remit.testing import Clock, temporary
from tests.privacy.conftest import CATALOGUE, OPEN, RAVI, everything_said, places, records

NEEDLE = 'needle "ü" 4711 quokka'
WHO = "user:dora@acme.com"


def note(**arguments: Any) -> str:
    return "noted: " + json.dumps(arguments, ensure_ascii=False)


def worked(app: remit.App, *, times: int = 1, text: str = NEEDLE, principal: str = RAVI) -> str:
    """A closed session whose calls hold the text, in arguments, results, errors, context and the reason it ended."""

    def fails(text: str) -> None:
        raise ValueError(text)

    with app.session(app.issue({**OPEN, "principal": principal}, credential=principal)) as session:
        session.context(user_turn=f"do it: {text}")
        for _ in range(times):
            session.call("bank.note", {"text": text}, run=note)
        with pytest.raises(ValueError, match=r"needle|kept"):
            session.call("bank.note", {"text": text}, run=fails)
        with pytest.raises(remit.Denied):
            session.call("bank.login", {"pin": "1", "other": text}, run=note)
        session.close(f"because {text}")
    return str(session.id)


@pytest.mark.requirement("privacy:erase")
class TestAfterErasing:
    def test_the_text_is_in_no_file_of_the_ledger(self, app: remit.App, tmp_path: Path) -> None:
        """Database, write-ahead log, index of it, home; as text, escaped, in base64 and UTF-16."""
        session = worked(app, times=40)
        kept = worked(app, text="kept 0815")

        done = app.erase(session=session, reason="asked to", basis="GDPR art. 17", credential=WHO)

        assert done.scrubbed.complete
        assert places(NEEDLE, tmp_path) == []
        assert not [text for text in everything_said(app) if "quokka" in text]
        assert app.verify().erased == len(done.records)
        assert any("kept 0815" in text for text in everything_said(app))
        assert report(app.deployment, kept).calls[0].arguments == {"text": "kept 0815"}

    def test_neither_wrapped_key_nor_ciphertext_is_in_any_file(self, app: remit.App, tmp_path: Path) -> None:
        """Else whoever has the key-encryption key could bring the text back from the file."""
        session = worked(app, times=60)
        with closing(sqlite3.connect(f"file:{tmp_path / 'remit.db'}?mode=ro", uri=True)) as database:
            rows = database.execute(
                "SELECT wrapped_key, ciphertext FROM payload JOIN record ON record.id = record_id WHERE session = ?",
                (session,),
            ).fetchall()
        assert len(rows) > 100

        app.erase(session=session, reason="asked to", credential=WHO)

        left = [place for key, text in rows for part in (key, text) for place in places(part[-48:], tmp_path)]
        assert left == []

    def test_an_export_made_afterwards_does_not_have_it(self, app: remit.App, tmp_path: Path) -> None:
        """Whatever is chosen to be shown in it."""
        session = worked(app)
        app.erase(session=session, reason="asked to", credential=WHO)

        export(app.deployment, tmp_path / "bundle", session=session, disclose=["everything"], credential=WHO)

        assert places(NEEDLE, tmp_path) == []

    def test_every_decision_that_is_left_decides_again(self, app: remit.App) -> None:
        """And what was erased is counted, not guessed."""
        session = worked(app)
        app.erase(session=session, reason="asked to", credential=WHO)

        assert reproduce(app).undecidable == {"erased": 3}

    def test_the_page_says_who_and_why(self, app: remit.App) -> None:
        """Instead of arguments."""
        session = worked(app)
        app.erase(session=session, reason="asked to", basis="GDPR art. 17", credential=WHO)

        found = report(app.deployment, session)
        assert [call.arguments for call in found.calls] == [None] * 3
        assert found.erased == (
            "7 records erased by user:dora@acme.com (claimed, not proved) because: asked to (GDPR art. 17)",
        )

    def test_an_auditors_copy_without_the_keys_verifies(self, app: remit.App, tmp_path: Path) -> None:
        """Proofs need no text."""
        app.erase(session=worked(app), reason="asked to", credential=WHO)
        app.close()
        (tmp_path / "remit.db.remit" / "kek.key").unlink()

        with Ledger.open(app.url, writer=False) as ledger:
            assert ledger.verify().erased == 7

    @pytest.mark.changes_evidence
    def test_text_that_comes_back_into_the_database_is_found(self, app: remit.App, tmp_path: Path) -> None:
        """A copy from before is no way around an erasure."""
        session = worked(app)
        with closing(sqlite3.connect(tmp_path / "remit.db")) as database:
            rows = database.execute("SELECT record_id, ciphertext, wrapped_key FROM payload").fetchall()
        done = app.erase(session=session, reason="asked to", credential=WHO)
        app.close()
        with closing(sqlite3.connect(tmp_path / "remit.db")) as database, database:
            for name, text, key in rows:
                if name in done.records:
                    database.execute(
                        "UPDATE payload SET ciphertext = ?, wrapped_key = ? WHERE record_id = ?", (text, key, name)
                    )

        with Ledger.open(app.url, writer=False) as ledger, pytest.raises(remit.VerificationError, match="to be erased"):
            ledger.verify()


@pytest.mark.requirement("privacy:erase")
class TestWhatIsErased:
    def test_one_record(self, app: remit.App, tmp_path: Path) -> None:
        """And nothing beside it."""
        session = worked(app)
        [first, *rest] = [one for one in app.ledger.records(session=session) if one.private]

        done = app.erase(records=[first.id], reason="asked to", credential=WHO)

        assert done.records == (first.id,)
        assert app.ledger.record(first.id).disclosed() is None  # type: ignore[union-attr]
        assert all(one.disclosed() is not None for one in rest)
        app.verify()

    def test_everything_done_for_a_subject(self, app: remit.App, tmp_path: Path) -> None:
        """In all their sessions, and in what was kept with their grants."""
        for _ in range(2):
            worked(app)
        other = worked(app, text="kept 0815", principal="user:mia@acme.com")

        done = app.erase(subject=RAVI, reason="asked to", credential=WHO)

        [said] = records(app, "evidence.erased")
        assert (said.data["scope"], said.data["subject"]) == ("subject", RAVI)
        assert said.data["records"] == list(done.records)
        assert places(NEEDLE, tmp_path) == []
        assert all(one.disclosed() is not None for one in app.ledger.records(session=other))
        app.verify()

    def test_more_records_than_one_leaf_names(self, app: remit.App, monkeypatch: pytest.MonkeyPatch) -> None:
        """Several records say so, each its part, in one transaction."""
        monkeypatch.setattr("remit.erasing.MOST_NAMED", 3)
        done = app.erase(session=worked(app), reason="asked to", credential=WHO)

        said = records(app, "evidence.erased")
        assert [(one.data["part"], one.data["of"]) for one in said] == [(1, 3), (2, 3), (3, 3)]
        assert [name for one in said for name in one.data["records"]] == list(done.records)
        app.verify()

    def test_an_open_session_is_not(self, app: remit.App) -> None:
        """What is still being written cannot be erased whole."""
        with app.session(app.issue(OPEN, credential=RAVI)) as session:
            session.call("bank.note", {"text": NEEDLE}, run=note)
            with pytest.raises(remit.UsageError, match="is not closed"):
                app.erase(session=session.id, reason="asked to", credential=WHO)
            with pytest.raises(remit.UsageError, match="is not closed"):
                app.erase(subject=RAVI, reason="asked to", credential=WHO)
        assert records(app, "evidence.erased") == []

    def test_a_call_that_ends_later_leaves_no_text(self, app: remit.App, tmp_path: Path) -> None:
        """Its outcome is recorded all the same."""
        session = app.session(app.issue(OPEN, credential=RAVI), key="k").open()

        def slow(text: str) -> str:
            app.close_session(session.id, "enough", credential=WHO)
            app.erase(session=session.id, reason="asked to", credential=WHO)
            return text

        session.call("bank.note", {"text": NEEDLE}, run=slow)

        [outcome] = records(app, "call.outcome")
        assert outcome.data["status"] == "ok"
        assert outcome.data["result"] == {"kept": False, "why": "erased"}
        assert outcome.private == {}
        assert places(NEEDLE, tmp_path) == []
        app.verify()

    def test_what_has_no_text_is_refused(self, app: remit.App) -> None:
        """Nothing is said to be erased that was not there."""
        session = worked(app)
        app.erase(session=session, reason="asked to", credential=WHO)
        for wrong, sentence in (
            ({"session": session}, "nothing of"),
            ({"session": "s-none"}, "no session"),
            ({"records": ["r-none"]}, "no record"),
            ({}, "say what to erase"),
            ({"session": session, "subject": RAVI}, "say what to erase"),
        ):
            with pytest.raises(remit.UsageError, match=sentence):
                app.erase(**wrong, reason="again", credential=WHO)
        with pytest.raises(remit.UsageError, match="takes a reason"):
            app.erase(session=session, reason=" ", credential=WHO)


@pytest.mark.requirement("privacy:erase")
class TestWhoMayErase:
    PEOPLE = {"ann@acme.com": {"roles": ["privacy"]}, "bob@acme.com": {"roles": ["finance"]}}  # noqa: RUF012

    @pytest.fixture
    def place(self, tmp_path: Path) -> tuple[str, str, dict[str, remit.Credential]]:
        keys = {name: remit.Credential.generate(f"user:{name}@acme.com") for name in ("ann", "bob")}
        with temporary(tmp_path, catalogue=CATALOGUE, people=self.PEOPLE) as app:
            for name, key in keys.items():
                app.enrol(f"{name}@acme.com", key.public_key, credential="user:ann@acme.com")
            session = worked(app)
        return app.url, session, keys

    def test_is_a_person_with_the_role(self, place: Any) -> None:
        """Proved by their key; the record says so."""
        url, session, keys = place
        with remit.open(url, people=self.PEOPLE, can=["configure"]) as app:
            for wrong in (None, "user:ann@acme.com", keys["bob"]):
                with pytest.raises(remit.IdentityError):
                    app.erase(session=session, reason="asked to", credential=wrong)
            app.erase(session=session, reason="asked to", credential=keys["ann"])
            [said] = records(app, "evidence.erased")
        assert (said.data["by"]["subject"], said.data["by"]["authenticated"]) == ("user:ann@acme.com", True)

    def test_is_no_agents_process(self, place: Any) -> None:
        """A handle for sessions cannot."""
        url, session, keys = place
        with remit.open(url, can=["session"]) as app, pytest.raises(remit.UsageError, match="cannot configure"):
            app.erase(session=session, reason="asked to", credential=keys["ann"])


@pytest.mark.requirement("privacy:erase")
def test_a_reader_that_blocks_the_truncation_is_told(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left is said, with what to do; afterwards it is gone."""
    monkeypatch.setattr("remit.ledger.scrubbing.PATIENCE", 0.2)
    with temporary(tmp_path, clock=clock, catalogue=CATALOGUE) as app:
        session = worked(app)
        with closing(sqlite3.connect(f"file:{tmp_path / 'remit.db'}?mode=ro", uri=True)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM payload").fetchone()
            done = app.erase(session=session, reason="asked to", credential=WHO)
            assert not done.scrubbed.complete
            assert "remit erase --finish" in str(done.scrubbed.advice)
            reader.execute("ROLLBACK")

        from remit.erasing import finish

        assert finish(app.deployment).complete
        assert places(NEEDLE, tmp_path) == []


def test_copies_that_left_before_are_listed(app: remit.App) -> None:
    """Nobody can call them back, so the operator has to know."""
    session = worked(app)
    intent = next(one for one in app.ledger.records(session=session, types=("call.intent",)))
    app.disclose(intent.id, "/reason", recipient="auditor of acme.com", credential=WHO)

    done = app.erase(session=session, reason="asked to", credential=WHO)

    assert [one["for"] for one in done.exported] == ["auditor of acme.com"]
