"""`remit token`: from one command line to another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import remit
from remit.signing import SigningKey
from remit.tokens import TokenVerifier, jwk_of, prove
from remit.tokens.projection import TOKEN_TYPE
from tests.tokens.conftest import GRANT


@pytest.mark.requirement("P2")
def test_token_from_the_command_line_is_one_that_its_keys_verify(tmp_path: Path) -> None:
    """Issued by one process, verified with what another printed, presented in a third."""
    url = f"sqlite:///{tmp_path}/remit.db"
    holder, jwk = SigningKey.generate(), tmp_path / "holder.json"
    jwk.write_text(json.dumps(jwk_of(holder.public)), encoding="utf-8")
    with remit.open(url, development=True) as app:
        grant = app.issue(GRANT, credential="user:alice@acme.com")
        origin = app.ledger.origin

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "REMIT_URL": url, "XDG_CONFIG_HOME": str(tmp_path)}
        return subprocess.run(
            [sys.executable, "-m", "remit", "token", *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=tmp_path,
            env=environment,
        )

    alice = ("--as", "alice@acme.com", "--development")
    issued = command("issue", grant.id, "--for", origin, "--confirm", str(jwk), "--expires-in", "5m", *alice)
    assert issued.returncode == 0, issued.stderr
    token = issued.stdout.strip()
    keys = json.loads(command("keys", "--json").stdout)
    assert TokenVerifier(origin, origin, keys, types=[TOKEN_TYPE]).verify(token).principal == "user:alice@acme.com"
    with remit.open(url, can={"session"}, development=True) as agent:
        agent.session(token=token, proof=prove(token, holder, audience=origin)).open()

    refused = command("issue", "g-none", "--for", origin, *alice)
    assert refused.returncode in (1, 2)
    assert "no grant 'g-none'" in refused.stderr
    assert "Traceback" not in refused.stderr
