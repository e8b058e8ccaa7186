"""The FROM part of a block, and the noun phrase that says the same: "loans of books written by authors whose …"."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from learnat.benchmarks.generated.filters import Filter
from learnat.benchmarks.generated.model import Edge, GenColumn, GenDatabase, GenTable
from learnat.benchmarks.generated.words import is_phrase


@dataclass(frozen=True)
class Scope:
    """A table and the tables above it that are joined: always child to parent, so that no row is multiplied."""

    root: GenTable
    edges: tuple[Edge, ...] = ()
    qualified: bool = False
    """Whether columns carry their table's name even though there is only one table here (correlated blocks)."""

    @property
    def tables(self) -> tuple[GenTable, ...]:
        return (self.root, *(edge.parent for edge in self.edges))

    @property
    def leaves(self) -> tuple[GenTable, ...]:
        """The joined tables that lead nowhere further: without a use for them, their join would be pointless."""
        inner = {edge.child.name for edge in self.edges}
        return tuple(edge.parent for edge in self.edges if edge.parent.name not in inner)

    def table_of(self, column: GenColumn) -> GenTable:
        return next(table for table in self.tables if table.name == column.table)

    def reference(self, column: GenColumn) -> str:
        return f"{column.table}.{column.name}" if self.edges or self.qualified else column.name

    @property
    def sql(self) -> str:
        return self.root.name + "".join(f" JOIN {edge.parent.name} ON {edge.on}" for edge in self.edges)


def draw_scope(db: GenDatabase, rng: random.Random, joins: int, root: GenTable | None = None) -> Scope | None:
    """A random scope with exactly ``joins`` joins, or None where the root drawn has not so many ancestors.

    A table that the root reaches by two ways is left out: words could not tell which is meant.
    """
    start = root or rng.choice([table for table in db.tables if joins == 0 or db.parents(table)])
    edges: list[Edge] = []
    while len(edges) < joins:
        inside = [start, *(edge.parent for edge in edges)]
        frontier = [
            edge
            for table in inside
            for edge in db.parents(table)
            if edge.parent not in inside and db.routes(start, edge.parent) == 1
        ]
        if not frontier:
            return None
        edges.append(rng.choice(frontier))
    return Scope(start, tuple(_in_order(db, start, edges)))


def _in_order(db: GenDatabase, start: GenTable, edges: list[Edge]) -> list[Edge]:
    """``edges`` as the schema lists them, a table's own after those that lead to it: one way to write every join."""
    inside = [start]
    ordered: list[Edge] = []
    while len(ordered) < len(edges):
        edge = next(edge for edge in db.edges if edge in edges and edge not in ordered and edge.child in inside)
        ordered.append(edge)
        inside.append(edge.parent)
    return ordered


@dataclass(frozen=True)
class Where:
    """Conditions of a block, all joined by ``connective`` (``AND``, or ``OR`` on one table)."""

    filters: tuple[Filter, ...] = ()
    connective: str = "AND"

    def sql(self, scope: Scope) -> str:
        if not self.filters:
            return ""
        conditions = [item.sql(scope.reference(item.column)) for item in self.filters]
        return " WHERE " + f" {self.connective} ".join(conditions)

    @property
    def evidence(self) -> tuple[str, ...]:
        return tuple(item.evidence for item in self.filters if item.evidence)

    def on(self, table: GenTable) -> list[Filter]:
        return [item for item in self.filters if item.column.table == table.name]


class Speaker:
    """Puts scopes and columns into words; draws among wordings from ``rng``."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def noun(self, table: GenTable, *, one: bool = False) -> str:
        pair = table.nouns[0] if len(table.nouns) == 1 or self.rng.random() < 0.75 else table.nouns[1]
        return pair[0 if one else 1]

    def phrase(self, column: GenColumn) -> str:
        """A phrase for ``column``: most often the identifier's own words."""
        if len(column.phrases) == 1 or self.rng.random() < 0.6:
            return column.phrases[0]
        return self.rng.choice(column.phrases[1:])

    def column(self, column: GenColumn, scope: Scope) -> str:
        """A phrase for ``column`` that says which table of ``scope`` it is of, when it is not the root's own."""
        phrase = self.phrase(column)
        if column.table == scope.root.name:
            return phrase
        return self._owned(phrase, self.noun(scope.table_of(column), one=True))

    def _owned(self, phrase: str, noun: str) -> str:
        if noun in phrase.split():
            return phrase
        if is_phrase(phrase) or self.rng.random() < 0.3:
            return f"{phrase} of the {noun}"
        return f"{noun} {phrase}"

    def condition(self, item: Filter, phrase: str = "") -> str:
        return self.rng.choice(item.wordings).replace("{c}", phrase or self.phrase(item.column))

    def rows(self, scope: Scope, where: Where, *, one: bool = False) -> str:
        """The noun phrase for the rows of ``scope`` that meet ``where``."""
        return self._rows(scope, where, scope.root, one)

    def _rows(self, scope: Scope, where: Where, table: GenTable, one: bool) -> str:
        own = where.on(table)
        adjectives = [item.adjective for item in own if item.adjective]
        plain = [self.condition(item) for item in own if not item.adjective]
        text = " ".join([*adjectives, self.noun(table, one=one)])
        joiner = " and " if where.connective == "AND" else " or "
        parts = [joiner.join(plain)] if plain else []
        parts += [
            self._clause(scope, where, edge)
            for edge in scope.edges
            if edge.child is table and self._mentioned(scope, where, edge.parent)
        ]
        return f"{text} {', '.join(parts)}" if parts else text

    def _mentioned(self, scope: Scope, where: Where, table: GenTable) -> bool:
        return bool(where.on(table)) or any(
            self._mentioned(scope, where, edge.parent) for edge in scope.edges if edge.child is table
        )

    def _below(self, scope: Scope, where: Where, table: GenTable) -> list[Filter]:
        found = list(where.on(table))
        for edge in scope.edges:
            if edge.child is table:
                found += self._below(scope, where, edge.parent)
        return found

    def _clause(self, scope: Scope, where: Where, edge: Edge) -> str:
        below = self._below(scope, where, edge.parent)
        only = below[0] if len(below) == 1 and not below[0].adjective else None
        if only is not None and only.names_row and only.column.table == edge.parent.name and self.rng.random() < 0.7:
            return f"{edge.down} the {self.noun(edge.parent, one=True)} {only.names_row}"
        if only is not None and self.rng.random() < 0.3:
            owner = scope.table_of(only.column)
            return self.condition(only, self._owned(self.phrase(only.column), self.noun(owner, one=True)))
        return f"{edge.down} {self._rows(scope, where, edge.parent, False)}"


def joined(texts: Sequence[str]) -> str:
    """Several pieces of evidence as one field."""
    return "; ".join(dict.fromkeys(texts))
