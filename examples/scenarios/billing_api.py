"""The API of the token exchange scenario: it takes only tokens that are meant for it, and looks at their scope."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from remit import IdentityError
from remit.tokens import TokenVerifier

SCOPES = {("GET", "/invoices/42"): "invoices:read", ("POST", "/refunds"): "refunds:write"}


class Handler(BaseHTTPRequestHandler):
    """Two resources."""

    server: Any

    def do_GET(self) -> None:
        self._serve({"invoice": 42, "charged": [20, 20]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
        self._serve({"refunded": asked["amount"], "invoice": asked["invoice"]})

    def _serve(self, answer: dict[str, Any]) -> None:
        try:
            token = self.server.verifier.verify(self.headers.get("authorization", "").removeprefix("Bearer "))
        except IdentityError:
            return self._answer(401, {"error": "invalid_token"})
        if SCOPES.get((self.command, self.path)) not in token.scopes:
            return self._answer(403, {"error": "insufficient_scope"})
        return self._answer(200, answer)

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class says so
        """Quiet."""


@contextmanager
def billing(verifier: TokenVerifier) -> Iterator[str]:
    """The API on a free port of this machine; gives its base URL."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.verifier = verifier  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        http.server_close()
        thread.join(5)
