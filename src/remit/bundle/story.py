"""What a bundle says, put together from its own records, artefacts and disclosures, and from nothing else.

Nothing here reads the ledger's read models or its encrypted text: a page made from this shows what the bundle proves,
and no more than it discloses.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from remit.authority.explain import sentences
from remit.authority.terms import GrantTerms
from remit.errors import GrantError
from remit.resources.catalogue import Catalogue
from remit.review.calls import BEGINNINGS, CallLine, summarise

HIDDEN: Final = None
"""Stands for a value that the bundle commits to and does not show."""

_ANSWERS: Final = {"approved": "approved", "refused": "refused"}


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody, and how it is known that it was they: `authenticated` is proof, everything else a claim."""

    name: str
    authenticated: bool
    method: str

    @classmethod
    def of(cls, said: Any) -> Party:
        """From the `by` of a record."""
        said = said if isinstance(said, dict) else {"subject": said}
        return cls(str(said.get("subject")), bool(said.get("authenticated")), str(said.get("method") or "claimed"))


@dataclass(frozen=True, slots=True)
class Answer:
    """A person's answer to one call."""

    approval: str
    asked: tuple[str, ...]
    state: str
    by: tuple[Party, ...]
    time: str | None


@dataclass(frozen=True, slots=True)
class Call:
    """One call with the record that it began with, and its approval."""

    line: CallLine
    index: int
    outcome_index: int | None
    approval: Answer | None
    actions: tuple[str, ...]
    """Which kinds of thing it touched, in which way: what a record says in clear."""


@dataclass(frozen=True, slots=True)
class Authority:
    """One version of a grant, from the bytes that were signed."""

    terms: GrantTerms
    issuer: Party
    record: int
    allows: tuple[str, ...]
    revoked: str | None


@dataclass(slots=True)
class SessionStory:
    """One session as its records tell it."""

    id: str
    opened: Mapping[str, Any] | None = None
    opened_at: str | None = None
    closed_at: str | None = None
    closing: str | None = None
    authorities: list[Authority] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    events: list[tuple[int, str, str, str]] = field(default_factory=list)
    """(index, time, what, details) of everything besides calls."""
    verdicts: list[tuple[int, str, str, str | None, Party]] = field(default_factory=list)
    records: int = 0

    @property
    def summary(self) -> str:
        """What the calls came to."""
        return summarise(call.line for call in self.calls)

    @property
    def unbounded(self) -> list[Call]:
        """Calls that ran with something that their clause leaves open."""
        return [call for call in self.calls if call.line.ran and call.line.unbounded]


@dataclass(slots=True)
class Story:
    """Everything that a report shows."""

    sessions: list[SessionStory]
    people: list[tuple[str, str, str, tuple[str, ...], int]]
    """(person, key, enrolled or removed, roles, record)."""
    processes: list[tuple[str, Mapping[str, Any], str]]
    erased: list[tuple[int, str, int, Party]]
    weaker: list[tuple[int, str, str]]
    """(index, time, what) of every record that says that recording was weaker than it should have been."""
    development: bool
    choices: list[tuple[int, str, tuple[str, ...]]]
    """(index, time, what) of every configuration: what the deployment chose for itself."""
    withheld: int
    """Records whose text the bundle commits to and does not show."""


def tell(
    records: Iterable[tuple[int, Mapping[str, Any]]],
    artefacts: Mapping[str, bytes],
    disclosed: Mapping[int, Mapping[str, Any]],
) -> Story:
    """Put the story together. `disclosed`: values by pointer, by the index of their record."""
    return _Telling(artefacts, disclosed).tell(records)


class _Telling:
    def __init__(self, artefacts: Mapping[str, bytes], disclosed: Mapping[int, Mapping[str, Any]]) -> None:
        self._artefacts = artefacts
        self._disclosed = disclosed
        self._sessions: dict[str, SessionStory] = {}
        self._grants: dict[str, tuple[int, Mapping[str, Any]]] = {}
        self._revoked: dict[str, str] = {}
        self._begun: dict[str, tuple[int, Mapping[str, Any]]] = {}
        self._ended: dict[str, tuple[int, Mapping[str, Any]]] = {}
        self._asked: dict[str, tuple[int, Mapping[str, Any]]] = {}
        self._answers: dict[str, list[Mapping[str, Any]]] = {}
        self._lapsed: set[str] = set()
        self._replayed: dict[str, int] = {}
        self._development = False

    def tell(self, records: Iterable[tuple[int, Mapping[str, Any]]]) -> Story:
        people, processes, erased, weaker, choices, withheld = [], [], [], [], [], 0
        for index, leaf in records:
            data, kind, time = leaf["data"], leaf["type"], leaf["time"]
            if "session" in leaf:
                self._in_session(index, leaf)
                withheld += bool(leaf.get("private")) and index not in self._disclosed
            elif kind in ("grant.issued", "grant.amended", "grant.delegated"):
                self._grants[data["digest"]] = (index, data)
            elif kind == "grant.revoked":
                self._revoked[data["grant"]] = time
            elif kind.startswith("person."):
                people.append((data["person"], data.get("key", ""), kind[7:], tuple(data.get("roles", ())), index))
            elif kind == "recorder.started":
                processes.append((leaf["writer"], data, time))
            elif kind == "evidence.erased":
                erased.append((index, time, len(data["records"]), Party.of(data.get("by"))))
            elif kind in ("recorder.gap", "recorder.degraded"):
                weaker.append((index, time, _weakness(kind, data)))
            elif kind == "config.changed":
                choices.append((index, time, tuple(_choices(data))))
                self._development = self._development or bool(data.get("development"))
        for session in self._sessions.values():
            self._finish(session)
        return Story(
            list(self._sessions.values()), people, processes, erased, weaker, self._development, choices, withheld
        )

    def _in_session(self, index: int, leaf: Mapping[str, Any]) -> None:
        kind, data, time = leaf["type"], leaf["data"], leaf["time"]
        session = self._sessions.setdefault(leaf["session"], SessionStory(leaf["session"]))
        session.records += 1
        if kind in BEGINNINGS or kind == "call.resumed":
            self._begun[data["call"]] = (index, leaf)
            if kind == "approval.requested":
                self._asked[data["call"]] = (index, leaf)
        elif kind in ("call.outcome", "call.resolved"):
            self._ended[data["call"]] = (index, leaf)
        elif kind == "call.replayed":
            self._replayed[data["call"]] = self._replayed.get(data["call"], 0) + 1
        elif kind == "approval.decided":
            self._answers.setdefault(data["approval"], []).append(leaf)
        elif kind == "approval.lapsed":
            self._lapsed.add(data["approval"])
        elif kind == "session.opened":
            session.opened, session.opened_at = data, time
            self._development = self._development or bool(data.get("development"))
        elif kind == "session.closed":
            session.closed_at, session.closing = time, str(data.get("why", "closed")).replace("_", " ")
        elif kind == "review.verdict":
            what = f"call {data['call']}" if data.get("call") else "the session"
            said = f"{what}: {data['verdict']}" + (f" ({data['reason']})" if data.get("reason") else "")
            session.verdicts.append((index, time, said, data.get("supersedes"), Party.of(data.get("by"))))
        elif kind != "approval.used":
            by = Party.of(data["by"]).name if isinstance(data.get("by"), dict) else ""
            session.events.append((index, time, kind, by or str(data.get("reason") or "")))

    def _finish(self, session: SessionStory) -> None:
        mine = [(call, found) for call, found in self._begun.items() if found[1]["session"] == session.id]
        for number, (call, (index, leaf)) in enumerate(sorted(mine, key=lambda one: one[1][0]), start=1):
            session.calls.append(self._call(number, call, index, leaf))
        digests = [*(session.opened or {}).get("chain", ())]
        for one in session.calls:
            digests += self._begun[one.line.id][1]["data"].get("chain", ())
        for digest in dict.fromkeys(digests):
            authority = self._authority(digest)
            if authority is not None:
                session.authorities.append(authority)

    def _call(self, number: int, call: str, index: int, leaf: Mapping[str, Any]) -> Call:
        data, said = leaf["data"], self._disclosed.get(index, {})
        ended = self._ended.get(call)
        came_to = self._disclosed.get(ended[0], {}) if ended is not None else {}
        answer = self._answer(call)
        decision = data["decision"]
        unbounded = data.get("unbounded") or {"names": [], "others": 0}
        others = [f"{unbounded['others']} other argument(s)"] if unbounded["others"] else []
        line = CallLine(
            number=number,
            id=call,
            time=leaf["time"],
            tool=data["tool"],
            state=_state(leaf["type"], ended, answer),
            effect=decision["effect"],
            code=decision["code"],
            rule=decision["rule"],
            clause=decision["clause"],
            arguments=said.get("/arguments", HIDDEN),
            accesses=tuple(said["/accesses"]) if "/accesses" in said else None,
            reason=said.get("/reason"),
            error=came_to.get("/error"),
            duration_us=ended[1]["data"].get("duration_us") if ended is not None else None,
            unbounded=(*unbounded["names"], *others),
            enforced=bool(decision.get("enforced", True)),
            approval_id=answer.approval if answer is not None else None,
            parent=data.get("parent"),
            replayed=self._replayed.get(call, 0),
            through=tuple((data.get("delegation") or {}).get("actors", ())),
        )
        return Call(line, index, ended[0] if ended is not None else None, answer, tuple(data.get("actions", ())))

    def _answer(self, call: str) -> Answer | None:
        found = self._asked.get(call)
        if found is None:
            return None
        data = found[1]["data"]
        approval = str(data.get("approval"))
        given = self._answers.get(approval, [])
        state = "lapsed" if approval in self._lapsed else "waiting"
        for one in given:
            if one["data"].get("complete", True):
                state = str(one["data"]["answer"])
        by = tuple(Party.of(one["data"]["by"]) for one in given)
        return Answer(approval, tuple(map(str, data.get("by", ()))), state, by, given[-1]["time"] if given else None)

    def _authority(self, digest: str) -> Authority | None:
        content, found = self._artefacts.get(digest), self._grants.get(digest)
        if content is None or found is None:
            return None
        index, data = found
        terms = GrantTerms.from_bytes(content)
        said = tuple(sentences(terms, self._catalogue(data.get("catalogue"))))
        issuer = Party.of(data.get("issuer") or data.get("by"))
        return Authority(terms, issuer, index, said, self._revoked.get(terms.id))

    def _catalogue(self, digest: Any) -> Catalogue:
        content = self._artefacts.get(str(digest))
        if content is not None:
            with contextlib.suppress(GrantError, ValueError, TypeError):
                return Catalogue.load(json.loads(content))
        return Catalogue.load()


def _weakness(kind: str, data: Mapping[str, Any]) -> str:
    """What a recorder says of itself that a reader of its records has to know."""
    if "lost" in data:
        return f"{data['lost']} records could not be written between {data.get('first')} and {data.get('last')}"
    if kind == "recorder.gap":
        return "a recording process ended without saying so; calls that it had begun count as unknown"
    if data.get("durability") == "relaxed":
        return "what this process recorded did not wait for the disk; a power loss may have taken the last of it back"
    return "the deployment chose to go on with less than it asks for"


def _choices(data: Mapping[str, Any]) -> Iterator[str]:
    """What a deployment chose, in words; what is weaker than could be is said as well."""
    if "repaired" in data:
        yield f"what lists and limits read was rewritten from the records ({data.get('rows')} rows)"
        return
    if data.get("durability") == "relaxed":
        yield "records do not wait for the disk"
    yield (
        "whoever acts may only say who they are (development)"
        if data.get("development")
        else "persons prove who they are"
    )
    privacy = data.get("privacy") or {}
    if privacy.get("detector") == "off":
        yield "secrets are not looked for in arguments and results"
    yield f"a call waits until its record is {data.get('wait', 'durable')}"
    yield "witnesses are asked for their word on heads" if data.get("witnesses") else "no witness is asked"
    if data.get("environment"):
        yield f"environment: {data['environment']}"


def _state(kind: str, ended: tuple[int, Mapping[str, Any]] | None, answer: Answer | None) -> str:
    if ended is not None:
        data = ended[1]["data"]
        return str(data.get("status") or data.get("outcome"))
    if kind == "call.denied":
        return "denied"
    if kind == "approval.requested":
        assert answer is not None
        return {"waiting": "ask"}.get(answer.state, answer.state)
    return "running"


__all__ = ["Answer", "Authority", "Call", "Party", "SessionStory", "Story", "tell"]
