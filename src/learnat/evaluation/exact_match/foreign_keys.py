"""Columns that a join makes equal: exact match takes each for the first of them."""

from __future__ import annotations

from collections.abc import Mapping

from learnat.sql.schema import Schema


def representatives(schema: Schema) -> Mapping[str, str]:
    """``table.column`` → the first column, in the order of the schema, that foreign keys tie it to.

    A key joins the first group that holds one of its ends. Two groups that a later key ties are not merged, and a
    column of both belongs to the later one: the official rule (``build_foreign_key_map``).
    """
    position = {
        f"{table.name}.{column.name}".lower(): (i, j)
        for i, table in enumerate(schema.tables)
        for j, column in enumerate(table.columns)
    }
    groups: list[set[str]] = []
    for key in schema.foreign_keys:
        ends = {f"{key.table}.{key.column}".lower(), f"{key.ref_table}.{key.ref_column}".lower()}
        group = next((group for group in groups if group & ends), None)
        if group is None:
            groups.append(ends)
        else:
            group |= ends
    return {column: min(group, key=position.__getitem__) for group in groups for column in group}
