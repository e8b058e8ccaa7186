"""A database that belongs to no benchmark: a SQLite file, and what stands beside it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from learnat.benchmarks.column_descriptions import describe, read_descriptions
from learnat.benchmarks.sqlite_schema import read_schema
from learnat.benchmarks.tables_json import describe_columns
from learnat.benchmarks.types import Database


def read_database(path: str | Path, samples: int = 0) -> Database:
    """The database in ``path``, with up to ``samples`` values a column.

    Columns are described as in BIRD's layout, by ``database_description/<table>.csv`` in the file's folder.

    Raises:
        LearnatError: see ``read_schema`` and ``read_descriptions``.
    """
    path = Path(path).expanduser()
    schema = read_schema(path, samples)
    descriptions = read_descriptions(path.parent / "database_description")
    return Database(path.stem, path, describe_columns(schema, partial(describe, descriptions)))
