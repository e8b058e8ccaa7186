"""``COUNT(key)`` is ``COUNT(*)`` for a primary key. Which of the two a query counts is style.

This assumes that a primary key is never NULL, as the SQL standard has it. SQLite promises it only of an INTEGER key of
one column and of columns declared NOT NULL, which ``Schema`` does not record; a database that does store such a NULL
gets a wrong count. None of Spider and BIRD does, and their queries often count keys of text.

(Columns that a query's own conditions keep from being NULL are a matter of inclusion: a step may leave such a
condition out. See ``Block.normal``.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlglot import exp

from learnat.sql.parse import fold
from learnat.sql.schema import Table

_CLAUSES = ("expressions", "having", "order")


def count_rows(select: exp.Select, tables: Mapping[str, Table | None]) -> None:
    """Rewrite the counts of one block in place. ``tables`` gives the table of each instance alias."""
    counts = [count for key in _CLAUSES for count in _counts(select.args.get(key))]
    keys = set(_keys(select, tables)) if counts else set()
    for count in counts:
        if (count.this.table, count.this.name) in keys:
            count.set("this", exp.Star())


def _counts(value: object) -> Iterator[exp.Expr]:
    """The ``COUNT(column)`` below ``value``, those of nested queries left out."""
    if isinstance(value, list):
        for item in value:
            yield from _counts(item)
    elif isinstance(value, exp.Count) and isinstance(value.this, exp.Column):
        yield value
    elif isinstance(value, exp.Expr) and not isinstance(value, exp.Query):
        for child in value.iter_expressions():
            yield from _counts(child)


def _keys(select: exp.Select, tables: Mapping[str, Table | None]) -> Iterator[tuple[str, str]]:
    """Primary keys of the tables that no outer join pads."""
    from_, joins = select.args.get("from_"), select.args.get("joins") or []
    if from_ is None or any((join.args.get("side") or "").upper() not in ("", "LEFT") for join in joins):
        return
    for source in (from_.this, *(join.this for join in joins if not join.args.get("side"))):
        table = tables.get(source.alias)
        if isinstance(source, exp.Table) and table is not None:
            yield from ((source.alias, fold(column.name)) for column in table.primary_key)
