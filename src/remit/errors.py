"""Every error Remit raises, in one tree.

```
RemitError
├── Denied                    the gate refused a call
│   └── ApprovalRequired      … until a person answers
├── GrantError                a grant, template or catalogue is not acceptable
│   └── DelegationWidened     a child grant could do what its parent cannot
├── EvidenceUnavailable       a record could not be made durable
├── VerificationError         stored evidence is not what was signed
├── IdentityError             a credential is missing, wrong, or not enough
├── NotCanonical              a value that could be read in two ways
├── Unrepresentable           a value that evidence cannot hold
└── UsageError                the API or command line was used in a way it cannot serve
```

Each has `.code`, from a closed list, and a sentence that says what was got and what was expected.
No message carries a secret or the source of a policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

DenialCode = Literal[
    "no_grant",
    "grant_expired",
    "not_yet_valid",
    "grant_revoked",
    "session_closed",
    "session_suspended",
    "tool_not_granted",
    "argument_out_of_bounds",
    "resource_out_of_scope",
    "resource_unresolved",
    "guardrail",
    "limit_reached",
    "approval_required",
    "approval_refused",
    "approval_mismatch",
    "approval_expired",
    "delegation_widened",
    "delegation_too_deep",
    "delegate_only",
    "audience_mismatch",
    "identity_conflict",
    "tool_changed",
    "call_conflict",
    "already_executed",
    "outcome_unknown",
    "argument_unrepresentable",
    "too_large",
    "grant_invalid",
    "evidence_unavailable",
    "evaluator_error",
]
"""Why a call was refused. The list is closed: a report can count on it."""

DENIAL_CODES: Final[frozenset[str]] = frozenset(get_args(DenialCode))

RemedyKind = Literal["change_argument", "request_grant", "await_approval", "retry_after", "stop"]
"""What the caller of a refused call can usefully do next."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """What would help after a refusal, in a form that a model can act on.

    `expected` says only what the deciding clause may reveal: names and kinds of bounds, never policy source.
    """

    kind: RemedyKind
    expected: str | None = None
    approval_id: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The remedy as JSON: `kind`, and whichever of `expected`, `approval_id`, `details` is known."""
        found: dict[str, Any] = {"kind": self.kind}
        if self.expected:
            found["expected"] = self.expected
        if self.approval_id:
            found["approval_id"] = self.approval_id
        if self.details:
            found["details"] = dict(self.details)
        return found


class RemitError(Exception):
    """Base of every error that Remit raises on purpose."""

    code: str = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class Denied(RemitError):
    """Raised when the gate refuses a call. The tool body was not entered."""

    def __init__(
        self,
        message: str,
        *,
        code: DenialCode,
        rule: str | None = None,
        call_id: str | None = None,
        remedy: Remedy | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.reason = message
        self.rule = rule
        self.call_id = call_id
        self.remedy = remedy or Remedy("stop")


class ApprovalRequired(Denied):
    """Raised when a call needs a person's approval first; `.approval_id` names the pending question."""

    def __init__(
        self,
        message: str,
        *,
        approval_id: str,
        rule: str | None = None,
        call_id: str | None = None,
        remedy: Remedy | None = None,
    ) -> None:
        super().__init__(
            message,
            code="approval_required",
            rule=rule,
            call_id=call_id,
            remedy=remedy or Remedy("await_approval", approval_id=approval_id),
        )
        self.approval_id = approval_id


class GrantError(RemitError):
    """Raised when a grant, template, catalogue or policy file is refused.

    `problems` lists every reason found, each with its line where the source has lines.
    """

    code = "grant_invalid"

    def __init__(self, message: str, *, problems: Sequence[str] = (), code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.problems: tuple[str, ...] = tuple(problems)


class DelegationWidened(GrantError):
    """Raised when a child grant would allow what its parent does not."""

    code = "delegation_widened"


class EvidenceUnavailable(RemitError):
    """Raised when a record could not be made durable.

    `executed` is True when the tool had already run: then the caller must not try again.
    """

    code = "evidence_unavailable"

    def __init__(self, message: str, *, executed: bool = False, call_id: str | None = None) -> None:
        super().__init__(message)
        self.executed = executed
        self.call_id = call_id


class VerificationError(RemitError):
    """Raised when evidence does not verify; `.index` is the first record at which it breaks, if one can be named."""

    code = "not_verified"

    def __init__(self, message: str, *, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


class IdentityError(RemitError):
    """Raised when a person or service is not who was needed: unknown, unproved, or not in the role asked for."""

    code = "identity_error"


class NotCanonical(RemitError):
    """Raised when a path, URL, address or number could be read in more than one way. Nothing is rewritten."""

    code = "not_canonical"


class Unrepresentable(RemitError):
    """Raised when a value has no encoding in evidence, or is larger than evidence may be."""

    code = "argument_unrepresentable"


class UsageError(RemitError):
    """Raised when Remit is called in a way that it cannot serve: a wrong option, an unknown id, a missing extra."""

    code = "usage"
