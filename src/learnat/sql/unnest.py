"""Blocks merged into the block around them: derived tables, and subqueries of ``IN`` and ``EXISTS`` as joins.

Reading from ``(SELECT a FROM t WHERE p)`` or a CTE is reading from ``t WHERE p``. And ``x IN (SELECT y FROM t)``
keeps the rows that a join with ``t`` on ``x = y`` keeps, where some of them come more than once: which of the two a
query uses is style as long as nothing counts its rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from learnat.sql.blocks import Block, Instance, Item
from learnat.sql.terms import BLOCK, Term, columns, equated, substitute


def unnest(block: Block) -> Block | None:
    """``block`` with all that can be merged merged into it, or None where nothing can."""
    if block.operation:
        return None
    merged = block
    while True:
        step = _derived(merged) or _subquery(merged)
        if step is None:
            return None if merged is block else merged
        merged = step


def _plain(block: Block) -> bool:
    """Rows of the block are rows of its tables: nothing groups, cuts, orders or combines them."""
    return not (
        block.operation or block.group or block.having or block.aggregates or block.limit or block.fixed or block.order
    )


def _derived(block: Block) -> Block | None:
    for instance in block.instances:
        inner = instance.block
        if inner is None or instance.outer_on is not None or not _plain(inner) or inner.distinct is not None:
            continue
        if any(_has_block(item.term) or _windowed(item) for item in inner.projections):
            continue
        if any(instance.number in nested.outside for nested in block.nested()):
            continue
        return _merge(block, inner, instance)
    return None


def _merge(block: Block, inner: Block, instance: Instance) -> Block:
    def new(column: Term) -> Term:
        if column[1] == instance.number and isinstance(column[2], tuple):
            return substitute(column[2], new)
        if isinstance(column[2], tuple) and column[2][0] != "place":
            return ("column", column[1], substitute(column[2], new))
        return column

    def moved(items: tuple[Item, ...]) -> tuple[Item, ...]:
        return tuple(replace(item, term=substitute(item.term, new)) for item in items)

    instances: list[Instance] = []
    for other in block.instances:
        if other is instance:
            instances += inner.instances
        else:
            on = None if other.outer_on is None else moved(other.outer_on)
            instances.append(replace(other, outer_on=on))
    return _copy(
        block,
        nodes=block.nodes | instance.nodes | inner.nodes,
        instances=tuple(instances),
        conditions=(*inner.conditions, *moved(block.conditions)),
        projections=moved(block.projections),
        group=moved(block.group),
        having=moved(block.having),
        order=moved(block.order),
        expressions=(*inner.expressions, *(p._replace(term=substitute(p.term, new)) for p in block.expressions)),
    )


def _subquery(block: Block) -> Block | None:
    for item in block.conditions:
        if len(item.blocks) != 1 or not _plain(item.blocks[0]) or not item.blocks[0].instances:
            continue
        inner = item.blocks[0]
        link: tuple[Item, ...] = ()
        if item.term[0] == "In" and item.term[1] == ("query", BLOCK) and len(inner.projections) == 1:
            left, right = item.term[2][1], inner.projections[0].term
            if _has_block(right):
                continue
            link = (Item(("EQ", frozenset((left, right))), item.nodes | inner.projections[0].nodes, (), item.node),)
        elif item.term != ("Exists", ("this", BLOCK)):
            continue
        rest = tuple(other for other in block.conditions if other is not item)
        return _copy(
            block,
            nodes=block.nodes | inner.nodes | (item.nodes if not link else frozenset()),
            instances=(*block.instances, *inner.instances),
            conditions=(*rest, *link, *inner.conditions),
            expressions=(*block.expressions, *inner.expressions),
            semijoined=block.semijoined or not _unique(inner, link),
        )
    return None


def _unique(inner: Block, link: tuple[Item, ...]) -> bool:
    """Whether each row outside meets one row inside at most: the link is the primary key of the only table."""
    if len(inner.instances) != 1 or not inner.instances[0].primary_key:
        return False
    instance = inner.instances[0]
    linked = {
        column[2]
        for item in (*link, *inner.conditions)
        for column in equated(item.term) or ()
        if column[1] == instance.number and any(c[1] != instance.number for c in equated(item.term) or ())
    }
    return set(instance.primary_key) <= linked


def _copy(block: Block, **changes: Any) -> Block:
    fields = {name: getattr(block, name) for name in Block.__dataclass_fields__}
    return Block(**{**fields, **changes})


def _has_block(term: Term) -> bool:
    return term == BLOCK or any(
        _has_block(part)
        if isinstance(part, tuple) and part
        else isinstance(part, frozenset) and any(map(_has_block, part))
        for part in term
    )


def _windowed(item: Item) -> bool:
    return item.term[0] == "Window" or any(column[1] is None for column in columns(item.term))
