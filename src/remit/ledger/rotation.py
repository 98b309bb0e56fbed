"""Signing through a change of the log's key.

```
(1) prepare   a new private key lies beside the old one; its verifier key goes to witnesses and auditors
(2) record    `key.rotated` names the new key; it is the last record under a head that the old key signs
(3) follow    whoever signs next finds that record at the end of the log, writes the new epoch into the pin, and signs
              with the new key from there on; the old private key is gone
```

Whoever cannot follow, because the new key is not in its home, signs nothing any more. A process that ran on over the
rotation finds out before it signs: it reads the end of the log under the lock under which everybody appends.
"""

from __future__ import annotations

from typing import Final

import orjson

from remit.errors import EvidenceUnavailable, RemitError, VerificationError
from remit.ledger.epochs import LogKeys
from remit.ledger.keys import Home
from remit.ledger.notes import Verifier, read_note
from remit.ledger.records import ROTATED

_MARK: Final = f'"type":"{ROTATED}"'.encode()


def named_key(body: bytes | None) -> Verifier | None:
    """The log's new key that a record names; None when it is no rotation of the log's key."""
    if body is None or _MARK not in body:
        return None
    leaf = orjson.loads(body)
    if leaf["type"] != ROTATED or leaf["data"].get("key") != "log":
        return None
    return Verifier.parse(leaf["data"]["vkey"])


class LogSigner:
    """Signs heads, each with the key of its epoch, and refuses to sign any other."""

    def __init__(self, home: Home, keys: LogKeys) -> None:
        self._home = home
        self._keys = keys
        self._signer = home.signer(keys.current)

    @property
    def verifier(self) -> Verifier:
        """The key that signs now."""
        return self._signer.verifier

    def checkpoint(self, size: int, root: bytes) -> bytes:
        """The signed head. Raises `EvidenceUnavailable` when this key does not sign heads of that size."""
        if self._keys.at(size) != self._signer.verifier:
            raise EvidenceUnavailable(f"the key that this process holds does not sign heads of {size} records")
        return self._signer.checkpoint(size, root)

    def follow(self, size: int, note: bytes, newest: bytes | None) -> None:
        """Called with the newest head, its note and its last record, before anything is appended: who signs next?

        Raises `EvidenceUnavailable` when that is a key which is not here.
        """
        if size == 0:
            return
        named = named_key(newest)
        if named is None and read_note(note).by(self._signer.verifier):
            return
        try:
            self._keys = self._home.pin().keys
            if named is not None and self._keys.current != named:
                self._adopt(size, note, named)
            elif named is None:
                self._keys.open(note)  # signed by a key that became known in the meantime, or by a stranger
            self._signer = self._home.signer(self._keys.at(size + 1))
        except EvidenceUnavailable:
            raise
        except RemitError as error:
            raise EvidenceUnavailable(
                f"the head of {size} records is to be continued with a key that is not in {self._home.path} ({error}). "
                "The log's key was rotated elsewhere, or somebody else signs: nothing is recorded from here"
            ) from error

    def _adopt(self, size: int, note: bytes, named: Verifier) -> None:
        """(3): the record is the last one under a head that the old key signed, and the new key lies ready."""
        self._keys.open(note)
        after = self._home.next_signer(named.name)
        if after is not None and after.verifier == named:
            self._keys = self._home.rotate(named, size + 1)
            return
        self._keys = self._home.pin().keys  # another thread or process may have been quicker, and moved the key
        if self._keys.current != named:
            raise VerificationError(f"key {named.key_id.hex()} is the next one")
