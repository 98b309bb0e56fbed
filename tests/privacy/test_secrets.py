"""Arguments that are marked secret or redact: every way in which one could get into the evidence after all."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.review.replay import compare, reproduce
from remit.review.report import report
from remit.testing import temporary
from tests.privacy.conftest import CATALOGUE, IBAN, OPEN, PIN, RAVI, everything_said, places, records


def login(**arguments: Any) -> str:
    return "welcome"


def nowhere(app: remit.App, needle: str, folder: Path) -> None:
    """The needle is in no file, encrypted or not, and in nothing that can be decrypted."""
    assert places(needle, folder) == []
    assert not [text for text in everything_said(app) if needle in text]


@pytest.mark.requirement("privacy:secret")
class TestASecret:
    def test_is_committed_to_and_lies_in_no_payload(self, app: remit.App, grant: remit.Grant, tmp_path: Path) -> None:
        """The tool gets it; the record says that there was one, and who marked it."""
        got: list[str] = []
        with app.session(grant) as session:
            session.call("bank.login", {"pin": PIN, "who": "88"}, run=lambda **a: got.append(a["pin"]))

        [intent] = records(app, "call.intent")
        assert got == [PIN]
        assert intent.private["arguments"]["hidden"] == ["catalogue"]
        assert intent.disclosed()["arguments"]["pin"]["$remit"] == "secret"  # type: ignore[index]
        assert intent.disclosed()["arguments"]["who"] == "88"  # type: ignore[index]
        nowhere(app, PIN, tmp_path)
        app.verify()

    def test_has_another_commitment_each_time(self, app: remit.App, grant: remit.Grant) -> None:
        """So that nobody sees from the leaves which calls used the same one."""
        with app.session(grant) as session:
            for _ in range(2):
                session.call("bank.login", {"pin": PIN}, run=login)

        first, second = (record.private["arguments"]["each"]["pin"] for record in records(app, "call.intent"))
        assert first != second

    @pytest.mark.parametrize("shape", ["{}", "he said {} twice: {}", "https://x/?p={}"])
    def test_that_the_result_repeats_is_taken_out_of_it(
        self, app: remit.App, grant: remit.Grant, tmp_path: Path, shape: str
    ) -> None:
        """Whole, or in the middle of a text; the agent gets what the tool returned."""
        with app.session(grant) as session:
            said = session.call("bank.login", {"pin": PIN}, run=lambda pin: {"echo": [shape.replace("{}", pin)]})

        assert PIN in said["echo"][0]
        assert records(app, "call.outcome")[0].private["result"]["hidden"] == ["echo"]
        nowhere(app, PIN, tmp_path)

    def test_that_an_exception_repeats_is_taken_out_of_its_text(
        self, app: remit.App, grant: remit.Grant, tmp_path: Path
    ) -> None:
        """The exception itself reaches the agent as it was."""

        def fails(pin: str) -> None:
            raise ValueError(f"wrong pin {pin}")

        with app.session(grant) as session, pytest.raises(ValueError, match=PIN):
            session.call("bank.login", {"pin": PIN}, run=fails)

        assert records(app, "call.outcome")[0].disclosed()["error"] == "ValueError: wrong pin [secret]"  # type: ignore[index]
        nowhere(app, PIN, tmp_path)

    def test_that_a_tool_error_or_a_broken_reader_repeats_is_taken_out(
        self, app: remit.App, grant: remit.Grant, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Also from the log."""

        def classify(result: Any) -> Any:
            if result == "broken":
                raise RuntimeError(f"cannot read {PIN}")
            return "tool_error", f"no such pin: {PIN}"

        with caplog.at_level(logging.DEBUG), app.session(grant) as session:
            session.call("bank.login", {"pin": PIN}, run=login, classify=classify)
            session.call("bank.login", {"pin": PIN}, run=lambda pin: "broken", classify=classify)

        assert PIN not in caplog.text
        nowhere(app, PIN, tmp_path)

    def test_is_not_in_a_refusal_its_remedy_or_the_log(
        self, app: remit.App, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Whatever was wrong with it."""
        bounded = {**OPEN, "tools": {"bank.login": {"resources": "any", "arguments": {"pin": {"max_len": 4}}}}}
        grant = app.issue(bounded, credential=RAVI)
        with (
            caplog.at_level(logging.DEBUG),
            app.session(grant) as session,
            pytest.raises(remit.Denied) as caught,
        ):
            session.call("bank.login", {"pin": PIN}, run=login)

        told = [caught.value.reason, json.dumps(caught.value.remedy.as_dict() if caught.value.remedy else {})]
        extras = [json.dumps(getattr(record, "remit", {})) for record in caplog.records]
        assert not [text for text in (*told, *extras, caplog.text) if PIN in text]
        nowhere(app, PIN, tmp_path)

    def test_is_a_value_of_any_kind(self, app: remit.App, grant: remit.Grant, tmp_path: Path) -> None:
        """Numbers, lists and maps are as secret as text."""
        for value in (73517351, {"deep": [PIN]}, [PIN, 1], 3.14159265, None):
            with app.session(grant) as session:
                session.call("bank.login", {"pin": value}, run=lambda pin: {"back": pin})

        nowhere(app, PIN, tmp_path)
        nowhere(app, "73517351", tmp_path)
        nowhere(app, "3.14159265", tmp_path)

    def test_that_the_application_fills_in_is_one_too(self, app: remit.App, tmp_path: Path) -> None:
        """A mark counts for `injected` arguments of that name."""
        given = {**OPEN, "tools": {"bank.note": {"resources": "any", "injected": {"key": "any"}, "secret": ["key"]}}}
        grant = app.issue(given, credential=RAVI)
        with app.session(grant) as session:
            session.call("bank.note", {}, run=login, injected={"key": PIN})

        assert records(app, "call.intent")[0].private["injected"]["hidden"] == ["grant"]
        nowhere(app, PIN, tmp_path)

    def test_is_shown_by_its_name_on_every_page(self, app: remit.App, grant: remit.Grant) -> None:
        """A reviewer sees that there was one."""
        with app.session(grant) as session:
            session.call("bank.login", {"pin": PIN, "iban": IBAN}, run=login)

        [call] = report(app.deployment, session.id).calls
        assert call.arguments == {"pin": "[secret]", "iban": "[redacted]"}


@pytest.mark.requirement("privacy:secret")
class TestApproval:
    ASKED: dict[str, Any] = {  # noqa: RUF012
        **OPEN,
        "tools": {
            "bank.login": {
                "resources": "any",
                "arguments": {"pin": "any", "iban": {"any": True, "optional": True}},
                "approval": {"by": "role:finance", "expires_in": "5m"},
            }
        },
    }
    PEOPLE = {"bob@acme.com": {"roles": ["finance"]}}  # noqa: RUF012

    def asked(self, app: remit.App) -> tuple[remit.Session, str]:
        session = app.session(app.issue(self.ASKED, credential=RAVI), key="one").open()
        with pytest.raises(remit.ApprovalRequired) as caught:
            session.call("bank.login", {"pin": PIN, "iban": IBAN}, run=login)
        return session, str(caught.value.approval_id)

    @pytest.fixture
    def app(self, tmp_path: Path, clock: Any) -> Any:
        with temporary(tmp_path, clock=clock, catalogue=CATALOGUE, people=self.PEOPLE) as opened:
            yield opened

    def test_shows_that_it_is_secret_and_what_is_masked(self, app: remit.App, tmp_path: Path) -> None:
        """The approver sees a name, not the value."""
        _, approval = self.asked(app)

        assert app.approval(approval).arguments == {"pin": "[secret]", "iban": "[redacted]"}
        nowhere(app, PIN, tmp_path)

    def test_binds_to_the_value_all_the_same(self, app: remit.App) -> None:
        """Another pin is another call; the same one runs."""
        session, approval = self.asked(app)
        app.approve(approval, credential="user:bob@acme.com")

        with pytest.raises(remit.ApprovalRequired):
            session.call("bank.login", {"pin": "another", "iban": IBAN}, run=login)
        assert session.call("bank.login", {"pin": PIN, "iban": IBAN}, run=login) == "welcome"

    def test_resumes_only_with_the_secret_that_was_asked_about(self, app: remit.App) -> None:
        """It was kept nowhere, so whoever resumes brings it."""
        session, approval = self.asked(app)
        app.approve(approval, credential="user:bob@acme.com")
        got: list[dict[str, Any]] = []

        with pytest.raises(remit.Denied, match=r"`pin` of bank\.login is secret, so it was kept nowhere"):
            session.resume(approval, run=login)
        with pytest.raises(remit.Denied) as caught:
            session.resume(approval, run=login, secrets={"pin": "[secret]"})
        assert caught.value.code == "approval_mismatch"
        session.resume(approval, run=lambda **arguments: got.append(arguments), secrets={"pin": PIN})

        assert got == [{"pin": PIN, "iban": IBAN}]

    def test_binds_to_a_secret_that_the_application_fills_in(self, app: remit.App) -> None:
        """By its keyed digest."""
        given = {
            **OPEN,
            "tools": {
                "bank.note": {
                    "resources": "any",
                    "injected": {"key": "any"},
                    "secret": ["key"],
                    "approval": {"by": "role:finance"},
                }
            },
        }
        session = app.session(app.issue(given, credential=RAVI), key="two").open()
        with pytest.raises(remit.ApprovalRequired) as caught:
            session.call("bank.note", {}, run=login, injected={"key": PIN})
        app.approve(str(caught.value.approval_id), credential="user:bob@acme.com")

        with pytest.raises(remit.ApprovalRequired):
            session.call("bank.note", {}, run=login, injected={"key": "another"})
        assert session.call("bank.note", {}, run=login, injected={"key": PIN}) == "welcome"


@pytest.mark.requirement("privacy:secret")
class TestReplay:
    def test_decides_again_what_does_not_read_the_secret(self, app: remit.App, grant: remit.Grant) -> None:
        """`pin: any` looks at nothing."""
        with app.session(grant) as session:
            session.call("bank.login", {"pin": PIN}, run=login)

        assert (reproduce(app).same, reproduce(app).undecidable) == (1, {})

    def test_counts_what_does_as_undecidable(self, app: remit.App) -> None:
        """Never guessed."""
        bounded = {**OPEN, "tools": {"bank.login": {"resources": "any", "arguments": {"pin": {"max_len": 40}}}}}
        grant = app.issue(bounded, credential=RAVI)
        with app.session(grant) as session:
            session.call("bank.login", {"pin": PIN}, run=login)
            with pytest.raises(remit.Denied):
                session.call("bank.login", {"pin": PIN * 9}, run=login)

        assert compare(app.deployment).undecidable == {"secret": 2}


@pytest.mark.requirement("privacy:redact")
class TestARedactedArgument:
    def test_is_kept_and_shown_only_by_an_act_that_is_recorded(self, app: remit.App, grant: remit.Grant) -> None:
        """Who looked, at what, and why."""
        with app.session(grant) as session:
            session.call("bank.login", {"pin": PIN, "iban": IBAN}, run=login)
        [intent] = records(app, "call.intent")

        shown = app.reveal(intent.id, "/arguments/iban", reason="a complaint", credential="user:carol@acme.com")

        [revealed] = records(app, "review.revealed")
        assert shown == IBAN
        assert revealed.data["record"] == intent.id
        assert revealed.data["path"] == "/arguments/iban"
        assert revealed.data["by"]["subject"] == "user:carol@acme.com"
        assert revealed.disclosed() == {"reason": "a complaint"}
        assert app.reveal(intent.id, "/arguments/pin", credential="user:carol@acme.com") == "[secret]"

    def test_needs_somebody_who_looks(self, tmp_path: Path) -> None:
        """Without proof of who it is, nothing is shown and nothing recorded."""
        with temporary(tmp_path, catalogue=CATALOGUE) as app:
            with app.session(app.issue(OPEN, credential=RAVI)) as session:
                session.call("bank.login", {"pin": PIN, "iban": IBAN}, run=login)
            [intent] = records(app, "call.intent")
        with remit.open(f"sqlite:///{tmp_path / 'remit.db'}", catalogue=CATALOGUE) as app:
            with pytest.raises(remit.IdentityError):
                app.reveal(intent.id, "/arguments/iban", credential="user:mallory@acme.com")
            assert records(app, "review.revealed") == []

    def test_is_not_in_reasons_or_errors(self, app: remit.App) -> None:
        """Which reviewers read without revealing anything."""
        bounded = {
            **OPEN,
            "tools": {"bank.login": {"resources": "any", "arguments": {"pin": "any", "iban": {"max_len": 4}}}},
        }

        def fails(pin: str, iban: str) -> None:
            raise ValueError(f"no account {iban}")

        with app.session(app.issue(bounded, credential=RAVI)) as session, pytest.raises(remit.Denied) as caught:
            session.call("bank.login", {"pin": PIN, "iban": IBAN}, run=login)
        with app.session(app.issue(OPEN, credential=RAVI)) as session, pytest.raises(ValueError, match=IBAN):
            session.call("bank.login", {"pin": PIN, "iban": IBAN}, run=fails)

        assert IBAN not in caught.value.reason
        assert records(app, "call.outcome")[-1].disclosed()["error"] == "ValueError: no account [redacted]"  # type: ignore[index]


@pytest.mark.requirement("privacy:marks")
class TestMarks:
    def test_a_grant_adds_its_own(self, app: remit.App, tmp_path: Path) -> None:
        """Beside the catalogue's, which it cannot take away."""
        marked = {
            **OPEN,
            "tools": {"bank.note": {"resources": "any", "arguments": {"text": "any", "to": "any"}, "secret": "text"}},
        }
        with app.session(app.issue(marked, credential=RAVI)) as session:
            session.call("bank.note", {"text": PIN, "to": "x"}, run=login)

        assert records(app, "call.intent")[0].data["marks"] == {"secret": ["text"], "redact": []}
        nowhere(app, PIN, tmp_path)

    def test_dropping_one_widens_a_delegated_grant(self, app: remit.App) -> None:
        """A child says again what its parent marks."""
        clause = {"resources": "any", "arguments": {"text": "any", "to": "any"}, "secret": ["text"], "redact": ["to"]}
        parent = app.issue({**OPEN, "delegation": {"depth": 1}, "tools": {"bank.note": clause}}, credential=RAVI)
        child = {"task": "t", "agent": "agent:sub", "expires_in": "5m"}

        def without(word: str) -> dict[str, Any]:
            return {name: value for name, value in clause.items() if name != word}

        with pytest.raises(remit.DelegationWidened, match="does not mark `text` secret; its parent does"):
            app.delegate(parent, {**child, "tools": {"bank.note": without("secret")}}, credential=RAVI)
        with pytest.raises(remit.DelegationWidened, match="does not mark `to` redact; its parent does"):
            app.delegate(parent, {**child, "tools": {"bank.note": without("redact")}}, credential=RAVI)
        stricter = {**without("redact"), "secret": ["text", "to"]}
        app.delegate(parent, {**child, "tools": {"bank.note": stricter}}, credential=RAVI)

    @pytest.mark.parametrize(
        ("clause", "sentence"),
        [
            ({"arguments": {"text": "any"}, "secret": ["texxt"]}, "marks 'texxt', which the clause"),
            ({"arguments": {"text": "hunter2"}, "secret": ["text"]}, "would keep its value for ever"),
            ({"arguments": {"text": {"one_of": ["a", "b"]}}, "secret": ["text"]}, "would keep its value for ever"),
            (
                {"arguments": {"n": {"min": 0}}, "secret": ["n"], "limits": {"sum": {"argument": "n", "max": 5}}},
                "a sum over it would keep it",
            ),
            ({"arguments": {"text": "any"}, "secret": ["text"], "redact": ["text"]}, "is secret and redact"),
        ],
    )
    def test_that_protect_nothing_are_refused(self, app: remit.App, clause: dict[str, Any], sentence: str) -> None:
        """A grant that looks careful and is not."""
        with pytest.raises(remit.GrantError, match=sentence):
            app.issue({**OPEN, "tools": {"bank.note": {"resources": "any", **clause}}}, credential=RAVI)

    def test_on_what_names_a_resource_are_refused(self, tmp_path: Path) -> None:
        """By the grant, and, where the catalogue came later, by the call."""
        catalogue = {"tools": {"fs.read": {"accesses": ["read file://{path}"], "kinds": {"path": "path"}}}}
        given = {**OPEN, "tools": {"fs.read": {"resources": "any", "arguments": {"path": "any"}, "secret": ["path"]}}}
        with temporary(tmp_path, catalogue=catalogue) as app, pytest.raises(remit.GrantError, match="makes a resource"):
            app.issue(given, credential=RAVI)
        with temporary(tmp_path / "other", catalogue={"tools": {"x.y": {}}}) as app:
            grant = app.issue(
                {**OPEN, "tools": {"fs.read": {"arguments": {"path": "any"}, "secret": ["path"]}}}, credential=RAVI
            )
        with temporary(tmp_path / "other", catalogue=catalogue) as app, app.session(grant.id) as session:
            with pytest.raises(remit.Denied) as caught:
                session.call("fs.read", {"path": f"/srv/{PIN}"}, run=login)
            assert caught.value.code == "resource_unresolved"
            nowhere(app, PIN, tmp_path / "other")

    def test_what_a_model_called_an_argument_is_in_no_leaf(self, app: remit.App) -> None:
        """A rule id stands in the leaf for everybody, for ever."""
        with app.session(app.issue(OPEN, credential=RAVI)) as session, pytest.raises(remit.Denied):
            session.call("bank.login", {"pin": "1", PIN: "x"}, run=login)

        assert not [record for record in app.ledger.records() if PIN.encode() in record.body]
