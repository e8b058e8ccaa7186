"""A concrete generated database: chosen names, chosen columns, rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from learnat.benchmarks.generated.spec import ColumnSpec

Value = str | int | float | None


@dataclass(frozen=True)
class GenColumn:
    """A column under its chosen ``name``. ``phrases`` name it, and no other column of its table, in a question."""

    table: str
    name: str
    spec: ColumnSpec
    phrases: tuple[str, ...]
    terms: tuple[str, ...]
    values: tuple[Value, ...]

    @property
    def kind(self) -> str:
        return self.spec.kind

    @property
    def type(self) -> str:
        return "INTEGER" if self.kind in ("key", "ref") else self.spec.sql_type

    @cached_property
    def known(self) -> tuple[str | int | float, ...]:
        """The values that are not NULL, sorted, with repetition."""
        return tuple(sorted(value for value in self.values if value is not None))

    @cached_property
    def distinct(self) -> tuple[str | int | float, ...]:
        return tuple(sorted(set(self.known)))

    @property
    def has_nulls(self) -> bool:
        return len(self.known) < len(self.values)


@dataclass(frozen=True)
class GenTable:
    """``nouns`` are (singular, plural) pairs; the first is the one the identifier is made from."""

    name: str
    nouns: tuple[tuple[str, str], ...]
    columns: tuple[GenColumn, ...]

    @property
    def key(self) -> GenColumn:
        return self.columns[0]

    @cached_property
    def label(self) -> GenColumn | None:
        return next((column for column in self.columns if column.kind == "label"), None)

    def of_kind(self, *kinds: str) -> list[GenColumn]:
        return [column for column in self.columns if column.kind in kinds]

    @cached_property
    def readable(self) -> tuple[GenColumn, ...]:
        """The columns a person would ask for: all but keys and references."""
        return tuple(column for column in self.columns if column.kind not in ("key", "ref"))

    @property
    def size(self) -> int:
        return len(self.key.values)


@dataclass(frozen=True)
class Edge:
    """The foreign key ``child.column`` → ``parent``: "children ``down`` parents", "parents ``up`` children"."""

    child: GenTable
    column: GenColumn
    parent: GenTable
    down: str
    up: str

    @property
    def on(self) -> str:
        return f"{self.child.name}.{self.column.name} = {self.parent.name}.{self.parent.key.name}"


@dataclass(frozen=True)
class Link:
    """``left`` and ``right`` of ``bridge`` (its two edges) stand in a many-to-many relation: "left ``words`` right"."""

    left: Edge
    right: Edge
    words: str


@dataclass(frozen=True)
class Derived:
    """``term`` names ``left operator right``, two columns of ``table``."""

    table: GenTable
    term: str
    left: GenColumn
    operator: str
    right: GenColumn


@dataclass(frozen=True)
class GenDatabase:
    db_id: str
    domain: str
    renamed: bool
    tables: tuple[GenTable, ...]
    edges: tuple[Edge, ...]
    links: tuple[Link, ...]
    derived: tuple[Derived, ...]

    def parents(self, table: GenTable) -> list[Edge]:
        return [edge for edge in self.edges if edge.child is table]

    def children(self, table: GenTable) -> list[Edge]:
        return [edge for edge in self.edges if edge.parent is table]

    def routes(self, start: GenTable, goal: GenTable) -> int:
        """How many ways lead up from ``start`` to ``goal``."""
        if start is goal:
            return 1
        return sum(self.routes(edge.parent, goal) for edge in self.parents(start))


@dataclass(frozen=True)
class Question:
    """One generated question. ``family`` is the construct it was drawn from."""

    db_id: str
    family: str
    question: str
    evidence: str
    sql: str
    difficulty: str
    empty: bool
