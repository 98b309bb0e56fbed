"""A parsed statement as accesses: which tables it reads, writes, defines, and what it reaches beyond them.

A table that is named is read, unless it stands where a statement writes or defines. A name is a common table
expression only where that is certain: in the statement that the `WITH` belongs to, after its own definition.
Everywhere else it counts as a table, so that a query cannot hide one behind a name. Writing reads as well where
the statement looks at rows (`WHERE`, `RETURNING`, …), as PostgreSQL's own privileges have it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from sqlglot import exp

from remit.errors import NotCanonical
from remit.resources.sql_calls import Calls
from remit.resources.sql_functions import is_file_table
from remit.resources.sql_names import Name, Naming
from remit.resources.text import shown

Found = dict[tuple[str, str], None]
"""(action, segment below the base) in order; the empty segment is the database itself."""

READ: Final = ("read",)
CHANGE: Final = ("read", "write")
_BODY: Final = (exp.Select, exp.SetOperation, exp.Subquery)
_DROPPED: Final = frozenset({"TABLE", "VIEW", "MATERIALIZED VIEW", "INDEX"})
_WHOLE: Final = frozenset({"SCHEMA", "DATABASE"})


class TreeReader:
    """Reads one statement; `found` has what it touches."""

    def __init__(self, naming: Naming, calls: Calls) -> None:
        self.naming = naming
        self.calls = calls
        self.found: Found = {}
        self._roles: dict[int, tuple[str, ...]] = {}
        self._schemas: dict[int, tuple[Name, ...]] = {}

    def read(self, tree: exp.Expr) -> Found:
        """Every access of the statement. Raises NotCanonical."""
        self._statement(tree)
        self._visit(tree, frozenset())
        return self.found

    def _add(self, action: str, segment: str = "") -> None:
        self.found[(action, segment)] = None

    def _statement(self, tree: exp.Expr) -> None:
        """What only a whole statement does."""
        if isinstance(tree, exp.Create):
            self._create(tree)
        elif isinstance(tree, exp.Drop):
            self._drop(tree)
        elif isinstance(tree, exp.Alter):
            self._alter(tree)
        elif isinstance(tree, exp.TruncateTable):
            if tree.args.get("is_database") or tree.args.get("cluster"):
                raise NotCanonical("TRUNCATE of more than tables is not understood")
            if tree.args.get("option"):
                self._add("admin")  # CASCADE empties tables that nobody named
            self._mark(tree.expressions, ("write",))
        elif isinstance(tree, exp.Comment):
            if _kind(tree) not in ("TABLE", "VIEW"):
                raise NotCanonical("only a COMMENT ON TABLE or VIEW is understood")
            self._mark([tree.this], ("ddl",))
        elif not isinstance(tree, exp.Query | exp.Values | exp.DML):
            raise NotCanonical(f"the statement {type(tree).__name__} is not understood")

    def _create(self, tree: exp.Create) -> None:
        kind, target, body = _kind(tree), tree.this, tree.args.get("expression")
        if kind in _WHOLE and isinstance(target, exp.Table):
            self._mark([target], ())
            self._add("admin")
            return
        if kind == "INDEX" and isinstance(target, exp.Index):
            self._mark([target.args.get("table")], ("ddl",))
            return
        if kind not in ("TABLE", "VIEW"):
            raise NotCanonical(f"CREATE {kind} is not understood: its text may do anything")
        if body is not None and not isinstance(body, _BODY):
            raise NotCanonical(f"CREATE {kind} AS is followed by something other than a query")
        fills = body is not None and kind == "TABLE"
        self._mark([_bare(target)], ("ddl", "write") if fills else ("ddl",))
        properties = tree.args.get("properties")
        for each in properties.expressions if properties else ():
            if isinstance(each, exp.InheritsProperty):
                self._mark(each.expressions, ("ddl",))
            elif isinstance(each, exp.PartitionedOfProperty):
                self._mark([each.this], ("ddl",))

    def _drop(self, tree: exp.Drop) -> None:
        kind = _kind(tree)
        tables = tree.args.get("tables") or []
        if kind in _WHOLE:
            self._mark(tables, ())
            self._add("admin")
            return
        if kind not in _DROPPED or not tables:
            raise NotCanonical(f"DROP {kind} is not understood")
        if tree.args.get("cascade"):
            self._add("admin")  # what depends on it goes too, and nobody named that
        self._mark(tables, ("ddl",))
        on = tree.args.get("cluster")
        if on is not None:
            self._mark([on.this], ("ddl",))

    def _alter(self, tree: exp.Alter) -> None:
        if _kind(tree) not in ("TABLE", "VIEW", "INDEX"):
            raise NotCanonical(f"ALTER {_kind(tree)} is not understood")
        self._mark([tree.this], ("ddl",))
        for action in tree.args.get("actions") or ():
            if isinstance(action, exp.AlterRename):
                self._mark([action.this], ("ddl",))
                if isinstance(tree.this, exp.Table):
                    self._schemas[id(action.this)] = _names(tree.this)[:-1]
            elif isinstance(action, exp.Drop):
                if action.args.get("cascade"):
                    self._add("admin")
            elif not isinstance(
                action, exp.ColumnDef | exp.RenameColumn | exp.AlterColumn | exp.AddConstraint | exp.ModifyColumn
            ):
                raise NotCanonical(f"ALTER with {type(action).__name__} is not understood")

    def _visit(self, node: exp.Expr, visible: frozenset[str]) -> None:
        """The tables of a node and everything in it; `visible` are the common table expressions in scope."""
        with_ = node.args.get("with_")
        if isinstance(with_, exp.With):
            visible = self._ctes(with_, visible)
        if isinstance(node.parent, exp.When):
            pass  # an action of MERGE, whose table is that of the MERGE
        elif isinstance(node, exp.Insert):
            self._insert(node, visible)
        elif isinstance(node, exp.Update):
            self._update(node, visible)
        elif isinstance(node, exp.Delete):
            self._delete(node, visible)
        elif isinstance(node, exp.Merge):
            self._target(node.this, CHANGE, visible)
        elif isinstance(node, exp.Select):
            self._select(node)
        elif isinstance(node, exp.In) and node.args.get("field") is not None:
            raise NotCanonical("IN without parentheses may name a table; expected IN (SELECT …)")
        elif isinstance(node, exp.Table):
            self._table(node, visible)
        elif isinstance(node, exp.Func):
            for action, segment in self.calls.accesses(node):
                self._add(action, segment)
        for child in node.iter_expressions():
            if child is not with_:
                self._visit(child, visible)

    def _ctes(self, with_: exp.With, visible: frozenset[str]) -> frozenset[str]:
        itself = bool(with_.args.get("recursive")) or self.naming.dialect in ("tsql", "sqlite")
        for cte in with_.expressions:
            name = self._fold(cte.args["alias"].this)
            self._visit(cte.this, visible | {name} if itself else visible)
            visible |= {name}
        return visible

    def _insert(self, node: exp.Insert, visible: frozenset[str]) -> None:
        looks = node.args.get("returning") or node.args.get("conflict")
        self._target(_bare(node.this), CHANGE if looks else ("write",), visible)

    def _update(self, node: exp.Update, visible: frozenset[str]) -> None:
        looks = any(node.args.get(key) for key in ("where", "returning", "from_"))
        looks = looks or any(
            each.args["expression"].find(exp.Column) for each in node.expressions if "expression" in each.args
        )
        target = node.this
        self._require_table(target)
        sources = list(_joined(target))
        if len(sources) > 1:  # MySQL's UPDATE of several tables
            self._mark((each for each in sources if isinstance(each, exp.Table)), CHANGE)
            return
        from_ = node.args.get("from_")
        if self.naming.dialect == "tsql" and from_ is not None:
            self._aliased(target, list(_joined(from_.this)) + _joins(node), CHANGE, visible)
        else:
            self._target(target, CHANGE if looks else ("write",), visible)

    def _delete(self, node: exp.Delete, visible: frozenset[str]) -> None:
        targets, using = node.args.get("tables") or [], node.args.get("using") or []
        looks = any(node.args.get(key) for key in ("where", "returning", "using"))
        sources = [*(_joined(node.this) if node.this else ()), *(each for one in using for each in _joined(one))]
        if self.naming.dialect == "mysql" and using:
            self._mark((each for each in sources if isinstance(each, exp.Table)), CHANGE)
        elif not targets:
            self._target(node.this, CHANGE if looks else ("write",), visible)
        elif not sources:
            for target in targets:
                self._target(target, CHANGE, visible)
        else:
            for target in targets:
                self._aliased(target, sources, CHANGE, visible)

    def _aliased(
        self, target: exp.Expr, sources: list[exp.Expr], actions: tuple[str, ...], visible: frozenset[str]
    ) -> None:
        """The target of a change that the statement's own list of tables may have given another name."""
        self._require_table(target)
        written = _names(target)
        by_alias = [each for each in sources if len(written) == 1 and self._same(each.alias, written[-1])]
        if by_alias:
            self._mark([target], ())
        else:
            named = [each for each in sources if isinstance(each, exp.Table) and not each.alias]
            by_alias = [each for each in named if self._same(_names(each)[-1].text, written[-1])]
            if not by_alias and self.naming.dialect == "mysql":
                raise NotCanonical(f"{shown(written[-1].text)} is none of the tables that the change lists")
            self._target(target, actions, visible)
        for each in by_alias:
            if not isinstance(each, exp.Table):
                raise NotCanonical(
                    "a change of a derived table reaches the tables within it; expected the table itself"
                )
            self._target(each, actions, visible)

    def _same(self, alias: str, name: Name) -> bool:
        """Whether the server takes a name for an alias. Raises NotCanonical when letter case would decide."""
        same = alias.lower() == name.text.lower()
        if same and alias != name.text and self.naming.case != "insensitive" and self.naming.dialect != "tsql":
            raise NotCanonical(f"{shown(name.text)} and {shown(alias)} differ in letter case alone")
        return same and (alias == name.text or self.naming.case != "sensitive")

    def _select(self, node: exp.Select) -> None:
        into = node.args.get("into")
        if into is not None:
            self._require_table(into.this)
            self._mark([into.this], ("ddl", "write"))
        for lock in node.args.get("locks") or ():
            self._mark(lock.expressions, ())
            from_ = node.args.get("from_")
            tables = [*(_joined(from_.this) if from_ else ()), *_joins(node)]
            self._mark((each for each in tables if isinstance(each, exp.Table)), CHANGE)
            if any(not isinstance(each, exp.Table) for each in tables):
                raise NotCanonical("FOR UPDATE over a derived table locks the tables within it")

    def _target(self, target: exp.Expr, actions: tuple[str, ...], visible: frozenset[str]) -> None:
        """A table that is changed: never a common table expression, which in T-SQL would pass the change on."""
        self._require_table(target)
        names = _names(target)
        if len(names) == 1 and self._fold_name(names[0]) in visible and self.naming.dialect == "tsql":
            raise NotCanonical("a change of a common table expression reaches the tables within it")
        self._mark([target], actions)

    def _require_table(self, node: object) -> None:
        if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
            raise NotCanonical("a change or a definition names something other than a table")

    def _mark(self, tables: Iterable[exp.Expr | None], actions: tuple[str, ...]) -> None:
        """Say what is done to tables; no action means that the name is not one of a table."""
        for each in tables:
            table = _bare(each) if each is not None else None
            if not isinstance(table, exp.Table):
                raise NotCanonical("a name is missing where a table was expected")
            self._roles[id(table)] = tuple(dict.fromkeys((*self._roles.get(id(table), ()), *actions)))

    def _table(self, node: exp.Table, visible: frozenset[str]) -> None:
        indexed = node.args.get("indexed")
        if isinstance(indexed, exp.Table):
            self._roles[id(indexed)] = ()
        roles = self._roles.get(id(node))
        if roles == () or (node.this is None and node.args.get("rows_from")):
            return
        if isinstance(node.this, exp.Func):
            if roles:
                raise NotCanonical("a function stands where a statement writes")
            return
        names = _names(node)
        if not roles and len(names) == 1 and self._fold_name(names[0]) in visible:
            return
        if self.naming.dialect == "sqlite" and self._virtual(self._fold_name(names[-1])):
            return
        schema = self._schemas.get(id(node), ())
        for segment in self.naming.tables((*schema, *names) if len(names) == 1 else names):
            for action in roles or READ:
                self._add(action, segment)

    def _virtual(self, table: str) -> bool:
        """SQLite's eponymous virtual tables: functions that are named like tables."""
        if table.startswith("pragma_"):
            self._add(*self.calls.pragma(table.removeprefix("pragma_")))
            return True
        if is_file_table("sqlite", table):
            raise NotCanonical(f"{table} reads more than tables, and does not say what")
        return False

    def _fold(self, identifier: exp.Expr) -> str:
        return self._fold_name(_name(identifier))

    def _fold_name(self, name: Name) -> str:
        return self.naming.fold(name)


def _kind(tree: exp.Expr) -> str:
    """What a definition is of: `TABLE`, `VIEW`, …"""
    return str(tree.args.get("kind") or "").upper()


def _bare(node: exp.Expr) -> exp.Expr:
    """The table of `t` and of `t (a, b)`."""
    return node.this if isinstance(node, exp.Schema) else node


def _joined(node: exp.Expr) -> Iterator[exp.Expr]:
    """A table or derived table, and those joined to it, parentheses opened."""
    if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Table):
        yield from _joined(node.this)
    else:
        yield node
    for join in node.args.get("joins") or ():
        yield from _joined(join.this)


def _joins(node: exp.Expr) -> list[exp.Expr]:
    return [each for join in node.args.get("joins") or () for each in _joined(join.this)]


def _names(node: exp.Expr) -> tuple[Name, ...]:
    """The parts of a table's name, outermost first. Raises NotCanonical for parts that are no names."""
    parts = [node.args[key] for key in ("catalog", "db", "this") if node.args.get(key) is not None]
    return tuple(_name(part) for part in parts)


def _name(node: object) -> Name:
    if not isinstance(node, exp.Identifier) or not node.name:
        raise NotCanonical(f"a table is named by {shown(str(node))}, which is not a plain name")
    sigil = "##" if node.args.get("global_") else "#" if node.args.get("temporary") else ""
    return Name(sigil + node.name, bool(node.args.get("quoted")))
