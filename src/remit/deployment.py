"""One opened Remit: its ledger, keys, catalogue and people, shared by everything an `App` offers."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import select
from sqlmodel import col

from remit import presenting
from remit.authority.compile import CompiledGrant, compile_grant
from remit.authority.durations import show_moment
from remit.authority.guardrails import OwnFiles
from remit.authority.terms import GrantTerms
from remit.durability import Wait
from remit.errors import GrantError, IdentityError, UsageError, VerificationError
from remit.identity import Authenticator, Credential, Identity, People, TokenCredential
from remit.ledger import Ledger, Txn
from remit.ledger.ledger import FULL
from remit.privacy import Privacy
from remit.provenance import Histories
from remit.resources.catalogue import Catalogue
from remit.signing import GRANT_TYPE, SigningKey, VerifyingKey
from remit.store.tables import ToolRow

if TYPE_CHECKING:
    from remit.authority.cedar import CedarGuardrails
    from remit.detecting import ShapeDetector
    from remit.witness.policy import Policy


Capability = Literal["session", "issue", "approve", "review", "configure"]
"""What a handle may do: run sessions; issue and revoke; answer approvals; give verdicts; enrol and accept."""

CAPABILITIES: Final[frozenset[str]] = frozenset({"session", "issue", "approve", "review", "configure"})

Listener = Callable[[Mapping[str, Any]], object]

logger = logging.getLogger("remit")


@dataclass
class Deployment:
    """Everything behind one `remit.open(…)`."""

    ledger: Ledger
    catalogue: Catalogue
    authenticator: Authenticator
    can: frozenset[str]
    development: bool
    issue_key: SigningKey | None
    issue_public: VerifyingKey
    own_files: OwnFiles
    guardrails: CedarGuardrails | None = None
    environment: str = "unspecified"
    wait: Wait = "durable"
    """How durable the record of every call has to be before its tool runs."""

    witnesses: Policy | None = None
    """Whose cosignatures heads are given."""

    privacy: Privacy = field(default_factory=Privacy)
    detector: ShapeDetector | None = None
    listeners: dict[str, list[Listener]] = field(default_factory=dict)
    histories: Histories = field(default_factory=Histories)
    """Earlier calls of sessions, for `from`."""

    _compiled: dict[str, CompiledGrant] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def people(self) -> People:
        """Who holds which role, as the people file said when this was opened."""
        return self.authenticator.people

    def require(self, capability: Capability) -> None:
        """Raises `UsageError` when this handle was opened without `capability`."""
        if capability not in self.can:
            raise UsageError(
                f"this handle cannot {capability}: it was opened with can={{{', '.join(sorted(self.can))}}}; "
                f"open another one with can={{'{capability}'}} where that is allowed"
            )

    def identify(
        self, txn: Txn, credential: Credential | str | None, *, act: str, about: Mapping[str, Any]
    ) -> Identity:
        """Who is acting, proved against the key enrolled at this moment. Raises `IdentityError`."""
        if isinstance(credential, TokenCredential):
            return self._by_token(txn, credential)
        enrolled: str | None = None
        if isinstance(credential, Credential):
            row = txn.get("people", credential.subject)
            if row is not None and row["state"] == "enrolled":
                enrolled = row["key"]
        return self.authenticator.identify(credential, act=act, about=about, enrolled_key=enrolled, now=txn.now)

    def _by_token(self, txn: Txn, credential: TokenCredential) -> Identity:
        found = credential.prove(txn.now)
        digest = self.ledger.keyed("token", found.text)
        if credential.verifier.single_use:
            if found.jti is None:
                raise IdentityError("the token may be used once only, but has no jti to tell one use from the next")
            once = self.ledger.keyed("jti", found.issuer, found.jti)
            about = {"method": "token", "token": digest}
            presenting.use_now(self, txn, once, expires=show_moment(found.expires), about=about)
        return Identity(
            subject=found.principal,
            authenticated=True,
            method="token",
            roles=self.people.roles(found.principal),
            key_id=found.key,
            issuer=found.issuer,
            token=digest,
        )

    def record_configuration(self, txn: Txn) -> None:
        """Append `config.changed` when catalogue, people or mode differ from what the ledger last recorded."""
        found = {
            "catalogue": txn.artefact(self.catalogue.source),
            "people": txn.artefact(self.people.content),
            "development": self.development,
            "issue_key": self.issue_public.text,
            "privacy": self.privacy.as_record() | {"key": self.ledger.sealer.key_id if self.ledger.sealer else None},
        }
        if self.guardrails is not None:
            found["guardrails"] = txn.artefact(self.guardrails.source)
            found["environment"] = self.environment
        if self.witnesses is not None:
            found["witnesses"] = txn.artefact(self.witnesses.source.encode())
        if self.wait != "durable":
            found["wait"] = self.wait
        if self.ledger.durability != FULL:
            found["durability"] = self.ledger.durability
        row = txn.get("settings", "configuration")
        if row is None or row["value"] != found:
            txn.append(self.ledger.draft("config.changed", data=found))
            txn.put("settings", "configuration", value=found)

    def guarded(self) -> dict[str, str]:
        """The digest of the guardrails in force, as records carry it; empty without guardrails."""
        return {} if self.guardrails is None else {"guardrails": self.guardrails.digest}

    def accepted_schemas(self) -> dict[str, Mapping[str, Any]]:
        """JSON schemas of the tool definitions that are accepted here, by tool key."""
        found: dict[str, Mapping[str, Any]] = {}
        for row in self.ledger.read().mappings(select(ToolRow).where(col(ToolRow.digest).is_not(None))):
            schema = json.loads(self.ledger.artefact(row["digest"])).get("schema")
            if isinstance(schema, dict):
                found[row["key"]] = schema
        return found

    # -- grants in force

    def chain(self, txn: Txn, grant_id: str) -> tuple[CompiledGrant, ...]:
        """The grant and its ancestors, root first, each verified: signature, record, and digest of what is stored.

        Raises `GrantError` when one of them is not what was issued here.
        """
        links: list[CompiledGrant] = []
        wanted: str | None = grant_id
        while wanted is not None:
            row = txn.get("grants", wanted)
            if row is None:
                raise GrantError(f"no grant {wanted!r} is in this ledger; `remit grant issue` makes one")
            links.append(self._link(row))
            wanted = row["parent"]
        return tuple(reversed(links))

    def _link(self, row: Mapping[str, Any]) -> CompiledGrant:
        digest: str = row["digest"]
        compiled = self._compiled.get(digest)
        if compiled is not None:
            return compiled
        content = self.ledger.artefact(digest)
        try:
            self.issue_public.verify(GRANT_TYPE, content, row["signature"])
        except VerificationError as error:
            raise GrantError(f"grant {row['id']} is not one that this deployment signed: {error}") from error
        self._check_record(row)
        compiled = compile_grant(GrantTerms.from_bytes(content))
        with self._lock:
            return self._compiled.setdefault(digest, compiled)

    def versions(self, digests: Iterable[str]) -> tuple[CompiledGrant, ...]:
        """The versions of grants that a record names, whether or not they are the newest ones."""
        found = []
        for digest in digests:
            compiled = self._compiled.get(digest)
            if compiled is None:
                compiled = compile_grant(GrantTerms.from_bytes(self.ledger.artefact(digest)))
                self.remember(compiled)
            found.append(compiled)
        return tuple(found)

    def remember(self, compiled: CompiledGrant) -> None:
        """Keep a version that this process is just recording: others of the same batch cannot read it back yet."""
        with self._lock:
            self._compiled.setdefault(compiled.digest, compiled)

    def _check_record(self, row: Mapping[str, Any]) -> None:
        record = self.ledger.record(row["record_id"])
        if record is None or record.data.get("digest") != row["digest"] or record.data.get("grant") != row["id"]:
            raise GrantError(f"grant {row['id']} has no record of its issue in the ledger, so it authorises nothing")

    # -- listeners

    def notify(self, event: str, details: Mapping[str, Any]) -> None:
        """Tell listeners, after the fact is durable. A listener that fails is logged: it cannot undo a record."""
        for listener in self.listeners.get(event, ()):
            try:
                listener({"event": event, **details})
            except Exception:
                logger.exception("a listener for %s failed", event)
