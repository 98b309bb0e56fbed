"""Values that follow a parameter: what equals it in every grant of a template becomes `${…}` again.

A parameter that had the same value everywhere tells nothing, so only those that differed are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from remit.errors import NotCanonical
from remit.resources.uris import encode_segment
from remit.review.generalise import identity

Parameters = Mapping[str, Any]

NOTHING: Final = object()
"""What `tree` gives where the grants say different things that no parameter explains."""


def varying(all_parameters: Sequence[Parameters]) -> tuple[str, ...]:
    """The parameters that had different values, so that following one of them can be told from standing still."""
    if not all_parameters:
        return ()
    names = set(all_parameters[0]).intersection(*all_parameters)
    return tuple(
        sorted(name for name in names if len({identity(parameters[name]) for parameters in all_parameters}) > 1)
    )


def value(values: Sequence[Any], parameters: Sequence[Parameters], names: Sequence[str]) -> str | None:
    """The parameter that every value equals, each in its own grant."""
    for name in names:
        if all(identity(one) == identity(given[name]) for one, given in zip(values, parameters, strict=True)):
            return name
    return None


def tree(nodes: Sequence[Any], parameters: Sequence[Parameters], names: Sequence[str]) -> Any:
    """One tree for all: the same where they agree, `${…}` where they follow a parameter, else `NOTHING`."""
    first = nodes[0]
    if all(identity(node) == identity(first) for node in nodes[1:]):
        return first
    followed = value(nodes, parameters, names)
    if followed is not None:
        return f"${{{followed}}}"
    if all(isinstance(node, dict) and node.keys() == first.keys() for node in nodes):
        made = {key: tree([node[key] for node in nodes], parameters, names) for key in first}
        return NOTHING if NOTHING in made.values() else made
    if all(isinstance(node, list) and len(node) == len(first) for node in nodes):
        items = [tree(list(column), parameters, names) for column in zip(*nodes, strict=True)]
        return NOTHING if any(item is NOTHING for item in items) else items
    if all(isinstance(node, str) for node in nodes):
        return segments(nodes, parameters, names) or NOTHING
    return NOTHING


def segments(texts: Sequence[str], parameters: Sequence[Parameters], names: Sequence[str]) -> str | None:
    """One text for all, where whole segments follow a parameter: a resource, a path, a principal's name."""
    split = [_split(text) for text in texts]
    if any(len(one) != len(split[0]) for one in split):
        return None
    made = []
    for column in zip(*split, strict=True):
        if len(set(column)) == 1:
            made.append(column[0])
            continue
        name = segment(column, parameters, names)
        if name is None:
            return None
        made.append(f"${{{name}}}")
    return "".join(made)


def segment(column: Sequence[str], parameters: Sequence[Parameters], names: Sequence[str]) -> str | None:
    """The parameter that a segment follows, in its encoded form or as it is."""
    for name in names:
        if all(text in _spellings(given[name]) for text, given in zip(column, parameters, strict=True)):
            return name
    return None


def words(texts: Sequence[str], parameters: Sequence[Parameters], names: Sequence[str]) -> str | None:
    """One sentence for all, where the parameters' values are taken out of it."""
    made = set()
    for text, given in zip(texts, parameters, strict=True):
        for name in sorted(names, key=lambda name: -len(str(given[name]))):
            text = text.replace(str(given[name]), f"${{{name}}}")
        made.add(text)
    return made.pop() if len(made) == 1 else None


def _split(text: str) -> list[str]:
    """Segments with the separators between them, so that joining gives the text again."""
    found, at = [], 0
    for place, character in enumerate(text):
        if character in "/:?":
            found += [text[at:place], character]
            at = place + 1
    return [*found, text[at:]]


def _spellings(given: Any) -> tuple[str, ...]:
    text = given if isinstance(given, str) else str(given)
    if isinstance(given, bool | float):
        return ()
    try:
        return (text, encode_segment(text))
    except NotCanonical:
        return ()


__all__ = ["NOTHING", "Parameters", "segment", "segments", "tree", "value", "varying", "words"]
