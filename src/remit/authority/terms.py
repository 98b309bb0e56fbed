"""The terms of an issued grant: what is signed, stored under its digest, and read back to decide.

Canonical bytes are RFC 8785 JSON. A random id is part of them, so that their digest says nothing about their content
to those who only see the digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import rfc8785

from remit.authority.constraints import Reader
from remit.authority.durations import parse_moment, say_moment, show_moment
from remit.authority.limits import Delegation, GrantLimits, IssueRule
from remit.authority.literals import from_json
from remit.authority.model import Clause, GrantDocument
from remit.authority.refusal import Refusal
from remit.authority.source import read_document
from remit.errors import GrantError

FORMAT: Final = 1
_CONTENT_ONLY: Final = frozenset({"source", "parameters"})


@dataclass(frozen=True, slots=True)
class GrantTerms:
    """One version of one issued grant. `canonical` are the bytes that are signed; times are UTC."""

    id: str
    version: int
    issuer: str
    issued_at: datetime
    not_before: datetime
    expires: datetime
    parent: str | None
    document: GrantDocument
    parameters: Mapping[str, Any]
    source_digest: str
    canonical: bytes

    @property
    def digest(self) -> str:
        """`sha256:` and the hex digest of the canonical bytes."""
        return f"sha256:{hashlib.sha256(self.canonical).hexdigest()}"

    @property
    def task(self) -> str:
        """What the agent is to do, in the principal's words."""
        return self.document.task

    @property
    def principal(self) -> str:
        """Whose authority it is."""
        return self.document.principal

    @property
    def agent(self) -> str:
        """Who may use it."""
        return self.document.agent

    @property
    def bindings(self) -> Mapping[str, Any]:
        """Context bound into every record."""
        return self.document.bindings

    @property
    def addresses(self) -> tuple[str, ...]:
        """The principal's own addresses: what `self` stands for."""
        return self.document.addresses

    @property
    def delegation(self) -> Delegation:
        """Whether and how it may be handed on."""
        return self.document.delegation

    @property
    def issue(self) -> IssueRule | None:
        """Who may issue the template, how often, how many at once."""
        return self.document.issue

    @property
    def limits(self) -> GrantLimits:
        """Limits of the whole grant."""
        return self.document.limits

    @property
    def tools(self) -> Mapping[str, tuple[Clause, ...]]:
        """The clauses of each tool, in the order of the file."""
        return self.document.tools

    @property
    def template(self) -> str | None:
        """The template's name; None for a plain grant."""
        return self.document.template

    @property
    def template_digest(self) -> str | None:
        """Digest of the template's source bytes; None for a plain grant."""
        return self.source_digest if self.document.template is not None else None

    @classmethod
    def from_bytes(cls, content: bytes) -> GrantTerms:
        """Read back canonical bytes. Raises `GrantError` when they are not what this version writes."""
        try:
            node = json.loads(content)
            if node["v"] != FORMAT:
                raise GrantError(f"the grant is stored in format {node['v']!r}, this version reads {FORMAT}")
            return cls._read(node, content)
        except (KeyError, TypeError, ValueError) as error:
            raise GrantError(f"the stored grant cannot be read: {error}") from error

    @classmethod
    def _read(cls, node: Mapping[str, Any], content: bytes) -> GrantTerms:
        body = node["grant"]
        made = cls(
            id=node["id"],
            version=node["version"],
            issuer=node["issuer"],
            issued_at=parse_moment(node["issued_at"]),
            not_before=parse_moment(node["not_before"]),
            expires=parse_moment(node["expires"]),
            parent=node["parent"],
            document=read_content(body),
            parameters={name: from_json(value) for name, value in body["parameters"].items()},
            source_digest=body["source"],
            canonical=content,
        )
        if rfc8785.dumps(dict(node)) != content:
            raise GrantError("the stored grant is not in canonical form")
        return made


def read_content(result: Mapping[str, Any]) -> GrantDocument:
    """The document behind canonical content, as `instantiate` gave it. Raises `GrantError`."""
    tree = {key: _pruned(value) for key, value in result.items() if key not in _CONTENT_ONLY and value is not None}
    addresses = tree.get("self")
    if not addresses:
        tree.pop("self", None)
    reader = Reader("canonical", tuple(addresses) if addresses else None)
    return read_document(tree, "the grant's content", None, reader)


def _pruned(node: Any) -> Any:
    """Without the keys whose canonical value is null, which say that a thing is left out."""
    if isinstance(node, dict):
        return {key: _pruned(value) for key, value in node.items() if value is not None}
    if isinstance(node, list):
        return [_pruned(item) for item in node]
    return node


def issue_terms(
    result: Mapping[str, Any],
    *,
    grant_id: str,
    version: int,
    issued_at: datetime,
    issuer: str,
    parent: str | None = None,
) -> GrantTerms:
    """The terms of a grant issued now: `expires_in` becomes a moment, counted from `not_before` or from now.

    Raises `GrantError` when the window is over already, or has no time in it.
    """
    document = read_content(result)
    not_before = document.not_before or issued_at
    expires = document.expires
    if expires is None:
        assert document.expires_in is not None
        try:
            expires = not_before + document.expires_in
        except OverflowError as error:
            raise GrantError(f"the grant would end after the last year there is ({error})") from error
    if expires <= issued_at:
        raise GrantError(f"the grant would end at {say_moment(expires)}, before it is issued")
    if expires <= not_before:
        raise GrantError(f"the grant would end at {say_moment(expires)}, before it begins at {say_moment(not_before)}")
    node: dict[str, Any] = {
        "v": FORMAT,
        "id": grant_id,
        "version": version,
        "issuer": issuer,
        "issued_at": show_moment(issued_at),
        "not_before": show_moment(not_before),
        "expires": show_moment(expires),
        "parent": parent,
        "grant": dict(result),
    }
    try:
        return GrantTerms.from_bytes(rfc8785.dumps(node))
    except (rfc8785.CanonicalizationError, Refusal) as error:
        raise GrantError(f"the grant has no canonical form: {error}") from error
