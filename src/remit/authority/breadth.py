"""No silent breadth: where the catalogue knows what a tool touches, a clause says which of it, or says `any`."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from remit.authority.constraints import CONSTRAINT_WORDS, Constraint
from remit.authority.keys import server_wildcard
from remit.authority.literals import show
from remit.authority.model import GrantDocument
from remit.authority.overlap import unapproved_overlaps
from remit.authority.terms import GrantTerms
from remit.authority.words.text import Like, Matches
from remit.authority.words.values import Exactly
from remit.errors import GrantError
from remit.resources.catalogue import Catalogue
from remit.resources.entries import ToolEntry

LONG: Final = timedelta(days=31)


def check_breadth(grant: GrantTerms | GrantDocument, catalogue: Catalogue) -> None:
    """Raises `GrantError` listing every clause that is silent about resources which the catalogue finds.

    And every limit on different resources over a tool of which no catalogue says what it touches.
    """
    problems: list[str] = []
    document = _document(grant)
    for tool, clause in document.clauses():
        if clause.resources is None and _touches(catalogue, tool, document):
            problems.append(
                f"{tool} ({clause.name}): the catalogue says what this tool touches, so the clause has to name "
                '`resources: ["ACTION URI", …]`, or say `resources: any`'
            )
    problems += _counts_nothing(document, catalogue)
    problems += _marks(document, catalogue)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise GrantError(problems[0] + more, problems=problems)


def _marks(document: GrantDocument, catalogue: Catalogue) -> list[str]:
    """A marked argument that an access is made from would stand in the evidence all the same."""
    found = []
    for tool, clause in document.clauses():
        where = f"{tool} ({clause.name})"
        for entry in _entries(catalogue, tool, document):
            found += [
                f"{where}: marks `{name}` {word}, from which the catalogue makes a resource, which evidence shows"
                for word, names in (("secret", clause.secret), ("redact", clause.redact))
                for name in names
                if name in entry.arguments
            ]
            problems = (clause.cannot_be_secret(name) for name in sorted(entry.secret))
            found += [f"{where}: the catalogue says that {problem}" for problem in problems if problem is not None]
    shared = [(tool, limit.argument) for one in document.limits.shared for limit in one.sum for tool in one.tools]
    for tool, argument in shared:
        marked = {name for clause in document.tools[tool] for name in clause.secret}
        marked |= {name for entry in _entries(catalogue, tool, document) for name in entry.secret}
        if argument in marked:
            found.append(f"{tool}: `{argument}` is secret, and a shared sum over it would keep it; count calls instead")
    return list(dict.fromkeys(found))


def _counts_nothing(document: GrantDocument, catalogue: Catalogue) -> list[str]:
    """A limit that would never count anything reads like a bound and is none."""
    limited = [(f"{tool} ({clause.name})", [tool]) for tool, clause in document.clauses() if clause.limits.distinct]
    limited += [
        (f"limits.shared.{place}", list(one.tools)) for place, one in enumerate(document.limits.shared) if one.distinct
    ]
    found = [
        f"{where}: limits how many different resources are touched, but no catalogue says what {tool} touches"
        for where, tools in limited
        for tool in tools
        if not _touches(catalogue, tool, document)
    ]
    if document.limits.distinct and not any(_touches(catalogue, tool, document) for tool in document.tools):
        found.append("limits.distinct: no catalogue says of any of the tools what it touches")
    return found


def warnings(grant: GrantTerms | GrantDocument, catalogue: Catalogue) -> list[str]:
    """What is allowed to be written but is seldom meant, one sentence each."""
    document = _document(grant)
    found = unapproved_overlaps(document)
    for tool, clause in document.clauses():
        where = f"{tool} ({clause.name})"
        if isinstance(clause.resources, tuple) and not _touches(catalogue, tool, document):
            found.append(
                f"{where}: names resources, but no catalogue says what the tool touches, so every call is refused."
            )
        if clause.observe:
            found.append(f"{where}: only observes; a call outside it is recorded and runs.")
        for name, bound in {**clause.arguments, **clause.injected}.items():
            found += [f"{where}, `{name}`: {sentence}" for sentence in _doubts(bound)]
            found += [f"{where}, `{name}`: {sentence}" for sentence in _source_doubts(bound, document, catalogue)]
    found += _window_doubts(grant)
    return found


def _document(grant: GrantTerms | GrantDocument) -> GrantDocument:
    return grant.document if isinstance(grant, GrantTerms) else grant


def _touches(catalogue: Catalogue, tool: str, document: GrantDocument) -> bool:
    """Whether the catalogue finds accesses in calls of a tool; of `crm.*`, in calls of any tool that it speaks for."""
    return any(entry.yields_accesses for entry in _entries(catalogue, tool, document))


def _entries(catalogue: Catalogue, tool: str, document: GrantDocument) -> list[ToolEntry]:
    keys = [tool]
    if tool.endswith(".*"):
        known = catalogue.keys()
        keys += [key for key in known if server_wildcard(key) == tool and key not in document.tools]
    return [entry for key in keys if (entry := catalogue.entry(key)) is not None]


def _doubts(bound: Constraint) -> list[str]:
    found: list[str] = []
    for word in bound.words:
        if isinstance(word, Like) and ("://" in word.pattern or word.pattern.startswith("/")):
            found.append("`like` crosses / and does not resolve ..; use `under` for paths and `url` for URLs.")
        if isinstance(word, Matches) and ("\\d" in word.pattern or "\\w" in word.pattern):
            found.append(
                r"\d and \w match the digits and letters of every script; write [0-9] or [A-Za-z] if you mean those."
            )
        if (
            isinstance(word, Exactly)
            and isinstance(word.literal, str)
            and word.literal in CONSTRAINT_WORDS - {"any", "self"}
        ):
            found.append(
                f"means exactly the text {show(word.literal)}; a word takes a mapping, such as {{{word.literal}: …}}."
            )
    if bound.names() == {"not_one_of"}:
        found.append("`not_one_of` alone allows everything that nobody thought of; list what is allowed instead.")
    return found


def _source_doubts(bound: Constraint, document: GrantDocument, catalogue: Catalogue) -> list[str]:
    found: list[str] = []
    for selector in bound.selectors():
        for tool in selector.tools:
            if tool not in document.tools and server_wildcard(tool) not in document.tools:
                found.append(f"its source {tool} is not granted, so there is never a result of it.")
                continue
            entry = catalogue.entry(tool)
            if entry is None or not entry.read_only:
                found.append(
                    f"no catalogue says that its source {tool} only reads; a tool that makes its answer from what it "
                    "is told vouches for nothing."
                )
        if selector.pattern is not None and not selector.arguments and not selector.where:
            found.append(
                f"a pattern over any result of {selector.tools[0]} trusts whoever writes there; bound the source call "
                "with `arguments`, or ask for approval."
            )
    return list(dict.fromkeys(found))


def _window_doubts(grant: GrantTerms | GrantDocument) -> list[str]:
    if isinstance(grant, GrantTerms):
        span = grant.expires - grant.not_before
    elif isinstance(grant.expires_in, timedelta):
        span = grant.expires_in
    else:
        return []
    return [f"It lasts {span.days} days; a grant is for one task."] if span > LONG else []
