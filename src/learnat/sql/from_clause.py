"""Who is meant by each name in FROM: which instances a block reads, and what NATURAL and USING equate."""

from __future__ import annotations

from typing import Protocol

from sqlglot import exp

from learnat.sql.parse import fold
from learnat.sql.schema import Schema, Table
from learnat.sql.scopes import Cte, Names, Scope, Source, column_of, flatten_group, named_outputs


class Resolver(Protocol):
    """What FROM needs of the resolver of the whole query: derived tables are queries, and ON has expressions."""

    schema: Schema | None
    names: Names

    def query(self, node: exp.Expr, outer: Scope | None, ctes: dict[str, Cte]) -> tuple[str | None, ...] | None: ...

    def expression(self, node: exp.Expr, scope: Scope) -> exp.Expr: ...

    def clause(self, owner: exp.Expr, key: str, scope: Scope) -> None: ...


class FromClause:
    """Resolves FROM clauses. Every instance gets an alias of its own; NATURAL and USING become equalities."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.names = resolver.names

    def resolve(self, node: exp.Select, scope: Scope) -> None:
        """Fill ``scope`` from the FROM clause of ``node`` and give each instance its alias."""
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
                table = self.resolver.schema.table(name) if self.resolver.schema else None
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
                    self.resolver.clause(join, "on", scope)
        elif isinstance(node, exp.Subquery) and isinstance(node.this, exp.Query):
            output = self.resolver.query(node, scope.outer, scope.ctes)
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
                    self.resolver.expression(child, scope)
            scope.sources.append(self._add(fold(node.alias) if node.alias else "", None, None, keep=True))

    def _add(self, name: str, columns: tuple[str, ...] | None, table: Table | None, keep: bool = False) -> Source:
        source = Source(name if keep else self.names.new_alias(), name, columns, table)
        if not keep:
            self.names.sources[source.uid] = source
        return source

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
