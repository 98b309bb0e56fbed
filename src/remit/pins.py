"""Tool definitions that are pinned: a call is judged by what a person, or first sight, has accepted of its tool.

In this process a tool is accepted when it is first seen; one of a foreign server waits for a person. Whatever changed
since it was accepted is refused until a person accepts that; where the catalogue says `on_text_change: finding`, a
change of words alone is recorded and the call goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlmodel import col

from remit.errors import DenialCode, UsageError
from remit.resources.definitions import ToolDefinition
from remit.store.tables import ToolRow

if TYPE_CHECKING:
    from remit.calls import CallRequest
    from remit.deployment import Deployment
    from remit.identity import Credential
    from remit.ledger import Txn


Refusal = tuple[DenialCode, str]


def check(deployment: Deployment, txn: Txn, request: CallRequest, tool: str) -> Refusal | None:
    """Why a call of this tool is refused for its definition; None when it is the accepted one."""
    definition = request.definition
    if definition is None:
        if request.foreign:
            return "tool_changed", f"The server does not list {tool}, so nobody could accept what it is."
        return None
    row = txn.get("tools", tool)
    if row is not None and row["digest"] == definition.digest:
        return None
    if request.approval_id is not None:
        return "approval_mismatch", f"The approval does not cover this call: the definition of {tool} changed."
    if row is None and (not request.foreign or deployment.development or request.accept_new):
        _accept_first(deployment, txn, definition, tool, "accept_tools" if request.accept_new else "first_sight")
        return None
    _note_seen(deployment, txn, row, definition, tool)
    if row is None or row["digest"] is None:
        return (
            "tool_changed",
            f"The definition of {tool} has not been accepted here; a person has to (`remit tool accept {tool}`).",
        )
    if row["schema_digest"] == definition.schema_digest and _words_may_change(deployment, tool):
        return None
    return (
        "tool_changed",
        f"The definition of {tool} changed since it was accepted; a person has to accept it "
        f"(`remit tool diff {tool}` shows what changed).",
    )


def note_listed(deployment: Deployment, txn: Txn, definition: ToolDefinition, *, accept_new: bool) -> None:
    """A foreign server lists this tool: put what is new or changed where a person finds it, before the first call."""
    row = txn.get("tools", definition.key)
    if row is not None and row["digest"] == definition.digest:
        return
    if row is None and (deployment.development or accept_new):
        basis = "accept_tools" if accept_new else "first_sight"
        _accept_first(deployment, txn, definition, definition.key, basis)
        return
    _note_seen(deployment, txn, row, definition, definition.key)


def _words_may_change(deployment: Deployment, tool: str) -> bool:
    known = deployment.catalogue.entry(tool)
    return known is not None and known.on_text_change == "finding"


def _described(txn: Txn, definition: ToolDefinition, tool: str) -> dict[str, Any]:
    return {
        "tool": tool,
        "definition": txn.artefact(definition.content),
        "schema": definition.schema_digest,
        "text": definition.text_digest,
    }


def _accept_first(deployment: Deployment, txn: Txn, definition: ToolDefinition, tool: str, basis: str) -> None:
    data = {**_described(txn, definition, tool), "basis": basis}
    accepted = txn.append(deployment.ledger.draft("tool.accepted", data=data))
    txn.put(
        "tools",
        tool,
        digest=definition.digest,
        seen=None,
        schema_digest=definition.schema_digest,
        text_digest=definition.text_digest,
        state="accepted",
        record_id=accepted.id,
    )


def _note_seen(
    deployment: Deployment, txn: Txn, row: Mapping[str, Any] | None, definition: ToolDefinition, tool: str
) -> None:
    """Record another definition than the accepted one, the first time that it is seen."""
    if row is not None and row["seen"] == definition.digest:
        return
    accepted = row["digest"] if row is not None else None
    data = {**_described(txn, definition, tool), "accepted": accepted}
    if row is not None and accepted is not None:
        data["only_text"] = row["schema_digest"] == definition.schema_digest
    changed = txn.append(deployment.ledger.draft("tool.changed", data=data))
    state = "new" if accepted is None else "changed"
    if row is None:
        txn.put("tools", tool, digest=None, seen=definition.digest, state=state, record_id=changed.id)
    else:
        txn.put("tools", tool, seen=definition.digest, state=state, record_id=changed.id)


# -- what people do


def accept(deployment: Deployment, tool: str, credential: Credential | str | None) -> None:
    """See `App.accept_tool`."""

    def job(txn: Txn) -> None:
        row = txn.get("tools", tool)
        if row is None:
            raise UsageError(f"no tool {tool!r} has been seen here; `remit tool list` shows those that were")
        if row["seen"] is None:
            return
        who = deployment.identify(
            txn,
            credential,
            act="tool.accept",
            about={"tool": tool, "definition": row["seen"], "accepted": row["digest"]},
        )
        definition = definition_of(deployment, row["seen"])
        appended = txn.append(
            deployment.ledger.draft(
                "tool.accepted",
                data={**_described(txn, definition, tool), "basis": "person", "by": who.as_record()},
            )
        )
        txn.put(
            "tools",
            tool,
            digest=definition.digest,
            seen=None,
            schema_digest=definition.schema_digest,
            text_digest=definition.text_digest,
            state="accepted",
            record_id=appended.id,
        )

    deployment.ledger.run(job)


def definition_of(deployment: Deployment, digest: str) -> ToolDefinition:
    """The definition behind a digest."""
    content = json.loads(deployment.ledger.artefact(digest))
    return ToolDefinition(content["key"], content["schema"], content["description"])


def in_force(deployment: Deployment, tool: str) -> ToolDefinition | None:
    """The tool's definition as it was last seen, for a call whose framework is not here to bring it."""
    rows = deployment.ledger.read().mappings(select(ToolRow).where(col(ToolRow.key) == tool))
    digest = next((row["seen"] or row["digest"] for row in rows), None)
    return None if digest is None else definition_of(deployment, digest)
