"""Who is at the keyboard: the person that logged in on this account, and where their private key lies."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from remit.errors import UsageError


class Saved(NamedTuple):
    """Who logged in on this account, and where their private key lies."""

    person: str
    key_file: Path


def config_folder() -> Path:
    """The user's own configuration: `$XDG_CONFIG_HOME/remit`, by default below `~/.config`."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "remit"


def saved() -> Saved | None:
    """Who logged in, or None. Raises `UsageError` when the file that says so cannot be read."""
    path = config_folder() / "login.json"
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Saved(found["person"], Path(found["key_file"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"cannot read who logged in from {path} ({error}); `remit login PERSON` writes it anew"
        ) from error


def save(person: str, key_file: Path) -> None:
    """Remember who logged in."""
    folder = config_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = folder / f".login.{os.getpid()}"
    draft.write_text(json.dumps({"person": person, "key_file": str(key_file.absolute())}), encoding="utf-8")
    draft.replace(folder / "login.json")


def own_key_file(person: str) -> Path:
    """Where a person's key lies unless they say otherwise."""
    return config_folder() / "keys" / f"{person.removeprefix('user:').replace(':', '-').replace('/', '-')}.pem"
