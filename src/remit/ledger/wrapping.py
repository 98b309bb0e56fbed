"""The key that wraps record keys: in a file, in the environment, or in a key service that never gives it away.

```
a key held here   0x01 || key id (8) || nonce (12) || AES-256-GCM(key, record key, AAD)
a key service     0x02 || key id (8) || length (2) || sealed data key || nonce (12) || AES-256-GCM(data key, …)
```

A key service is asked once for each data key, not once for each record: every process makes a data key of its own, has
it sealed by the service, and wraps record keys under it. The sealed data key lies beside each record key, so that no
table of them can be lost, and what destroys a wrapped record key destroys the record's text as before.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, Protocol, runtime_checkable

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from remit.errors import EvidenceUnavailable, UsageError

VARIABLE: Final = "REMIT_KEK"
"""The environment variable that holds the key-encryption key: 32 bytes in base64."""

LIFETIME: Final = 24 * 3600.0
"""Seconds for which one data key wraps record keys, before a new one is made and sealed."""

MAX_SEALED: Final = 4_096
"""Bytes of a data key as a key service seals it."""

REMEMBERED: Final = 256
"""Data keys that are kept opened, so that reading asks the service once for each."""

_LOCAL, _ENVELOPE = 1, 2
_NONCE: Final = 12


@runtime_checkable
class KeyEncryption(Protocol):
    """A key service, such as a KMS or an HSM: what `remit.open(…, key_encryption=…)` takes.

    `id` names the key for as long as it exists (an ARN, a URL, a version); it is recorded. `wrap` seals 32 bytes,
    `unwrap` gives them back; `context` is bound to them where the service can do that. Both may raise anything: nothing
    is recorded then, so nothing runs.
    """

    @property
    def id(self) -> str:
        """Which key this is."""
        ...

    def wrap(self, key: bytes, context: Mapping[str, str]) -> bytes:
        """`key`, sealed: at most 4,096 bytes."""
        ...

    def unwrap(self, sealed: bytes, context: Mapping[str, str]) -> bytes:
        """The key again."""
        ...


class NotThisKey(ValueError):
    """Raised for a record key that another key wrapped: nothing was changed, as far as can be told."""


class Wrapping(Protocol):
    """What wraps one record's key. `id` is recorded; it says which key, never the key."""

    @property
    def id(self) -> str:
        """Which key wraps."""
        ...

    def wrap(self, key: bytes, bound: bytes) -> bytes:
        """A record key for the payload table. `bound` ties it to its record."""
        ...

    def unwrap(self, wrapped: bytes, bound: bytes) -> bytes:
        """The record key. Raises `InvalidTag` or `ValueError` when it was changed or is another key's."""
        ...


class LocalKey:
    """A key that this process holds: 32 bytes. Earlier keys still unwrap what they wrapped."""

    def __init__(self, key: bytes, *earlier: bytes) -> None:
        self._held = (key, *earlier)
        self._name = _name(hashlib.sha256(b"remit kek\n" + key).hexdigest())
        self._keys = {_name(hashlib.sha256(b"remit kek\n" + one).hexdigest()): AESGCM(one) for one in (*earlier, key)}
        self._current = self._keys[self._name]

    def __reduce__(self) -> tuple[type[LocalKey], tuple[bytes, ...]]:
        """For processes that help to verify (`remit.ledger.helping`), over a pipe."""
        return LocalKey, self._held

    @property
    def id(self) -> str:
        """A digest of the key."""
        return f"local:{self._name.hex()}"

    def wrap(self, key: bytes, bound: bytes) -> bytes:
        """See `Wrapping`."""
        nonce = os.urandom(_NONCE)
        return b"\x01" + self._name + nonce + self._current.encrypt(nonce, key, bound)

    def unwrap(self, wrapped: bytes, bound: bytes) -> bytes:
        """See `Wrapping`."""
        if len(wrapped) < 9 + _NONCE or wrapped[0] != _LOCAL:
            raise NotThisKey("its key was wrapped by a key service, and none is given here")
        key = self._keys.get(wrapped[1:9])
        if key is None:
            raise NotThisKey("its key was wrapped under another key than is given here")
        return key.decrypt(wrapped[9 : 9 + _NONCE], wrapped[9 + _NONCE :], bound)


class ServiceKey:
    """A key in a key service: data keys under it wrap record keys. `fallback` unwraps what an earlier local key did."""

    def __init__(self, service: KeyEncryption, context: Mapping[str, str], fallback: Wrapping | None = None) -> None:
        self._service = service
        self._context = dict(context)
        self._fallback = fallback
        self._name = _name(hashlib.sha256(service.id.encode()).hexdigest())
        self._lock = threading.Lock()
        self._data_key: tuple[AESGCM, bytes, float] | None = None
        self._opened: OrderedDict[bytes, AESGCM] = OrderedDict()

    @property
    def id(self) -> str:
        """The service's own name for the key."""
        return self._service.id

    def wrap(self, key: bytes, bound: bytes) -> bytes:
        """See `Wrapping`. Raises `EvidenceUnavailable` when the service does not seal a data key."""
        made = self._data_key
        if made is None or time.monotonic() - made[2] > LIFETIME:
            made = self._fresh()
        data_key, sealed, _ = made
        nonce = os.urandom(_NONCE)
        head = b"\x02" + self._name + len(sealed).to_bytes(2, "big") + sealed + nonce
        return head + data_key.encrypt(nonce, key, bound)

    def unwrap(self, wrapped: bytes, bound: bytes) -> bytes:
        """See `Wrapping`. Raises `EvidenceUnavailable` when the service does not answer."""
        if wrapped[:1] == b"\x01" and self._fallback is not None:
            return self._fallback.unwrap(wrapped, bound)
        if len(wrapped) < 11 or wrapped[0] != _ENVELOPE or wrapped[1:9] != self._name:
            raise NotThisKey("its key was wrapped under another key than is given here")
        end = 11 + int.from_bytes(wrapped[9:11], "big")
        sealed, nonce, content = wrapped[11:end], wrapped[end : end + _NONCE], wrapped[end + _NONCE :]
        return self._open(sealed).decrypt(nonce, content, bound)

    def _fresh(self) -> tuple[AESGCM, bytes, float]:
        raw = os.urandom(32)
        try:
            sealed = self._service.wrap(raw, self._context)
        except Exception as error:
            raise EvidenceUnavailable(
                f"the key service {self._service.id} sealed no data key ({type(error).__name__}: {error}). "
                "Nothing was recorded, so nothing may run."
            ) from error
        if not isinstance(sealed, bytes) or not 0 < len(sealed) <= MAX_SEALED or raw in sealed:
            raise EvidenceUnavailable(
                f"the key service {self._service.id} gave no sealed data key; expected 1 to {MAX_SEALED} bytes that do "
                "not hold the key itself. Nothing was recorded, so nothing may run."
            )
        made = AESGCM(raw), sealed, time.monotonic()
        self._data_key = made
        with self._lock:
            self._opened[sealed] = made[0]
        return made

    def _open(self, sealed: bytes) -> AESGCM:
        with self._lock:
            known = self._opened.get(sealed)
            if known is not None:
                self._opened.move_to_end(sealed)
                return known
        try:
            raw = self._service.unwrap(sealed, self._context)
            opened = AESGCM(raw)
        except Exception as error:
            raise EvidenceUnavailable(
                f"the key service {self._service.id} opened no data key ({type(error).__name__}: {error}); what is "
                "encrypted under it cannot be read now"
            ) from error
        with self._lock:
            self._opened[sealed] = opened
            while len(self._opened) > REMEMBERED:
                self._opened.popitem(last=False)
        return opened

    def after_fork(self) -> None:
        """In a child: another thread of the parent may have held the lock."""
        self._lock = threading.Lock()


def wrapping_for(held: bytes | None, service: KeyEncryption | None, *, origin: str) -> Wrapping | None:
    """What wraps record keys: the service that was given, else `$REMIT_KEK`, else the key that lies in the home.

    Each of them goes on unwrapping what the ones after it wrapped. None when there is no key at all.
    """
    named = from_environment()
    keys = [key for key in (named, held) if key is not None]
    local = LocalKey(*keys) if keys else None
    return local if service is None else ServiceKey(service, {"remit": origin}, local)


def from_environment() -> bytes | None:
    """The key in `$REMIT_KEK`; None when it is not set. Raises `UsageError` when it is no key."""
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise UsageError(f"${VARIABLE} holds no key; expected 32 random bytes in base64 (44 characters)")
    return key


def _name(digest: str) -> bytes:
    return bytes.fromhex(digest[:16])


__all__ = ["KeyEncryption", "LocalKey", "NotThisKey", "ServiceKey", "Wrapping", "from_environment", "wrapping_for"]
