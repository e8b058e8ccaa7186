"""The fixture database, the fixture files, and real gold queries with their schemas."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

from learnat.benchmarks.bird import BirdBenchmark
from learnat.benchmarks.spider import SpiderBenchmark
from learnat.benchmarks.sqlite_schema import read_schema
from learnat.sql import Schema
from learnat.sql.execution import ExecutorPool
from tests.sql.items import write_items

FIXTURES = Path(__file__).parent / "fixtures"
FULL = os.environ.get("LEARNAT_SWEEP") == "full"
"""``LEARNAT_SWEEP=full`` edits every gold query (about 10 minutes); by default a sample is edited."""

_FILES = {
    "spider dev": ("spider/dev.json", "query"),
    "spider train_spider": ("spider/train_spider.json", "query"),
    "spider train_others": ("spider/train_others.json", "query"),
    "bird dev": ("bird/dev/dev.json", "SQL"),
    "bird mini_dev": ("bird/mini_dev/mini_dev_sqlite.json", "SQL"),
}


@dataclass(frozen=True)
class Case:
    """One line of a fixture file: a mark, a statement and the statement it is compared with."""

    mark: str
    sql: str
    head: str
    why: str


@dataclass(frozen=True)
class GoldQuery:
    """A real gold query; ``database`` is None where only the schema is at hand."""

    split: str
    index: int
    sql: str
    schema: Schema
    database: Path | None


def read_cases(name: str, head: str) -> list[Case]:
    """Cases of a fixture file whose comparisons start with the word ``head``."""
    cases, current = [], ""
    for line in (FIXTURES / name).read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{head} "):
            current = line[len(head) + 1 :]
            cases.append(Case(head, current, current, ""))
        elif line and line[0] in "+-=!":
            sql, _, why = line[2:].partition(" || ")
            cases.append(Case(line[0], sql, current, why))
    return cases


def fixture_script() -> str:
    return (FIXTURES / "schema.sql").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def gold_queries(root: Path) -> tuple[GoldQuery, ...]:
    """All gold queries of Spider (dev, train_spider, train_others) and BIRD (dev, mini_dev on SQLite)."""
    readers = {"spider": SpiderBenchmark(root / "spider", samples=0), "bird": BirdBenchmark(root / "bird", samples=0)}
    found = []
    for split, (file, key) in _FILES.items():
        reader = readers[split.split()[0]]
        for index, row in enumerate(json.loads((root / file).read_text(encoding="utf-8"))):
            database = reader.database(row["db_id"])
            found.append(GoldQuery(split, index, row[key], database.schema, database.path))
    return tuple(found)


@pytest.fixture(scope="session")
def gold(learnat_data: Path) -> tuple[GoldQuery, ...]:
    return gold_queries(learnat_data)


@pytest.fixture(scope="session")
def fixture_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sql") / "fixtures.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(fixture_script())
    return path


@pytest.fixture(scope="session")
def fixture_schema(fixture_path: Path) -> Schema:
    return read_schema(fixture_path)


@pytest.fixture(scope="session")
def connection(fixture_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(fixture_path)) as opened:
        yield opened


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A file of items whose name holds what a URI and SQL would have to quote."""
    return write_items(tmp_path / "shop's 100% #1?.sqlite")


@pytest.fixture(scope="module")
def pool() -> Iterator[ExecutorPool]:
    with ExecutorPool(workers=1, timeout_s=20.0, memory_bytes=512 * 2**20) as pool:
        yield pool
