"""Replies of language models kept on disk, so that what was paid for once is not asked again."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from learnat.errors import LearnatError

APPLICATION_ID = 0x4C4E4154
"""Written into the header of the file ("LNAT"), so that no other SQLite file is mistaken for a cache, or changed."""

_TABLE = """
    CREATE TABLE IF NOT EXISTS replies (
        key TEXT PRIMARY KEY,
        text TEXT NOT NULL,
        finish_reason TEXT NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL
    ) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Reply:
    """A model's answer to one call, as it came. Token counts are the server's own.

    ``cached_tokens``, those of the prompt that a server knew already, are not kept on disk.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


def cache_key(call: Mapping[str, Any], sample: int) -> str:
    """The key of the ``sample``-th reply to ``call``: SHA-256 of both as canonical JSON.

    ``call`` must hold everything that decides the reply: model, messages, sampling parameters, the form asked for.
    A server's address is none of it: the same model is often served elsewhere the next time. Other weights under
    the same model name therefore need another cache file.
    """
    text = json.dumps({"call": call, "sample": sample}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class ReplyCache:
    """Replies by key, in one SQLite file that several threads and processes of one machine may share.

    The file is opened at the first use. Write-ahead logging lets readers and one writer work side by side, and does not
    work over a network file system. ``hits`` and ``misses`` count what this object was asked for.

    Args:
        path: the file; it and its folder are made if they are not there.
        busy_timeout_s: how long a call waits for another process's write.
        key: the config key that the path is set by, for messages.

    Every method raises ``LearnatError`` for a file that is corrupt, not a reply cache, locked for too long or not
    writable.
    """

    def __init__(self, path: str | Path, busy_timeout_s: float = 30.0, key: str = "proposer.cache") -> None:
        self.path = Path(path)
        self.busy_timeout_s = busy_timeout_s
        self._key = key
        self.hits = 0
        self.misses = 0
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()

    def get(self, key: str) -> Reply | None:
        """The reply kept under ``key``."""
        with self._lock:
            reply = self._read(key)
            self.hits += reply is not None
            self.misses += reply is None
        return reply

    def keep(self, key: str, reply: Reply) -> Reply:
        """Keep ``reply``, and return the one that stands: of two writers' the first, so that reruns agree with both."""
        row = (key, reply.text, reply.finish_reason, reply.prompt_tokens, reply.completion_tokens)
        with self._lock:
            self._execute("INSERT INTO replies VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row)
            return self._read(key) or reply

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    def _read(self, key: str) -> Reply | None:
        columns = "text, finish_reason, prompt_tokens, completion_tokens"
        rows = self._execute(f"SELECT {columns} FROM replies WHERE key = ?", (key,))
        return Reply(*rows[0]) if rows else None

    def _execute(self, sql: str, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._opened().execute(sql, parameters).fetchall()
        except (sqlite3.Error, OSError) as error:  # filelock's Timeout is an OSError
            raise LearnatError(self._explained(error)) from error

    def _opened(self) -> sqlite3.Connection:
        # A connection must not cross a fork.
        if self._connection is None or self._process != os.getpid():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                self.path, timeout=self.busy_timeout_s, isolation_level=None, check_same_thread=False
            )
            try:
                # Until the file is in WAL mode, SQLite answers "locked" at once instead of waiting.
                with FileLock(f"{self.path}.lock", timeout=self.busy_timeout_s):
                    self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection, self._process = connection, os.getpid()
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and application != APPLICATION_ID:
            raise LearnatError(
                f"{self.path} is a SQLite file, but not one of cached replies. Give another path ({self._key}=PATH)."
            )
        connection.execute("PRAGMA journal_mode = WAL")
        # In WAL mode a crash of the machine may lose the last replies, never the file.
        connection.execute("PRAGMA synchronous = NORMAL")
        if not tables:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(_TABLE)

    def _explained(self, error: Exception) -> str:
        if isinstance(error, Timeout) or (isinstance(error, sqlite3.OperationalError) and "locked" in str(error)):
            return (
                f"{self.path}: the cache of replies was locked by another process for {self.busy_timeout_s:g} s. "
                f"End that process, or give another path ({self._key}=PATH)."
            )
        return (
            f"{self.path}: the cache of replies cannot be used ({error}). Move the file away, or give another path "
            f"({self._key}=PATH); replies that are not in the cache are asked for again."
        )
