"""The write-behind cache of read-model rows, against a plain dict: any jobs, any batches, two writers, any failure."""

from __future__ import annotations

import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from remit.ledger import Ledger, Txn
from remit.store.tables import ToolRow
from tests import stores

KEYS = ("crm.a", "crm.b", "crm.c")
REQUIRED = ("digest", "state", "record_id")
OPTIONAL = ("schema_digest", "text_digest", "seen")

values = st.sampled_from(["1", "2", "3"])
changes = st.dictionaries(st.sampled_from(REQUIRED + OPTIONAL), values, min_size=1) | st.fixed_dictionaries(
    dict.fromkeys(REQUIRED, values), optional=dict.fromkeys(OPTIONAL, values)
)
steps = st.tuples(st.sampled_from(["put", "put", "put", "get", "rows"]), st.sampled_from(KEYS), changes)
jobs = st.tuples(st.lists(steps, min_size=1, max_size=4), st.booleans())
batches = st.tuples(st.integers(0, 1), st.lists(jobs, min_size=1, max_size=4))


class Stop(Exception):
    """A job that fails."""


def play(txn: Txn, model: dict[str, dict[str, Any]], steps: list[Any], fails: bool) -> None:
    """The same steps on the transaction and on the model, compared wherever the transaction can be asked."""
    for verb, key, change in steps:
        if verb == "put":
            if key not in model and not change.keys() >= set(REQUIRED):
                continue
            blank = {"key": key, **dict.fromkeys(REQUIRED + OPTIONAL)}
            model[key] = {**blank, **model.get(key, {}), **change}
            txn.put("tools", key, **change)
        elif verb == "get":
            assert txn.get("tools", key) == model.get(key)
        else:
            found = txn.rows(select(ToolRow.key, ToolRow.digest, ToolRow.text_digest).order_by(ToolRow.key))
            assert list(found) == [(row["key"], row["digest"], row["text_digest"]) for _, row in sorted(model.items())]
    if fails:
        raise Stop


def run_batch(ledger: Ledger, model: dict[str, dict[str, Any]], work: list[Any]) -> dict[str, dict[str, Any]]:
    """All jobs in one transaction; the model after it."""
    entered, release = threading.Event(), threading.Event()
    states: dict[int, dict[str, dict[str, Any]]] = {-1: model}

    def hold(txn: Txn) -> None:
        entered.set()
        release.wait(10)

    def job(txn: Txn, number: int, steps: list[Any], fails: bool) -> None:
        """May run again: then it begins with what the job before it came to, as it did at first."""
        before = states[max(earlier for earlier in states if earlier < number)]
        draft = {key: dict(row) for key, row in before.items()}
        play(txn, draft, steps, fails)
        states[number] = draft

    held = ledger.submit(hold)
    assert entered.wait(10)
    futures = [
        ledger.submit(partial(job, number=number, steps=steps, fails=fails))
        for number, (steps, fails) in enumerate(work)
    ]
    release.set()
    held.result()
    for future, (_, fails) in zip(futures, work, strict=True):
        error = future.exception()
        assert isinstance(error, Stop) if fails else error is None, error
    return states[max(states)]


@pytest.mark.requirement("T12")
@given(st.lists(batches, min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_rows_are_those_of_a_dict(work: list[Any]) -> None:
    """Whatever is put, got, queried or taken back, in whatever groups, by whichever of two writers."""
    with tempfile.TemporaryDirectory() as folder:
        url = stores.url_for(Path(folder), "rows.db")
        with Ledger.create(url) as one, Ledger.open(url) as other:
            model: dict[str, dict[str, Any]] = {}
            for which, group in work:
                model = run_batch((one, other)[which], model, group)
            stored = one.read().mappings(select(ToolRow))
            assert {row["key"]: row for row in stored} == model
        if stores.ON_POSTGRESQL:
            stores.drop_below(Path(folder))
