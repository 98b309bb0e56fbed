"""Counters of limits: what calls took, gave back, and what an amendment carried over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remit import counters
from remit.fsck.fold import Fold, on, private
from remit.fsck.rows import UNKNOWN
from remit.spending import spends_of

if TYPE_CHECKING:
    from remit.counters import Taken
    from remit.ledger import Record


@on("call.intent", "call.denied")
def took(fold: Fold, record: Record) -> None:
    """A call took from its limits; a refusal from the number of refusals."""
    amounts, whole = spends_of(record)
    if not whole:
        fold.blurred.update(fold.above(record.data["grant"]))
    counts = _session_counts(record)
    counters.take(fold.rows, tuple(pair for pair in amounts if pair[0] not in counts))
    for limit, value in counts.items():
        fold.rows.put("counters", limit, value=value)
    if record.type == "call.intent":
        fold.spends[record.data["call"]] = amounts


def _session_counts(record: Record) -> dict[str, str]:
    """The counts that guardrails read: what the decision saw, and this call."""
    facts, told = record.data.get("facts", {}), dict(record.data.get("spends", ()))
    both = {f"{record.session}/calls": "calls", f"{record.session}/calls:{record.data['tool']}": "tool_calls"}
    return {limit: str(facts.get(fact, 0) + 1) for limit, fact in both.items() if limit in told}


@on("call.resumed")
def went_on(fold: Fold, record: Record) -> None:
    """It took its share when it began."""
    fold.spends[record.data["call"]] = ()


@on("call.outcome")
def ended(fold: Fold, record: Record) -> None:
    """Only what did not run gives back."""
    if record.data["status"] == "not_run":
        _give_back(fold, fold.spends.get(record.data["call"], ()))


@on("call.resolved")
def resolved(fold: Fold, record: Record) -> None:
    """A person says that it did not run."""
    given = set(record.data["given_back"])
    _give_back(fold, tuple(pair for pair in _at_intent(fold, record) if pair[0] in given))


def _at_intent(fold: Fold, record: Record) -> Taken:
    intent = fold.ledger.record(record.data["intent"])
    return spends_of(intent)[0] if intent is not None else ()


def _give_back(fold: Fold, amounts: Taken) -> None:
    counters.give_back(fold.rows, amounts)


@on("grant.amended")
def carried(fold: Fold, record: Record) -> None:
    """Counters of limits that are new, or count something else, begin with what was spent so far."""
    said = private(record)
    for limit, value in [*record.data.get("carried", ()), *((said or {}).get("carried", ()))]:
        fold.rows.put("counters", limit, value=value)
    if said is None and "carried" in record.private:
        fold.blurred.add(record.data["grant"])
        fold.blurred_rates.add(record.data["grant"])


def blur(fold: Fold) -> None:
    """Mark every counter that nobody can tell any more."""
    for name, row in fold.rows.of("counters").items():
        if untold(fold, name):
            row["value"] = UNKNOWN


def untold(fold: Fold, name: str) -> bool:
    """Whether a counter depends on amounts that were erased."""
    grant, _, rest = name.partition("/")
    if grant in fold.blurred and (":sum:" in rest or "distinct:" in rest):
        return True
    return grant in fold.blurred_rates and "rate:" in rest
