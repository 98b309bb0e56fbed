"""An organisation's guardrails, ready to judge calls: sliced by tool, shown only what they read, remembered exactly.

Cedar is pure, so an answer under the same tool, identities and context is the same answer; the key of the memory is
that context itself, in JSON, never a digest of it and never Python values (where `1 == True`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson

from remit.authority.calls import ApprovalNeed, CallView, Facts, Ruling, SessionFacts
from remit.authority.cedar import engine, source
from remit.authority.cedar.encode import NotEncodable
from remit.authority.cedar.panels import NOTHING, Found, Panel, Sight, Slice, session_context, wanted
from remit.authority.cedar.source import Policies, Policy
from remit.authority.compile import CompiledGrant
from remit.authority.keys import server_wildcard
from remit.authority.limits import DEFAULT_APPROVAL_WINDOW
from remit.authority.literals import show
from remit.authority.terms import GrantTerms
from remit.errors import Remedy

MEMO_ENTRIES: Final = 8_192
MEMO_KEY_BYTES: Final = 8_192
"""Contexts longer than this are judged afresh each time, so that a large argument does not fill the memory."""

_TOOLS: Final = 4_096
_WHO: Final = 1_024


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
        self._memo: dict[tuple[Panel, _Who, str], Found] = {}
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
        document = terms.document
        who = self._who_of(call.tool, document.principal, document.agent, facts.around.roles)
        around = part.around(facts, terms)
        key = (who, _texts(call) if part.touches else None, call.catalogued, around)
        settled = part.settled(key)
        begin = 0 if settled is None else part.steady
        if begin == len(part.groups):
            return _ruling(part, settled, call.tool) if settled else None
        try:
            found = self._answers(part, begin, who, Sight(part, around, call, facts, terms))
        except NotEncodable as error:
            return _unreadable(part, call, error)
        if settled is None:
            part.settle(key, call, tuple(one for index, one in found if index < part.steady))
        said = (*(settled or ()), *(one for _, one in found))
        return _ruling(part, said, call.tool) if said else None

    def _answers(self, part: Slice, begin: int, who: _Who, seen: Sight) -> list[tuple[int, Found]]:
        """What the groups from the index `begin` on say, `NOTHING` left out: from the memory, or from Cedar.

        Raises `NotEncodable`.
        """
        memo, groups = self._memo, part.groups
        found: list[tuple[int, Found]] = []
        missing: dict[int, tuple[Panel, _Who, str]] = {}
        contexts: list[str] = []
        for index in range(begin, len(groups)):
            group = groups[index]
            if group.access is not None and not seen.call.accesses:
                continue
            shown = seen.contexts(group)
            key = (group, who, shown[0] if len(shown) == 1 else "\n".join(shown))
            known = memo.get(key)
            if known is None:
                missing[index] = key
                contexts = shown
            elif known is not NOTHING:
                found.append((index, known))
        if missing:
            panel = part.together(tuple(missing))
            satisfied, erring = _ask(panel, who, contexts if len(missing) == 1 else seen.contexts(panel))
            for index, key in missing.items():
                one = _share(groups[index], satisfied, erring)
                if one is not NOTHING:
                    found.append((index, one))
                if len(key[2]) <= MEMO_KEY_BYTES:
                    self._remember(key, one)
        return found

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
            panel, session = Panel(part), wanted(part).parts.get("session")
            context = {} if session is None else {"session": session_context(session, around, terms, None)}
            who = self._who_of(tool, terms.principal, terms.agent, around.roles)
            [answer] = engine.evaluate(panel.set, who.entities, *who.request, [orjson.dumps(context).decode()])
            refusing = {*answer.satisfied, *(erring or part[0].id for erring, _ in answer.errors)}
            found += [(policy, tool) for policy in part if policy.id in refusing]
        return found

    # -- what is kept

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

    def _remember(self, key: tuple[Panel, _Who, str], found: Found) -> None:
        with self._lock:
            memo = self._memo
            if len(memo) >= MEMO_ENTRIES:
                for old in list(memo)[: MEMO_ENTRIES // 2]:
                    del memo[old]
            memo[key] = found


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


def _texts(call: CallView) -> tuple[str, ...]:
    """What a call touches, as a key: texts know their hash, accesses work theirs out each time."""
    accesses = call.accesses
    if len(accesses) == 1:
        return (accesses[0].action, accesses[0].uri)
    return tuple([text for access in accesses for text in (access.action, access.uri)])


def _ask(panel: Panel, who: _Who, contexts: Sequence[str]) -> Found:
    """Cedar's answer. When it speaks of what it was not asked, nothing of it is believed: none could be evaluated."""
    satisfied: set[str] = set()
    erring: set[str] = set()
    for answer in engine.evaluate(panel.set, who.entities, *who.request, contexts):
        satisfied.update(answer.satisfied)
        for policy_id, _ in answer.errors:
            if policy_id not in panel.ids:
                return frozenset(), panel.ids
            erring.add(policy_id)
    return (frozenset(satisfied), frozenset(erring)) if satisfied <= panel.ids else (frozenset(), panel.ids)


def _share(group: Panel, satisfied: frozenset[str], erring: frozenset[str]) -> Found:
    """What of an answer is a group's."""
    if not satisfied and not erring:
        return NOTHING
    found = (group.ids & satisfied, group.ids & erring)
    return NOTHING if found == NOTHING else found


# -- Cedar's answer, in words


def _ruling(part: Slice, found: Sequence[Found], tool: str) -> Ruling:
    satisfied = frozenset().union(*(one for one, _ in found))
    erring = frozenset().union(*(one for _, one in found))
    if erring:
        return _failed(next(policy for policy in part.policies if policy.id in erring), tool)
    forbidding = [policy for policy in part.policies if policy.id in satisfied]
    for policy in forbidding:
        if not policy.approval or policy.observe:
            return _forbid(policy, tool)
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


def _forbid(policy: Policy, tool: str) -> Ruling:
    said = f": {policy.reason}" if policy.reason else ""
    reason = f"The guardrail {policy.id} forbids this call of {tool}{said}."
    about_call = policy.reading.input or policy.reading.touches
    remedy = Remedy("change_argument", policy.reason) if about_call and policy.reason else Remedy("stop")
    return Ruling("deny", "guardrail", policy.id, reason, remedy, enforced=not policy.observe)


def _need(policy: Policy, tool: str) -> ApprovalNeed:
    reason = policy.reason or f"the guardrail {policy.id} wants {' or '.join(policy.approval)} to approve {tool}"
    return ApprovalNeed(policy.approval, reason, DEFAULT_APPROVAL_WINDOW)


__all__ = ["CedarGuardrails"]
