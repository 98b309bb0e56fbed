"""Steps (1) and (2) of the way of one call, outside any transaction: resolve what is asked, match it with the grant."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from remit import marks, provenance
from remit.authority.calls import CallView, Facts, Failure
from remit.authority.compile import CompiledGrant
from remit.authority.decide import Match, match, settle
from remit.authority.guardrails import OwnFiles
from remit.authority.keys import tool_key
from remit.calls import CallRequest, Prepared, Refused
from remit.errors import DenialCode, GrantError, NotCanonical, Remedy, Unrepresentable, UsageError
from remit.ledger import values
from remit.resources.access import Access

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Draft
    from remit.resources.entries import ToolEntry
    from remit.sessions import Session

decisions: Final = logging.getLogger("remit.decision")


MAX_NAMED: Final = 64
"""Arguments that get a commitment of their own, so that a leaf is bounded by construction."""


def prepare(deployment: Deployment, session: Session, request: CallRequest) -> Prepared:
    """Resolve one request and match it with every link of the session's chain. Never raises for what a model sent:
    whatever is wrong with it becomes the refusal that step (4) records."""
    chain = session.chain
    failure: Failure | None = None
    if not isinstance(request.tool, str):
        raise UsageError(f"a tool is named by text such as crm.read_ticket; got a {type(request.tool).__name__}")
    try:
        tool = tool_key(request.tool)
    except GrantError as error:
        tool, failure = "local.unnamed", Failure("tool_not_granted", "tool", str(error), Remedy("stop"))
    known = deployment.catalogue.entry(tool)
    encoded, added = values.Encoded({}), values.Encoded({})
    snapshot: dict[str, Any] = {}
    marked = marks.NOTHING
    try:
        encoded, snapshot = _snapshot(request.arguments, known)
        injected = {name: value for name, value in request.injected.items() if _scalar(value)}
        added = values.Encoded(values.encode(injected))
        sealer = deployment.ledger.sealer
        detector = sealer.detector if sealer is not None else None
        marked = marks.mark(marks.marks_of(known, chain, tool), known, encoded, added, detector)
    except Unrepresentable as error:
        code: DenialCode = "too_large" if error.code == "too_large" else "argument_unrepresentable"
        failure = Failure(code, tool, str(error), Remedy("change_argument"))
        injected = {}
    view = CallView(
        tool, snapshot, snapshot, frozenset(), injected, (), frozenset(), None, known is not None, marked.hidden
    )
    if failure is None and request.objection is not None:
        remedy = Remedy("change_argument", request.objection)
        failure = Failure("argument_out_of_bounds", f"{tool}:sent", f"{request.objection}.", remedy)
    if failure is None:
        view, failure = _resolve(view, request, known, marked)
        if failure is None and any(link.pickers for link in chain):
            view = replace(view, sources=provenance.gather(deployment, session.id, chain, view))
    matched = judge(chain, view, failure, deployment.own_files)
    ledger = deployment.ledger
    provisional = marked.decision(settle(chain, matched, _unspent(session), deployment.guardrails))
    prepared = Prepared(
        tool=tool,
        chain=chain,
        snapshot=snapshot,
        encoded=encoded,
        view=view,
        content=ledger.keyed("content", tool, encoded.canonical),
        identity=_identity(deployment, session, request),
        named=_named(chain, request, snapshot, tool, marked),
        matched=matched,
        provisional=provisional,
        injected=added,
        marked=marked,
    )
    try:
        prepared.draft = _drafted(deployment, session, prepared)
    except Unrepresentable as error:  # each part fits into evidence, all of them together do not
        refusal = Failure("too_large", f"{tool}:resources", str(error), Remedy("change_argument"))
        prepared.view = replace(view, accesses=())
        prepared.matched = Match.refused(refusal, prepared.view)
        settled = settle(chain, prepared.matched, _unspent(session), deployment.guardrails)
        prepared.provisional = marked.decision(settled)
        prepared.draft = _drafted(deployment, session, prepared)
    return prepared


def judge(chain: Sequence[CompiledGrant], view: CallView, failure: Failure | None, own_files: OwnFiles) -> Match:
    """Step (2) as far as it needs no facts. Pure, so that replay can take it again."""
    matched = Match.refused(failure, view) if failure is not None else match(chain, view)
    if matched.failure is None or not matched.failure.enforced:  # a clause that observes disables no guardrail
        closed = _unresolved(view) or own_files.check(view.accesses)
        if closed is not None:
            return Match.refused(closed, view)
    return matched


def _unspent(session: Session) -> Facts:
    """What is assumed before the transaction looks: an open session, and nothing spent or revoked."""
    return Facts(datetime.now(UTC), "open", frozenset(), {}, around=session.around)


def _drafted(deployment: Deployment, session: Session, prepared: Prepared) -> Draft:
    """The record that will most likely be written, sealed here and not in the writer's thread."""
    kind = {"permit": "call.intent", "deny": "call.denied", "ask": "approval.requested"}[prepared.provisional.effect]
    private = private_of(deployment, prepared, prepared.provisional.reason)
    return deployment.ledger.draft(kind, session=session.id, data={}, private=private, named=prepared.named)


def private_of(deployment: Deployment, prepared: Prepared, reason: str) -> dict[str, Any]:
    """What of a call is committed to in the leaf and kept, erasable, in the payload: without what is secret of it.

    With something secret the payload also has the keyed digests that tell the same values again.
    """
    view = prepared.view
    private: dict[str, Any] = {"arguments": prepared.encoded, "reason": _known(reason)}
    if view.accesses:
        private["accesses"] = _known(accesses_of(prepared))
    if view.injected:
        private["injected"] = prepared.injected
    if filled := view.defaulted - view.arguments.keys():
        private["defaults"] = {name: view.effective[name] for name in sorted(filled)}
    if view.unresolved:
        private["unresolved"] = _known(view.unresolved)
    if view.sources:
        sources = values.Encoded(values.encode(provenance.recorded(view.sources)))
        sources.hidden = prepared.marked.echoes.hidden_in(sources.tree)
        private["sources"] = sources
    if prepared.encoded.hidden:
        private["content"] = _known(prepared.content)
    if prepared.injected.hidden:
        private["added"] = _known(added_digest(deployment, prepared))
    return private


def _known(tree: Any) -> values.Encoded:
    """Text of our own, or made of what was looked through already."""
    return values.Encoded(values.encode(tree), scanned=True)


def accesses_of(prepared: Prepared) -> list[str]:
    """What a call touches, as its record has it."""
    return [prepared.marked.text(str(access)) for access in prepared.view.accesses]


def added_digest(deployment: Deployment, prepared: Prepared) -> str:
    """The keyed digest of what the application filled in."""
    return deployment.ledger.keyed("added", prepared.injected.canonical)


def action_summary(accesses: tuple[Access, ...]) -> list[str]:
    """Which kinds of thing a call touches, in which way, without saying which one: `["read crm", "send mailto"]`."""
    return sorted({f"{access.action} {access.kind}" for access in accesses})[:16]


def _snapshot(arguments: Mapping[str, Any], known: ToolEntry | None) -> tuple[values.Encoded, dict[str, Any]]:
    """(what evidence holds, what will run): two trees that nobody else can reach any more.

    Raises `Unrepresentable`.
    """
    if not isinstance(arguments, Mapping):
        raise Unrepresentable(f"the arguments are a {type(arguments).__name__}; expected an object with named values")
    try:
        return _copied(dict(arguments), known)
    except Unrepresentable:
        raise
    except Exception as error:  # values have code of their own, and what fails in it cannot be judged
        raise Unrepresentable(f"the arguments cannot be read ({type(error).__name__})") from error


def _copied(plain: dict[str, Any], known: ToolEntry | None) -> tuple[values.Encoded, dict[str, Any]]:
    opaque = known.opaque if known is not None else frozenset()
    snapshot = _copy_plain(plain) if not opaque else None
    if snapshot is not None:
        return values.Encoded(values.encode_arguments(snapshot)), snapshot
    values.encode_arguments(plain, opaque=opaque)  # what evidence cannot hold is refused for what it is
    try:
        snapshot = copy.deepcopy(plain)
        # The copy is what is recorded, because it is what runs: a value may copy itself into something else.
        return values.Encoded(values.encode_arguments(snapshot, opaque=opaque)), snapshot
    except Unrepresentable:
        raise
    except Exception as error:
        raise Unrepresentable(
            f"the arguments cannot be copied ({type(error).__name__}): what is decided on could change before it runs"
        ) from error


def _copy_plain(arguments: dict[str, Any]) -> dict[str, Any] | None:
    """A copy of arguments that are plain JSON values; None when they are not, or are too deep to tell."""
    try:
        return values.copy_plain(arguments) if values.is_plain(arguments) else None
    except RecursionError:
        return None


def _resolve(
    view: CallView, request: CallRequest, known: ToolEntry | None, marked: marks.Marked
) -> tuple[CallView, Failure | None]:
    """Check against the pinned schema, fill its defaults, and turn arguments into accesses."""
    effective: Mapping[str, Any] = view.arguments
    defaulted: frozenset[str] = frozenset()
    if request.definition is not None:
        try:
            request.definition.validate(view.arguments)
        except NotCanonical as error:
            return view, Failure(
                "argument_out_of_bounds",
                f"{view.tool}:schema",
                str(error),
                Remedy("change_argument", str(error)),
            )
        effective, defaulted = request.definition.effective(view.arguments)
    accesses: tuple[Access, ...] = ()
    covered: frozenset[str] = frozenset()
    unresolved: str | None = None
    if known is not None:
        covered = known.covered  # also when they cannot be read: then the resource is what is wrong, not the name
        try:
            accesses = known.resolve(effective)
        except NotCanonical as error:
            sentence = marked.text(str(error))
            if error.code == "too_large":
                return view, Failure("too_large", f"{view.tool}:resources", sentence, Remedy("change_argument"))
            unresolved = sentence
        shown = known.arguments & (marked.marks.secret | marked.marks.redact)
        if shown and accesses:
            # A grant marked it before the catalogue made a resource of it, which evidence shows: fail closed.
            accesses = ()
            unresolved = f"the argument {min(shown)} is marked secret or redact, and what is touched would show it"
    return (
        CallView(
            tool=view.tool,
            arguments=view.arguments,
            effective=effective,
            defaulted=defaulted,
            injected=view.injected,
            accesses=accesses,
            covered=covered,
            unresolved=unresolved,
            catalogued=known is not None and known.yields_accesses,
            secret=marked.hidden,
        ),
        None,
    )


def _unresolved(view: CallView) -> Failure | None:
    """A call whose resources cannot be told is refused even by a clause with `resources: any`: nobody could say
    afterwards what it touched, and no guardrail could look at it."""
    if view.unresolved is None:
        return None
    return Failure("resource_unresolved", f"{view.tool}:resources", view.unresolved, Remedy("change_argument"))


def _identity(deployment: Deployment, session: Session, request: CallRequest) -> str | None:
    """The call's stable id, or None. A bare provider id is never enough: two runs may use the same one."""
    if request.call_id is None:
        return None
    return "c-" + deployment.ledger.keyed("call", session.id, *map(_bytes, (request.scope or "", request.call_id)))[:32]


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")  # a framework's id is whatever it is; it only has to be told apart


def _named(
    chain: Sequence[CompiledGrant],
    request: CallRequest,
    snapshot: Mapping[str, Any],
    tool: str,
    marked: marks.Marked,
) -> frozenset[str]:
    """Argument names that somebody other than the model has written: only those may stand in a leaf."""
    names: set[str] = {*marked.marks.secret, *marked.marks.redact}
    for link in chain:
        names.update(link.argument_names(tool))
    if request.definition is not None:
        names.update(request.definition.argument_names)
    return frozenset(sorted(names.intersection(snapshot))[:MAX_NAMED])


def _scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def log_decision(session: Session, request: CallRequest, found: Refused) -> None:
    """What the developer may know of a refusal and the model may not: on logger `remit.decision`."""
    decision = found.decision
    decisions.info(
        "%s %s: %s (rule %s, session %s, call %s)",
        decision.effect,
        request.tool,
        decision.code or "approval_required",
        decision.rule,
        session.id,
        found.call_id,
        extra={"remit": {"session": session.id, "call": found.call_id, "reason": decision.reason}},
    )
