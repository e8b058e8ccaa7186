"""Where each part of a query stands: FROM, join conditions, set operations, parentheses."""

from __future__ import annotations

from sqlglot import exp

from learnat.sql.fingerprint import conjunction, conjuncts, fingerprint, sort_keys
from learnat.sql.instances import leftmost
from learnat.sql.walk import nodes

_LOOSE = 1
_PRECEDENCE: dict[type[exp.Expr], int] = {
    exp.Or: 1,
    exp.And: 2,
    exp.Not: 3,
    **dict.fromkeys((exp.EQ, exp.NEQ, exp.Is, exp.In, exp.Like, exp.Glob, exp.Between), 4),
    **dict.fromkeys((exp.NullSafeEQ, exp.NullSafeNEQ, exp.Escape), 4),
    **dict.fromkeys((exp.GT, exp.GTE, exp.LT, exp.LTE), 5),
    **dict.fromkeys((exp.BitwiseAnd, exp.BitwiseOr, exp.BitwiseLeftShift, exp.BitwiseRightShift), 6),
    **dict.fromkeys((exp.Add, exp.Sub), 7),
    **dict.fromkeys((exp.Mul, exp.Div, exp.Mod), 8),
    exp.DPipe: 9,
    **dict.fromkeys((exp.Neg, exp.BitwiseNot, exp.Collate), 10),
}
"""How tightly SQLite binds each operator (https://www.sqlite.org/lang_expr.html, 2)."""

_ASSOCIATIVE_LEFT = (exp.And, exp.Or, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.DPipe)


def arrange_from(select: exp.Select) -> None:
    """Sort the inner-joined tables so that each follows one it is joined with, and put conditions in place.

    An equality of two inner-joined instances stands in ON, every other condition in WHERE. Outer joins
    follow in the order written: their ON conditions decide which rows exist. A block with RIGHT, FULL or
    parenthesised outer joins keeps its FROM.
    """
    joins = select.args.get("joins") or []
    where = select.args.get("where")
    if not joins or not _movable(select):
        for join in joins:
            condition = conjunction(conjuncts(join.args.get("on")))
            join.set("on", condition if condition is not None or not join.args.get("on") else exp.Boolean(this=True))
        _set_where(select, conjuncts(where.this if where else None))
        return
    outer = [join for join in joins if join.args.get("side")]
    inner = [select.args["from_"].this, *(join.this for join in joins if not join.args.get("side"))]
    conditions = [part for join in joins if not join.args.get("side") for part in conjuncts(join.args.get("on"))]
    conditions += conjuncts(where.this if where else None)
    names = {source.alias_or_name for source in inner}
    unique = {fingerprint(part): part for part in conditions}
    equalities = {key: part for key, part in unique.items() if _is_join(part, names)}
    placed = _chain(inner, equalities)
    select.args["from_"].set("this", placed[0])
    new_joins: list[exp.Expr] = []
    seen = {placed[0].alias_or_name}
    for source in placed[1:]:
        seen.add(source.alias_or_name)
        on = [key for key, part in equalities.items() if {part.this.table, part.expression.table} <= seen]
        condition = conjunction(equalities.pop(key) for key in on)
        new_joins.append(exp.Join(this=source, on=condition) if condition is not None else exp.Join(this=source))
    for join in outer:
        on_outer = conjunction(conjuncts(join.args.get("on")))
        new_joins.append(exp.Join(this=join.this, side="LEFT", on=on_outer or exp.Boolean(this=True)))
    select.set("joins", new_joins)
    _set_where(select, [part for part in unique.values() if not _is_join(part, names)])


def _movable(select: exp.Select) -> bool:
    if select.args.get("from_") is None:
        return False
    sources = [select.args["from_"].this, *(join.this for join in select.args["joins"])]
    if not all(isinstance(source, (exp.Table, exp.Subquery)) and source.alias_or_name for source in sources):
        return False
    if any(source.args.get("joins") for source in sources):
        return False
    if not all(isinstance(source.args["this"], (exp.Identifier, exp.Query)) for source in sources):
        return False
    return all(
        (join.args.get("side") or "").upper() in ("", "LEFT")
        and not join.args.get("method")
        and not join.args.get("using")
        for join in select.args["joins"]
    )


def _is_join(part: exp.Expr, names: set[str]) -> bool:
    if not isinstance(part, exp.EQ):
        return False
    left, right = part.this, part.expression
    if not (isinstance(left, exp.Column) and isinstance(right, exp.Column)):
        return False
    return left.table != right.table and left.table in names and right.table in names


def _chain(sources: list[exp.Expr], equalities: dict[str, exp.Expr]) -> list[exp.Expr]:
    left = sorted(sources, key=lambda source: source.alias_or_name)
    links: dict[str, set[str]] = {source.alias_or_name: set() for source in left}
    for part in equalities.values():
        links[part.this.table].add(part.expression.table)
        links[part.expression.table].add(part.this.table)
    placed = [left.pop(0)]
    reached = set(links[placed[0].alias_or_name])
    while left:
        source = next((s for s in left if s.alias_or_name in reached), left[0])
        left = [other for other in left if other is not source]
        placed.append(source)
        reached |= links[source.alias_or_name]
    return placed


def _set_where(select: exp.Select, parts: list[exp.Expr]) -> None:
    condition = conjunction(parts)
    select.set("where", None if condition is None else exp.Where(this=condition))


def arrange_clauses(select: exp.Select) -> None:
    """Sort HAVING conjuncts and GROUP BY keys; drop ORDER BY keys that are constants or repeated."""
    having = select.args.get("having")
    if having is not None:
        condition = conjunction(conjuncts(having.this))
        select.set("having", None if condition is None else exp.Having(this=condition))
    group = select.args.get("group")
    if group is not None and group.expressions:
        unique = {fingerprint(key): key for key in group.expressions}
        group.set("expressions", [unique[key] for key in sorted(unique)])
    order = select.args.get("order")
    if order is not None:
        keys = sort_keys(order)
        if keys:
            order.set("expressions", keys)
        else:
            select.set("order", None)


def arrange_set_operation(node: exp.SetOperation) -> None:
    """Sort the branches of a chain of UNION, UNION ALL or INTERSECT; EXCEPT keeps its order.

    So does a recursive CTE, which starts from its first branch, and a chain whose first branch gives a derived table
    names that another branch would not give.
    """
    if isinstance(node, exp.Except) or isinstance(node.parent, type(node)):
        return
    if node.args.get("limit") is not None and node.args.get("order") is None:
        return
    branches = _chain_of(node, type(node), bool(node.args.get("distinct")))
    if any(isinstance(branch, (exp.SetOperation, exp.Subquery)) for branch in branches[1:]):
        return
    reader = _reader(node)
    if isinstance(reader, exp.CTE) and reader.parent is not None and reader.parent.args.get("recursive"):
        return
    if reader is not None and len(set(map(_output_names, branches))) > 1:
        return
    ordered = sorted(branches, key=fingerprint)
    if any(isinstance(branch, (exp.SetOperation, exp.Subquery)) for branch in ordered[1:]):
        return
    result: exp.Expr = ordered[0]
    for branch in ordered[1:-1]:
        result = type(node)(this=result, expression=branch, distinct=node.args.get("distinct"))
    node.set("this", result)
    node.set("expression", ordered[-1])


def _reader(query: exp.Expr) -> exp.Expr | None:
    """The derived table or CTE that takes the names of its columns from ``query``, or None."""
    parent = query.parent
    while isinstance(parent, exp.SetOperation) or (isinstance(parent, exp.Subquery) and not parent.alias):
        parent = parent.parent
    return parent if isinstance(parent, (exp.CTE, exp.Subquery)) else None


def _output_names(branch: exp.Expr) -> tuple[str, ...] | None:
    first = leftmost(branch)
    return None if first is None else tuple(item.output_name for item in first.expressions)


def _chain_of(node: exp.Expr, kind: type[exp.Expr], distinct: bool) -> list[exp.Expr]:
    branches: list[exp.Expr] = []
    while type(node) is kind and bool(node.args.get("distinct")) is distinct:
        branches.append(node.expression)
        node = node.this
        plain = not any(node.args.get(key) for key in ("order", "limit", "offset", "alias", "with_"))
        if isinstance(node, exp.Subquery) and plain and type(node.this) is kind:
            node = node.this
    branches.append(node)
    return branches[::-1]


def add_parentheses(root: exp.Expr) -> None:
    """Put back the parentheses that SQLite's precedence needs."""
    for node in nodes(root):
        own = _PRECEDENCE.get(type(node))
        if own is None or isinstance(node, exp.Escape):
            continue
        for key in ("this", "expression"):
            child = node.args.get(key)
            if not isinstance(child, exp.Expr):
                continue
            tight = _PRECEDENCE.get(type(child), 10 if not isinstance(child, exp.Binary) else _LOOSE)
            left = key == "this"
            if tight < own or (tight == own and not (left and isinstance(node, _ASSOCIATIVE_LEFT)) and own < 10):
                node.set(key, exp.Paren(this=child))
