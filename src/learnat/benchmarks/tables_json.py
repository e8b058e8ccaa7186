"""``tables.json``: the schema file that Spider introduced and BIRD took over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from learnat.benchmarks.files import read_rows
from learnat.errors import LearnatError
from learnat.sql.schema import Column, ForeignKey, Schema, Table

_KEYS = (
    "db_id",
    "table_names_original",
    "table_names",
    "column_names_original",
    "column_names",
    "column_types",
    "primary_keys",
    "foreign_keys",
)
# tables.json's own words for types, as SQL types; what is not listed is upper-cased.
_TYPES = {"number": "NUMERIC", "time": "DATETIME", "others": "TEXT", "": "TEXT"}

Describe = Callable[[str, str, str], str]
"""``describe(table, column, human_name)``: the description of a column, names as in the database."""


def read_entries(path: Path) -> dict[str, dict[str, Any]]:
    """The entries of a tables.json by database id.

    Raises:
        LearnatError: not JSON (with line and column), not a list, or an entry without a key (with its index).
    """
    return {str(entry["db_id"]): entry for entry in read_rows(path, _KEYS)}


def build_schema(entry: Mapping[str, Any], file_schema: Schema | None, describe: Describe, source: Path) -> Schema:
    """The schema of one entry of ``source``.

    tables.json says which tables, columns and foreign keys there are. The SQLite file, where there is one
    (``file_schema``), knows better which type a column was declared with (tables.json has only words such as
    "number") and which columns a composite primary key has (Spider's tables.json names the first alone).

    Raises:
        LearnatError: the entry contradicts itself.
    """
    try:
        return _build(entry, file_schema, describe)
    except (LookupError, TypeError, ValueError) as error:
        raise LearnatError(
            f"{source}: the entry of database {entry['db_id']!r} contradicts itself "
            f"({type(error).__name__}: {error}). Restore the file from the official download."
        ) from error


def describe_columns(schema: Schema, describe: Describe) -> Schema:
    """``schema``, as a SQLite file gives it, with descriptions: for databases that no tables.json names."""
    tables = (
        replace(
            table,
            columns=tuple(
                replace(column, description=describe(table.name, column.name, "")) for column in table.columns
            ),
        )
        for table in schema.tables
    )
    return replace(schema, tables=tuple(tables))


def _build(entry: Mapping[str, Any], file_schema: Schema | None, describe: Describe) -> Schema:
    names: list[str] = entry["table_names_original"]
    columns: list[tuple[int, str]] = [(int(table), str(name)) for table, name in entry["column_names_original"]]
    human = [str(name) for _, name in entry["column_names"]]
    # BIRD writes a composite key as a list within the list.
    primary = {
        index
        for item in entry["primary_keys"]
        for index in (item if isinstance(item, list) else [item])
        if item is not None
    }
    kept = [index for index, name in enumerate(names) if not name.casefold().startswith("sqlite_")]
    tables = []
    for index in kept:
        name = names[index]
        known = file_schema.table(name) if file_schema is not None else None
        tables.append(
            Table(
                name,
                tuple(
                    _merge(
                        Column(
                            name=column,
                            type=_sql_type(entry["column_types"][position]),
                            description=describe(name, column, human[position]),
                            primary_key=position in primary,
                        ),
                        known,
                    )
                    for position, (table, column) in enumerate(columns)
                    if table == index
                ),
                description=_table_description(name, str(entry["table_names"][index])),
            )
        )
    pairs = [(columns[left], columns[right]) for left, right in entry["foreign_keys"]]
    keys = tuple(
        ForeignKey(names[table], column, names[ref_table], ref_column)
        for (table, column), (ref_table, ref_column) in pairs
        if table in kept and ref_table in kept
    )
    return Schema(tuple(tables), keys)


def _merge(column: Column, table: Table | None) -> Column:
    known = table.column(column.name) if table is not None else None
    if table is None or known is None:
        return column
    primary = known.primary_key if table.primary_key else column.primary_key
    return replace(column, type=known.type or column.type, primary_key=primary, samples=known.samples)


def _sql_type(word: str) -> str:
    return _TYPES.get(word.casefold(), word.upper())


def _table_description(name: str, human: str) -> str:
    return "" if letters(name) == letters(human) else " ".join(human.split())


def letters(text: str) -> str:
    """``text`` reduced to its letters and digits, case folded: what two spellings of a name have in common."""
    return "".join(character for character in text.casefold() if character.isalnum())
