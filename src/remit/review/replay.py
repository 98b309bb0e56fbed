"""Deciding recorded calls again: first as they were, then under other grants, catalogues or guardrails.

The first is a proof: today's code reproduces every decision of the ledger from its record. The second is a forecast,
and a first-order one: an agent that had been refused at its third call might not have made the fourth. What cannot be
decided from records is counted with its reason, never guessed.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from remit import provenance
from remit.authority.calls import CallView, Decision
from remit.authority.compile import CompiledGrant, compile_grant
from remit.authority.decide import settle
from remit.authority.guardrails import Guardrails
from remit.authority.source import GrantSource, read_grant
from remit.authority.templates import instantiate
from remit.authority.terms import issue_terms
from remit.errors import GrantError, NotCanonical, VerificationError
from remit.prepare import judge
from remit.resources.access import Access
from remit.resources.catalogue import Catalogue
from remit.review.recall import DECIDED, CannotRecall, Recall, Recalled, Undecidable, Verdict
from remit.review.tally import Tally

if TYPE_CHECKING:
    from remit.app import App
    from remit.deployment import Deployment
    from remit.ledger import Record

TYPES: Final = (*DECIDED, "call.outcome")


@dataclass(frozen=True, slots=True)
class Difference:
    """A recorded decision that its own record does not give again."""

    index: int | None
    record: str
    call: str
    tool: str
    recorded: Verdict
    now: Verdict
    reason: str

    def __str__(self) -> str:
        place = self.record if self.index is None else self.index
        return (
            f"record {place} ({self.tool}): recorded {self.recorded} by {self.recorded.rule}, "
            f"decided again {self.now} by {self.now.rule}: {self.reason}"
        )


@dataclass(slots=True)
class Reproduced:
    """What deciding every recorded call again came to."""

    decisions: int = 0
    same: int = 0
    undecidable: collections.Counter[Undecidable] = field(default_factory=collections.Counter)
    different: list[Difference] = field(default_factory=list)


class Row(NamedTuple):
    """One line of the table: from which decision to which, by which rule, how often."""

    old: str
    new: str
    rule: str
    calls: int


@dataclass(slots=True)
class Replayed:
    """What recorded calls come to under other files."""

    decisions: int = 0
    unchanged: int = 0
    changed: collections.Counter[tuple[str, str, str]] = field(default_factory=collections.Counter)
    undecidable: collections.Counter[Undecidable] = field(default_factory=collections.Counter)
    resolver_changed: int = 0
    examples: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def rows(self) -> list[Row]:
        """The table, most frequent first."""
        return [Row(*key, count) for key, count in sorted(self.changed.items(), key=lambda item: (-item[1], item[0]))]


def reproduce(app: App, session_id: str | None = None) -> Reproduced:
    """Decide every recorded call again from its record. Raises `VerificationError` naming the first that differs."""
    found = compare(app.deployment, session_id)
    if found.different:
        more = f" (and {len(found.different) - 1} more)" if len(found.different) > 1 else ""
        raise VerificationError(
            f"the decision is not what its record gives: {found.different[0]}{more}", index=found.different[0].index
        )
    return found


def compare(deployment: Deployment, session_id: str | None = None) -> Reproduced:
    """The same, with every difference in what is returned."""
    recall, found = Recall(deployment.ledger), Reproduced()
    for record in deployment.ledger.records(session=session_id, types=DECIDED):
        found.decisions += 1
        try:
            recalled = recall.of(record)
            recalled.require_readable(recalled.chain, recalled.guardrails)
        except CannotRecall as cannot:
            found.undecidable[cannot.why] += 1
            continue
        decision = decided_again(deployment, recalled)
        if Verdict.of(decision) == recalled.decided and decision.reason == recalled.reason:
            found.same += 1
        elif recalled.inexact:
            found.undecidable["inexact"] += 1
        elif "remit/own-files" in (decision.rule, recalled.decided.rule) and decision.rule != recalled.decided.rule:
            found.undecidable["own_files"] += 1
        else:
            found.different.append(_difference(record, recalled, decision))
    return found


def decided_again(deployment: Deployment, recalled: Recalled) -> Decision:
    """The decision, from nothing but what was recorded."""
    matched = judge(recalled.chain, recalled.view, recalled.failure, deployment.own_files)
    return settle(recalled.chain, matched, recalled.facts, recalled.guardrails)


def _difference(record: Record, recalled: Recalled, decision: Decision) -> Difference:
    return Difference(
        record.place,
        record.id,
        record.data["call"],
        record.data["tool"],
        recalled.decided,
        Verdict.of(decision),
        decision.reason,
    )


# -- under other files


class Others:
    """The files to decide by instead. What is None stays as it was recorded."""

    def __init__(
        self,
        grant: GrantSource | None = None,
        catalogue: Catalogue | None = None,
        guardrails: Guardrails | None = None,
    ) -> None:
        self.grant = grant
        self.catalogue = catalogue
        self.guardrails = guardrails
        self._made: dict[str, CompiledGrant] = {}

    @classmethod
    def load(cls, grant: Path | None, catalogue: Path | None, policies: Path | None) -> Others:
        """From files. Raises `GrantError`."""
        guardrails: Guardrails | None = None
        if policies is not None:
            from remit.authority.cedar.rules import CedarGuardrails  # its library is large; most replays need none

            guardrails = CedarGuardrails.load(policies)
        return cls(
            read_grant(grant) if grant is not None else None,
            Catalogue.load(catalogue) if catalogue is not None else None,
            guardrails,
        )

    def chain(self, recalled: Recalled) -> tuple[CompiledGrant, ...]:
        """The recorded chain, its last link replaced. Raises `CannotRecall` where the new grant is not for it."""
        if self.grant is None:
            return recalled.chain
        acting = recalled.chain[-1]
        found = self._made.get(acting.digest)
        if found is None:
            found = self._made[acting.digest] = self._instead_of(acting)
        return (*recalled.chain[:-1], found)

    def _instead_of(self, acting: CompiledGrant) -> CompiledGrant:
        assert self.grant is not None
        old = acting.terms
        if self.grant.document.template != old.template:
            raise CannotRecall("other_grant")
        try:
            result = instantiate(self.grant, old.parameters)
            terms = issue_terms(
                result,
                grant_id=old.id,
                version=old.version,
                issued_at=old.issued_at,
                issuer=old.issuer,
                parent=old.parent,
            )
            return compile_grant(terms)
        except GrantError:
            raise CannotRecall("other_grant") from None


def replay(app: App, others: Others, *, session_id: str | None = None) -> Replayed:
    """Decide recorded calls under `others`. Limits count what would have run there."""
    return _Replay(app.deployment, others).run(session_id)


class _Replay:
    """One pass over the records, in the log's order."""

    def __init__(self, deployment: Deployment, others: Others) -> None:
        self._deployment = deployment
        self._others = others
        self._recall = Recall(deployment.ledger)
        self._histories: dict[str, provenance.History] = {}
        self._tally = Tally()
        self._found = Replayed()

    def run(self, session_id: str | None) -> Replayed:
        for record in self._records(session_id):
            if record.type == "call.outcome":
                self._ended(record)
            else:
                self._one(record)
            if record.type != "approval.requested" and record.type != "call.denied":
                history = self._histories.setdefault(record.session or "", provenance.History())
                history.add(record, self._others.catalogue or self._deployment.catalogue)
        return self._found

    def _records(self, session_id: str | None) -> Iterator[Record]:
        return self._deployment.ledger.records(session=session_id, types=TYPES)

    def _one(self, record: Record) -> None:
        self._found.decisions += 1
        try:
            recalled = self._recall.of(record)
            decision = self._decide(recalled)
        except CannotRecall as cannot:
            self._found.undecidable[cannot.why] += 1
            return
        call = record.data["call"]
        if decision.effect == "permit" and record.type != "call.resumed" and call not in self._tally:
            self._tally.spend(call, decision.spends, recalled.facts.now)  # it would have run, whether or not it did
        now = Verdict.of(decision)
        if (now.effect, now.code, now.enforced) == (
            recalled.decided.effect,
            recalled.decided.code,
            recalled.decided.enforced,
        ):
            self._found.unchanged += 1
            return
        key = (str(recalled.decided), str(now), now.rule or "")
        self._found.changed[key] += 1
        self._found.examples.setdefault(key, record.data["call"])

    def _decide(self, recalled: Recalled) -> Decision:
        others = self._others
        chain = others.chain(recalled)
        guardrails = self._guardrails(recalled)
        recalled.require_readable(chain, guardrails)
        view, failure = self._view(recalled, chain)
        facts = recalled.facts
        if others.grant is not None:
            facts = replace(facts, counters=self._tally.counters(chain, view, facts.now))
        matched = judge(chain, view, failure, self._deployment.own_files)
        return settle(chain, matched, facts, guardrails)

    def _guardrails(self, recalled: Recalled) -> Guardrails | None:
        new = self._others.guardrails
        if new is None:
            return recalled.guardrails
        reads: frozenset[str] = getattr(new, "reads_session", frozenset())
        if reads - {"labels", "hour_utc"} and not recalled.guarded:
            raise CannotRecall("facts_missing")
        return new

    def _view(self, recalled: Recalled, chain: tuple[CompiledGrant, ...]) -> tuple[CallView, Any]:
        view, failure = recalled.view, recalled.failure
        if self._others.catalogue is not None and failure is None:
            entry = self._others.catalogue.entry(view.tool)
            if entry is not None and entry.arguments & recalled.hidden:
                raise CannotRecall("secret")
            resolved = _resolved(view, self._others.catalogue)
            if (resolved.accesses, resolved.unresolved) != (view.accesses, view.unresolved):
                self._found.resolver_changed += 1
            view = resolved
        if self._others.grant is not None:
            pickers = provenance.pickers_for(chain, view.tool)
            history = self._histories.get(recalled.record.session or "", provenance.History())
            view = replace(view, sources=provenance.find(pickers, tuple(history.calls.values()), view))
        return view, failure

    def _ended(self, record: Record) -> None:
        if record.data["status"] == "not_run":
            self._tally.give_back(record.data["call"])


def _resolved(view: CallView, catalogue: Catalogue) -> CallView:
    """The call with what another catalogue says that it touches."""
    entry = catalogue.entry(view.tool)
    accesses: tuple[Access, ...] = ()
    unresolved: str | None = None
    if entry is not None:
        try:
            accesses = entry.resolve(view.effective)
        except NotCanonical as error:
            unresolved = str(error)
    return replace(
        view,
        accesses=accesses,
        unresolved=unresolved,
        covered=entry.covered if entry is not None else frozenset(),
        catalogued=entry is not None and entry.yields_accesses,
        secret=view.secret | (entry.secret | entry.redact if entry is not None else frozenset()),
    )
