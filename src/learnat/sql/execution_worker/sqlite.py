"""SQLite files, opened so that nothing can be written, not even a file beside them.

The file is opened ``mode=ro``, ``query_only`` is on, an authorizer refuses every action but reading, a progress handler
ends a query at its deadline, and limits stop what one instruction could do.

``immutable=1`` is used for a database in WAL mode that nobody has open (there is no ``-wal`` file, or an empty one):
SQLite would create ``-wal`` and ``-shm`` beside it. It is correct as long as nobody writes; a program that begins to
creates a ``-wal``, whereupon the database is opened anew. In the other journal modes it would only do harm: SQLite
creates nothing for a reader there, and its shared lock keeps a writer from changing pages under a running query.
"""

from __future__ import annotations

import os
import sqlite3
import time
from urllib.parse import quote

from learnat.sql.execution_worker.database import Cursor, OpenDatabase, Refused

PROGRESS_STEPS = 5_000
"""Virtual-machine steps between two looks at the clock: about 0.1 ms of work."""
LOCK_WAIT_S = 0.5
"""Seconds to wait for another program's lock."""

# SQLITE_LIMIT_* category -> cap. Numbers, since sqlite3 names them only from Python 3.11 on.
LENGTH, SQL_LENGTH = 0, 1
LIMITS = {
    LENGTH: 16 * 2**20,  # bytes of one string, blob or row; stops zeroblob, randomblob and printf bombs
    SQL_LENGTH: 256 * 2**10,  # bytes of one statement
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


def text_of(raw: bytes) -> str:
    """``raw`` without what is no UTF-8, as the official Spider evaluator reads text."""
    if len(raw) > LIMITS[LENGTH]:
        raise sqlite3.DataError("string or blob too big")
    return raw.decode("utf-8", "ignore")


class SqliteDatabase(OpenDatabase):
    """One read-only connection with its guards."""

    def __init__(self, address: str, memory_bytes: int) -> None:
        self._path = address
        self._refused: str | None = None
        self._deadline = 0.0
        connection = sqlite3.connect(
            f"file:{quote(address)}?{open_options(address)}",
            uri=True,
            isolation_level=None,
            timeout=LOCK_WAIT_S,
            check_same_thread=False,
        )
        self._connection = connection
        connection.text_factory = text_of
        for pragma in ("query_only=ON", "temp_store=MEMORY", f"hard_heap_limit={memory_bytes // 2}"):
            connection.execute(f"PRAGMA {pragma}").close()
        # Python 3.10 has no setlimit: statements and texts that come out are capped all the same (``execute``,
        # ``text_of``), and what a query makes on its way by the heap limit alone.
        if hasattr(connection, "setlimit"):
            for category, cap in LIMITS.items():
                connection.setlimit(category, cap)
        connection.set_authorizer(self._authorize)
        connection.set_progress_handler(self._out_of_time, PROGRESS_STEPS)

    @staticmethod
    def stamp(address: str) -> object:
        stat = os.stat(address)
        return stat.st_ino, stat.st_size, stat.st_mtime_ns, size_of(address + "-wal")

    def execute(self, sql: str, deadline: float) -> Cursor:
        self._deadline = deadline
        self._refused = None
        if len(sql.encode("utf-8", "surrogatepass")) > LIMITS[SQL_LENGTH]:
            raise sqlite3.DataError("query string is too large")
        return self._connection.execute(sql)

    def timed_out(self, error: BaseException) -> bool:
        return isinstance(error, sqlite3.OperationalError) and str(error) == "interrupted"

    def explain(self, error: BaseException) -> str:
        if self._refused is not None:
            return f"refused: {self._refused}: databases are opened for reading only"
        return self.explain_opening(error, self._path)

    @staticmethod
    def explain_opening(error: BaseException, address: str) -> str:
        text = str(error) or type(error).__name__
        if isinstance(error, FileNotFoundError):
            return f"no such database file: {address}"
        if "database is locked" in text:
            return f"database is locked: another program is writing to {address}; close it or work on a copy"
        if "file is not a database" in text:
            return f"file is not a database: {address} is not a SQLite file"
        if isinstance(error, sqlite3.OperationalError) and size_of(address + "-journal"):
            return f"{text}: {unfinished(address, '-journal')}"
        return text

    def close(self) -> None:
        self._connection.close()

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
            self._refused = f"the function {name}"
        elif action == sqlite3.SQLITE_PRAGMA and (first or "").lower() in READ_PRAGMAS:
            return sqlite3.SQLITE_OK
        else:
            self._refused = " ".join(filter(None, (ACTION_NAMES.get(action, f"action {action}"), first)))
        return sqlite3.SQLITE_DENY

    def _out_of_time(self) -> int:
        return int(time.monotonic() >= self._deadline)


def open_options(path: str) -> str:
    """The URI's query for ``path``.

    Raises:
        Refused: to read it, SQLite would have to write.
    """
    with open(path, "rb") as file:
        header = file.read(20)
    if header[18:20] != b"\x02\x02":
        return "mode=ro"
    wal = size_of(path + "-wal")
    if wal is not None and os.path.exists(path + "-shm"):
        # Another program has it open, or had when it died: its files are read, and not touched.
        return "mode=ro&readonly_shm=1"
    if wal:
        raise Refused(unfinished(path, "-wal"))
    return "mode=ro&immutable=1"


def size_of(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def unfinished(path: str, suffix: str) -> str:
    return (
        f"{path}{suffix} holds changes that were not finished, and reading only cannot finish them: "
        f"open {path} once with a program that may write (sqlite3 {path} .schema), or copy it anew"
    )
