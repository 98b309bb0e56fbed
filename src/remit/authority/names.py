"""Names that a grant writes: principals, agents, approvers, clauses; and the near miss that a misspelt word is."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final

from remit.authority.refusal import Refusal
from remit.errors import NotCanonical
from remit.spiffe import parse_spiffe_id

_PRINCIPAL: Final = re.compile(r"(user|service):[^\s\x00-\x1f]{1,200}\Z")
_AGENT: Final = re.compile(r"agent:[^\s\x00-\x1f]{1,200}\Z")
_OPEN: Final = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]{0,63}\}")
_BY: Final = re.compile(r"(role|user|service):[^\s\x00-\x1f]{1,200}\Z")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_PARAMETER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")


def check_principal(text: str) -> str:
    """`user:alice@acme.com` or `service:billing`. Raises `Refusal` otherwise."""
    if not _PRINCIPAL.match(text):
        raise Refusal(f"{text!r} names nobody: expected user:NAME or service:NAME, such as user:alice@acme.com")
    return text


def check_agent(text: str) -> str:
    """`spiffe://acme.com/agents/triage` or `agent:triage`. Raises `Refusal` otherwise."""
    if text.startswith("spiffe:"):
        try:
            parse_spiffe_id(_OPEN.sub("x", text))  # what a template leaves open is checked once it is filled in
        except NotCanonical as error:
            raise Refusal(str(error)) from error
        return text
    if not _AGENT.match(text):
        raise Refusal(f"{text!r} names no agent: expected spiffe://TRUST-DOMAIN/PATH or agent:NAME")
    return text


def check_by(text: str) -> str:
    """One who may issue or approve: `role:finance`, `user:bob@acme.com`. Raises `Refusal` otherwise."""
    if not _BY.match(text):
        raise Refusal(f"{text!r} names nobody who could: expected role:NAME, user:NAME or service:NAME")
    return text


def check_name(text: str) -> str:
    """A template's or clause's name. Raises `Refusal` unless it is letters, digits, `_` and `-`."""
    if not _NAME.match(text):
        raise Refusal(f"{text!r} is not a name: expected up to 64 letters, digits, _ and -, beginning with no mark")
    return text


def check_parameter_name(text: str) -> str:
    """A parameter's name. Raises `Refusal` unless it could stand inside `${…}`."""
    if not _PARAMETER.match(text):
        raise Refusal(f"{text!r} cannot name a parameter: expected letters, digits and _, such as ticket")
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?` when one of `known` is close to `word`, else the list of what is known."""
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known here: {', '.join(words)}" if words else ""
