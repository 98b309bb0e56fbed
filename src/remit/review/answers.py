"""What persons answered to calls that had to be approved, as the records of their answers tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from remit.ledger import Record


@dataclass(frozen=True, slots=True)
class Answer:
    """One person's answer to one call. `roles` are those that they held at that moment."""

    approval: str
    answer: str
    by: str
    authenticated: bool
    method: str
    roles: tuple[str, ...]
    time: str
    record: int | None

    @classmethod
    def of(cls, record: Record) -> Answer:
        """From an `approval.decided`."""
        data, by = record.data, record.data["by"]
        return cls(
            approval=data["approval"],
            answer=data["answer"],
            by=by["subject"],
            authenticated=bool(by["authenticated"]),
            method=by["method"],
            roles=tuple(by["roles"]),
            time=record.time,
            record=record.place,
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {**{name: getattr(self, name) for name in self.__slots__}, "roles": list(self.roles)}


class Answers:
    """The answers of a session, by the approval that they answer and by the call that they were asked about."""

    def __init__(self) -> None:
        self._given: list[tuple[str, Answer]] = []

    def add(self, record: Record) -> None:
        """Note an `approval.decided`."""
        self._given.append((str(record.data["call"]), Answer.of(record)))

    def to(self, call: str, begun: Mapping[str, Any]) -> tuple[Answer, ...]:
        """Those that let a call run, or kept it from running. `begun` is the leaf of its first record."""
        used = {begun.get("approval"), *begun.get("approvals", ())}
        return tuple(answer for asked, answer in self._given if asked == call or answer.approval in used)


__all__ = ["Answer", "Answers"]
