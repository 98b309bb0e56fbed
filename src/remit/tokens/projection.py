"""A grant as the claims of a token, and back (RFC 9396 authorization_details; constraints in the shape of AAT).

The YAML is the source of truth; a token is its projection, for crossing a process. Constraints that the draft
draft-niyikiza-oauth-attenuating-agent-tokens-01 (section 4) can say are written in its words; others carry our own
word as an extension type `remit:WORD`, which a verifier that does not know it has to refuse. The whole entry has a type
of ours, since the draft knows neither resources nor limits nor approvals: whoever reads only its part would allow more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from remit.authority.constraints import CONSTRAINT_WORDS
from remit.authority.literals import MARK
from remit.authority.terms import GrantTerms
from remit.errors import IdentityError
from remit.tokens.jose import b64url

DETAILS_TYPE: Final = "dev.remit/grant+aat-01"
"""`type` of the entry; it names the version of the draft whose constraints it borrows."""

TOKEN_TYPE: Final = "remit-grant+jwt"  # noqa: S105 - a media type
"""`typ` of the token (RFC 8725 section 3.11): it is no access token, and no access token is one of these."""

MAX_DEPTH: Final = 16
_OWN: Final = "remit:"

_VALUES: Final = {
    "eq": ("exact", "value"),
    "one_of": ("one_of", "values"),
    "not_one_of": ("not_one_of", "excluded"),
    "contains": ("contains", "required"),
    "subset": ("subset", "allowed"),
}
_BY_TYPE: Final = {kind: (word, member) for word, (kind, member) in _VALUES.items()}
_PARTS: Final = {"all_of": f"{_OWN}all_of", "any_of": "any"}
_BY_PARTS: Final = {kind: word for word, kind in _PARTS.items()}


def grant_claims(chain: Sequence[GrantTerms]) -> dict[str, Any]:
    """What a token says of a grant; `chain` is the grant with its ancestors, root first.

    `sub` is the principal, `act` the agent with its delegators inside, `del_depth` how often the authority was handed
    on, `del_max_depth` how often it may be in all, and `par_hash` the SHA-256 of the parent's signed terms.
    """
    terms = chain[-1]
    act: dict[str, Any] = {}
    for link in chain:
        act = {"sub": link.agent, **({"act": act} if act else {})}
    depth = len(chain) - 1
    claims: dict[str, Any] = {
        "sub": terms.principal,
        "act": act,
        "grant": {"id": terms.id, "version": terms.version, "digest": terms.digest},
        "del_depth": depth,
        "del_max_depth": depth + terms.delegation.depth,
        "authorization_details": [details_of(terms)],
    }
    if depth:
        claims["par_hash"] = b64url(hashlib.sha256(chain[-2].canonical).digest())
    return claims


def details_of(terms: GrantTerms) -> dict[str, Any]:
    """The one entry of `authorization_details`: everything that the grant says, without its template and issuer."""
    content = terms.document.to_json()
    tools = {tool: [_clause(clause) for clause in clauses] for tool, clauses in content["tools"].items()}
    kept = ("task", "bindings", "self", "limits", "delegation")
    return {"type": DETAILS_TYPE, **{name: content[name] for name in kept}, "tools": tools}


def _clause(clause: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(clause)
    for group in ("arguments", "injected"):
        found[group] = {name: constraint_out(bound) for name, bound in clause[group].items()}
    return found


def constraint_out(bound: Mapping[str, Any]) -> dict[str, Any]:
    """One constraint, from our canonical JSON (word → bound) to an object with `constraint_type`."""
    words = {word: value for word, value in bound.items() if word != "optional"}
    parts: list[dict[str, Any]] = []
    if words.keys() & {"min", "max"} and not any(isinstance(words.get(name), Mapping) for name in ("min", "max")):
        edges: dict[str, Any] = {name: words.pop(name) for name in ("min", "max") if name in words}
        parts.append({"constraint_type": "range", **edges})
    parts += [_word_out(word, value) for word, value in words.items()]
    found = parts[0] if len(parts) == 1 else {"constraint_type": "all", "constraints": parts}
    if bound.get("optional"):
        return {"constraint_type": f"{_OWN}optional", "constraint": found}
    return found


def _word_out(word: str, value: Any) -> dict[str, Any]:
    if word == "any":
        return {"constraint_type": "wildcard"}
    if word in _PARTS:
        return {"constraint_type": _PARTS[word], "constraints": [constraint_out(part) for part in value]}
    if word in _VALUES and not _marked(value):
        kind, member = _VALUES[word]
        return {"constraint_type": kind, member: value}
    return {"constraint_type": f"{_OWN}{word}", "bound": value}


def _marked(value: Any) -> bool:
    """Whether a literal needs our own encoding, which the draft's types do not know."""
    if isinstance(value, Mapping):
        return MARK in value or any(_marked(item) for item in value.values())
    return isinstance(value, list) and any(_marked(item) for item in value)


# -- back


def content_from(claims: Mapping[str, Any]) -> dict[str, Any]:
    """The canonical content of the grant that a token carries. Raises `IdentityError`: an unknown constraint type, or
    an entry that is not exactly of the known shape, authorises nothing."""
    entries = claims.get("authorization_details")
    if not isinstance(entries, list) or len(entries) != 1 or not isinstance(entries[0], Mapping):
        raise IdentityError("the token carries no grant: expected one entry in authorization_details")
    entry = entries[0]
    if entry.get("type") != DETAILS_TYPE:
        raise IdentityError(f"the token's details are of type {str(entry.get('type'))[:60]!r}; expected {DETAILS_TYPE}")
    known = {"type", "task", "bindings", "self", "limits", "delegation", "tools"}
    if entry.keys() != known:
        raise IdentityError(f"the token's grant has missing or unknown keys: {', '.join(sorted(entry.keys() ^ known))}")
    tools = entry["tools"]
    if not isinstance(tools, Mapping) or not tools:
        raise IdentityError("the token's grant names no tools, so it allows nothing")
    content = {name: entry[name] for name in known - {"type", "tools"}}
    content["tools"] = {tool: _clauses_in(clauses) for tool, clauses in tools.items()}
    return content


def _clauses_in(clauses: Any) -> list[dict[str, Any]]:
    if not isinstance(clauses, list) or not clauses or not all(isinstance(clause, Mapping) for clause in clauses):
        raise IdentityError("a tool in the token's grant has no list of clauses")
    found = []
    for clause in clauses:
        made = dict(clause)
        for group in ("arguments", "injected"):
            bounds = clause.get(group)
            if not isinstance(bounds, Mapping):
                raise IdentityError(f"a clause in the token's grant has no {group}")
            made[group] = {name: constraint_in(bound) for name, bound in bounds.items()}
        found.append(made)
    return found


def constraint_in(node: Any, depth: int = 0) -> dict[str, Any]:
    """One constraint back in our canonical JSON. Raises `IdentityError` for any type or member that is not known."""
    kind = node.get("constraint_type") if isinstance(node, Mapping) else None
    if not isinstance(kind, str) or depth > MAX_DEPTH:
        raise IdentityError("a constraint in the token has no constraint_type, or is nested too deeply")
    members = {name: value for name, value in node.items() if name != "constraint_type"}
    if kind == f"{_OWN}optional":
        return {**constraint_in(_only(members, "constraint", kind), depth + 1), "optional": True}
    if kind == "wildcard" and not members:
        return {"any": True}
    if kind == "range" and members and members.keys() <= {"min", "max"}:
        return members
    if kind == "all":
        return _merged(_list(members, kind), depth)
    if kind in _BY_TYPE:
        word, member = _BY_TYPE[kind]
        return {word: _only(members, member, kind)}
    if kind in _BY_PARTS:
        return {_BY_PARTS[kind]: [constraint_in(part, depth + 1) for part in _list(members, kind)]}
    word = kind.removeprefix(_OWN)
    if kind.startswith(_OWN) and word in CONSTRAINT_WORDS:
        return {word: _only(members, "bound", kind)}
    raise IdentityError(f"the token has a constraint of type {kind[:60]!r}, which is not known here, so it is refused")


def _merged(parts: list[Any], depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in parts:
        words = constraint_in(part, depth + 1)
        if words.keys() & found.keys() or "optional" in words:
            raise IdentityError("a constraint in the token says the same thing twice")
        found |= words
    return found


def _only(members: Mapping[str, Any], name: str, kind: str) -> Any:
    if members.keys() != {name}:
        raise IdentityError(f"a constraint of type {kind!r} in the token has other members than {name}")
    return members[name]


def _list(members: Mapping[str, Any], kind: str) -> list[Any]:
    found = _only(members, "constraints", kind)
    if not isinstance(found, list) or not found:
        raise IdentityError(f"a constraint of type {kind!r} in the token has no list of constraints")
    return found


__all__ = [
    "DETAILS_TYPE",
    "TOKEN_TYPE",
    "constraint_in",
    "constraint_out",
    "content_from",
    "details_of",
    "grant_claims",
]
