"""Whether one constraint accepts nothing that another refuses.

Values that can be counted are decided by running the parent's own predicate on each. Everything else goes word by word:
for each word of the parent some word of the child has to imply it. What is not known is not so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

from remit.authority.constraints import Constraint
from remit.authority.literals import show
from remit.authority.narrower.candidates import accepted
from remit.authority.narrower.words import implied, takes_numbers
from remit.authority.words.base import Scope, Word
from remit.authority.words.structure import AllOf, AnyOf
from remit.authority.words.values import Anything
from remit.errors import GrantError

EFFORT: Final = 20_000
"""Values and words that one comparison of two grants may look at. A grant is small; one that is not is refused."""


class TooMuch(GrantError):
    """The two grants take too long to compare, so that nothing is known of them."""


@dataclass
class Pair:
    """A child and its parent while they are compared: what the words of each are compiled with, and the effort left."""

    child: Scope
    parent: Scope
    left: list[int] = field(default_factory=lambda: [EFFORT])
    _known: dict[int, tuple[Constraint, tuple[Any, ...] | None]] = field(default_factory=dict)

    def inside(self, child: Constraint, parent: Constraint) -> bool:
        """Whether the parent accepts whatever the child accepts. Raises `TooMuch`."""
        number = takes_numbers(parent)
        values = self._accepted(child)
        return all(self._holds(child, word, number, values) for word in parent.words)

    def why_not(self, child: Constraint, parent: Constraint) -> str | None:
        """None when it is inside; else what each of them allows, in words that follow the name of the value."""
        if self.inside(child, parent):
            return None
        reason = f"allows {child.describe()}; its parent allows {parent.describe()}"
        values = self._accepted(child)
        if values is not None and not child.selectors():
            judge = parent.compile(self.parent)
            odd = next((value for value in values if judge(value) is not None), None)
            if odd is not None:
                reason += f", and not {show(odd)}"
        return reason

    def _holds(self, child: Constraint, word: Word, number: bool, values: tuple[Any, ...] | None) -> bool:
        self._spend(1)
        if isinstance(word, Anything):
            return True
        if values is not None:
            self._spend(len(values))
            judge = word.compile(replace(self.parent, number=number))
            if all(judge(value) is None for value in values):
                return True
            if not Constraint((word,)).selectors():
                return False
        if isinstance(word, AllOf):
            return all(self.inside(child, _constraint(part)) for part in word.parts)
        if isinstance(word, AnyOf) and any(self.inside(child, _constraint(part)) for part in word.parts):
            return True
        return implied(child, word, number, self) or self._by_part(child, word, number)

    def _by_part(self, child: Constraint, word: Word, number: bool) -> bool:
        """`all_of` of the child: one part may imply it. `any_of`: every part has to, with the other words beside it."""
        for place, mine in enumerate(child.words):
            if isinstance(mine, AllOf):
                if any(self._holds_for(_constraint(part), word, number) for part in mine.parts):
                    return True
            elif isinstance(mine, AnyOf):
                others = child.words[:place] + child.words[place + 1 :]
                if all(self._holds_for(_beside(child, others, part), word, number) for part in mine.parts):
                    return True
        return False

    def _holds_for(self, child: Constraint, word: Word, number: bool) -> bool:
        return self._holds(child, word, number, self._accepted(child))

    def _accepted(self, child: Constraint) -> tuple[Any, ...] | None:
        """The child's values, looked up once; a constraint is kept here for as long as its number names it."""
        found = self._known.get(id(child))
        if found is None:
            found = self._known[id(child)] = (child, accepted(child, self.child))
            self._spend(1 if found[1] is None else len(found[1]))
        return found[1]

    def _spend(self, effort: int) -> None:
        self.left[0] -= effort
        if self.left[0] < 0:
            raise TooMuch("it is too large to be compared with its parent; write it with fewer values and alternatives")


def _beside(child: Constraint, others: tuple[Word, ...], part: Any) -> Constraint:
    """One alternative of an `any_of` together with the words that stand beside it."""
    if not others:
        return _constraint(part)
    alone = AllOf((part,))
    return replace(child, words=(*others, alone), kinds=child.kinds & alone.kinds)


def _constraint(part: Any) -> Constraint:
    assert isinstance(part, Constraint)
    return part
