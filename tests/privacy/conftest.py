"""What the tests of privacy share: a login tool with a secret, a search for needles, and words for making calls."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.testing import Clock, temporary

CATALOGUE: dict[str, Any] = {
    "tools": {
        "bank.login": {"accesses": ["write bank://session"], "secret": ["pin"], "redact": ["iban"]},
        "bank.note": {"accesses": ["write bank://notes"]},
        "bank.dump": {"accesses": ["read bank://dump"], "read_only": True, "idempotent": True},
    }
}

OPEN: dict[str, Any] = {
    "task": "Look after the account of customer 88",
    "principal": "user:ravi@acme.com",
    "agent": "agent:teller",
    "expires_in": "20m",
    "tools": {
        "bank.login": {
            "resources": "any",
            "arguments": {
                "pin": "any",
                "iban": {"any": True, "optional": True},
                "who": {"any": True, "optional": True},
            },
        },
        "bank.note": {"resources": "any", "other_arguments": "any"},
        "bank.dump": {"resources": "any", "other_arguments": "any"},
    },
}

PIN = "pin-7351-quokka"
IBAN = "DE02-needle-iban-4711"
TOKEN = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
"""A token of the right shape, written apart so that no scanner of sources takes it for one."""

RAVI = "user:ravi@acme.com"


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> Iterator[remit.App]:
    """A development app whose catalogue marks a secret."""
    with temporary(tmp_path, clock=clock, catalogue=CATALOGUE) as opened:
        yield opened


@pytest.fixture
def grant(app: remit.App) -> remit.Grant:
    """A grant of every tool here."""
    return app.issue(OPEN, credential=RAVI)


def spellings(needle: str) -> Iterator[bytes]:
    """How a text would lie in a file: as it is, escaped for JSON, in base64 at each offset, as UTF-16."""
    yield needle.encode()
    yield json.dumps(needle)[1:-1].encode()
    yield needle.encode("utf-16-le")
    yield needle.encode("utf-16-be")
    yield needle.encode().hex().encode()
    for offset in range(3):
        skip = (offset * 8 + 5) // 6  # characters that mix with what stands before
        text = base64.b64encode(b"\0" * offset + needle.encode()).decode().rstrip("=")
        yield text[skip + 1 : -2].encode()


def places(needle: str | bytes, folder: Path) -> list[str]:
    """Every file below a folder in which a needle lies, in any spelling."""
    wanted = list(spellings(needle)) if isinstance(needle, str) else [needle]
    found = []
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        content = path.read_bytes()
        found += [f"{path.name}: {spelling!r}" for spelling in wanted if spelling in content]
    return found


def records(app: remit.App, *types: str) -> list[remit.Record]:
    """Records of these types, in order."""
    return list(app.ledger.records(types=types))


def everything_said(app: remit.App) -> Iterable[str]:
    """Leaves and payloads of a whole ledger, as text."""
    for record in app.ledger.records():
        yield record.body.decode()
        yield json.dumps(record.disclosed(), ensure_ascii=False)
