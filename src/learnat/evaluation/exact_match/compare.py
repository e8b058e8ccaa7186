"""Two queries compared clause by clause, as ``Evaluator.eval_exact_match`` of the official evaluator does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace

from learnat.evaluation.exact_match.parts import ColumnUse, Condition, Conditions, Order, Query, Selected, Term, Value

COMPONENTS = ("select", "from", "where", "group", "having", "order", "set_operation", "keywords")


def comparable(query: Query, same_as: Mapping[str, str]) -> Query:
    """``query`` without what exact match does not look at, its joined columns unified.

    Values go; DISTINCT goes; a column of a table in the outermost FROM becomes the one that ``same_as``
    (``foreign_keys.representatives``) names. Subqueries lose the values of their conditions only, those in FROM
    nothing: the official rule.
    """
    tables = {table for table in query.tables if isinstance(table, str)}
    known = {column: first for column, first in same_as.items() if column.partition(".")[0] in tables}
    return _Unifier(known).query(_without_values(query))


def matches(predicted: Query, gold: Query) -> bool:
    """Whether all components agree; both queries went through ``comparable``."""
    return all(components(predicted, gold).values())


def components(predicted: Query, gold: Query) -> dict[str, bool]:
    """Whether each of ``COMPONENTS`` agrees.

    The official evaluator reports more of them (select without aggregates, where without operators); each follows
    from one of these. Join conditions are compared by their keywords only.
    """
    return {
        "select": Counter(predicted.select) == Counter(gold.select),
        "from": Counter(predicted.tables) == Counter(gold.tables),
        "where": Counter(predicted.where.units) == Counter(gold.where.units)
        and set(predicted.where.connectors) == set(gold.where.connectors),
        "group": Counter(map(_column_name, predicted.group)) == Counter(map(_column_name, gold.group)),
        "having": _grouping(predicted) == _grouping(gold),
        "order": _ordering(predicted) == _ordering(gold),
        "set_operation": _same_set_operation(predicted, gold),
        "keywords": _keywords(predicted) == _keywords(gold),
    }


def _column_name(use: ColumnUse) -> str:
    """The group key without its table."""
    return use.column.rpartition(".")[2]


def _grouping(query: Query) -> object:
    """HAVING counts together with the group keys in order; without keys it is not looked at."""
    return ([use.column for use in query.group], query.having) if query.group else None


def _ordering(query: Query) -> object:
    """Whether there is a LIMIT counts together with the order; without one it is a keyword only."""
    return (query.order, query.limited) if query.order is not None else None


def _same_set_operation(predicted: Query, gold: Query) -> bool:
    if predicted.set_operation is None or gold.set_operation is None:
        return predicted.set_operation is gold.set_operation
    (name, right), (gold_name, gold_right) = predicted.set_operation, gold.set_operation
    return name == gold_name and matches(right, gold_right)


def _keywords(query: Query) -> set[str]:
    conditions = (query.joins, query.where, query.having)
    units = [unit for part in conditions for unit in part.units]
    present = {
        "where": bool(query.where),
        "group": bool(query.group),
        "having": bool(query.having),
        "order": query.order is not None,
        "limit": query.limited,
        "or": any("or" in part.connectors for part in conditions),
        "not": any(unit.negated for unit in units),
        "in": any(unit.operator == "in" for unit in units),
        "like": any(unit.operator == "like" for unit in units),
    }
    words = {word for word, there in present.items() if there}
    words |= {query.order.direction} if query.order is not None else set()
    return words | ({query.set_operation[0]} if query.set_operation is not None else set())


def _without_values(query: Query) -> Query:
    operation = query.set_operation
    return replace(
        query,
        joins=_conditions_without_values(query.joins),
        where=_conditions_without_values(query.where),
        having=_conditions_without_values(query.having),
        set_operation=None if operation is None else (operation[0], _without_values(operation[1])),
    )


def _conditions_without_values(conditions: Conditions) -> Conditions:
    def keep(value: Value) -> Value:
        return _without_values(value) if isinstance(value, Query) else None

    units = tuple(replace(unit, value=keep(unit.value), upper=keep(unit.upper)) for unit in conditions.units)
    return replace(conditions, units=units)


class _Unifier:
    """Replaces columns by the first that is the same, and forgets DISTINCT; subqueries stay as they are."""

    def __init__(self, same_as: Mapping[str, str]) -> None:
        self._same_as = same_as

    def query(self, query: Query) -> Query:
        operation = query.set_operation
        return replace(
            query,
            distinct=None,
            select=tuple(Selected(item.aggregate, self._term(item.term)) for item in query.select),
            joins=self._conditions(query.joins),
            where=self._conditions(query.where),
            group=tuple(self._use(use) for use in query.group),
            having=self._conditions(query.having),
            order=None if query.order is None else Order(query.order.direction, self._terms(query.order.terms)),
            # The branches of a set operation are unified by the tables of the first one: the official rule.
            set_operation=None if operation is None else (operation[0], self.query(operation[1])),
        )

    def _conditions(self, conditions: Conditions) -> Conditions:
        return replace(conditions, units=tuple(self._condition(unit) for unit in conditions.units))

    def _condition(self, unit: Condition) -> Condition:
        return replace(unit, term=self._term(unit.term))

    def _terms(self, terms: Collection[Term]) -> tuple[Term, ...]:
        return tuple(self._term(term) for term in terms)

    def _term(self, term: Term) -> Term:
        right = None if term.right is None else self._use(term.right)
        return Term(term.operator, self._use(term.left), right)

    def _use(self, use: ColumnUse) -> ColumnUse:
        return ColumnUse(use.aggregate, self._same_as.get(use.column, use.column), None)
