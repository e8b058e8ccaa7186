"""The process that runs SQL for ``learnat.sql.execution``: one file, standard library only.

It is started by path (``python -I -S execution_worker.py FD MEMORY_BYTES``), so that it imports neither this
package nor the main program: start-up costs a few hundredths of a second, and no torch, CUDA or Hydra state comes
along. It answers requests ``(path, sql, timeout_s, max_rows, max_cells, max_bytes)`` on the inherited pipe with
``(columns, rows, error, seconds, timed_out, truncated)`` until the pipe closes.

Nothing here can write: the file is opened ``mode=ro``, ``query_only`` is on, an authorizer refuses every action but
reading, and a resource limit keeps the process from growing any file by a byte. Linux and macOS.
"""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import quote

KEEP_OPEN = 8
"""Connections kept: questions come sorted by database, and each open file costs memory."""
PROGRESS_STEPS = 5_000
"""Virtual-machine steps between two looks at the clock: about 0.1 ms of work."""
KILL_AFTER_S = 0.75
"""Seconds past its limit after which a query that SQLite cannot interrupt ends this process."""
FETCH_ROWS = 500

# SQLITE_LIMIT_* category -> cap. Numbers, since sqlite3 names them only from Python 3.11 on.
LIMITS = {
    0: 16 * 2**20,  # LENGTH: bytes of one string, blob or row; stops zeroblob, randomblob and printf bombs
    1: 256 * 2**10,  # SQL_LENGTH: bytes of one statement
    3: 1_000,  # EXPR_DEPTH
    4: 500,  # COMPOUND_SELECT
    5: 5_000_000,  # VDBE_OP
    7: 0,  # ATTACHED
    8: 1_000,  # LIKE_PATTERN_LENGTH
}

READ_ACTIONS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
READ_PRAGMAS = {
    "table_info",
    "table_xinfo",
    "table_list",
    "index_list",
    "index_info",
    "index_xinfo",
    "foreign_key_list",
    "data_version",  # full-text tables ask it of themselves
}
REFUSED_FUNCTIONS = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"}
ACTION_NAMES = {
    sqlite3.SQLITE_CREATE_INDEX: "CREATE INDEX",
    sqlite3.SQLITE_CREATE_TABLE: "CREATE TABLE",
    sqlite3.SQLITE_CREATE_TEMP_INDEX: "CREATE TEMP INDEX",
    sqlite3.SQLITE_CREATE_TEMP_TABLE: "CREATE TEMP TABLE",
    sqlite3.SQLITE_CREATE_TEMP_TRIGGER: "CREATE TEMP TRIGGER",
    sqlite3.SQLITE_CREATE_TEMP_VIEW: "CREATE TEMP VIEW",
    sqlite3.SQLITE_CREATE_TRIGGER: "CREATE TRIGGER",
    sqlite3.SQLITE_CREATE_VIEW: "CREATE VIEW",
    sqlite3.SQLITE_DELETE: "DELETE",
    sqlite3.SQLITE_DROP_INDEX: "DROP INDEX",
    sqlite3.SQLITE_DROP_TABLE: "DROP TABLE",
    sqlite3.SQLITE_DROP_TRIGGER: "DROP TRIGGER",
    sqlite3.SQLITE_DROP_VIEW: "DROP VIEW",
    sqlite3.SQLITE_INSERT: "INSERT",
    sqlite3.SQLITE_PRAGMA: "PRAGMA",
    sqlite3.SQLITE_TRANSACTION: "TRANSACTION",
    sqlite3.SQLITE_UPDATE: "UPDATE",
    sqlite3.SQLITE_ATTACH: "ATTACH",
    sqlite3.SQLITE_DETACH: "DETACH",
    sqlite3.SQLITE_ALTER_TABLE: "ALTER TABLE",
    sqlite3.SQLITE_REINDEX: "REINDEX",
    sqlite3.SQLITE_ANALYZE: "ANALYZE",
    sqlite3.SQLITE_CREATE_VTABLE: "CREATE VTABLE",
    sqlite3.SQLITE_DROP_VTABLE: "DROP VTABLE",
    sqlite3.SQLITE_SAVEPOINT: "SAVEPOINT",
}

Answer = tuple[tuple[str, ...], list[tuple[Any, ...]], "str | None", float, bool, bool]


class OpenDatabase:
    """One read-only connection with its guards, reopened by the caller when the file changed."""

    def __init__(self, path: str, heap_bytes: int) -> None:
        self.stamp = file_stamp(path)
        self.refused: str | None = None
        self.text_bytes = 0
        self.deadline = 0.0
        uri = f"file:{quote(path)}?mode=ro{'&immutable=1' if wal_at_rest(path) else ''}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=1.0, check_same_thread=False)
        self.connection = connection
        connection.text_factory = self._decode
        for pragma in ("query_only=ON", "temp_store=MEMORY", f"hard_heap_limit={heap_bytes}"):
            connection.execute(f"PRAGMA {pragma}").close()
        if hasattr(connection, "setlimit"):
            for category, cap in LIMITS.items():
                connection.setlimit(category, cap)
        connection.set_authorizer(self._authorize)
        connection.set_progress_handler(self._out_of_time, PROGRESS_STEPS)

    def _decode(self, raw: bytes) -> str:
        # errors="ignore", as the official Spider evaluator reads text; the count is what the byte cap looks at.
        self.text_bytes += len(raw)
        return raw.decode("utf-8", "ignore")

    def _authorize(self, action: int, first: str | None, second: str | None, *_: object) -> int:
        if action in READ_ACTIONS:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_UPDATE and first == "sqlite_master":
            # SQLite asks this while it sets up a table-valued function (json_each); it refuses real updates itself.
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION:
            name = (second or "").lower()
            if name not in REFUSED_FUNCTIONS:
                return sqlite3.SQLITE_OK
            self.refused = f"the function {name}"
        elif action == sqlite3.SQLITE_PRAGMA and (first or "").lower() in READ_PRAGMAS:
            return sqlite3.SQLITE_OK
        else:
            self.refused = " ".join(filter(None, (ACTION_NAMES.get(action, f"action {action}"), first)))
        return sqlite3.SQLITE_DENY

    def _out_of_time(self) -> int:
        return int(time.monotonic() >= self.deadline)


def file_stamp(path: str) -> tuple[int, int, int]:
    stat = os.stat(path)
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def wal_at_rest(path: str) -> bool:
    """A WAL database nobody writes to: opened as immutable, since SQLite would create ``-shm`` beside it."""
    with open(path, "rb") as file:
        header = file.read(20)
    return header[18:20] == b"\x02\x02" and not os.path.exists(path + "-wal")


def fetch(
    cursor: sqlite3.Cursor, database: OpenDatabase, max_rows: int, max_cells: int, max_bytes: int
) -> tuple[list[tuple[Any, ...]], bool]:
    """Rows up to the caps, and whether a cap cut them."""
    rows: list[tuple[Any, ...]] = []
    width = max(len(cursor.description), 1)
    room = min(max_rows, max_cells // width)
    blob_bytes = 0
    while True:
        # One row more than fits tells a result that is cut from one that just fits.
        batch = cursor.fetchmany(min(FETCH_ROWS, room + 1 - len(rows)))
        rows += batch
        if len(rows) > room:
            return rows[:room], True
        if len(batch) == 0:
            return rows, False
        blob_bytes += sum(len(cell) for row in batch for cell in row if type(cell) is bytes)
        if database.text_bytes + blob_bytes > max_bytes:
            return [], True


def explain(error: BaseException, database: OpenDatabase | None, path: str) -> str:
    """What a user needs to read, for an exception raised while opening or running."""
    if isinstance(error, MemoryError):
        return "out of memory: the query needs more than the worker's memory cap"
    if database is not None and database.refused is not None:
        return f"refused: {database.refused}: databases are opened for reading only"
    text = str(error) or type(error).__name__
    if "database is locked" in text:
        return f"database is locked: another program is writing to {path}; close it or work on a copy"
    if "file is not a database" in text:
        return f"file is not a database: {path} is not a SQLite file"
    return text


def answer(database: OpenDatabase, path: str, sql: str, timeout_s: float, caps: tuple[int, int, int]) -> Answer:
    start = time.monotonic()
    database.deadline = start + timeout_s
    database.refused = None
    database.text_bytes = 0
    try:
        cursor = database.connection.execute(sql)
        try:
            if cursor.description is None:
                return (), [], "the statement is empty", time.monotonic() - start, False, False
            columns = tuple(entry[0] for entry in cursor.description)
            rows, truncated = fetch(cursor, database, *caps)
        finally:
            cursor.close()
    except Exception as error:
        seconds = time.monotonic() - start
        if isinstance(error, sqlite3.OperationalError) and str(error) == "interrupted":
            return (), [], f"time limit of {timeout_s:g} s exceeded", seconds, True, False
        return (), [], explain(error, database, path), seconds, False, False
    return columns, rows, None, time.monotonic() - start, False, truncated


class Worker:
    def __init__(self, heap_bytes: int) -> None:
        self._heap_bytes = heap_bytes
        self._open: OrderedDict[str, OpenDatabase] = OrderedDict()

    def database(self, path: str) -> OpenDatabase:
        known = self._open.pop(path, None)
        if known is not None and known.stamp != file_stamp(path):
            known.connection.close()
            known = None
        if known is None:
            known = OpenDatabase(path, self._heap_bytes)
        self._open[path] = known
        if len(self._open) > KEEP_OPEN:
            self._open.popitem(last=False)[1].connection.close()
        return known

    def __call__(self, path: str, sql: str, timeout_s: float, *caps: int) -> Answer:
        try:
            database = self.database(path)
        except FileNotFoundError:
            return (), [], f"no such database file: {path}", 0.0, False, False
        except Exception as error:
            return (), [], explain(error, None, path), 0.0, False, False
        return answer(database, path, sql, timeout_s, caps)  # type: ignore[arg-type]


def limit_process(memory_bytes: int) -> None:
    # FSIZE 0: no file can grow, whatever gets past SQLite's guards; pipes are not files in this sense.
    for limit, cap in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        try:
            resource.setrlimit(limit, (cap, cap))
        except (ValueError, OSError):  # macOS does not limit the address space: SQLite's own heap limit still holds
            continue


def serve(pipe: Connection, handle: Callable[..., Answer]) -> None:
    while True:
        try:
            request = pipe.recv()
        except EOFError:
            return
        # SIGALRM's default action ends the process even inside SQLite's C code, and even when the parent is gone.
        signal.setitimer(signal.ITIMER_REAL, request[2] + KILL_AFTER_S)
        reply = handle(*request)
        signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            pipe.send(reply)
        except MemoryError:
            pipe.send(((), [], "out of memory: the result is larger than the worker's memory cap", 0.0, False, False))


def main() -> None:
    descriptor, memory_bytes = int(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it closes the pipe
    limit_process(memory_bytes)
    pipe = Connection(descriptor)
    pipe.send("ready")
    try:
        serve(pipe, Worker(heap_bytes=memory_bytes // 2))
    except (BrokenPipeError, ConnectionResetError):
        return


if __name__ == "__main__":
    main()
