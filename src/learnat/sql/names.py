"""Who is meant by each name in a query: SQLite's rules of name resolution.

After ``resolve`` every table instance of the query (a table, a derived table or a use of a CTE) has an
alias of its own, ``UID`` and a number, unique over the whole query, and every column that could be
resolved is qualified with one and spelled in lower case. Double-quoted names that match nothing have
become string literals, ``*`` has become a list of columns, NATURAL and USING have become equalities, and
ordinals and aliases in ORDER BY and GROUP BY have become the expressions they stand for.
"""

from __future__ import annotations

from sqlglot import exp

from learnat.sql.from_clause import FromClause
from learnat.sql.parse import DOUBLE_QUOTED, fold
from learnat.sql.schema import Schema
from learnat.sql.scopes import (
    ROWID,
    UID,
    Cte,
    Names,
    Scope,
    Source,
    branches_of,
    column_of,
    is_table_star,
    named_outputs,
    output_name,
    owner_of,
    stands_for_a_value,
    wrapped,
)


def resolve(query: exp.Expr, schema: Schema | None) -> Names:
    """Resolve all names of ``query`` in place."""
    resolver = _Resolver(schema)
    resolver.query(query, None, {})
    return resolver.names


class _Resolver:
    def __init__(self, schema: Schema | None) -> None:
        self.schema = schema
        self.names = Names()
        self.scopes: dict[int, Scope] = {}

    # -- queries -----------------------------------------------------------------------------------------

    def query(self, node: exp.Expr, outer: Scope | None, ctes: dict[str, Cte]) -> tuple[str | None, ...] | None:
        """Resolve a query; its output column names (None for an unnamed one), or None when unknown."""
        with_ = node.args.get("with_")
        if with_ is not None:
            ctes = self._with(with_, outer, ctes)
        if isinstance(node, exp.Subquery):
            output = self.query(node.this, outer, ctes)
            scope = Scope(outer, ctes)
            for key in ("order", "limit", "offset"):
                if node.args.get(key) is not None:
                    self.expression(node.args[key], scope)
            return output
        if isinstance(node, exp.SetOperation):
            for key in ("this", "expression"):
                node.set(key, wrapped(node.args[key]))
            output = self.query(node.this, outer, ctes)
            self.query(node.expression, outer, ctes)
            self._set_order(node)
            for key in ("limit", "offset"):
                if node.args.get(key) is not None:
                    self.expression(node.args[key], Scope(outer, ctes))
            return output
        if isinstance(node, exp.Select):
            return self._select(node, outer, ctes)
        for child in node.iter_expressions():
            self.expression(child, Scope(outer, ctes))
        return None

    def _with(self, with_: exp.Expr, outer: Scope | None, ctes: dict[str, Cte]) -> dict[str, Cte]:
        ctes = dict(ctes)
        for cte in with_.expressions:
            alias = cte.args["alias"]
            name, given = fold(alias.name), tuple(fold(column.name) for column in alias.columns)
            uid = self.names.new_alias()
            if with_.args.get("recursive"):
                ctes[name] = Cte(name, uid, given or None)
            output = self.query(cte.this, outer, ctes)
            ctes[name] = Cte(name, uid, given or named_outputs(cte.this, output))
            alias.set("this", exp.Identifier(this=uid))
            alias.set("columns", [exp.Identifier(this=column) for column in given] or None)
        return ctes

    def _select(self, node: exp.Select, outer: Scope | None, ctes: dict[str, Cte]) -> tuple[str | None, ...] | None:
        scope = Scope(outer, ctes)
        self.scopes[id(node)] = scope
        FromClause(self).resolve(node, scope)
        for join in node.args.get("joins") or ():
            if join.args.get("on") is not None:
                self.clause(join, "on", scope)
        self._projections(node, scope)
        for key in ("where", "group", "having", "order", "limit", "offset"):
            clause = node.args.get(key)
            if clause is None:
                continue
            if key in ("group", "order"):
                self._keys(node, clause, scope, alias_first=key == "order")
            else:
                self.expression(clause, scope)
        for window in node.args.get("windows") or ():
            for child in list(window.iter_expressions()):
                if not isinstance(child, exp.Identifier):
                    self.expression(child, scope)
        if any(isinstance(item, exp.Star) or is_table_star(item) for item in node.expressions):
            return None
        return tuple(output_name(item) for item in node.expressions)

    # -- SELECT list and keys ----------------------------------------------------------------------------

    def _projections(self, node: exp.Select, scope: Scope) -> None:
        items: list[exp.Expr] = []
        for item in node.expressions:
            wanted: list[Source] | None = None
            if isinstance(item, exp.Star) and not item.args.get("except_"):
                wanted = scope.sources
            elif is_table_star(item):
                owner = next((s for s in scope.sources if s.name == fold(item.table)), None)
                wanted = [owner] if owner else None
                if owner is not None:
                    item.set("table", exp.Identifier(this=owner.uid))
            if wanted and all(source.columns is not None for source in wanted):
                whole = isinstance(item, exp.Star)
                items += [
                    column_of(source, name)
                    for source in wanted
                    for name in source.columns or ()
                    if not (whole and name in source.hidden)
                ]
            else:
                items.append(item if isinstance(item, exp.Star) else self.expression(item, scope))
        node.set("expressions", items)
        for item in items:
            if isinstance(item, exp.Alias):
                name = fold(item.alias)
                item.set("alias", exp.Identifier(this=name))
                scope.aliases.setdefault(name, item.this)

    def _keys(self, node: exp.Select, clause: exp.Expr, scope: Scope, alias_first: bool) -> None:
        """Replace ordinals and aliases among ORDER BY or GROUP BY terms, and resolve the rest."""
        terms = []
        for term in clause.expressions:
            ordered = term if isinstance(term, exp.Ordered) else None
            inner = ordered.this if ordered is not None else term
            bare = inner.unnest()
            collate = bare if isinstance(bare, exp.Collate) else None
            target = collate.this if collate is not None else bare
            new = self._key(node, target, scope, alias_first)
            if collate is not None:
                collate.set("this", new)
                new = collate
            if ordered is not None:
                ordered.set("this", new)
                new = ordered
            terms.append(new)
        clause.set("expressions", terms)
        for child in list(clause.iter_expressions()):
            if not any(child is term for term in terms):
                self.expression(child, scope)

    def _key(self, node: exp.Select, term: exp.Expr, scope: Scope, alias_first: bool) -> exp.Expr:
        if isinstance(term, exp.Literal) and not term.is_string:
            position = int(term.this) if term.this.isdigit() else 0
            if 1 <= position <= len(node.expressions):
                item = node.expressions[position - 1]
                if not isinstance(item, exp.Star) and not is_table_star(item):
                    return item.unalias().copy()
            return term
        if alias_first and isinstance(term, exp.Column) and not term.table:
            aliased = scope.aliases.get(fold(term.name))
            if aliased is not None:
                return aliased.copy()
        return self.expression(term, scope)

    def _set_order(self, node: exp.SetOperation) -> None:
        """ORDER BY of a set operation names result columns: write them as ordinals."""
        order = node.args.get("order")
        if order is None:
            return
        branches = [branch for branch in branches_of(node) if isinstance(branch, exp.Select)]
        for ordered in order.expressions:
            term = ordered.this.unnest()
            collate = term if isinstance(term, exp.Collate) else None
            target = collate.this if collate is not None else term
            position = self._result_column(target, branches)
            if position is None:
                if not isinstance(target, exp.Literal):
                    self.names.unresolved.append(target.sql())
            elif collate is not None:
                collate.set("this", exp.Literal.number(position))
            else:
                ordered.set("this", exp.Literal.number(position))

    def _result_column(self, term: exp.Expr, branches: list[exp.Select]) -> int | None:
        for branch in branches:
            if isinstance(term, exp.Column) and not term.table:
                name = fold(term.name)
                for position, item in enumerate(branch.expressions, 1):
                    if isinstance(item, exp.Alias) and fold(item.alias) == name:
                        return position
            known = len(self.names.unresolved)
            resolved = self.expression(term.copy(), self.scopes[id(branch)])
            del self.names.unresolved[known:]
            for position, item in enumerate(branch.expressions, 1):
                if item.unalias() == resolved:
                    return position
        return None

    # -- expressions -------------------------------------------------------------------------------------

    def clause(self, owner: exp.Expr, key: str, scope: Scope) -> None:
        old = owner.args[key]
        new = self.expression(old, scope)
        if new is not old:
            owner.set(key, new)

    def expression(self, node: exp.Expr, scope: Scope) -> exp.Expr:
        """Resolve all names below ``node``; the node to stand in its place."""
        if isinstance(node, exp.Column):
            return self._resolve_column(node, scope)
        if isinstance(node, exp.Query):
            self.query(node, scope, scope.ctes)
            return node
        for key, value in list(node.args.items()):
            if isinstance(value, exp.Expr):
                new = self.expression(value, scope)
                if new is not value:
                    node.set(key, new)
            elif isinstance(value, list):
                items = [self.expression(item, scope) if isinstance(item, exp.Expr) else item for item in value]
                if any(new is not old for new, old in zip(items, value, strict=True)):
                    node.set(key, items)
        return node

    def _resolve_column(self, node: exp.Column, scope: Scope) -> exp.Expr:
        if node.table.startswith(UID):
            return node
        if node.table:
            return self._qualified(node, scope)
        name = fold(node.name)
        for level in scope.chain():
            owner = owner_of(level, name)
            if owner is not None:
                return column_of(owner, name)
            if name in level.aliases:
                return level.aliases[name].copy()
        quoted = bool(node.this.meta.get(DOUBLE_QUOTED))
        if quoted and (not scope.opaque() or stands_for_a_value(node)):
            return exp.Literal.string(node.name)
        for level in scope.chain():
            if len(level.sources) == 1 and level.sources[0].columns is None:
                return column_of(level.sources[0], name)
        self.names.unresolved.append(name)
        node.this.set("this", name)
        return node

    def _qualified(self, node: exp.Column, scope: Scope) -> exp.Expr:
        qualifier, name = fold(node.table), fold(node.name)
        for level in scope.chain():
            for source in level.sources:
                if source.name == qualifier:
                    known = source.columns is None or name in source.columns
                    if known or (source.has_rowid and name in ROWID):
                        return column_of(source, name)
        self.names.unresolved.append(f"{qualifier}.{name}")
        node.set("this", exp.Identifier(this=name))
        node.set("table", exp.Identifier(this=qualifier))
        return node
