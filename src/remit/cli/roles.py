"""Writing a person's roles into the people file without touching what else, or which comments, stand in it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from remit.errors import UsageError
from remit.identity import People


def give_roles(path: Path, subject: str, roles: Iterable[str]) -> None:
    """Add a line for `subject` to the people file, making the file when there is none.

    Raises `UsageError` when the person stands there with other roles: that is for a person to edit.
    """
    wanted = frozenset(roles)
    text = path.read_text(encoding="utf-8") if path.exists() else "people: {}\n"
    if path.exists():
        held = People.load(path).roles_by_subject.get(subject)
        if held == wanted:
            return
        if held is not None:
            raise UsageError(
                f"{path} gives {subject} {', '.join(sorted(held)) or 'no role'}, not {', '.join(sorted(wanted))}; "
                "edit the file, it decides"
            )
    line = f'  "{subject}": {{roles: [{", ".join(sorted(wanted))}]}}\n'
    lines = text.splitlines(keepends=True)
    start = next((number for number, one in enumerate(lines) if one.startswith("people:")), None)
    if start is None:
        raise UsageError(f"{path} has no line `people:` to add {subject} below")
    lines[start] = "people:\n" if lines[start].split("#")[0].strip() == "people: {}" else lines[start]
    lines.insert(start + 1, line)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text("".join(lines), encoding="utf-8")
    try:
        written = People.load(draft).roles_by_subject.get(subject)
        if written != wanted:
            raise UsageError(f"{path} is not written in a way that a line can be added to; edit it by hand")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
