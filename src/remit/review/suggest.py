"""`remit grant suggest`: the narrowest grant that recorded sessions needed, held against their history."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from remit.authority.calls import Decision, Facts
from remit.authority.compile import CompiledGrant, compile_grant
from remit.authority.decide import settle
from remit.authority.durations import show_span
from remit.authority.literals import add_exactly, decimal_text
from remit.authority.model import ONLY
from remit.authority.source import GrantSource, read_grant
from remit.authority.templates import instantiate
from remit.authority.terms import GrantTerms, issue_terms
from remit.errors import GrantError, UsageError
from remit.prepare import judge
from remit.review import following
from remit.review.drafting import Drafted, draft, number
from remit.review.following import NOTHING
from remit.review.generalise import as_source, escaped
from remit.review.history import History, find
from remit.review.learning import WHY, Learned, Sample, learn
from remit.review.writing import Writer, constraint, flow, quoted, scalar

if TYPE_CHECKING:
    from remit.deployment import Deployment

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A recorded call that the suggested grant would refuse, or would let through, other than the recorded one."""

    session: str
    call: str
    tool: str
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {"session": self.session, "call": self.call, "tool": self.tool, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A grant as YAML, and what its replay on history came to.

    `permitted` calls were learned from, and all of them are permitted. `would_refuse` were permitted, but nothing was
    learned from them (`left_out` says why, counted). `still_refused` were refused and would be; `would_permit` were
    refused, by something that is no part of a grant's clauses, such as a limit that was spent.
    """

    text: str
    permitted: int
    sessions: int
    left_out: Mapping[str, int]
    would_refuse: tuple[Refusal, ...]
    still_refused: int
    would_permit: tuple[Refusal, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            "grant": self.text,
            "permitted": self.permitted,
            "sessions": self.sessions,
            "left_out": dict(self.left_out),
            "would_refuse": [one.as_dict() for one in self.would_refuse],
            "still_refused": self.still_refused,
            "would_permit": [one.as_dict() for one in self.would_permit],
        }


def suggest(
    deployment: Deployment,
    name: str | None = None,
    *,
    sessions: Iterable[str] = (),
    template: GrantSource | None = None,
) -> Suggestion:
    """The narrowest grant for a grant's, a template's, or these sessions. With the `template`'s own source, task and
    parameters are taken over from it.

    Raises `UsageError` when there is nothing to learn from, `GrantError` when it can be said in no one grant.
    """
    history = find(deployment, name, sessions)
    learned = learn(deployment, history)
    _require_one_kind(history)
    if not learned.samples:
        why = "; ".join(f"{count}: {WHY[reason]}" for reason, count in learned.left_out.items())
        raise UsageError(f"no call of {history.subject} can be learned from" + (f" ({why})" if why else ""))
    grants = {sample.grant_id: sample.parameters for sample in learned.samples}
    names = following.varying(list(grants.values()))
    as_it_was: set[Key] = set()
    while True:
        text = _written(history, learned, names, as_it_was, template)
        source = read_grant(text)
        replay = _Replay(deployment, source, history, learned)
        failing = replay.failing()
        if not failing:
            return _suggestion(text, learned, replay)
        if failing <= as_it_was:
            tool, clause = min(failing)
            raise GrantError(f"{tool} ({clause}): its recorded calls can be said in no clause; write it by hand")
        as_it_was |= failing


def _require_one_kind(history: History) -> None:
    templates = {terms.template for terms in history.grants.values()}
    if len(history.grants) > 1 and (len(templates) > 1 or None in templates):
        raise UsageError(
            f"these sessions ran under {len(history.grants)} grants that are not of one template; suggest for one "
            "grant, or for the grants of one template"
        )


# -- replay


class _Replay:
    """The suggested grant, once with the parameters of each grant that it was learned from, put before every call."""

    def __init__(self, deployment: Deployment, source: GrantSource, history: History, learned: Learned) -> None:
        self._deployment = deployment
        self._learned = learned
        self._grants = {grant_id: _issued(source, terms) for grant_id, terms in history.grants.items()}

    def failing(self) -> set[Key]:
        """Clauses whose own calls the suggestion does not permit."""
        counters: dict[str, dict[str, str]] = {}
        found = set()
        for sample in self._learned.samples:
            held = counters.setdefault(sample.grant_id, {})
            if sample.recalled.hidden & self._grants[sample.grant_id].reads(sample.tool):
                continue  # its bound stays what it was: what it was held against is kept nowhere
            decision = self.decide(sample, held)
            if decision.effect != "permit":
                found.add(sample.key)
                continue
            for spend in decision.spends:
                if not spend.resources and not spend.seconds:
                    total = add_exactly(Decimal(held.get(spend.limit, "0")), Decimal(spend.amount))
                    held[spend.limit] = decimal_text(total)
        return found

    def decide(self, sample: Sample, counters: Mapping[str, str] | None = None) -> Decision:
        """What the suggestion says to a recorded call, with nothing else in its way."""
        grant = self._grants[sample.grant_id]
        rules = frozenset(
            f"{tool}/{clause.name}"
            for tool, clauses in grant.tools.items()
            for clause in clauses
            if sample.approved and tool == sample.tool
        )
        facts = Facts(grant.not_before, "open", frozenset(), dict(counters or {}), rules)
        recalled = sample.recalled
        matched = judge((grant,), recalled.view, recalled.failure, self._deployment.own_files)
        return settle((grant,), matched, facts)


def _issued(source: GrantSource, terms: GrantTerms) -> CompiledGrant:
    given = {name: value for name, value in terms.parameters.items() if name in source.parameters}
    result = instantiate(source, given)
    return compile_grant(
        issue_terms(result, grant_id="g-suggested", version=1, issued_at=terms.issued_at, issuer=terms.issuer)
    )


def _suggestion(text: str, learned: Learned, replay: _Replay) -> Suggestion:
    others = [(sample, replay.decide(sample)) for _, sample in learned.others]
    refused = [(sample, replay.decide(sample)) for sample in learned.refused]
    return Suggestion(
        text=text,
        permitted=len(learned.samples),
        sessions=len({sample.session_id for sample in learned.samples}),
        left_out=dict(learned.left_out),
        would_refuse=tuple(_refusal(sample, said.reason) for sample, said in others if said.effect == "deny"),
        still_refused=sum(said.effect != "permit" for _, said in refused),
        would_permit=tuple(
            _refusal(sample, sample.recalled.reason) for sample, said in refused if said.effect == "permit"
        ),
    )


def _refusal(sample: Sample, reason: str) -> Refusal:
    return Refusal(sample.session_id, sample.recalled.record.data["call"], sample.tool, reason)


# -- writing it down


def _written(
    history: History, learned: Learned, names: Sequence[str], as_it_was: set[Key], template: GrantSource | None
) -> str:
    groups: dict[str, dict[str, list[Sample]]] = {}
    for sample in learned.samples:
        tool, clause = sample.key
        groups.setdefault(tool, {}).setdefault(clause, []).append(sample)
    drafted = {
        tool: [draft(samples, names, as_it_was=(tool, clause) in as_it_was) for clause, samples in clauses.items()]
        for tool, clauses in _ordered(groups, history.newest).items()
    }
    body = Writer()
    _head(body, history, learned, names, template)
    _limits(body, history, learned, list(drafted))
    body.line(0, "tools:")
    for tool, clauses in drafted.items():
        _tool(body, tool, clauses)
    text = body.text()
    used = [name for name in names if f"${{{name}}}" in text.replace("$${", "")]
    top = Writer()
    calls = len(learned.samples)
    top.comment(0, f"The narrowest grant for {calls} call{'s' * (calls > 1)} of {history.subject}, as recorded.")
    for reason, count in sorted(learned.left_out.items()):
        top.comment(0, f"Not learned from {count}: {WHY[reason]}.")
    if used:
        _parameters(top, history, used, template)
    return top.text() + text


def _ordered(groups: dict[str, dict[str, list[Sample]]], terms: GrantTerms) -> dict[str, dict[str, list[Sample]]]:
    """Tools and clauses in the order of the grant's file."""
    made: dict[str, dict[str, list[Sample]]] = {}
    for tool in [*(one for one in terms.tools if one in groups), *(one for one in groups if one not in terms.tools)]:
        names = [clause.name for clause in terms.tools.get(tool, ()) if clause.name in groups[tool]]
        rest = [name for name in groups[tool] if name not in names]
        made[tool] = {name: groups[tool][name] for name in [*names, *rest]}
    return made


def _parameters(top: Writer, history: History, used: Sequence[str], template: GrantSource | None) -> None:
    top.line(0, f"template: {scalar(template.document.template if template else history.newest.template)}")
    top.line(0, "parameters:")
    for name in used:
        own = (template.tree.get("parameters") or {}).get(name) if template is not None else None
        if own is not None:
            top.line(1, f"{name}: {flow(own)}", "as in the template")
        else:
            kind = {bool: "boolean", int: "integer", str: "string"}.get(type(history.newest.parameters[name]), "number")
            top.line(1, f"{name}: {{type: {kind}}}", "bound it as the template does")


def _head(body: Writer, history: History, learned: Learned, names: Sequence[str], template: GrantSource | None) -> None:
    grants = list(history.grants.values())
    parameters = [terms.parameters for terms in grants]
    tasks = [terms.task.replace("${", "$${") for terms in grants]
    task = tasks[-1] if len(set(tasks)) == 1 else following.words(tasks, parameters, names)
    body.line(0, f"task: {_sentence(task or tasks[-1])}", None if task else "of the newest one; the others' differ")
    for word in ("principal", "agent"):
        texts = [str(escaped(getattr(terms, word))) for terms in grants]
        text = texts[-1] if len(set(texts)) == 1 else following.segments(texts, parameters, names)
        body.line(0, f"{word}: {scalar(text or texts[-1])}", None if text else "of the newest one; the others differ")
    longest = _needed(learned, history)
    body.line(0, f"expires_in: {show_span(longest)}", "how long the longest one was in use, in whole minutes")
    newest = json.loads(history.newest.canonical)["grant"]
    contents = [json.loads(terms.canonical)["grant"] for terms in grants]
    for word in ("issue", "bindings", "self"):
        if newest[word]:
            made = following.tree([as_source(content[word]) for content in contents], parameters, names)
            if made is NOTHING:
                body.line(0, f"{word}: {flow(as_source(newest[word]))}", "of the newest one; the others' differ")
            else:
                body.line(0, f"{word}: {flow(made)}")


def _sentence(text: str) -> str:
    plain = text.isascii() and text.replace(" ", "a").replace(",", "a").replace(".", "a").isalnum()
    return text if plain and text[0].isalpha() and " " in text else quoted(text)


def _needed(learned: Learned, history: History) -> timedelta:
    minutes = 1
    for sample in learned.samples:
        begins = history.grants[sample.grant_id].not_before
        used = datetime.fromisoformat(sample.recalled.record.time) - begins
        minutes = max(minutes, math.floor(used / timedelta(minutes=1)) + 1)
    longest = max(terms.expires - terms.not_before for terms in history.grants.values())
    return min(timedelta(minutes=minutes), timedelta(seconds=math.floor(longest.total_seconds())))


def _limits(body: Writer, history: History, learned: Learned, tools: Sequence[str]) -> None:
    """What was needed in all, and whatever else bounded the grant: a limit that is left out would be a widening."""
    most = max(Counter(sample.grant_id for sample in learned.samples).values())
    body.line(0, "limits:")
    body.line(1, f"calls: {most}", "the most that ran under one grant")
    held = as_source(history.newest.limits.to_json())
    shared = []
    for one in held.pop("shared", None) or ():
        drawing = [tool for tool in one["tools"] if tool in tools]
        if drawing:
            sums = [{**each, "max": number(each["max"])} for each in one.get("sum") or ()]
            words = {word: bound for word, bound in {**one, "tools": drawing, "sum": sums}.items() if bound}
            shared.append(words)
    for word, bound in {**held, "shared": shared}.items():
        if bound and word != "calls":
            body.line(1, f"{word}: {flow(bound)}", "as it was")


def _tool(body: Writer, tool: str, clauses: Sequence[Drafted]) -> None:
    body.line(1, f"{scalar(tool)}:")
    if len(clauses) == 1:
        name = None if clauses[0].name == ONLY else clauses[0].name
        _clause(body, clauses[0], name, 2, first="")
        return
    for clause in clauses:
        _clause(body, clause, clause.name, 2, first="- ")


def _clause(body: Writer, clause: Drafted, name: str | None, depth: int, *, first: str) -> None:
    lines: list[tuple[int, str, str | None]] = []
    if name is not None:
        lines.append((0, f"name: {scalar(name)}", None))
    if isinstance(clause.resources, list):
        lines.append((0, "resources:", clause.because.get("resources")))
        lines += [(1, f"- {quoted(line)}", None) for line in clause.resources]
    elif clause.resources is not None:
        lines.append((0, "resources: any", "as it was"))
    if clause.arguments:
        lines.append((0, "arguments:", None))
        lines += [
            (1, f"{scalar(arg)}: {constraint(said.words)}", said.because) for arg, said in clause.arguments.items()
        ]
    if clause.other_arguments:
        lines.append((0, "other_arguments: any", "as it was"))
    for word, tree in clause.rest.items():
        lines.append((0, f"{word}: {flow(tree)}", "as it was"))
    lines.append((0, f"limits: {flow(clause.limits)}", clause.because["calls"]))
    if "clause" in clause.because:
        body.comment(depth, clause.because["clause"])
    for place, (deeper, text, comment) in enumerate(lines):
        dash = first if place == 0 else "  " if first else ""
        body.line(depth + deeper, f"{dash}{text}", comment)


__all__ = ["Refusal", "Suggestion", "suggest"]
