"""Whether a value is the caller's own: whether what a call said already holds it, so that no source can vouch for it.

Compared generously, because a tool may fold, trim or join what it is given before it hands it back: letters of every
width and case are one, what is invisible and what separates does not count, and a value that falls apart into things
said is one that was said. A tool that *computes* (decodes, translates, looks up by a secret rule) is beyond this; such
a tool is no source.
"""

from __future__ import annotations

import unicodedata
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from remit.authority.literals import decimal_text, exact_decimal

JOINED: Final = 6
"""Letters and digits from which on a value counts as said wherever they stand in a row. Shorter ones, such as an id
of two digits, would be found in any text; they count as whole words only."""

PIECE: Final = 2
"""Letters and digits of the smallest thing said that a value can be put together from, wherever it stands in it."""

SCRAPS: Final = 3
"""Letters and digits of a value that may have been said one by one, when all the rest was said in pieces."""


class Said:
    """What the arguments of one or more calls hold, ready to be asked. `everything` for calls whose arguments nobody
    can read any more."""

    __slots__ = ("_exact", "_joined", "_numbers", "_pieces", "_scraps", "_texts", "everything")

    def __init__(self, arguments: Iterable[Any], *, everything: bool = False) -> None:
        self.everything = everything
        self._exact: set[str] = set()
        self._numbers: set[str] = set()
        texts: list[str] = []
        for leaf in _leaves(list(arguments)):
            if isinstance(leaf, str):
                self._exact.add(leaf)
                texts.append(fold(leaf))
                decoded = urllib.parse.unquote_plus(leaf)
                if decoded != leaf:
                    texts.append(fold(decoded))
            else:
                self._numbers.add(leaf_number(leaf))
        self._texts = tuple(dict.fromkeys(texts))
        squeezed = [squeeze(text) for text in self._texts]
        self._joined = "".join(squeezed)
        pieces = {piece for piece in squeezed if len(piece) >= PIECE}
        self._pieces = tuple(sorted(pieces, key=len, reverse=True))
        self._scraps = {piece for piece in squeezed if len(piece) == 1}

    @classmethod
    def together(cls, parts: Iterable[Said]) -> Said:
        """What several calls said between them: a value may be made of pieces from each."""
        made = cls(())
        texts: dict[str, None] = {}
        joined: list[str] = []
        pieces: set[str] = set()
        for part in parts:
            made.everything = made.everything or part.everything
            made._exact |= part._exact
            made._numbers |= part._numbers
            made._scraps |= part._scraps
            texts.update(dict.fromkeys(part._texts))
            joined.append(part._joined)
            pieces.update(part._pieces)
        made._texts = tuple(texts)
        made._joined = "".join(joined)
        made._pieces = tuple(sorted(pieces, key=len, reverse=True))
        return made

    def holds(self, value: Any) -> bool:
        """Whether the value, or any text or number inside it, was said."""
        if self.everything:
            return True
        return any(self._leaf(leaf) for leaf in _leaves(value))

    def _leaf(self, leaf: Any) -> bool:
        if not isinstance(leaf, str):
            number = leaf_number(leaf)
            return number in self._numbers or any(_word(number, text) for text in self._texts)
        if leaf in self._exact:
            return True
        text = fold(leaf)
        if text.strip() and any(_word(text.strip(), said) for said in self._texts):
            return True
        letters = squeeze(text)
        if not letters:
            return False
        if letters in self._numbers:
            return True
        return (len(letters) >= JOINED and letters in self._joined) or self._falls_apart(letters)

    def _falls_apart(self, letters: str) -> bool:
        apart = False
        for piece in self._pieces:
            if piece in letters:
                letters, apart = letters.replace(piece, ""), True
                if not letters:
                    return True
        return apart and len(letters) <= SCRAPS and self._scraps.issuperset(letters)


def _leaves(value: Any) -> Iterator[Any]:
    """Every text and number inside a value, keys of mappings included; yes, no and nothing say nothing."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int | float | Decimal):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _leaves(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _leaves(item)
    else:
        yield str(value)


def leaf_number(value: int | float | Decimal) -> str:
    """A number as exact decimal text: 10 and 10.0 are one."""
    return decimal_text(exact_decimal(value))


def fold(text: str) -> str:
    """Text with width, case and invisible characters taken away (NFKC, case folded, no format characters)."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if unicodedata.category(character) != "Cf")


def squeeze(folded: str) -> str:
    """Letters and digits only."""
    return "".join(character for character in folded if character.isalnum())


_INSIDE_NUMBERS: Final = "-./:,"


def _word(text: str, within: str) -> bool:
    """Whether `text` stands in `within` with no letter or digit on either side.

    Digits have to be a number of their own, and no part of a date, a time or a longer number.
    """
    digits = text.isdigit()
    start = within.find(text)
    while start >= 0:
        end = start + len(text)
        before = start == 0 or not (within[start - 1].isalnum() and text[0].isalnum())
        after = end == len(within) or not (within[end].isalnum() and text[-1].isalnum())
        if before and after and not (digits and _in_number(within, start, end)):
            return True
        start = within.find(text, start + 1)
    return False


def _in_number(within: str, start: int, end: int) -> bool:
    before, after = within[max(0, start - 2) : start], within[end : end + 2]
    return (len(before) == 2 and before[1] in _INSIDE_NUMBERS and before[0].isdigit()) or (
        len(after) == 2 and after[0] in _INSIDE_NUMBERS and after[1].isdigit()
    )
