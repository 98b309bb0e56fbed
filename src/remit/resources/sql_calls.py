"""The function calls of a statement: allowed, reported or refused (see `sql_functions`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, cast

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect as ParserDialect

from remit.errors import NotCanonical
from remit.resources.paths import canonical_path
from remit.resources.sql_functions import GRAMMAR, file_action, verdict
from remit.resources.sql_lexer import Token
from remit.resources.sql_names import Naming
from remit.resources.text import shown, word_set

_AROUND: Final = (exp.Filter, exp.Window, exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls)
"""What may stand between a function and the schema before it."""
READ_PRAGMAS = word_set("""
application_id auto_vacuum collation_list compile_options data_version database_list encoding foreign_key_check
foreign_key_list foreign_keys freelist_count function_list index_info index_list index_xinfo integrity_check
journal_mode module_list page_count page_size pragma_list quick_check schema_version table_info table_list
table_xinfo user_version
""")
"""PRAGMA words that, without `=`, only report; those in `ASKING` take a name in parentheses."""
ASKING = word_set(
    "foreign_key_check foreign_key_list index_info index_list index_xinfo table_info table_list table_xinfo"
)


class Calls:
    """Judges the calls of one statement. `any_function` is the entry's `functions: any`."""

    def __init__(self, naming: Naming, *, any_function: bool) -> None:
        self.naming = naming
        self.any_function = any_function
        self.plain_strings = True

    def require_written(self, tree: exp.Expr, words: Sequence[Token]) -> None:
        """Judge every `name(` of the text, whatever the parser made of it. Raises NotCanonical."""
        self.plain_strings = all(token.plain for token in words)
        anonymous = {_called(node) for node in tree.find_all(exp.Anonymous)}
        tables = {node.name.lower() for node in tree.find_all(exp.Identifier)} - anonymous
        parser = ParserDialect.get_or_raise(self.naming.dialect).parser_class
        known = parser.FUNCTIONS.keys() | parser.FUNCTION_PARSERS.keys()
        for at, token in enumerate(words[:-1]):
            if not token.is_name or not words[at + 1].is_op("("):
                continue
            name = token.value.lower()
            if at > 1 and words[at - 1].is_op(".") and not words[at - 2].is_word("pg_catalog"):
                if not self.any_function and (name in anonymous or name.upper() in known or name not in tables):
                    raise self._refusal(f"{words[at - 2].value}.{name}")
                continue
            if token.kind == "word" and name in GRAMMAR:
                continue
            if name in anonymous or (name.lstrip("#") in tables and name.upper() not in known):
                continue  # judged in the tree, or a name that columns follow
            self._require(name, quoted=token.kind == "quoted" and token.value != name)

    def _require(self, name: str, *, quoted: bool) -> None:
        found = verdict(self.naming.dialect, name)
        if found == "pure" and not quoted:
            return
        if found in ("unknown", "pure") and self.any_function:
            return
        raise self._refusal(name)

    def _refusal(self, name: str) -> NotCanonical:
        return NotCanonical(
            f"the function {shown(name)} is not a builtin that only computes, so it could do more than read; expected "
            "one that is (or functions: any in the catalogue's entry, for functions of your own)"
        )

    def accesses(self, node: exp.Func) -> Iterator[tuple[str, str]]:
        """What a call reaches, as (action, segment); a file is a segment that starts with `file:`."""
        qualifier = _qualifier(node)
        name = _called(node) if isinstance(node, exp.Anonymous) else type(node).__name__.lower()
        if qualifier not in (None, "pg_catalog"):
            if not self.any_function or verdict(self.naming.dialect, name) not in ("pure", "unknown"):
                raise self._refusal(f"{qualifier}.{name}")
            return
        if not isinstance(node, exp.Anonymous):
            return
        exact = not isinstance(node.this, exp.Identifier) or not node.this.args.get("quoted") or node.name == name
        if self.naming.dialect == "sqlite" and name.startswith("pragma_"):
            yield self.pragma(name.removeprefix("pragma_"))
            return
        found = verdict(self.naming.dialect, name)
        if found in ("admin", "file"):
            yield ("admin", "")
        if found == "file":
            yield (file_action(self.naming.dialect, name), f"file://{self._file(node, name)}")
        if found == "refused" or (found in ("pure", "unknown") and not (found == "pure" and exact)):
            self._require(name, quoted=not exact)

    def pragma(self, name: str) -> tuple[str, str]:
        """A pragma that is read as a table."""
        if name not in READ_PRAGMAS:
            raise NotCanonical(f"the pragma {shown(name)} does more than report")
        return ("read", "")

    def _file(self, node: exp.Anonymous, name: str) -> str:
        first = node.expressions[0] if node.expressions else None
        if not isinstance(first, exp.Literal) or not first.args.get("is_string") or not self.plain_strings:
            raise NotCanonical(f"the file that {name} is given is not a plain string")
        return canonical_path(first.name)


def _called(node: exp.Anonymous) -> str:
    return node.name.lower()


def _qualifier(node: exp.Func) -> str | None:
    """What stands before the function's name: `pg_catalog` of `pg_catalog.lower(x)`, or None."""
    inner = cast(exp.Expr, node)
    parent: exp.Expr | None = node.parent
    while isinstance(parent, _AROUND) and parent.this is inner:
        inner, parent = parent, parent.parent
    if isinstance(parent, exp.Dot) and parent.expression is inner:
        return str(parent.this.sql()).lower()
    if isinstance(parent, exp.Table) and parent.this is inner:
        parts = [parent.args[key] for key in ("catalog", "db") if parent.args.get(key) is not None]
        return ".".join(str(part) for part in parts).lower() or None
    return None
