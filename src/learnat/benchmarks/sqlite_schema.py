"""The schema of a SQLite file, read from the file itself, with a few sample values a column."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from learnat.errors import LearnatError
from learnat.sql.execution import check_sqlite
from learnat.sql.execution_worker.database import Refused
from learnat.sql.execution_worker.sqlite import open_options
from learnat.sql.schema import Column, ForeignKey, Schema, Table

SAMPLE_ROWS = 256
"""Samples are the first distinct values of this many rows: a bounded read, however large the table is."""
SAMPLE_WIDTH = 40
"""Characters kept of a sample value; a longer one is cut and ends with an ellipsis."""
LOCK_WAIT_S = 1.0
"""Seconds that another program's lock is waited for."""


def read_schema(path: str | Path, samples: int = 0) -> Schema:
    """Tables (views and SQLite's own are left out), columns, keys and up to ``samples`` values a column.

    Tables come in the order they were created in. Samples are the first distinct non-null values in row order,
    so the same file always gives the same ones; blobs and text that is not UTF-8 are passed over.

    Raises:
        LearnatError: the file cannot be read, is not SQLite, is damaged, or another program has locked it.
    """
    path = check_sqlite(path)
    try:
        with closing(_open_readonly(path)) as connection:
            names = [
                str(name)
                for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid")
                if not is_internal(str(name))
            ]
            tables = tuple(_read_table(connection, name, samples) for name in names)
            return Schema(tables, tuple(_read_foreign_keys(connection, Schema(tables))))
    except Refused as error:
        raise LearnatError(f"Cannot read the database {path}: {error}.") from error
    except sqlite3.Error as error:
        if "database is locked" in str(error):
            raise LearnatError(
                f"The database {path} is locked: another program is writing to it. Let it end, or work on a copy."
            ) from error
        raise LearnatError(f"cannot read the schema of the database {path}: SQLite says: {error}.") from error


def is_internal(table: str) -> bool:
    """Whether ``table`` is SQLite's own (``sqlite_sequence`` and the like): Spider's tables.json lists it twice."""
    return table.casefold().startswith("sqlite_")


def _open_readonly(path: Path) -> sqlite3.Connection:
    address = path.resolve()
    # Otherwise SQLite would create files beside a database in WAL mode, or fail where it may not.
    uri = f"{address.as_uri()}?{open_options(str(address))}"
    connection = sqlite3.connect(uri, uri=True, timeout=LOCK_WAIT_S)
    # Some Spider files hold Latin-1 text: it must not stop the reading of the rest.
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return connection


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _read_table(connection: sqlite3.Connection, name: str, samples: int) -> Table:
    # table_xinfo also lists generated columns; hidden == 1 marks the hidden columns of virtual tables.
    infos = [row for row in connection.execute(f"PRAGMA table_xinfo({_quoted(name)})") if row[6] != 1]
    columns = [str(row[1]) for row in infos]
    values = _read_samples(connection, name, columns, samples) if samples > 0 and columns else [()] * len(columns)
    return Table(
        name,
        tuple(
            Column(name=column, type=str(info[2] or ""), primary_key=info[5] > 0, samples=value)
            for column, info, value in zip(columns, infos, values, strict=True)
        ),
    )


def _read_samples(
    connection: sqlite3.Connection, table: str, columns: Sequence[str], samples: int
) -> list[tuple[str, ...]]:
    # NOT INDEXED keeps SQLite from walking a covering index, whose order is another than the rows'.
    select = ", ".join(_quoted(column) for column in columns)
    rows = connection.execute(f"SELECT {select} FROM {_quoted(table)} NOT INDEXED LIMIT {SAMPLE_ROWS}").fetchall()
    return [_distinct(values, samples) for values in zip(*rows, strict=True)] if rows else [()] * len(columns)


def _distinct(values: Iterable[object], samples: int) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for value in values:
        if value is None or isinstance(value, bytes):
            continue
        text = " ".join(str(value).split())
        if not text or "\ufffd" in text:
            continue
        found[text if len(text) <= SAMPLE_WIDTH else text[: SAMPLE_WIDTH - 1].rstrip() + "…"] = None
        if len(found) == samples:
            break
    return tuple(found)


def _read_foreign_keys(connection: sqlite3.Connection, schema: Schema) -> Iterable[ForeignKey]:
    for table in schema.tables:
        keys = connection.execute(f"PRAGMA foreign_key_list({_quoted(table.name)})").fetchall()
        # SQLite lists the last declared key first; (id, seq) restores the order of the declaration.
        for _, position, ref_name, column, ref_column, *_ in sorted(keys, key=lambda key: (-key[0], key[1])):
            parent = schema.table(ref_name)
            if parent is None:
                continue
            if ref_column is None:  # REFERENCES parent, without a column: the parent's primary key is meant
                if position >= len(parent.primary_key):
                    continue
                ref_column = parent.primary_key[position].name
            target = parent.column(ref_column)
            source = table.column(column)
            if target is not None and source is not None:
                yield ForeignKey(table.name, source.name, parent.name, target.name)
