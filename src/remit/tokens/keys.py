"""Where an issuer's keys come from: given once, or fetched by HTTP and kept for a while (RFC 7517, JWKS)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import httpx

from remit.errors import IdentityError
from remit.tokens.jose import Key, KeySet
from remit.tokens.web import TIMEOUT, check_url, request_json

KEEP: Final = 600.0
"""Seconds for which fetched keys count as fresh."""

STALE: Final = 3600.0
"""Seconds for which the last keys still serve when the issuer cannot be reached. A key that was withdrawn is
accepted for that long at most."""

PAUSE: Final = 30.0
"""Seconds between two fetches for keys that are not there: tokens with invented key ids must not become requests."""


class Keys(Protocol):
    """Finds the key that a token names."""

    def find(self, kid: str | None) -> Key:
        """Raises `IdentityError` when the issuer has no such key, or cannot be asked."""


class FixedKeys:
    """Keys that were given: `{"keys": [...]}`, or one JWK."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._set = KeySet(document if "keys" in document else {"keys": [document]})

    def find(self, kid: str | None) -> Key:
        """See `Keys`."""
        return _named(self._set, kid)


class RemoteKeys:
    """A key set at a URL, fetched when first needed and again when it is old or a token names a key that is new.

    `clock` counts seconds and never goes back; tests pass their own.
    """

    def __init__(
        self,
        url: str,
        *,
        client: httpx.Client | None = None,
        timeout: float = TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = check_url(url, "the key set")
        self._client = client
        self._timeout = timeout
        self._clock = clock
        self._lock = threading.Lock()
        self._set: KeySet | None = None
        self._fetched = 0.0
        self._asked = float("-inf")

    def find(self, kid: str | None) -> Key:
        """See `Keys`. One fetch at a time; others wait for it, `timeout` at most."""
        with self._lock:
            if self._set is None or self._clock() - self._fetched >= KEEP:
                self._refresh()
            assert self._set is not None
            if self._set.find(kid) is None and self._clock() - self._asked >= PAUSE:
                self._refresh()
            return _named(self._set, kid)

    def _refresh(self) -> None:
        now = self._clock()
        if now - self._asked < PAUSE and (self._set is None or now - self._fetched >= STALE):
            raise IdentityError(f"the key set at {self.url} could not be read a moment ago; it is asked again soon")
        if now - self._asked < PAUSE:
            return
        self._asked = now
        try:
            status, document = request_json(
                "GET", self.url, what="the key set", client=self._client, timeout=self._timeout
            )
            if status != 200:
                raise IdentityError(f"the key set at {self.url} answers with status {status}")
            self._set = KeySet(document)
        except IdentityError:
            if self._set is None or now - self._fetched >= STALE:
                self._set = None
                raise
            return
        self._fetched = now


def _named(keys: KeySet, kid: str | None) -> Key:
    found = keys.find(kid)
    if found is None:
        said = "names no key, and its issuer has several" if kid is None else f"names the key {kid[:60]!r}"
        raise IdentityError(f"the token {said}; the issuer's key set does not tell which that is")
    return found


__all__ = ["KEEP", "PAUSE", "STALE", "FixedKeys", "Keys", "RemoteKeys"]
