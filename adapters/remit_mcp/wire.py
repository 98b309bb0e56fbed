"""What stands on the MCP wire: which requests are governed, how a result says that it failed, how a refusal looks.

Both protocol eras: handshake (2024-11-05 to 2025-11-25) and modern (from 2026-07-28, where every result has a
`resultType`). Wire shapes are plain dicts in camelCase, as the specification writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import remit

ENVELOPE: Final = "io.modelcontextprotocol/"
"""Prefix of the `_meta` members that the specification keeps for itself; the modern era's envelope is made of them."""

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
"""Error codes of JSON-RPC 2.0, section 5.1. They stand here so that the proxy needs no MCP SDK."""

Status = Literal["ok", "tool_error", "exception", "cancelled", "pending", "not_run", "unknown"]

DENIAL_META: Final = "dev.remit/denial"
"""Key in `_meta` of a refused call's result (and in `data` of a refused read's error): code, rule, reason, remedy."""

GRANT_META: Final = "dev.remit/grant"
"""Key in a request's `_meta` under which a client names the grant it means to use. A claim, until it is checked."""

CLAIMS: Final[Mapping[str, str]] = {
    GRANT_META: "grant",
    "dev.remit/principal": "principal",
    "dev.remit/agent": "agent",
}
"""Keys in `_meta` by which a client says who it is. Never believed: recorded, and refused where they conflict."""

TOKEN_META: Final = "dev.remit/token"  # noqa: S105 - where a token is, not one
PROOF_META: Final = "dev.remit/proof"
"""Keys in `_meta` under which a client sends its grant as a token, and the proof that it holds the token's key."""

DENIED: Final = -32010
"""JSON-RPC error code of a refused `resources/read` or `prompts/get`, in the range that implementations may use."""

GOVERNED: Final = frozenset({"tools/call", "resources/read", "prompts/get"})
"""Requests that go through the gate: they act, or hand out what the server holds."""

PASSED: Final = frozenset(
    {
        "initialize",
        "ping",
        "server/discover",
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "prompts/list",
        "completion/complete",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "subscriptions/listen",
        "tasks/get",
        "tasks/list",
        "tasks/cancel",
        "tasks/result",
    }
)
"""Requests that are let through: they say what there is, negotiate, or follow a call that was permitted before."""

RESERVED: Final = GOVERNED | PASSED
"""Names that no tool may have: `crm.resources/read` must mean one thing only."""


class MalformedRequest(ValueError):
    """A governed request that has no single reading; it is answered with an error and never reaches the server."""


class Asked(NamedTuple):
    """What one governed request asks for: the tool key's second half, and the arguments that are judged."""

    tool: str
    arguments: dict[str, Any]


def asked(method: str, params: Mapping[str, Any] | None) -> Asked:
    """Read a governed request. Raises `MalformedRequest` where a server could read it otherwise than we do."""
    params = params if params is not None else {}
    _refuse_near_misses(method, params)
    if method == "tools/call":
        return Asked(_text(params, "name", method), _object(params, "arguments", method) or {})
    if method == "resources/read":
        return Asked(method, {"uri": _text(params, "uri", method)})
    if method == "prompts/get":
        given = _object(params, "arguments", method)
        return Asked(method, {"name": _text(params, "name", method), **({} if given is None else {"arguments": given})})
    raise MalformedRequest(f"{method} is not governed")


def with_arguments(method: str, params: Mapping[str, Any] | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The request's params with what was decided on in place of what came (invariant 3: the snapshot is what runs)."""
    found = without_secrets(params)
    if method != "tools/call":
        return {**found, **arguments}
    if arguments or found.get("arguments") is not None:
        found["arguments"] = dict(arguments)
    return found


def without_secrets(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """The params without token and proof: they were meant for the gate, and go no further."""
    found = dict(params or {})
    meta = found.get("_meta")
    if isinstance(meta, Mapping) and meta.keys() & {TOKEN_META, PROOF_META}:
        found["_meta"] = {key: value for key, value in meta.items() if key not in (TOKEN_META, PROOF_META)}
    return found


class Shown(NamedTuple):
    """A grant token and the proof for it, as far as a request brought them."""

    token: str | None
    proof: str | None


def shown(params: Mapping[str, Any] | None) -> Shown:
    """What the client sent to be let in with."""
    meta = (params or {}).get("_meta")
    found = [meta.get(key) if isinstance(meta, Mapping) else None for key in (TOKEN_META, PROOF_META)]
    return Shown(*(text if isinstance(text, str) else None for text in found))


def _refuse_near_misses(method: str, params: Mapping[str, Any]) -> None:
    """Some JSON readers match member names without regard to case; for them `Arguments` would be the arguments."""
    read = {"name", "arguments", "uri", "_meta"}
    for member in params:
        if member not in read and member.casefold() in read:
            raise MalformedRequest(f"{method} has a member {member!r}, which some servers would read as another name")


def _text(params: Mapping[str, Any], member: str, method: str) -> str:
    value = params.get(member)
    if not isinstance(value, str):
        raise MalformedRequest(f"{method} has no {member}: got {type(value).__name__}, expected a string")
    return value


def _object(params: Mapping[str, Any], member: str, method: str) -> dict[str, Any] | None:
    value = params.get(member)
    if value is not None and not isinstance(value, dict):
        raise MalformedRequest(f"{method} has {member} of type {type(value).__name__}, expected an object")
    return value


def claims(params: Mapping[str, Any] | None) -> dict[str, str]:
    """What the client says of itself in `_meta`: some of `grant`, `principal`, `agent`."""
    meta = (params or {}).get("_meta")
    if not isinstance(meta, Mapping):
        return {}
    return {name: str(meta[key]) for key, name in CLAIMS.items() if meta.get(key) is not None}


def is_modern(params: Mapping[str, Any] | None) -> bool:
    """Whether a request carries the envelope of the modern era in its `_meta` (specification 2026-07-28)."""
    meta = (params or {}).get("_meta")
    return isinstance(meta, Mapping) and f"{ENVELOPE}protocolVersion" in meta


def request_state(params: Mapping[str, Any] | None) -> str | None:
    """The `requestState` of a continuation, `""` when it brings answers alone; None for a first request."""
    params = params or {}
    state = params.get("requestState")
    if isinstance(state, str):
        return state
    return "" if params.get("inputResponses") is not None else None


def task_id(holder: Mapping[str, Any] | None) -> str | None:
    """The id of the task that a result made (`task.taskId`), or that a request is about (`taskId`)."""
    holder = holder or {}
    inner = holder.get("task")
    found = inner.get("taskId") if isinstance(inner, Mapping) else holder.get("taskId")
    return found if isinstance(found, str) else None


def read_result(result: Any) -> tuple[Status, str | None]:
    """What a result says of itself: `isError` has failed, `input_required` and tasks have not ended (invariant 11)."""
    if not isinstance(result, Mapping):
        return "ok", None
    kind = result.get("resultType")
    if kind == "input_required":
        return "pending", "the server asked for input first"
    if kind == "task" or isinstance(result.get("task"), Mapping):
        return "pending", f"the server answers later, as task {task_id(result)}"
    if result.get("isError"):
        return "tool_error", _said(result)
    return "ok", None


def _said(result: Mapping[str, Any]) -> str:
    content = result.get("content")
    parts = content if isinstance(content, list) else []
    texts = [part["text"] for part in parts if isinstance(part, Mapping) and isinstance(part.get("text"), str)]
    return "\n".join(texts)[:4000] or "isError"


def read_task_status(result: Mapping[str, Any]) -> tuple[Status, str | None]:
    """What `tasks/get` says of a task that a call became: `pending` until it has ended."""
    said = result.get("status")
    ended: dict[Any, Status] = {"completed": "ok", "failed": "tool_error", "cancelled": "cancelled"}
    if said not in ended:
        return "pending", None
    message = result.get("statusMessage")
    inner = result.get("result")
    if said == "completed" and isinstance(inner, Mapping):
        return read_result(inner)
    return ended[said], message if isinstance(message, str) else f"the task {said}"


def denial(error: remit.RemitError) -> dict[str, Any]:
    """A refusal for programs: `code`, `reason`, and as far as known `rule`, `remedy` and `call`."""
    found: dict[str, Any] = {"code": error.code, "reason": str(error)}
    if isinstance(error, remit.Denied):
        found |= {"rule": error.rule, "remedy": error.remedy.as_dict(), "call": error.call_id}
    if isinstance(error, remit.EvidenceUnavailable):
        found |= {"executed": error.executed, "call": error.call_id}
    return {name: value for name, value in found.items() if value is not None}


def denied_result(error: remit.RemitError, *, modern: bool) -> dict[str, Any]:
    """A refused `tools/call` as its result: an error the model can read, with the same for programs in `_meta`."""
    text = remit.denial_text(error) if isinstance(error, remit.Denied) else f"{error} Do not retry the same call."
    return error_result(text, modern=modern, meta={DENIAL_META: denial(error)})


def error_result(text: str, *, modern: bool, meta: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A `tools/call` result that says it failed, well-formed in the era of its request."""
    found: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": True}
    if meta:
        found["_meta"] = dict(meta)
    if modern:
        found["resultType"] = "complete"
    return found
