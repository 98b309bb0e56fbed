"""A grant in sentences, for the person who is about to issue it: what it allows, and what it leaves unbounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from remit.authority.durations import say_moment, show_span
from remit.authority.limits import ClauseLimits, GrantLimits, SharedLimit
from remit.authority.literals import decimal_text, listing, show
from remit.authority.model import ANY, ONLY, Clause, GrantDocument
from remit.authority.overlap import unapproved_overlaps
from remit.authority.terms import GrantTerms
from remit.resources.catalogue import Catalogue


def sentences(grant: GrantTerms | GrantDocument, catalogue: Catalogue) -> list[str]:
    """What the grant allows, clause by clause, then what nothing bounds, then where a bound can be walked around.

    A template reads as one, its parameters as `${name}`.
    """
    document = grant.document if isinstance(grant, GrantTerms) else grant
    found = [_who(grant, document)]
    for tool, clause in document.clauses():
        found.append(allows(tool, clause))
    found += _limits(document.limits)
    if document.delegation.depth:
        times = "once" if document.delegation.depth == 1 else f"{document.delegation.depth} times"
        found.append(f"It may be handed on {times}, narrower each time.")
    if not document.delegation.may_use:
        found.append("Its own holder may hand it on, but not use it.")
    found += [f"Unbounded: {sentence}" for sentence in unbounded(document, catalogue)]
    found += [f"Careful: {sentence}" for sentence in unapproved_overlaps(document)]
    return found


def _who(grant: GrantTerms | GrantDocument, document: GrantDocument) -> str:
    if isinstance(grant, GrantTerms):
        window = f"from {say_moment(grant.not_before)} until {say_moment(grant.expires)}"
    else:
        start = f"from {_moment(document.not_before)} " if document.not_before is not None else ""
        end = f"for {_span(document.expires_in)}" if document.expires is None else f"until {_moment(document.expires)}"
        window = start + end
    return f"For {document.principal}, {document.agent} may do this {window}: {str(document.task).rstrip('.')}."


def _moment(moment: Any) -> str:
    return say_moment(moment) if hasattr(moment, "tzinfo") else repr(moment)


def _span(span: Any) -> str:
    return show_span(span) if hasattr(span, "total_seconds") else repr(span)


def title(tool: str, clause: Clause) -> str:
    """`payments.refund (large)`, without the brackets where the clause stands alone."""
    return tool if clause.name == ONLY else f"{tool} ({clause.name})"


def allows(tool: str, clause: Clause) -> str:
    """One clause as one sentence."""
    parts = [title(tool, clause)]
    if isinstance(clause.resources, tuple):
        parts.append(f"may {listing(list(clause.resources), most=10)}")
    elif clause.resources == ANY:
        parts.append("may touch any resource that it can name")
    else:
        parts.append("may be called")
    bounds = [
        f"`{name}` {'left out or ' if bound.optional else ''}{bound.describe()}"
        for name, bound in clause.arguments.items()
    ]
    if clause.other_arguments == ANY:
        bounds.append("any other argument" if bounds else "any arguments")
    if bounds:
        parts.append("with " + "; ".join(bounds))
    sentence = " ".join(parts)
    filled = [f"`{name}` {bound.describe()}" for name, bound in clause.injected.items()]
    if filled:
        sentence += f", where the application fills in {'; '.join(filled)}"
    limits = _clause_limits(clause)
    if limits:
        sentence += f", at most {limits}"
    if clause.approval is not None:
        many = f"{show(clause.approval.count)} persons of " if clause.approval.count != 1 else ""
        sentence += f", each call after approval by {many}{listing([str(by) for by in clause.approval.by])}"
        if clause.approval.reason:
            sentence += f" ({clause.approval.reason})"
    if clause.secret:
        sentence += f"; {_listed(clause.secret)} secret, so never kept"
    if clause.redact:
        sentence += f"; {_listed(clause.redact)} masked for reviewers"
    if clause.observe:
        sentence += "; calls outside are recorded, not stopped"
    return sentence + "."


def _listed(names: tuple[str, ...]) -> str:
    return listing([f"`{name}`" for name in names], last="and", most=20)


def _clause_limits(clause: Clause) -> str:
    parts = []
    if clause.limits.calls is not None:
        parts.append(_calls(clause.limits.calls))
    parts += _moving(clause.limits)
    parts += [f"a sum of {_decimal(limit.max)} over `{limit.argument}`" for limit in clause.limits.sum]
    return " and ".join(parts)


def _moving(limits: ClauseLimits | GrantLimits | SharedLimit) -> list[str]:
    found = []
    for rate in limits.rate:
        count, _, unit = str(rate).partition("/")
        found.append(f"{_calls(int(count))} a{'n' if unit == 'hour' else ''} {unit}")
    return found + [distinct.describe() for distinct in limits.distinct]


def _calls(count: Any) -> str:
    return "one call" if count == 1 else f"{show(count)} calls"


def _decimal(value: Any) -> str:
    return decimal_text(value) if hasattr(value, "is_finite") else repr(value)


def _limits(limits: GrantLimits) -> Iterator[str]:
    if limits.calls is not None:
        yield f"In all, at most {_calls(limits.calls)}."
    for part in _moving(limits):
        yield f"In all, at most {part}."
    for shared in limits.shared:
        parts = [*([] if shared.calls is None else [_calls(shared.calls)]), *_moving(shared)]
        parts += [f"a sum of {_decimal(limit.max)} over `{limit.argument}`" for limit in shared.sum]
        yield f"{listing(list(shared.tools), last='and')} share at most {' and '.join(parts)}."
    if limits.denied is not None:
        yield f"After more than {show(limits.denied)} refused calls the session is suspended until a person resumes it."


def unbounded(document: GrantDocument, catalogue: Catalogue) -> list[str]:
    """What the grant leaves without a bound, one sentence each."""
    found: list[str] = []
    for tool, clause in document.clauses():
        named = title(tool, clause)
        free = [f"`{name}`" for name, bound in clause.arguments.items() if bound.unbounded]
        if free:
            found.append(f"{named} takes anything as {listing(free, last='and', most=20)}.")
        if clause.other_arguments == ANY:
            found.append(f"{named} takes any argument that the clause does not name.")
        if clause.resources == ANY:
            found.append(f"{named} may touch every resource that it can name.")
        elif clause.resources is None and not tool.endswith(".*") and not _described(catalogue, tool):
            found.append(f"{named} is not in the catalogue, so nothing says which resources it touches.")
    if document.limits.calls is None:
        endless = [
            title(tool, clause)
            for tool, clause in document.clauses()
            if clause.limits.calls is None and not any(tool in shared.tools for shared in document.limits.shared)
        ]
        if endless:
            found.append(f"{listing(endless, last='and', most=20)} may be called as often as the window lasts.")
    return found


def _described(catalogue: Catalogue, tool: str) -> bool:
    return catalogue.entry(tool) is not None
