"""One way to write each predicate and expression: rewriting rules that never change a result.

Every rule holds under SQLite's three-valued logic, affinities and collations: redundant parentheses go,
AND and OR are flat, sorted and without repeats, operands of ``= != + *`` are sorted (a literal comes
last), BETWEEN becomes two bounds, NOT is pushed into comparisons, ``x = 1 OR x = 2`` becomes ``IN``,
``IIF`` becomes ``CASE``, ``COUNT(1)`` becomes ``COUNT(*)``, cast types become their affinity, and a numeral
compared with a column of known affinity loses its quotes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from sqlglot import exp

from learnat.sql.fingerprint import MIRROR, combine, fingerprint, is_constant, is_true, operands, rank
from learnat.sql.schema import Table

_NEGATED: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.EQ: exp.NEQ,
    exp.NEQ: exp.EQ,
    exp.GT: exp.LTE,
    exp.GTE: exp.LT,
    exp.LT: exp.GTE,
    exp.LTE: exp.GT,
    exp.NullSafeEQ: exp.NullSafeNEQ,
    exp.NullSafeNEQ: exp.NullSafeEQ,
}
_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)
_PREDICATES = (
    *_COMPARISONS,
    exp.And,
    exp.Or,
    exp.Not,
    exp.In,
    exp.Is,
    exp.Like,
    exp.Escape,
    exp.Glob,
    exp.Between,
    exp.Exists,
    exp.NullSafeEQ,
    exp.NullSafeNEQ,
)
_SYNONYMS = {"SUBSTRING": "SUBSTR", "STRING_AGG": "GROUP_CONCAT"}
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})\Z")


def resort(node: exp.Expr) -> exp.Expr:
    """Sort commutative operands again, after the names in them have changed."""
    return _Rewriter({}, _SORTING).visit(node)


def rewrite(node: exp.Expr, tables: Mapping[str, Table | None]) -> exp.Expr:
    """Rewrite ``node`` from the leaves up, in place; the node to stand in its place.

    ``tables`` gives the table of each instance alias, for the affinity of its columns.
    """
    return _Rewriter(tables).visit(node)


class _Rewriter:
    def __init__(self, tables: Mapping[str, Table | None], rules: Rules | None = None) -> None:
        self.tables = tables
        self.rules = _RULES if rules is None else rules

    def visit(self, node: exp.Expr) -> exp.Expr:
        if isinstance(node, (exp.Column, exp.Literal, exp.Identifier)):
            return node
        if isinstance(node, (exp.And, exp.Or)):
            return self.connector(node)
        for key, value in list(node.args.items()):
            if isinstance(value, exp.Expr):
                new = self.visit(value)
                if new is not value:
                    node.set(key, new)
            elif isinstance(value, list):
                items = [self.visit(item) if isinstance(item, exp.Expr) else item for item in value]
                if any(new is not old for new, old in zip(items, value, strict=True)):
                    node.set(key, items)
        if node.args.get("negate"):
            # Newer sqlglot marks NOT LIKE and IS NOT in the node itself, but not NOT x LIKE.
            node.set("negate", None)
            return self.negation(exp.Not(this=node))
        rule = self.rules.get(type(node))
        return node if rule is None else rule(self, node)

    def paren(self, node: exp.Expr) -> exp.Expr:
        return node.this

    def comparison(self, node: exp.Expr) -> exp.Expr:
        left, right = node.this, node.expression
        if isinstance(left, exp.Tuple) or isinstance(right, exp.Tuple):
            return node
        left, right = self.unquote(left, right), self.unquote(right, left)
        first, second = rank(left), rank(right)
        if second < first or (second == first and isinstance(node, (exp.GT, exp.GTE))):
            kind = MIRROR.get(type(node), type(node))
            return kind(this=right, expression=left)
        node.set("this", left)
        node.set("expression", right)
        return node

    def commutative(self, node: exp.Expr) -> exp.Expr:
        if rank(node.expression) < rank(node.this):
            return type(node)(this=node.expression, expression=node.this)
        return node

    def unquote(self, literal: exp.Expr, other: exp.Expr) -> exp.Expr:
        """SQLite applies the column's affinity to the literal, so ``'5'`` and ``5`` compare alike."""
        if (
            isinstance(literal, exp.Literal)
            and literal.is_string
            and _INTEGER.match(literal.this)
            and isinstance(other, exp.Column)
            and self.affinity(other)
        ):
            number = exp.Literal.number(literal.this.lstrip("-"))
            return exp.Neg(this=number) if literal.this.startswith("-") else number
        return literal

    def affinity(self, column: exp.Column) -> str:
        table = self.tables.get(column.table)
        found = table.column(column.name) if table is not None else None
        return affinity(found.type) if found is not None else ""

    def between(self, node: exp.Expr) -> exp.Expr:
        low = self.comparison(exp.GTE(this=node.this, expression=node.args["low"]))
        high = self.comparison(exp.LTE(this=node.this.copy(), expression=node.args["high"]))
        return self._merged([low, high], exp.And)

    def negation(self, node: exp.Expr) -> exp.Expr:
        inner = node.this
        kind = _NEGATED.get(type(inner))
        if kind is not None:
            return kind(this=inner.this, expression=inner.expression)
        if isinstance(inner, exp.Not) and isinstance(inner.this, _PREDICATES):
            return inner.this
        if isinstance(inner, (exp.And, exp.Or)):
            parts = operands(inner, type(inner))
            if all(isinstance(part, _PREDICATES) for part in parts):
                dual = exp.Or if isinstance(inner, exp.And) else exp.And
                negated = [self.negation(exp.Not(this=part)) for part in parts]
                return self._merged(negated, dual)
        return node

    def connector(self, node: exp.Expr) -> exp.Expr:
        """A chain of AND or OR as a whole: merged again at each of its nodes, it would take quadratic time."""
        kind = type(node)
        return self._merged([self.visit(part) for part in operands(node, kind)], kind)

    def _merged(self, parts: list[exp.Expr], kind: type[exp.Expr]) -> exp.Expr:
        parts = [leaf for part in parts for leaf in operands(part, kind)]
        if kind is exp.And and len(parts) > 1:
            parts = [part for part in parts if not is_true(part)] or parts[:1]
        if kind is exp.Or:
            parts = self._membership(parts)
        combined = combine(parts, kind)
        assert combined is not None
        if not isinstance(combined, (*_PREDICATES, exp.Boolean)):
            # AND and OR give 0, 1 or NULL, which a bare operand need not.
            return kind(this=combined, expression=combined.copy())
        return combined

    def _membership(self, parts: list[exp.Expr]) -> list[exp.Expr]:
        """``x = 1 OR x IN (2, 3)`` is ``x IN (1, 2, 3)``."""
        groups: dict[str, list[exp.Expr]] = {}
        for part in parts:
            listed = isinstance(part, exp.In) and part.expressions and all(map(is_constant, part.expressions))
            equal = isinstance(part, exp.EQ) and is_constant(part.expression)
            if (listed or equal) and isinstance(part.this, exp.Column):
                groups.setdefault(fingerprint(part.this), []).append(part)
        groups = {column: group for column, group in groups.items() if len(group) > 1}
        members = {id(part) for group in groups.values() for part in group}
        merged = [part for part in parts if id(part) not in members]
        for group in groups.values():
            values = [v for part in group for v in (part.expressions or [part.expression])]
            merged.append(self.membership(exp.In(this=group[0].this, expressions=values)))
        return merged

    def membership(self, node: exp.Expr) -> exp.Expr:
        values = node.expressions
        if not values or not all(map(is_constant, values)):
            return node
        values = [self.unquote(value, node.this) for value in values]
        unique = {fingerprint(value): value for value in values}
        if len(unique) == 1:
            return self.comparison(exp.EQ(this=node.this, expression=next(iter(unique.values()))))
        node.set("expressions", [unique[key] for key in sorted(unique)])
        return node

    def count(self, node: exp.Expr) -> exp.Expr:
        if isinstance(node.this, exp.Literal):
            node.set("this", exp.Star())
        return node

    def extreme(self, node: exp.Expr) -> exp.Expr:
        if isinstance(node.this, exp.Distinct) and len(node.this.expressions) == 1:
            node.set("this", node.this.expressions[0])
        return node

    def iif(self, node: exp.Expr) -> exp.Expr:
        if isinstance(node.parent, exp.Case) and node.arg_key == "ifs":
            return node
        branch = exp.If(this=node.this, true=node.args["true"])
        return self.case(exp.Case(ifs=[branch], default=node.args.get("false")))

    def case(self, node: exp.Expr) -> exp.Expr:
        base = node.args.get("this")
        if isinstance(base, exp.Column):
            for branch in node.args["ifs"]:
                branch.set("this", self.comparison(exp.EQ(this=base.copy(), expression=branch.this)))
            node.set("this", None)
        if isinstance(node.args.get("default"), exp.Null):
            node.set("default", None)
        return node

    def cast(self, node: exp.Expr) -> exp.Expr:
        target = node.args["to"]
        # A type that sqlglot does not know is kept in ``kind``.
        name = str(target.args.get("kind") or target.this.value)
        node.set("to", exp.DataType(this=_CAST_TYPES[affinity(name) or "BLOB"]))
        return node

    def function(self, node: exp.Expr) -> exp.Expr:
        name = str(node.this).upper()
        node.set("this", _SYNONYMS.get(name, name))
        return node

    def escape(self, node: exp.Expr) -> exp.Expr:
        if isinstance(node.this, exp.Not):
            return exp.Not(this=exp.Escape(this=node.this.this, expression=node.expression))
        return node

    def ordered(self, node: exp.Expr) -> exp.Expr:
        node.set("desc", True if node.args.get("desc") else None)
        return node

    def exists(self, node: exp.Expr) -> exp.Expr:
        query = node.this.this if isinstance(node.this, exp.Subquery) else node.this
        if isinstance(query, exp.Select) and _gives_any_row(query):
            query.set("expressions", [exp.Literal.number(1)])
            query.set("distinct", None)
        if isinstance(node.this, exp.Subquery):
            node.set("this", query)
        return node


_CAST_TYPES = {
    "INTEGER": exp.DataType.Type.INT,
    "REAL": exp.DataType.Type.DOUBLE,
    "TEXT": exp.DataType.Type.TEXT,
    "BLOB": exp.DataType.Type.BLOB,
    "NUMERIC": exp.DataType.Type.DECIMAL,
}


def _gives_any_row(query: exp.Select) -> bool:
    """Whether what a query selects has no part in whether it has rows.

    An aggregate makes one row of none (a function that sqlglot does not know may be one), and OFFSET skips rows
    that DISTINCT counts.
    """
    if query.args.get("distinct") and query.args.get("offset"):
        return False
    return not any(item.find(exp.AggFunc, exp.Anonymous) for item in query.expressions)


Rules = Mapping[type[exp.Expr], Callable[[_Rewriter, exp.Expr], exp.Expr]]

_RULES: Rules = {
    exp.Paren: _Rewriter.paren,
    **dict.fromkeys(_COMPARISONS, _Rewriter.comparison),
    exp.NullSafeEQ: _Rewriter.commutative,
    exp.NullSafeNEQ: _Rewriter.commutative,
    exp.Add: _Rewriter.commutative,
    exp.Mul: _Rewriter.commutative,
    exp.Between: _Rewriter.between,
    exp.Not: _Rewriter.negation,
    exp.In: _Rewriter.membership,
    exp.Count: _Rewriter.count,
    exp.Max: _Rewriter.extreme,
    exp.Min: _Rewriter.extreme,
    exp.If: _Rewriter.iif,
    exp.Case: _Rewriter.case,
    exp.Cast: _Rewriter.cast,
    exp.Exists: _Rewriter.exists,
    exp.Escape: _Rewriter.escape,
    exp.Ordered: _Rewriter.ordered,
    exp.Anonymous: _Rewriter.function,
}

_SORTING: Rules = {kind: _RULES[kind] for kind in (*_COMPARISONS, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Add, exp.Mul)}


def affinity(declared: str) -> str:
    """SQLite's affinity of a declared type (https://www.sqlite.org/datatype3.html, 3.1); "" for BLOB or none."""
    upper = declared.upper()
    if "INT" in upper:
        return "INTEGER"
    if any(word in upper for word in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if not upper or "BLOB" in upper:
        return ""
    if any(word in upper for word in ("REAL", "FLOA", "DOUB")):
        return "REAL"
    return "NUMERIC"
