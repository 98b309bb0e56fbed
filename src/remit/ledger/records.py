"""The closed list of record types, and the leaf: the exact bytes that are hashed, signed over and stored.

```
{"artefacts"?, "data", "id", "mono", "prev", "private"?, "session"?, "sseq"?, "time", "type", "v", "writer", "wseq"}
```

Canonical JSON (RFC 8785), under 64 KiB, so that tlog-tiles can hold it. A leaf holds no text that came from an
argument: such values are commitments in `private`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from remit.errors import Unrepresentable, UsageError, VerificationError
from remit.ledger.canonical import canonical

MAX_LEAF: Final = 65_535
"""Bytes of a leaf: tlog-tiles writes its length as an unsigned 16-bit number."""

ROTATED: Final = "key.rotated"
"""The record type that is always the last one under a signed head: after it another key signs."""

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")


class RecordType(NamedTuple):
    """A kind of record: the keys its `data` must have, why it exists, and the version of that shape."""

    required: frozenset[str]
    reason: str
    version: int = 1


def _type(required: str, reason: str) -> RecordType:
    return RecordType(frozenset(required.split()), reason)


RECORD_TYPES: Final[Mapping[str, RecordType]] = {
    "session.opened": _type(
        "grant principal agent", "Everything an agent did hangs on one opening that says who, for whom and under what."
    ),
    "session.joined": _type("", "A second process took part, so its calls belong to the session too."),
    "session.context": _type(
        "claimed", "What was asked, and which agent acted, as claimed: a reviewer judges calls against the task."
    ),
    "session.suspended": _type("reason", "Calls stopped being taken, and why."),
    "session.resumed": _type("by", "A person let a suspended session go on."),
    "session.closed": _type(
        "writers", "Nothing follows; each writer's last sequence number makes a missing record show."
    ),
    "grant.issued": _type("grant version digest", "Authority came into being: whose, for whom, until when."),
    "grant.amended": _type("grant version digest", "The same grant has other terms from here on."),
    "grant.requested": _type("", "Somebody asked for authority, whether or not it was given."),
    "grant.refused": _type("", "A request for authority was turned down, and why."),
    "grant.revoked": _type("grant by", "Authority ended before its time."),
    "grant.delegated": _type("grant parent digest", "Authority was handed on, narrower."),
    "call.intent": _type("call tool decision", "The call was permitted and is about to run; no intent, no call."),
    "call.outcome": _type("call intent status", "What became of a call that was allowed to run."),
    "call.denied": _type("call tool decision", "The call was refused before the tool was entered."),
    "call.replayed": _type("call intent", "A re-entry was answered with what the call came to before; nothing ran."),
    "call.resumed": _type("call tool decision", "A pending call was decided again and went on."),
    "call.resolved": _type("call outcome by", "A person settled a call whose outcome nobody knew."),
    "identity.exchanged": _type(
        "effect principal workload actors", "A token was exchanged, or was not, and subject and workload survived it."
    ),
    "identity.conflict": _type("", "What was claimed and what was proved about a caller differ."),
    "approval.requested": _type("call by decision expires", "A person was asked about one exact call."),
    "approval.decided": _type("approval answer by", "A person answered, and what they were shown."),
    "approval.used": _type("approval call", "An approval let one call run; it is spent."),
    "approval.lapsed": _type("approval", "Nobody answered, or nobody used the answer, in time."),
    "tool.accepted": _type("tool", "This definition of a tool is the one that calls are judged by."),
    "tool.changed": _type("tool", "A tool is not what was accepted; it is refused until a person accepts it."),
    "recorder.started": _type("boot host pid start", "A writer began; a silence before it is no accident of the log."),
    "recorder.heartbeat": _type("", "The writer lives, so silence means that nothing happened."),
    "recorder.stopped": _type("records", "A writer ended in order; what comes after is another's."),
    "recorder.gap": _type("", "Evidence is missing, or a writer died; a reviewer must know where."),
    "recorder.degraded": _type("", "Recording went on with less than it should have, and why."),
    "token.issued": _type("grant digest audience expires", "A grant left this process as a token."),
    "auth.succeeded": _type("", "A person or service proved who they are."),
    "auth.failed": _type("", "Somebody could not prove who they said they were."),
    "review.assigned": _type("", "Somebody became responsible for judging a session."),
    "review.viewed": _type("", "What a reviewer was shown before deciding."),
    "review.revealed": _type("", "A reviewer saw protected text, and which."),
    "review.commented": _type("", "A remark that decides nothing."),
    "review.verdict": _type("verdict reason", "A person decided whether the agent stayed within its authority."),
    "review.signed": _type("", "A reviewer put their key under a session's verdict."),
    "review.reopened": _type("", "An earlier verdict no longer stands alone."),
    "sample.drawn": _type("", "Which items were picked, from which population, by which seed."),
    "sample.concluded": _type("", "What a sample says, with which confidence."),
    "evidence.exported": _type("", "A copy of evidence left, for whom."),
    "evidence.erased": _type("records", "Text was destroyed on purpose; the log says of which records, and why."),
    "person.enrolled": _type("person key", "From here on this key speaks for this person."),
    "person.removed": _type("person", "From here on this person's key proves nothing."),
    ROTATED: _type("key", "The log or issue key changed, signed by the old one."),
    "config.changed": _type("", "Catalogue, people or mode became other than before."),
}
"""Every record type. The list is closed: a verifier refuses any other."""


def require_id(text: str, what: str) -> str:
    """An identifier that needs no escaping in JSON. Raises `UsageError`."""
    if not isinstance(text, str) or not _ID.match(text):
        raise UsageError(f"{text!r} is not {what}: expected 1 to 128 letters, digits and . _ : -, no other first")
    return text


class Draft:
    """A record that has no place in the log yet: made in the caller's thread, appended by the writer.

    `data` may still be changed by the job that appends it.
    """

    __slots__ = (
        "_data",
        "_encoded",
        "appended",
        "ciphertext",
        "commitments",
        "id",
        "private",
        "session",
        "type",
        "wrapped_key",
    )

    def __init__(
        self,
        id: str,  # noqa: A002 - the leaf's own word
        type: str,  # noqa: A002
        session: str | None,
        data: dict[str, Any],
        commitments: Mapping[str, Any] | None = None,
        ciphertext: bytes | None = None,
        wrapped_key: bytes | None = None,
    ) -> None:
        self.id = id
        self.type = type
        self.session = session
        self._data = data
        self._encoded: bytes | None = None
        self.private = commitments
        self.commitments = canonical(commitments) if commitments is not None else None
        self.ciphertext = ciphertext
        self.wrapped_key = wrapped_key
        self.appended = False

    @property
    def data(self) -> dict[str, Any]:
        """The leaf's `data`, open to change until the record is appended."""
        self._encoded = None
        return self._data

    def encoded_data(self) -> bytes:
        """Canonical JSON of `data`. Raises `Unrepresentable`, and `UsageError` when a required key is missing."""
        if self._encoded is None:
            required = RECORD_TYPES[self.type].required
            if not required <= self._data.keys():
                missing = ", ".join(sorted(required - self._data.keys()))
                raise UsageError(f"a {self.type} record needs {missing} in its data")
            self._encoded = canonical(self._data)
        return self._encoded


def build_leaf(
    draft: Draft,
    *,
    time: str,
    mono: int,
    writer: str,
    wseq: int,
    prev: str,
    sseq: int | None,
    artefacts: list[str],
) -> bytes:
    """The leaf's bytes, put together from parts that are canonical already, keys in order. Raises `Unrepresentable`."""
    head = b'{"artefacts":%b,"data":' % canonical(artefacts) if artefacts else b'{"data":'
    private = b'"private":%b,' % draft.commitments if draft.commitments is not None else b""
    session = f'"session":"{draft.session}","sseq":{sseq},' if draft.session is not None else ""
    body = b'%b%b,"id":"%b","mono":%d,"prev":"%b",%b%b"time":"%b","type":"%b","v":1,"writer":"%b","wseq":%d}' % (
        head,
        draft.encoded_data(),
        draft.id.encode(),
        mono,
        prev.encode(),
        private,
        session.encode(),
        time.encode(),
        draft.type.encode(),
        writer.encode(),
        wseq,
    )
    if len(body) > MAX_LEAF:
        raise Unrepresentable(
            f"a {draft.type} record of {len(body)} bytes; expected at most {MAX_LEAF}", code="too_large"
        )
    return body


_KEYS: Final = frozenset({"data", "id", "mono", "prev", "time", "type", "v", "writer", "wseq"})
_OPTIONAL: Final = frozenset({"artefacts", "private", "session", "sseq"})
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z", re.ASCII)
_HASH: Final = re.compile(r"[0-9a-f]{64}\Z")


def parse_leaf(body: bytes, index: int) -> dict[str, Any]:
    """The parsed leaf. Raises `VerificationError` unless it has exactly the shape of its type and version."""
    if len(body) > MAX_LEAF:
        raise VerificationError(f"record {index} is {len(body)} bytes long; expected at most {MAX_LEAF}", index=index)
    try:
        leaf = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise VerificationError(f"record {index} is not JSON: {error}", index=index) from error
    problem = _problem(leaf)
    if problem is None and not _is_canonical(leaf, body):
        problem = "is not canonical JSON, so that two readers may read it differently"
    if problem:
        raise VerificationError(f"record {index} {problem}", index=index)
    found: dict[str, Any] = leaf
    return found


def _is_canonical(leaf: Any, body: bytes) -> bool:
    """Whether the bytes are those that this value is written as: no key twice, no space, every key in its place.

    Only how fractions are written is not looked at: the writer refuses what has two spellings.
    """
    try:
        same = orjson.dumps(leaf, option=orjson.OPT_SORT_KEYS) == body
    except orjson.JSONEncodeError:
        same = False  # nested deeper than it writes
    if same and body.isascii():
        return True
    try:
        return canonical(leaf) == body
    except Unrepresentable:
        return False


def _problem(leaf: Any) -> str | None:
    if not isinstance(leaf, dict):
        return "is not a JSON object"
    keys = leaf.keys()
    if not keys >= _KEYS or not keys <= _KEYS | _OPTIONAL:
        odd = sorted((_KEYS - keys) | (keys - _KEYS - _OPTIONAL))
        return f"has missing or unknown keys: {', '.join(odd)}"
    kind = RECORD_TYPES.get(leaf["type"]) if isinstance(leaf["type"], str) else None
    if kind is None:
        return f"is of unknown type {leaf['type']!r}"
    if leaf["v"] != kind.version or type(leaf["v"]) is not int:
        return f"is a {leaf['type']} of version {leaf['v']!r}; this verifier knows version {kind.version}"
    data = leaf["data"]
    if not isinstance(data, dict) or not kind.required <= data.keys():
        return f"lacks what a {leaf['type']} must say: {', '.join(sorted(kind.required))}"
    return _wrong_type(leaf)


def _wrong_type(leaf: Mapping[str, Any]) -> str | None:
    if ("session" in leaf) != ("sseq" in leaf):
        return "has a session without a sequence number, or the other way round"
    for name in ("id", "writer", "session"):
        if name in leaf and (not isinstance(leaf[name], str) or not _ID.match(leaf[name])):
            return f"has a malformed {name}"
    for name in ("mono", "wseq", "sseq"):
        if name in leaf and (type(leaf[name]) is not int or leaf[name] < 0):
            return f"has a malformed {name}"
    if not isinstance(leaf["time"], str) or not _TIME.match(leaf["time"]):
        return "has a malformed time"
    prev = leaf["prev"]
    if not isinstance(prev, str) or (prev and not _HASH.match(prev)):
        return "has a malformed prev"
    if not isinstance(leaf.get("artefacts", []), list) or not isinstance(leaf.get("private", {}), dict):
        return "has malformed artefacts or commitments"
    if not all(isinstance(found, dict) for found in leaf.get("private", {}).values()):
        return "has malformed commitments"
    return None
