"""Spider's subset of SQL, read by recursive descent into ``parts``.

What the official parser (``process_sql.py``) accepts and what it overlooks is kept: tables are joined by JOIN alone and
renamed by AS alone, aliases hold for the whole query, a subquery in FROM has no alias, values are a number, a string, a
column or a subquery, and what follows the end of the query is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from learnat.evaluation.exact_match.cursor import Cursor
from learnat.evaluation.exact_match.parts import (
    ALL_COLUMNS,
    ColumnUse,
    Condition,
    Conditions,
    Order,
    Query,
    Selected,
    Term,
    Unreadable,
    Value,
)
from learnat.evaluation.exact_match.tokens import tokenize

CLAUSES = {"select", "from", "where", "group", "order", "limit", "intersect", "union", "except"}
CLOSING = {")", ";"}
JOINS = {"join", "on", "as"}
CONDITION_OPERATORS = {"not", "between", "=", ">", "<", ">=", "<=", "!=", "in", "like", "is", "exists"}
ARITHMETIC = {"-", "+", "*", "/"}
AGGREGATES = {"max", "min", "count", "sum", "avg"}
SET_OPERATIONS = {"intersect", "union", "except"}

Columns = Mapping[str, AbstractSet[str]]
"""The columns of each table of a database, all in lower case."""


def parse(sql: str, columns: Columns) -> Query:
    """The query, its names resolved.

    Raises:
        Unreadable: the text is outside Spider's subset, or names what the database does not have.
    """
    words = tokenize(sql)
    if words and words[-1] == "as":
        raise Unreadable("AS is not followed by a name")
    aliases = {words[i + 1]: words[i - 1] for i, word in enumerate(words) if word == "as"}
    for table in columns:
        if table in aliases:
            raise Unreadable(f"the alias {table} is the name of a table")
    try:
        return _Parser(words, aliases | {table: table for table in columns}, columns).query()
    except RecursionError:
        raise Unreadable("nested too deeply") from None


class _Parser(Cursor):
    """A place in the words, and methods that each read one part from there."""

    def __init__(self, words: Sequence[str], tables: Mapping[str, str], columns: Columns) -> None:
        super().__init__(words)
        self.tables = tables
        self.columns = columns

    def at_end_of_clause(self) -> bool:
        return self.ended or self.word in CLAUSES or self.word in CLOSING

    # Queries.

    def query(self) -> Query:
        start = self.at
        in_brackets = self.take("(")
        select_at = self.at
        # FROM comes first: it says which tables the columns of SELECT belong to. It is the first FROM from here on,
        # be it that of a subquery in SELECT: the official rule.
        self.at = self._find("from", start)
        tables, joins = self._from()
        own = tuple(table for table in tables if isinstance(table, str))
        after_from, self.at = self.at, select_at
        distinct, selected = self._select(own)
        self.at = after_from
        where = self._conditions(own) if self.take("where") else Conditions()
        group = self._group(own)
        having = self._conditions(own) if self.take("having") else Conditions()
        order = self._order(own)
        limited = self._limit()
        self._semicolons()
        if in_brackets:
            self.need(")")
        self._semicolons()
        name = self.take_one_of(SET_OPERATIONS)
        operation = None if name is None else (name, self.query())
        return Query(distinct, selected, tables, joins, where, group, having, order, limited, operation)

    def _find(self, word: str, start: int) -> int:
        for place in range(start, len(self.words)):
            if self.words[place] == word:
                return place + 1
        raise Unreadable(f"there is no {word.upper()}")

    def _semicolons(self) -> None:
        while self.take(";"):
            pass

    # Clauses.

    def _from(self) -> tuple[tuple[str | Query, ...], Conditions]:
        tables: list[str | Query] = []
        units: list[Condition] = []
        connectors: list[str] = []
        while not self.ended:
            in_brackets = self.take("(")
            if self.word == "select":
                tables.append(self.query())
            else:
                self.take("join")
                tables.append(self._table())
            if self.take("on"):
                conditions = self._conditions(tuple(table for table in tables if isinstance(table, str)))
                connectors += ["and"] if units else []
                units += conditions.units
                connectors += conditions.connectors
            if in_brackets:
                self.need(")")
            if self.at_end_of_clause():
                break
        return tuple(tables), Conditions(tuple(units), tuple(connectors))

    def _table(self) -> str:
        name = self._table_named(self.next())
        if not self.ended and self.word == "as":
            self.at += 2
        return name

    def _select(self, tables: tuple[str, ...]) -> tuple[bool, tuple[Selected, ...]]:
        self.need("select")
        distinct = self.take("distinct")
        selected = []
        while not self.ended and self.word not in CLAUSES:
            selected.append(Selected(self.take_one_of(AGGREGATES), self._term(tables)))
            self.take(",")
        return distinct, tuple(selected)

    def _group(self, tables: tuple[str, ...]) -> tuple[ColumnUse, ...]:
        keys: list[ColumnUse] = []
        if self.take("group"):
            self.need("by")
            while not self.at_end_of_clause():
                keys.append(self._column_use(tables))
                if not self.take(","):
                    break
        return tuple(keys)

    def _order(self, tables: tuple[str, ...]) -> Order | None:
        if not self.take("order"):
            return None
        self.need("by")
        direction = "asc"
        terms: list[Term] = []
        while not self.at_end_of_clause():
            terms.append(self._term(tables))
            direction = self.take_one_of({"asc", "desc"}) or direction
            if not self.take(","):
                break
        return Order(direction, tuple(terms))

    def _limit(self) -> bool:
        limited = self.take("limit")
        if limited:
            self.next()  # whatever the number
        return limited

    def _conditions(self, tables: tuple[str, ...]) -> Conditions:
        units: list[Condition] = []
        connectors: list[str] = []
        while not self.ended:
            if len(units) > len(connectors):
                raise Unreadable("a condition follows another without AND or OR")
            units.append(self._condition(tables))
            if not self.ended and (self.at_end_of_clause() or self.word in JOINS):
                break
            connector = self.take_one_of({"and", "or"})
            connectors += [connector] if connector else []
        return Conditions(tuple(units), tuple(connectors))

    def _condition(self, tables: tuple[str, ...]) -> Condition:
        term = self._term(tables)
        negated = self.take("not")
        operator = self.take_one_of(CONDITION_OPERATORS)
        if operator is None:
            raise Unreadable("a condition has no operator")
        value = self._value(tables)
        upper: Value = None
        if operator == "between":
            self.need("and")
            upper = self._value(tables)
        return Condition(negated, operator, term, value, upper)

    # Terms.

    def _value(self, tables: tuple[str, ...]) -> Value:
        start = self.at
        in_brackets = self.take("(")
        value: Value
        if self.word == "select":
            value = self.query()
        elif '"' in self.word:
            value = self.next()
        else:
            try:
                value = float(self.word)
                self.next()
            except ValueError:
                value = self._column_value(start, tables)
        if in_brackets:
            self.need(")")
        return value

    def _column_value(self, start: int, tables: tuple[str, ...]) -> ColumnUse:
        """A column compared with.

        What follows it up to AND, a comma or a clause is lost, OR and what it connects included: the official rule.
        """
        while not self.ended and self.word not in (",", ")", "and") and self.word not in CLAUSES | JOINS:
            self.at += 1
        return _Parser(self.words[start : self.at], self.tables, self.columns)._column_use(tables)

    def _term(self, tables: tuple[str, ...]) -> Term:
        in_brackets = self.take("(")
        left, right = self._column_use(tables), None
        operator = self.take_one_of(ARITHMETIC)
        if operator is not None:
            right = self._column_use(tables)
        if in_brackets:
            self.need(")")
        return Term(operator, left, right)

    def _column_use(self, tables: tuple[str, ...]) -> ColumnUse:
        in_brackets = self.take("(")
        aggregate = self.take_one_of(AGGREGATES)
        if aggregate is not None:
            self.need("(")
            distinct = self.take("distinct")
            column = self._column(tables)
            # The brackets around an aggregate stay open here: the official rule.
            self.need(")")
            return ColumnUse(aggregate, column, distinct)
        distinct = self.take("distinct")
        column = self._column(tables)
        if in_brackets:
            self.need(")")
        return ColumnUse(None, column, distinct)

    def _column(self, tables: tuple[str, ...]) -> str:
        """``table.column``: of the table it is qualified with, or of the first in FROM that has such a column."""
        word = self.next()
        if word == ALL_COLUMNS:
            return ALL_COLUMNS
        if "." in word:
            qualifier, _, name = word.partition(".")
            table = self._table_named(qualifier)
            if name not in self.columns[table]:
                raise Unreadable(f"the table {table} has no column {name!r}")
            return f"{table}.{name}"
        for table in tables:
            if word in self.columns[table]:
                return f"{table}.{word}"
        raise Unreadable(f"{word!r} is no column of the tables in FROM")

    def _table_named(self, name: str) -> str:
        table = self.tables.get(name)
        if table is None or table not in self.columns:
            raise Unreadable(f"{name!r} is no table")
        return table
