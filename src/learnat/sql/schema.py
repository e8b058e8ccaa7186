"""The schema of a database, as every room sees it. Names keep the spelling of the database."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True)
class Column:
    """One column. ``type`` is the declared SQL type; ``samples`` are a few values that occur, as text."""

    name: str
    type: str = "TEXT"
    description: str = ""
    primary_key: bool = False
    samples: tuple[str, ...] = ()


@dataclass(frozen=True)
class ForeignKey:
    """``table.column`` refers to ``ref_table.ref_column``."""

    table: str
    column: str
    ref_table: str
    ref_column: str


@dataclass(frozen=True)
class Table:
    name: str
    columns: tuple[Column, ...]
    description: str = ""

    def column(self, name: str) -> Column | None:
        """The column called ``name`` (case ignored, as SQLite does), or None."""
        return self._by_name.get(name.casefold())

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name.casefold(): column for column in self.columns}

    @property
    def primary_key(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.primary_key)


@dataclass(frozen=True)
class Schema:
    tables: tuple[Table, ...]
    foreign_keys: tuple[ForeignKey, ...] = field(default=())

    def __hash__(self) -> int:
        return self._hash

    def __getstate__(self) -> dict[str, object]:
        # Hashes of strings differ from process to process, so a cached one must not travel in a pickle.
        return {"tables": self.tables, "foreign_keys": self.foreign_keys}

    @cached_property
    def _hash(self) -> int:
        """Computed once: a schema is part of the key of every cached canonical form."""
        return hash((self.tables, self.foreign_keys))

    def table(self, name: str) -> Table | None:
        """The table called ``name`` (case ignored, as SQLite does), or None."""
        return self._by_name.get(name.casefold())

    @cached_property
    def _by_name(self) -> dict[str, Table]:
        return {table.name.casefold(): table for table in self.tables}
