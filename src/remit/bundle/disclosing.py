"""What a bundle shows of the text behind the commitments: nothing, unless somebody chooses it by name.

A choice is `everything`, the name of a private value (`arguments`, `accesses`, `reason`, `result`), or one argument
that has a commitment of its own, as `arguments.amount` or by its pointer `/arguments/amount`. Each value comes with the
salt that proves it and no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from remit.errors import UsageError
from remit.ledger import Ledger
from remit.ledger.canonical import canonical
from remit.ledger.disclosures import value_at
from remit.ledger.reading import Record
from remit.ledger.salting import pointer

EVERYTHING: Final = "everything"


def disclosures(ledger: Ledger, records: Iterable[Record], choices: Iterable[str]) -> dict[int, bytes]:
    """The disclosure files of these records, by index. What was erased, or has no key here, is left out.

    Raises `UsageError` for a choice that names nothing that any of the records commits to.
    """
    wanted = [choice if choice == EVERYTHING else _pointer(choice) for choice in choices]
    unused = set(wanted) - {EVERYTHING}
    found: dict[int, bytes] = {}
    for record in records:
        paths = list(_paths(record.private, wanted))
        unused.difference_update(paths)
        content = _file(ledger, record, paths) if paths else None
        if content is not None:
            found[record.index] = content
    if unused:
        raise UsageError(f"none of these records commits to {min(unused)} by itself, so it cannot be disclosed")
    return found


def _pointer(choice: str) -> str:
    if choice.startswith("/"):
        return choice
    name, _, part = choice.partition(".")
    return pointer(name, part) if part else pointer(name)


def _paths(private: Mapping[str, Any], wanted: Iterable[str]) -> Iterator[str]:
    """The pointers that are chosen, in order; a part is left out where its whole is shown."""
    for name, committed in sorted(private.items()):
        whole = pointer(name)
        if EVERYTHING in wanted or whole in wanted:
            yield whole
            continue
        for item in sorted(committed.get("each", {})):
            if pointer(name, item) in wanted:
                yield pointer(name, item)


def _file(ledger: Ledger, record: Record, paths: Iterable[str]) -> bytes | None:
    values = record.disclosed()
    if values is None:
        return None
    shown = [{"path": path, "salt": ledger.salt(record, path), "value": value_at(values, path)} for path in paths]
    return canonical({"v": 1, "index": record.index, "record": record.id, "values": shown})


__all__ = ["EVERYTHING", "disclosures"]
