"""Databases of a PostgreSQL server, read in read-only transactions.

What a role may do is the server's to say, so a superuser, who could write files from a SELECT, is refused. A query runs
behind a cursor: the server computes rows as they are fetched, and takes nothing but one SELECT, VALUES or WITH. Memory
and temporary files of the query are the server's, under its own settings.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from learnat.sql.execution_worker.cells import hashable
from learnat.sql.execution_worker.database import Cursor, OpenDatabase, Refused, Row

CONNECT_TIMEOUT_S = 5
SETTINGS = (
    # A cursor is planned for its first rows, where nothing says that all are wanted.
    b"SET cursor_tuple_fraction = 1.0",
    # Ends the query of a worker that was killed. PostgreSQL 14, on Linux and macOS.
    b"SET client_connection_check_interval = '1s'",
)

_numbers = count()


class PostgresqlDatabase(OpenDatabase):
    """One connection; every query has a transaction of its own, which is rolled back."""

    def __init__(self, address: str, memory_bytes: int) -> None:
        connection = psycopg.connect(
            address,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            client_encoding="utf8",
            application_name="learnat",
        )
        if connection.info.parameter_status("is_superuser") == "on":
            user = connection.info.user
            connection.close()
            raise Refused(
                f"the role {user} is a superuser, which could write from a SELECT: connect as one that may only read "
                "(CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader)"
            )
        for setting in SETTINGS:
            with suppress(psycopg.Error):
                connection.execute(setting)
        connection.autocommit = False
        connection.read_only = True
        self._connection = connection

    @property
    def usable(self) -> bool:
        return not self._connection.closed

    def execute(self, sql: str, deadline: float) -> Cursor:
        if "\0" in sql:  # libpq would end the statement there
            raise Refused("refused: the statement holds a NUL character")
        return _Cursor(self._connection, sql, deadline)

    def timed_out(self, error: BaseException) -> bool:
        return isinstance(error, psycopg.errors.QueryCanceled)

    def explain(self, error: BaseException) -> str:
        return self.explain_opening(error, "")

    @staticmethod
    def explain_opening(error: BaseException, address: str) -> str:
        # Without the line that the server shows of the statement: it holds our DECLARE CURSOR.
        primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
        return primary or " ".join(str(error).split()) or type(error).__name__

    def close(self) -> None:
        self._connection.close()


class _Cursor:
    """A server-side cursor. The server's time limit is for one statement, so each fetch gets what time is left."""

    def __init__(self, connection: psycopg.Connection[Any], sql: str, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._cursor = connection.cursor(f"learnat_{next(_numbers)}")
        try:
            self._limit_time()
            self._cursor.execute(sql.encode())
        except BaseException:
            self.close()
            raise

    def _limit_time(self) -> None:
        left_ms = max(int(1000 * (self._deadline - time.monotonic())), 1)
        self._connection.execute(f"SET LOCAL statement_timeout = {left_ms}".encode())

    @property
    def description(self) -> Sequence[Sequence[Any]] | None:
        return self._cursor.description

    def fetchmany(self, size: int, /) -> list[Row]:
        self._limit_time()
        return [tuple(map(hashable, row)) for row in self._cursor.fetchmany(size)]

    def close(self) -> None:
        if self._connection.info.transaction_status == TransactionStatus.INTRANS:
            self._cursor.close()
        if not self._connection.closed:
            self._connection.rollback()
