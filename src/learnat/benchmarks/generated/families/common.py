"""What the question families share: drawing scopes, conditions and columns, and the draft they hand back."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from learnat.benchmarks.generated.filters import Filter, draw_filter
from learnat.benchmarks.generated.model import GenColumn, GenDatabase, GenTable
from learnat.benchmarks.generated.scope import Scope, Speaker, Where, draw_scope

AGGREGATES = {
    "AVG": ("average", "mean"),
    "MAX": ("highest", "largest", "maximum"),
    "MIN": ("lowest", "smallest", "minimum"),
    "SUM": ("total", "combined"),
}
"""The words for each function."""
JOIN_WEIGHTS = (12, 9, 2, 0.4)
"""How often a family that can join takes 0, 1, 2 or 3 joins."""


@dataclass(frozen=True)
class Draft:
    """A question not yet checked against the rows.

    ``ranking`` is a query that gives the sort key of every row, before LIMIT, in order: rows that tie where the order
    or the cut matters would make the answer a matter of chance. ``fewer_than``: the number of rows that a result
    must stay below to say anything (a filter that keeps everything needs no reading).
    """

    sql: str
    question: str
    evidence: str = ""
    ranking: str = ""
    limit: int = 0
    fewer_than: int = 0


class Composer:
    """Draws the parts of questions about one database."""

    def __init__(self, db: GenDatabase, rng: random.Random) -> None:
        self.db = db
        self.rng = rng
        self.say = Speaker(rng)

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def scope(self, weights: Sequence[float] = JOIN_WEIGHTS, root: GenTable | None = None) -> Scope | None:
        joins = self.rng.choices(range(len(weights)), weights)[0]
        return draw_scope(self.db, self.rng, joins, root)

    def where(
        self,
        scope: Scope,
        *,
        used: Sequence[GenColumn] = (),
        least: int = 0,
        extra: float = 0.4,
        by_name: bool = False,
    ) -> Where | None:
        """Conditions on every leaf of ``scope`` that no column in ``used`` gives a purpose to, and perhaps one more.

        ``least`` is the number of conditions wanted at least; ``extra`` the probability of one beyond that;
        ``by_name`` allows to pick one row of the root by its label, of which there is nothing to count or compare.
        """
        purposeful = {column.table for column in used}
        tables = [leaf for leaf in scope.leaves if leaf.name not in purposeful]
        while len(tables) < least:
            tables.insert(0, scope.root)
        if len(tables) < 3 and self.chance(extra):
            tables.insert(0, scope.root if self.chance(0.7) else self.rng.choice(scope.tables))
        filters: list[Filter] = []
        for table in tables:
            avoid = {column.name for column in used if column.table == table.name}
            avoid |= {item.column.name for item in filters if item.column.table == table.name}
            item = draw_filter(table, self.rng, avoid=frozenset(avoid), by_name=by_name or table is not scope.root)
            if item is None:
                return None
            filters.append(item)
        adjectives = [item.adjective for item in filters if item.adjective]
        if len(adjectives) > len(set(adjectives)):
            return None  # one word would mean two things
        order = [table.name for table in scope.tables]
        # As the words come: table by table, and adjectives, which stand before the noun, first.
        filters.sort(key=lambda item: (order.index(item.column.table), not item.adjective))
        either = len(filters) == 2 and not scope.edges and not any(item.adjective for item in filters)
        return Where(tuple(filters), "OR" if either and self.chance(0.25) else "AND")

    def numbers(self, scope: Scope) -> list[GenColumn]:
        """The quantities of the root: what may be averaged."""
        return scope.root.of_kind("number")

    def shown(self, table: GenTable) -> GenColumn | None:
        """A column that a person would ask for, most often the label."""
        if table.label is not None and self.chance(0.6):
            return table.label
        return self.rng.choice(table.readable) if table.readable else None

    def groups(self, scope: Scope) -> list[GenColumn]:
        """Columns worth grouping by: few values, or the name of a joined table's row; of a leaf, if there is one."""
        tables = scope.leaves or scope.tables
        found = [column for table in tables for column in table.of_kind("category", "code") if not column.has_nulls]
        found += [table.label for table in tables if table is not scope.root and table.label is not None]
        return found

    def words(self, *templates: str) -> str:
        return self.rng.choice(templates)

    def one_filter(self, table: GenTable, *avoid: GenColumn, by_name: bool = False) -> Where | None:
        item = draw_filter(table, self.rng, avoid=frozenset(column.name for column in avoid), by_name=by_name)
        return None if item is None else Where((item,))

    def maybe_filter(self, probability: float, table: GenTable, *avoid: GenColumn) -> Where:
        """One condition with this probability, else none."""
        return (self.one_filter(table, *avoid) if self.chance(probability) else None) or Where()


def block(select: str, scope: Scope, where: Where) -> str:
    return f"SELECT {select} FROM {scope.sql}{where.sql(scope)}"
