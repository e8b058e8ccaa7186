"""One worker process as its parent sees it: asked over a pipe, killed when it does not answer in time."""

from __future__ import annotations

import math
import socket
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from learnat.errors import LearnatError
from learnat.sql.execution_worker.digests import DigestKind

WORKER_FILE = Path(__file__).parent / "execution_worker" / "__main__.py"
START_LIMIT_S = 60.0
GRACE_S = 0.5
"""Seconds a worker may outlive a query's limit before it is killed."""
MAX_SQL = 256 * 2**10
"""Characters of one statement; SQLite's own limit is set to as many bytes."""


@dataclass(frozen=True)
class Result:
    """What a query gave. ``rows`` is empty and ``error`` a message when it failed.

    ``seconds`` is the time in the database, ``truncated`` says that a cap on rows, cells or bytes cut the rows.
    ``digest`` stands for all rows of a truncated result where the query asked for one (``execution_worker.digests``);
    ``rows`` is empty then.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    error: str | None
    seconds: float
    timed_out: bool
    truncated: bool
    digest: str | None = None

    @property
    def ok(self) -> bool:
        """True when the query ran and all of its rows are here."""
        return self.error is None and not self.truncated

    @property
    def unseen(self) -> bool:
        """True when a cap cut the rows and no digest stands for them."""
        return self.truncated and self.digest is None


def check_limits(workers: object, timeout_s: object, max_rows: object) -> None:
    """Raise ``LearnatError`` for a number of workers (None: the default), seconds or rows that nothing could meet."""
    for name, value in (("workers", 1 if workers is None else workers), ("executor.max_rows", max_rows)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise LearnatError(f"{name}={value!r} must be a whole number above 0.")
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, (int, float)) or not 0 < timeout_s < math.inf:
        raise LearnatError(f"executor.timeout_s={timeout_s!r} must be a number of seconds above 0.")


def _failure(error: str, seconds: float = 0.0, timed_out: bool = False) -> Result:
    return Result((), [], error, seconds, timed_out, False)


def worker_command(engine: str) -> list[str]:
    """How a worker of ``engine`` is started. SQLite's needs no installed package, and starts faster without."""
    return [sys.executable, "-I", *(["-S"] if engine == "sqlite" else []), str(WORKER_FILE)]


class WorkerProcess:
    """One worker process of an engine, and the pipe to it."""

    def __init__(self, engine: str, memory_bytes: int) -> None:
        self.engine = engine
        here, there = socket.socketpair()
        with there:
            self._process = subprocess.Popen(
                [*worker_command(engine), str(there.fileno()), str(memory_bytes), engine],
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._pipe = Connection(here.detach())
        self._ready = False
        self._killed = False

    def _wait_until_ready(self) -> bool:
        # Starting is not waited for where the worker is made, so that several start side by side.
        try:
            self._ready = self._ready or (self._pipe.poll(START_LIMIT_S) and self._pipe.recv() == "ready")
        except (EOFError, OSError):
            return False
        return self._ready

    def run(
        self, address: str, sql: str, timeout_s: float, caps: tuple[int, int, int], digest: DigestKind | None
    ) -> Result | None:
        """The result, or None when the worker could not start. A worker whose ``alive`` is False must be replaced."""
        if not self._wait_until_ready():
            return None
        if len(sql) > MAX_SQL:
            return _failure(f"the statement is {len(sql):,} characters long: {MAX_SQL:,} are allowed")
        try:
            self._pipe.send((address, sql, timeout_s, digest, *caps))
            if not self._pipe.poll(timeout_s + GRACE_S):
                self.close(kill=True)
                return _failure(
                    f"time limit of {timeout_s:g} s exceeded: the worker was killed", timeout_s + GRACE_S, True
                )
            return Result(*self._pipe.recv())
        except (EOFError, OSError):
            self.close(kill=True)
            return _failure("the worker process died: out of memory, or the engine crashed")

    @property
    def alive(self) -> bool:
        # A process that was just killed may take a moment to be gone; it must not be asked again meanwhile.
        return not self._killed and not self._pipe.closed and self._process.poll() is None

    def kill(self) -> None:
        """Ends the process at once; whoever waits for its answer sees the pipe end."""
        self._killed = True
        self._process.kill()

    def close(self, kill: bool = False) -> None:
        """Ends the process and waits for it: by closing its pipe, or at once."""
        self._pipe.close()
        if kill:
            self.kill()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
