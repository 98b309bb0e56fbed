"""What Cedar is asked, and shown: guardrails in groups, each with only what its members read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final

import orjson

from remit.authority.calls import CallView, Facts, SessionFacts
from remit.authority.cedar import engine
from remit.authority.cedar.encode import AccessReader, access_facts, record
from remit.authority.cedar.reads import SESSION, Wanted, two_ways
from remit.authority.cedar.source import Policy
from remit.authority.terms import GrantTerms
from remit.errors import GrantError

_SETTLED: Final = 4_096
_SETTLED_BYTES: Final = 4_096
_SESSIONS: Final = 256
_TOGETHER: Final = 64
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_COUNTS: Final = frozenset({"call_count", "tool_call_count"})
_AROUND: Final = ("labels", "mode", "environment")

Found = tuple[frozenset[str], frozenset[str]]
"""What guardrails say: ids of satisfied forbids, and of those that could not be evaluated."""

NOTHING: Final[Found] = (frozenset(), frozenset())


class Panel:
    """Guardrails that are asked together: a policy set, and the parts of a context that they are shown."""

    __slots__ = ("access", "counts", "ids", "parts", "policies", "set", "steady")

    def __init__(self, policies: Sequence[Policy]) -> None:
        self.policies = tuple(policies)
        self.ids = frozenset(policy.id for policy in policies)
        self.counts = any(policy.reading.session & _COUNTS for policy in policies)
        access = wanted(policies).parts.get("access")
        self.access = None if access is None else AccessReader(access)
        self.steady = not self.counts and not any(policy.reading.input for policy in policies)
        read = {part for policy in policies for part in policy.reading.context.parts}
        self.parts = tuple(sorted(read - {"access"}))
        self.set = engine.policy_set({policy.id: policy.json for policy in policies})


class Slice:
    """The enforced, or the observed, guardrails that may speak of one tool.

    They are grouped by what tends to change (arguments, counts, what is touched), and each group's answers are
    remembered apart: a new amount does not ask again about office hours. What is not remembered is asked in one go.
    The `steady` groups, which come first, read neither arguments nor counts. What they say together is remembered by
    everything that they could read, so that for a call like an earlier one nothing is encoded for them.
    Enforced and observed ones are apart so that what is only tried out cannot get in the way of what holds.
    """

    __slots__ = (
        "_around", "_bindings", "_sessions", "_settled", "_together", "_when", "enforced", "groups", "input",
        "policies", "session", "session_counts", "steady", "touches",
    )  # fmt: skip

    def __init__(self, policies: Sequence[Policy]) -> None:
        self.policies = tuple(policies)
        self.enforced = not policies[0].observe
        whole = wanted(policies)  # whatever contradicts itself is refused now, not at a call
        self.input = whole.parts.get("input")
        self.session_counts = whole.parts.get("session")
        calm = [policy for policy in policies if not policy.reading.session & _COUNTS]
        self.session = wanted(calm).parts.get("session")
        kinds: dict[tuple[object, ...], list[Policy]] = {}
        for policy in policies:
            kinds.setdefault(_kind(policy), []).append(policy)
        self.groups = tuple(sorted((Panel(kind) for kind in kinds.values()), key=lambda panel: not panel.steady))
        self.steady = sum(panel.steady for panel in self.groups)
        self.touches = any(policy.reading.touches for policy in policies)
        read = frozenset().union(*(policy.reading.session for policy in calm))
        names = [name for name in _AROUND if name in read]
        self._around: Callable[[SessionFacts], Any] = attrgetter(*names) if names else _none
        self._when, self._bindings = bool(read & {"hour_utc", "day_utc"}), "bindings" in read
        self._settled: dict[Any, tuple[Found, ...]] = {}
        self._sessions: dict[Any, str] = {}
        self._together: dict[tuple[int, ...], Panel] = {}

    def settled(self, key: tuple[object, ...]) -> tuple[Found, ...] | None:
        """What the steady groups say, `NOTHING` left out; None when it is not remembered."""
        return self._settled.get(key)

    def settle(self, key: tuple[object, ...], call: CallView, found: tuple[Found, ...]) -> None:
        """Remember that, unless the accesses in the key would fill the memory."""
        size = 0
        for access in call.accesses:
            size += len(access.uri) + 64
        if size <= _SETTLED_BYTES:
            if len(self._settled) >= _SETTLED:
                self._settled.clear()
            self._settled[key] = found

    def around(self, facts: Facts, terms: GrantTerms) -> tuple[object, ...]:
        """The session facts that are read, but for counts."""
        now = facts.now
        return (
            (now.hour, now.weekday()) if self._when else None,
            self._around(facts.around),
            terms.canonical if self._bindings else None,
        )

    def session_text(self, around: tuple[object, ...], facts: Facts, terms: GrantTerms) -> str:
        """Those facts in JSON, remembered. Raises `NotEncodable`."""
        found = self._sessions.get(around)
        if found is None:
            found = _json(session_context(self.session, facts.around, terms, facts))
            if len(self._sessions) >= _SESSIONS:
                self._sessions.clear()
            self._sessions[around] = found
        return found

    def together(self, groups: tuple[int, ...]) -> Panel:
        """Some of the groups as one."""
        if len(groups) == 1:
            return self.groups[groups[0]]
        found = self._together.get(groups)
        if found is None:
            ids = frozenset().union(*(self.groups[index].ids for index in groups))
            found = Panel([policy for policy in self.policies if policy.id in ids])
            if len(self._together) < _TOGETHER:
                self._together[groups] = found
        return found


class Sight:
    """One call as guardrails are shown it. What several groups are shown of it is worked out once."""

    __slots__ = ("_around", "_parts", "_slice", "_touched", "call", "facts", "terms")

    def __init__(
        self, part: Slice, around: tuple[object, ...], call: CallView, facts: Facts, terms: GrantTerms
    ) -> None:
        self.call = call
        self.facts = facts
        self.terms = terms
        self._slice = part
        self._around = around
        self._parts: dict[str, str] = {}
        self._touched: list[dict[str, Any]] | None = None

    def contexts(self, panel: Panel) -> list[str]:
        """The context of a panel in JSON: one, or one for each access that looks different. Raises `NotEncodable`."""
        parts = [self._part(name, panel.counts) for name in panel.parts]
        reader = panel.access
        if reader is None:
            return [f"{{{','.join(parts)}}}"]
        touched = self._touched
        if touched is None:
            touched = self._touched = [access_facts(access) for access in self.call.accesses]
        found = [f"{{{','.join((*parts, _access(reader.read(one))))}}}" for one in touched]
        return found if len(found) == 1 else list(dict.fromkeys(found))

    def _part(self, name: str, counts: bool) -> str:
        key = "counts" if counts and name == "session" else name
        found = self._parts.get(key)
        if found is None:
            found = self._parts[key] = f'"{name}":{self._encoded(key)}'
        return found

    def _encoded(self, key: str) -> str:
        part, call = self._slice, self.call
        if key == "input":
            assert part.input is not None
            return _json(record(call.effective, part.input))
        if key == "session":
            return part.session_text(self._around, self.facts, self.terms)
        if key == "counts":
            return _json(session_context(part.session_counts, self.facts.around, self.terms, self.facts))
        if key == "catalogued":
            return "true" if call.catalogued else "false"
        return _json([{"action": one.action, "uri": one.uri, "kind": one.kind} for one in call.accesses])


def wanted(policies: Sequence[Policy]) -> Wanted:
    """Everything that they read. Raises `GrantError` where two of them compare a number in two ways."""
    found = Wanted()
    for policy in policies:
        try:
            found.add(policy.reading.context)
        except ValueError as error:
            raise GrantError(two_ways(policy.where, str(error).removeprefix("input."))) from None
    return found


def _kind(policy: Policy) -> tuple[object, ...]:
    """Policies of one kind are asked together. Those about each access say nothing where nothing is touched."""
    reading = policy.reading
    each = "open" if reading.open_access else "each"
    touched = each if reading.each_access else "all" if reading.touches else None
    return (bool(reading.session & _COUNTS), reading.input, touched)


def _access(found: dict[str, Any]) -> str:
    return f'"access":{_json(found)}'


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _none(_: SessionFacts) -> None:
    return None


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
