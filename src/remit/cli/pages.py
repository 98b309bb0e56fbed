"""The pages that show a session: its timeline, one call whole, and the reviewer's page of calls beside clauses."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from remit.cli.output import arguments, at, bullets, clock, facts, heading, indented, plural, shorten, state, table
from remit.review.calls import CallLine
from remit.review.clauses import ClauseLine, LimitLine
from remit.review.report import SessionReport, VerdictLine
from remit.review.who import answered

DEVELOPMENT = "Identities here were claimed, not proved: the ledger was opened for development."

RELAXED = "Records did not wait for the disk here: a power loss may have taken some of the last ones back."


def session_page(show: Console, found: SessionReport) -> None:
    """Who, for whom, under what; every call in order; the session in one sentence."""
    _head(show, found)
    show.print()
    show.print(timeline(found.calls))
    show.print()
    show.print(found.summary, markup=False)
    for verdict in found.verdicts:
        if not verdict.superseded:
            show.print(verdict_sentence(verdict), markup=False)
    if found.calls:
        show.print(f"One call whole: remit call show {found.session['id']}/NUMBER", style="dim", soft_wrap=True)


def review_page(show: Console, found: SessionReport) -> None:
    """What a reviewer needs: each call beside its clause, then what the calls do not show by themselves."""
    _head(show, found)
    show.print()
    show.print(found.summary, markup=False)
    show.print()
    show.print(_beside(found))
    _section(show, "Granted and never used", (clause.text for clause in found.unused))
    _section(
        show,
        "Ran unbounded",
        (f"call {c.number}, {c.tool}: nothing in the clause bounds {', '.join(c.unbounded)}" for c in found.unbounded),
    )
    _section(show, "Limits", (_limit(limit) for limit in found.limits))
    _section(show, "Approvals", (_approval(one) for one in found.approvals))
    _section(show, "Verdicts", (verdict_sentence(one) for one in found.verdicts))
    if not any(not one.superseded and one.call_id is None for one in found.verdicts):
        show.print()
        show.print("No verdict yet. To give one:")
        show.print(
            f"  remit review verdict {found.session['id']} within|attempted|exceeded|inconclusive", soft_wrap=True
        )


def call_page(show: Console, found: SessionReport, call: CallLine) -> None:
    """One call, whole."""
    clause = _clause_of(found, call)
    show.print(Text.assemble(("Call ", "bold"), (call.id, "bold"), "  ", state(call.state)))
    if found.development:
        show.print(f"  {DEVELOPMENT}")
    pairs: list[tuple[str, Any]] = [
        ("tool", call.tool),
        ("arguments", arguments(call.arguments, 400)),
        ("touches", list(call.accesses or ())),
        ("decision", decision_words(call)),
        ("reason", call.reason),
        ("clause", clause.text if clause is not None else None),
        ("unbounded", list(call.unbounded)),
        ("approval", call.approval_id),
        ("answered", [answered(one) for one in call.answers]),
        ("error", call.error),
        ("time", at(call.time)),
        ("took", f"{call.duration_us / 1000:.1f} ms" if call.duration_us is not None else None),
        ("answered again", plural(call.replayed, "time") if call.replayed else None),
        ("called by", call.parent),
        ("agent", " → ".join(call.through) or found.session["agent"]),
        ("on behalf of", found.session["principal"]),
        ("workload", found.session["workload"]),
        ("session", found.session["id"]),
        ("grant", f"{found.grant['id']} version {found.grant['version']}" if found.grant else None),
        ("bound to", dict(found.grant.get("bindings", {}))),
    ]
    show.print(indented(facts(pairs)))


def timeline(calls: Iterable[CallLine]) -> Table:
    """One row a call; a refused one says below what was wrong with it."""
    rows = []
    for call in calls:
        said = Text(arguments(call.arguments, 48))
        if call.effect == "deny":
            said.append(f"\n{call.code}: {call.reason or '(erased)'}", style="dim")
        elif call.effect == "ask":
            said.append(f"\n{call.reason or '(erased)'}", style="dim")
        elif call.error is not None:
            said.append(f"\n{shorten(call.error, 200)}", style="dim")
        rows.append((call.number, clock(call.time), state(call.state), call.tool, said))
    return table(
        [
            ("#", {"justify": "right"}),
            ("time", {"no_wrap": True}),
            ("state", {"no_wrap": True}),
            ("tool", {"overflow": "fold"}),
            ("arguments, and why not", {"ratio": 1, "overflow": "fold"}),
        ],
        rows,
    )


def verdict_sentence(one: VerdictLine) -> str:
    """A verdict in one sentence."""
    how = "signed" if one.authenticated else "claimed, not proved"
    subject = f"Call {one.call_id}" if one.call_id else "The session"
    because = f" ({one.reason})" if one.reason else ""
    comment = f": “{one.comment.rstrip('.')}”" if one.comment else ""
    late = f" {plural(one.later_calls, 'call')} came later and is not covered." if one.later_calls else ""
    old = " Superseded." if one.superseded else ""
    return f"{subject} was judged {one.verdict}{because} by {one.reviewer} ({how}), {at(one.time)}{comment}.{late}{old}"


def decision_words(call: CallLine) -> str:
    """What was decided, by which rule."""
    words = {"permit": "permitted", "deny": "refused", "ask": "put to a person"}[call.effect]
    code = f" ({call.code})" if call.effect == "deny" else ""
    rule = f" by {call.rule.replace('/only', '', 1)}" if call.rule else ""
    return f"{words}{code}{rule}" + ("" if call.enforced else ", observed only")


def _head(show: Console, found: SessionReport) -> None:
    session, grant = found.session, found.grant
    show.print(Text.assemble(("Session ", "bold"), (session["id"], "bold"), f"  {session['state']}"))
    if found.development:
        show.print(f"  {DEVELOPMENT}")
    if found.relaxed:
        show.print(f"  {RELAXED}")
    ended = at(session["closed"]) if session["closed"] else f"now; its grant ends {at(session['ends'])}"
    pairs: list[tuple[str, Any]] = [
        ("task", grant.get("task")),
        ("agent", session["agent"]),
        ("on behalf of", session["principal"]),
        ("grant", _grant_words(grant)),
        ("handed on from", _handed_on(session, grant)),
        ("bound to", dict(grant.get("bindings", {}))),
        ("time", f"{at(session['opened'])} to {ended}"),
        ("erased", list(found.erased)),
    ]
    show.print(indented(facts(pairs)))


def _grant_words(grant: Any) -> str | None:
    if not grant:
        return None
    template = f" from template {grant['template']}" if grant["template"] else ""
    state_now = "" if grant["state"] == "active" else f", now {grant['state']}"
    return f"{grant['id']} version {grant['version']}{template}, issued by {grant['issuer']}{state_now}"


def _handed_on(session: Any, grant: Any) -> str | None:
    if not grant or not grant["parent"]:
        return None
    inside = f", in session {session['parent']}" if session["parent"] else ""
    return f"grant {grant['parent']}{inside}"


def _beside(found: SessionReport) -> Table:
    rows = []
    for call in found.calls:
        left = Text.assemble(state(call.state), f"  {call.tool}\n", arguments(call.arguments, 72))
        for access in call.accesses or ():
            left.append(f"\n{access}", style="dim")
        right = Text(decision_words(call))
        if call.effect != "permit":
            right.append(f"\n{call.reason or '(erased)'}")
        clause = _clause_of(found, call)
        right.append(f"\n{clause.text}" if clause is not None else "", style="dim")
        rows.append((call.number, left, Text.assemble(right, "\n")))
    return table(
        [
            ("#", {"justify": "right"}),
            ("call", {"ratio": 4, "overflow": "fold"}),
            ("the clause that decided", {"ratio": 5, "overflow": "fold"}),
        ],
        rows,
    )


def _clause_of(found: SessionReport, call: CallLine) -> ClauseLine | None:
    """The clause that decided; for a refusal that names none, the tool's only clause."""
    of_tool = [clause for clause in found.clauses if clause.tool == call.tool]
    named = [clause for clause in of_tool if clause.name == call.clause]
    if named:
        return named[0]
    return of_tool[0] if len(of_tool) == 1 else None


def _limit(limit: LimitLine) -> str:
    return f"{limit.spent} spent of {limit.what}{' (at its edge)' if limit.at_edge else ''}"


def _approval(one: Any) -> str:
    answered = one["decided_by"] or "[]"
    by = f" by {', '.join(json.loads(answered))}" if answered != "[]" else ""
    return f"{one['id']} for call {one['call_id']}: {one['state']}{by}"


def _section(show: Console, title: str, lines: Iterable[str]) -> None:
    lines = list(lines)
    if not lines:
        return
    show.print()
    show.print(heading(title))
    show.print(indented(bullets(lines)))
