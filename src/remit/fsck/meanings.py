"""What a difference between a read model and the records could mean, in words for whoever has to find out."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

_COLUMNS: Final[Mapping[tuple[str, str], str]] = {
    ("grants", "state"): "a grant that was revoked would be used again, or one in force would be refused",
    ("grants", "digest"): "other terms than those that were issued would be in force",
    ("grants", "version"): "other terms than those that were issued would be in force",
    ("grants", "signature"): "the grant would be refused, or its terms were exchanged",
    ("grants", "expires"): "lists show another end than the grant has",
    ("grants", "parent"): "limits and bounds of a grant above it would be passed by",
    ("grants", "root"): "labels and limits of its tree would be kept elsewhere",
    ("grants", "labels"): "what was touched would be forgotten by guardrails, or invented",
    ("grants", "issuer"): "who issued it could review it, or somebody else could not",
    ("grants", "amenders"): "who amended it could review it, or somebody else could not",
    ("grants", "issue_key"): "issuing again under its key would give another grant",
    ("grants", "content_key"): "issuing again under its key would be refused, or accept other content",
    ("sessions", "state"): "a session that ended or was suspended would go on, or an open one would be refused",
    ("sessions", "grant_id"): "its calls would be judged by another grant",
    ("sessions", "ends"): "recovery would close it too early, or not at all",
    ("sessions", "idle_seconds"): "it would be closed too early, or not at all",
    ("sessions", "last_call"): "it would be closed too early, or not at all",
    ("sessions", "session_key"): "another session would be joined under its key",
    ("sessions", "identity"): "calls would be attributed to somebody else",
    ("sessions", "principal"): "somebody else could approve or review it",
    ("sessions", "agent"): "somebody else could approve or review it",
    ("calls", "state"): "a call could run twice, or what happened is shown wrongly",
    ("calls", "content"): "another call would be taken for this one, or an approval for another call",
    ("calls", "code"): "reviewers are shown another reason",
    ("calls", "outcome_record"): "a repeated call would be given another result",
    ("calls", "kept"): "a repeated call would be given a result that was not kept, or refused one that was",
    ("calls", "writer"): "recovery would take it for another process's call",
    ("approvals", "state"): "a question would count as answered that was not, or an answer could be used twice",
    ("approvals", "content"): "the answer would let another call run",
    ("approvals", "by"): "other people than the grant names could answer",
    ("approvals", "decided_by"): "one person could answer twice, or an approver could review",
    ("approvals", "expires"): "the answer would hold longer, or not long enough",
    ("people", "key"): "somebody else's key would speak for this person",
    ("people", "state"): "a key that was removed would prove something again, or an enrolled one nothing",
    ("tools", "digest"): "calls would be judged by a definition that nobody accepted",
    ("tools", "state"): "a changed tool would not be shown to anybody",
    ("verdicts", "verdict"): "the verdict is shown otherwise than it was given",
    ("verdicts", "superseded"): "a verdict that was superseded would stand, or one that stands would not",
    ("tokens", "used_by"): "a token that serves once could be used again",
    ("settings", "value"): "a change of configuration would not be recorded",
    ("writer", "state"): "a dead writer's calls would not be settled, or a living one's would",
    ("bindings", "grant_id"): "`remit who` would find another grant's calls",
    ("touches", "call_id"): "`remit who` would find another call",
    ("touches", "touch"): "`remit who` would not find the call by what it touched",
}

_EXTRA: Final[Mapping[str, str]] = {
    "people": "a key speaks for somebody whom nobody enrolled",
    "grants": "an authority that nobody issued",
    "approvals": "a question, or an answer, that nobody recorded",
    "sessions": "a session that nobody opened",
    "calls": "a call that nobody recorded",
    "counters": "a budget was taken from without a call",
    "tools": "a definition that was never seen",
    "verdicts": "a verdict that nobody gave",
    "tokens": "a token would be refused although it was not used",
}

_MISSING: Final[Mapping[str, str]] = {
    "people": "the person could not act, or could be enrolled anew with another key",
    "counters": "somebody gave budget back",
    "calls": "the call could run twice, and reviewers do not see it",
    "approvals": "the question could be asked again, or the answer is lost",
    "tokens": "a token that serves once could be used again",
    "touches": "`remit who` does not find the call",
    "bindings": "`remit who` does not find the grant",
    "verdicts": "reviewers do not see the verdict",
    "tools": "the definition would be accepted anew at first sight",
    "grants": "its sessions are refused, and nobody sees it",
    "sessions": "its calls are refused, and nobody sees it",
}

_SHOWN: Final = "people and programs are shown something else than was recorded"


def of_column(table: str, column: str, stored: Any, recorded: Any) -> str:
    """What another value than the recorded one could mean."""
    if table == "counters":
        return _of_counter(stored, recorded)
    return _COLUMNS.get((table, column), _SHOWN)


def of_extra(table: str) -> str:
    """What a row without a record could mean."""
    return _EXTRA.get(table, _SHOWN)


def of_missing(table: str) -> str:
    """What a row that is not there could mean."""
    return _MISSING.get(table, _SHOWN)


def _of_counter(stored: Any, recorded: Any) -> str:
    try:
        less = Decimal(stored) < Decimal(recorded)
    except (InvalidOperation, TypeError, ValueError):
        return "nobody can say what is left of the limit"
    return "somebody gave budget back" if less else "budget was taken away without a call"
