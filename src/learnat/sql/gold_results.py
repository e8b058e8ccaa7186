"""Results of gold queries, kept on disk: the same gold is executed for every model, stage and seed that is scored."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path

from learnat.sql.addresses import Address, engine_of
from learnat.sql.execution import ExecutorPool, Query, Result
from learnat.sql.execution_worker.digests import DigestKind
from learnat.sql.file_hash import WHOLE, update_with_file
from learnat.sql.result_store import ResultStore

FILE = "gold_results.sqlite"
_FORMAT = 1
_TOGETHER = 2_000
"""Queries that are looked up, run and written at a time: what a kill loses at most."""

_NOT_REPEATABLE = re.compile(
    r"random|\bnow\b|\bcurrent_(date|time)|localtime|\bchanges\b"
    r"|\b(date|time|datetime|julianday|unixepoch)\s*\(\s*\)|\bstrftime\s*\(\s*('[^']*'|\"[^\"]*\")\s*\)",
    re.IGNORECASE,
)


class GoldResults:
    """Runs gold queries on a pool, each once for all runs: ``GoldResults(pool, cache_dir).run(path, sql)`` or ``.map``.

    A result is found again by the content of the database file, the SQL text, the digest asked for, the pool's caps
    and the SQLite version. Its ``seconds`` are those of the run that executed it; it is used only where they keep
    the time limit. Never kept: errors and time-outs, which may depend on the machine; results that a cap cut and that
    have no digest; queries whose text may mean another result tomorrow (``random()``, ``'now'``); and databases that
    are no SQLite file, or have a ``-wal`` file beside it.

    The file ``gold_results.sqlite`` is shared by all processes, bounded in size (``result_store.MAX_BYTES``), and may
    be deleted at any time.

    Args:
        pool: what runs a query that is not there yet.
        folder: where results are kept; None keeps none.
    """

    def __init__(self, pool: ExecutorPool, folder: Path | None = None) -> None:
        self._pool = pool
        self._store = None if folder is None else ResultStore(folder / FILE)
        self._hashes: dict[tuple[object, ...], bytes] = {}

    def run(self, path: Address, sql: str, timeout_s: float | None = None, digest: DigestKind | None = None) -> Result:
        """The result of ``sql`` on the database ``path``, as ``ExecutorPool.run`` gives it."""
        return self.map([Query(path, sql, digest)], timeout_s)[0]

    def map(
        self,
        queries: Sequence[Query],
        timeout_s: float | None = None,
        on_result: Callable[[], None] | None = None,
    ) -> list[Result]:
        """Results in the order of ``queries``, as ``ExecutorPool.map`` gives them; ``on_result`` is called for each."""
        results: list[Result] = []
        for start in range(0, len(queries), _TOGETHER):
            results += self._map(queries[start : start + _TOGETHER], timeout_s, on_result)
        return results

    def _map(
        self, queries: Sequence[Query], timeout_s: float | None, on_result: Callable[[], None] | None
    ) -> list[Result]:
        if self._store is None:
            return self._pool.map(queries, timeout_s, on_result=on_result)
        keys = {query: key for query in queries if (key := self._key(query)) is not None}
        limit = self._pool.timeout_s if timeout_s is None else timeout_s
        kept = {key: result for key, result in self._store.get(keys.values()).items() if result.seconds <= limit}
        known = {query: kept[key] for query, key in keys.items() if key in kept}
        for query in queries if on_result is not None else ():
            if query in known and on_result is not None:
                on_result()
        missing = [query for query in queries if query not in known]
        fresh = dict(zip(missing, self._pool.map(missing, timeout_s, on_result=on_result), strict=True))
        # The key once more: a file that was replaced while its queries ran must not lend its results to the old one.
        unchanged = {query for query in missing if query in keys and self._key(query) == keys[query]}
        self._store.put({keys[query]: fresh[query] for query in unchanged if _is_repeatable(fresh[query])})
        return [known.get(query) or fresh[query] for query in queries]

    def _key(self, query: Query) -> bytes | None:
        """What the result depends on, hashed; None for what is not kept."""
        if engine_of(query.path) != "sqlite" or _NOT_REPEATABLE.search(query.sql):
            return None
        content = self._content_hash(Path(query.path))
        if content is None:
            return None
        settings = (_FORMAT, sqlite3.sqlite_version, self._pool.caps, query.digest, query.sql)
        return blake2b(content + repr(settings).encode(), digest_size=20).digest()

    def _content_hash(self, path: Path) -> bytes | None:
        wal = path.with_name(path.name + "-wal")
        try:
            stat = path.stat()
            stamp = (path, stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if wal.exists() and wal.stat().st_size > 0:
                return None
            if stamp not in self._hashes:
                digest = blake2b(digest_size=20)
                update_with_file(digest, path)
                if stat.st_size > WHOLE:
                    # Its middle is not looked at, and in WAL mode a change there need not show at its ends.
                    digest.update(str(stat.st_mtime_ns).encode())
                self._hashes[stamp] = digest.digest()
        except OSError:
            return None
        return self._hashes[stamp]


def _is_repeatable(result: Result) -> bool:
    return result.error is None and (not result.truncated or result.digest is not None)
