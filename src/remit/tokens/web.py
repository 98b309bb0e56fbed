"""HTTP to identity providers: bounded in size and time, never redirected, TLS unless it stays on this machine."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping
from typing import Any, Final

from remit.errors import IdentityError, UsageError
from remit.tokens.jose import parse_strict

try:
    import httpx
except ImportError as error:
    raise UsageError("tokens need PyJWT and httpx, which are not installed: pip install 'remit[tokens]'") from error

MAX_ANSWER: Final = 262_144
"""Bytes of an answer: key sets and token responses are far smaller."""

TIMEOUT: Final = 5.0
"""Seconds to connect, and for each read."""

WHOLE: Final = 4
"""How many timeouts an answer may take as a whole: one that comes byte by byte must not hold a caller for ever."""


def check_url(url: str, what: str) -> str:
    """`url` if secrets and keys may travel to it: https, or http to this machine. Raises `UsageError`."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise UsageError(f"{what} {url!r} is no URL: {error}") from error
    if parsed.userinfo or parsed.fragment or not parsed.host:
        raise UsageError(f"{what} {url!r} has a user, a fragment or no host; expected https://HOST/PATH")
    if parsed.scheme != "https" and not (parsed.scheme == "http" and _is_here(parsed.host)):
        raise UsageError(f"{what} {url!r} is not https; plain http is for this machine only (127.0.0.1, localhost)")
    return url


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def request_json(
    method: str,
    url: str,
    *,
    what: str,
    client: httpx.Client | None = None,
    form: Mapping[str, str] | None = None,
    auth: tuple[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> tuple[int, dict[str, Any]]:
    """Status and JSON object of one answer. Raises `IdentityError` naming `what`, never with a secret in it."""
    if client is None:
        with httpx.Client(timeout=timeout, follow_redirects=False) as own:
            return _request(own, method, url, what, form, auth, timeout)
    return _request(client, method, url, what, form, auth, timeout)


def _request(
    client: httpx.Client,
    method: str,
    url: str,
    what: str,
    form: Mapping[str, str] | None,
    auth: tuple[str, str] | None,
    timeout: float,
) -> tuple[int, dict[str, Any]]:
    body, deadline = bytearray(), time.monotonic() + WHOLE * timeout
    try:
        with client.stream(
            method,
            url,
            data=dict(form) if form is not None else None,
            auth=httpx.BasicAuth(*auth) if auth is not None else None,
            headers={"accept": "application/json", "accept-encoding": "identity"},
            follow_redirects=False,
            timeout=timeout,
        ) as answer:
            if answer.is_redirect:
                raise IdentityError(f"{what} at {url} redirects; redirects are not followed")
            for chunk in answer.iter_raw():  # as sent: what is small when packed may be huge
                body += chunk
                if time.monotonic() > deadline:
                    raise IdentityError(f"{what} at {url} takes more than {WHOLE * timeout:g} s to answer")
                if len(body) > MAX_ANSWER:
                    raise IdentityError(f"{what} at {url} answers with more than {MAX_ANSWER} bytes")
            status = answer.status_code
    except httpx.HTTPError as error:
        raise IdentityError(f"{what} at {url} cannot be reached: {type(error).__name__}") from error
    return status, parse_strict(bytes(body), f"the answer of {what} at {url}")


__all__ = ["MAX_ANSWER", "TIMEOUT", "check_url", "request_json"]
