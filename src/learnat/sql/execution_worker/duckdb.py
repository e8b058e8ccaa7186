"""DuckDB files, opened ``read_only`` and shut off from files, extensions and the network."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import duckdb

from learnat.sql.execution_worker.cells import hashable
from learnat.sql.execution_worker.database import Cursor, OpenDatabase, Refused, Row


class DuckdbDatabase(OpenDatabase):
    """One read-only connection that takes one SELECT at a time."""

    def __init__(self, address: str, memory_bytes: int) -> None:
        self._connection = duckdb.connect(
            address,
            read_only=True,
            config={
                "enable_external_access": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "temp_directory": "",
                "memory_limit": f"{memory_bytes // 2}B",
                "threads": 1,
                "lock_configuration": True,
            },
        )

    @staticmethod
    def stamp(address: str) -> object:
        stat = os.stat(address)
        return stat.st_ino, stat.st_size, stat.st_mtime_ns

    def execute(self, sql: str, deadline: float) -> Cursor:
        statements = self._connection.extract_statements(sql)
        if not statements:
            raise Refused("the statement is empty")
        if len(statements) > 1:
            raise Refused("refused: more than one statement")
        if statements[0].type != duckdb.StatementType.SELECT:
            raise Refused(f"refused: {statements[0].type.name}: databases are opened for reading only")
        return _Cursor(self._connection.cursor(), statements[0], deadline)

    def timed_out(self, error: BaseException) -> bool:
        return isinstance(error, duckdb.InterruptException)

    def explain(self, error: BaseException) -> str:
        return str(error) or type(error).__name__

    @staticmethod
    def explain_opening(error: BaseException, address: str) -> str:
        if isinstance(error, FileNotFoundError):
            return f"no such database file: {address}"
        if "Could not set lock" in str(error):
            return f"database is locked: another program has {address} open for writing; close it or work on a copy"
        return str(error) or type(error).__name__

    def close(self) -> None:
        self._connection.close()


class _Cursor:
    """Rows as they are computed, interrupted by a timer: DuckDB has no time limit of its own."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement, deadline: float) -> None:
        self._connection = connection
        self._timer = threading.Timer(max(deadline - time.monotonic(), 0.0), connection.interrupt)
        self._timer.start()
        try:
            connection.execute(statement)
        except BaseException:
            self.close()
            raise

    @property
    def description(self) -> Sequence[Sequence[Any]] | None:
        return self._connection.description

    def fetchmany(self, size: int, /) -> list[Row]:
        return [tuple(map(hashable, row)) for row in self._connection.fetchmany(size)]

    def close(self) -> None:
        self._timer.cancel()
        self._connection.close()
