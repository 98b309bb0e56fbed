"""Cedar itself. This is the only module that imports `cedarpy`: whatever changes there, changes here.

Cedar decides over a policy set, one principal, action and resource, and a context in JSON. A `forbid` whose condition
cannot be evaluated is *skipped* by Cedar, so `evaluate` hands errors back beside the answer and callers deny on them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cedarpy
import orjson
from cedarpy import _internal, pst

PERMIT: Final = "remit/permit"
"""The id of the one permit in every set, so that what is not forbidden is allowed by Cedar (the grant decides)."""

_ERRING: Final = re.compile(r"error while evaluating policy `([^`]*)`: (.*)", re.DOTALL)
_NEW: Final[Mapping[str, Any]] = {"templates": {}, "templateLinks": []}


@dataclass(frozen=True, slots=True)
class Statement:
    """One parsed policy: its typed tree (`cedarpy.pst.Template`) and the JSON that goes into a policy set."""

    tree: pst.Template
    json: Mapping[str, Any]
    is_template: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What Cedar says to one request: ids of satisfied forbids, and (id or None, text) of every error."""

    satisfied: tuple[str, ...]
    errors: tuple[tuple[str | None, str], ...]


_ALLOWED: Final = Answer((), ())
_ALLOW: Final = (
    f'{{"decision":"Allow","correlation_id":null,"diagnostics":{{"reason":["{PERMIT}"],'
    '"id_annotations_by_reason":{},"errors":[]},"metrics":{'
)
"""How the commonest answer begins, which need not be parsed. Any other beginning is."""

PolicySet = cedarpy.PolicySet
Entities = _internal.Entities
_authorize = _internal.is_authorized_batch
"""The batch call below cedarpy's own wrapper, which copies and parses for 15 µs what is in the right form here already.
It is no public name, so a version of cedarpy is taken up on purpose (`~=4.12.2`) and this module's tests say so."""


def parse(text: str) -> list[Statement]:
    """The policies and templates in a text. Raises `ValueError` with Cedar's own words."""
    tree = cedarpy.policies_to_pst(text)
    written = json.loads(cedarpy.policies_to_json_str(text))
    return [
        *(Statement(tree.static_policies[key], found, False) for key, found in written["staticPolicies"].items()),
        *(Statement(tree.templates[key], found, True) for key, found in written["templates"].items()),
    ]


def policy_set(policies: Mapping[str, Mapping[str, Any]]) -> PolicySet:
    """A set of policies (JSON form, by id) together with the one permit."""
    permit = {
        "effect": "permit",
        "principal": {"op": "All"},
        "action": {"op": "All"},
        "resource": {"op": "All"},
        "conditions": [],
    }
    return PolicySet.from_json_str(json.dumps({**_NEW, "staticPolicies": {**policies, PERMIT: permit}}))


def entities(found: Sequence[Mapping[str, Any]]) -> Entities:
    """Entities from Cedar's JSON form. Raises `ValueError`."""
    return Entities.from_json_str(json.dumps(list(found)), None)


def evaluate(
    policies: PolicySet,
    known: Entities,
    principal: Mapping[str, str],
    action: Mapping[str, str],
    resource: Mapping[str, str],
    contexts: Iterable[str],
) -> list[Answer]:
    """Cedar's answer under each context (JSON text)."""
    requests = [
        {"principal": principal, "action": action, "resource": resource, "context": context} for context in contexts
    ]
    return [
        _ALLOWED if text.startswith(_ALLOW) else _answer(orjson.loads(text))
        for text in _authorize(requests, policies, known, None, False)
    ]


def _answer(result: Mapping[str, Any]) -> Answer:
    """Read one result, in JSON. Whatever it is not plainly is an error."""
    decision, diagnostics = result["decision"], result["diagnostics"]
    errors: list[tuple[str | None, str]] = []
    for text in diagnostics["errors"]:
        found = _ERRING.match(text)
        errors.append((found[1], found[2]) if found else (None, text))
    reasons: list[str] = diagnostics.get("reason", [])
    if decision == "Allow":
        if reasons != [PERMIT]:
            errors.append((None, "Cedar allowed the request without the permit that was asked for"))
        return Answer((), tuple(errors))
    if decision == "Deny" and reasons and PERMIT not in reasons:
        return Answer(tuple(reasons), tuple(errors))
    if not errors:
        errors.append((None, "Cedar gave no decision"))
    return Answer((), tuple(errors))


def validate(policies: Mapping[str, Mapping[str, Any]], schema: str) -> list[tuple[str, str]]:
    """(policy id, Cedar's words) for everything that does not fit the schema. Raises `ValueError` for a bad schema."""
    found: list[tuple[str, str]] = []
    parsed = cedarpy.Schema.from_str(schema)
    for policy_id, policy in policies.items():
        text = cedarpy.policies_from_json_str(json.dumps({**_NEW, "staticPolicies": {policy_id: policy}}))
        result = cedarpy.validate_policies(text, parsed)
        found += [(policy_id, error.error) for error in result.errors]
    return found


__all__ = [
    "PERMIT",
    "Answer",
    "Entities",
    "PolicySet",
    "Statement",
    "entities",
    "evaluate",
    "parse",
    "policy_set",
    "pst",
    "validate",
]
