"""What a query of Spider's subset is made of, as the official evaluator sees it.

Columns are ``table.column`` in lower case (``*`` for all), tables their lower-case name: aliases are resolved. All
parts compare by value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

ALL_COLUMNS = "*"


class Unreadable(Exception):
    """The official parser cannot read this query; a prediction then counts as wrong."""


@dataclass(frozen=True)
class ColumnUse:
    """A column, possibly aggregated. ``distinct`` is None once it must not matter."""

    aggregate: str | None
    column: str
    distinct: bool | None


@dataclass(frozen=True)
class Term:
    """A column, or two of them with an arithmetic operator between."""

    operator: str | None
    left: ColumnUse
    right: ColumnUse | None


@dataclass(frozen=True)
class Selected:
    aggregate: str | None
    term: Term


Value = Union[None, float, str, ColumnUse, "Query"]


@dataclass(frozen=True)
class Condition:
    """``upper`` is BETWEEN's second bound, else None."""

    negated: bool
    operator: str
    term: Term
    value: Value
    upper: Value


@dataclass(frozen=True)
class Conditions:
    """Conditions and the AND or OR between each and the next; no precedence."""

    units: tuple[Condition, ...] = ()
    connectors: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.units)

    @property
    def subqueries(self) -> tuple[Query, ...]:
        values = (value for unit in self.units for value in (unit.value, unit.upper))
        return tuple(value for value in values if isinstance(value, Query))


@dataclass(frozen=True)
class Order:
    """Keys with the direction of the last one that names its own: the official rule."""

    direction: str
    terms: tuple[Term, ...]


@dataclass(frozen=True)
class Query:
    """One SELECT. ``set_operation`` is what follows it: ``("union", query)``, or None.

    ``distinct`` is None once it must not matter; ``limited`` says only that there is a LIMIT.
    """

    distinct: bool | None
    select: tuple[Selected, ...]
    tables: tuple[str | Query, ...]
    joins: Conditions
    where: Conditions
    group: tuple[ColumnUse, ...]
    having: Conditions
    order: Order | None
    limited: bool
    set_operation: tuple[str, Query] | None
