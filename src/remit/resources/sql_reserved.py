"""Reserved words that a parser may take for a name, and so swallow the statement that they open.

T-SQL needs no semicolon: `SELECT 1 SHUTDOWN` is two statements to the server and an alias to a lenient parser. No
server takes a reserved word for a name without quotation marks, so such a reading is refused.
"""

from __future__ import annotations

from typing import Final

from sqlglot import exp

from remit.errors import NotCanonical
from remit.resources.text import shown, word_set

_COMMON: Final = word_set("""
all alter and as between by case check create cross delete distinct drop else except exists from grant group having
in inner insert intersect into is join like limit not on or order outer returning revoke select set table then union
update using values when where with
""")
_TSQL: Final = word_set("""
add any asc authorization backup begin break browse bulk cascade checkpoint close clustered coalesce collate
commit compute constraint contains containstable continue convert current cursor database dbcc deallocate declare deny
desc disk distributed double dump end errlvl escape exec execute exit external fetch file fillfactor for foreign
freetext freetexttable full function goto holdlock identity identity_insert identitycol if index key kill
lineno load merge national nocheck nonclustered null nullif of off offsets open opendatasource openquery
openrowset openxml option over percent pivot plan precision primary print proc procedure public raiserror read
readtext reconfigure references replication restore restrict return revert rollback rowcount rowguidcol rule save
schema securityaudit semantickeyphrasetable semanticsimilaritydetailstable semanticsimilaritytable setuser shutdown
some statistics tablesample textsize throw to top tran transaction trigger truncate try_convert tsequal unique unpivot
updatetext use user varying view waitfor while within writetext go left right enable disable send receive
""")
RESERVED: Final = {
    "postgres": _COMMON | word_set("analyse analyze do end fetch for lateral offset only window"),
    "sqlite": _COMMON - {"by"} | frozenset({"commit", "transaction", "index"}),
    "mysql": _COMMON | word_set("call kill load lock outfile procedure rename replace use straight_join"),
    "tsql": _COMMON - {"limit", "returning", "using"} | _TSQL,
}
_NAMING: Final = (exp.Table, exp.TableAlias, exp.Alias)
_NEVER_TABLES: Final = word_set(
    """
abort after analyse analyze any array asc asymmetric authorization before both call cast change character
collate column
concurrently constraint convert cross current_date current_role current_time current_timestamp current_user databases
deferrable delayed desc describe distinctrow div do dual each elseif enclosed end escape escaped exclusive
explain false
fetch for force foreign freeze full fulltext generated glob high_priority if ignore ilike immediate index
indexed initially
insteadof int inout interval isnull iterate keys kill lateral leading left limit linear lines load localtime
localtimestamp
lock long loop low_priority match mod natural notnull null offset on only optimize option optionally outfile
over overlaps
partition placing pragma primary procedure purge quick raise range read recursive references regexp reindex
release rename
repeat replace require resignal restrict right rlike rows schemas semi sensitive separator session_user show
signal similar
some spatial starting straight_join symmetric tablesample temporary terminated to trailing transaction trigger
true undo
unique unlock unlogged unnest unsigned usage use user utc_date utc_time utc_timestamp vacuum variadic verbose virtual
while window write xor zerofill
"""
)
"""Words that could be a modifier before the name of a table, which a parser may then take for its alias."""


def require_no_reserved(tree: exp.Expr, dialect: str) -> None:
    """Raises NotCanonical when a reserved word, unquoted, has become the name of a table or an alias; in T-SQL, any
    name.
    """
    for node in tree.find_all(exp.Identifier):
        if node.args.get("quoted"):
            continue
        word = node.name.lower()
        if word in _NEVER_TABLES and (node.arg_key == "this" and isinstance(node.parent, exp.Table | exp.TableAlias)):
            raise NotCanonical(
                f"{shown(node.name)} stands where a table is expected; in quotation marks it would be one"
            )
        if word not in RESERVED[dialect]:
            continue
        if isinstance(node.parent, _NAMING) or (dialect == "tsql" and word not in ("user", "default")):
            raise NotCanonical(
                f"the reserved word {shown(node.name)} stands where a name is expected; it could open another statement"
            )
