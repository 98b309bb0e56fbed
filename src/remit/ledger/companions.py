"""What lives beside an open ledger: whoever has its heads witnessed, whoever keeps its heart beating."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from remit.errors import EvidenceUnavailable

if TYPE_CHECKING:
    from remit.ledger.ledger import Ledger


class Companion(Protocol):
    """Something that wants to know when the ledger has changed. It looks after its own threads, forks included."""

    def noticed(self) -> None:
        """Something became durable. Called in any thread, often; returns at once."""

    def hush(self) -> None:
        """The writer is about to say that it stops: append nothing any more."""

    def close(self) -> None:
        """The ledger closes soon: finish what may still be written, within a few seconds, and end every thread."""


class Witnessing(Companion, Protocol):
    """A companion that has heads cosigned."""

    @property
    def witnessed(self) -> int:
        """The size of the newest head that this process knows enough witnesses to have cosigned."""

    def wait(self, size: int, deadline: float) -> None:
        """Until enough witnesses cosigned a head of at least `size` records; `deadline` in seconds.

        Raises `EvidenceUnavailable` when they do not, saying which.
        """


class Company:
    """The companions of one ledger, and what they have found out about it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._companions: list[Companion] = []
        self._distrusted: EvidenceUnavailable | None = None
        self.witnesses: Witnessing | None = None

    def __bool__(self) -> bool:
        return bool(self._companions)

    def join(self, companion: Companion) -> None:
        """Tell `companion` whenever something became durable, and to end before the ledger does."""
        self._companions.append(companion)

    def witness_by(self, witnesses: Witnessing) -> None:
        """Have heads witnessed by these."""
        self.witnesses = witnesses
        self.join(witnesses)

    def noticed(self, *_: object) -> None:
        """Something became durable."""
        for companion in self._companions:
            companion.noticed()

    def hush(self) -> None:
        """Nothing is appended any more that nobody asked for."""
        for companion in self._companions:
            companion.hush()

    def close(self) -> None:
        """The ledger closes."""
        for companion in self._companions:
            companion.close()

    def describe(self) -> dict[str, Any]:
        """What a heartbeat says: up to which size enough witnesses have cosigned, as far as this process knows."""
        return {} if self.witnesses is None else {"witnessed": self.witnesses.witnessed}

    # -- distrust

    def distrust(self, why: EvidenceUnavailable) -> None:
        """Record nothing any more: what is stored is proved not to be what this log signed."""
        self._distrusted = why

    def require_trust(self) -> None:
        """Raises `EvidenceUnavailable` after `distrust`."""
        if self._distrusted is not None:
            raise EvidenceUnavailable(str(self._distrusted))

    # -- waiting

    def wait_witnessed(self, record_id: str, deadline: float) -> None:
        """See `Ledger.wait_witnessed`."""
        if self.witnesses is None:
            raise EvidenceUnavailable(
                "it has to be witnessed, and no witnesses are known here: remit.open(…, witnesses=POLICY), or the file "
                f"{self._ledger.home / 'witness.policy'}"
            )
        end = time.monotonic() + deadline
        self._ledger.wait_sequenced([record_id], deadline=deadline)
        record = self._ledger.record(record_id)
        if record is None or not record.placed:
            raise EvidenceUnavailable(f"record {record_id} is under no signed head, so nobody can witness it")
        self.witnesses.wait(record.index + 1, max(0.0, end - time.monotonic()))
