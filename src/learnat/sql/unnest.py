"""Blocks merged into the block around them: derived tables, and subqueries of ``IN`` and ``EXISTS`` as joins.

Reading from ``(SELECT a FROM t WHERE p)`` or a CTE is reading from ``t WHERE p``. And ``x IN (SELECT y FROM t)``
keeps the rows that a join with ``t`` on ``x = y`` keeps, where some of them come more than once: which of the two a
query uses is style as long as nothing counts its rows. A subquery that groups by ``y`` has each value once, and
becomes a derived table to join with.

``x = (SELECT y FROM t)`` in gold says that there is one such row; a step may say ``IN``, which keeps the same rows or
more, as if it left a condition out. The other way round, ``=`` would take any one of the rows that gold keeps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from learnat.sql.blocks import Block, Instance, Item
from learnat.sql.terms import BLOCK, Term, columns, count_rows, equated, substitute


def relaxed(block: Block) -> Block | None:
    """A block of gold with its conditions ``x = (SELECT ...)`` turned into ``x IN (SELECT ...)``; None without any."""
    found = [item for item in block.conditions if _equals_query(item) and _plain(item.blocks[0])]
    if not found:
        return None
    conditions = tuple(_membership(item) if item in found else item for item in block.conditions)
    return _copy(block, conditions=conditions)


def _equals_query(item: Item) -> bool:
    return item.term[0] == "EQ" and len(item.term) == 3 and item.term[2] == BLOCK and not _has_block(item.term[1])


def _membership(item: Item) -> Item:
    term = ("In", ("query", BLOCK), ("this", item.term[1]))
    return replace(item, term=term, blocks=(_copy(item.blocks[0], role="in"),))


def unnest(block: Block) -> Block | None:
    """``block`` with all that can be merged merged into it, or None where nothing can."""
    if block.operation:
        return None
    merged = block
    while True:
        step = _derived(merged) or _subquery(merged) or _grouped(merged)
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

    def rewritten(term: Term) -> Term:
        return count_rows(substitute(term, new), keys)

    def moved(items: tuple[Item, ...]) -> tuple[Item, ...]:
        return tuple(replace(item, term=rewritten(item.term)) for item in items)

    # A primary key is taken never to be NULL, as in ``counting``; the canonical form saw only the derived table's
    # column in its place.
    keys = frozenset(
        ("column", own.number, name)
        for own in inner.instances
        for name in own.primary_key
        if own.outer_on is None and len(own.primary_key) == 1 and not block.fixed
    )

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
        expressions=(*inner.expressions, *(p._replace(term=rewritten(p.term)) for p in block.expressions)),
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
        added = frozenset(instance.number for instance in inner.instances)
        return _copy(
            block,
            nodes=block.nodes | inner.nodes | (item.nodes if not link else frozenset()),
            instances=(*block.instances, *inner.instances),
            conditions=(*rest, *link, *inner.conditions),
            expressions=(*block.expressions, *inner.expressions),
            semijoined=block.semijoined if _unique(inner, link) else block.semijoined | added,
        )
    return None


def _grouped(block: Block) -> Block | None:
    """``x IN (SELECT y ... GROUP BY y)`` is a join with that derived table, in which each ``y`` stands once."""
    for item in block.conditions:
        if item.term[:2] != ("In", ("query", BLOCK)) or len(item.blocks) != 1:
            continue
        inner = item.blocks[0]
        if len(inner.projections) != 1 or inner.operation or inner.limit or inner.outside or inner.distinct is not None:
            continue
        key = inner.projections[0].term
        if [group.term for group in inner.group] != [key] or not inner.instances:
            continue
        number = -inner.instances[0].number  # not taken: numbers are positive and unique over the query
        link = ("EQ", frozenset((item.term[2][1], ("column", number, key))))
        rest = tuple(other for other in block.conditions if other is not item)
        return _copy(
            block,
            instances=(*block.instances, Instance(number, "", item.nodes, _copy(inner, role="from"))),
            conditions=(*rest, Item(link, item.nodes, (), item.node)),
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
