"""Agents and workloads, with how each is known: the values that records keep beside a person's `Identity`.

What is only said is *claimed*. A name that a verified token, an enrolled key or a JWT-SVID proves is *authenticated*.
"""

from __future__ import annotations

import functools
import getpass
import os
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from remit.authority import names as authority_names
from remit.authority.names import check_principal
from remit.authority.refusal import Refusal
from remit.errors import IdentityError, NotCanonical
from remit.spiffe import parse_spiffe_id

Method = Literal["claimed", "ed25519", "token", "spiffe"]
"""How somebody is known: `claimed` (said by the caller), `ed25519` (signed with an enrolled personal key), `token`
(named by a token of a trusted issuer), `spiffe` (named by a JWT-SVID of its trust domain)."""

_WORKLOAD: Final = re.compile(r"[^\s\x00-\x1f]{1,400}\Z")


def subject_of(text: str) -> str:
    """`user:alice@acme.com` as it is; `alice@acme.com` with `user:` put before it. Raises `IdentityError` otherwise."""
    subject = text if ":" in text else f"user:{text}"
    try:
        return check_principal(subject)
    except Refusal as error:
        raise IdentityError(str(error)) from error


def check_agent(agent: str) -> str:
    """An agent's name: a SPIFFE ID, or `agent:NAME`. Raises `IdentityError` otherwise."""
    try:
        return authority_names.check_agent(agent)
    except Refusal as error:
        raise IdentityError(str(error)) from error


def check_workload(workload: str) -> str:
    """A workload's name: a SPIFFE ID, or any other text without spaces. Raises `IdentityError` otherwise."""
    if workload.lower().startswith("spiffe:"):
        return _spiffe(workload)
    if not _WORKLOAD.match(workload):
        raise IdentityError(
            f"{workload!r} names no workload: expected spiffe://TRUST-DOMAIN/PATH, or text without spaces"
        )
    return workload


def _spiffe(text: str) -> str:
    try:
        return str(parse_spiffe_id(text))
    except NotCanonical as error:
        raise IdentityError(str(error)) from error


def process_workload() -> str:
    """What this process is, when nobody says better: claimed, never proof."""
    return _workload_of(os.getpid())


@functools.lru_cache(maxsize=4)
def _workload_of(process: int) -> str:
    return f"process:{login()}@{os.uname().nodename}/{process}"


def login() -> str:
    """The login name, or the numeric user id where the system has no name for it, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


@dataclass(frozen=True, slots=True)
class Agent:
    """The non-human identity that acts. `issuer` says whose token named it; None where it is only claimed."""

    id: str
    method: Method = "claimed"
    issuer: str | None = None

    def __post_init__(self) -> None:
        check_agent(self.id)

    @property
    def authenticated(self) -> bool:
        """Whether something proved it."""
        return self.method != "claimed"

    def as_record(self) -> dict[str, Any]:
        """The leaf form."""
        return _record(self.id, self.method, self.issuer)


@dataclass(frozen=True, slots=True)
class Workload:
    """The process that an agent runs in. `issuer` says whose token named it; None where it is only claimed."""

    id: str
    method: Method = "claimed"
    issuer: str | None = None

    def __post_init__(self) -> None:
        check_workload(self.id)

    @property
    def authenticated(self) -> bool:
        """Whether something proved it."""
        return self.method != "claimed"

    @classmethod
    def this_process(cls) -> Workload:
        """User, host and process id, as the operating system says."""
        return cls(process_workload())

    def as_record(self) -> dict[str, Any]:
        """The leaf form."""
        return _record(self.id, self.method, self.issuer)


def _record(name: str, method: Method, issuer: str | None) -> dict[str, Any]:
    record: dict[str, Any] = {"id": name, "authenticated": method != "claimed", "method": method}
    return record if issuer is None else {**record, "issuer": issuer}


def named_agent(text: str) -> str:
    """The agent that a token names: `agent:` is put before a bare client id. Raises `IdentityError`."""
    return check_agent(text if text.startswith(("spiffe:", "agent:")) else f"agent:{text}")


def named_principal(text: str) -> str:
    """The principal that a token's `sub` names: `user:` is put before a bare one. Raises `IdentityError`."""
    return subject_of(text if text.startswith(("user:", "service:")) else f"user:{text}")


__all__ = [
    "Agent",
    "Method",
    "Workload",
    "check_agent",
    "check_workload",
    "named_agent",
    "named_principal",
    "process_workload",
    "subject_of",
]
