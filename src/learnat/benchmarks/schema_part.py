"""A part of a schema that can still be queried: with the keys and the tables that joins need."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import replace

from learnat.sql.schema import Schema, Table


def schema_part(schema: Schema, columns: Mapping[str, Collection[str]]) -> Schema:
    """``schema`` with these columns (by table, spelled as in ``schema``) and what joins them, in its own order.

    Added are the tables on shortest ways along foreign keys between the tables named, and of all tables that are kept
    their primary keys and both ends of the foreign keys between them. A table that no column is left of keeps all.
    """
    kept = {table.name.casefold() for table in schema.tables if table.name in columns}
    kept |= _between(schema, kept)
    keys = tuple(key for key in schema.foreign_keys if {key.table.casefold(), key.ref_table.casefold()} <= kept)
    ends = {(key.table.casefold(), key.column.casefold()) for key in keys}
    ends |= {(key.ref_table.casefold(), key.ref_column.casefold()) for key in keys}
    tables = [
        _part_of_table(table, columns.get(table.name, ()), ends)
        for table in schema.tables
        if table.name.casefold() in kept
    ]
    return Schema(tuple(tables), keys)


def _part_of_table(table: Table, columns: Collection[str], ends: set[tuple[str, str]]) -> Table:
    wanted = tuple(
        column
        for column in table.columns
        if column.name in columns or column.primary_key or (table.name.casefold(), column.name.casefold()) in ends
    )
    return replace(table, columns=wanted or table.columns)


def _between(schema: Schema, tables: set[str]) -> set[str]:
    """The tables that connect those of ``tables`` that foreign keys connect at all."""
    neighbours: dict[str, list[str]] = {}
    for key in schema.foreign_keys:
        for one, other in ((key.table, key.ref_table), (key.ref_table, key.table)):
            neighbours.setdefault(one.casefold(), []).append(other.casefold())
    added: set[str] = set()
    # In the schema's order, so that equal lengths are decided alike in every process.
    order = [table.name.casefold() for table in schema.tables if table.name.casefold() in tables]
    connected = set(order[:1])
    for target in order[1:]:
        way = _shortest_way(neighbours, target, connected)
        added.update(way)
        connected.update(way, [target])
    return added - tables


def _shortest_way(neighbours: Mapping[str, list[str]], start: str, goals: set[str]) -> list[str]:
    """The tables strictly between ``start`` and the nearest of ``goals``; none where no way leads there."""
    ways = {start: [start]}
    queue = deque([start])
    while queue:
        here = queue.popleft()
        if here in goals:
            return ways[here][1:-1]
        for there in neighbours.get(here, []):
            if there not in ways:
                ways[there] = [*ways[here], there]
                queue.append(there)
    return []
