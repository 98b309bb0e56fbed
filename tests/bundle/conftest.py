"""What the tests of evidence share: a session as reviewers know it, its bundle, and attackers who rewrite bundles."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.bundle.exporting import Exported, export
from remit.remit_verify import Files, Roots, Verified, roots_of, verify
from remit.testing import Clock
from tests.core.conftest import CATALOGUE
from tests.review.conftest import GRANT, PEOPLE, Tools, attempt
from tests.stores import temporary


class Bundle:
    """The files of a bundle in memory, and the key that its reader has."""

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self.files = {
            found.relative_to(path).as_posix(): found.read_bytes() for found in path.rglob("*") if found.is_file()
        }
        self.roots = roots_of([key])

    def verify(self, roots: Roots | None = None, files: dict[str, bytes] | None = None) -> Verified:
        """As the verifier sees these files."""
        return verify(Files.of(self.files if files is None else files), roots or self.roots)

    def without(self, *names: str) -> dict[str, bytes]:
        """The files, some left out, also from the manifest."""
        return self.relisted({name: content for name, content in self.files.items() if name not in names})

    def relisted(self, files: dict[str, bytes]) -> dict[str, bytes]:
        """The files with a manifest that lists just them, as somebody would write it who has not the log's key."""
        manifest = json.loads(files["manifest.json"])
        manifest["files"] = {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
            for name, content in files.items()
            if name != "manifest.json" and not name.startswith("exported/")
        }
        return {**files, "manifest.json": compact(manifest)}

    def named(self, name: str) -> Any:
        """A JSON file, parsed."""
        return json.loads(self.files[name])

    def record(self, kind: str) -> tuple[int, dict[str, Any]]:
        """The first record of a type: (index, leaf)."""
        for name in sorted(self.files, key=lambda name: (len(name), name)):
            if name.startswith("records/") and self.named(name)["type"] == kind:
                return int(name.removeprefix("records/")), self.named(name)
        raise AssertionError(f"no {kind} in the bundle")


def compact(value: Any) -> bytes:
    """Canonical JSON, for values without fractions and astral keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> Iterator[remit.App]:
    """An app that needs credentials."""
    with temporary(tmp_path, clock=clock, catalogue=CATALOGUE, people=PEOPLE, development=False) as opened:
        yield opened


@pytest.fixture
def people(app: remit.App) -> dict[str, remit.Credential]:
    """Everybody's credential, enrolled."""
    made = {name: remit.Credential.generate(f"{name}@acme.com") for name in ("ravi", "bob", "carol", "dora")}
    for number, credential in enumerate(made.values()):
        app.enrol(credential.subject, credential.public_key, credential=made["ravi"] if number else None)
    return made


@pytest.fixture
def session_id(app: remit.App, people: dict[str, remit.Credential]) -> str:
    """A call that ran, one that was refused, one that bob approved; closed, and judged by carol."""
    grant = app.issue(GRANT, credential=people["dora"])
    tools = Tools()
    with app.session(grant, key="ticket-88") as session:
        attempt(session, tools, "crm.read_ticket", id=88)
        attempt(session, tools, "crm.read_ticket", id=89)
        with pytest.raises(remit.ApprovalRequired) as asked:
            session.call("payments.refund", {"amount": 20}, run=tools("payments.refund"))
        app.approve(asked.value.approval_id, credential=people["bob"])
        session.resume(asked.value.approval_id, run=tools("payments.refund"))
        session.close("done")
    app.verdict(session.id, "within", credential=people["carol"])
    return session.id


@pytest.fixture
def exporting(app: remit.App, people: dict[str, remit.Credential], tmp_path: Path) -> Callable[..., Exported]:
    """`exporting(session=…)` writes a bundle as carol."""
    written: list[Path] = []

    def write(**options: Any) -> Exported:
        out = tmp_path / f"bundle-{len(written)}{options.pop('suffix', '')}"
        written.append(out)
        return export(app.deployment, out, **{"credential": people["carol"], **options})

    return write


@pytest.fixture
def bundle(app: remit.App, session_id: str, exporting: Callable[..., Exported]) -> Bundle:
    """The session's bundle, everything disclosed."""
    found = exporting(session=session_id, disclose=["everything"])
    return Bundle(found.path, app.ledger.verifier_key)
