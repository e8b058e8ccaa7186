"""Running SQL nobody has checked: in worker processes that can read only, and that are killed when they hang.

A query is data, and so is whatever goes wrong with it: ``Result.error`` says what happened, nothing is raised.
The guards, from the inside out: SQLite opens the file read-only with an authorizer and size limits; a progress handler
interrupts a query at its deadline; the worker process is capped in memory and cannot grow a file; a worker that
outlives the deadline (one SQLite instruction may run for hours) is killed and replaced. DuckDB files and PostgreSQL
servers stand behind the same interface; the engine follows from the database's address. See ``execution_worker``.
"""

from __future__ import annotations

import atexit
import os
import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from learnat.errors import LearnatError
from learnat.sql.addresses import (
    Address,
    Engine,
    check_sqlite,
    engine_of,
    normal_address,
    require_engine,
    shown_address,
)
from learnat.sql.execution_process import Result, WorkerProcess, check_limits, worker_command
from learnat.sql.execution_worker.digests import DigestKind

__all__ = [
    "Address",
    "Executor",
    "ExecutorPool",
    "Query",
    "Result",
    "check_database",
    "check_limits",
    "check_sqlite",
    "shared_pool",
    "usable_cpus",
]

MAX_ROWS = 100_000
MAX_CELLS = 4_000_000
MAX_BYTES = 64 * 2**20
MEMORY_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Query:
    """One query for ``ExecutorPool.map``; ``digest``: what to compute where a cap cuts its result."""

    path: Address
    sql: str
    digest: DigestKind | None = None


class HasPath(Protocol):
    @property
    def path(self) -> Path | None: ...


class ExecutorPool:
    """Worker processes that run queries on any number of databases, named by path or URL.

    Args:
        workers: how many processes; default: the CPUs this process may use, at most 8.
        timeout_s: seconds a query may take.
        max_rows, max_cells, max_bytes: caps on one result; what exceeds them is cut (``Result.truncated``).
        memory_bytes: cap on one worker's address space, where the system has such limits.

    Raises:
        LearnatError: a number is not above 0.

    Processes start at the first query. ``run`` may be called from several threads. A pool that a fork inherits starts
    workers of its own. Close it, or use it as a context manager.
    """

    def __init__(
        self,
        workers: int | None = None,
        timeout_s: float = 30.0,
        max_rows: int = MAX_ROWS,
        max_cells: int = MAX_CELLS,
        max_bytes: int = MAX_BYTES,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        check_limits(workers, timeout_s, max_rows)
        self.workers = workers or min(usable_cpus(), 8)
        self.timeout_s = timeout_s
        self.caps = (max_rows, max_cells, max_bytes)
        self._memory_bytes = memory_bytes
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._busy: set[WorkerProcess] = set()
        # None stands for a worker not started yet. Last in, first out: a single caller keeps one warm worker busy.
        self._idle: queue.LifoQueue[WorkerProcess | None] = queue.LifoQueue()
        for _ in range(self.workers):
            self._idle.put(None)

    def _borrow(self, engine: Engine) -> WorkerProcess:
        if self._pid != os.getpid():
            self._reset()
        worker = self._idle.get()
        try:
            with self._lock:
                if self._closed:
                    raise RuntimeError("this ExecutorPool is closed")
                if worker is not None and worker.engine != engine:
                    worker.close()
                if worker is None or not worker.alive:
                    worker = WorkerProcess(engine, self._memory_bytes)
                self._busy.add(worker)
                return worker
        except BaseException:
            self._idle.put(worker)  # the next who waits for this place must not wait for ever
            raise

    def _give_back(self, worker: WorkerProcess) -> None:
        with self._lock:
            self._busy.discard(worker)
            if self._closed or not worker.alive:
                worker.close(kill=True)
        self._idle.put(worker if worker.alive else None)

    def run(
        self,
        path: Address,
        sql: str,
        timeout_s: float | None = None,
        max_rows: int | None = None,
        digest: DigestKind | None = None,
    ) -> Result:
        """The result of ``sql`` on the database ``path``; failures are in ``Result.error``.

        Args:
            digest: where a cap cuts the rows, go through all of them and give their digest of this kind instead.

        Raises:
            LearnatError: the package that talks to the database's engine is not installed, or no worker starts.
        """
        limit = self.timeout_s if timeout_s is None else timeout_s
        caps = self.caps if max_rows is None else (max_rows, *self.caps[1:])
        engine = engine_of(path)
        require_engine(engine)
        worker = self._borrow(engine)
        try:
            result = worker.run(normal_address(path), sql, limit, caps, digest)
        except BaseException:
            # An interrupt between question and answer would leave the answer in the pipe for the next question.
            worker.close(kill=True)
            raise
        finally:
            self._give_back(worker)
        if result is None:
            raise LearnatError(f"A SQL worker did not start: try `{' '.join(worker_command(engine))}`.")
        return result

    def map(
        self,
        queries: Iterable[Query],
        timeout_s: float | None = None,
        max_rows: int | None = None,
        on_result: Callable[[], None] | None = None,
    ) -> list[Result]:
        """Results in the order of ``queries``, from all workers.

        ``on_result`` is called after each, from several threads (a progress bar's tick). An interrupt (Ctrl-C) ends
        the running queries and drops the rest.
        """

        def one(query: Query) -> Result:
            result = self.run(query.path, query.sql, timeout_s, max_rows, query.digest)
            if on_result is not None:
                on_result()
            return result

        with ThreadPoolExecutor(self.workers) as threads:
            try:
                return list(threads.map(one, queries))
            except BaseException:
                self._kill_busy()
                raise

    def _kill_busy(self) -> None:
        """Ends what runs: the threads that wait for it get a failed result."""
        with self._lock:
            for worker in self._busy:
                worker.kill()

    def close(self) -> None:
        """Ends the workers; one in the middle of a query ends with it. A closed pool stays closed."""
        if self._pid != os.getpid():
            return  # these are the workers of the process we were forked from
        with self._lock:
            self._closed = True
        self._kill_busy()
        for _ in range(self.workers):
            try:
                worker = self._idle.get_nowait()
            except queue.Empty:
                break
            if worker is not None:
                worker.close()
        self._idle.put(None)  # wakes a thread that waits for a worker

    def __enter__(self) -> ExecutorPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Executor:
    """Runs SQL on one database, by default on one worker process that all such executors of this process share.

    Args:
        database: the database's path or URL, or anything with a ``path`` (``benchmarks.Database``).
        pool: workers to run on instead of the shared one.

    Raises:
        LearnatError: the database has no file, or cannot be read; a number is not above 0.
    """

    def __init__(
        self,
        database: Address | HasPath,
        timeout_s: float = 30.0,
        max_rows: int = MAX_ROWS,
        pool: ExecutorPool | None = None,
    ) -> None:
        check_limits(None, timeout_s, max_rows)
        path = database if isinstance(database, (str, Path)) else database.path
        if path is None:
            name = getattr(database, "db_id", database)
            raise LearnatError(f"Database {name} has no file, only a schema: nothing can be executed on it.")
        self.path = check_database(path)
        self.timeout_s = timeout_s
        self.max_rows = max_rows
        self._pool = pool or shared_pool()

    def run(self, sql: str, timeout_s: float | None = None, max_rows: int | None = None) -> Result:
        """The result of ``sql``; failures are in ``Result.error``."""
        return self._pool.run(
            self.path,
            sql,
            self.timeout_s if timeout_s is None else timeout_s,
            self.max_rows if max_rows is None else max_rows,
        )

    def close(self) -> None:
        """Nothing to release: the workers belong to the pool."""

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_shared: ExecutorPool | None = None


def shared_pool() -> ExecutorPool:
    """The pool of one worker that executors use by default; it ends with the program."""
    global _shared
    if _shared is None:
        _shared = ExecutorPool(workers=1)
        atexit.register(_shared.close)
    return _shared


def check_database(address: Address) -> Address:
    """``address``, when a query can be run there.

    Raises:
        LearnatError: it cannot be read (``check_sqlite``), the server cannot be reached, or its role may write.
    """
    if engine_of(address) == "sqlite":
        return check_sqlite(address)
    error = shared_pool().run(address, "SELECT 1").error
    if error is not None:
        raise LearnatError(f"Cannot use the database {shown_address(address)}: {error}")
    return address


def usable_cpus() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
