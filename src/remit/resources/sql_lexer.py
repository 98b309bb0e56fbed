"""SQL text as tokens, by rules so narrow that the gate and every server find the same ones.

Databases differ in what a comment, a quotation mark or a backslash is, and a reader that ends a string or a
comment one character too early protects nothing. So this lexer comes before the parser, knows each dialect's
rules, and refuses whatever a server's mode or another server would split differently: comments that nest or run
in MySQL, escaped quotation marks that depend on a setting, `U&` escapes, client commands, invisible characters.
The parser then gets the text rebuilt from these tokens, without comments.

Sources: PostgreSQL 17 chapter 4.1, SQLite `tokenize.c`, MySQL 8.4 chapter 11, T-SQL "Database identifiers" and
"Constants".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from remit.errors import NotCanonical
from remit.resources.text import require_encodable, require_visible, shown

Kind = Literal["word", "quoted", "string", "number", "op"]

MAX_CHARACTERS: Final = 100_000
MAX_TOKENS: Final = 20_000

_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TSQL_WORD: Final = re.compile(r"(?:@@?|##?)?[A-Za-z_][A-Za-z0-9_]*")
_NUMBER: Final = re.compile(r"0[xX][0-9A-Fa-f]+|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DOLLAR: Final = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)?\$")
_DOLLAR_PARAMETER: Final = re.compile(r"\$[0-9]{1,5}(?![A-Za-z0-9_$])")
_SQLITE_PARAMETER: Final = re.compile(r"\?[0-9]{1,5}(?![A-Za-z0-9_$])|\$[A-Za-z_][A-Za-z0-9_]*(?![A-Za-z0-9_$(:])")
_BAD_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
_OPERATORS: Final = frozenset("+-*/<>=~!@%^&|?,;:.()[]#")


@dataclass(frozen=True, slots=True)
class Token:
    """`text` is how it goes to the parser; `value` what it says: folded for a word, unquoted for the others."""

    kind: Kind
    text: str
    value: str
    gap: bool
    """Whether white space or a comment stands before it."""
    plain: bool = True
    """Of a string: that `value` is exactly what the server reads."""

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.value in words

    def is_op(self, text: str) -> bool:
        return self.kind == "op" and self.text == text

    @property
    def is_name(self) -> bool:
        return self.kind in ("word", "quoted")


@dataclass(frozen=True, slots=True)
class Rules:
    """What differs between dialects in the text itself."""

    dialect: str
    quotes: str
    """The marks that open a quoted identifier, of which the first is used to write one."""
    strings: str = "'"
    prefixes: frozenset[str] = frozenset()
    """Letters that, touching a quotation mark, belong to the string."""
    backslash: bool = False
    """Whether a plain string may take a backslash for an escape, in the server's default or another mode."""
    hash_comments: bool = False
    dollars: bool = False
    sigils: bool = False
    """Whether `@x` and `#x` are words."""


RULES: Final = {
    "postgres": Rules("postgres", '"', prefixes=frozenset("ebxn"), backslash=True, dollars=True),
    "sqlite": Rules("sqlite", '"`[', prefixes=frozenset("x")),
    "mysql": Rules("mysql", "`", strings="'\"", prefixes=frozenset("bxn"), backslash=True, hash_comments=True),
    "tsql": Rules("tsql", '["', prefixes=frozenset("n"), sigils=True),
}


def tokens(text: str, rules: Rules) -> tuple[Token, ...]:
    """The tokens of `text`. Raises NotCanonical for what could be split in another way."""
    if len(text) > MAX_CHARACTERS:
        raise NotCanonical(f"SQL of {len(text)} characters is too long; expected at most {MAX_CHARACTERS}")
    require_encodable(text)
    control = _BAD_CONTROL.search(text)
    if control is not None:
        raise NotCanonical(
            f"SQL with the control character {shown(control[0])} at position {control.start()} is refused; "
            "expected line feeds and tabs only"
        )
    return _Lexer(text, rules).run()


def statements(found: tuple[Token, ...]) -> list[tuple[Token, ...]]:
    """The tokens between semicolons, empty statements left out."""
    result: list[tuple[Token, ...]] = []
    current: list[Token] = []
    for token in found:
        if token.is_op(";"):
            if current:
                result.append(tuple(current))
            current = []
        else:
            current.append(token)
    if current:
        result.append(tuple(current))
    return result


def rebuilt(found: tuple[Token, ...]) -> str:
    """The text that goes to the parser: the same tokens, one space for each gap, no comment."""
    return "".join((" " if token.gap else "") + token.text for token in found).strip()


class _Lexer:
    def __init__(self, text: str, rules: Rules) -> None:
        self.text = text
        self.rules = rules
        self.at = 0
        self.gap = False
        self.found: list[Token] = []

    def run(self) -> tuple[Token, ...]:
        while self.at < len(self.text):
            if not self._skipped():
                self._token()
                self.gap = False
                if len(self.found) > MAX_TOKENS:
                    raise NotCanonical(f"SQL of more than {MAX_TOKENS} tokens is too long")
        return tuple(self.found)

    def _skipped(self) -> bool:
        """White space and comments."""
        character, two = self.text[self.at], self.text[self.at : self.at + 2]
        if character in " \t\n\r":
            self.at += 1
        elif two == "--":
            self._dashes()
        elif character == "#" and self.rules.hash_comments:
            self._to_line_end()
        elif two == "/*":
            self._block()
        else:
            return False
        self.gap = True
        return True

    def _dashes(self) -> None:
        after = self.text[self.at + 2 : self.at + 3]
        if self.rules.dialect == "mysql" and after not in ("", " ", "\t", "\n", "\r"):
            raise NotCanonical("-- without a space after it is a comment to some and two minus signs to MySQL")
        self._to_line_end()

    def _to_line_end(self) -> None:
        end = self.text.find("\n", self.at)
        self.at = len(self.text) if end < 0 else end

    def _block(self) -> None:
        end = self.text.find("*/", self.at + 2)
        if end < 0:
            raise NotCanonical("a comment is opened by /* and never closed")
        inside = self.text[self.at + 2 : end]
        if "/*" in inside:
            raise NotCanonical("a comment within a comment ends in two ways; expected no /* inside /* */")
        if self.rules.dialect == "mysql" and inside[:1] in ("!", "+", "M"):
            raise NotCanonical("MySQL reads /*! and /*+ as instructions, not as comments; expected none")
        self.at = end + 2

    def _token(self) -> None:
        character = self.text[self.at]
        word = (_TSQL_WORD if self.rules.sigils else _WORD).match(self.text, self.at)
        if word is not None:
            self._word(word[0])
        elif character in self.rules.strings:
            self._string(character, self.at, escapes=False)
        elif character in self.rules.quotes:
            self._quoted(character)
        elif self.rules.dialect == "sqlite" and (given := _SQLITE_PARAMETER.match(self.text, self.at)):
            self._add("op", "?", "?", given.end())
        elif character == "$":
            self._dollar()
        elif character.isascii() and (character.isdigit() or self._fraction()):
            self._number()
        elif character in _OPERATORS:
            self._add("op", character, character, self.at + 1)
        else:
            raise NotCanonical(
                f"SQL with {shown(character)} at position {self.at} outside quotation marks is refused; "
                "expected names of other letters in quotation marks, and no client commands"
            )

    def _fraction(self) -> bool:
        """A dot that opens a number: not after a name, where servers disagree."""
        if self.text[self.at] != "." or not self.text[self.at + 1 : self.at + 2].isdigit():
            return False
        if self.found and not self.gap and (self.found[-1].is_name or self.found[-1].is_op(")")):
            raise NotCanonical("a digit follows a name and a dot; expected a name there, or it in quotation marks")
        return True

    def _word(self, word: str) -> None:
        end = self.at + len(word)
        after, lowered = self.text[end : end + 1], word.lower()
        if after and (after == "$" or not after.isascii()):
            raise NotCanonical(
                f"the name {shown(word + after)} has a character that servers fold or split differently; "
                "expected it in quotation marks"
            )
        if self.rules.dialect == "sqlite" and after and after in "(:" and self._is_parameter():
            raise NotCanonical("SQLite reads a parameter on into what follows it; expected a space after its name")
        if after in self.rules.strings and after:
            if self._prefixed(lowered, after, end):
                return
        elif lowered == "u" and self.text[end : end + 2] in ("&'", '&"') and self.rules.dialect != "mysql":
            raise NotCanonical('U&"…" hides its letters in escapes; expected the plain text')
        self._add("word", word, lowered, end)

    def _is_parameter(self) -> bool:
        return bool(self.found) and self.text[self.at - 1] in ":@#" and self.found[-1].kind == "op"

    def _prefixed(self, lowered: str, mark: str, end: int) -> bool:
        if lowered.startswith("_") and self.rules.dialect == "mysql":
            raise NotCanonical(f"the character set introducer {lowered} is refused; expected a plain string")
        if len(lowered) > 1:
            return False
        if lowered not in self.rules.prefixes:
            raise NotCanonical(f"the string prefix {lowered}{mark} is none of {self.rules.dialect}")
        self._string(mark, end, escapes=lowered == "e", plain=lowered == "n")
        return True

    def _string(self, mark: str, start: int, *, escapes: bool, plain: bool = True) -> None:
        at, parts = start + 1, []
        while True:
            end = self.text.find(mark, at)
            if end < 0:
                raise NotCanonical(f"a string is opened by {mark} and never closed")
            if escapes and self._escaped(at, end):
                parts.append(self.text[at : end + 1])
                at = end + 1
                continue
            parts.append(self.text[at:end])
            if self.text[end + 1 : end + 2] != mark:
                break
            parts.append(mark)
            at = end + 2
        value = "".join(parts)
        if self.rules.backslash and not escapes:
            self._require_no_escaped_mark(self.text[start + 1 : end])
        plain = plain and not (self.rules.backslash and "\\" in value)
        written = value.replace("'", "''")
        if escapes:
            written = written.replace("\\", "")
        self._add("string", f"'{written}'", value, end + 1, plain=plain)

    def _escaped(self, start: int, end: int) -> bool:
        """Whether the mark at `end` follows an odd number of backslashes."""
        count = 0
        while end - count - 1 >= start and self.text[end - count - 1] == "\\":
            count += 1
        return count % 2 == 1

    def _require_no_escaped_mark(self, inside: str) -> None:
        if inside.endswith("\\") or "\\'" in inside or '\\"' in inside:
            raise NotCanonical(
                "a backslash before a quotation mark ends the string or not, depending on a setting of the "
                "server; expected the mark doubled"
            )

    def _quoted(self, mark: str) -> None:
        closing = "]" if mark == "[" else mark
        doubled = not (mark == "[" and self.rules.dialect == "sqlite")
        at, parts = self.at + 1, []
        while True:
            end = self.text.find(closing, at)
            if end < 0:
                raise NotCanonical(f"a name is opened by {mark} and never closed")
            parts.append(self.text[at:end])
            if not doubled or self.text[end + 1 : end + 2] != closing:
                break
            parts.append(closing)
            at = end + 2
        name = require_visible("".join(parts))
        if not name or any(bad in name for bad in "\"`[]\\'"):
            raise NotCanonical(f"the quoted name {shown(name)} is empty or has quotation marks or brackets in it")
        own = self.rules.quotes[0]
        self._add("quoted", f"{own}{name}{']' if own == '[' else own}", name, end + 1)

    def _dollar(self) -> None:
        if not self.rules.dollars:
            raise NotCanonical(f"a $ at position {self.at} outside quotation marks is refused")
        opening, parameter = _DOLLAR.match(self.text, self.at), _DOLLAR_PARAMETER.match(self.text, self.at)
        if opening is not None:
            end = self.text.find(opening[0], opening.end())
            if end < 0:
                raise NotCanonical(f"a string is opened by {opening[0]} and never closed")
            value = self.text[opening.end() : end]
            self._add("string", "'" + value.replace("'", "''") + "'", value, end + len(opening[0]))
        elif parameter is not None:
            self._add("number", parameter[0], parameter[0], parameter.end())
        else:
            raise NotCanonical(f"the $ at position {self.at} opens neither a string nor a parameter")

    def _number(self) -> None:
        number = _NUMBER.match(self.text, self.at)
        end = number.end() if number else self.at
        after = self.text[end : end + 1]
        if number is None or after == "_" or after == "$" or after.isalnum():
            raise NotCanonical("a number touches a letter, and servers split that differently; expected a space")
        self._add("number", number[0], number[0], end)

    def _add(self, kind: Kind, text: str, value: str, end: int, *, plain: bool = True) -> None:
        self.found.append(Token(kind, text, value, self.gap or self._touching(kind), plain))
        self.at = end

    def _touching(self, kind: Kind) -> bool:
        """Two tokens that touch in the text and must not melt together in the rebuilt one."""
        return bool(self.found) and kind != "op" and self.found[-1].kind != "op"
