"""What can be seen from a place in a query: table instances, CTEs and aliases, scope within scope."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlglot import exp

from learnat.sql.parse import DOUBLE_QUOTED, fold
from learnat.sql.schema import Table

UID = "\x1f"
"""First character of a table instance's temporary alias; it cannot occur in a name anyone writes."""

ROWID = frozenset({"rowid", "oid", "_rowid_"})
_VALUE_SIDES = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Like, exp.Glob, exp.Is)


@dataclass
class Source:
    """One table instance. ``columns`` is None where nothing is known about them."""

    uid: str
    name: str
    columns: tuple[str, ...] | None
    table: Table | None = None
    hidden: set[str] = field(default_factory=set)
    """Columns that an earlier instance stands for, after NATURAL or USING."""

    @property
    def has_rowid(self) -> bool:
        return self.table is not None


@dataclass
class Cte:
    name: str
    uid: str
    columns: tuple[str, ...] | None


@dataclass
class Scope:
    outer: Scope | None
    ctes: dict[str, Cte]
    sources: list[Source] = field(default_factory=list)
    aliases: dict[str, exp.Expr] = field(default_factory=dict)

    def chain(self) -> Iterator[Scope]:
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer

    def opaque(self) -> bool:
        """Some visible instance has unknown columns, so any name may be one of them."""
        return any(source.columns is None for scope in self.chain() for source in scope.sources)


@dataclass
class Names:
    """What was learnt: the instances by alias, and the columns that no instance explains."""

    sources: dict[str, Source] = field(default_factory=dict)
    unresolved: list[str] = field(default_factory=list)
    aliases: int = 0

    def new_alias(self) -> str:
        self.aliases += 1
        return f"{UID}{self.aliases}"


def owner_of(scope: Scope, name: str) -> Source | None:
    """The instance of this very scope that an unqualified ``name`` means."""
    for source in scope.sources:
        if source.columns is not None and name in source.columns and name not in source.hidden:
            return source
    if name in ROWID:
        with_rowid = [source for source in scope.sources if source.has_rowid]
        if len(with_rowid) == 1:
            return with_rowid[0]
    return None


def column_of(source: Source, name: str) -> exp.Column:
    return exp.Column(this=exp.Identifier(this=name), table=exp.Identifier(this=source.uid))


def stands_for_a_value(node: exp.Column) -> bool:
    """Without a schema: a double-quoted name compared with something is taken for a string."""
    parent = node.parent
    if isinstance(parent, _VALUE_SIDES):
        other = parent.this
        if node.arg_key == "expression":
            return True
        other = parent.expression
        return isinstance(other, exp.Column) and not other.this.meta.get(DOUBLE_QUOTED)
    if isinstance(parent, exp.In):
        return node.arg_key == "expressions"
    return isinstance(parent, exp.Between) and node.arg_key in ("low", "high")


def flatten_group(node: exp.Expr, joins: list[exp.Expr]) -> exp.Expr:
    """``(a JOIN b ON ...)`` in FROM: its first table, with its inner joins appended to ``joins``."""
    if not (isinstance(node, exp.Subquery) and isinstance(node.this, (exp.Table, exp.Subquery))) or node.alias:
        return node
    inner = node.this.args.get("joins") or []
    if any(join.args.get("side") or join.args.get("method") or join.args.get("using") for join in inner):
        return node
    node.this.set("joins", None)
    first = flatten_group(node.this, joins)
    joins.extend(inner)
    return first


def wrapped(branch: exp.Expr) -> exp.Expr:
    """SQLite takes no ORDER BY or LIMIT in a branch of a set operation: such a branch is read from a derived table."""
    inner = branch.unnest() if isinstance(branch, exp.Subquery) else branch
    if not isinstance(inner, exp.Select) or not any(inner.args.get(key) for key in ("order", "limit", "offset")):
        return branch
    return exp.Select(expressions=[exp.Star()], from_=exp.From(this=exp.Subquery(this=inner)))


def branches_of(node: exp.Expr) -> list[exp.Expr]:
    if isinstance(node, exp.SetOperation):
        return branches_of(node.this) + branches_of(node.expression)
    if isinstance(node, exp.Subquery):
        return branches_of(node.this)
    return [node]


def is_table_star(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column) and isinstance(node.this, exp.Star)


def output_name(item: exp.Expr) -> str | None:
    if isinstance(item, exp.Alias):
        return fold(item.alias)
    bare = item.unnest()
    return fold(bare.name) if isinstance(bare, exp.Column) else None


def named_outputs(query: exp.Expr, output: tuple[str | None, ...] | None) -> tuple[str, ...] | None:
    """The columns of a derived table; one without a name, or with a name taken, gets one that nobody can write."""
    while isinstance(query, (exp.SetOperation, exp.Subquery)):
        query = query.this
    if output is None or not isinstance(query, exp.Select):
        return None
    names: list[str] = []
    items = list(query.expressions)
    for place, name in enumerate(output):
        if name is None or name in names:
            name = f"{UID}{place + 1}"
            items[place] = exp.Alias(this=items[place].unalias(), alias=exp.Identifier(this=name))
        names.append(name)
    query.set("expressions", items)
    return tuple(names)
