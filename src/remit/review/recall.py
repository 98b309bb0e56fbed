"""A recorded decision, put together again from its record: chain, call, facts, guardrails and sources.

Nothing is asked of today's files: grants, catalogue, tool definitions and guardrails are the artefacts that the log
covers, and accesses and sources are those that were recorded. What a record does not hold is not guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import orjson

from remit import provenance
from remit.authority.calls import CallView, Facts, Failure
from remit.authority.compile import CompiledGrant, compile_grant
from remit.authority.guardrails import Guardrails
from remit.authority.terms import GrantTerms
from remit.errors import NotCanonical, Remedy, RemitError
from remit.facts import recorded_facts
from remit.ledger import values
from remit.ledger.hiding import hidden_names
from remit.marks import REDACTED, marked_names
from remit.resources.access import Access
from remit.resources.catalogue import Catalogue
from remit.resources.definitions import ToolDefinition
from remit.standing import STANDING

if TYPE_CHECKING:
    from remit.ledger import Ledger, Record

R = TypeVar("R")

DECIDED: Final = ("call.intent", "call.denied", "call.resumed", "approval.requested")
"""Records that hold a decision about a call."""

Undecidable = Literal[
    "erased",
    "secret",
    "beside",
    "not_kept",
    "adapter",
    "inexact",
    "own_files",
    "facts_missing",
    "artefact_missing",
    "other_grant",
]
"""Why a recorded call is not decided again, or not under other files.

`erased`: its arguments are gone. `secret`: the decision reads what was only committed to. `beside`: it was refused by
something that is no decision about its authority, such as a call id that came before. `not_kept`: its arguments could
not be kept as evidence. `adapter`: the adapter refused what its framework would have changed. `inexact`: its arguments
were objects, of which evidence keeps the content only.
`own_files`: Remit's own files lay elsewhere. `facts_missing`: the new guardrails read what was not recorded.
`artefact_missing`: a file that it was decided by is not in this ledger. `other_grant`: the new grant is not for this
session."""

_OBJECTS: Final = frozenset({"model", "enum", "opaque"})
_OURS: Final = frozenset({"remit/evaluator", "remit/own-files"})


class CannotRecall(Exception):
    """Raised for a record that no decision can be taken from again."""

    def __init__(self, why: Undecidable) -> None:
        super().__init__(why)
        self.why: Undecidable = why


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a decision comes to, apart from its words."""

    effect: str
    code: str | None
    rule: str | None
    clause: str | None
    enforced: bool

    @classmethod
    def of(cls, decision: Any) -> Verdict:
        """From a `Decision`, or from `data["decision"]` of a record."""
        if isinstance(decision, Mapping):
            return cls(*(decision[name] for name in ("effect", "code", "rule", "clause", "enforced")))
        return cls(decision.effect, decision.code, decision.rule, decision.clause, decision.enforced)

    def __str__(self) -> str:
        word = self.effect if self.code is None else f"{self.effect} {self.code}"
        return word if self.enforced else f"{word} (observed)"


@dataclass(frozen=True, slots=True)
class Recalled:
    """One recorded decision with everything that it was taken from."""

    record: Record
    decided: Verdict
    reason: str
    chain: tuple[CompiledGrant, ...]
    view: CallView
    failure: Failure | None
    facts: Facts
    guardrails: Guardrails | None
    inexact: bool
    hidden: frozenset[str] = frozenset()

    def require_readable(self, chain: Sequence[CompiledGrant], guardrails: Guardrails | None) -> None:
        """Raises `CannotRecall` when deciding under these reads an argument that was only committed to."""
        if self.hidden and (guardrails is not None or any(self.hidden & link.reads(self.view.tool) for link in chain)):
            raise CannotRecall("secret")

    @property
    def guarded(self) -> bool:
        """Whether guardrails took part, so that what they may read was recorded."""
        return self.guardrails is not None


class Recall:
    """Reads decisions back from one ledger. Artefacts are read once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._read: dict[tuple[str, str], Any] = {}

    def of(self, record: Record) -> Recalled:
        """Raises `CannotRecall` with the reason."""
        data = record.data
        decided = Verdict.of(data["decision"])
        private = record.disclosed()
        if private is None:
            raise CannotRecall("erased")
        if decided.rule is not None and decided.rule == f"remit/{decided.code}" and decided.rule not in _OURS:
            raise CannotRecall("beside")
        tool = data["tool"]
        if decided.rule == f"{tool}:sent":
            raise CannotRecall("adapter")
        if tool == "local.unnamed" or (
            decided.code in ("too_large", "argument_unrepresentable") and not private.get("arguments")
        ):
            raise CannotRecall("not_kept")
        if "chain" not in data:
            raise CannotRecall("beside")
        catalogue = self._catalogue(data["catalogue"])
        hidden = frozenset(hidden_names(private.get("arguments")) | hidden_names(private.get("injected")))
        view, failure = self._view(data, private, catalogue, marked_names(record, private), hidden)
        return Recalled(
            record=record,
            decided=decided,
            reason=private.get("reason", ""),
            chain=tuple(self.grant(digest) for digest in data["chain"]),
            view=view,
            failure=failure,
            facts=recorded_facts(data["facts"], private.get("sums")),
            guardrails=self._guardrails(data["guardrails"]) if "guardrails" in data else None,
            inexact=_has_objects(private.get("arguments")),
            hidden=hidden,
        )

    def _view(
        self,
        data: Mapping[str, Any],
        private: Mapping[str, Any],
        catalogue: Catalogue,
        marked: frozenset[str],
        hidden: frozenset[str],
    ) -> tuple[CallView, Failure | None]:
        tool = data["tool"]
        entry = catalogue.entry(tool)
        arguments: dict[str, Any] = values.decode(private.get("arguments", {}))
        effective, defaulted, failure = dict(arguments), frozenset[str](), None
        definition = self._defined(data)
        if definition is not None:
            by_schema = data["decision"]["rule"] == f"{tool}:schema"
            if hidden and by_schema:
                raise CannotRecall("secret")
            try:
                if not hidden:  # what is hidden has no shape any more; that the rest passed, the decision says
                    definition.validate(arguments)
                effective, defaulted = definition.effective(arguments)
            except NotCanonical as error:
                remedy = Remedy("change_argument", str(error))
                failure = Failure("argument_out_of_bounds", f"{tool}:schema", str(error), remedy)
        unresolved = private.get("unresolved")
        verdict = data["decision"]
        if failure is None and verdict["code"] == "too_large" and verdict["rule"] == f"{tool}:resources":
            failure = Failure("too_large", verdict["rule"], private.get("reason", ""), Remedy("change_argument"))
        view = CallView(
            tool=tool,
            arguments=arguments,
            effective=effective,
            defaulted=defaulted,
            injected=values.decode(private.get("injected", {})),
            accesses=tuple(Access(*text.split(" ", 1)) for text in private.get("accesses", ())),
            covered=entry.covered if entry is not None else frozenset(),
            unresolved=unresolved,
            catalogued=entry is not None and entry.yields_accesses,
            secret=marked,
            sources=provenance.from_record(private),
        )
        if any("[secret" in str(access) or REDACTED in str(access) for access in view.accesses):
            raise CannotRecall("secret")
        return view, failure

    def _defined(self, data: Mapping[str, Any]) -> ToolDefinition | None:
        """The tool's definition. A refusal that comes before anything about the call may be older than its record."""
        if "definition" not in data:
            return None
        try:
            return self._definition(data["definition"])
        except CannotRecall:
            if data["decision"]["code"] in STANDING:
                return None
            raise

    # -- artefacts

    def grant(self, digest: str) -> CompiledGrant:
        """The compiled terms with this digest."""
        return self._artefact("grant", digest, lambda content: compile_grant(GrantTerms.from_bytes(content)))

    def _catalogue(self, digest: str) -> Catalogue:
        def read(content: bytes) -> Catalogue:
            node = orjson.loads(content)
            return Catalogue.load(node) if node["tools"] else Catalogue.load()  # nobody writes an empty one

        return self._artefact("catalogue", digest, read)

    def _definition(self, digest: str) -> ToolDefinition:
        def read(content: bytes) -> ToolDefinition:
            node = orjson.loads(content)
            return ToolDefinition(node["key"], node.get("schema"), node.get("description"))

        return self._artefact("definition", digest, read)

    def _guardrails(self, digest: str) -> Guardrails:
        from remit.authority.cedar.rules import CedarGuardrails  # its library is large; most ledgers need none

        return self._artefact("guardrails", digest, CedarGuardrails.from_source)

    def _artefact(self, kind: str, digest: str, read: Callable[[bytes], R]) -> R:
        found: R | None = self._read.get((kind, digest))
        if found is None:
            try:
                found = read(self._ledger.artefact(digest))
            except RemitError:
                raise CannotRecall("artefact_missing") from None
            self._read[kind, digest] = found
        return found


def _has_objects(tree: Any) -> bool:
    if isinstance(tree, list):
        return any(_has_objects(item) for item in tree)
    if isinstance(tree, dict):
        return tree.get("$remit") in _OBJECTS or any(_has_objects(item) for item in tree.values())
    return False
