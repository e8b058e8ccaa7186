"""The files of one database as BIRD lays them out: SQLite, its entry in tables.json, its column descriptions."""

from __future__ import annotations

import csv
import sqlite3
from pathlib import Path
from typing import Any

from learnat.benchmarks.generated.model import GenColumn, GenDatabase, GenTable


def fill(connection: sqlite3.Connection, db: GenDatabase) -> None:
    """Creates the tables of ``db`` in an empty database and inserts their rows."""
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    for table in db.tables:
        lines = [_definition(column) for column in table.columns]
        lines += [
            f"FOREIGN KEY ({edge.column.name}) REFERENCES {edge.parent.name} ({edge.parent.key.name})"
            for edge in db.parents(table)
        ]
        connection.execute(f"CREATE TABLE {table.name} (\n  " + ",\n  ".join(lines) + "\n)")
        marks = ", ".join("?" * len(table.columns))
        rows = zip(*(column.values for column in table.columns), strict=True)
        connection.executemany(f"INSERT INTO {table.name} VALUES ({marks})", rows)
    connection.commit()


def _definition(column: GenColumn) -> str:
    if column.kind == "key":
        return f"{column.name} INTEGER PRIMARY KEY"
    return f"{column.name} {column.type}" + ("" if column.has_nulls else " NOT NULL")


def tables_entry(db: GenDatabase) -> dict[str, Any]:
    """The entry of ``db`` in tables.json."""
    columns = [(index, column) for index, table in enumerate(db.tables) for column in table.columns]
    place = {(column.table, column.name): position + 1 for position, (_, column) in enumerate(columns)}
    return {
        "db_id": db.db_id,
        "table_names_original": [table.name for table in db.tables],
        "table_names": [table.nouns[0][0] for table in db.tables],
        "column_names_original": [[-1, "*"], *([index, column.name] for index, column in columns)],
        "column_names": [[-1, "*"], *([index, column.phrases[0]] for index, column in columns)],
        "column_types": ["text", *(column.type.lower() for _, column in columns)],
        "primary_keys": [place[table.name, table.key.name] for table in db.tables],
        "foreign_keys": [
            [place[edge.child.name, edge.column.name], place[edge.parent.name, edge.parent.key.name]]
            for edge in db.edges
        ],
    }


def describe_table(path: Path, table: GenTable) -> None:
    """Writes ``database_description/<table>.csv``, with the words that questions may use for each column."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["original_column_name", "column_name", "column_description", "data_format", "value_description"]
        )
        for column in table.columns:
            values = f"one of: {', '.join(map(str, column.distinct))}" if column.kind in ("category", "code") else ""
            description = "; ".join(column.phrases[1:])
            writer.writerow([column.name, column.phrases[0], description, column.type.lower(), values])
