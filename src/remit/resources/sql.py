"""SQL text as accesses: every table that its statements read, write or define, and what they reach beyond tables.

```python
reader = SqlReader("postgres", schema="public")
reader.accesses("postgres://prod", "UPDATE payments SET state = 'paid' FROM orders WHERE orders.id = payments.order_id")
# read postgres://prod/public.payments, write postgres://prod/public.payments, read postgres://prod/public.orders
```

Four actions: `read` and `write` of rows, `ddl` for definitions, and `admin` for whatever concerns the database as a
whole: grants, settings, maintenance, functions that reach files, other sessions or the network. A file is an access of
its own, `read file:///srv/in.csv`. What cannot be read with certainty is refused, never guessed: see
`sql_lexer` for the text, `sql_grammar` for the constructs, `sql_tree` and `sql_commands` for what they touch, and
`sql_functions` for what may be called.

What text does not show stays with the database: triggers, rules and cascades, what is behind a view, and functions
that somebody defined under the name of a builtin. Give the tool a role that can do no more than its grants.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError

from remit.errors import NotCanonical
from remit.resources.access import Access
from remit.resources.sql_calls import Calls
from remit.resources.sql_commands import Commands
from remit.resources.sql_functions import PURE
from remit.resources.sql_grammar import require_understood
from remit.resources.sql_lexer import RULES, Token, rebuilt, statements, tokens
from remit.resources.sql_names import DEFAULT_SCHEMAS, Case, Dialect, Name, Naming
from remit.resources.sql_reserved import require_no_reserved
from remit.resources.sql_tree import Found, TreeReader
from remit.resources.text import shown
from remit.resources.uris import encode_path

ACTIONS: Final = ("read", "write", "ddl", "admin")
"""What an access of a `sql` argument can be."""
MAX_STATEMENTS: Final = 100
MAX_DEPTH: Final = 100

_MODIFIERS: Final = frozenset({"low_priority", "high_priority", "delayed", "quick", "ignore"})
"""What MySQL lets stand before the table of a change."""


class SqlReader:
    """Reads the SQL of one database. Immutable, and safe to share between threads."""

    def __init__(
        self, dialect: Dialect, *, schema: str | None = None, case: Case | None = None, any_function: bool = False
    ) -> None:
        """`schema` is where names without one are looked for (`public`, `main` and `dbo` when left out); `case` says
        how MySQL and T-SQL servers compare names. Raises NotCanonical for a schema that is no name.
        """
        self.dialect: Dialect = dialect
        self.any_function = any_function
        self._rules = RULES[dialect]
        naming = Naming(dialect, None, case)
        folded = None if schema is None else naming.fold(Name(schema, quoted=True))
        self._naming = Naming(dialect, folded or DEFAULT_SCHEMAS.get(dialect), case)
        self._commands = Commands(self._naming, self._query)

    def accesses(self, base: str, text: str) -> tuple[Access, ...]:
        """What `text` touches, in the order of its statements, tables below the URI `base`.

        Raises NotCanonical for what cannot be read with certainty. A text that names no table reads `base` itself.
        """
        found: Found = {}
        written = statements(tokens(text, self._rules))
        if not written:
            raise NotCanonical("there is no statement in it")
        if len(written) > MAX_STATEMENTS:
            raise NotCanonical(f"it has {len(written)} statements; expected at most {MAX_STATEMENTS}")
        for words in written:
            if words[0].is_word("attach") and len(written) > 1:
                raise NotCanonical("ATTACH changes what names without a schema mean; expected it alone")
            found |= self._statement(words)
        return tuple(Access(action, _uri(base, segment)) for action, segment in found or {("read", ""): None})

    def _statement(self, words: tuple[Token, ...]) -> Found:
        own = self._commands.read(words)
        return self._query(words) if own is None else own

    def _query(self, words: tuple[Token, ...]) -> Found:
        _require_shallow(words)
        words = _rewritten(words, self.dialect)
        tree = _parsed(words, self.dialect)
        try:
            calls = Calls(self._naming, any_function=self.any_function)
            require_understood(tree, words, PURE[self.dialect])
            require_no_reserved(tree, self.dialect)
            calls.require_written(tree, words)
            return TreeReader(self._naming, calls).read(tree)
        except RecursionError:
            raise NotCanonical("the statement is nested too deeply") from None


def _uri(base: str, segment: str) -> str:
    if segment.startswith("file://"):
        return "file://" + encode_path(segment.removeprefix("file://"))
    return f"{base}/{segment}" if segment else base


def _parsed(words: tuple[Token, ...], dialect: Dialect) -> exp.Expr:
    text = rebuilt(words)
    try:
        with _silent():
            trees = sqlglot.parse(text, read=dialect, error_level=ErrorLevel.IMMEDIATE)
    except SqlglotError as error:
        raise NotCanonical(f"{shown(text)} could not be read as {dialect}") from error
    except Exception as error:  # whatever a parser does with hostile text is a refusal
        raise NotCanonical(f"{shown(text)} could not be read as {dialect}: {type(error).__name__}") from error
    if len(trees) != 1 or trees[0] is None or isinstance(trees[0], exp.Command):
        raise NotCanonical(f"the statement {shown(text)} is not one that is understood")
    return trees[0]


def _require_shallow(words: tuple[Token, ...]) -> None:
    depth = deepest = 0
    for word in words:
        depth += word.is_op("(") - word.is_op(")")
        deepest = max(deepest, depth)
        if depth < 0:
            break
    if depth != 0 or deepest > MAX_DEPTH:
        raise NotCanonical(f"its parentheses do not match, or are more than {MAX_DEPTH} deep")


def _rewritten(words: tuple[Token, ...], dialect: Dialect) -> tuple[Token, ...]:
    """The same statement without the words that the parser does not know and that change no table."""
    first = words[0]
    if dialect == "mysql" and first.is_word("insert", "replace", "update", "delete"):
        modifiers = _MODIFIERS if first.is_word("update", "delete") else _MODIFIERS - {"ignore"}
        while len(words) > 1 and words[1].is_word(*modifiers):
            words = (first, *words[2:])
    if first.is_word("replace") and dialect in ("sqlite", "mysql"):
        return (Token("word", "INSERT", "insert", gap=True), *words[1:])
    if dialect == "sqlite" and first.is_word("update") and len(words) > 3 and words[1].is_word("or"):
        return (first, *words[3:])
    if dialect == "sqlite" and first.is_word("create"):
        return _without_options(words)
    top = words[1:5]
    if dialect == "tsql" and first.is_word("delete", "update", "insert") and top and top[0].is_word("top"):
        if len(top) == 4 and top[1].is_op("(") and top[2].kind == "number" and top[3].is_op(")"):
            return (first, *words[5:])
        raise NotCanonical("TOP of a change is not followed by a number in parentheses")
    return words


def _without_options(words: tuple[Token, ...]) -> tuple[Token, ...]:
    """SQLite's options behind the parenthesis of CREATE TABLE."""
    while True:
        if words[-1].is_word("strict"):
            words = words[:-1]
        elif len(words) > 2 and words[-1].is_word("rowid") and words[-2].is_word("without"):
            words = words[:-2]
        else:
            return words
        if words[-1].is_op(","):
            words = words[:-1]


_quiet = threading.local()


def _unheard(record: logging.LogRecord) -> bool:
    """The parser logs texts that it does not know, arguments included; those belong in no log."""
    return not getattr(_quiet, "on", False)


logging.getLogger("sqlglot").addFilter(_unheard)


@contextmanager
def _silent() -> Iterator[None]:
    _quiet.on = True
    try:
        yield
    finally:
        _quiet.on = False
