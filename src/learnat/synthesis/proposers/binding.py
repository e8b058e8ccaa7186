"""Gold SQL read for decomposition: which table instance each column belongs to, and what counts as a string.

Names, aliases and clause order stay as gold has them, since steps are cut from this tree and a model learns from
their text. (``learnat.sql.canonical`` compares queries; there the spelling is folded away.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from learnat.sql.parse import DOUBLE_QUOTED, LearnatSqlite, parse
from learnat.sql.schema import Schema, Table

_BLOCK, _ALIAS = "block", "alias"
_DIALECT = LearnatSqlite()


@dataclass(frozen=True)
class Source:
    """One table instance of a block: ``table`` is None for a derived table, a CTE or a table the schema lacks."""

    alias: str
    node: exp.Expr
    table: Table | None
    join: exp.Join | None


def bind(sql: str, schema: Schema) -> exp.Expr:
    """Parse ``sql``; mark each column with its block and instance; turn quoted names that name nothing into strings.

    SQLite reads a double-quoted word that matches no column as a string, and Spider relies on it.
    Raises ``SqlParseError`` for what cannot be parsed.
    """
    tree = parse(sql)
    for number, select in enumerate(tree.find_all(exp.Select)):
        select.meta[_BLOCK] = number
    found = {select.meta[_BLOCK]: sources(select, schema) for select in tree.find_all(exp.Select)}
    for column in list(tree.find_all(exp.Column)):
        _resolve(column, found)
    return tree


def sources(select: exp.Select, schema: Schema) -> list[Source]:
    """The table instances of one block, in FROM order."""
    start = select.args.get("from_")
    nodes = [(start.this, None)] if start else []
    nodes += [(join.this, join) for join in select.args.get("joins") or ()]
    return [
        Source(
            node.alias_or_name.casefold(), node, schema.table(node.name) if isinstance(node, exp.Table) else None, join
        )
        for node, join in nodes
    ]


def _resolve(column: exp.Column, found: dict[int, list[Source]]) -> None:
    select = column.find_ancestor(exp.Select)
    unknown: exp.Select | None = None
    while select is not None:
        for source in found[select.meta[_BLOCK]]:
            if column.table.casefold() == source.alias if column.table else _has(source, column.name):
                column.meta[_BLOCK], column.meta[_ALIAS] = select.meta[_BLOCK], source.alias
                return
            if source.table is None:
                unknown = unknown or select
        if not column.table and any(column.name.casefold() == item.alias.casefold() for item in select.expressions):
            column.meta[_BLOCK] = select.meta[_BLOCK]  # a projection's alias: no table's column
            return
        select = select.find_ancestor(exp.Select)
    if unknown is not None:
        column.meta[_BLOCK] = unknown.meta[_BLOCK]
    elif column.this.meta.get(DOUBLE_QUOTED) and not column.table:
        column.replace(exp.Literal.string(column.name))


def _has(source: Source, name: str) -> bool:
    if source.table is not None:
        return source.table.column(name) is not None
    if isinstance(source.node, exp.Subquery):
        return name.casefold() in (item.casefold() for item in source.node.this.named_selects)
    return False


def instance(column: exp.Column, select: exp.Select) -> str | None:
    """The alias, in ``select`` itself, of the table instance ``column`` belongs to; None when it is no such column."""
    if column.meta.get(_BLOCK) != select.meta[_BLOCK]:
        return None
    alias = column.meta.get(_ALIAS)
    return alias if isinstance(alias, str) else None


def instances(expression: exp.Expr, select: exp.Select) -> set[str | None]:
    """The instances of ``select`` that ``expression`` mentions; None stands for a column of ``select`` without one."""
    columns = (column for column in expression.find_all(exp.Column) if column.meta.get(_BLOCK) == select.meta[_BLOCK])
    return {instance(column, select) for column in columns}


def correlated(query: exp.Expr) -> bool:
    """Whether ``query`` mentions a column of a block around it, so that it cannot stand alone."""
    inside = {select.meta[_BLOCK] for select in query.find_all(exp.Select)}
    return any(
        column.meta.get(_BLOCK, -1) not in inside for column in query.find_all(exp.Column) if _BLOCK in column.meta
    )


def conjuncts(condition: exp.Expr | None) -> Iterator[exp.Expr]:
    """The parts of an AND chain, in order; a disjunction is one part."""
    if condition is None:
        return
    inner = condition.unnest()
    if isinstance(inner, exp.And):
        yield from conjuncts(inner.left)
        yield from conjuncts(inner.right)
    else:
        yield condition


class _Spelling(LearnatSqlite.Generator):  # type: ignore[valid-type, misc]
    """``x NOT IN (…)``, ``x IS NOT NULL`` and ``!=`` as people write them, not ``NOT x IN (…)`` and ``<>``."""

    def neq_sql(self, expression: exp.NEQ) -> str:
        return str(self.binary(expression, "!="))

    def not_sql(self, expression: exp.Not) -> str:
        inner = expression.this
        if isinstance(inner, (exp.In, exp.Like, exp.Between)):
            left = self.sql(inner, "this")
            text = self.sql(inner)
            if text.startswith(left + " "):
                return f"{left} NOT{text[len(left) :]}"
        if isinstance(inner, exp.Is):
            return f"{self.sql(inner, 'this')} IS NOT {self.sql(inner, 'expression')}"
        return super().not_sql(expression)


def render(tree: exp.Expr) -> str:
    """``tree`` as one line of SQLite SQL."""
    return _Spelling(dialect=_DIALECT, normalize_functions=False).generate(tree)
