"""Amending: the next version of a grant under the same id. Sessions go on with it from their next call.

What is amended stays the same authority: same principal, agent and rule for issuing. Whoever may issue the grant may
widen it; anybody else with a credential may only narrow it. What was spent of its limits stays spent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select
from sqlmodel import col

from remit import carrying, issuing, spending
from remit.authority.breadth import check_breadth
from remit.authority.compile import compile_grant
from remit.authority.durations import parse_span, say_moment, show_moment
from remit.authority.keys import grant_tool_key
from remit.authority.limits import Delegation
from remit.authority.narrower import require_narrower, widenings
from remit.authority.refusal import Refusal
from remit.authority.source import read_changes
from remit.authority.templates import instantiate
from remit.authority.terms import GrantTerms, issue_terms
from remit.errors import GrantError, IdentityError, UsageError
from remit.ledger.canonical import canonical
from remit.store.tables import SessionRow

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.identity import Credential, Identity
    from remit.issuing import Grant
    from remit.ledger import Txn
    from remit.requesting import GrantRequest

Source = str | Path | Mapping[str, Any] | bytes

CHANGEABLE: Final = frozenset({"task", "expires_in", "expires", "bindings", "limits", "delegation", "tools"})
"""Keys of a change. Whose authority it is, whose it is to use, and who may issue it are never changed."""

_STANDING: Final = ("principal", "agent", "issue", "self", "template")


def amend(
    deployment: Deployment,
    grant: Grant | str,
    source: Source | None,
    parameters: Mapping[str, Any] | None,
    *,
    without: Iterable[str],
    version: int | None,
    request: GrantRequest | None,
    reason: str | None,
    credential: Credential | str | None,
) -> Grant:
    """See `App.amend`."""
    grant_id, version = _written_for(grant, version, request)
    deployment.require("issue")
    before = issuing.load(deployment, grant_id).terms
    _require_version(grant_id, before.version, version)
    if source is None and request is not None:
        source = request.changes
    result, source_digest = next_content(before, source, parameters or {}, tuple(without))
    answer: dict[str, Any] = {}
    if request is not None:
        answer = {"request": request.id, "as_requested": source is not None and source == request.changes}

    def job(txn: Txn) -> None:
        txn.hold("grants", grant_id)  # no call is decided under it meanwhile, so that all that was spent is seen
        row = txn.get("grants", grant_id)
        assert row is not None
        _require_version(grant_id, row["version"], version)
        _require_alive(txn, row)
        if request is not None:
            request.require_open(txn)
        chain = [link.terms for link in deployment.chain(txn, grant_id)]
        who = deployment.identify(
            txn,
            credential,
            act="grant.amend",
            about={
                "grant": grant_id,
                "version": version + 1,
                "content": deployment.ledger.keyed("grant", canonical(result)),
                **answer,
            },
        )
        refuse_agent(row, who)
        terms = _terms(before, result, txn.now, who)
        wider = _widened(deployment, terms, before)
        _check_ceiling(terms, row, who, wider)
        check_breadth(terms, deployment.catalogue)
        compiled = compile_grant(terms)
        issuing.check_guardrails(deployment, terms)
        if len(chain) > 1:
            require_narrower(terms, chain[:-1], catalogue=deployment.catalogue)
        deployment.remember(compiled)
        carried = carrying.carry(deployment, txn, row, compile_grant(before), compiled)
        more = {**answer, "widened": bool(wider)}
        record_id = _record(
            deployment, txn, row, terms, who, source_digest=source_digest, reason=reason, more=more, carried=carried
        )
        _move_ends(txn, row)
        if request is not None:
            txn.put("requests", request.id, state="granted", answered_record=record_id)

    deployment.ledger.run(job)
    return issuing.load(deployment, grant_id)


def refuse_agent(row: Mapping[str, Any], who: Identity) -> None:
    """Raises `IdentityError` where the agent of a grant would answer for its own authority."""
    if who.subject == row["agent"]:
        raise IdentityError(f"{who.subject} is the agent of grant {row['id']}; a person says what it may do")


# -- what the next version says


def next_content(
    before: GrantTerms, source: Source | None, parameters: Mapping[str, Any], without: tuple[str, ...]
) -> tuple[dict[str, Any], str]:
    """The canonical content of the next version, and the digest of what was handed in for it. Its `expires_in`, where
    there is one, counts from the moment of amending. Raises `GrantError`, `UsageError`."""
    held: dict[str, Any] = json.loads(before.canonical)["grant"]
    held |= {"not_before": show_moment(before.not_before), "expires": show_moment(before.expires), "expires_in": None}
    if source is None:
        if not without:
            raise UsageError("nothing would change: say which keys, or which tools to take away (without=)")
        return _without(held, without), before.source_digest
    written: dict[str, Any] = {}

    def complete(tree: dict[str, Any]) -> dict[str, Any]:
        written.update(tree)
        return _completed(tree, before)

    read = read_changes(source, complete)
    made = instantiate(read, parameters)
    if "principal" in written:
        for name in _STANDING:
            if made[name] != held[name]:
                raise GrantError(
                    f"grant {before.id} would have another `{name}`: got {_said(made[name])}, expected "
                    f"{_said(held[name])}; that is another grant, so issue it"
                )
        made["not_before"] = made["not_before"] or held["not_before"]
        return _without(made, without), read.digest
    changed = {key: made[key] for key in written}
    if "tools" in changed:
        named = {grant_tool_key(tool) for tool in written["tools"]}
        changed["tools"] = held["tools"] | {tool: made["tools"][tool] for tool in made["tools"] if tool in named}
    if "expires_in" in changed or "expires" in changed:
        changed |= {"expires": made["expires"], "expires_in": made["expires_in"]}
    return _without({**held, **changed}, without), read.digest


def _completed(tree: dict[str, Any], before: GrantTerms) -> dict[str, Any]:
    """A change with something harmless in every place that it does not name, so that it reads as a grant."""
    if "principal" in tree:
        return tree
    for key in tree:
        if key not in CHANGEABLE:
            raise Refusal(
                f"a change has no `{key}`: it may name {', '.join(sorted(CHANGEABLE))} "
                "(a whole grant, with its principal, replaces everything)",
                key,
            )
    limits: Any = tree.get("limits")
    sums = {name: {"min": 0} for name in _summed(limits)}
    clause: dict[str, Any] = {"other_arguments": "any", **({"arguments": sums} if sums else {})}
    standing = dict.fromkeys(before.tools, clause)
    written = tree.get("tools")
    tools = {**standing, **_by_key(written)} if isinstance(written, dict) else written if "tools" in tree else standing
    base: dict[str, Any] = {"task": "x", "principal": before.principal, "agent": before.agent}
    if before.addresses:
        base["self"] = list(before.addresses)
    if "expires" not in tree and "expires_in" not in tree:
        base["expires_in"] = "1m"
    return {**base, **tree, "tools": tools}


def _by_key(tools: dict[str, Any]) -> dict[str, Any]:
    """Tools under their full keys, so that `read` replaces `local.read`; what is no key is left to be refused."""
    found: dict[str, Any] = {}
    for text, clause in tools.items():
        try:
            key = grant_tool_key(text)
        except GrantError:
            key = text
        found[text if key in found else key] = clause
    return found


def _summed(limits: Any) -> set[str]:
    shared = limits.get("shared") if isinstance(limits, dict) else None
    found: set[str] = set()
    for one in shared if isinstance(shared, list) else [shared]:
        sums = one.get("sum") if isinstance(one, dict) else None
        for each in sums if isinstance(sums, list) else [sums]:
            if isinstance(each, dict) and isinstance(each.get("argument"), str):
                found.add(each["argument"])
    return found


def _without(result: dict[str, Any], tools: tuple[str, ...]) -> dict[str, Any]:
    left = dict(result["tools"])
    for text in tools:
        if left.pop(grant_tool_key(text), None) is None:
            raise GrantError(f"{text!r} is not granted, so it cannot be taken away; granted are {', '.join(left)}")
    if not left:
        raise GrantError("no tool would be left; `remit grant revoke` takes everything away")
    return {**result, "tools": left}


def _terms(before: GrantTerms, result: Mapping[str, Any], now: datetime, who: Identity) -> GrantTerms:
    """The content with its id, version and window: what will be signed."""
    content = dict(result)
    if content["expires_in"] is not None:
        begins = max(now, datetime.fromisoformat(content["not_before"]))
        content |= {"expires": show_moment(begins + parse_span(content["expires_in"])), "expires_in": None}
    return issue_terms(
        content,
        grant_id=before.id,
        version=before.version + 1,
        issued_at=now,
        issuer=who.subject,
        parent=before.parent,
    )


def _said(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# -- who may do it


def _written_for(grant: Grant | str, version: int | None, request: GrantRequest | None) -> tuple[str, int]:
    """The id of the grant to amend, and the version that somebody looked at when they wrote the change."""
    name = grant.id if isinstance(grant, issuing.Grant) else grant
    if request is not None and request.grant_id != name:
        raise UsageError(f"request {request.id} is about grant {request.grant_id}, not about {name}")
    if version is not None:
        return name, version
    if isinstance(grant, issuing.Grant):
        return name, grant.version
    if request is not None:
        return name, request.version
    raise UsageError("say which version of the grant this was written for: version=, or pass the Grant itself")


def _require_version(grant_id: str, found: int, expected: int) -> None:
    if found != expected:
        raise GrantError(
            f"grant {grant_id} is at version {found}, and this was written for version {expected}: look at it again "
            f"(`remit grant show {grant_id}`)"
        )


def _require_alive(txn: Txn, row: Mapping[str, Any]) -> None:
    if row["state"] != "active":
        raise GrantError(f"grant {row['id']} was revoked; what was withdrawn is issued anew, not amended")
    ended = datetime.fromisoformat(row["expires"])
    if ended <= txn.now:
        raise GrantError(f"grant {row['id']} ended at {say_moment(ended)}; issue a new one")


def _widened(deployment: Deployment, terms: GrantTerms, before: GrantTerms) -> list[str]:
    """Why the next version is not narrower than the one before; nothing when it is."""
    found = []
    if terms.delegation.depth > before.delegation.depth:
        found.append(f"it may be handed on {terms.delegation.depth} times, before {before.delegation.depth}")
    if terms.delegation.may_use and not before.delegation.may_use:
        found.append("its holder may use it, before only hand it on")
    # compared as two versions of one grant: neither is handed on to the other
    level = Delegation(depth=min(100, terms.delegation.depth + 1))
    above = replace(before, document=before.document.model_copy(update={"delegation": level}))
    below = terms
    if terms.delegation.depth >= 100:
        below = replace(terms, document=terms.document.model_copy(update={"delegation": Delegation()}))
    for each in widenings(below, (above,), catalogue=deployment.catalogue):
        found.append(each.reason.replace("its parent", "the version before"))
    return found


def _check_ceiling(terms: GrantTerms, row: Mapping[str, Any], who: Identity, wider: list[str]) -> None:
    """The issuer's ceiling: who may issue such a grant may widen it. Others may only take away."""
    rule = terms.issue
    if rule is not None and rule.by:
        may, takes = who.holds(rule.by), ", ".join(rule.by)
    else:
        may, takes = who.subject in (row["issuer"], row["principal"]), f"{row['issuer']} or {row['principal']}"
    if wider and not may:
        more = f" (and {len(wider) - 1} more)" if len(wider) > 1 else ""
        raise IdentityError(f"{who.subject} may not widen grant {row['id']}, which takes {takes}: {wider[0]}{more}")


# -- what follows from it


def _record(
    deployment: Deployment,
    txn: Txn,
    row: Mapping[str, Any],
    terms: GrantTerms,
    who: Identity,
    *,
    source_digest: str,
    reason: str | None,
    more: Mapping[str, Any],
    carried: Mapping[str, str],
) -> str:
    """Append `grant.amended`: from here on the next version is what counts. Returns the record's id.

    `carried` are counters that hold something else from here on; what tells of arguments is left to the payload.
    """
    data, columns = issuing.sign(deployment, txn, source_digest, terms, who)
    said = {"supersedes": row["record_id"], "digest_before": row["digest"], **more}
    told, hidden = spending.split(carried.items())
    said |= {"carried": told} if told else {}
    private = {**issuing.private_of(terms), **({"reason": reason} if reason else {})}
    private |= {"carried": spending.sealed(hidden)} if hidden else {}
    appended = txn.append(deployment.ledger.draft("grant.amended", data={**data, **said}, private=private))
    amenders = {*json.loads(row["amenders"] or "[]"), who.subject}
    txn.put("grants", terms.id, record_id=appended.id, amenders=json.dumps(sorted(amenders)), **columns)
    issuing.bind(txn, terms)
    return appended.id


def _move_ends(txn: Txn, row: Mapping[str, Any]) -> None:
    """Sessions end with the first link of their chain that ends: tell those that are open."""
    below = carrying.tree(txn, row)
    ends: dict[str, str] = {}
    for grant_id in below:
        link: Mapping[str, Any] | None = txn.get("grants", grant_id)
        moments = []
        while link is not None:
            moments.append(link["expires"])
            link = txn.get("grants", link["parent"]) if link["parent"] is not None else None
        ends[grant_id] = min(moments)
    query = select(col(SessionRow.id)).where(col(SessionRow.grant_id).in_(below), col(SessionRow.state) != "closed")
    for (session_id,) in txn.rows(query):
        session = txn.get("sessions", session_id)
        if session is not None and session["state"] != "closed":
            txn.put("sessions", session_id, ends=ends[session["grant_id"]])


__all__ = ["CHANGEABLE", "Source", "amend", "next_content", "refuse_agent"]
