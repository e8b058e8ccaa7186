"""Small edits of real gold queries: deletions that leave a right step, and mutations that make a wrong one.

All edits work on gold's own text as sqlglot reads it, not on the canonical form, so that this is tested too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import sqlglot
from sqlglot import exp

from learnat.sql.block_builder import view
from learnat.sql.names import resolve
from learnat.sql.parse import fold, parse
from learnat.sql.schema import Schema

DELETIONS = ("where", "having", "projection", "order", "table")
MUTATIONS = ("literal", "operator", "table", "join key", "aggregate", "column")


@dataclass(frozen=True)
class Edit:
    kind: str
    sql: str


def _read(gold: str) -> exp.Expr:
    return sqlglot.parse_one(gold, read="sqlite")


def _conjuncts(node: exp.Expr) -> list[exp.Expr]:
    return [part.unnest() for part in (node.flatten() if isinstance(node, exp.And) else [node])]


def _join_equality(part: exp.Expr) -> bool:
    return isinstance(part, exp.EQ) and isinstance(part.this, exp.Column) and isinstance(part.expression, exp.Column)


def deletions(gold: str, schema: Schema, kinds: Collection[str] = DELETIONS) -> Iterator[Edit]:
    """From the root block: a WHERE or HAVING conjunct, one of several projections, ORDER BY, a spare table."""
    tree = _read(gold)
    if not isinstance(tree, exp.Select):
        if "order" in kinds and isinstance(tree, exp.SetOperation) and tree.args.get("order"):
            tree.set("order", None)
            tree.set("limit", None)
            yield Edit("order", tree.sql("sqlite"))
        return
    for clause in {"where", "having"} & set(kinds):
        node = tree.args.get(clause)
        parts = _conjuncts(node.this) if node is not None else []
        for part in parts:
            rest = [other.copy() for other in parts if other is not part]
            copy = tree.copy()
            kind = exp.Where if clause == "where" else exp.Having
            copy.set(clause, kind(this=exp.and_(*rest)) if rest else None)
            yield Edit(clause, copy.sql("sqlite"))
    aliases = {fold(item.alias) for item in tree.expressions if isinstance(item, exp.Alias)}
    if "projection" in kinds and len(tree.expressions) > 1 and not _by_place(tree, aliases):
        for place in range(len(tree.expressions)):
            copy = tree.copy()
            copy.set("expressions", [item for n, item in enumerate(copy.expressions) if n != place])
            yield Edit("projection", copy.sql("sqlite"))
    if "order" in kinds and tree.args.get("order"):
        copy = tree.copy()
        for key in ("order", "limit", "offset"):
            copy.set(key, None)
        yield Edit("order", copy.sql("sqlite"))
    if "table" in kinds:
        yield from _unused_tables(gold, tree, schema)


def _by_place(tree: exp.Expr, aliases: set[str]) -> bool:
    """Some key names a projection by its number or alias: deleting a projection would change that key."""
    for key in ("order", "group"):
        clause = tree.args.get(key)
        for term in clause.expressions if clause is not None else ():
            bare = term.this if isinstance(term, exp.Ordered) else term
            if isinstance(bare, exp.Literal) or any(fold(c.name) in aliases for c in bare.find_all(exp.Column)):
                return True
    return False


def _unused_tables(gold: str, tree: exp.Select, schema: Schema) -> Iterator[Edit]:
    joins = tree.args.get("joins") or []
    if not joins or any(join.args.get("side") or join.args.get("using") for join in joins):
        return
    resolved = parse(gold)
    names = resolve(resolved, schema)
    if names.unresolved or any(item.is_star for item in tree.expressions):
        return
    sources = [resolved.args["from_"].this, *(join.this for join in resolved.args["joins"])]
    for place, source in enumerate(sources):
        uses = [column for column in resolved.find_all(exp.Column) if column.table == source.alias]
        owners = {id(column.find_ancestor(exp.Join)) for column in uses}
        own = resolved.args["joins"][place - 1] if place else resolved.args["joins"][0]
        if not uses or owners != {id(own)} or (place == 0 and len(sources) != 2):
            continue
        copy = tree.copy()
        if place == 0:
            copy.args["from_"].set("this", copy.args["joins"][0].this)
            copy.set("joins", None)
        else:
            others = {c.table for c in own.args["on"].find_all(exp.Column)} - {source.alias}
            if len(others) > 1:
                continue
            copy.set("joins", [join for n, join in enumerate(copy.args["joins"], 1) if n != place] or None)
        yield Edit("table", copy.sql("sqlite"))


_OPERATORS: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.EQ: exp.NEQ,
    exp.NEQ: exp.EQ,
    exp.GT: exp.LT,
    exp.LT: exp.GT,
    exp.GTE: exp.LTE,
    exp.LTE: exp.GTE,
    exp.Add: exp.Sub,
    exp.Sub: exp.Add,
    exp.Mul: exp.Div,
}
_AGGREGATES: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.Max: exp.Min,
    exp.Min: exp.Max,
    exp.Sum: exp.Avg,
    exp.Avg: exp.Sum,
    exp.Count: exp.Max,
}


def mutations(gold: str, schema: Schema, kinds: Collection[str] = MUTATIONS) -> Iterator[Edit]:
    """Every change of one literal, operator, table, join key, aggregate or column that makes gold another query."""
    tree = _read(gold)
    nodes = list(tree.walk())
    for place, node in enumerate(nodes):
        for kind, new in _mutants(node, gold, schema, kinds):
            if kind not in kinds:
                continue
            copy = tree.copy()
            target = list(copy.walk())[place]
            target.replace(new)
            yield Edit(kind, copy.sql("sqlite"))


def _mutants(node: exp.Expr, gold: str, schema: Schema, kinds: Collection[str]) -> Iterator[tuple[str, exp.Expr]]:
    if isinstance(node, exp.Literal) and node.find_ancestor(exp.Order, exp.Group) is None:
        if node.is_string:
            yield "literal", exp.Literal.string(node.this + "x")
        elif not isinstance(node.parent, exp.Count):
            yield "literal", exp.Literal.number(int(node.this) + 1 if node.this.isdigit() else float(node.this) + 1)
    elif type(node) in _OPERATORS and not (isinstance(node.parent, exp.Join) or _join_equality(node)):
        yield "operator", _OPERATORS[type(node)](this=node.this.copy(), expression=node.expression.copy())
    elif isinstance(node, (exp.Like, exp.In, exp.Between)) and not isinstance(node.parent, exp.Not):
        yield "operator", exp.Not(this=node.copy())
    elif type(node) in _AGGREGATES and not node.expressions:
        if not isinstance(node.this, (exp.Star, exp.Literal)):
            yield "aggregate", _AGGREGATES[type(node)](this=node.this.copy())
        if isinstance(node, exp.Count) and isinstance(node.this, exp.Column):
            yield "aggregate", exp.Count(this=exp.Distinct(expressions=[node.this.copy()]))
    elif isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
        other = next((table.name for table in schema.tables if fold(table.name) != fold(node.name)), None)
        if other is not None and schema.table(node.name) is not None:
            copy = node.copy()
            copy.set("this", exp.Identifier(this=other, quoted=True))
            if not node.alias:
                copy.set("alias", exp.TableAlias(this=exp.Identifier(this=node.name, quoted=True)))
            yield "table", copy
    elif isinstance(node, exp.Column) and node.table:
        kind = "join key" if node.parent is not None and _join_equality(node.parent) else "column"
        other = _unused_column(node, gold, schema) if kind in kinds else None
        if other is not None:
            yield kind, exp.column(exp.to_identifier(other, quoted=True), node.table)


def _unused_column(node: exp.Column, gold: str, schema: Schema) -> str | None:
    """A column of the same table that gold uses nowhere and that is no primary key."""
    tree = _read(gold)
    tables = {fold(t.alias_or_name): t.name for t in tree.find_all(exp.Table)}
    table = schema.table(tables.get(fold(node.table), ""))
    if table is None:
        return None
    used = {label.split(".")[-1] for label in view(gold, schema).tree.labels}
    return next((c.name for c in table.columns if fold(c.name) not in used and not c.primary_key), None)
