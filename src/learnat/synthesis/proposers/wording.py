"""Sub-questions in words, from a block's clauses, the schema's names and its column descriptions."""

from __future__ import annotations

import re

from sqlglot import exp

from learnat.sql.schema import Schema
from learnat.synthesis.proposers.binding import Source, conjuncts, instance, render, sources

_NAME_LIKE = re.compile(r"[\w'()/-]+( [\w'()/-]+){0,4}")
"""Descriptions of up to five plain words name a column; BIRD has paragraphs, and lists of values, too."""

_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "is",
    exp.NEQ: "is not",
    exp.GT: "is greater than",
    exp.GTE: "is at least",
    exp.LT: "is less than",
    exp.LTE: "is at most",
    exp.Like: "is like",
    exp.Is: "is",
}
_AGGREGATES: dict[type[exp.Expr], str] = {exp.Sum: "total", exp.Avg: "average", exp.Min: "lowest", exp.Max: "highest"}
_ARITHMETIC: dict[type[exp.Expr], str] = {exp.Add: "plus", exp.Sub: "minus", exp.Mul: "times", exp.Div: "divided by"}
_SET_OPERATIONS = {exp.Union: "or", exp.Intersect: "and also", exp.Except: "but not"}


def words(name: str) -> str:
    """``countryOfOrigin``, ``Country_of_Origin`` → ``country of origin``."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ")
    return " ".join(name.split()).casefold()


def sub_question(query: exp.Expr, schema: Schema) -> str:
    """The question that ``query``, a block of a tree made by ``bind``, answers."""
    query = query.unnest()
    if isinstance(query, exp.SetOperation):
        parts = [sub_question(side, schema).rstrip(".?") for side in (query.left, query.right)]
        joint = next((word for kind, word in _SET_OPERATIONS.items() if isinstance(query, kind)), "or")
        return f"{parts[0]}, {joint}: {parts[1][:1].lower()}{parts[1][1:]}."
    return _Block(query, schema).question() if isinstance(query, exp.Select) else "Find the values."


class _Block:
    """Words for one SELECT block."""

    def __init__(self, select: exp.Select, schema: Schema) -> None:
        self.select = select
        self.sources = sources(select, schema)
        self._by_alias = {source.alias: source for source in self.sources}
        self._schema = schema

    def question(self) -> str:
        items = [item.unalias() for item in self.select.expressions]
        if len(items) == 1 and isinstance(items[0], exp.Count) and isinstance(items[0].this, exp.Star):
            return f"How many {self._tables()} are there{self._conditions()}{self._shape()}?"
        different = "different " if self.select.args.get("distinct") else ""
        return f"Find the {different}{_list(self._phrases(items))}{self._of()}{self._conditions()}{self._shape()}."

    def _phrases(self, items: list[exp.Expr]) -> list[str]:
        return list(dict.fromkeys(self.phrase(item) for item in items))

    def _of(self) -> str:
        return f" of {self._tables()}" if self.sources else ""

    def _tables(self) -> str:
        return " with ".join(dict.fromkeys(self._table(source) for source in self.sources)) or "rows"

    def _table(self, source: Source) -> str:
        if isinstance(source.node, exp.Subquery):
            return "these rows"
        return words(source.node.name)

    def _conditions(self) -> str:
        where = self.select.args.get("where")
        parts = [self.phrase(part) for part in conjuncts(where.this)] if where else []
        return f" where {' and '.join(parts)}" if parts else ""

    def _shape(self) -> str:
        text = ""
        if group := self.select.args.get("group"):
            text += f" for each {_list(self._phrases(group.expressions))}"
        if having := self.select.args.get("having"):
            text += f" having {' and '.join(self.phrase(part) for part in conjuncts(having.this))}"
        if order := self.select.args.get("order"):
            keys = [self._key(key) for key in order.expressions]
            text += f", sorted by {_list(keys)}"
        if limit := self.select.args.get("limit"):
            text += f", first {render(limit.expression)} only" if limit.expression else ""
        return text

    def _key(self, key: exp.Expr) -> str:
        return f"{self.phrase(key.this)}{' descending' if key.args.get('desc') else ''}"

    def phrase(self, node: exp.Expr) -> str:
        """``node``, an expression or condition of this block, in words; SQL where there are none."""
        node = node.unnest()
        if isinstance(node, exp.Column):
            return self._column(node)
        if isinstance(node, exp.Star):
            return "details"
        if isinstance(node, exp.Alias):
            return self.phrase(node.this)
        if isinstance(node, exp.Literal):
            return f"'{node.this}'" if node.is_string else node.this
        if isinstance(node, exp.Distinct):
            return f"different {_list(self._phrases(node.expressions))}"
        if isinstance(node, exp.Count):
            if isinstance(node.this, exp.Star):
                return f"number of {self._tables() if len(self.sources) == 1 else 'rows'}"
            return f"number of {self.phrase(node.this)}"
        if isinstance(node, tuple(_AGGREGATES)):
            return f"{_AGGREGATES[type(node)]} {self.phrase(node.this)}"
        if isinstance(node, tuple(_ARITHMETIC)):
            return f"{self.phrase(node.this)} {_ARITHMETIC[type(node)]} {self.phrase(node.expression)}"
        return self._condition(node)

    def _condition(self, node: exp.Expr) -> str:
        if isinstance(node, exp.Not):
            positive = self.phrase(node.this)
            return re.sub(r" is ", " is not ", positive, count=1) if " is " in positive else f"not {positive}"
        if isinstance(node, tuple(_COMPARISONS)):
            left, right = self.phrase(node.this), self.phrase(node.expression)
            return f"{left} {_COMPARISONS[type(node)]} {right}"
        if isinstance(node, exp.Between):
            low, high = self.phrase(node.args["low"]), self.phrase(node.args["high"])
            return f"{self.phrase(node.this)} is between {low} and {high}"
        if isinstance(node, exp.In):
            query = node.args.get("query")
            if query is not None:
                return f"{self.phrase(node.this)} is one of {self._nested(query)}"
            return f"{self.phrase(node.this)} is one of {', '.join(self.phrase(item) for item in node.expressions)}"
        if isinstance(node, (exp.And, exp.Or)):
            joint = "and" if isinstance(node, exp.And) else "or"
            return f"{self.phrase(node.left)} {joint} {self.phrase(node.right)}"
        if isinstance(node, exp.Exists):
            return "there are such rows"
        if isinstance(node, exp.Null):
            return "missing"
        if isinstance(node, (exp.Select, exp.SetOperation)):
            return self._nested(node)
        return render(node)

    def _nested(self, query: exp.Expr) -> str:
        """A subquery, which an earlier step has answered: the thing it returns."""
        select = query.find(exp.Select)
        if select is None:
            return "those found"
        block = _Block(select, self._schema)
        return f"the {_list(block._phrases([item.unalias() for item in select.expressions]))} found"

    def _column(self, column: exp.Column) -> str:
        alias = instance(column, self.select)
        source = self._by_alias.get(alias) if alias else None
        text = words(column.name)
        if source is None or source.table is None:
            return text
        known = source.table.column(column.name)
        if known and _NAME_LIKE.fullmatch(known.description):
            text = words(known.description).removeprefix("the ")
        table = words(source.table.name)
        if len(self.sources) > 1 and not set(table.split()) & set(text.split()):
            return f"{table} {text}"
        return text


def _list(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + f" and {parts[-1]}" if parts else ""
