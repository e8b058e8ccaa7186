"""Subqueries that yield keys or existence: rows with, without, or with many related rows."""

from __future__ import annotations

from dataclasses import dataclass

from learnat.benchmarks.generated.families.common import Composer, Draft, block
from learnat.benchmarks.generated.families.heads import asked_of
from learnat.benchmarks.generated.model import Edge, GenTable
from learnat.benchmarks.generated.scope import Scope
from learnat.benchmarks.generated.words import number_word, with_article


@dataclass(frozen=True)
class _Relation:
    """Rows of ``table`` that are "``words`` ``rows``" ("who wrote books"); ``keys`` is the subquery that lists them."""

    table: GenTable
    keys: str
    words: str
    rows: str
    one: str
    evidence: tuple[str, ...]


def _relation(c: Composer) -> _Relation | None:
    return _through_bridge(c) if c.db.links and c.chance(0.4) else _to_children(c)


def _through_bridge(c: Composer) -> _Relation | None:
    link = c.rng.choice(c.db.links)
    where = c.one_filter(link.right.parent, by_name=True)
    if where is None:
        return None
    bridge, goal = Scope(link.left.child, (link.right,)), Scope(link.right.parent)
    return _Relation(
        link.left.parent,
        block(bridge.reference(link.left.column), bridge, where),
        link.words,
        c.say.rows(goal, where),
        c.say.rows(goal, where, one=True),
        where.evidence,
    )


def _edges(c: Composer) -> list[Edge]:
    return [edge for edge in c.db.edges if edge.child.readable]


def _to_children(c: Composer) -> _Relation | None:
    edges = _edges(c)
    if not edges:
        return None
    edge = c.rng.choice(edges)
    scope = Scope(edge.child)
    where = c.maybe_filter(0.75, edge.child)
    return _Relation(
        edge.parent,
        block(edge.column.name, scope, where),
        edge.up,
        c.say.rows(scope, where),
        c.say.rows(scope, where, one=True),
        where.evidence,
    )


def member_of(c: Composer) -> Draft | None:
    """IN: rows with at least one related row of some kind. No join, so nobody is listed twice."""
    relation = _relation(c)
    if relation is None:
        return None
    clause = c.words(
        f"{relation.words} {relation.rows}",
        f"{relation.words} at least one {relation.one}",
        f"{relation.words} any {relation.rows}",
        f"{relation.words} one or more {relation.rows}",
    )
    condition = f"{relation.table.key.name} IN ({relation.keys})"
    outer = c.maybe_filter(0.2, relation.table)
    return asked_of(c, relation.table, outer, clause, condition, relation.evidence)


def not_member_of(c: Composer) -> Draft | None:
    """NOT IN: rows without a related row of some kind."""
    relation = _relation(c)
    if relation is None:
        return None
    clause = c.words(
        f"except those {relation.words} {relation.rows}",
        f"other than those {relation.words} {relation.rows}",
        f"not among those {relation.words} {relation.rows}",
        f"leaving out those {relation.words} {relation.rows}",
    )
    condition = f"{relation.table.key.name} NOT IN ({relation.keys})"
    outer = c.maybe_filter(0.2, relation.table)
    return asked_of(c, relation.table, outer, clause, condition, relation.evidence)


def exists(c: Composer) -> Draft | None:
    """EXISTS and NOT EXISTS, with a correlated block."""
    edges = _edges(c)
    if not edges:
        return None
    edge = c.rng.choice(edges)
    where = c.one_filter(edge.child, by_name=True)
    if where is None:
        return None
    scope = Scope(edge.child, qualified=True)
    one = c.say.rows(scope, where, one=True)
    negated = c.chance(0.5)
    clause = (
        c.words(
            f"for which there is no {one}",
            f"for which there is not a single {one}",
            f"such that there is no {one}",
            f"lacking any {one}",
        )
        if negated
        else c.words(
            f"for which there is {with_article(one)}",
            f"for which you can find {with_article(one)}",
            f"such that there is at least one {one}",
            f"for which there is some {one}",
        )
    )
    related = f"SELECT 1 FROM {edge.child.name} WHERE {edge.on} AND {where.sql(scope).removeprefix(' WHERE ')}"
    condition = f"{'NOT ' if negated else ''}EXISTS ({related})"
    return asked_of(c, edge.parent, c.maybe_filter(0.15, edge.parent), clause, condition, where.evidence)


def member_by_count(c: Composer) -> Draft | None:
    """IN with a grouped block: rows with more than so many related rows."""
    edges = [edge for edge in c.db.edges if edge.child.size > 40] or list(c.db.edges)
    if not edges:
        return None
    edge = c.rng.choice(edges)
    scope, column = Scope(edge.child), edge.column.name
    where = c.maybe_filter(0.4, edge.child)
    typical = edge.child.size / edge.parent.size
    bound = max(1, round(typical * c.rng.uniform(0.5, 1.5) / (2 if where.filters else 1)))
    operator, limit, wording = c.rng.choice(
        ((">", bound, "more than {}"), (">=", bound + 1, "at least {}"), (">=", bound + 1, "{} or more"))
    )
    rows = f"{wording.format(number_word(limit, c.rng))} {c.say.rows(scope, where)}"
    clause = c.words(
        f"{edge.up} {rows}",
        f"for which there are {rows}",
        f"linked to {rows}",
        f"connected with {rows}",
    )
    keys = block(column, scope, where) + f" GROUP BY {column} HAVING COUNT(*) {operator} {limit}"
    condition = f"{edge.parent.key.name} IN ({keys})"
    return asked_of(c, edge.parent, c.maybe_filter(0.15, edge.parent), clause, condition, where.evidence)
