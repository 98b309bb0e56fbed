"""Names of tables as resources: folded as the server folds them, with their schema, as one segment of a URI.

`public.payments` of a database at `postgres://prod` is `postgres://prod/public.payments`. Two spellings of one
table get one URI, and two tables never share one; a name for which that cannot be promised is refused.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from remit.errors import NotCanonical
from remit.resources.text import shown
from remit.resources.uris import encode_segment

Dialect = Literal["postgres", "sqlite", "mysql", "tsql"]
Case = Literal["sensitive", "insensitive"]

DIALECTS: Final[tuple[Dialect, ...]] = ("postgres", "sqlite", "mysql", "tsql")
DEFAULT_SCHEMAS: Final[dict[str, str]] = {"postgres": "public", "sqlite": "main", "tsql": "dbo"}
CASE_DIALECTS: Final = frozenset({"mysql", "tsql"})
"""Dialects in which letter case is a matter of the server's configuration."""

_POSTGRES_NAME_BYTES: Final = 63
_SQLITE_SCHEMA: Final = {"sqlite_schema": "sqlite_master", "sqlite_temp_schema": "sqlite_temp_master"}
_MYSQL_SYSTEM: Final = frozenset({"information_schema", "performance_schema"})
"""Schemas whose names MySQL folds whatever its configuration."""
_SQLITE_TEMPORARY: Final = frozenset({"sqlite_temp_master", "sqlite_temp_schema"})


class Name(NamedTuple):
    """One identifier of a statement, as written."""

    text: str
    quoted: bool


@dataclass(frozen=True, slots=True)
class Naming:
    """How one database's names are read."""

    dialect: Dialect
    schema: str | None
    case: Case | None

    def fold(self, name: Name) -> str:
        """The name as the server stores it. Raises NotCanonical when that depends on what is not known."""
        text = name.text
        if "." in text:
            raise NotCanonical(f"the name {shown(text)} has a dot in it, so it could be read as two")
        if self.dialect == "postgres":
            return self._postgres(name)
        if self.dialect == "sqlite":
            return _ascii_lower(text)
        case = self.case or ("insensitive" if self.dialect == "tsql" else None)
        if case == "sensitive":
            return text
        if case is None:
            if any("A" <= letter <= "Z" for letter in text) or not text.isascii():
                raise NotCanonical(
                    f"whether {shown(text)} and {shown(text.lower())} are one table depends on the server; expected "
                    "case: sensitive or case: insensitive in the catalogue's entry"
                )
            return text
        lowered = _ascii_lower(text)
        if not text.isascii() and unicodedata.normalize("NFKC", lowered).casefold() != lowered:
            raise NotCanonical(f"servers compare the letters of {shown(text)} in more than one way")
        return lowered

    def _postgres(self, name: Name) -> str:
        if len(name.text.encode()) > _POSTGRES_NAME_BYTES:
            raise NotCanonical(f"PostgreSQL would cut the name {shown(name.text)} off at {_POSTGRES_NAME_BYTES} bytes")
        return name.text if name.quoted else _ascii_lower(name.text)

    def tables(self, parts: tuple[Name, ...]) -> tuple[str, ...]:
        """The segments of a table's URI: one, or two where a name without a schema may mean either.

        `parts` are the schema, if written, and the table. Raises NotCanonical.
        """
        if len(parts) > 2:
            raise NotCanonical(
                f"the name {shown('.'.join(part.text for part in parts))} has {len(parts)} parts; expected a table, or "
                "a schema and a table"
            )
        if self.dialect == "mysql" and len(parts) == 2 and parts[0].text.lower() in _MYSQL_SYSTEM:
            parts = tuple(Name(_ascii_lower(part.text), part.quoted) for part in parts)
        folded = [self.fold(part) for part in parts]
        if self.dialect == "sqlite":
            return (self._sqlite(folded),)
        if len(folded) == 2:
            return (_segment(*folded),)
        (table,) = folded
        if table.startswith("#"):
            return (_segment("tempdb", table),)
        if self.schema is None:
            raise NotCanonical(
                f"the table {shown(table)} has no schema; expected one before it, or schema: in the catalogue's entry"
            )
        own = _segment(self.schema, table)
        if self.dialect == "postgres" and table.startswith("pg_"):  # pg_catalog is searched first
            return (_segment("pg_catalog", table), own)
        return (own,)

    def _sqlite(self, folded: list[str]) -> str:
        table = _SQLITE_SCHEMA.get(folded[-1], folded[-1])
        if len(folded) == 2:
            return _segment(folded[0], table)
        return _segment("temp" if table in _SQLITE_TEMPORARY else self.schema or "main", table)


def _segment(schema: str, table: str) -> str:
    return encode_segment(f"{schema}.{table}")


def _ascii_lower(text: str) -> str:
    """Lower case of A to Z alone, which is what servers fold; `str.lower` would fold more."""
    return "".join(chr(ord(letter) + 32) if "A" <= letter <= "Z" else letter for letter in text)
