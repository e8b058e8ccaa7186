"""Who is meant by each name in a query: SQLite's rules of name resolution.

After ``resolve`` every table instance of the query (a table, a derived table or a use of a CTE) has an
alias of its own, ``UID`` and a number, unique over the whole query, and every column that could be
resolved is qualified with one and spelled in lower case. Double-quoted names that match nothing have
become string literals, ``*`` has become a list of columns, NATURAL and USING have become equalities, and
ordinals and aliases in ORDER BY and GROUP BY have become the expressions they stand for.
"""

from __future__ import annotations

from sqlglot import exp

from learnat.sql.parse import DOUBLE_QUOTED, fold
from learnat.sql.schema import Schema, Table
from learnat.sql.scopes import (
    ROWID,
    UID,
    Cte,
    Names,
    Scope,
    Source,
    branches_of,
    column_of,
    flatten_group,
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
        self.instances = 0

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
            uid = self._uid()
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
        self._from(node, scope)
        for join in node.args.get("joins") or ():
            if join.args.get("on") is not None:
                self._clause(join, "on", scope)
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

    # -- FROM --------------------------------------------------------------------------------------------

    def _from(self, node: exp.Select, scope: Scope) -> None:
        from_ = node.args.get("from_")
        if from_ is None:
            return
        joins: list[exp.Expr] = []
        first = flatten_group(from_.this, joins)
        if first is not from_.this:
            from_.set("this", first)
        self._source(from_.this, scope)
        for join in node.args.get("joins") or ():
            inner: list[exp.Expr] = []
            target = join.this
            if not join.args.get("side") and not join.args.get("using") and join.args.get("method") is None:
                target = flatten_group(join.this, inner)
            if target is not join.this:
                on = join.args.get("on")
                join.set("this", target)
                join.set("on", None)
                if on is not None:
                    inner[-1].set("on", exp.and_(inner[-1].args.get("on"), on, copy=False))
            joins.append(join)
            joins.extend(inner)
        if joins:
            node.set("joins", joins)
        for join in joins:
            left = list(scope.sources)
            self._source(join.this, scope)
            self._merge(join, left, scope)

    def _source(self, node: exp.Expr, scope: Scope) -> None:
        """Add the instance(s) that ``node`` brings to ``scope`` and give each its alias."""
        if isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
            name = fold(node.name)
            alias = fold(node.alias) if node.alias else name
            cte = scope.ctes.get(name)
            if cte is not None:
                source = self._add(alias, cte.columns, None)
                node.set("this", exp.Identifier(this=cte.uid))
            else:
                table = self.schema.table(name) if self.schema else None
                columns = tuple(fold(column.name) for column in table.columns) if table else None
                source = self._add(alias, columns, table)
                node.set("this", exp.Identifier(this=name))
            for key in ("db", "catalog"):
                node.set(key, None)
            node.set("alias", exp.TableAlias(this=exp.Identifier(this=source.uid)))
            scope.sources.append(source)
            for join in node.args.get("joins") or ():
                self._source(join.this, scope)
                if join.args.get("on") is not None:
                    self._clause(join, "on", scope)
        elif isinstance(node, exp.Subquery) and isinstance(node.this, exp.Query):
            output = self.query(node, scope.outer, scope.ctes)
            alias_node = node.args.get("alias")
            given = tuple(fold(column.name) for column in alias_node.columns) if alias_node else ()
            source = self._add(fold(node.alias) if node.alias else "", given or named_outputs(node.this, output), None)
            node.set("alias", exp.TableAlias(this=exp.Identifier(this=source.uid)))
            scope.sources.append(source)
        elif isinstance(node, exp.Subquery):
            self._source(node.this, scope)
        else:
            # A table-valued function or VALUES list: its columns are not ours to know.
            for child in node.iter_expressions():
                if not isinstance(child, exp.TableAlias):
                    self.expression(child, scope)
            scope.sources.append(self._add(fold(node.alias) if node.alias else "", None, None, keep=True))

    def _add(self, name: str, columns: tuple[str, ...] | None, table: Table | None, keep: bool = False) -> Source:
        source = Source(name if keep else self._uid(), name, columns, table)
        if not keep:
            self.names.sources[source.uid] = source
        return source

    def _uid(self) -> str:
        self.instances += 1
        return f"{UID}{self.instances}"

    def _merge(self, join: exp.Expr, left: list[Source], scope: Scope) -> None:
        """NATURAL and USING become equalities with the first instance that has the column."""
        using = [fold(column.name) for column in join.args.get("using") or ()]
        right = scope.sources[-1]
        natural = (join.args.get("method") or "").upper() == "NATURAL"
        if natural:
            if right.columns is None or any(source.columns is None for source in left):
                self.names.unresolved.append("NATURAL JOIN")
                return
            using = [name for name in right.columns if any(name in (source.columns or ()) for source in left)]
        if not using or (join.args.get("side") or "").upper() in ("RIGHT", "FULL"):
            if using:
                self.names.unresolved.append("USING")
            elif natural:
                join.set("method", None)
            return
        conditions = []
        for name in using:
            owner = next((source for source in left if name in (source.columns or ())), None)
            if owner is None:
                opaque = [source for source in left if source.columns is None]
                if len(opaque) != 1:
                    self.names.unresolved.append(name)
                    return
                owner = opaque[0]
            conditions.append(exp.EQ(this=column_of(owner, name), expression=column_of(right, name)))
            right.hidden.add(name)
        join.set("using", None)
        join.set("method", None)
        join.set("on", exp.and_(*conditions, copy=False))

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

    def _clause(self, owner: exp.Expr, key: str, scope: Scope) -> None:
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
