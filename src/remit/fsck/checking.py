"""`remit fsck`: rebuild every read model from the records, compare, and, when a person asks for it, put it right.

```
(1) verify      the records themselves: what is rebuilt from them is worth as much as they are
(2) fold        every record in the log's order, into the rows that must be there
(3) read        every row that is there; when somebody recorded meanwhile, the new records are folded and (3) repeats
(4) compare     table, row, column; what follows from erased text is untold, not wrong
(5) repair      only on request (remit.fsck.repairing)
```
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from remit.errors import UsageError
from remit.fsck import calls, grants, limits, others, sessions  # noqa: F401 - each declares its handlers
from remit.fsck.comparing import Comparison, read_stored
from remit.fsck.findings import Finding, Untold
from remit.fsck.fold import Fold
from remit.fsck.tables import NOT_DERIVABLE

if TYPE_CHECKING:
    from remit.ledger import Ledger

MAX_PASSES: Final = 20
"""How often new records are folded before whoever writes so fast is asked to pause."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check came to: over how many records and rows, what differs, what nobody can tell any more."""

    records: int
    rows: int
    findings: tuple[Finding, ...]
    untold: tuple[Untold, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing differs."""
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            "whole": self.whole,
            "records": self.records,
            "rows": self.rows,
            "findings": [finding.as_dict() for finding in self.findings],
            "untold": [one.as_dict() for one in self.untold],
            "not_derivable": dict(NOT_DERIVABLE),
        }


def check(ledger: Ledger) -> Checked:
    """Steps (1) to (4). Changes nothing. Raises `VerificationError` when the records do not verify."""
    ledger.verify()  # (1)
    return compare(ledger)


def compare(ledger: Ledger) -> Checked:
    """Steps (2) to (4), for whoever has verified the records."""
    return compared(ledger)[1]


def compared(ledger: Ledger) -> tuple[Fold, Checked]:
    """As `compare`, with the rows that the records show."""
    fold = Fold(ledger)
    fold.catch_up()  # (2)
    for _ in range(MAX_PASSES):
        stored = read_stored(ledger.read())  # (3)
        if not fold.catch_up():
            break
    else:
        raise UsageError(f"records were added during each of {MAX_PASSES} looks; pause whoever records, and look again")
    found = Comparison(fold, stored)  # (4)
    findings = (*fold.unread, *found.findings)
    return fold, Checked(fold.records, sum(map(len, stored.values())), findings, tuple(found.untold))
