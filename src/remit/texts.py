"""What a model is told of a refusal: one sentence, the code, what would help. Never policy source, never secrets."""

from __future__ import annotations

from remit.errors import Denied

_REMEDIES = {
    "change_argument": "Change the argument, or stop.",
    "request_grant": "Ask for a grant that covers this, or stop.",
    "await_approval": "Wait for a person's answer; it applies to exactly this call.",
    "retry_after": "Try again later.",
    "stop": "Stop; trying again changes nothing.",
}


def denial_text(denied: Denied) -> str:
    """The refusal as a tool result for a model."""
    remedy = denied.remedy
    parts = [f"Refused ({denied.code}): {denied.reason}"]
    if remedy.expected and remedy.expected not in denied.reason:
        parts.append(f"Expected: {remedy.expected}.")
    parts.append(_REMEDIES[remedy.kind])
    if remedy.approval_id:
        parts.append(f"Approval: {remedy.approval_id}.")
    parts.append("Do not retry the same call.")
    return " ".join(parts)
