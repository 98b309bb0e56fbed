"""The head that a sequencer of this host has signed last, remembered outside the database before the note is stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from remit.errors import VerificationError
from remit.ledger import files


class SignedHead(NamedTuple):
    """A tree head. The file `signed.json` of a home holds the newest that was signed here."""

    size: int
    root: bytes

    @classmethod
    def read(cls, home: Path) -> SignedHead | None:
        """What was signed last; None when nothing was. Raises `VerificationError` when the file is damaged."""
        path = home / "signed.json"
        try:
            found = json.loads(path.read_bytes())
            return cls(int(found["size"]), bytes.fromhex(found["root"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise VerificationError(f"{path} is damaged: {error}; it says which head was signed last") from error

    def write(self, home: Path) -> None:
        """Remember this head, in a way that survives a crash."""
        content = {"size": self.size, "root": self.root.hex()}
        files.replace(home / "signed.json", json.dumps(content).encode() + b"\n")
