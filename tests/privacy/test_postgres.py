"""Erasing on PostgreSQL: what the server's files hold afterwards, and what the operator is told to run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import remit
from remit.erasing import finish
from remit.ledger.scrubbing import ON_A_SERVER
from tests.postgres import Server
from tests.privacy.conftest import CATALOGUE, places
from tests.privacy.test_erasing import NEEDLE, WHO, worked


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    """A server whose files nobody else writes to."""
    started = Server()
    yield started
    started.remove()


@pytest.mark.requirement("privacy:erase")
def test_after_the_advice_is_followed_neither_text_nor_key_is_in_the_tables_files(own: Server, tmp_path: Path) -> None:
    """The text is in no file of the server at any time; its wrapped key leaves the tables with VACUUM FULL."""
    own.execute("CREATE DATABASE privacy")
    with remit.open(own.url("privacy"), home=tmp_path / "home", development=True, catalogue=CATALOGUE) as app:
        session = worked(app, times=20)
        rows = own.execute(
            "SELECT wrapped_key, ciphertext FROM payload JOIN record ON record.id = record_id "
            f"WHERE session = '{session}'",
            "privacy",
        )
        assert len(rows) > 40

        done = app.erase(session=session, reason="asked to", credential=WHO)

        assert (done.scrubbed.complete, done.scrubbed.advice) == (False, ON_A_SERVER)
        own.execute("VACUUM FULL payload", "privacy")
        own.execute("CHECKPOINT", "privacy")
        keys = [place for row in rows for part in row for place in places(bytes(part)[-48:], own.data / "base")]
        assert keys == []
        assert places(NEEDLE, own.data) == []
        assert places(NEEDLE, tmp_path) == []
        assert app.verify().erased == len(done.records)
        assert finish(app.deployment).advice == ON_A_SERVER
