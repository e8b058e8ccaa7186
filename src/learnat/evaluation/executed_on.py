"""What queries run on where that is not the benchmark's SQLite files: the addresses, the engine, what it holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from learnat.benchmarks.files import fingerprint
from learnat.errors import LearnatError
from learnat.sql.addresses import Address, engine_of, shown_address
from learnat.sql.execution import ExecutorPool

SQLITE = f"SQLite {sqlite3.sqlite_version}"
"""What runs the benchmark's own files; the workers are of this Python, and so of this version."""
_NAMES = {"duckdb": "DuckDB", "postgresql": "PostgreSQL"}


@dataclass(frozen=True)
class ExecutedOn:
    """``address`` as the config gives it, without a password; ``engine`` by name and version.

    ``database_hash`` is of the files that were read; a server's content is ``not hashed``.
    """

    address: str
    engine: str
    database_hash: str


def addresses_on(execute_on: str, db_ids: Collection[str]) -> dict[str, Address]:
    """Where the queries on each database run: ``DB_ID`` in ``execute_on`` stands for the database's name.

    A server's one database may hold the tables of several, as BIRD's own dump does.

    Raises:
        LearnatError: ``execute_on`` is one file, which cannot stand for several databases.
    """
    if len(db_ids) > 1 and "DB_ID" not in execute_on and engine_of(execute_on) != "postgresql":
        path = Path(execute_on)
        raise LearnatError(
            f"execute_on={execute_on} is one file, and the questions are about {len(db_ids)} databases "
            f"({', '.join(sorted(db_ids)[:5])}{', …' if len(db_ids) > 5 else ''}): write DB_ID for a database's name, "
            f"as in execute_on={path.with_name('DB_ID' + path.suffix)}, or ask about one, with data.databases=[NAME]."
        )
    return {db_id: execute_on.replace("DB_ID", db_id) for db_id in db_ids}


def executed_on(execute_on: str, addresses: Iterable[Address], pool: ExecutorPool) -> ExecutedOn:
    """What ``addresses``, made of ``execute_on``, are.

    Raises:
        LearnatError: a file cannot be read.
    """
    found = sorted({str(address) for address in addresses})
    engine = engine_of(execute_on)
    # A number and no more: PostgreSQL goes on with its build, DuckDB begins with a letter.
    answer = pool.run(found[0], "SELECT version()")
    words = [word.removeprefix("v") for row in answer.rows for word in str(row[0]).split()]
    version = next((word for word in words if word[:1].isdigit()), "of unknown version")
    content = "not hashed" if engine == "postgresql" else fingerprint(map(Path, found))
    return ExecutedOn(shown_address(execute_on), f"{_NAMES[engine]} {version}", content)
