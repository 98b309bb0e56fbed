"""What an agent may know of its grant, for a system prompt: granted values, what needs approval, what remains."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from remit.authority.calls import Facts
from remit.authority.compile import CompiledGrant, Counter
from remit.authority.durations import say_moment
from remit.authority.explain import allows
from remit.authority.literals import add_exactly, decimal_text


def brief(compiled: CompiledGrant | Sequence[CompiledGrant], facts: Facts) -> str:
    """Text for a system prompt about the acting grant (the last of a chain), as it stands at `facts.now`."""
    chain = (compiled,) if isinstance(compiled, CompiledGrant) else tuple(compiled)
    if not chain:
        return "You have no grant: every tool call will be refused."
    acting = chain[-1]
    terms = acting.terms
    ends = min(grant.expires for grant in chain)
    lines = [
        f"You act for {terms.principal}. Your task: {terms.task.rstrip('.')}.",
        f"Your authority ends at {say_moment(ends)}. You may call these tools, within these bounds, and no others:",
    ]
    lines += [f"- {allows(tool, clause)}" for tool, clause in terms.document.clauses()]
    remaining = [_remains(counter, facts) for grant in chain for counter in _counters(grant)]
    if remaining:
        lines.append("What remains:")
        lines += [f"- {line}" for line in dict.fromkeys(remaining)]
    lines.append("A call outside these bounds is refused and recorded; do not repeat it unchanged.")
    return "\n".join(lines)


def _counters(grant: CompiledGrant) -> list[Counter]:
    found = {
        counter.id: counter for clauses in grant.tools.values() for clause in clauses for counter in clause.counters
    }
    return list(found.values())


def _remains(counter: Counter, facts: Facts) -> str:
    left = max(Decimal(0), add_exactly(counter.most, -Decimal(facts.counters.get(counter.id, "0"))))
    return f"{decimal_text(left)} of {counter.label}"
