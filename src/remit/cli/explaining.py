"""The page of `remit call explain`: how each decision about a call comes about, part by part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from remit.cli.output import at, bullets, facts, indented
from remit.review.explaining import ClauseState, LimitState, LinkState, Step

WORDS = {
    "approval.requested": "put to a person",
    "call.intent": "permitted",
    "call.denied": "refused",
    "call.resumed": "went on",
}


def explain_page(show: Console, call_id: str, tool: str, steps: tuple[Step, ...]) -> None:
    """Every decision about one call, one below the other."""
    show.print(Text.assemble(("Call ", "bold"), (call_id, "bold"), f"  {tool}"))
    for step in steps:
        show.print()
        show.print(Text(f"{at(step.time)}  {WORDS[step.type]} (record {step.index})", style="bold"))
        show.print(indented(facts(_about(step))))
        for number, link in enumerate(step.links, start=1):
            _link(show, link, f"link {number} of {len(step.links)}: " if len(step.links) > 1 else "")
        if step.guardrails:
            show.print(Text("  guardrails that speak of this tool"))
            show.print(indented(indented(bullets(_guardrails(step)))))


def again(step: Step) -> str:
    """Whether deciding from the record gives what was recorded."""
    if step.why_not is not None:
        return f"cannot be decided again: {step.why_not}"
    if step.same:
        return "from the record alone: the same"
    return f"from the record alone: {step.again}, which is NOT what was recorded"


def _about(step: Step) -> list[tuple[str, Any]]:
    rule = f" by {step.decided.rule.replace('/only', '', 1)}" if step.decided.rule else ""
    return [
        ("decided", f"{step.decided}{rule}"),
        ("reason", step.reason or "(erased)"),
        ("again", again(step)),
        ("session", step.session),
        ("at", step.now),
        ("touches", list(step.accesses)),
        ("before any clause", step.before),
        ("guardrails", step.ruling),
    ]


def _link(show: Console, link: LinkState, which: str) -> None:
    state = "revoked" if link.revoked else "in force" if link.in_force else "NOT in force"
    show.print(Text(f"  {which}grant {link.grant} version {link.version}, {state} ({link.window})"), soft_wrap=True)
    lines = [_limit(link.refusals)] if link.refusals is not None else []
    lines += [link.problem] if link.problem else []
    show.print(indented(indented(bullets([f"for {link.agent}, issued by {link.issuer}", *lines]))))
    for clause in link.clauses:
        word = "admits the call" if clause.admits else "does not admit it"
        decided = ", and decided" if clause.decided else ""
        observed = " (observed only)" if clause.observe else ""
        name = "its only clause" if clause.name == "only" else f"clause {clause.name}"
        show.print(Text(f"    {name} {word}{decided}{observed}"))
        show.print(indented(indented(indented(bullets(_clause(clause))))))


def _clause(clause: ClauseState) -> Iterator[str]:
    yield clause.text
    yield from clause.problems
    yield from (_limit(limit) for limit in clause.limits)
    if clause.approval is not None:
        yield f"approval by {clause.approval} — {'given' if clause.approved else 'not given'}"


def _limit(limit: LimitState) -> str:
    if limit.spent is None:
        return f"limit of {limit.limit}: how much is spent would say what is secret"
    takes = f", this call takes {limit.takes}" if limit.takes is not None else ""
    over = ": REACHED" if limit.reached else ""
    return f"limit of {limit.limit}: {limit.spent} of {limit.allowed} spent before{takes}{over}"


def _guardrails(step: Step) -> Iterator[str]:
    for one in step.guardrails:
        observed = " (observed only)" if one.observe else ""
        because = f": {one.reason}" if one.reason and one.said else ""
        yield f"{one.id}{observed} {one.said or 'says nothing against it, or another one came first'}{because}"
