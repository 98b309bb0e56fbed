"""The key that wraps record keys: in the home, in the environment, or in a key service reached over HTTP."""

from __future__ import annotations

import base64
import json
import os
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import remit
from remit.ledger import Ledger
from remit.testing import temporary
from tests.privacy.conftest import CATALOGUE, OPEN, RAVI, places, records

TEXT = "needle-in-a-payload"


class KeyService:
    """A key service on this machine: it seals and opens under a master key that never leaves it, and counts."""

    def __init__(self) -> None:
        self.master = os.urandom(32)
        self.asked: list[str] = []
        self.broken = False
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.asked.append(self.path)
                if service.broken:
                    self.send_error(503)
                    return
                given, bound = base64.b64decode(asked["blob"]), json.dumps(asked["context"]).encode()
                if self.path == "/wrap":
                    nonce = os.urandom(12)
                    made = nonce + AESGCM(service.master).encrypt(nonce, given, bound)
                else:
                    made = AESGCM(service.master).decrypt(given[:12], given[12:], bound)
                content = json.dumps({"blob": base64.b64encode(made).decode()}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


class HttpKey:
    """What a user writes for their key service: three methods."""

    def __init__(self, url: str, name: str = "keys.acme.com/remit") -> None:
        self._url = url
        self.id = name

    def wrap(self, key: bytes, context: Mapping[str, str]) -> bytes:
        return self._ask("wrap", key, context)

    def unwrap(self, sealed: bytes, context: Mapping[str, str]) -> bytes:
        return self._ask("unwrap", sealed, context)

    def _ask(self, what: str, blob: bytes, context: Mapping[str, str]) -> bytes:
        body = json.dumps({"blob": base64.b64encode(blob).decode(), "context": dict(context)}).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{self._url}/{what}", body), timeout=5) as answer:
                return base64.b64decode(json.load(answer)["blob"])
        except urllib.error.HTTPError as error:
            with error:
                raise RuntimeError(f"answered {error.code}") from None


@pytest.fixture
def service() -> Iterator[KeyService]:
    running = KeyService()
    yield running
    running.server.shutdown()
    running.server.server_close()


def called(app: remit.App, times: int = 1) -> None:
    with app.session(app.issue(OPEN, credential=RAVI)) as session:
        for _ in range(times):
            session.call("bank.note", {"text": TEXT}, run=lambda text: text)


def arguments(app: remit.App) -> list[Any]:
    return [(record.disclosed() or {}).get("arguments") for record in records(app, "call.intent")]


@pytest.mark.requirement("privacy:keys")
class TestAKeyService:
    def test_is_asked_once_for_many_records(self, tmp_path: Path, service: KeyService) -> None:
        """A data key that it sealed wraps the keys of records."""
        with temporary(tmp_path, catalogue=CATALOGUE, key_encryption=HttpKey(service.url)) as app:
            called(app, times=20)
            assert arguments(app) == [{"text": TEXT}] * 20
            app.verify()

        assert service.asked == ["/wrap"]
        assert places(TEXT, tmp_path) == []

    def test_opens_what_another_process_wrote(self, tmp_path: Path, service: KeyService) -> None:
        """Once for each data key; its own name is recorded."""
        for _ in range(3):
            with temporary(tmp_path, catalogue=CATALOGUE, key_encryption=HttpKey(service.url)) as app:
                called(app)
        service.asked.clear()
        with temporary(tmp_path, catalogue=CATALOGUE, key_encryption=HttpKey(service.url)) as app:
            assert arguments(app) == [{"text": TEXT}] * 3
            assert records(app, "config.changed")[-1].data["privacy"]["key"] == "keys.acme.com/remit"

        assert service.asked == ["/unwrap"] * 3

    def test_that_does_not_answer_lets_no_tool_run(self, tmp_path: Path, service: KeyService) -> None:
        """What cannot be kept is not done."""
        service.broken = True
        ran: list[str] = []
        with temporary(tmp_path, catalogue=CATALOGUE, key_encryption=HttpKey(service.url)) as app:
            with pytest.raises(remit.EvidenceUnavailable, match=r"keys\.acme\.com/remit sealed no data key"):
                app.issue(OPEN, credential=RAVI)
            service.broken = False
            session = app.session(app.issue(OPEN, credential=RAVI), key="k").open()
            session.call("bank.note", {"text": TEXT}, run=lambda text: ran.append(text))
        service.broken = True
        with (
            temporary(tmp_path, catalogue=CATALOGUE, key_encryption=HttpKey(service.url)) as app,
            pytest.raises(remit.EvidenceUnavailable),
        ):
            app.session(session.grant_id, key="k").call("bank.note", {"text": TEXT}, run=lambda text: ran.append(text))
        assert ran == [TEXT]

    @pytest.mark.parametrize("answer", [b"", b"x" * 5000, "text", None])
    def test_that_answers_nonsense_is_not_believed(self, tmp_path: Path, answer: Any) -> None:
        """Also when it gives back the key itself."""

        class Wrong:
            id = "wrong"

            def wrap(self, key: bytes, context: Mapping[str, str]) -> bytes:
                return key if answer is None else answer

            def unwrap(self, sealed: bytes, context: Mapping[str, str]) -> bytes:
                return sealed

        with (
            temporary(tmp_path, catalogue=CATALOGUE, key_encryption=Wrong()) as app,
            pytest.raises(remit.EvidenceUnavailable, match="gave no sealed data key"),
        ):
            called(app)

    def test_takes_over_from_the_key_in_the_home(self, tmp_path: Path, service: KeyService) -> None:
        """What that wrapped stays readable for as long as it lies there."""
        with temporary(tmp_path, catalogue=CATALOGUE) as app:
            called(app)
        with temporary(tmp_path, catalogue=CATALOGUE, key_encryption=HttpKey(service.url)) as app:
            called(app)
            assert arguments(app) == [{"text": TEXT}] * 2

    def test_erasing_one_record_leaves_the_others_of_its_data_key(self, tmp_path: Path, service: KeyService) -> None:
        """The record's own key is what is destroyed."""
        with temporary(tmp_path, catalogue=CATALOGUE, key_encryption=HttpKey(service.url)) as app:
            called(app, times=2)
            first, _ = records(app, "call.intent")
            app.erase(records=[first.id], reason="asked to", credential="user:dora@acme.com")
            assert arguments(app) == [None, {"text": TEXT}]
            app.verify()


@pytest.mark.requirement("privacy:keys")
class TestTheEnvironment:
    def test_gives_the_key_instead_of_the_home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A copy of database and home opens nothing then."""
        monkeypatch.setenv("REMIT_KEK", base64.b64encode(os.urandom(32)).decode())
        with temporary(tmp_path / "one", catalogue=CATALOGUE) as app:
            called(app)
        assert not (tmp_path / "one" / "remit.db.remit" / "kek.key").exists()
        shutil.copytree(tmp_path / "one", tmp_path / "two")

        with temporary(tmp_path / "one", catalogue=CATALOGUE) as app:
            assert arguments(app) == [{"text": TEXT}]
        url = f"sqlite:///{tmp_path / 'two' / 'remit.db'}"
        monkeypatch.delenv("REMIT_KEK")
        with Ledger.open(url, writer=False) as ledger:
            assert [record.disclosed() for record in ledger.records(types=("call.intent",))] == [None]
            assert not ledger.verify().payloads_opened
        monkeypatch.setenv("REMIT_KEK", base64.b64encode(os.urandom(32)).decode())
        with (
            Ledger.open(url, writer=False) as ledger,
            pytest.raises(remit.VerificationError, match="wrapped under another key than is given here"),
        ):
            ledger.verify()

    @pytest.mark.parametrize("value", ["short", "not base64 at all !!", base64.b64encode(b"x" * 31).decode()])
    def test_with_no_key_in_it_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        """Without saying what it held."""
        monkeypatch.setenv("REMIT_KEK", value)
        with pytest.raises(remit.UsageError, match="32 random bytes in base64") as caught:
            remit.open(f"sqlite:///{tmp_path / 'remit.db'}")
        assert value not in str(caught.value)
