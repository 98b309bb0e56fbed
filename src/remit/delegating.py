"""Handing authority on: a child grant below its parent, narrower, signed and recorded like any other.

Principal, `self` and bindings are the parent's and cannot be said again. (1) what was written is read and completed,
(2) the parent and everything above it has to be in force, (3) the child is compared with the parent, (4) judged like
any grant that is issued, (5) recorded as `grant.delegated`. One refused for being wider is recorded too
(`grant.refused`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from remit import attribution, issuing, opening
from remit.authority.breadth import check_breadth
from remit.authority.compile import CompiledGrant, compile_grant
from remit.authority.durations import say_moment, show_moment
from remit.authority.narrower import Widening, refuse, widenings
from remit.authority.refusal import Refusal
from remit.authority.source import GrantSource, read_changes
from remit.authority.templates import instantiate
from remit.authority.terms import GrantTerms, issue_terms
from remit.errors import DelegationWidened, Denied, GrantError, IdentityError
from remit.identity import Credential, Identity, check_agent
from remit.ids import new_id
from remit.ledger.canonical import canonical
from remit.nesting import call_of

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.issuing import Grant
    from remit.ledger import Txn
    from remit.sessions import Session

Source = str | Path | Mapping[str, Any] | bytes

INHERITED: Final = ("principal", "self", "bindings")


def delegate(
    deployment: Deployment,
    parent_id: str,
    source: Source,
    parameters: Mapping[str, Any] | None,
    *,
    key: str | None,
    credential: Credential | str | None,
) -> Grant:
    """See `App.delegate`."""
    deployment.require("issue")

    def who(txn: Txn, about: Mapping[str, Any]) -> tuple[Identity, dict[str, Any]]:
        person = deployment.identify(txn, credential, act="grant.delegate", about=about)
        for link in deployment.chain(txn, parent_id):
            _require_entitled(person, link.terms)
        return person, {}

    return _Delegation(deployment, parent_id, source, parameters, key, who).run()


def delegate_from(session: Session, source: Source, parameters: Mapping[str, Any] | None, *, key: str | None) -> Grant:
    """See `Session.delegate`: the session's acting agent hands on what it holds itself."""
    deployment = session.app.deployment
    deployment.require("issue")
    call = call_of(session.id)

    def who(txn: Txn, about: Mapping[str, Any]) -> tuple[Identity, dict[str, Any]]:
        del about
        opening.refuse_unusable(txn, deployment.chain(txn, session.grant_id))
        row = txn.get("sessions", session.id)
        if row is None or row["state"] != "open":
            state = "closed" if row is None else str(row["state"])
            raise Denied(
                f"Session {session.id} is {state}; nothing is handed on from it.",
                code="session_suspended" if state == "suspended" else "session_closed",
                rule="session",
            )
        known = attribution.read(row)
        acting = known.actors[-1] if known.actors else session.agent
        agent = Identity(subject=acting, authenticated=known.agent != "claimed", method=known.agent)
        return agent, {"session": session.id, "call": call(txn)}

    return _Delegation(deployment, session.grant_id, source, parameters, key, who).run()


class _Delegation:
    """One child grant on its way. What is known of it goes into the record, also when it is refused."""

    def __init__(
        self,
        deployment: Deployment,
        parent_id: str,
        source: Source,
        parameters: Mapping[str, Any] | None,
        key: str | None,
        who: Any,
    ) -> None:
        self.deployment = deployment
        self.parent_id = parent_id
        self.source = source
        self.parameters = parameters or {}
        self.key = key
        self.who = who
        self.grant_id = new_id("g")
        self.unended = False
        self.result: dict[str, Any] = {}
        self.source_digest = ""
        self.refused: dict[str, Any] = {}

    def run(self) -> Grant:
        self.result, self.source_digest = self._content(issuing.load(self.deployment, self.parent_id).terms)  # (1)
        made = self.deployment.ledger.run(self._attempt)
        if isinstance(made, DelegationWidened):
            raise made
        return issuing.load(self.deployment, made)

    def _attempt(self, txn: Txn) -> str | DelegationWidened:
        """The child's id, or why there is none, which is recorded at the time that whoever asked has signed."""
        try:
            return self._job(txn)
        except DelegationWidened as error:
            draft = self.deployment.ledger.draft(
                "grant.refused",
                session=self.refused.get("session"),
                data={**self.refused, "code": error.code, "reasons": len(error.problems)},
                private={"reason": "\n".join(error.problems)},
            )
            txn.append(draft)
            return error

    def _job(self, txn: Txn) -> str:
        deployment = self.deployment
        chain = deployment.chain(txn, self.parent_id)
        parent = chain[-1].terms
        result = self.result
        _require_in_force(txn, chain)  # (2)
        content_key = deployment.ledger.keyed(
            "grant", parent.id, canonical({name: value for name, value in result.items() if name != "source"})
        )
        if self.key is not None and (known := issuing.live(deployment, txn, self.key, content_key)) is not None:
            return known
        about = {"grant": self.grant_id, "parent": parent.id, "content": content_key, "task_of": result["agent"]}
        who, where = self.who(txn, about)
        self.refused = {"parent": parent.id, "agent": result["agent"], "by": who.as_record(), **where}
        terms = issue_terms(
            result,
            grant_id=self.grant_id,
            version=1,
            issued_at=txn.now,
            issuer=who.subject,
            parent=parent.id,
        )
        compile_grant(terms)
        self._compare(terms, tuple(link.terms for link in chain))  # (3)
        check_breadth(terms, deployment.catalogue)  # (4)
        issuing.check_ceilings(deployment, txn, terms, who)
        issuing.record(  # (5)
            deployment,
            txn,
            self.source_digest,
            terms,
            who,
            key=self.key,
            content_key=content_key,
            kind="grant.delegated",
            root=chain[0].id,
            more={
                "parent": parent.id,
                "parent_version": parent.version,
                "parent_digest": parent.digest,
                "root": chain[0].id,
                "chain": [link.digest for link in chain],
                "depth": len(chain),
                "by": who.as_record(),
                **where,
            },
        )
        return self.grant_id

    def _content(self, parent: GrantTerms) -> tuple[dict[str, Any], str]:
        """The child's canonical content, with what it inherits, and the digest of what was written."""
        read = read_child(self.source, parent)
        self.unended = "expires" not in read.written and "expires_in" not in read.written
        result = instantiate(read.source, self.parameters)
        check_agent(result["agent"])
        held = json.loads(parent.canonical)["grant"]
        result |= {name: held[name] for name in INHERITED}
        if result["not_before"] is None and parent.not_before > self.deployment.ledger.now():
            result["not_before"] = show_moment(parent.not_before)
        return result, read.source.digest

    def _compare(self, terms: GrantTerms, chain: tuple[GrantTerms, ...]) -> None:
        found = widenings(terms, chain, catalogue=self.deployment.catalogue)
        if self.unended:
            ends = say_moment(chain[-1].expires)
            reason = f"it leaves out its end, and its parent ends at {ends}; add `expires_in:` or `expires:`"
            found.append(Widening("delegation_widened", reason))
        refuse(terms.agent, found)


class Child(NamedTuple):
    """A child as it was read, what it inherits filled in, and the keys that were written."""

    source: GrantSource
    written: frozenset[str]


def read_child(source: Source, parent: GrantTerms) -> Child:
    """Read a child of `parent`, in any form that a grant is read in. Raises `GrantError` for keys that it inherits."""
    written: set[str] = set()

    def completed(tree: dict[str, Any]) -> dict[str, Any]:
        written.update(tree)
        for name in INHERITED:
            if name in tree:
                raise Refusal("is the parent's and is not said again; take it away", name)
        whole = {**tree, "principal": parent.principal}
        if parent.addresses:
            whole["self"] = list(parent.addresses)
        if "expires" not in tree and "expires_in" not in tree:
            whole["expires"] = show_moment(parent.expires)
        return whole

    return Child(read_changes(source, completed), frozenset(written))


def _require_entitled(person: Identity, terms: GrantTerms) -> None:
    """Raises `IdentityError` where a grant says who may issue it, and this is none of them, nor whose it is."""
    by = terms.issue.by if terms.issue is not None else ()
    if by and person.subject not in (terms.principal, terms.issuer) and not person.holds(by):
        raise IdentityError(f"{person.subject} may not hand on grant {terms.id}; it takes {', '.join(by)}")


def _require_in_force(txn: Txn, chain: tuple[CompiledGrant, ...]) -> None:
    """Raises `GrantError` unless the parent and all above it are in force. One that begins later may be handed on."""
    for link in chain:
        row = txn.get("grants", link.id)
        if row is None or row["state"] != "active":
            raise GrantError(f"grant {link.id} was revoked, so it is not handed on", code="grant_revoked")
        if txn.now >= link.expires:
            ended = say_moment(link.expires)
            raise GrantError(f"grant {link.id} ended at {ended}, so it is not handed on", code="grant_expired")


__all__ = ["INHERITED", "Child", "delegate", "delegate_from", "read_child"]
