"""Words of a shell text: quotation marks, escapes, variables and substitutions, as POSIX.1-2024 section 2 has them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from remit.errors import NotCanonical
from remit.resources.shell_tree import Sequence_, Word
from remit.resources.text import shown

BREAKS: Final = frozenset(" \t\n|&;()<>")
"""What ends a word."""
VARIABLE: Final = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-])|\{([A-Za-z_][A-Za-z0-9_]*|[0-9]|[@*#?])\})")

_ARITHMETIC: Final = re.compile(r"\$\(\([0-9 +*/%-]*\)\)")


class Document(NamedTuple):
    """A here-document to come: the word that ends it, and whether tabs before that are left out."""

    delimiter: str
    tabs: bool


@dataclass(slots=True)
class _Pending:
    """A word that is being read."""

    start: int
    parts: list[str] = field(default_factory=list)
    literal: bool = True
    bare: bool = True
    pattern: bool = False
    process: bool = False
    single: bool = True
    variables: list[str] = field(default_factory=list)
    bodies: list[Sequence_] = field(default_factory=list)

    def done(self) -> Word:
        text = "".join(self.parts)
        pattern = self.pattern and not (self.bare and text in ("[", "{}"))
        return Word(
            self.start, text, self.literal and not pattern, self.bare, self.process and not self.parts,
            tuple(self.variables), tuple(self.bodies), self.single and not pattern,
        )  # fmt: skip


class Scanner(ABC):
    """Reads words. `sequence`, which reads what stands in a substitution, is the parser's."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.document: Document | None = None
        """A here-document that was announced in this line."""

    @abstractmethod
    def sequence(self) -> Sequence_:
        """The commands of a substitution."""

    def refused(self, why: str) -> NotCanonical:
        return NotCanonical(f"at position {self.at}, {shown(self.text[self.at : self.at + 20])}: {why}")

    def peek(self, size: int = 1) -> str:
        return self.text[self.at : self.at + size]

    def expect(self, text: str) -> None:
        if self.peek(len(text)) != text:
            raise self.refused(f"expected {text}")
        self.at += len(text)

    def word(self, *, empty: bool = False) -> Word:
        word = _Pending(self.at)
        while self.at < len(self.text) and (self.text[self.at] not in BREAKS or self.is_process()):
            self._part(word)
        if self.at == word.start and not empty:
            raise self.refused("expected a word")
        if self.peek() == "(":
            raise self.refused("functions, arrays and extended patterns are not understood")
        if self.document is not None and "\n" in self.text[word.start : self.at]:
            raise self.refused("a word goes over the line in which a here-document begins")
        return word.done()

    def is_process(self) -> bool:
        return self.peek(2) in ("<(", ">(")

    def _part(self, word: _Pending) -> None:
        character = self.text[self.at]
        if character == "'":
            end = self.text.find("'", self.at + 1)
            if end < 0:
                raise self.refused("a quotation mark is opened and never closed")
            word.parts.append(self.text[self.at + 1 : end])
            word.bare, self.at = False, end + 1
        elif character == '"':
            self._double(word)
        elif character == "\\":
            escaped = self.text[self.at + 1 : self.at + 2]
            if escaped in ("", "\n"):
                raise self.refused("a line is continued within a word")
            word.parts.append(escaped)
            word.bare, self.at = False, self.at + 2
        elif character in "$`":
            self._expansion(word)
        elif self.is_process():
            word.literal, word.process = False, self.at == word.start
            self.at += 2
            word.bodies.append(self._body(")"))
        else:
            self._plain(word, character)

    def _plain(self, word: _Pending, character: str) -> None:
        word.pattern = word.pattern or character in "*?[{"
        if character == "~" and (self.at == word.start or self.text[self.at - 1] in ":="):
            word.literal = word.single = False
        word.parts.append(character)
        self.at += 1

    def _double(self, word: _Pending) -> None:
        word.bare = False
        self.at += 1
        while True:
            character = self.peek()
            if not character:
                raise self.refused("a quotation mark is opened and never closed")
            if character == '"':
                self.at += 1
                return
            if character == "\\":
                escaped = self.text[self.at + 1 : self.at + 2]
                if escaped == "\n":
                    raise self.refused("a line is continued within a word")
                word.parts.append(escaped if escaped in '$`"\\' and escaped else "\\" + escaped)
                self.at += 2
            elif character in "$`":
                self._expansion(word, quoted=True)
            else:
                word.parts.append(character)
                self.at += 1

    def _expansion(self, word: _Pending, *, quoted: bool = False) -> None:
        two = self.peek(2)
        expands = two[0] == "`" or VARIABLE.match(self.text, self.at) or two in ("$(", "${")
        word.single = word.single and (quoted or not expands)
        if two[0] == "`":
            self._backticks(word)
            return
        variable = VARIABLE.match(self.text, self.at)
        if two in ("$'", '$"') and not quoted:
            raise self.refused("strings with $ before the quotation mark differ between shells")
        if variable is not None:
            word.literal = False
            word.variables.append(variable[1] or variable[2])
            self.at = variable.end()
        elif self.peek(3) == "$((":
            arithmetic = _ARITHMETIC.match(self.text, self.at)
            if arithmetic is None:
                raise self.refused("arithmetic with anything but numbers is not understood")
            word.literal, self.at = False, arithmetic.end()
        elif two == "$(":
            word.literal = False
            self.at += 2
            word.bodies.append(self._body(")"))
        elif two in ("${", "$["):
            raise self.refused("this expansion is not understood; expected ${name} or $name")
        elif two == "$" or two[1] in BREAKS or two[1] in "\"'/.,:%":
            word.parts.append("$")
            self.at += 1
        else:
            raise self.refused("this $ is not understood")

    def _backticks(self, word: _Pending) -> None:
        end = self.text.find("`", self.at + 1)
        inside = self.text[self.at + 1 : max(end, 0)]
        if end < 0 or "\\" in inside:
            raise self.refused("backticks with a backslash in them, or never closed; expected $(…)")
        word.literal = False
        whole, self.text = self.text, self.text[:end]
        self.at += 1
        body = self.sequence()
        if self.at != end or self.document is not None:
            raise self.refused("the backticks do not end where a command ends")
        self.text, self.at = whole, end + 1
        word.bodies.append(body)

    def _body(self, closing: str) -> Sequence_:
        pending, self.document = self.document, None
        body = self.sequence()
        self.expect(closing)
        self.document = pending
        return body
