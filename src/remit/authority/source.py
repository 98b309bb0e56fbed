"""Reading a grant or template from a file, text or mapping; whatever is wrong with it is said with its line.

The digest is that of the source's bytes, so that a record can show which file it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import rfc8785
from pydantic import ValidationError

from remit.authority import limits
from remit.authority.constraints import Constraint, Reader
from remit.authority.literals import Slot, show, to_json
from remit.authority.model import Clause, GrantDocument
from remit.authority.names import check_parameter_name, did_you_mean
from remit.authority.placeholders import bind, names_in
from remit.authority.refusal import Path as TreePath
from remit.authority.refusal import Refusal
from remit.errors import GrantError
from remit.resources.yaml_source import MAX_DEPTH, Located, load_strict

SCALARS: Final = frozenset({"string", "integer", "number", "boolean"})
_KEYS: Final = frozenset(GrantDocument.model_fields) - {"addresses"} | {"self"}
_MAY_BE_EMPTY: Final = frozenset({"eq", "one_of", "not_one_of", "subset", "contains"})


@dataclass(frozen=True, slots=True)
class GrantSource:
    """A grant or template as it was written, checked as far as it can be without parameters.

    `document` is the checked form, `digest` that of the source's bytes, `text` the YAML where there was any.
    """

    name: str
    document: GrantDocument
    digest: str
    text: str | None
    parameters: Mapping[str, Constraint]
    tree: dict[str, Any]
    located: Located | None

    def error(self, *refusals: Refusal) -> GrantError:
        """One `GrantError` for all that was found, each with its line."""
        return _error(self.name, self.located, refusals)


def read_grant(source: str | Path | Mapping[str, Any] | bytes) -> GrantSource:
    """Read a grant or template: a path, YAML as text (with a line break in it, or a `{` at its start) or bytes, or a
    mapping.

    Raises `GrantError` listing everything that is wrong, with lines where the source has lines.
    """
    return _read(*_tree(source))


def read_changes(
    source: str | Path | Mapping[str, Any] | bytes, complete: Callable[[dict[str, Any]], dict[str, Any]]
) -> GrantSource:
    """Read what is to change of a grant, in any form that `read_grant` takes: as the grant that `complete` makes of the
    tree that was written. The digest is that of what was written.

    Raises `GrantError`, also for a `Refusal` of `complete`.
    """
    name, raw, tree, located = _tree(source)
    content = raw if raw is not None else _canonical(tree, name)
    try:
        whole = complete(tree)
    except Refusal as refusal:
        raise _error(name, located, [refusal]) from None
    return _read(name, content, whole, located)


def _read(name: str, raw: bytes | None, tree: dict[str, Any], located: Located | None) -> GrantSource:
    text = None if raw is None or located is None else raw.decode()
    problems = list(_empty_values(tree))
    if problems:
        raise _error(name, located, problems)
    parameters, slots = _parameters(tree, name, located)
    document = read_document(_bound(tree, slots, name, located), name, located)
    unused = parameters.keys() - names_in({key: value for key, value in tree.items() if key != "parameters"})
    if unused:
        found = [Refusal(f"the parameter {key!r} is used nowhere", "parameters", key) for key in sorted(unused)]
        raise _error(name, located, found)
    content = raw if raw is not None else _canonical(tree, name)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return GrantSource(name, document, digest, text, parameters, tree, located)


def fill_in(source: GrantSource, slots: Mapping[str, Slot]) -> GrantDocument:
    """The document with every parameter in its place, checked again as a whole. Raises `GrantError`."""
    return read_document(_bound(source.tree, slots, source.name, source.located), source.name, source.located)


def read_document(
    tree: Mapping[str, Any], name: str, located: Located | None, reader: Reader | None = None
) -> GrantDocument:
    """A tree as the models read it. Raises `GrantError` with every problem found."""
    if reader is None:
        own = tree.get("self")
        addresses = tuple(own) if isinstance(own, list) else None
        reader = Reader("source", addresses)
    try:
        return GrantDocument.model_validate(tree, context=reader)
    except ValidationError as error:
        raise _error(name, located, [_refusal(problem, tree) for problem in error.errors()]) from None


# -- where a grant comes from


def _tree(
    source: str | Path | Mapping[str, Any] | bytes,
) -> tuple[str, bytes | None, dict[str, Any], Located | None]:
    if isinstance(source, Mapping):
        return "the grant", None, _copied(source, ()), None
    name = "the grant"
    if isinstance(source, str) and ("\n" in source or source.startswith("{")):
        raw = source.encode("utf-8", "surrogatepass")
    elif isinstance(source, bytes):
        raw = source
    elif isinstance(source, str | Path):
        path = Path(source)
        name = str(path)
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise GrantError(f"cannot read the grant {name}: {error.strerror or error}") from error
        except ValueError as error:
            raise GrantError(f"cannot read the grant {name!r}: {error}") from error
    else:
        raise GrantError(f"got a {type(source).__name__}, expected a path, YAML text, or a mapping")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise GrantError(f"{name} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    located = load_strict(text, name=name)
    if not isinstance(located.tree, dict):
        raise located.refuse((), f"is {show(located.tree)}; a grant is a mapping that begins with `task:`")
    return name, raw, located.tree, located


def _copied(node: Any, path: TreePath) -> Any:
    """A plain copy of a mapping given in Python, so that nothing outside can change it any more."""
    if len(path) > MAX_DEPTH:
        raise _error("the grant", None, [Refusal(f"is nested more than {MAX_DEPTH} deep", path[0])])
    if isinstance(node, Mapping):
        for key in node:
            if not isinstance(key, str):
                raise _error("the grant", None, [Refusal(f"the key {key!r} is no string", *path)])
        return {str(key): _copied(value, (*path, key)) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_copied(item, (*path, index)) for index, item in enumerate(node)]
    if node is None or type(node) in (str, int, float, bool):
        return node
    raise _error(
        "the grant",
        None,
        [Refusal(f"got a Python {type(node).__name__}, expected what YAML can say (moments as RFC 3339 text)", *path)],
    )


def _canonical(tree: Mapping[str, Any], name: str) -> bytes:
    try:
        return rfc8785.dumps(to_json(tree))
    except (rfc8785.CanonicalizationError, ValueError) as error:
        raise GrantError(f"{name} has no canonical form: {error}") from error


def _empty_values(node: Any, path: TreePath = (), *, within: bool = False) -> Iterator[Refusal]:
    """Everything in the tree that has no value. Where values are compared, an empty string is a value."""
    if node is None:
        yield Refusal("has no value; write `any` to allow anything, or take the line away", *path)
    elif isinstance(node, str) and not node and not within:
        yield Refusal("is empty; write {eq: ''} for exactly the empty string, {absent: true} for nothing", *path)
    elif isinstance(node, dict | list) and not node and not (within and path[-1] == "eq"):
        yield Refusal("is empty, which could mean everything or nothing; say which, or take it away", *path)
    elif isinstance(node, dict):
        for key, value in node.items():
            if not key:
                yield Refusal("a key is empty", *path)
            yield from _empty_values(value, (*path, key), within=within or (key in _MAY_BE_EMPTY and len(path) > 2))
    elif isinstance(node, list):
        for index, item in enumerate(node):
            yield from _empty_values(item, (*path, index), within=within)


# -- parameters


def _parameters(
    tree: Mapping[str, Any], name: str, located: Located | None
) -> tuple[dict[str, Constraint], dict[str, Slot]]:
    declared = tree.get("parameters")
    if declared is None:
        return {}, {}
    if not isinstance(declared, dict):
        refusal = Refusal(f"got {show(declared)}, expected a mapping of name to constraint", "parameters")
        raise _error(name, located, [refusal])
    reader = Reader("source", None)
    found: dict[str, Constraint] = {}
    problems: list[Refusal] = []
    for key, node in declared.items():
        try:
            check_parameter_name(key)
            found[key] = _parameter(reader.constraint(node))
        except Refusal as refusal:
            problems.append(refusal.below("parameters", key))
    if problems:
        raise _error(name, located, problems)
    return found, {key: Slot(key, constraint.kinds) for key, constraint in found.items()}


def _parameter(constraint: Constraint) -> Constraint:
    if constraint.optional:
        raise Refusal("a parameter always has a value; take `optional` or `absent` away")
    if not constraint.kinds <= SCALARS:
        raise Refusal(
            f"allows {constraint.describe()}; a parameter is one string, number or boolean, so say which: "
            "{type: string, …}, {type: integer, …}"
        )
    return constraint


def _bound(tree: dict[str, Any], slots: Mapping[str, Slot], name: str, located: Located | None) -> dict[str, Any]:
    try:
        bound: dict[str, Any] = bind(tree, slots)
    except Refusal as refusal:
        raise _error(name, located, [refusal]) from None
    return bound


# -- saying what is wrong

_EXPECTED: Final = {
    "int_type": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "model_type": "a mapping",
    "greater_than_equal": "a whole number from {ge} up",
    "less_than_equal": "a whole number up to {le}",
    "literal_error": "{expected}",
}


def _refusal(problem: Any, tree: Any) -> Refusal:
    """One of Pydantic's findings as a sentence about the tree as it was written."""
    path = _written_path(problem["loc"], tree)
    kind = problem["type"]
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, Refusal):
        return cause.below(*path)
    if kind == "missing":
        return Refusal(f"{path[-1]!r} is missing", *path[:-1])
    if kind == "extra_forbidden":
        known = _known_keys(path)
        return Refusal(f"{path[-1]!r} is not known here{did_you_mean(str(path[-1]), known)}", *path)
    expected = _EXPECTED.get(kind, problem["msg"].removeprefix("Input should be ")).format(**problem.get("ctx", {}))
    return Refusal(f"got {show(problem['input'])}, expected {expected}", *path)


def _written_path(loc: tuple[str | int, ...], tree: Any) -> TreePath:
    """Pydantic's location in the tree as it was written, where a single clause is no list and keys may be bare."""
    path: list[str | int] = []
    node = tree
    for step in loc:
        if isinstance(node, dict):
            if isinstance(step, int):
                continue  # a single clause, or sum, that stands without a list
            if step not in node and isinstance(step, str) and step.startswith("local."):
                step = step.removeprefix("local.")
            node = node.get(step)
            path.append(step)
        elif isinstance(node, list) and isinstance(step, int) and step < len(node):
            node = node[step]
            path.append(step)
        elif not isinstance(step, int) and step not in ("function-wrap", "tuple", "constrained-str"):
            path.append(step)
    return tuple(path)


def _known_keys(path: TreePath) -> frozenset[str]:
    if len(path) == 1:
        return _KEYS
    steps = [step for step in path if isinstance(step, str)]
    parent = steps[-2]
    owner: Any = {
        "issue": limits.IssueRule,
        "delegation": limits.Delegation,
        "shared": limits.SharedLimit,
        "sum": limits.SumLimit,
        "distinct": limits.DistinctLimit,
        "approval": limits.Approval,
    }.get(parent)
    if parent == "limits":
        owner = limits.ClauseLimits if steps[0] == "tools" else limits.GrantLimits
    return frozenset((owner or Clause).model_fields)


def _error(name: str, located: Located | None, refusals: Any) -> GrantError:
    problems: list[str] = []
    for refusal in refusals:
        where = ".".join(str(step) for step in refusal.path)
        place = f"{name}, line {located.line_of(refusal.path)}" if located is not None else name
        problems.append(f"{place}: {where + ': ' if where else ''}{refusal.sentence}")
    problems = list(dict.fromkeys(problems))
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return GrantError(problems[0] + more, problems=problems)
