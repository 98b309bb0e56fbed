"""Issuing, showing and revoking grants: an authority becomes real when it is signed and its record is durable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlmodel import col

from remit.authority.breadth import check_breadth
from remit.authority.calls import SessionFacts
from remit.authority.compile import compile_grant
from remit.authority.durations import show_moment
from remit.authority.source import read_grant
from remit.authority.templates import instantiate
from remit.authority.terms import GrantTerms, issue_terms
from remit.errors import GrantError, IdentityError, UsageError
from remit.identity import Credential
from remit.ids import new_id
from remit.ledger.canonical import canonical
from remit.signing import GRANT_TYPE
from remit.store.tables import GrantRow, RecordRow

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.identity import Identity
    from remit.ledger import Txn
    from remit.store.readmodels import ReadModels


@dataclass(frozen=True, slots=True)
class Grant:
    """Authority for one task, issued, signed and recorded."""

    id: str
    version: int
    state: str
    terms: GrantTerms
    digest: str
    signature: str
    key_id: str
    record_id: str

    @property
    def task(self) -> str:
        """What the agent is to do, in the principal's words."""
        return self.terms.task

    @property
    def principal(self) -> str:
        """Whose authority it is."""
        return self.terms.principal

    @property
    def agent(self) -> str:
        """Who may use it."""
        return self.terms.agent

    @property
    def expires(self) -> datetime:
        """When it ends, UTC."""
        return self.terms.expires


def issue(
    deployment: Deployment,
    source: str | Path | Mapping[str, Any] | bytes,
    parameters: Mapping[str, Any] | None,
    *,
    key: str | None,
    credential: Credential | str | None,
) -> Grant:
    """See `App.issue`."""
    deployment.require("issue")
    read = read_grant(source)
    result = instantiate(read, parameters or {})
    grant_id = new_id("g")

    def job(txn: Txn) -> str:
        said = {name: value for name, value in result.items() if name != "source"}  # a comment is no other content
        content_key = deployment.ledger.keyed("grant", canonical(said))
        if key is not None and (known := live(deployment, txn, key, content_key)) is not None:
            return known
        who = deployment.identify(
            txn,
            credential,
            act="grant.issue",
            about={"grant": grant_id, "content": content_key, "task_of": result["agent"]},
        )
        terms = issue_terms(result, grant_id=grant_id, version=1, issued_at=txn.now, issuer=who.subject)
        check_breadth(terms, deployment.catalogue)
        compile_grant(terms)  # whatever cannot be decided later is refused now
        check_ceilings(deployment, txn, terms, who)
        record(deployment, txn, read.digest, terms, who, key=key, content_key=content_key)
        return grant_id

    return load(deployment, deployment.ledger.run(job))


def live(deployment: Deployment, txn: Txn, key: str, content_key: str) -> str | None:
    """The grant that `key` named before, while it is in force. Other content under the same key is an error."""
    for found in _holders(txn, issue_key(deployment, key)):
        row = txn.get("grants", found)
        if row is None or row["state"] != "active" or datetime.fromisoformat(row["expires"]) <= txn.now:
            continue
        if row["content_key"] != content_key:
            raise GrantError(
                f"key {key!r} names grant {row['id']}, which says something else; revoke that one, or use another key"
            )
        return str(row["id"])
    return None


def issue_key(deployment: Deployment, key: str) -> str:
    """An issue key as records and tables hold it: they do not tell what it says."""
    return deployment.ledger.keyed("issue-key", key)


def _holders(txn: Txn, keyed: str) -> list[str]:
    return [found for (found,) in txn.rows(select(col(GrantRow.id)).where(col(GrantRow.issue_key) == keyed))]


def check_ceilings(deployment: Deployment, txn: Txn, terms: GrantTerms, who: Identity) -> None:
    """What bounds issuing itself: the template's own rule, and standing guardrails. Raises `GrantError`."""
    _check_ceiling(txn, terms, who)
    check_guardrails(deployment, terms)


def _check_ceiling(txn: Txn, terms: GrantTerms, who: Identity) -> None:
    """`issue: {by, per_principal, open}`: who may issue this template, how often, how many at once."""
    rule = terms.issue
    if rule is None:
        return
    if rule.by and not who.holds(rule.by):
        raise IdentityError(
            f"{who.subject} may not issue {terms.template or 'this grant'}; it takes {', '.join(rule.by)}"
        )
    txn.hold("grants", f"{terms.template}\x1f{terms.principal}")  # one at a time, or two would not see each other
    same = select(func.count()).where(
        col(GrantRow.template) == terms.template, col(GrantRow.principal) == terms.principal
    )
    if rule.per_principal is not None:
        since = show_moment(txn.now - rule.per_principal.period)
        issued = same.select_from(GrantRow).join(RecordRow, col(RecordRow.id) == col(GrantRow.record_id))
        [(count,)] = txn.rows(issued.where(col(RecordRow.time) >= since))  # a grant may begin before it is issued
        if count >= rule.per_principal.count:
            raise GrantError(
                f"{terms.principal} has had {count} grants of {terms.template} in {_words(rule.per_principal.period)}; "
                f"the template allows {rule.per_principal.count}"
            )
    if rule.open is not None:
        now = show_moment(txn.now)
        [(count,)] = txn.rows(same.where(col(GrantRow.state) == "active", col(GrantRow.expires) > now))
        if count >= rule.open:
            raise GrantError(
                f"{terms.principal} has {count} open grants of {terms.template}; the template allows {rule.open}"
            )


def check_guardrails(deployment: Deployment, terms: GrantTerms) -> None:
    """What guardrails forbid whatever the calls will be, nobody can hand on: see `CedarGuardrails.standing`."""
    if deployment.guardrails is None:
        return
    roles = deployment.people.roles(terms.principal)
    around = SessionFacts(environment=deployment.environment, roles=roles)
    problems = [
        f"{tool}: the guardrail {policy.id} forbids it to {terms.agent} for {terms.principal}"
        + (f": {policy.reason}" if policy.reason else "")
        for policy, tool in deployment.guardrails.standing(terms, around)
    ]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise GrantError(problems[0] + more, problems=problems)


def _words(period: timedelta) -> str:
    return {86400: "a day", 3600: "an hour", 604800: "a week"}.get(int(period.total_seconds()), str(period))


def record(
    deployment: Deployment,
    txn: Txn,
    source_digest: str,
    terms: GrantTerms,
    who: Identity,
    *,
    key: str | None,
    content_key: str,
    more: Mapping[str, Any] | None = None,
    kind: str = "grant.issued",
    root: str | None = None,
) -> None:
    """Sign the terms and append `grant.issued`, with `more` in its leaf: from here on they are an authority.

    `kind` and `root` (the first grant of the tree) are for one that is handed on.
    """
    data, columns = sign(deployment, txn, source_digest, terms, who)
    keyed = None if key is None else issue_key(deployment, key)
    if keyed is not None:
        data["issue_key"] = keyed
        for earlier in _holders(txn, keyed):
            txn.put("grants", earlier, issue_key=None)  # it is in force no more
    data["content"] = content_key
    appended = txn.append(deployment.ledger.draft(kind, data={**data, **(more or {})}, private=private_of(terms)))
    txn.put(
        "grants",
        terms.id,
        state="active",
        issue_key=keyed,
        content_key=content_key,
        issuer=who.subject,
        parent=terms.parent,
        root=root or terms.id,
        record_id=appended.id,
        **columns,
    )
    bind(txn, terms)


def sign(
    deployment: Deployment, txn: Txn, source_digest: str, terms: GrantTerms, who: Identity
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sign one version of a grant: (what its record's leaf says, what its row in the read model says)."""
    signing = deployment.issue_key
    if signing is None:
        raise UsageError("this handle has no signing key, so it cannot issue grants")
    deployment.record_configuration(txn)
    content = terms.canonical
    digest = txn.artefact(content)
    common = {
        "version": terms.version,
        "digest": digest,
        "signature": signing.sign(GRANT_TYPE, content),
        "template": terms.template,
        "template_digest": terms.template_digest,
        "principal": terms.principal,
        "agent": terms.agent,
        "not_before": show_moment(terms.not_before),
        "expires": show_moment(terms.expires),
    }
    data = {
        **common,
        "grant": terms.id,
        "key": signing.key_id,
        "source_digest": source_digest,
        "issuer": who.as_record(),
        "catalogue": deployment.catalogue.digest,
        **deployment.guarded(),
    }
    return data, {**common, "key_id": signing.key_id, "task": terms.task}


def private_of(terms: GrantTerms) -> dict[str, Any]:
    """What a record of a grant only commits to."""
    return {"task": terms.task, "parameters": dict(terms.parameters), "bindings": dict(terms.bindings)}


def bind(rows: ReadModels, terms: GrantTerms) -> None:
    """Index the bindings: `remit who CHG-7` finds the grant's calls."""
    for name, value in terms.bindings.items():
        text = value if isinstance(value, str) else json.dumps(value)
        rows.put("bindings", f"{name}\x1f{text}\x1f{terms.id}", name=name, value=text, grant_id=terms.id)


def load(deployment: Deployment, grant_id: str) -> Grant:
    """One grant as it stands. Raises `GrantError` when this ledger has none of that id."""
    [*rows] = deployment.ledger.read().mappings(select(GrantRow).where(col(GrantRow.id) == grant_id))
    if not rows:
        raise GrantError(f"no grant {grant_id!r} is in this ledger; `remit grant issue` makes one")
    row = rows[0]
    terms = GrantTerms.from_bytes(deployment.ledger.artefact(row["digest"]))
    return Grant(
        id=row["id"],
        version=row["version"],
        state=row["state"],
        terms=terms,
        digest=row["digest"],
        signature=row["signature"],
        key_id=row["key_id"],
        record_id=row["record_id"],
    )


def revoke(deployment: Deployment, grant_id: str, *, reason: str, credential: Credential | str | None) -> Grant:
    """See `App.revoke`."""
    deployment.require("issue")

    def job(txn: Txn) -> None:
        row = txn.get("grants", grant_id)
        if row is None:
            raise GrantError(f"no grant {grant_id!r} is in this ledger")
        if row["state"] == "revoked":
            return
        who = deployment.identify(txn, credential, act="grant.revoke", about={"grant": grant_id})
        appended = txn.append(
            deployment.ledger.draft(
                "grant.revoked",
                data={"grant": grant_id, "version": row["version"], "by": who.as_record()},
                private={"reason": reason},
            )
        )
        txn.put("grants", grant_id, state="revoked", revoked_record=appended.id, issue_key=None)

    deployment.ledger.run(job)
    return load(deployment, grant_id)
