"""Statements that are no queries, read from their tokens: COPY, ATTACH, PRAGMA, GRANT, SHOW, EXPLAIN and the like.

Each has a small grammar here, and a statement that leaves it is refused. T-SQL needs no semicolon between
statements, so there only the handful that can be matched whole is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from remit.errors import NotCanonical
from remit.resources.paths import canonical_path
from remit.resources.sql_calls import ASKING, READ_PRAGMAS
from remit.resources.sql_lexer import Token, rebuilt
from remit.resources.sql_names import Name, Naming
from remit.resources.sql_tree import Found
from remit.resources.text import shown, word_set

Words = Sequence[Token]
Query = Callable[[tuple[Token, ...]], Found]
"""Reads a query or change, for the statements that hold one."""

_TRANSACTIONS: Final = frozenset({"begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release"})
_TRANSACTION_WORDS: Final = word_set("""
begin start commit end rollback abort savepoint release transaction work tran to and chain no read only write
isolation level serializable repeatable committed uncommitted deferred immediate exclusive deferrable not with
consistent snapshot
""")
_ADMIN: Final = {
    "postgres": word_set("grant revoke vacuum analyze analyse reindex cluster lock checkpoint refresh"),
    "sqlite": word_set("detach analyze reindex"),
    "mysql": word_set("grant revoke analyze optimize check repair flush lock unlock"),
    "tsql": frozenset[str](),
}
"""Statements that cannot hold a query or a file, and that change the database as a whole."""
_SETTINGS: Final = {
    "postgres": frozenset({"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"}),
    "mysql": frozenset({"max_execution_time", "innodb_lock_wait_timeout"}),
}
"""What may be SET: no text of a later call is read differently after it."""
_SHOWN: Final = word_set(
    "tables databases schemas columns fields index indexes keys variables status full create table session global"
)


@dataclass(frozen=True, slots=True)
class Commands:
    """Reads the statements of one dialect that are no queries."""

    naming: Naming
    query: Query

    def read(self, words: tuple[Token, ...]) -> Found | None:
        """The accesses of a statement, or None when it is a query for the parser. Raises NotCanonical."""
        first = words[0].value if words[0].kind == "word" else ""
        if self.naming.dialect == "tsql":
            return self._tsql(words)
        if first in _TRANSACTIONS:
            return self._transaction(words)
        if first in _ADMIN[self.naming.dialect]:
            runs = first == "analyze" and self.naming.dialect == "mysql"  # MariaDB's ANALYZE runs a statement
            if runs and not any(word.is_word("table") for word in words[1:3]):
                raise _unread(words)
            return _found(("admin", ""))
        own = {
            "explain": self._explain, "set": self._set, "copy": self._copy, "show": self._show, "attach": self._attach,
            "pragma": self._pragma, "vacuum": self._vacuum, "describe": self._describe, "desc": self._describe,
            "rename": self._rename,
        }.get(first)  # fmt: skip
        return None if own is None else own(words)

    def _transaction(self, words: Words) -> Found:
        names = words[0].value in ("savepoint", "release") or any(word.is_word("to") for word in words)
        for at, word in enumerate(words):
            named = names and at == len(words) - 1 and word.is_name
            if not named and not word.is_op(",") and not word.is_word(*_TRANSACTION_WORDS):
                raise _unread(words)
        return {}

    def _tsql(self, words: Words) -> Found | None:
        if words[0].is_word("begin", "commit", "rollback"):
            if all(word.is_word("tran", "transaction", "work") for word in words[1:]) and len(words) <= 2:
                return {}
            raise _unread(words)
        if not words[0].is_word("set"):
            return None
        if len(words) == 3 and words[1].is_word("nocount", "xact_abort") and words[2].is_word("on", "off"):
            return {}
        raise _unread(words)

    def _explain(self, words: tuple[Token, ...]) -> Found:
        """EXPLAIN may run its statement (ANALYZE), so its accesses are those of the statement."""
        rest = words[1:]
        if rest and rest[0].is_op("(") and self.naming.dialect == "postgres":
            close = next((at for at, word in enumerate(rest) if word.is_op(")")), None)
            if close is None or not all(word.kind in ("word", "number") or word.is_op(",") for word in rest[1:close]):
                raise _unread(words)
            rest = rest[close + 1 :]
        while rest and rest[0].is_word("analyze", "verbose", "query", "plan", "extended"):
            rest = rest[1:]
        if self.naming.dialect == "mysql" and rest and rest[0].is_word("format"):
            rest = rest[3:]
        if not rest:
            raise _unread(words)
        if self.naming.dialect == "mysql" and not rest[0].is_word(
            "select", "with", "insert", "update", "delete", "replace"
        ):
            return self._describe((words[0], *rest))
        return self.query(rest)

    def _set(self, words: Words) -> Found:
        rest = words[1:]
        if rest and rest[0].is_word("session", "local"):
            rest = rest[1:]
        if rest and rest[0].is_word("transaction"):
            return self._transaction((rest[0], *rest[1:]))
        allowed = _SETTINGS.get(self.naming.dialect, frozenset())
        value = rest[2:]
        if (
            len(value) == 1
            and rest[0].kind == "word"
            and rest[0].value in allowed
            and (rest[1].is_op("=") or rest[1].is_word("to"))
            and value[0].kind in ("number", "string")
        ):
            return _found(("admin", ""))
        raise NotCanonical(
            "SET can change what later names and texts mean; expected none but of "
            + (", ".join(sorted(allowed)) or "nothing here")
        )

    def _copy(self, words: tuple[Token, ...]) -> Found:
        """`COPY table [(columns)] | (query)  TO | FROM  STDIN | STDOUT | 'file' | PROGRAM 'command' [options]`."""
        if self.naming.dialect != "postgres":
            raise _unread(words)
        rest = words[1:]
        if rest and rest[0].is_op("("):
            close = _closing(rest)
            found, writes = self.query(rest[1:close]), False
            rest = rest[close + 1 :]
            if not rest or not rest[0].is_word("to"):
                raise _unread(words)
        else:
            names, rest = _dotted(rest)
            if rest and rest[0].is_op("("):
                rest = rest[_closing(rest) + 1 :]
            if not rest or not rest[0].is_word("to", "from"):
                raise _unread(words)
            writes = rest[0].value == "from"
            found = self._tables("write" if writes else "read", names)
        if any(word.is_word("where") for word in rest) or len(rest) < 2:
            raise _unread(words)
        return found | self._copy_place(rest[1:], writes)

    def _copy_place(self, rest: Words, writes: bool) -> Found:
        place, options = rest[0], rest[1:]
        if place.is_word("program") and options and options[0].kind == "string":
            _require_options(options[1:])
            return _found(("admin", ""))
        _require_options(options)
        if place.is_word("stdin", "stdout"):
            return {}
        return _found(("admin", ""), ("read" if writes else "write", _file(place)))

    def _show(self, words: Words) -> Found:
        """Settings in PostgreSQL; lists of names, and what defines one table, in MySQL."""
        rest = words[1:]
        if self.naming.dialect == "postgres" and 1 <= len(rest) <= 2 and all(word.kind == "word" for word in rest):
            return _found(("read", ""))
        if self.naming.dialect != "mysql" or not rest:
            raise _unread(words)
        at = 0
        while at < len(rest) and rest[at].is_word(*_SHOWN):
            at += 1
        created = at == 2 and rest[0].is_word("create") and rest[1].is_word("table")
        if at == len(rest) and not created:
            return _found(("read", ""))
        if created or (
            rest[at].is_word("from") and rest[at - 1].is_word("columns", "fields", "index", "indexes", "keys")
        ):
            names, left = _dotted(rest[at if created else at + 1 :])
            if not left:
                return self._tables("read", names)
        raise _unread(words)

    def _describe(self, words: Words) -> Found:
        if self.naming.dialect != "mysql":
            raise _unread(words)
        names, rest = _dotted(words[2:] if len(words) > 1 and words[1].is_word("table") else words[1:])
        if len(rest) > 1 or (rest and rest[0].kind not in ("word", "quoted", "string")):
            raise _unread(words)
        return self._tables("read", names)

    def _rename(self, words: Words) -> Found:
        if self.naming.dialect != "mysql" or len(words) < 2 or not words[1].is_word("table"):
            raise _unread(words)
        found: Found = {}
        rest, separators = words[2:], ("to", ",")
        for number in range(len(words)):
            names, rest = _dotted(rest)
            found |= self._tables("ddl", names)
            if not rest and number % 2:
                return found
            if not rest or rest[0].text.lower() != separators[number % 2]:
                break
            rest = rest[1:]
        raise _unread(words)

    def _attach(self, words: Words) -> Found:
        rest = words[2:] if len(words) > 1 and words[1].is_word("database") else words[1:]
        if self.naming.dialect != "sqlite" or len(rest) != 3 or not rest[1].is_word("as") or not rest[2].is_name:
            raise _unread(words)
        if rest[0].kind == "string" and rest[0].value in ("", ":memory:"):
            return _found(("admin", ""))
        file = _file(rest[0])
        return _found(("admin", ""), ("read", file), ("write", file))

    def _pragma(self, words: Words) -> Found:
        """One that only reports is a read, of a table where it asks about one; any other is `admin`."""
        if self.naming.dialect != "sqlite":
            raise _unread(words)
        names, rest = _dotted(words[1:])
        word = names[-1].text.lower()
        if len(names) > 2 or not all(each.kind != "op" or each.text in "()=-+" for each in rest):
            raise _unread(words)
        if word not in READ_PRAGMAS or (rest and word not in ASKING):
            return _found(("admin", ""))
        if not rest:
            return _found(("read", ""))
        if (
            len(rest) == 3
            and rest[0].is_op("(")
            and rest[2].is_op(")")
            and rest[1].kind in ("word", "quoted", "string")
        ):
            if word.startswith("index_"):
                return _found(("read", ""))
            return self._tables("read", (*names[:-1], Name(rest[1].value, True)))
        raise _unread(words)

    def _vacuum(self, words: Words) -> Found:
        rest = words[2:] if len(words) > 1 and words[1].is_name and not words[1].is_word("into") else words[1:]
        if self.naming.dialect == "sqlite" and len(rest) == 2 and rest[0].is_word("into"):
            return _found(("admin", ""), ("write", _file(rest[1])))
        if rest or self.naming.dialect != "sqlite":
            raise _unread(words)
        return _found(("admin", ""))

    def _tables(self, action: str, names: tuple[Name, ...]) -> Found:
        return _found(*((action, segment) for segment in self.naming.tables(names)))


def _found(*accesses: tuple[str, str]) -> Found:
    return dict.fromkeys(accesses)


def _dotted(words: Words) -> tuple[tuple[Name, ...], tuple[Token, ...]]:
    """A name of one or several parts, and what follows it. Raises NotCanonical."""
    names: list[Name] = []
    at = 0
    while at < len(words) and (words[at].is_name or (words[at].kind == "string" and not names)):
        names.append(Name(words[at].value if words[at].kind != "word" else words[at].text, words[at].kind != "word"))
        at += 1
        if at < len(words) and words[at].is_op("."):
            at += 1
            continue
        return tuple(names), tuple(words[at:])
    raise NotCanonical("a name is missing where a statement needs one")


def _closing(words: Words) -> int:
    """Where the parenthesis that opens `words` is closed."""
    depth = 0
    for at, word in enumerate(words):
        depth += word.is_op("(") - word.is_op(")")
        if depth == 0:
            return at
    raise NotCanonical("a parenthesis is opened and never closed")


def _file(word: Token) -> str:
    if word.kind != "string" or not word.plain:
        raise NotCanonical(
            f"the file {shown(word.text)} is not a plain string; expected an absolute path in quotation marks"
        )
    return f"file://{canonical_path(word.value)}"


def _require_options(words: Words) -> None:
    if not all(word.kind in ("word", "string", "number", "quoted") or word.text in "(),*" for word in words):
        raise NotCanonical("the options of COPY hold more than words and values")


def _unread(words: Words) -> NotCanonical:
    return NotCanonical(f"the statement {shown(rebuilt(tuple(words)))} is not one that is understood")
