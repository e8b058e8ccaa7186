"""A small database and benchmark of its own: concerts, singers and who sang where."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

from learnat.benchmarks.types import Database, Example
from learnat.sql.schema import Column, ForeignKey, Schema, Table

SCHEMA = Schema(
    tables=(
        Table(
            "singer",
            (
                Column("singer_id", "INTEGER", primary_key=True, samples=("1", "2")),
                Column("name", "TEXT", samples=("Ada", "Bo", "Cy")),
                Column("country", "TEXT", description="home country", samples=("France", "Peru")),
                Column("age", "INTEGER", samples=("31", "45", "52")),
            ),
        ),
        Table(
            "concert",
            (
                Column("concert_id", "INTEGER", primary_key=True, samples=("1", "2", "3")),
                Column("venue", "TEXT", samples=("Arena", "Club")),
                Column("year", "INTEGER", samples=("2014", "2015")),
            ),
        ),
        Table(
            "performs",
            (
                Column("singer_id", "INTEGER", samples=("1", "2")),
                Column("concert_id", "INTEGER", samples=("1", "2")),
                Column("fee", "REAL", samples=("100.0", "250.5")),
            ),
        ),
    ),
    foreign_keys=(
        ForeignKey("performs", "singer_id", "singer", "singer_id"),
        ForeignKey("performs", "concert_id", "concert", "concert_id"),
    ),
)

QUESTIONS: tuple[tuple[str, str], ...] = (
    ("How many singers are there?", "SELECT count(*) FROM singer"),
    ("Names of singers from France?", 'SELECT name FROM singer WHERE country  =  "France"'),
    ("Oldest singer from France?", "SELECT name FROM singer WHERE country = 'France' ORDER BY age DESC LIMIT 1"),
    (
        "Who performed in 2014?",
        "SELECT T1.name FROM singer AS T1 JOIN performs AS T2 ON T1.singer_id = T2.singer_id "
        "JOIN concert AS T3 ON T2.concert_id = T3.concert_id WHERE T3.year = 2014",
    ),
    (
        "Which singer over 30 performed most?",
        "SELECT T1.name FROM singer AS T1 JOIN performs AS T2 ON T1.singer_id = T2.singer_id WHERE T1.age > 30 "
        "GROUP BY T1.singer_id ORDER BY count(*) DESC LIMIT 1",
    ),
    ("Singers older than average?", "SELECT name FROM singer WHERE age > (SELECT avg(age) FROM singer)"),
    (
        "Singers who never performed?",
        "SELECT name FROM singer WHERE singer_id NOT IN (SELECT singer_id FROM performs WHERE fee > 50)",
    ),
    (
        "Countries with singers over 40 and under 35?",
        "SELECT country FROM singer WHERE age > 40 INTERSECT SELECT country FROM singer WHERE age < 35",
    ),
    ("Countries with two singers?", "SELECT country FROM singer GROUP BY country HAVING count(*) >= 2"),
    (
        "Venues with a high fee?",
        "WITH best AS (SELECT concert_id FROM performs WHERE fee > 90) "
        "SELECT venue FROM concert JOIN best ON concert.concert_id = best.concert_id",
    ),
    (
        "Singers with a performance?",
        "SELECT name FROM singer AS s WHERE EXISTS (SELECT 1 FROM performs AS p WHERE p.singer_id = s.singer_id)",
    ),
)


@dataclass
class SmallBenchmark:
    """The questions above, over one SQLite file."""

    path: Path | None
    limit: int | None = None
    name: str = "small"
    ex_mode: str = "spider_bag"
    difficulties: tuple[str, ...] = ("easy", "hard")
    samples: int = 0

    def examples(self, split: str) -> list[Example]:
        return [
            Example(i, f"{split}/{i}", split, "music", question, "", sql, "hard" if "JOIN" in sql else "easy")
            for i, (question, sql) in enumerate(QUESTIONS)
        ][: self.limit]

    def size(self, split: str) -> int:
        return len(QUESTIONS)

    def skipped(self, split: str) -> int:
        return 0

    def database(self, db_id: str) -> Database:
        return Database(db_id, self.path, SCHEMA)

    def fingerprint(self, split: str) -> str:
        return f"small-{split}"


@pytest.fixture(scope="session")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("music") / "music.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            """
            CREATE TABLE singer (singer_id INTEGER PRIMARY KEY, name TEXT, country TEXT, age INTEGER);
            CREATE TABLE concert (concert_id INTEGER PRIMARY KEY, venue TEXT, year INTEGER);
            CREATE TABLE performs (singer_id INTEGER, concert_id INTEGER, fee REAL);
            INSERT INTO singer VALUES (1, 'Ada', 'France', 52), (2, 'Bo', 'France', 31), (3, 'Cy', 'Peru', 45);
            INSERT INTO concert VALUES (1, 'Arena', 2014), (2, 'Club', 2015), (3, 'Club', 2014);
            INSERT INTO performs VALUES (1, 1, 100.0), (1, 2, 250.5), (2, 3, 40.0);
            """
        )
    connection.close()
    return path


@pytest.fixture
def benchmark_of_music(music: Path) -> SmallBenchmark:
    return SmallBenchmark(music)
