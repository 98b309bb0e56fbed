"""An organisation's guardrails, ready to judge calls: sliced by tool, shown only what they read, remembered exactly.

Cedar is pure, so an answer under the same tool, identities and context is the same answer; the key of the memory is
that context itself, in JSON, never a digest of it and never Python values (where `1 == True`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from remit.authority.calls import ApprovalNeed, CallView, Facts, Ruling, SessionFacts
from remit.authority.cedar import engine, source
from remit.authority.cedar.encode import NotEncodable, access_facts, record
from remit.authority.cedar.reads import SESSION, Wanted, two_ways
from remit.authority.cedar.source import Policies, Policy
from remit.authority.compile import CompiledGrant
from remit.authority.keys import server_wildcard
from remit.authority.limits import DEFAULT_APPROVAL_WINDOW
from remit.authority.literals import show
from remit.authority.terms import GrantTerms
from remit.errors import GrantError, Remedy

MEMO_ENTRIES: Final = 8_192
MEMO_KEY_BYTES: Final = 8_192
"""Contexts longer than this are judged afresh each time, so that a large argument does not fill the memory."""

_TOOLS: Final = 4_096
_WHO: Final = 1_024
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ABSENT: Final = object()


class Slice:
    """The guardrails that may speak of one tool, as policy sets, with everything that they read together.

    Enforced and observed ones are apart, so that what is only tried out cannot get in the way of what holds.
    """

    __slots__ = ("access", "accesses", "all", "enforced", "input", "order", "per_call", "policies", "session", "wanted")

    def __init__(self, policies: Sequence[Policy]) -> None:
        self.policies = tuple(policies)
        self.enforced = not policies[0].observe
        self.order = {policy.id: place for place, policy in enumerate(policies)}
        self.wanted = Wanted()
        for policy in policies:
            try:
                self.wanted.add(policy.reading.context)
            except ValueError as error:
                raise GrantError(two_ways(policy.where, str(error).removeprefix("input."))) from None
        parts = self.wanted.parts
        self.input, self.access, self.session = parts.get("input"), parts.get("access"), parts.get("session")
        self.accesses = "accesses" in parts
        per_call = [policy for policy in policies if not policy.reading.each_access]
        self.all = _set(policies)
        self.per_call = self.all if self.access is None else _set(per_call)

    @property
    def touches(self) -> bool:
        """Whether any of them reads what a call touches."""
        return self.access is not None or self.accesses


def _set(policies: Iterable[Policy]) -> engine.PolicySet | None:
    found = {policy.id: policy.json for policy in policies}
    return engine.policy_set(found) if found else None


class CedarGuardrails:
    """Forbids from `*.cedar` files. Immutable once loaded; load anew to change them.

    `judge` never widens anything: it lets a call through, refuses it, or wants approvals. What cannot be evaluated is
    refused, naming the policy, where Cedar by itself would skip it.
    """

    def __init__(self, policies: Policies) -> None:
        self.policies = policies.policies
        self.source = policies.source
        self.digest = policies.digest
        self.reads_session = frozenset().union(*(policy.reading.session for policy in self.policies))
        self._ids = frozenset(policy.id for policy in self.policies)
        self._slices: dict[str, tuple[Slice, ...]] = {}
        self._who: dict[tuple[str, str, str, frozenset[str]], _Who] = {}
        self._memo: dict[tuple[Slice, _Who, bytes], Ruling | None] = {}
        self._lock = threading.Lock()
        for tool in sorted({tool for policy in self.policies for tool in policy.tools or ()} | {"remit.any"}):
            self._slices[tool] = self._slice(tool)  # whatever contradicts itself is refused now, not at a call

    @classmethod
    def load(cls, *paths: str | Path) -> CedarGuardrails:
        """From files and folders; see `source.load` for what is refused."""
        return cls(source.load(*paths))

    @classmethod
    def from_text(cls, text: str) -> CedarGuardrails:
        """From Cedar text."""
        return cls(source.load_text(text))

    @classmethod
    def from_source(cls, content: bytes) -> CedarGuardrails:
        """From the canonical bytes that a ledger keeps under `digest`, to decide again what was decided then."""
        return cls(source.load_source(content))

    @property
    def counts(self) -> bool:
        """Whether any of them reads how many calls there were, so that somebody has to count."""
        return bool(self.reads_session & {"call_count", "tool_call_count"})

    def has(self, rule: str) -> bool:
        """Whether a rule id is one of theirs."""
        return rule in self._ids

    # -- judging

    def judge(self, call: CallView, chain: Sequence[CompiledGrant], facts: Facts) -> Ruling | None:
        """See `remit.authority.guardrails.Guardrails.judge`."""
        ruling = None
        for part in self._slices_of(call.tool):
            ruling = self._judge(part, call, chain, facts)
            if ruling is not None:
                break
        return ruling

    def _judge(self, part: Slice, call: CallView, chain: Sequence[CompiledGrant], facts: Facts) -> Ruling | None:
        if call.unresolved is not None and part.touches:
            return _blind(part, call)
        terms = chain[-1].terms
        try:
            contexts = self._contexts(part, call, facts, terms)
        except NotEncodable as error:
            return _unreadable(part, call, error)
        document = terms.document
        who = self._who_of(call.tool, document.principal, document.agent, facts.around.roles)
        key = (part, who, b"\n".join(contexts) if len(contexts) > 1 else contexts[0])
        ruling = self._memo.get(key, _ABSENT)
        if ruling is _ABSENT:
            ruling = _asked(part, who, contexts, call.tool, touching=bool(call.accesses))
            if len(key[2]) <= MEMO_KEY_BYTES:
                self._remember(key, ruling)
        return ruling  # type: ignore[return-value]  # the sentinel is gone

    def standing(self, terms: GrantTerms, around: SessionFacts) -> list[tuple[Policy, str]]:
        """Forbids that already refuse a tool of a grant, whatever its calls will be: (policy, tool) pairs.

        Only enforced ones without @approval count, that read nothing but who, which tool, and standing session facts
        (environment, mode, bindings). Of `crm.*`, those count that speak of every tool of the server.
        """
        found: list[tuple[Policy, str]] = []
        for tool in terms.tools:
            part = [
                policy
                for policy in self.policies
                if policy.reading.standing and not policy.observe and not policy.approval and policy.covers(tool)
            ]
            if not part:
                continue
            slice_ = Slice(part)
            assert slice_.all is not None
            context = {"session": _session(slice_.session, around, terms, None)} if slice_.session else {}
            who = self._who_of(tool, terms.principal, terms.agent, around.roles)
            [answer] = engine.evaluate(slice_.all, who.entities, *who.request, [orjson.dumps(context).decode()])
            refusing = {*answer.satisfied, *(erring or part[0].id for erring, _ in answer.errors)}
            found += [(policy, tool) for policy in part if policy.id in refusing]
        return found

    # -- what Cedar is shown

    def _contexts(self, found: Slice, call: CallView, facts: Facts, terms: GrantTerms) -> list[bytes]:
        """One context, or one for each access that looks different to the guardrails."""
        context: dict[str, Any] = {}
        wanted = found.wanted.parts
        if found.input is not None:
            context["input"] = record(call.effective, found.input)
        if found.session is not None:
            context["session"] = _session(found.session, facts.around, terms, facts)
        if "catalogued" in wanted:
            context["catalogued"] = call.catalogued
        if found.accesses:
            context["accesses"] = [
                {"action": access.action, "uri": access.uri, "kind": access.kind} for access in call.accesses
            ]
        if found.access is None or not call.accesses:
            return [orjson.dumps(context)]
        contexts: dict[bytes, None] = {}
        for access in call.accesses:
            context["access"] = record(access_facts(access), found.access)
            contexts[orjson.dumps(context)] = None
        return list(contexts)

    def _slices_of(self, tool: str) -> tuple[Slice, ...]:
        try:
            return self._slices[tool]
        except KeyError:
            made = self._slice(tool)
            if len(self._slices) < _TOOLS:
                self._slices[tool] = made
            return made

    def _slice(self, tool: str) -> tuple[Slice, ...]:
        """The enforced guardrails of a tool, then the observed ones; either may be missing."""
        policies = [policy for policy in self.policies if policy.covers(tool)]
        halves = ([policy for policy in policies if policy.observe is observe] for observe in (False, True))
        return tuple(Slice(half) for half in halves if half)

    def _who_of(self, tool: str, principal: str, agent: str, roles: frozenset[str]) -> _Who:
        key = (tool, principal, agent, roles)
        found = self._who.get(key)
        if found is None:
            found = _Who(tool, principal, agent, roles)
            with self._lock:
                if len(self._who) >= _WHO:
                    self._who.clear()
                    self._memo.clear()
                found = self._who.setdefault(key, found)
        return found

    def _remember(self, key: tuple[Slice, _Who, bytes], ruling: Ruling | None) -> None:
        with self._lock:
            memo = self._memo
            if len(memo) >= MEMO_ENTRIES:
                for old in list(memo)[: MEMO_ENTRIES // 2]:
                    del memo[old]
            memo[key] = ruling


class _Who:
    """Principal, action and resource of a request, with their entities. Compared by identity."""

    __slots__ = ("entities", "request")

    def __init__(self, tool: str, principal: str, agent: str, roles: frozenset[str]) -> None:
        kind, _, name = principal.partition(":")
        who = {"type": "Service" if kind == "service" else "User", "id": name}
        action, actor = {"type": "Action", "id": tool}, {"type": "Agent", "id": agent}
        server = {"type": "Action", "id": server_wildcard(tool)}
        groups = [{"type": "Role", "id": role} for role in sorted(roles)]
        self.request = (who, action, actor)
        self.entities = engine.entities(
            [
                {"uid": who, "attrs": {"id": principal, "roles": sorted(roles)}, "parents": groups},
                {"uid": action, "attrs": {}, "parents": [] if server == action else [server]},
                {"uid": actor, "attrs": {"id": agent}, "parents": []},
            ]
        )


# -- asking Cedar, and putting its answer into words


def _asked(part: Slice, who: _Who, contexts: Sequence[bytes], tool: str, *, touching: bool) -> Ruling | None:
    policies = part.all if touching or part.access is None else part.per_call
    if policies is None:
        return None
    satisfied: set[str] = set()
    erring: set[str] = set()
    for answer in engine.evaluate(policies, who.entities, *who.request, [text.decode() for text in contexts]):
        satisfied.update(answer.satisfied)
        erring.update(one if one in part.order else part.policies[0].id for one, _ in answer.errors)
    if erring:
        return _failed(next(policy for policy in part.policies if policy.id in erring), tool)
    forbidding = [policy for policy in part.policies if policy.id in satisfied]
    if len(forbidding) < len(satisfied):
        return _failed(part.policies[0], tool)
    for policy in forbidding:
        if not policy.approval or policy.observe:
            return _forbid(policy, tool)
    if not forbidding:
        return None
    needs = tuple((policy.id, _need(policy, tool)) for policy in forbidding)
    return Ruling("ask", "approval_required", needs[0][0], needs[0][1].reason, Remedy("await_approval"), needs)


def _failed(policy: Policy, tool: str) -> Ruling:
    reason = (
        f"The guardrail {policy.id} could not be evaluated for this call of {tool}: an argument that it reads is "
        "missing or of another type."
    )
    remedy = Remedy("change_argument", "every argument of the tool, each of its own type")
    return Ruling("deny", "evaluator_error", policy.id, reason, remedy, enforced=not policy.observe)


def _unreadable(part: Slice, call: CallView, error: NotEncodable) -> Ruling:
    policy = next(policy for policy in part.policies if policy.reading.input or policy.reading.session)
    reason = f"The guardrail {policy.id} cannot read this call of {call.tool}: the argument {show(str(error))[1:-1]}."
    remedy = Remedy("change_argument", "values that a guardrail can read exactly")
    return Ruling("deny", "argument_unrepresentable", policy.id, reason, remedy, enforced=part.enforced)


def _blind(part: Slice, call: CallView) -> Ruling:
    policy = next(policy for policy in part.policies if policy.reading.touches)
    reason = f"The guardrail {policy.id} has to know what this call of {call.tool} would touch, and that is unclear."
    return Ruling("deny", "resource_unresolved", policy.id, reason, Remedy("change_argument"), enforced=part.enforced)


def _session(wanted: Wanted | None, around: SessionFacts, terms: GrantTerms, facts: Facts | None) -> dict[str, Any]:
    """The session facts that are read. `facts` is None when a grant is judged, for what changes is not known yet."""
    found: dict[str, Any] = {}
    assert wanted is not None
    for name in SESSION if wanted.whole else wanted.parts:
        if name == "labels":
            found[name] = sorted(around.labels)
        elif name == "hour_utc" and facts is not None:
            found[name] = facts.now.hour
        elif name == "day_utc" and facts is not None:
            found[name] = _DAYS[facts.now.weekday()]
        elif name == "call_count":
            found[name] = around.calls
        elif name == "tool_call_count":
            found[name] = around.tool_calls
        elif name == "mode":
            found[name] = around.mode
        elif name == "environment":
            found[name] = around.environment
        elif name == "bindings":
            found[name] = record(terms.bindings, wanted.parts.get(name) or Wanted(whole=True))
    return found


def _forbid(policy: Policy, tool: str) -> Ruling:
    said = f": {policy.reason}" if policy.reason else ""
    reason = f"The guardrail {policy.id} forbids this call of {tool}{said}."
    about_call = policy.reading.input or policy.reading.touches
    remedy = Remedy("change_argument", policy.reason) if about_call and policy.reason else Remedy("stop")
    return Ruling("deny", "guardrail", policy.id, reason, remedy, enforced=not policy.observe)


def _need(policy: Policy, tool: str) -> ApprovalNeed:
    reason = policy.reason or f"the guardrail {policy.id} wants {' or '.join(policy.approval)} to approve {tool}"
    return ApprovalNeed(policy.approval, reason, DEFAULT_APPROVAL_WINDOW)


__all__ = ["CedarGuardrails", "Slice"]
