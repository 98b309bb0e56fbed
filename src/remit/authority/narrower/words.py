"""One rule for each constraint word of the parent: when the child's words imply it. What no rule knows is not implied.

The values of a child that can be counted never come here: the parent's own predicate has been run on each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import rfc8785

from remit.authority.constraints import Constraint
from remit.authority.literals import equal_to, exact_decimal
from remit.authority.narrower.candidates import certain, spellings
from remit.authority.words.base import LIST, Scope, Word
from remit.authority.words.collections import Contains, Each, Keys, Subset
from remit.authority.words.numbers import Bound
from remit.authority.words.origin import From, OneOfSource, Selector, SubsetOfSource
from remit.authority.words.places import EmailIn, Under, UrlIn
from remit.authority.words.structure import AllOf, AnyOf, OfType
from remit.authority.words.text import Like, Matches, MaxLength
from remit.authority.words.values import Exactly, NotOneOf, OneOf, OwnAddress, expand
from remit.resources.urls import DEFAULT_PORTS

_LOWER: Final = frozenset({"min", "above"})
_NORMAL: Final = (Like, Matches, NotOneOf, Under, UrlIn, EmailIn, OwnAddress, Exactly, OneOf, From, OneOfSource)
"""Words that accept no text but in Unicode normal form C."""


class Comparison(Protocol):
    """What the rules use of the comparison they are part of."""

    @property
    def child(self) -> Scope:
        """What the child's words are compiled with."""

    @property
    def parent(self) -> Scope:
        """What the parent's words are compiled with."""

    def inside(self, child: Constraint, parent: Constraint) -> bool:
        """Whether the parent accepts whatever the child accepts."""


def implied(child: Constraint, word: Word, number: bool, comparison: Comparison) -> bool:
    """Whether a rule says that every value of `child` satisfies the parent's `word`.

    `number`: the parent's word stands beside `type: number`, so that it takes 2.0 for 2.
    """
    rule = _RULES.get(type(word))
    return rule is not None and rule(child, word, number, comparison)


def takes_numbers(constraint: Constraint) -> bool:
    """Whether the words of this constraint compare numbers by value (`type: number` stands beside them)."""
    return any(isinstance(word, OfType) and word.type == "number" for word in constraint.words)


def _of_type(child: Constraint, word: OfType, number: bool, comparison: Comparison) -> bool:
    del number, comparison
    return child.kinds <= word.kinds


def _bound(child: Constraint, word: Bound, number: bool, comparison: Comparison) -> bool:
    del number, comparison
    return any(_tighter(mine, word) for mine in _words(child, Bound))


def _tighter(mine: Bound, other: Bound) -> bool:
    """Numbers are compared as a decision compares them: as they are, and as the decimals that they are written as."""
    if (mine.name in _LOWER) != (other.name in _LOWER):
        return False
    one, two = mine.bound, other.bound
    assert isinstance(one, int | float)
    assert isinstance(two, int | float)
    if mine.name not in _LOWER:
        one, two = two, one
    exact = (exact_decimal(one), exact_decimal(two))
    if mine.name in ("min", "max") and other.name in ("above", "below"):
        return one > two and exact[0] > exact[1]
    return one >= two and exact[0] >= exact[1]


def _like(child: Constraint, word: Like, number: bool, comparison: Comparison) -> bool:
    """Each `*` of the child has to fall into a `*` of the parent: then whatever it stands for does so too."""
    del number
    holds = word.compile(comparison.parent)
    for mine in _words(child, Like):
        mark = next(chr(code) for code in range(0xE000, 0xF8FF) if chr(code) not in word.pattern + mine.pattern)
        if holds(mine.pattern.replace("*", mark)) is None:
            return True
    return False


def _matches(child: Constraint, word: Matches, number: bool, comparison: Comparison) -> bool:
    del number, comparison
    return any(mine.pattern == word.pattern for mine in _words(child, Matches))


def _max_length(child: Constraint, word: MaxLength, number: bool, comparison: Comparison) -> bool:
    del number, comparison
    assert isinstance(word.most, int)
    if any(isinstance(mine.most, int) and mine.most <= word.most for mine in _words(child, MaxLength)):
        return True
    return any(len(mine.members) <= word.most for mine in _words(child, Keys))


def _under(child: Constraint, word: Under, number: bool, comparison: Comparison) -> bool:
    del number
    holds = word.compile(comparison.parent)
    return any(holds(mine.root) is None for mine in _words(child, Under))


def _url(child: Constraint, word: UrlIn, number: bool, comparison: Comparison) -> bool:
    del number, comparison
    return any(_url_within(mine, word) for mine in _words(child, UrlIn))


def _url_within(mine: UrlIn, word: UrlIn) -> bool:
    if not set(mine.schemes) <= set(word.schemes):
        return False
    if word.hosts is not None and (mine.hosts is None or not set(mine.hosts) <= set(word.hosts)):
        return False
    for scheme in mine.schemes:
        usual = DEFAULT_PORTS[scheme]
        dialled = {usual} if mine.ports is None else set(mine.ports)
        if not dialled <= ({usual} if word.ports is None else set(word.ports)):
            return False
    if word.under is None:
        return True
    outer = word.under.rstrip("/")
    inner = None if mine.under is None else mine.under.rstrip("/")
    return not outer or (inner is not None and (inner == outer or inner.startswith(f"{outer}/")))


def _email(child: Constraint, word: EmailIn, number: bool, comparison: Comparison) -> bool:
    del number
    holds = word.compile(comparison.parent)
    for mine in _words(child, EmailIn):
        if word.domains is not None and (mine.domains is None or not set(mine.domains) <= set(word.domains)):
            continue
        if all(holds(address) is None for address in expand(mine.addresses, comparison.child)):
            return True
    return False


def _not_one_of(child: Constraint, word: NotOneOf, number: bool, comparison: Comparison) -> bool:
    """The child has to refuse each excluded value itself, in every spelling, and text that is not in normal form."""
    del number
    if not child.kinds <= word.kinds or ("string" in child.kinds and not _normal(child)):
        return False
    refuses = certain(child).compile(comparison.child)
    for literal in expand(word.literals, comparison.parent):
        found = spellings(literal)
        if found is None or any(refuses(value) is None for value in found):
            return False
    return True


def _normal(constraint: Any) -> bool:
    return any(
        isinstance(word, _NORMAL)
        or (isinstance(word, AllOf) and any(_normal(part) for part in word.parts))
        or (isinstance(word, AnyOf) and all("string" not in part.kinds or _normal(part) for part in word.parts))
        for word in constraint.words
    )


def _subset(child: Constraint, word: Subset, number: bool, comparison: Comparison) -> bool:
    del number
    listed = OneOf(word.literals)
    return _items_inside(child, Constraint((listed,), kinds=listed.kinds), comparison)


def _subset_of_source(child: Constraint, word: SubsetOfSource, number: bool, comparison: Comparison) -> bool:
    del number
    one = From(word.source, True)
    return _items_inside(child, Constraint((one,), kinds=one.kinds), comparison)


def _each(child: Constraint, word: Each, number: bool, comparison: Comparison) -> bool:
    del number
    assert isinstance(word.item, Constraint)
    return _items_inside(child, word.item, comparison)


def _items_inside(child: Constraint, item: Constraint, comparison: Comparison) -> bool:
    if not child.kinds <= LIST:
        return False
    mine = _items(child)
    return mine is not None and comparison.inside(mine, item)


def _items(child: Constraint) -> Constraint | None:
    """What every item of the child's lists satisfies; None where nothing bounds them."""
    found: list[Any] = []
    for word in child.words:
        if isinstance(word, Each):
            found.append(word.item)
        elif isinstance(word, Subset):
            listed = OneOf(word.literals)
            found.append(Constraint((listed,), kinds=listed.kinds))
        elif isinstance(word, SubsetOfSource):
            one = From(word.source, True)
            found.append(Constraint((one,), kinds=one.kinds))
    if len(found) < 2:
        return found[0] if found else None
    both = AllOf(tuple(found))
    return Constraint((both,), kinds=both.kinds)


def _contains(child: Constraint, word: Contains, number: bool, comparison: Comparison) -> bool:
    """Each value that the parent wants is one that the child wants, in every spelling that the child takes for it."""
    del number
    wanted = [
        tuple(filter(equal_to(literal), found))
        for mine in _words(child, Contains)
        for literal in expand(mine.literals, comparison.child)
        if (found := spellings(literal)) is not None
    ]
    for literal in expand(word.literals, comparison.parent):
        holds = Contains((literal,)).compile(comparison.parent)
        if not any(all(holds([value]) is None for value in found) for found in wanted):
            return False
    return True


def _keys(child: Constraint, word: Keys, number: bool, comparison: Comparison) -> bool:
    del number
    return any(_members_inside(mine.members, word.members, comparison) for mine in _words(child, Keys))


def _members_inside(mine: Mapping[str, Any], members: Mapping[str, Any], comparison: Comparison) -> bool:
    for key, part in members.items():
        if not part.optional and (key not in mine or mine[key].optional):
            return False
    return all(key in members and comparison.inside(part, members[key]) for key, part in mine.items())


def _from(child: Constraint, word: From | OneOfSource, number: bool, comparison: Comparison) -> bool:
    """A source that is only known when the call is made is the same source, or unknown."""
    del comparison
    if not isinstance(word.source, Selector) or (takes_numbers(child) and not number):
        return False
    several = isinstance(word, OneOfSource) or word.several
    for mine in child.words:
        if isinstance(mine, From | OneOfSource) and isinstance(mine.source, Selector):
            any_one = isinstance(mine, OneOfSource) or mine.several
            if mine.source.key == word.source.key and (several or not any_one):
                return True
    return False


def _same_literal(child: Constraint, word: Exactly, number: bool, comparison: Comparison) -> bool:
    """A list or mapping with more spellings than can be looked at is at least itself."""
    del comparison
    if takes_numbers(child) and not number:
        return False
    text = rfc8785.dumps(word.to_json())  # as text, for in Python 0 == False
    return any(rfc8785.dumps(mine.to_json()) == text for mine in _words(child, Exactly))


def _words(child: Constraint, kind: type[Any]) -> list[Any]:
    return [word for word in child.words if isinstance(word, kind)]


_RULES: Final[Mapping[type[Any], Callable[[Constraint, Any, bool, Comparison], bool]]] = {
    Exactly: _same_literal,
    NotOneOf: _not_one_of,
    Bound: _bound,
    Like: _like,
    Matches: _matches,
    Under: _under,
    UrlIn: _url,
    EmailIn: _email,
    Subset: _subset,
    SubsetOfSource: _subset_of_source,
    Contains: _contains,
    Each: _each,
    Keys: _keys,
    MaxLength: _max_length,
    OfType: _of_type,
    From: _from,
    OneOfSource: _from,
}
"""No rule: `any` holds always; `one_of self absent` are met by values that can be counted only; `all_of any_of` are
taken apart before they come here."""
