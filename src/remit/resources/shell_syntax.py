"""Shell text as a tree, by the part of the POSIX grammar that bash, dash and everybody else read alike.

What two shells read differently, or what hides text from a reader, is refused: `$'…'`, `${x:-…}`, arithmetic with
names, `[[ … ]]`, `case`, functions, arrays, line continuations within a word. `shell_agreement` then has a second,
independent parser say whether it sees the same commands and redirections.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal

from remit.errors import NotCanonical
from remit.resources.shell_tree import Group, Pipeline, Redirect, Sequence_, Simple, Word
from remit.resources.shell_words import BREAKS, VARIABLE, Document, Scanner
from remit.resources.text import require_encodable, shown, word_set

MAX_CHARACTERS: Final = 50_000
MAX_DEPTH: Final = 20
MAX_COMMANDS: Final = 500

_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029]")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REDIRECT: Final = re.compile(r"([0-9]?)(&>>|&>|<<<|<<-|<<|<&|>&|>>|>\||>|<)")
_DELIMITER: Final = re.compile(
    r"[ \t]*(?:'([A-Za-z_][A-Za-z0-9_]*)'|\"([A-Za-z_][A-Za-z0-9_]*)\"|([A-Za-z_][A-Za-z0-9_]*))"
)
_RESERVED: Final = word_set(
    "case esac function select coproc [[ ]] (( if then elif else fi while until for do done in { }"
)
_TERMINATORS: Final = word_set("then elif else fi do done }")


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


class Parser(Scanner):
    """One pass over the text; `at` is where it stands."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.commands = 0

    @property
    def unfinished(self) -> bool:
        """Whether a here-document was announced and never came."""
        return self.document is not None

    def _blanks(self, *, lines: bool = False) -> None:
        """Blanks, comments, continued lines; with `lines`, line ends too."""
        while self.at < len(self.text):
            two = self.peek(2)
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
        if self.document is not None:
            self._skip_document(*self.document)
            self.document = None

    def sequence(self) -> Sequence_:
        """Pipelines up to what ends a list: `)`, a reserved word such as `done`, or the end of the text."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NotCanonical(f"it is nested more than {MAX_DEPTH} deep")
        steps: list[tuple[Literal[";", "&&", "||"], Pipeline, bool]] = []
        before: Literal[";", "&&", "||"] = ";"
        while True:
            self._blanks(lines=True)
            if self.at >= len(self.text) or self.peek() == ")" or self._reserved() in _TERMINATORS:
                if before != ";":
                    raise self.refused(f"nothing follows {before}")
                break
            pipeline = self._pipeline()
            self._blanks()
            two, background = self.peek(2), False
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
        while self.peek() == "!" and self.text[self.at + 1 : self.at + 2] in (" ", "\t"):
            negated = not negated
            self.at += 1
            self._blanks()
        commands = [self._command()]
        while True:
            self._blanks()
            if self.peek() != "|" or self.peek(2) == "||":
                return Pipeline(tuple(commands), negated)
            self.at += 2 if self.peek(2) == "|&" else 1
            self._blanks(lines=True)
            commands.append(self._command())

    def _reserved(self) -> str:
        """The reserved word that stands here, or nothing."""
        end = self.at
        while end < len(self.text) and self.text[end] not in BREAKS:
            end += 1
        word = self.text[self.at : end]
        return word if word in _RESERVED else ""

    def _command(self) -> Simple | Group:
        self.commands += 1
        if self.commands > MAX_COMMANDS:
            raise NotCanonical(f"it has more than {MAX_COMMANDS} commands")
        if self.peek(2) == "((":
            raise self.refused("arithmetic commands are not understood")
        if self.peek() == "(":
            self.at += 1
            body = self.sequence()
            self.expect(")")
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
            if self.peek() in (";", "\n"):
                break
            items.append(self.word())
        if self.peek() == ";":
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
            if self.at >= len(self.text) or self.peek() in "\n|&;)":
                break
            if self.peek() == "(":
                raise self.refused("functions, arrays and extended patterns are not understood")
            name = _NAME.match(self.text, self.at)
            if not words and name is not None and self.text[name.end() : name.end() + 1] == "=":
                self.at = name.end() + 1
                assignments.append((name[0], self.word(empty=True)))
            else:
                words.append(self.word())
        if not assignments and not words and not redirects:
            raise self.refused("expected a command")
        return Simple(start, tuple(assignments), tuple(words), tuple(redirects))

    def _redirect(self) -> Redirect | None:
        found = _REDIRECT.match(self.text, self.at)
        if found is None:
            return None
        if found[2].startswith("&>"):
            raise self.refused(
                "&> ends the command to some shells, and is a redirection to others; expected > file 2>&1"
            )
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
        return Redirect(start, operator, self.word())

    def _here_document(self, start: int, operator: str) -> Redirect:
        delimiter = _DELIMITER.match(self.text, self.at)
        if delimiter is None or self.text[delimiter.end() : delimiter.end() + 1] not in (*BREAKS, ""):
            raise self.refused("expected a plain word that ends the here-document")
        if self.document is not None or self.depth > 1:
            raise self.refused("a here-document within a substitution, or a second in one line, is not understood")
        self.at = delimiter.end()
        name = delimiter[1] or delimiter[2] or delimiter[3]
        self.document = Document(name, operator == "<<-")
        return Redirect(start, operator, None, tuple(self._expanded(name)) if delimiter[3] else ())

    def _expanded(self, delimiter: str) -> Iterator[str]:
        """The variables in the here-document that follows; anything else that it would expand is refused."""
        body = self.text[self.text.find("\n", self.at) + 1 :]
        lines = body.split("\n")
        ends = [number for number, line in enumerate(lines) if line.lstrip("\t") == delimiter]
        inside = "\n".join(lines[: ends[0]]) if ends else body
        if "`" in inside or "\\\n" in inside or inside.endswith("\\"):
            raise self.refused(
                "the here-document runs commands or joins lines; expected its end word in quotation marks"
            )
        for found in re.finditer(r"\$.?", inside, re.DOTALL):
            if found[0] in ("$(", "$["):
                raise self.refused("the here-document runs commands; expected its end word in quotation marks")
            variable = VARIABLE.match(inside, found.start())
            if found[0] == "${" and variable is None:
                raise self.refused("the here-document expands more than variables")
            if variable is not None:
                yield variable[1] or variable[2]

    def _skip_document(self, delimiter: str, tabs: bool) -> None:
        while self.at < len(self.text):
            end = self.text.find("\n", self.at)
            line = self.text[self.at :] if end < 0 else self.text[self.at : end]
            self.at = len(self.text) if end < 0 else end + 1
            if line == delimiter or (tabs and line.lstrip("\t") == delimiter):
                return
            if line.strip() == delimiter:
                raise self.refused("a line almost ends the here-document; expected the end word alone in its line")
        raise self.refused(f"the here-document is never ended by {delimiter}")
