"""What follows from text that was erased is untold, and never wrong."""

from __future__ import annotations

from sqlalchemy import select
from sqlmodel import col

from remit.fsck import check
from remit.store.tables import SessionRow
from tests.fsck.conftest import RAVI, Copy


def test_an_erased_session_leaves_nothing_wrong(copy: Copy) -> None:
    """Sums, resources and the index by resource cannot be told any more; everything else still is compared."""
    with copy.app() as app:
        for (session,) in app.ledger.read().rows(select(col(SessionRow.id)).where(col(SessionRow.state) == "open")):
            app.close_session(session, "over", credential=RAVI)
        app.erase(subject=RAVI, reason="asked to", credential=RAVI)
        found = check(app.ledger)
    assert [finding.sentence for finding in found.findings] == []
    assert {(one.table, one.column) for one in found.untold} >= {("counters", "value"), ("touches", "touch")}
    assert all("was erased, or its key is not here" in one.sentence for one in found.untold)


def test_counters_of_calls_are_still_compared_after_an_erasure(copy: Copy) -> None:
    """How often something was called stands in the leaves."""
    with copy.app() as app:
        for (session,) in app.ledger.read().rows(select(col(SessionRow.id)).where(col(SessionRow.state) == "open")):
            app.close_session(session, "over", credential=RAVI)
        app.erase(subject=RAVI, reason="asked to", credential=RAVI)
    with copy.sql() as connection:
        connection.execute("UPDATE counters SET value = '0' WHERE id LIKE '%/calls'")
    with copy.ledger() as ledger:
        assert {finding.table for finding in check(ledger).findings} == {"counters"}


def test_without_the_key_of_payloads_what_depends_on_them_is_untold(copy: Copy) -> None:
    """An auditor's copy: less can be told, and nothing is called wrong."""
    (copy.folder / "remit.db.remit" / "kek.key").unlink()
    with copy.ledger() as ledger:
        found = check(ledger)
    assert [finding.sentence for finding in found.findings] == []
    assert ("calls", "content") in {(one.table, one.column) for one in found.untold}
