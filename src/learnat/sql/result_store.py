"""Results by key in one SQLite file, for several processes at once; a kill at any instant leaves it sound.

It is a cache and never more: where the file cannot be read or written (locked, damaged, a full disk), nothing is found
or kept, and a warning says so once.
"""

from __future__ import annotations

import logging
import marshal
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path

from learnat.sql.execution import Result

log = logging.getLogger(__name__)

MAX_BYTES = 512 * 2**20
"""Size of the file at which the quarter of its results that were not used for longest is dropped."""
MAX_RESULT_BYTES = 2**20
"""A result that takes more, compressed, is not kept: to read it would take as long as to run the query."""
_WAIT_S = 10.0
_DAY_S = 86_400
_KEYS_A_QUERY = 500

_SCHEMA = """
CREATE TABLE IF NOT EXISTS results (key BLOB PRIMARY KEY, value BLOB NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID
"""


class ResultStore:
    """The results in ``path``, which is made with its folder when the first is kept.

    SQLite's default journal is used, not WAL: a cache folder may lie on a network file system.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._warned = False

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Result]:
        """Those of ``keys`` that are there; they count as used today."""
        wanted = list(keys)
        if not wanted or not self.path.exists():
            return {}
        found: dict[bytes, Result] = {}
        stale: list[bytes] = []
        self._guarded(lambda connection: _get(connection, wanted, found, stale))
        if stale:
            self._guarded(lambda connection: _mark_used(connection, stale))
        return found

    def put(self, results: Mapping[bytes, Result]) -> None:
        """Keeps ``results``, but for those that are too large or hold what cannot be written."""
        values = {key: value for key, result in results.items() if (value := _pack(result)) is not None}
        if values:
            self._guarded(lambda connection: self._put(connection, values))

    def _put(self, connection: sqlite3.Connection, values: Mapping[bytes, bytes]) -> None:
        connection.execute(_SCHEMA)
        rows = [(key, value, _today()) for key, value in values.items()]
        connection.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", rows)
        if _size(connection) > self._max_bytes:
            connection.execute(
                "DELETE FROM results WHERE key IN "
                "(SELECT key FROM results ORDER BY used LIMIT (SELECT count(*) / 4 FROM results))"
            )

    def _guarded(self, work: Callable[[sqlite3.Connection], None]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=_WAIT_S)) as connection, connection:
                work(connection)
        except (sqlite3.Error, OSError) as error:
            if not self._warned:
                log.warning("Gold results are not kept: %s: %s. Delete the file if it is damaged.", self.path, error)
                self._warned = True


def _get(connection: sqlite3.Connection, keys: list[bytes], found: dict[bytes, Result], stale: list[bytes]) -> None:
    """Adds to ``found`` what is there, and to ``stale`` those of its keys that were not used today."""
    for start in range(0, len(keys), _KEYS_A_QUERY):
        some = keys[start : start + _KEYS_A_QUERY]
        marks = ",".join("?" * len(some))
        for key, value, used in connection.execute(f"SELECT * FROM results WHERE key IN ({marks})", some):
            result = _unpack(value)
            if result is not None:
                found[key] = result
                stale += [key] if used < _today() else []


def _mark_used(connection: sqlite3.Connection, keys: list[bytes]) -> None:
    connection.executemany("UPDATE results SET used = ? WHERE key = ?", [(_today(), key) for key in keys])


def _today() -> int:
    return int(time.time() // _DAY_S)


def _size(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def _pack(result: Result) -> bytes | None:
    """The result as bytes, or None. zlib's checksum finds damage, which ``marshal`` alone would not survive."""
    fields = (result.columns, result.rows, result.seconds, result.truncated, result.digest)
    try:
        value = zlib.compress(marshal.dumps(fields, 2), 1)
    except ValueError:  # a cell that is no number, text, blob or NULL
        return None
    return value if len(value) <= MAX_RESULT_BYTES else None


def _unpack(value: bytes) -> Result | None:
    try:
        columns, rows, seconds, truncated, digest = marshal.loads(zlib.decompress(value))
    except (zlib.error, ValueError, EOFError, TypeError):
        return None
    return Result(columns, rows, None, seconds, False, truncated, digest)
