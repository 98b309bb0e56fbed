"""What a parsed statement may consist of. A construct that is not listed here is refused, whatever it does.

The parser knows some thirty dialects, and more of SQL than anybody has judged; so its tree is read by a list of
the constructs that are understood, names included: an identifier that stands where nobody looks for one could
be a table that nobody reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from sqlglot import exp

from remit.errors import NotCanonical
from remit.resources.sql_lexer import Token
from remit.resources.text import shown, word_set

_KINDS: Final = word_set("""
Select Union Except Intersect Subquery Values Insert Update Delete Merge Create Drop Alter TruncateTable Comment
With CTE RecursiveWithSearch From Join Lateral Table TableAlias TableSample Where Group Cube Rollup GroupingSets
Having Window WindowSpec Order Ordered Limit LimitOptions Offset Fetch Distinct Lock Into Returning OnConflict
Whens When Tuple Column Identifier Literal Star Null Boolean Alias Aliases Var Between In Any All Interval
IntervalSpan AtTimeZone Bracket Slice Filter WithinGroup IgnoreNulls RespectNulls Placeholder Parameter
SessionParameter DataType DataTypeParam ObjectIdentifier PseudoType JSONPath JSONPathKey JSONPathRoot
JSONPathSubscript JSONPathWildcard JSONKeyValue JSONColumnDef JSONSchema JSONValue FormatJson OpenJSONColumnDef
OnCondition Schema ColumnDef ColumnConstraint Constraint PrimaryKey ForeignKey Reference Check Index
IndexParameters IndexTableHint WithTableHint IndexConstraintOption ColumnPosition AddConstraint AlterColumn
AlterRename RenameColumn ModifyColumn Properties TemporaryProperty LikeProperty Property InheritsProperty
PartitionedOfProperty PartitionBoundSpec EngineProperty CharacterSetProperty CollateProperty AutoIncrementProperty
SchemaCommentProperty MaterializedProperty OnProperty Partition CharacterSet Introducer National HexString
BitString Pivot
PivotAlias BinaryColumnConstraint ZeroFillColumnConstraint Opclass Variadic TranslateCharacters TableFromRows
ColumnPrefix ForClause QueryOption XMLKeyValueOption
""")
_CONSTRAINTS: Final = word_set("""
AutoIncrement CharacterSet Check Clustered Collate Comment Computed Default GeneratedAsIdentity Index NonClustered
NotNull OnUpdate PrimaryKey Unique
""")
_NEVER: Final = frozenset({"Operator", "NestedJSONSelect", "Kwarg", "NextValueFor", "ConnectByRoot", "Predict"})
"""Constructs among functions and operators that name or change what is no table: sequences, operators of one's own."""
_LOCAL_ENGINES: Final = frozenset({"innodb", "myisam", "memory", "aria"})

_PLACES: Final = frozenset(
    {
        ("Table", "this"), ("Table", "db"), ("Table", "catalog"),
        ("Column", "this"), ("Column", "table"), ("Column", "db"), ("Column", "catalog"),
        ("Alias", "alias"), ("Aliases", "aliases"), ("TableAlias", "this"), ("TableAlias", "columns"),
        ("Dot", "this"), ("Dot", "expression"), ("Anonymous", "this"), ("Schema", "expressions"),
        ("ColumnDef", "this"), ("Join", "using"), ("Window", "this"), ("Window", "alias"), ("Window", "over"),
        ("Constraint", "this"), ("Index", "this"), ("IndexParameters", "include"), ("IndexTableHint", "expressions"),
        ("PrimaryKey", "expressions"), ("PrimaryKey", "this"), ("ForeignKey", "expressions"),
        ("UniqueColumnConstraint", "this"), ("IndexColumnConstraint", "this"),
        ("IndexColumnConstraint", "expressions"), ("OnConflict", "conflict_keys"), ("OnConflict", "constraint"),
        ("RecursiveWithSearch", "this"), ("RecursiveWithSearch", "expression"), ("RecursiveWithSearch", "using"),
        ("SessionParameter", "this"), ("JSONColumnDef", "this"), ("OpenJSONColumnDef", "this"),
        ("Ordered", "this"), ("ColumnPosition", "this"), ("DefaultColumnConstraint", "this"),
        ("CharacterSetProperty", "this"), ("CollateColumnConstraint", "this"), ("Collate", "expression"),
        ("PivotAlias", "alias"), ("Lateral", "view"), ("Tuple", "expressions"), ("Opclass", "expression"),
        ("Property", "this"), ("AlterColumn", "this"), ("Partition", "expressions"), ("Bracket", "expressions"),
        ("DataType", "kind"), ("In", "expressions"), ("ColumnPrefix", "this"),
    }
)  # fmt: skip
"""Where an identifier may stand without naming a table: columns, aliases, constraints, settings. What names a
table is a `Table`."""


def require_understood(tree: exp.Expr, words: Iterable[Token], functions: frozenset[str]) -> None:
    """Raises NotCanonical for a construct, or a place of a name, that is not on the lists, and for any name of the
    text that the tree has lost; `functions` are names that the tree holds as structure.
    """
    names: set[str] = set()
    for node in tree.walk():
        kind = type(node).__name__
        if not _is_known(node, kind):
            raise NotCanonical(f"the construct {kind} is not one that is understood")
        if isinstance(node, exp.Identifier):
            place = (type(node.parent).__name__, node.arg_key or "")
            if place not in _PLACES and not (place[1] == "expressions" and isinstance(node.parent, exp.Func)):
                raise NotCanonical(f"the name {shown(node.name)} stands where no name is expected")
        if kind == "Property" and not isinstance(node.parent, exp.LikeProperty):
            raise NotCanonical("a table option is not one that is understood")
        if kind == "EngineProperty" and node.name.lower() not in _LOCAL_ENGINES:
            raise NotCanonical(f"tables of the engine {shown(node.name)} may lie elsewhere")
        names.update(_texts(node, kind))
    for word in words:
        name = word.value.lower().lstrip("@#")
        syntax = word.kind == "word" and (name in SYNTAX or name in functions)
        if word.is_name and name not in names and not syntax:
            raise NotCanonical(f"the name {shown(word.value)} was not read")


def _is_known(node: exp.Expr, kind: str) -> bool:
    if kind in _NEVER:
        return False
    if isinstance(node, exp.ColumnConstraintKind):
        return kind.removesuffix("ColumnConstraint") in _CONSTRAINTS
    return kind in _KINDS or isinstance(node, exp.Func | exp.Binary | exp.Unary)


def _texts(node: exp.Expr, kind: str) -> Iterator[str]:
    """Every word that a node holds in itself, in lower case; what stands in strings does not count."""
    if kind == "Literal":
        if not node.args.get("is_string"):
            yield node.name.lower()
        return
    if isinstance(node, exp.Func):
        yield from (name.lower() for name in type(node).sql_names())
    for value in node.args.values():
        for each in value if isinstance(value, list) else (value,):
            if isinstance(each, str):
                text = each.lower()
                yield text.lstrip("@#")
                yield from text.split()


SYNTAX: Final = word_set("""
abort absent action add after against all always alter and any apply array array_agg as asc asymmetric at
auto_increment
autoincrement begin between binary bit both breadth btree by call cascade case cast char character charset check
checksum clob collate column columns comment commit concurrently conflict constraint convert count create cross
cube current current_catalog current_date current_role current_time current_timestamp current_user cycle data
database date day dec decimal default deferrable deferred delete depth desc distinct div do double drop
duplicate each else
end enforced engine error escape except exclude excluded exists extract fail false fetch filter first float
following for force foreign from full fulltext function generated getdate gin gist glob global group grouping
groups hash having hour identity if ignore ilike immediate in include including increment indexed index inherits
initially inner insert int integer intersect interval into is isnull isolation join json json_table key keys lag
last lateral lc_collate leading left level like limit local localtime localtimestamp lock locked low_priority match
matched materialized max maxvalue merge min minute minvalue mod mode modify month names national natural next no
nocheck nocase none normalize not nothing notnull nowait null nulls of off offset on only option or order
ordinality others out outer output over overlaps overlay overriding partial partition percent placing plan position
preceding precision primary procedure quarter quick range read real recursive references regexp rename repeatable
replace reset respect restart restrict returning returns right rlike rollback rollup row rowid rows savepoint
schema scroll search second select separator sequence serial session session_user set sets share show
signed similar simple skip some source spatial stored straight_join strict substr substring sum symmetric system
table tables tablesample target temp temporary text then ties time timestamp to top trailing transaction trim true
truncate try_cast type unbounded uncommitted union unique unknown unlogged unsigned update upper user
using value values varbinary varchar variadic varying view virtual when where window with within without work xor
year zerofill zone
algorithm auto boolean expansion language option optimize maxdop nth offset path recompile root
without_array_wrapper array_to_string avg bigint bigserial blob bool boolean bytea cardinality char_length
characters cidr
current_schema datetime datetime2 datetimeoffset deduplicate dense_rank enum float4 float8 hstore
inet instead int2 int4 int8 jsonb jsonpath longblob longtext mediumblob mediumint mediumtext money nchar ntext
numeric number nvarchar oid passing path percentile_cont percentile_disc point regclass row_number rowversion
smalldatetime smallint smallmoney smallserial sql_no_cache timestamptz timetz tinyblob tinyint tinytext tsquery
tsvector uniqueidentifier uuid xml innodb myisam memory utf8 utf8mb4 ascii year_month day_hour
microsecond week dow doy epoch isodow isoyear century decade millennium milliseconds microseconds timezone
holdlock nolock updlock rowlock tablock tablockx readpast xlock paglock readcommitted readuncommitted serializable
""")
"""Words of the grammar, types and units, which the tree holds as structure and not as names."""
