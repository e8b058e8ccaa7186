"""The block view of a query: what each SELECT is made of, as comparable items.

A query is a tree of blocks: the branches of set operations, CTEs, derived tables and subqueries. A block has
table instances, and items: conditions (of inner joins and WHERE alike; a disjunction is one condition), group
keys, HAVING conditions, projections, order keys and a limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from sqlglot import exp

from learnat.sql.terms import Term, column_classes, columns, count_rows, refuses_null, substitute

Nodes = frozenset[int]
NONE: Nodes = frozenset()
UNION_ALL = "Union ALL"
_FIRST_ROW: Term = ("limit", ("Limit", ("literal", "1", False)))


@dataclass(frozen=True, eq=False)
class Item:
    """One condition, key or projection.

    ``nodes`` are its places in the labelled tree, those of nested ``blocks`` left out; ``blocks`` are in the
    order of their placeholders in ``term``. ``flag`` is the direction of an order key.
    """

    term: Term
    nodes: Nodes
    blocks: tuple[Block, ...] = ()
    node: exp.Expr | None = None
    flag: str = ""


@dataclass(frozen=True, eq=False)
class Instance:
    """A table, derived table or CTE in FROM. ``number`` is unique over the whole query."""

    number: int
    table: str
    nodes: Nodes
    block: Block | None = None
    primary_key: tuple[str, ...] = ()
    outer_on: tuple[Item, ...] | None = None
    """The ON conditions of the LEFT JOIN that brings this instance; None for any other instance."""


class Part(NamedTuple):
    """An expression somewhere in a block: its term, its range of places, and the nested blocks in it."""

    term: Term
    places: range
    blocks: tuple[Block, ...]

    def item(self) -> Item:
        return Item(self.term, frozenset(self.places) - all_nodes(self.blocks), self.blocks)


@dataclass(eq=False)
class Block:
    """A SELECT or, where ``operation`` is not empty, a set operation over ``branches``.

    ``role`` says how the block stands in its parent: root, from (derived table, CTE), branch (of a set operation),
    branch all (of one that keeps repeats), in, exists, scalar.
    """

    role: str
    nodes: Nodes = NONE
    """The places of what belongs to the block as a whole."""
    instances: tuple[Instance, ...] = ()
    conditions: tuple[Item, ...] = ()
    group: tuple[Item, ...] = ()
    having: tuple[Item, ...] = ()
    projections: tuple[Item, ...] = ()
    outputs: tuple[str, ...] = ()
    order: tuple[Item, ...] = ()
    limit: Item | None = None
    distinct: Nodes | None = None
    """The places of DISTINCT; None without it."""
    aggregates: bool = False
    counts_repeats: bool = False
    """Some aggregate or window function depends on how often each row occurs: any but MIN, MAX, COUNT(DISTINCT ...)."""
    fixed: Term = ()
    """What has no parts and can only be the same: a FROM with RIGHT or FULL joins, named windows."""
    operation: str = ""
    branches: tuple[Block, ...] = ()
    outside: frozenset[int] = NONE
    """Numbers of the instances of enclosing blocks that the block refers to."""
    expressions: tuple[Part, ...] = ()
    """Every expression at any depth of the block's items, nested blocks not entered."""
    semijoined: frozenset[int] = NONE
    """Numbers of the instances of subqueries that were merged into this block as joins: its rows are right, but not
    how often each occurs."""

    def items(self) -> Iterator[Item]:
        yield from self.conditions
        for instance in self.instances:
            yield from instance.outer_on or ()
        yield from self.group
        yield from self.having
        yield from self.projections
        yield from self.order

    def nested(self) -> Iterator[Block]:
        """The blocks directly below this one."""
        yield from self.branches
        for instance in self.instances:
            if instance.block is not None:
                yield instance.block
        for item in self.items():
            yield from item.blocks

    def all(self) -> Iterator[Block]:
        """This block and every one below it, each once (a CTE may be used twice)."""
        found: dict[int, Block] = {}
        stack = [self]
        while stack:
            block = stack.pop()
            if id(block) not in found:
                found[id(block)] = block
                stack.extend(reversed(list(block.nested())))
        return iter(found.values())

    @cached_property
    def classes(self) -> dict[Term, Term]:
        return column_classes([item.term for item in self.conditions])

    @cached_property
    def never_null(self) -> frozenset[Term]:
        """Columns, each standing for its class, that the conditions keep from being NULL."""
        refused = (column for item in self.conditions for column in refuses_null(item.term))
        return frozenset(self.classes.get(column, column) for column in refused)

    def normal(self, term: Term) -> Term:
        """``term`` in words that this block's conditions make equal.

        Of the columns that are equated one stands for all, and a count of what cannot be NULL counts rows.
        """
        classes = self.classes
        if classes:
            term = substitute(term, lambda column: classes.get(column, column))
        return count_rows(term, self.never_null) if self.never_null else term

    def decides(self, keys: set[Term], column: Term) -> bool:
        """Whether the normal term ``column`` is among ``keys``, or a table's primary key among them decides it."""
        if column in keys:
            return True
        for instance in self.instances if column[0] == "column" else ():
            primary = {self.normal(("column", instance.number, name)) for name in instance.primary_key}
            if instance.number == column[1] and primary and primary <= keys:
                return True
        return False

    @property
    def single(self) -> bool:
        """Whether the block is cut down to its first row."""
        return self.limit is not None and self.limit.term == _FIRST_ROW

    @property
    def several(self) -> bool:
        """Whether a limit keeps more than the first row or passes over some."""
        return self.limit is not None and not self.single

    def passes_repeats(self, counted: bool) -> bool:
        """Whether it matters here how often each row of a derived table occurs.

        ``counted``: it matters to a block around how often each row of this block occurs.
        """
        merges = self.distinct is not None or bool(self.group)
        return self.counts_repeats or ((counted or self.several) and not merges)

    @cached_property
    def windows(self) -> bool:
        return any(part.term[0] == "Window" for part in self.expressions)

    @cached_property
    def largest(self) -> Term | None:
        """The normal term whose largest value the block looks for with ``ORDER BY term DESC LIMIT 1``.

        NULL comes last in this order, as it does for MAX. In the other it comes first, but MIN leaves it out.
        """
        if not self.single or self.aggregates or self.group or not self.order or self.order[0].blocks:
            return None
        return self.normal(self.order[0].term) if self.order[0].flag == "DESC False" else None

    def components(self) -> dict[int, int]:
        """For each instance the least of those that conditions link it with, directly or by way of others."""
        component = {instance.number: instance.number for instance in self.instances}
        links = [*self.conditions, *(item for instance in self.instances for item in instance.outer_on or ())]
        for item in links:
            names = {component[column[1]] for column in columns(item.term) if column[1] in component}
            if len(names) > 1:
                component = {end: min(names) if name in names else name for end, name in component.items()}
        return component

    @cached_property
    def clauses(self) -> dict[str, dict[Term, list[Item]]]:
        """The items of each clause by normal term."""
        found: dict[str, dict[Term, list[Item]]] = {}
        for name in ("conditions", "group", "having", "projections", "order"):
            clause = found[name] = {}
            for item in getattr(self, name):
                clause.setdefault(self.normal(item.term), []).append(item)
        return found

    @cached_property
    def parts(self) -> dict[Term, list[Item]]:
        """The ``expressions`` by normal term, and what correlated blocks read of this one: what a step may look up."""
        found: dict[Term, list[Item]] = {}
        for part in self.expressions:
            found.setdefault(self.normal(part.term), []).append(part.item())
        for nested in self.nested():
            for column in _outer_columns(nested):
                found.setdefault(self.normal(column), []).append(Item(column, NONE))
        return found


def _outer_columns(block: Block) -> Iterator[Term]:
    """Columns of enclosing blocks that a correlated block reads."""
    if not block.outside:
        return
    for item in block.items():
        for column in columns(item.term):
            if column[1] in block.outside:
                yield column
    for nested in block.nested():
        yield from _outer_columns(nested)


def all_nodes(blocks: Iterable[Block]) -> Nodes:
    """All places that belong to ``blocks`` and what is below them."""
    found: set[int] = set()
    for block in blocks:
        for inner in block.all():
            found |= inner.nodes
            for instance in inner.instances:
                found |= instance.nodes
            for item in inner.items():
                found |= item.nodes
            found |= inner.distinct or NONE
            found |= inner.limit.nodes if inner.limit is not None else NONE
    return frozenset(found)
