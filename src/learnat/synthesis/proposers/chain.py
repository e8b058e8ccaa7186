"""From a gold query to the steps that lead to it, cut from its own clauses.

Blocks come first where they can stand alone: CTEs, subqueries (innermost first), the branches of a set operation. Then,
with granularity ``clause``, each block is built up in the order a database evaluates it: filtered tables, joins,
grouping, ordering; the last of these is the block itself, so that a block with one of them is one step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sqlglot import exp

from learnat.errors import LearnatError, nearest
from learnat.sql.schema import Schema
from learnat.synthesis.proposers.binding import Source, conjuncts, correlated, instance, instances, render, sources

GRANULARITIES = ("clause", "block")

CLAUSE_OF_NESTED, CLAUSE, BLOCK = range(3)
"""How much a step matters when a chain is too long: clauses of nested blocks go first, whole blocks last."""


@dataclass(frozen=True)
class Cut:
    """One step before the last one: a query cut from gold, and how much it matters (see above)."""

    query: exp.Expr
    rank: int


@dataclass(frozen=True)
class Order:
    """One of the orders in which a question can be taken apart: which filtered table and which nested block first."""

    filtered: int = 0
    reverse: bool = False


ORDERS = (Order(), Order(filtered=1), Order(reverse=True), Order(filtered=1, reverse=True))


def cuts(gold: exp.Expr, schema: Schema, granularity: str = "clause", order: Order = ORDERS[0]) -> list[Cut]:
    """The steps before gold itself, in order, for a tree made by ``bind``. Their SQL may repeat.

    Raises ``LearnatError`` for an unknown granularity.
    """
    if granularity not in GRANULARITIES:
        raise LearnatError(f"proposer.granularity={granularity!r} is unknown. {nearest(granularity, GRANULARITIES)}")
    return list(_Cutter(gold, schema, granularity == "clause", order).of(gold, nested=False))


def shorten(steps: Sequence[Cut], limit: int) -> list[Cut]:
    """At most ``limit`` of ``steps``, in order; those that matter least are left out, the later ones first."""
    kept = sorted(range(len(steps)), key=lambda i: (-steps[i].rank, i))[: max(limit, 0)]
    return [steps[i] for i in sorted(kept)]


class _Cutter:
    def __init__(self, gold: exp.Expr, schema: Schema, clauses: bool, order: Order) -> None:
        self._schema = schema
        self._clauses = clauses
        self._order = order
        self._ctes = {cte.alias.casefold(): cte for cte in gold.find_all(exp.CTE)}

    def of(self, query: exp.Expr, nested: bool) -> Iterator[Cut]:
        """The steps inside ``query``, without ``query`` itself."""
        query = query.unnest()
        groups = [list(self._whole(part)) for part in self._parts(query)]
        for group in reversed(groups) if self._order.reverse and not query.args.get("with_") else groups:
            yield from group
        if isinstance(query, exp.Select) and self._clauses and not correlated(query):
            for step in _clause_steps(query, self._schema, self._order.filtered):
                yield Cut(self._standing(step), CLAUSE_OF_NESTED if nested else CLAUSE)

    def _whole(self, part: exp.Expr) -> Iterator[Cut]:
        """The steps of a nested block, the block last where it can stand alone."""
        yield from self.of(part, nested=True)
        if not correlated(part):
            yield Cut(self._standing(part.unnest()), BLOCK)

    def _parts(self, query: exp.Expr) -> list[exp.Expr]:
        """The blocks directly inside ``query``, in the order they are needed."""
        ctes = [cte.this for cte in query.args["with_"].expressions] if query.args.get("with_") else []
        if isinstance(query, exp.SetOperation):
            return [*ctes, query.left, query.right]
        nested = [found for found in query.find_all(exp.Select, exp.SetOperation) if _block_around(found) is query]
        return [*ctes, *(found for found in nested if not isinstance(found.parent, exp.CTE))]

    def _standing(self, query: exp.Expr) -> exp.Expr:
        """A copy of ``query`` with the CTEs it needs."""
        copy = query.copy()
        if copy.args.get("with_"):
            return copy
        names: list[str] = []
        self._needed(copy, names)
        if names:
            copy.set("with_", exp.With(expressions=[self._ctes[name].copy() for name in names]))
        return copy

    def _needed(self, query: exp.Expr, names: list[str]) -> None:
        for table in query.find_all(exp.Table):
            name = table.name.casefold()
            if name in self._ctes and name not in names and not table.db:
                self._needed(self._ctes[name].this, names)
                if name not in names:
                    names.append(name)


def _block_around(node: exp.Expr) -> exp.Expr | None:
    """The query directly around ``node``: parentheses and clauses do not count."""
    parent = node.parent
    while parent is not None and not isinstance(parent, (exp.Select, exp.SetOperation)):
        parent = parent.parent
    return parent


def _clause_steps(select: exp.Select, schema: Schema, filtered: int) -> Iterator[exp.Select]:
    """The stages of one block before it is complete."""
    block = _Clauses(select, schema)
    stages: list[tuple[bool, Callable[[], exp.Select | None]]] = [
        (bool(block.filtered), lambda: block.filter(filtered)),
        (len(block.sources) > 1, block.joined),
        (bool(select.args.get("group")), block.grouped),
        (bool(select.args.get("order")), lambda: None),
    ]
    for make in [make for here, make in stages if here][:-1]:
        if (step := make()) is not None:
            yield step


class _Clauses:
    """One block's clauses, sorted by the table instances they mention."""

    def __init__(self, select: exp.Select, schema: Schema) -> None:
        self.select = select
        self.sources = sources(select, schema)
        where = select.args.get("where")
        self._where = list(conjuncts(where.this)) if where else []
        self._own: dict[str, list[exp.Expr]] = {source.alias: [] for source in self.sources}
        self._links: list[exp.Expr] = [
            join.args["on"] for join in select.args.get("joins") or () if join.args.get("on")
        ]
        for condition in self._where:
            mentioned = instances(condition, select)
            alias = next(iter(mentioned), None) if len(mentioned) == 1 else None
            if alias is None:
                self._links.append(condition)
            else:
                self._own[alias].append(condition)

    @property
    def filtered(self) -> list[Source]:
        """The table instances that have conditions of their own; of a single table, itself."""
        return [source for source in self.sources if self._own[source.alias]]

    def filter(self, which: int) -> exp.Select | None:
        """One filtered table alone, the ``which``-th of them or the last."""
        source = self.filtered[min(which, len(self.filtered) - 1)]
        projections = self._link_columns(source) if len(self.sources) > 1 else self._plain_columns()
        return self._select(projections, [source], self._own[source.alias])

    def joined(self) -> exp.Select | None:
        """All tables and conditions, before grouping and ordering."""
        return self._select(self._plain_columns(), self.sources, self._where)

    def grouped(self) -> exp.Select | None:
        """The groups that count, with what gold orders them by, before ordering."""
        step = self.select.copy()
        for clause in ("order", "limit", "offset", "with_"):
            step.set(clause, None)
        shown = {render(item.unalias()).casefold() for item in step.expressions}
        order = self.select.args.get("order")
        for key in order.expressions if order else ():
            if key.find(exp.AggFunc) and render(key.this).casefold() not in shown | _aliases(step):
                step.append("expressions", key.this.copy())
        return step

    def _select(
        self, projections: list[exp.Expr], chosen: list[Source], conditions: list[exp.Expr]
    ) -> exp.Select | None:
        if not projections:
            return None
        step = exp.Select(expressions=[item.copy() for item in projections])
        step.meta.update(self.select.meta)
        step.set("from_", exp.From(this=chosen[0].node.copy()))
        step.set("joins", [source.join.copy() for source in chosen[1:] if source.join])
        if conditions:
            step.set("where", exp.Where(this=exp.and_(*(item.copy() for item in conditions), copy=False)))
        return step

    def _link_columns(self, source: Source) -> list[exp.Expr]:
        """The columns of ``source`` that join it to the others, or else its key, or else what gold shows of it."""
        columns: list[exp.Expr] = [
            c for link in self._links for c in self._columns(link) if instance(c, self.select) == source.alias
        ]
        join = source.join or (self.select.args.get("joins") or [None])[0]
        using: list[exp.Expr] = [exp.column(name.name) for name in (join.args.get("using") or ())] if join else []
        shown: list[exp.Expr] = [
            c for c in self._plain_columns() if isinstance(c, exp.Column) and instance(c, self.select) == source.alias
        ]
        return _distinct(columns) or using or self._key(source) or shown

    def _key(self, source: Source) -> list[exp.Expr]:
        columns = source.table.primary_key if source.table else ()
        return [exp.column(exp.to_identifier(column.name), table=source.node.alias or None) for column in columns]

    def _plain_columns(self) -> list[exp.Expr]:
        """What a step before grouping and ordering shows: gold's columns, or those its groups and aggregates are of."""
        items = [item.unalias() for item in self.select.expressions]
        if any(isinstance(item, exp.Star) or (item.is_star and isinstance(item, exp.Column)) for item in items):
            return items
        group = self.select.args.get("group")
        plain = [*(group.expressions if group else ()), *(item for item in items if isinstance(item, exp.Column))]
        columns = [item for item in plain if isinstance(item, exp.Column) and instance(item, self.select)]
        if columns:
            return _distinct(columns)
        order = self.select.args.get("order")
        inner = [c for item in [*items, *(order.expressions if order else ())] for c in self._columns(item)]
        return _distinct([column for column in inner if instance(column, self.select)]) or self._key(self.sources[0])

    def _columns(self, expression: exp.Expr) -> list[exp.Column]:
        return [column for column in expression.find_all(exp.Column) if column.find_ancestor(exp.Select) is self.select]


def _aliases(select: exp.Select) -> set[str]:
    return {item.alias.casefold() for item in select.expressions if item.alias}


def _distinct(items: Sequence[exp.Expr]) -> list[exp.Expr]:
    return list({render(item).casefold(): item for item in items}.values())
