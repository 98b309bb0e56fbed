"""A grant's clauses in words, and which calls each of them decided: what a reviewer reads beside a call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from remit.authority.compile import CompiledGrant
from remit.authority.literals import decimal_text

NEAR: Final = Decimal("0.8")
"""A limit is at its edge when four fifths of it are spent."""


def clause_title(tool: str, name: str) -> str:
    """How people read a clause: the tool alone where it has one clause, which is then called `only`."""
    return tool if name == "only" else f"{tool}/{name}"


@dataclass(frozen=True, slots=True)
class ClauseLine:
    """One clause of the session's grant. `permitted` and `refused` are numbers of calls."""

    tool: str
    name: str
    text: str
    permitted: tuple[int, ...]
    refused: tuple[int, ...]

    @property
    def title(self) -> str:
        """`crm.comment`, or `payments.refund/large` where a tool has several clauses."""
        return clause_title(self.tool, self.name)

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            "tool": self.tool,
            "clause": self.name,
            "text": self.text,
            "permitted": list(self.permitted),
            "refused": list(self.refused),
        }


@dataclass(frozen=True, slots=True)
class LimitLine:
    """How much of one limit is spent. Other sessions under the grant spend from it too."""

    what: str
    spent: str
    allowed: str

    @property
    def at_edge(self) -> bool:
        """Whether at least four fifths are spent."""
        return Decimal(self.spent) >= NEAR * Decimal(self.allowed)

    def as_dict(self) -> dict[str, Any]:
        """JSON: exact decimals as text."""
        return {"limit": self.what, "spent": self.spent, "allowed": self.allowed, "at_edge": self.at_edge}


def limits_of(grant: CompiledGrant, counters: Mapping[str, str]) -> Iterator[LimitLine]:
    """Every limit of the grant beside what is spent of it, in the order of the file."""
    found = {
        counter.id: counter for clauses in grant.tools.values() for clause in clauses for counter in clause.counters
    }
    for counter in found.values():
        yield LimitLine(counter.label, counters.get(counter.id, "0"), decimal_text(counter.most))
    if grant.denied_limit is not None:
        spent = counters.get(f"{grant.id}/denied", "0")
        yield LimitLine(f"{grant.denied_limit} refused calls", spent, str(grant.denied_limit))
