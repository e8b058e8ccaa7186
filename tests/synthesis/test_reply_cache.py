"""The cache of replies: keyed by what decides them, shared by threads and processes, clear about what is wrong."""

from __future__ import annotations

import multiprocessing
import sqlite3
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock

from learnat.errors import LearnatError
from learnat.synthesis.proposers.cache import Reply, ReplyCache, cache_key

CALL = {"model": "m", "messages": [{"role": "user", "content": "é"}], "temperature": 0.8, "k": 4}


def test_the_key_knows_what_decides_a_reply() -> None:
    changed = [
        {**CALL, "model": "n"},
        {**CALL, "messages": []},
        {**CALL, "temperature": 0.9},
        {**CALL, "k": 3},
        {**CALL, "response_format": {"type": "json_object"}},
    ]
    keys = [cache_key(CALL, 0), cache_key(CALL, 1), *(cache_key(call, 0) for call in changed)]
    assert len(set(keys)) == len(keys)
    assert cache_key(dict(reversed(CALL.items())), 0) == keys[0]


def test_what_is_kept_comes_back_also_later(tmp_path: Path) -> None:
    path = tmp_path / "new" / "replies.sqlite"
    reply = Reply('{"steps": ["ü"]}\n', "length", 12, 3)
    cache = ReplyCache(path)
    assert cache.get("a") is None and cache.keep("a", reply) == reply
    cache.close()
    again = ReplyCache(path)
    assert (again.get("a"), again.get("b")) == (reply, None)
    assert (again.hits, again.misses) == (1, 1)
    assert cache.get("a") == reply  # a closed cache opens again
    for opened in (cache, again):
        opened.close()


def test_of_two_replies_the_first_stands(tmp_path: Path) -> None:
    caches = [ReplyCache(tmp_path / "replies.sqlite") for _ in range(2)]
    first, second = Reply("1", "stop", 1, 1), Reply("2", "stop", 1, 1)
    assert caches[0].keep("a", first) == caches[1].keep("a", second) == first
    for cache in caches:
        cache.close()


def _work(path: Path, worker: int) -> list[Reply]:
    """100 replies, of which every worker makes its own version, kept and read by four threads."""
    cache = ReplyCache(path)

    def one(number: int) -> Reply:
        if (known := cache.get(str(number))) is not None:
            return known
        return cache.keep(str(number), Reply(f"{worker}/{number}", "stop", worker, number))

    with ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(one, range(100)))
    cache.close()
    return replies


def test_processes_and_threads_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "replies.sqlite"
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as processes:
        results = [future.result() for future in [processes.submit(_work, path, worker) for worker in range(4)]]
    assert all(result == results[0] for result in results)
    assert [reply.completion_tokens for reply in results[0]] == list(range(100))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM replies").fetchone() == (100,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_corrupt_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "replies.sqlite"
    path.write_bytes(b"no database at all " * 100)
    with pytest.raises(LearnatError, match=r"replies\.sqlite.*not a database.*Move the file away.*proposer\.cache"):
        ReplyCache(path).get("a")


def test_a_damaged_page_is_an_error_not_a_reply(tmp_path: Path) -> None:
    path = tmp_path / "replies.sqlite"
    cache = ReplyCache(path)
    for number in range(500):
        cache.keep(str(number), Reply("x" * 100, "stop", 1, 1))
    cache.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(LearnatError, match=r"replies\.sqlite: the cache of replies cannot be used"):
        ReplyCache(path).get("7")


def test_a_database_of_something_else_is_left_alone(music: Path) -> None:
    before = music.read_bytes()
    with pytest.raises(LearnatError, match="not one of cached replies"):
        ReplyCache(music).get("a")
    assert music.read_bytes() == before


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LearnatError, match=r"replies\.sqlite.*cannot be used"):
        ReplyCache(tmp_path / "file" / "replies.sqlite").get("a")


def test_a_locked_file_is_waited_for_and_then_named(tmp_path: Path) -> None:
    path = tmp_path / "replies.sqlite"
    cache = ReplyCache(path, busy_timeout_s=0.2)
    cache.keep("a", Reply("", "stop", 0, 0))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert cache.get("a") is not None  # readers do not wait for a writer
        with pytest.raises(LearnatError, match=r"locked by another process for 0\.2 s"):
            cache.keep("b", Reply("", "stop", 0, 0))
    cache.close()
    with FileLock(f"{path}.lock"), pytest.raises(LearnatError, match="locked by another process"):
        ReplyCache(path, busy_timeout_s=0.2).get("a")
