"""What Cedar is asked, and shown: guardrails in groups, each with only what its members read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from remit.authority.calls import CallView, Facts, SessionFacts
from remit.authority.cedar import engine
from remit.authority.cedar.encode import access_facts, record
from remit.authority.cedar.reads import SESSION, Wanted, two_ways
from remit.authority.cedar.source import Policy
from remit.authority.terms import GrantTerms
from remit.errors import GrantError

_SHOWN: Final = 4_096
_TOGETHER: Final = 64
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class Panel:
    """Guardrails that are asked together: a policy set, and everything that they read."""

    __slots__ = ("access", "accesses", "input", "policies", "session", "set", "shown", "wanted")

    def __init__(self, policies: Sequence[Policy]) -> None:
        self.policies = tuple(policies)
        self.wanted = Wanted()
        for policy in policies:
            try:
                self.wanted.add(policy.reading.context)
            except ValueError as error:
                raise GrantError(two_ways(policy.where, str(error).removeprefix("input."))) from None
        parts = self.wanted.parts
        self.input, self.access, self.session = parts.get("input"), parts.get("access"), parts.get("session")
        self.accesses = "accesses" in parts
        self.set = engine.policy_set({policy.id: policy.json for policy in policies})
        self.shown: dict[Any, list[bytes]] = {}

    @property
    def touches(self) -> bool:
        """Whether any of them reads what a call touches."""
        return self.access is not None or self.accesses

    def contexts(self, call: CallView, facts: Facts, terms: GrantTerms) -> list[bytes]:
        """What they are shown of a call: one context, or one for each access that looks different to them.

        Raises `NotEncodable`.
        """
        if self.input is not None:
            return self._contexts(call, facts, terms)
        now, session = facts.now, self.session
        key = (
            call.accesses if self.touches else (),
            call.catalogued,
            None if session is None else (facts.around, now.hour, now.weekday(), terms.canonical),
        )
        found = self.shown.get(key)
        if found is None:
            found = self._contexts(call, facts, terms)
            if len(self.shown) >= _SHOWN:
                self.shown.clear()
            self.shown[key] = found
        return found

    def _contexts(self, call: CallView, facts: Facts, terms: GrantTerms) -> list[bytes]:
        context: dict[str, Any] = {}
        if self.input is not None:
            context["input"] = record(call.effective, self.input)
        if self.session is not None:
            context["session"] = session_context(self.session, facts.around, terms, facts)
        if "catalogued" in self.wanted.parts:
            context["catalogued"] = call.catalogued
        if self.accesses:
            context["accesses"] = [
                {"action": access.action, "uri": access.uri, "kind": access.kind} for access in call.accesses
            ]
        if self.access is None:
            return [orjson.dumps(context)]
        contexts: dict[bytes, None] = {}
        for access in call.accesses:
            context["access"] = record(access_facts(access), self.access)
            contexts[orjson.dumps(context)] = None
        return list(contexts)


class Slice:
    """The enforced, or the observed, guardrails that may speak of one tool.

    They are grouped by which parts of a call they read (arguments, session, accesses), and each group's answers are
    remembered apart: a new amount does not ask again about office hours. What is not remembered is asked in one go.
    Enforced and observed ones are apart so that what is only tried out cannot get in the way of what holds.
    """

    __slots__ = ("_together", "enforced", "groups", "policies")

    def __init__(self, policies: Sequence[Policy]) -> None:
        self.policies = tuple(policies)
        self.enforced = not policies[0].observe
        groups: dict[frozenset[str], list[Policy]] = {}
        for policy in policies:
            groups.setdefault(frozenset(policy.reading.context.parts), []).append(policy)
        self.groups = tuple(Panel(group) for group in groups.values())
        every = tuple(range(len(self.groups)))
        self._together = {every: Panel(policies)}  # whatever contradicts itself is refused now, not at a call

    def together(self, groups: tuple[int, ...]) -> Panel:
        """Some of the groups as one."""
        if len(groups) == 1:
            return self.groups[groups[0]]
        found = self._together.get(groups)
        if found is None:
            ids = {policy.id for index in groups for policy in self.groups[index].policies}
            found = Panel([policy for policy in self.policies if policy.id in ids])
            if len(self._together) < _TOGETHER:
                self._together[groups] = found
        return found


def session_context(
    wanted: Wanted | None, around: SessionFacts, terms: GrantTerms, facts: Facts | None
) -> dict[str, Any]:
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
