"""Shell text as a tree, by the part of the POSIX grammar that bash, dash and everybody else read alike.

What two shells read differently, or what hides text from a reader, is refused: `$'…'`, `${x:-…}`, arithmetic with
names, `[[ … ]]`, `case`, functions, arrays, line continuations within a word. Quotation marks, escapes,
substitutions and here-documents are read as POSIX.1-2024, section 2, has them. `shell_agreement` then has a second,
independent parser say whether it sees the same commands and redirections.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from remit.errors import NotCanonical
from remit.resources.text import require_encodable, shown

MAX_CHARACTERS: Final = 50_000
MAX_DEPTH: Final = 20
MAX_COMMANDS: Final = 500

_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029]")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VARIABLE: Final = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-])|\{([A-Za-z_][A-Za-z0-9_]*|[0-9]|[@*#?])\})")
_ARITHMETIC: Final = re.compile(r"\$\(\([0-9 +*/%-]*\)\)")
_REDIRECT: Final = re.compile(r"([0-9]?)(&>>|&>|<<<|<<-|<<|<&|>&|>>|>\||>|<)")
_DELIMITER: Final = re.compile(r"[ \t]*(?:'([A-Za-z_][A-Za-z0-9_]*)'|\"([A-Za-z_][A-Za-z0-9_]*)\"|([A-Za-z_][A-Za-z0-9_]*))")
_BREAKS: Final = frozenset(" \t\n|&;()<>")
_RESERVED: Final = frozenset(
    "case esac function select coproc [[ ]] (( if then elif else fi while until for do done in { }".split()
)
_TERMINATORS: Final = frozenset("then elif else fi do done }".split())


@dataclass(frozen=True, slots=True)
class Word:
    """One word. `text` is what it says when it is `literal`: nothing in it is expanded."""

    start: int
    text: str
    literal: bool
    bare: bool
    """Whether no quotation mark or escape is in it."""
    process: bool = False
    """Whether all of it is one process substitution, `<(…)`."""
    variables: tuple[str, ...] = ()
    bodies: tuple[Sequence_, ...] = ()
    """The commands of the substitutions in it."""
    single: bool = True
    """Whether it stays one word: nothing in it, unquoted, can become a pattern, a list or a home directory."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """`operator` without its number. A here-document has no target; what it expands is in the target's place."""

    start: int
    operator: str
    target: Word | None
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Simple:
    """A simple command: assignments, words, redirections, in any of which commands may hide."""

    start: int
    assignments: tuple[tuple[str, Word], ...]
    words: tuple[Word, ...]
    redirects: tuple[Redirect, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A subshell, a brace group, a branch or a loop; `lists` run in this order, each at most as often as it may."""

    kind: Literal["subshell", "group", "if", "loop"]
    lists: tuple[Sequence_, ...]
    redirects: tuple[Redirect, ...]
    variable: str | None = None
    items: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """`negated` is a `!` before it: success and failure change places."""

    commands: tuple[Simple | Group, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class Sequence_:  # noqa: N801 - a list of the shell; `List` and `Sequence` are taken
    """Pipelines with what precedes each: `;`, `&&` or `||`; and whether it runs in the background."""

    steps: tuple[tuple[Literal[";", "&&", "||"], Pipeline, bool], ...]


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


def parse(text: str) -> Sequence_:
    """The commands of `text`. Raises NotCanonical for what is not of this grammar."""
    if len(text) > MAX_CHARACTERS:
        raise NotCanonical(f"a command of {len(text)} characters is too long; expected at most {MAX_CHARACTERS}")
    require_encodable(text)
    control = _CONTROL.search(text)
    if control is not None:
        raise NotCanonical(f"a command with the control character {shown(control[0])} is refused")
    parser = Parser(text)
    found = parser.sequence()
    if parser.at < len(text) or parser.unfinished:
        raise parser.refused("it does not end where a command ends")
    if not found.steps:
        raise NotCanonical("there is no command in it")
    return found


class Parser:
    """One pass over the text; `at` is where it stands."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.commands = 0
        self._document: tuple[str, bool, bool] | None = None

    @property
    def unfinished(self) -> bool:
        """Whether a here-document was announced and never came."""
        return self._document is not None

    def refused(self, why: str) -> NotCanonical:
        return NotCanonical(f"at position {self.at}, {shown(self.text[self.at : self.at + 20])}: {why}")

    def _peek(self, size: int = 1) -> str:
        return self.text[self.at : self.at + size]

    def _blanks(self, *, lines: bool = False) -> None:
        """Blanks, comments, continued lines; with `lines`, line ends too."""
        while self.at < len(self.text):
            two = self._peek(2)
            if two == "\\\n":
                self.at += 2
            elif two[0] in " \t":
                self.at += 1
            elif two[0] == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif two[0] == "\n" and lines:
                self._line_end()
            else:
                return

    def _line_end(self) -> None:
        self.at += 1
        if self._document is not None:
            self._skip_document(*self._document)
            self._document = None

    def sequence(self) -> Sequence_:
        """Pipelines up to what ends a list: `)`, a reserved word such as `done`, or the end of the text."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NotCanonical(f"it is nested more than {MAX_DEPTH} deep")
        steps: list[tuple[Literal[";", "&&", "||"], Pipeline, bool]] = []
        before: Literal[";", "&&", "||"] = ";"
        while True:
            self._blanks(lines=True)
            if self.at >= len(self.text) or self._peek() == ")" or self._reserved() in _TERMINATORS:
                if before != ";":
                    raise self.refused(f"nothing follows {before}")
                break
            pipeline = self._pipeline()
            self._blanks()
            two, background = self._peek(2), False
            following: Literal[";", "&&", "||"] = ";"
            if two in ("&&", "||"):
                following = "&&" if two == "&&" else "||"
                self.at += 2
            elif two[:1] == "&":
                background = True
                self.at += 1
            elif two[:1] == ";":
                if two == ";;":
                    raise self.refused("case is not understood")
                self.at += 1
            elif two[:1] not in ("\n", ")", ""):
                raise self.refused("expected the end of a command")
            steps.append((before, pipeline, background))
            before = following
        self.depth -= 1
        return Sequence_(tuple(steps))

    def _pipeline(self) -> Pipeline:
        negated = False
        while self._peek() == "!" and self.text[self.at + 1 : self.at + 2] in (" ", "\t"):
            negated = not negated
            self.at += 1
            self._blanks()
        commands = [self._command()]
        while True:
            self._blanks()
            if self._peek() != "|" or self._peek(2) == "||":
                return Pipeline(tuple(commands), negated)
            self.at += 2 if self._peek(2) == "|&" else 1
            self._blanks(lines=True)
            commands.append(self._command())

    def _reserved(self) -> str:
        """The reserved word that stands here, or nothing."""
        end = self.at
        while end < len(self.text) and self.text[end] not in _BREAKS:
            end += 1
        word = self.text[self.at : end]
        return word if word in _RESERVED else ""

    def _command(self) -> Simple | Group:
        self.commands += 1
        if self.commands > MAX_COMMANDS:
            raise NotCanonical(f"it has more than {MAX_COMMANDS} commands")
        if self._peek(2) == "((":
            raise self.refused("arithmetic commands are not understood")
        if self._peek() == "(":
            self.at += 1
            body = self.sequence()
            self._expect(")")
            return Group("subshell", (body,), self._redirects())
        word = self._reserved()
        if word == "{":
            self.at += 1
            body = self.sequence()
            self._keyword("}")
            return Group("group", (body,), self._redirects())
        if word == "if":
            return self._if()
        if word in ("while", "until"):
            self.at += len(word)
            test = self.sequence()
            return self._loop([test])
        if word == "for":
            return self._for()
        if word:
            raise self.refused(f"{word} is not understood here")
        return self._simple()

    def _expect(self, text: str) -> None:
        if self._peek(len(text)) != text:
            raise self.refused(f"expected {text}")
        self.at += len(text)

    def _keyword(self, word: str) -> None:
        self._blanks(lines=True)
        if self._reserved() != word:
            raise self.refused(f"expected {word}")
        self.at += len(word)

    def _if(self) -> Group:
        lists: list[Sequence_] = []
        self.at += 2
        while True:
            lists.append(self.sequence())
            self._keyword("then")
            lists.append(self.sequence())
            word = self._reserved()
            if word == "elif":
                self.at += 4
                continue
            if word == "else":
                self.at += 4
                lists.append(self.sequence())
            self._keyword("fi")
            return Group("if", tuple(lists), self._redirects())

    def _loop(self, lists: list[Sequence_], variable: str | None = None, items: tuple[Word, ...] = ()) -> Group:
        self._keyword("do")
        lists.append(self.sequence())
        self._keyword("done")
        return Group("loop", tuple(lists), self._redirects(), variable, items)

    def _for(self) -> Group:
        self.at += 3
        self._blanks()
        name = _NAME.match(self.text, self.at)
        if name is None:
            raise self.refused("expected the name of a variable after for")
        self.at = name.end()
        self._blanks()
        self._keyword("in")
        items: list[Word] = []
        while True:
            self._blanks()
            if self._peek() in (";", "\n"):
                break
            items.append(self._word())
        if self._peek() == ";":
            self.at += 1
        return self._loop([], name[0], tuple(items))

    def _redirects(self) -> tuple[Redirect, ...]:
        found: list[Redirect] = []
        while True:
            self._blanks()
            redirect = self._redirect()
            if redirect is None:
                return tuple(found)
            found.append(redirect)

    def _simple(self) -> Simple:
        assignments: list[tuple[str, Word]] = []
        words: list[Word] = []
        redirects: list[Redirect] = []
        start = self.at
        while True:
            self._blanks()
            redirect = self._redirect()
            if redirect is not None:
                redirects.append(redirect)
                continue
            if self.at >= len(self.text) or self._peek() in "\n|&;)":
                break
            if self._peek() == "(":
                raise self.refused("functions, arrays and extended patterns are not understood")
            name = _NAME.match(self.text, self.at)
            if not words and name is not None and self.text[name.end() : name.end() + 1] == "=":
                self.at = name.end() + 1
                assignments.append((name[0], self._word(empty=True)))
            else:
                words.append(self._word())
        if not assignments and not words and not redirects:
            raise self.refused("expected a command")
        return Simple(start, tuple(assignments), tuple(words), tuple(redirects))

    def _redirect(self) -> Redirect | None:
        found = _REDIRECT.match(self.text, self.at)
        if found is None or (found[2] == "&>" and found[1]):
            return None
        operator, after = found[2], self.text[found.end() : found.end() + 1]
        if operator in ("<", ">") and after == "(" and not found[1]:
            return None  # a process substitution, which is a word
        if operator in ("<", ">") and after in ("<", ">", "("):
            raise self.refused("this redirection is not understood")
        start = self.at + len(found[1])
        self.at = found.end()
        if operator in ("<<", "<<-"):
            return self._here_document(start, operator)
        self._blanks()
        return Redirect(start, operator, self._word())

    def _here_document(self, start: int, operator: str) -> Redirect:
        delimiter = _DELIMITER.match(self.text, self.at)
        if delimiter is None or self.text[delimiter.end() : delimiter.end() + 1] not in (*_BREAKS, ""):
            raise self.refused("expected a plain word that ends the here-document")
        if self._document is not None or self.depth > 1:
            raise self.refused("a here-document within a substitution, or a second in one line, is not understood")
        self.at = delimiter.end()
        name = delimiter[1] or delimiter[2] or delimiter[3]
        self._document = (name, delimiter[3] is not None, operator == "<<-")
        return Redirect(start, operator, None, tuple(self._expanded(name)) if delimiter[3] else ())

    def _expanded(self, delimiter: str) -> Iterator[str]:
        """The variables in the here-document that follows; anything else that it would expand is refused."""
        body = self.text[self.text.find("\n", self.at) + 1 :]
        lines = body.split("\n")
        ends = [number for number, line in enumerate(lines) if line.lstrip("\t") == delimiter]
        inside = "\n".join(lines[: ends[0]]) if ends else body
        if "`" in inside or "\\\n" in inside or inside.endswith("\\"):
            raise self.refused("the here-document runs commands or joins lines; expected its end word in quotation marks")
        for found in re.finditer(r"\$.?", inside, re.DOTALL):
            if found[0] in ("$(", "$["):
                raise self.refused("the here-document runs commands; expected its end word in quotation marks")
            variable = _VARIABLE.match(inside, found.start())
            if found[0] == "${" and variable is None:
                raise self.refused("the here-document expands more than variables")
            if variable is not None:
                yield variable[1] or variable[2]

    def _skip_document(self, delimiter: str, expands: bool, tabs: bool) -> None:
        while self.at < len(self.text):
            end = self.text.find("\n", self.at)
            line = self.text[self.at :] if end < 0 else self.text[self.at : end]
            self.at = len(self.text) if end < 0 else end + 1
            if line == delimiter or (tabs and line.lstrip("\t") == delimiter):
                return
            if line.strip() == delimiter:
                raise self.refused("a line almost ends the here-document; expected the end word alone in its line")
        raise self.refused(f"the here-document is never ended by {delimiter}")

    def _word(self, *, empty: bool = False) -> Word:
        word = _Pending(self.at)
        while self.at < len(self.text) and (self.text[self.at] not in _BREAKS or self._is_process()):
            self._part(word)
        if self.at == word.start and not empty:
            raise self.refused("expected a word")
        if self._peek() == "(":
            raise self.refused("functions, arrays and extended patterns are not understood")
        if self._document is not None and "\n" in self.text[word.start : self.at]:
            raise self.refused("a word goes over the line in which a here-document begins")
        return word.done()

    def _is_process(self) -> bool:
        return self._peek(2) in ("<(", ">(")

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
        elif self._is_process():
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
            character = self._peek()
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
        two = self._peek(2)
        expands = two[0] == "`" or _VARIABLE.match(self.text, self.at) or two in ("$(", "${")
        word.single = word.single and (quoted or not expands)
        if two[0] == "`":
            self._backticks(word)
            return
        variable = _VARIABLE.match(self.text, self.at)
        if two in ("$'", '$"') and not quoted:
            raise self.refused("strings with $ before the quotation mark differ between shells")
        if variable is not None:
            word.literal = False
            word.variables.append(variable[1] or variable[2])
            self.at = variable.end()
        elif self._peek(3) == "$((":
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
        elif two == "$" or two[1] in _BREAKS or two[1] in "\"'/.,:%":
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
        if self.at != end or self._document is not None:
            raise self.refused("the backticks do not end where a command ends")
        self.text, self.at = whole, end + 1
        word.bodies.append(body)

    def _body(self, closing: str) -> Sequence_:
        pending, self._document = self._document, None
        body = self.sequence()
        self._expect(closing)
        self._document = pending
        return body
