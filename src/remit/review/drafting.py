"""One clause of a suggested grant: what the calls that it permitted had in common, and no more than that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from remit.authority.model import ANY, ONLY
from remit.authority.narrower.resources import covers
from remit.authority.source import read_grant
from remit.errors import GrantError
from remit.resources.access import Access, Pattern
from remit.review import following
from remit.review.following import NOTHING
from remit.review.generalise import MISSING, Said, as_source, count, generalise
from remit.review.learning import Sample
from remit.review.writing import constraint

_GRANT: Final = """\
task: x
principal: user:x@acme.com
agent: agent:x
self: [x@acme.com]
expires_in: 1m
tools:
  x.x:
    arguments:
      x: """

MAX_LINES: Final = 8
"""So many resources are listed; more become a pattern."""


@dataclass(slots=True)
class Drafted:
    """A clause in a file's words. `because` says what each part rests on."""

    name: str
    resources: list[str] | str | None = None
    arguments: dict[str, Said] = field(default_factory=dict)
    other_arguments: bool = False
    limits: dict[str, Any] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)
    because: dict[str, str] = field(default_factory=dict)


def draft(samples: Sequence[Sample], names: Sequence[str], *, as_it_was: bool = False) -> Drafted:
    """The narrowest clause for these calls, which one clause of their grants permitted. `names` are the parameters that
    differ between the grants. `as_it_was`: the clause that is in force, where the calls cannot be said otherwise.

    Raises `GrantError` where even that one differs from grant to grant in a way that no parameter explains.
    """
    before = _before(samples, names)
    made = Drafted(samples[0].key[1] or ONLY)
    most = max(Counter(sample.grant_id for sample in samples).values())
    made.limits = {"calls": most, **_limits(before)}
    sessions = len({sample.session_id for sample in samples})
    made.because["calls"] = f"{len(samples)} in {count(sessions, 'session')}, at most {most} under one grant"
    for word in ("injected", "approval"):
        if before is not None and before.get(word):
            made.rest[word] = before[word]
    if as_it_was:
        if before is None:
            raise GrantError(f"{samples[0].tool}: its calls can be said in no one clause; write it by hand")
        made.because["clause"] = "as it was: its calls cannot be said more narrowly"
        made.resources = before.get("resources")
        made.other_arguments = before.get("other_arguments") == ANY
        made.arguments = {name: Said(dict(words), "as it was", False) for name, words in before["arguments"].items()}
        return made
    made.resources = _resources(samples, names, before, made.because)
    _arguments(made, samples, names, before)
    return made


def _before(samples: Sequence[Sample], names: Sequence[str]) -> dict[str, Any] | None:
    """The clause in force in a file's words; None where the grants say it differently and no parameter explains it."""
    sources = {}
    for sample in samples:
        assert sample.clause is not None
        sources[sample.grant_id, sample.recalled.chain[-1].digest] = (sample.clause, sample.parameters)
    trees = [as_source(clause.to_json()) for clause, _ in sources.values()]
    made = following.tree(trees, [parameters for _, parameters in sources.values()], names)
    return None if made is NOTHING else made


def _limits(before: Mapping[str, Any] | None) -> dict[str, Any]:
    """Limits that stay as they are. A limit of calls is what was needed, so it is not among them."""
    held = dict((before or {}).get("limits") or {})
    held.pop("calls", None)
    found = {word: bound for word, bound in held.items() if bound}
    if "sum" in found:
        found["sum"] = [{**one, "max": number(one["max"])} for one in found["sum"]]
    return found


def number(text: Any) -> Any:
    """A decimal that canonical JSON keeps as text, as a file writes it."""
    if not isinstance(text, str) or text.startswith("$"):
        return text
    exact = Decimal(text)
    return int(exact) if exact == exact.to_integral_value() else float(exact)


# -- arguments


def _arguments(
    made: Drafted, samples: Sequence[Sample], names: Sequence[str], before: Mapping[str, Any] | None
) -> None:
    held: Mapping[str, Any] = (before or {}).get("arguments") or {}
    known = set(samples[0].clause.arguments) if samples[0].clause is not None else set()
    seen = dict.fromkeys(name for sample in samples for name in sample.recalled.view.effective)
    for name in seen:
        values = [_value(sample, name) for sample in samples]
        if name not in known and _needs_no_name(samples, name, made.resources):
            continue
        secret = any(name in sample.recalled.view.secret for sample in samples)  # no value of it is written down
        said = None if secret else _followed(values, samples, names) or generalise(values, held.get(name))
        if said is None or not _reads(said.words):
            words = dict(held.get(name) or {"any": True})
            if any(value is MISSING for value in values):
                words["optional"] = True
            said = Said(words, "as it was", False)
        made.arguments[name] = said


def _reads(words: Mapping[str, Any]) -> bool:
    """Whether a file can say this: some values have no spelling in a grant, such as an empty list in a list."""
    argument = constraint({name: bound for name, bound in words.items() if not _is_parameter(bound)} or {"any": True})
    text = f"{_GRANT}{argument}\n"
    try:
        read_grant(text)
    except GrantError:
        return False
    return True


def _is_parameter(bound: Any) -> bool:
    return isinstance(bound, str) and bound.startswith("${")


def _value(sample: Sample, name: str) -> Any:
    return sample.recalled.view.effective.get(name, MISSING)


def _needs_no_name(samples: Sequence[Sample], name: str, resources: list[str] | str | None) -> bool:
    """Whether the argument is bounded without being named: by a resource that covers it, or by being the default."""
    views = [sample.recalled.view for sample in samples if name in sample.recalled.view.effective]
    return all((resources is not None and name in view.covered) or name in view.defaulted for view in views)


def _followed(values: Sequence[Any], samples: Sequence[Sample], names: Sequence[str]) -> Said | None:
    present = [(value, sample) for value, sample in zip(values, samples, strict=True) if value is not MISSING]
    if len({sample.grant_id for _, sample in present}) < 2:
        return None
    parameters = [sample.parameters for _, sample in present]
    differing = [name for name in names if name in following.varying(parameters)]
    name = following.value([value for value, _ in present], parameters, differing)
    if name is None:
        return None
    words: dict[str, Any] = {"eq": f"${{{name}}}"}
    if len(present) < len(values):
        words["optional"] = True
    return Said(words, f"the parameter in each of {count(len(present), 'call')}", True)


# -- resources


def _resources(
    samples: Sequence[Sample], names: Sequence[str], before: Mapping[str, Any] | None, because: dict[str, str]
) -> list[str] | str | None:
    touched = [(access, sample) for sample in samples for access in sample.recalled.view.accesses]
    if not touched:
        described = any(sample.recalled.view.catalogued for sample in samples)
        return ANY if described and (before or {}).get("resources") is not None else None
    if any(not sample.recalled.view.accesses for sample in samples):
        return ANY  # calls that touch nothing match no line
    found: list[str] = []
    groups: dict[tuple[str, str, int], list[tuple[Access, Sample]]] = {}
    for access, sample in touched:
        groups.setdefault((access.action, access.kind, access.uri.count("/")), []).append((access, sample))
    for group in groups.values():
        found += _lines(group, names, before)
    because["resources"] = f"{len({access for access, _ in touched})} touched in {count(len(samples), 'call')}"
    return list(dict.fromkeys(found))


def _lines(group: Sequence[tuple[Access, Sample]], names: Sequence[str], before: Mapping[str, Any] | None) -> list[str]:
    """Resources of one kind: with a parameter for each segment that follows one, listed, or as one pattern."""
    distinct = sorted(_following(group, names))
    if len(distinct) <= MAX_LINES:
        return distinct
    held = before.get("resources") if before is not None else None
    pattern = _pattern(distinct)
    if pattern is not None and (held == ANY or _within(pattern, held)):
        return [pattern]
    return [line for line in held if _used(line, group)] if isinstance(held, list) else distinct


def _following(group: Sequence[tuple[Access, Sample]], names: Sequence[str]) -> set[str]:
    """The resources, each segment that equals a parameter replaced by it, where that is so under every grant."""
    rows = [(_parts(access), sample) for access, sample in group]
    grants = {sample.grant_id: sample.parameters for _, sample in rows}
    differing = [name for name in names if name in following.varying(list(grants.values()))]
    for place in range(1, len(rows[0][0])):
        for name in differing:
            same = [(parts, one) for parts, one in rows if following.segment([parts[place]], [one.parameters], [name])]
            if {one.grant_id for _, one in same} == set(grants):
                for parts, _ in same:
                    parts[place] = f"${{{name}}}"
                break
    separator = "" if group[0][0].kind == "mailto" else "/"
    return {separator.join(parts) for parts, _ in rows}


def _parts(access: Access) -> list[str]:
    """What a parameter can stand for, behind what it cannot: an address, or one segment of a path."""
    if access.kind == "mailto":
        return [f"{access.action} mailto:", access.uri.removeprefix("mailto:")]
    start, _, path = str(access).partition("://")
    return [f"{start}:/", *path.split("/")]


def _pattern(lines: Sequence[str]) -> str | None:
    """The lines with `*` for every segment in which they differ; None for what is no path."""
    columns = list(zip(*(line.split("/") for line in lines), strict=True))
    made = "/".join(column[0] if len(set(column)) == 1 else "*" for column in columns)
    try:
        return made if "${" in made else Pattern.parse(made).text
    except GrantError:
        return None


def _within(pattern: str, held: Any) -> bool:
    if not isinstance(held, list):
        return False
    try:
        return any(covers(Pattern.parse(line), Pattern.parse(pattern)) for line in held)
    except GrantError:  # a parameter in it: compared as text
        return pattern in held


def _used(line: str, group: Sequence[tuple[Access, Sample]]) -> bool:
    if "${" in line:
        return True
    return any(Pattern.parse(line).matches(access) for access, _ in group)


__all__ = ["Drafted", "draft", "number"]
