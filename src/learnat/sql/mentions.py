"""The tables and columns that a query reads."""

from __future__ import annotations

from sqlglot import exp

from learnat.sql.canonical import NONSENSE
from learnat.sql.names import resolve
from learnat.sql.parse import SqlParseError, parse
from learnat.sql.schema import Schema
from learnat.sql.walk import select_nodes

Mentions = dict[str, frozenset[str]]
"""Columns by table, both as the schema spells them; a table that is only counted has none."""


def mentioned_columns(sql: str, schema: Schema) -> Mentions:
    """What ``sql`` mentions of ``schema``; ``*`` mentions all columns of its tables.

    Raises:
        SqlParseError: the text is not one query.
    """
    query = parse(sql)
    try:
        sources = resolve(query, schema).sources
    except NONSENSE as error:
        raise SqlParseError(f"read but not understood: {error!r}"[:200], 1, 1) from error
    found: dict[str, set[str]] = {source.table.name: set() for source in sources.values() if source.table is not None}
    for column in select_nodes(query, exp.Column):
        source = sources.get(column.table)
        known = source.table.column(column.name) if source is not None and source.table is not None else None
        if source is not None and source.table is not None and known is not None:
            found[source.table.name].add(known.name)
    return {table: frozenset(columns) for table, columns in found.items()}
