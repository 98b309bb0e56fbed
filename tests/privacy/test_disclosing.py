"""One value shown with its proof, and nothing of the values beside it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

import remit
from remit.ledger.disclosures import Disclosure, check
from tests.privacy.conftest import IBAN, PIN, records

CAROL = "user:carol@acme.com"


@pytest.fixture
def intent(app: remit.App, grant: remit.Grant) -> remit.Record:
    """A call with a secret, a redacted and a plain argument."""
    with app.session(grant) as session:
        session.call("bank.login", {"pin": PIN, "iban": IBAN, "who": "customer 88"}, run=lambda **a: "ok")
    return records(app, "call.intent")[0]


@pytest.mark.requirement("privacy:disclose")
class TestADisclosure:
    def test_proves_one_argument_against_the_leaf(self, app: remit.App, intent: remit.Record) -> None:
        """With nothing but the leaf's bytes."""
        made = app.disclose(intent.id, "/arguments/who", recipient="auditor", credential=CAROL)

        again = Disclosure.from_json(json.dumps(made.as_dict()))
        check(again, json.loads(intent.body))
        assert made.as_dict().keys() == {"record", "index", "path", "value", "salt"}
        assert (again.value, again.index) == ("customer 88", intent.index)

    def test_says_nothing_of_the_values_beside_it(self, app: remit.App, intent: remit.Record) -> None:
        """Neither them, nor a salt that would let somebody try guesses."""
        made = app.disclose(intent.id, "/arguments/who", recipient="auditor", credential=CAROL)

        text = json.dumps(made.as_dict())
        assert IBAN not in text
        assert PIN not in text
        for name, guess in (("iban", IBAN), ("pin", PIN)):
            with pytest.raises(remit.VerificationError):
                check(dataclasses.replace(made, path=f"/arguments/{name}", value=guess), intent.leaf)

    def test_of_a_secret_shows_that_there_was_one(self, app: remit.App, intent: remit.Record) -> None:
        """Its salt is not the one that a guess would need."""
        made = app.disclose(intent.id, "/arguments/pin", recipient="auditor", credential=CAROL)

        check(made, intent.leaf)
        assert made.value["$remit"] == "secret"
        with pytest.raises(remit.VerificationError):
            check(dataclasses.replace(made, value=PIN), intent.leaf)

    def test_is_recorded_before_anything_is_shown(self, app: remit.App, intent: remit.Record) -> None:
        """Who got it, which value, and by whom."""
        app.disclose(intent.id, "/arguments/who", recipient="auditor", reason="sample 7", credential=CAROL)

        [said] = records(app, "evidence.exported")
        assert {name: said.data[name] for name in ("record", "path", "for", "kind")} == {
            "record": intent.id,
            "path": "/arguments/who",
            "for": "auditor",
            "kind": "disclosure",
        }
        assert said.data["by"]["subject"] == CAROL

    @pytest.mark.parametrize(
        "change",
        [
            {"value": "customer 89"},
            {"path": "/arguments/iban"},
            {"path": "/arguments"},
            {"path": "arguments/who"},
            {"salt": "00" * 32},
            {"salt": "zz"},
            {"salt": ""},
            {"record": "r-other"},
        ],
    )
    def test_that_was_changed_is_refused(self, app: remit.App, intent: remit.Record, change: dict[str, Any]) -> None:
        """In any part."""
        made = app.disclose(intent.id, "/arguments/who", recipient="auditor", credential=CAROL)

        with pytest.raises(remit.VerificationError):
            check(dataclasses.replace(made, **change), intent.leaf)

    @pytest.mark.parametrize(
        "content",
        ["", "[]", "{}", '{"record":"r","index":-1,"path":"/x","value":1,"salt":"0"}',
         '{"record":"r","index":true,"path":"/x","value":1,"salt":"0"}',
         '{"record":"r","index":1,"path":"/x","value":1,"salt":"0","more":1}'],
    )  # fmt: skip
    def test_that_is_none_is_refused(self, content: str) -> None:
        """With a sentence, never a traceback."""
        with pytest.raises(remit.VerificationError):
            Disclosure.from_json(content)

    def test_of_what_the_leaf_does_not_commit_to_alone_is_refused(self, app: remit.App, intent: remit.Record) -> None:
        """And of what was erased; nothing is recorded then."""
        with pytest.raises(remit.UsageError, match="it commits to /accesses, /arguments, /arguments/iban"):
            app.disclose(intent.id, "/arguments/other", recipient="auditor", credential=CAROL)
        with pytest.raises(remit.UsageError, match="for whom"):
            app.disclose(intent.id, "/arguments/who", recipient=" ", credential=CAROL)
        app.erase(records=[intent.id], reason="asked to", credential=CAROL)
        with pytest.raises(remit.UsageError, match="was erased"):
            app.disclose(intent.id, "/arguments/who", recipient="auditor", credential=CAROL)
        assert records(app, "evidence.exported") == []
