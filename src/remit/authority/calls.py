"""What a decision is about and what it comes to: the call as it is judged, the facts beside it, and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from remit.authority.sources import Found
from remit.errors import DenialCode, Remedy
from remit.resources.access import Access

Effect = Literal["permit", "deny", "ask"]
SessionState = Literal["open", "suspended", "closed"]


@dataclass(frozen=True, slots=True)
class CallView:
    """One call as it is judged.

    `arguments` is what the model sent, `effective` the same with the pinned defaults filled in, `defaulted` the names
    whose value equals the default. `injected` are scalars that the framework adds. `covered` are arguments whose whole
    value a URI covers; `unresolved` says why the catalogue could not read the call; `catalogued` whether it knows
    what the tool touches. `secret` arguments are never shown in a sentence. `sources` is what earlier results hold
    for each `from` of the grant, gathered before the call is judged; None where the grant has none.
    """

    tool: str
    arguments: Mapping[str, Any]
    effective: Mapping[str, Any]
    defaulted: frozenset[str]
    injected: Mapping[str, Any]
    accesses: tuple[Access, ...]
    covered: frozenset[str]
    unresolved: str | None
    catalogued: bool
    secret: frozenset[str] = frozenset()
    sources: Mapping[str, Found] | None = None


@dataclass(frozen=True, slots=True)
class Spend:
    """What an executed call adds to a limit: an exact decimal as text, `1` for a call.

    `resources` are the ones that a limit on different resources counts; `seconds` is the stretch of time of a rate.
    """

    limit: str
    amount: str
    resources: tuple[str, ...] = ()
    seconds: int = 0


@dataclass(frozen=True, slots=True)
class ApprovalNeed:
    """Whose approval a call waits for: any one of `by`, `count` of them, within `expires_in`."""

    by: tuple[str, ...]
    reason: str
    expires_in: timedelta
    count: int = 1


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What guardrails may know of the session around a call: facts as they stood when it was decided.

    `labels` are what the session has touched so far (over its whole delegation tree), `calls` how many of its calls
    ran before this one and `tool_calls` how many of the same tool (both 0 where no guardrail counts), `roles` the
    principal's.
    """

    labels: frozenset[str] = frozenset()
    calls: int = 0
    tool_calls: int = 0
    mode: str = "enforce"
    environment: str = "unspecified"
    roles: frozenset[str] = frozenset()


_NO_SESSION_FACTS: Final = SessionFacts()


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that a decision reads beside grant and call. It is recorded with the decision, so replay agrees.

    `counters` say of each limit what was spent of it before this call: of a rate, the calls in its stretch of time
    (and under `<limit>:free` when the next one may come, once it is full); of different resources, how many beside
    those that this call touches.
    """

    now: datetime
    session: SessionState
    revoked: frozenset[str]
    counters: Mapping[str, str]
    approved_rules: frozenset[str] = frozenset()
    around: SessionFacts = _NO_SESSION_FACTS


@dataclass(frozen=True, slots=True)
class Decision:
    """Permit, deny or ask, with the rule that decided and one sentence.

    `unbounded` names what ran without a bound. `enforced` is False where the clause only observes.
    """

    effect: Effect
    code: DenialCode | None
    rule: str | None
    reason: str
    remedy: Remedy | None
    clause: str | None
    accesses: tuple[Access, ...]
    spends: tuple[Spend, ...]
    need: ApprovalNeed | None
    unbounded: tuple[str, ...]
    enforced: bool = True
    also: tuple[tuple[str, ApprovalNeed], ...] = ()
    """Further approvals that an `ask` waits for, each a question of its own: (rule, need)."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call does not match, before any fact is looked at."""

    code: DenialCode
    rule: str | None
    reason: str
    remedy: Remedy
    clause: str | None = None
    enforced: bool = True


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the guardrails say to a call that they do not simply let through.

    `deny` with the first rule that forbids it; or `ask`, with every rule that wants an approval and whose. A ruling
    that is not `enforced` is recorded, and the call runs.
    """

    effect: Literal["deny", "ask"]
    code: DenialCode
    rule: str
    reason: str
    remedy: Remedy
    needs: tuple[tuple[str, ApprovalNeed], ...] = ()
    enforced: bool = True
