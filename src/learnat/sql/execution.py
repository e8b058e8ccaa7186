"""Running SQL nobody has checked: in worker processes that can read only, and that are killed when they hang.

A query is data, and so is whatever goes wrong with it: ``Result.error`` says what happened, nothing is raised.
The guards, from the inside out: SQLite opens the file read-only with an authorizer and size limits; a progress handler
interrupts a query at its deadline; the worker process is capped in memory and cannot grow a file; a worker that
outlives the deadline (one SQLite instruction may run for hours) is killed and replaced. See ``execution_worker``.
"""

from __future__ import annotations

import atexit
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from learnat.errors import LearnatError

WORKER_FILE = Path(__file__).with_name("execution_worker.py")
START_LIMIT_S = 60.0
GRACE_S = 0.5
"""Seconds a worker may outlive a query's limit before it is killed."""

MAX_ROWS = 100_000
MAX_CELLS = 4_000_000
MAX_BYTES = 64 * 2**20
MEMORY_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Result:
    """What a query gave. ``rows`` is empty and ``error`` a message when it failed.

    ``seconds`` is the time in SQLite, ``truncated`` says that a cap on rows, cells or bytes cut the rows.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    error: str | None
    seconds: float
    timed_out: bool
    truncated: bool

    @property
    def ok(self) -> bool:
        """True when the query ran and all of its rows are here."""
        return self.error is None and not self.truncated


@dataclass(frozen=True)
class Query:
    """One query for ``ExecutorPool.map``."""

    path: Path
    sql: str


class HasPath(Protocol):
    @property
    def path(self) -> Path | None: ...


def check_sqlite(path: Path | str) -> Path:
    """``path``, when it is a SQLite file that can be read.

    Raises:
        LearnatError: the file is missing, a folder, unreadable, or not SQLite.
    """
    path = Path(path)
    if not path.exists():
        raise LearnatError(f"No database at {path}: give the path of an existing SQLite file.")
    if not path.is_file():
        raise LearnatError(f"{path} is not a file: give the path of the SQLite file itself.")
    try:
        with open(path, "rb") as file:
            header = file.read(16)
    except OSError as error:
        raise LearnatError(f"Cannot read the database {path}: {error.strerror}. Check its permissions.") from error
    # An empty file is a valid, empty SQLite database, but never one that a question can be asked of.
    if header != b"SQLite format 3\0":
        what = "is empty" if not header else "is not a SQLite database"
        raise LearnatError(f"{path} {what}: download or copy it again (a Git LFS pointer looks like this too).")
    return path


def _failure(error: str, seconds: float = 0.0, timed_out: bool = False) -> Result:
    return Result((), [], error, seconds, timed_out, False)


class _Worker:
    """One worker process and the pipe to it."""

    def __init__(self, memory_bytes: int) -> None:
        here, there = socket.socketpair()
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(WORKER_FILE), str(there.fileno()), str(memory_bytes)],
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._pipe = Connection(here.detach())
        self._ready = False

    def _wait_until_ready(self) -> bool:
        # Starting is not waited for where the worker is made, so that several start side by side.
        try:
            self._ready = self._ready or (self._pipe.poll(START_LIMIT_S) and self._pipe.recv() == "ready")
        except (EOFError, OSError):
            return False
        return self._ready

    def run(self, path: str, sql: str, timeout_s: float, caps: tuple[int, int, int]) -> Result | None:
        """The result, or None when the worker could not start. A worker whose ``alive`` is False must be replaced."""
        if not self._wait_until_ready():
            return None
        try:
            self._pipe.send((path, sql, timeout_s, *caps))
            if not self._pipe.poll(timeout_s + GRACE_S):
                self.close(kill=True)
                return _failure(
                    f"time limit of {timeout_s:g} s exceeded: the worker was killed", timeout_s + GRACE_S, True
                )
            return Result(*self._pipe.recv())
        except (EOFError, OSError):
            self.close(kill=True)
            return _failure("the worker process died: the query needs more than its memory cap")

    @property
    def alive(self) -> bool:
        return not self._pipe.closed and self._process.poll() is None

    def close(self, kill: bool = False) -> None:
        """Ends the process: by closing its pipe, or at once."""
        self._pipe.close()
        if kill:
            self._process.kill()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class ExecutorPool:
    """Worker processes that run queries on any number of databases, named by path.

    Args:
        workers: how many processes; default: the CPUs this process may use, at most 8.
        timeout_s: seconds a query may take.
        max_rows, max_cells, max_bytes: caps on one result; what exceeds them is cut (``Result.truncated``).
        memory_bytes: cap on one worker's address space, where the system has such limits.

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
        self.workers = workers or min(_usable_cpus(), 8)
        self.timeout_s = timeout_s
        self._max_rows = max_rows
        self._max_cells = max_cells
        self._max_bytes = max_bytes
        self._memory_bytes = memory_bytes
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        # None stands for a worker not started yet. Last in, first out: a single caller keeps one warm worker busy.
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(self.workers):
            self._idle.put(None)

    def _borrow(self) -> _Worker:
        if self._pid != os.getpid():
            self._reset()
        if self._closed:
            raise RuntimeError("this ExecutorPool is closed")
        worker = self._idle.get()
        if worker is not None and not worker.alive:
            worker.close(kill=True)
            worker = None
        return worker or _Worker(self._memory_bytes)

    def run(self, path: Path | str, sql: str, timeout_s: float | None = None, max_rows: int | None = None) -> Result:
        """The result of ``sql`` on the SQLite file ``path``; failures are in ``Result.error``."""
        limit = self.timeout_s if timeout_s is None else timeout_s
        caps = (self._max_rows if max_rows is None else max_rows, self._max_cells, self._max_bytes)
        worker = self._borrow()
        try:
            result = worker.run(os.path.abspath(path), sql, limit, caps)
        except BaseException:
            # An interrupt between question and answer would leave the answer in the pipe for the next question.
            worker.close(kill=True)
            raise
        finally:
            with self._lock:
                if self._closed:
                    worker.close(kill=True)
                else:
                    self._idle.put(worker if worker.alive else None)
        if result is None:
            raise LearnatError(f"A SQL worker did not start: try `{sys.executable} -I -S {WORKER_FILE}`.")
        return result

    def map(
        self,
        queries: Iterable[Query],
        timeout_s: float | None = None,
        max_rows: int | None = None,
        on_result: Callable[[], None] | None = None,
    ) -> list[Result]:
        """Results in the order of ``queries``, from all workers; ``on_result`` is called after each (a bar's tick)."""

        def one(query: Query) -> Result:
            result = self.run(query.path, query.sql, timeout_s, max_rows)
            if on_result is not None:
                on_result()
            return result

        with ThreadPoolExecutor(self.workers) as threads:
            return list(threads.map(one, queries))

    def close(self) -> None:
        """Ends the workers; one in the middle of a query ends with it."""
        if self._pid != os.getpid():
            return
        with self._lock:
            self._closed = True
            while True:
                try:
                    worker = self._idle.get_nowait()
                except queue.Empty:
                    return
                if worker is not None:
                    worker.close()

    def __enter__(self) -> ExecutorPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Executor:
    """Runs SQL on one database, by default on one worker process that all such executors of this process share.

    Args:
        database: the SQLite file, or anything with its ``path`` (``benchmarks.Database``).
        pool: workers to run on instead of the shared one.

    Raises:
        LearnatError: the database has no file, or the file is not SQLite.
    """

    def __init__(
        self,
        database: Path | str | HasPath,
        timeout_s: float = 30.0,
        max_rows: int = MAX_ROWS,
        pool: ExecutorPool | None = None,
    ) -> None:
        path = database if isinstance(database, (str, Path)) else database.path
        if path is None:
            name = getattr(database, "db_id", database)
            raise LearnatError(f"Database {name} has no file, only a schema: nothing can be executed on it.")
        self.path = check_sqlite(path)
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


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
