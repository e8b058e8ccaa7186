"""The worker's loop: a request, its query under limits of time, memory and size, the reply."""

from __future__ import annotations

import resource
import signal
import sys
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain
from multiprocessing.connection import Connection

from learnat.sql.execution_worker.database import Cursor, OpenDatabase, Row, TimeLimit, batches
from learnat.sql.execution_worker.digests import DigestKind, digest

KEEP_OPEN = 8
"""Connections kept: questions come sorted by database, and each open file costs memory."""
KILL_AFTER_S = 0.75
"""Seconds past its limit after which a query that the engine cannot interrupt ends this process."""
SIZED = frozenset({str, bytes})

Answer = tuple[tuple[str, ...], list[Row], "str | None", float, bool, bool, "str | None"]
Caps = tuple[int, int, int]


def failure(error: str, seconds: float = 0.0, timed_out: bool = False) -> Answer:
    return (), [], error, seconds, timed_out, False, None


def engine_class(engine: str) -> type[OpenDatabase]:
    if engine == "duckdb":
        from learnat.sql.execution_worker.duckdb import DuckdbDatabase

        return DuckdbDatabase
    if engine == "postgresql":
        from learnat.sql.execution_worker.postgresql import PostgresqlDatabase

        return PostgresqlDatabase
    from learnat.sql.execution_worker.sqlite import SqliteDatabase

    return SqliteDatabase


def fetch(rest: Iterator[list[Row]], room: int, max_bytes: int) -> tuple[list[Row], bool]:
    """Rows until ``rest`` ends or a cap is exceeded, and whether one was: then these are not all."""
    rows: list[Row] = []
    size = 0
    for batch in rest:
        rows += batch
        size += sum([len(cell) for cell in chain.from_iterable(batch) if type(cell) in SIZED])
        if len(rows) > room or size > max_bytes:
            return rows, True
    return rows, False


class Query:
    """One request at work."""

    def __init__(self, database: OpenDatabase, sql: str, deadline: float) -> None:
        self._database = database
        self._sql = sql
        self._deadline = deadline

    def answer(self, caps: Caps, kind: DigestKind | None) -> Answer:
        start = time.monotonic()
        with closing(self._execute()) as cursor:
            if cursor.description is None:
                return failure("the statement is empty", time.monotonic() - start)
            columns = tuple(str(entry[0]) for entry in cursor.description)
            max_rows, max_cells, max_bytes = caps
            room = min(max_rows, max_cells // max(len(columns), 1))
            rest = batches(cursor, self._deadline)
            rows, truncated = fetch(rest, room, max_bytes)
            found = None
            if truncated and kind is not None:
                found, rows = self._digest(kind, chain([rows], rest)), []
            elif truncated:
                rows = rows[:room] if len(rows) > room else []
        return columns, rows, None, time.monotonic() - start, False, truncated, found

    def _execute(self) -> Cursor:
        return self._database.execute(self._sql, self._deadline)

    def _digest(self, kind: DigestKind, first: Iterable[list[Row]]) -> str | None:
        passes = chain([first], iter(self._again, None))
        return digest(kind, lambda: next(passes))

    def _again(self) -> Iterator[list[Row]]:
        with closing(self._execute()) as cursor:
            yield from batches(cursor, self._deadline)


class Worker:
    def __init__(self, engine: str, memory_bytes: int) -> None:
        self._engine = engine_class(engine)
        self._memory_bytes = memory_bytes
        self._open: OrderedDict[str, tuple[object, OpenDatabase]] = OrderedDict()

    def database(self, address: str) -> OpenDatabase:
        stamp = self._engine.stamp(address)
        known, database = self._open.pop(address, (None, None))
        if database is not None and (known != stamp or not database.usable):
            database.close()
            database = None
        if database is None:
            database = self._engine(address, self._memory_bytes)
        self._open[address] = (stamp, database)
        if len(self._open) > KEEP_OPEN:
            self._open.popitem(last=False)[1][1].close()
        return database

    def __call__(self, address: str, sql: str, timeout_s: float, kind: DigestKind | None, *caps: int) -> Answer:
        start = time.monotonic()
        try:
            database = self.database(address)
        except Exception as error:
            return failure(self._engine.explain_opening(error, address))
        try:
            return Query(database, sql, start + timeout_s).answer(caps, kind)  # type: ignore[arg-type]
        except Exception as error:
            seconds = time.monotonic() - start
            if isinstance(error, TimeLimit) or database.timed_out(error):
                return failure(f"time limit of {timeout_s:g} s exceeded", seconds, True)
            if isinstance(error, MemoryError):
                return failure("out of memory: the query needs more than the worker's memory cap", seconds)
            return failure(database.explain(error), seconds)


def limit_process(memory_bytes: int) -> None:
    # FSIZE 0: no file can grow, whatever gets past the engine's guards; pipes and sockets are not files in this sense.
    for limit, cap in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        try:
            resource.setrlimit(limit, (cap, cap))
        except (ValueError, OSError):  # macOS does not limit the address space: the engine's own heap limit still holds
            continue


def serve(pipe: Connection, worker: Worker) -> None:
    while True:
        try:
            request = pipe.recv()
        except EOFError:
            return
        # SIGALRM's default action ends the process even inside C code, and even when the parent is gone.
        signal.setitimer(signal.ITIMER_REAL, request[2] + KILL_AFTER_S)
        reply = worker(*request)
        signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            pipe.send(reply)
        except MemoryError:
            pipe.send(failure("out of memory: the result is larger than the worker's memory cap"))


def main() -> None:
    descriptor, memory_bytes, engine = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it closes the pipe
    limit_process(memory_bytes)
    pipe = Connection(descriptor)
    worker = Worker(engine, memory_bytes)
    pipe.send("ready")
    try:
        serve(pipe, worker)
    except (BrokenPipeError, ConnectionResetError):
        return
