"""How a business domain is described: tables, columns with the words people use for them, and relations.

The domains themselves live in ``domains/``. A domain is a template: ``variant.py`` draws a concrete database from it.
In the constructors below ``names`` and ``words`` are ``"a; b"`` lists: the identifiers a variant may choose from, and
phrases that name the column in a question (the chosen identifier, its underscores turned to spaces, is always one too).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["key", "ref", "label", "category", "code", "number", "year", "date"]


@dataclass(frozen=True)
class ColumnSpec:
    """One column of a domain template.

    ``label``: unique text that names a row. ``category``: text from a small set. ``code``: a small integer scale.
    ``number``: quantity that may be summed; ``year``: integer that may not. ``nulls``: share of rows without a value.
    ``terms``: adjectives that only the evidence explains (``">cheap"``: value above a bound; ``"=premium"``: one code).
    ``base``: a column of the same table that this number stays below, or that this date follows.
    """

    names: tuple[str, ...]
    words: tuple[str, ...]
    kind: Kind
    values: tuple[str, ...] = ()
    seconds: tuple[str, ...] = ()
    low: float = 0
    high: float = 0
    step: float = 1
    nulls: float = 0.0
    terms: tuple[str, ...] = ()
    base: str = ""
    parent: str = ""
    down: str = ""
    up: str = ""

    @property
    def sql_type(self) -> str:
        if self.kind in ("label", "category"):
            return "TEXT"
        if self.kind == "date":
            return "DATE"
        return "REAL" if self.step != int(self.step) else "INTEGER"


@dataclass(frozen=True)
class TableSpec:
    """A table of a domain template. ``names``: nouns, each also a possible identifier. ``rows``: bounds on its size."""

    names: tuple[str, ...]
    columns: tuple[ColumnSpec, ...]
    rows: tuple[int, int]

    @property
    def name(self) -> str:
        return self.names[0]


@dataclass(frozen=True)
class LinkSpec:
    """A many-to-many relation through ``bridge``: "members ``forward`` books", "books ``backward`` members"."""

    bridge: str
    left: str
    right: str
    forward: str
    backward: str


@dataclass(frozen=True)
class DerivedSpec:
    """A quantity computed from two columns of ``table``, named by ``term``; ``operator`` is ``-`` or ``*``."""

    table: str
    term: str
    left: str
    operator: Literal["-", "*"]
    right: str


@dataclass(frozen=True)
class Domain:
    """An ordinary business: its tables, parents before children, and what is particular to it."""

    name: str
    tables: tuple[TableSpec, ...]
    links: tuple[LinkSpec, ...] = ()
    derived: tuple[DerivedSpec, ...] = ()


def split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(";") if part.strip())


def table(names: str, *columns: ColumnSpec, size: Literal["small", "large"] = "small") -> TableSpec:
    """``small``: people and things; ``large``: events, which refer to several of them."""
    return TableSpec(split(names), columns, (18, 32) if size == "small" else (60, 100))


def label(names: str, words: str, firsts: tuple[str, ...], seconds: tuple[str, ...]) -> ColumnSpec:
    """A two-word name, unique in its table."""
    return ColumnSpec(split(names), split(words), "label", values=firsts, seconds=seconds)


def category(names: str, words: str, values: tuple[str, ...], nulls: float = 0.0) -> ColumnSpec:
    return ColumnSpec(split(names), split(words), "category", values=values, nulls=nulls)


def code(names: str, words: str, low: int, high: int, terms: str = "") -> ColumnSpec:
    return ColumnSpec(split(names), split(words), "code", low=low, high=high, terms=split(terms))


def number(
    names: str,
    words: str,
    low: float,
    high: float,
    step: float = 1,
    *,
    terms: str = "",
    nulls: float = 0.0,
    base: str = "",
) -> ColumnSpec:
    return ColumnSpec(
        split(names), split(words), "number", low=low, high=high, step=step, terms=split(terms), nulls=nulls, base=base
    )


def year(names: str, words: str, low: int, high: int, terms: str = "") -> ColumnSpec:
    return ColumnSpec(split(names), split(words), "year", low=low, high=high, terms=split(terms))


def date(names: str, words: str, low: int, high: int, *, nulls: float = 0.0, base: str = "") -> ColumnSpec:
    """An ISO date; ``low`` and ``high`` are years."""
    return ColumnSpec(split(names), split(words), "date", low=low, high=high, nulls=nulls, base=base)


def ref(parent: str, down: str, up: str) -> ColumnSpec:
    """A foreign key: "children ``down`` parents" ("books written by authors"), "parents ``up`` children"."""
    return ColumnSpec((parent,), (), "ref", parent=parent, down=down, up=up)


def nullable(column: ColumnSpec, share: float) -> ColumnSpec:
    return replace(column, nulls=share)
