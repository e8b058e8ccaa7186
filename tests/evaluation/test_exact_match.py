"""Exact match gives the official verdicts: on pairs written for each rule, and on all of Spider's dev split."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnat.benchmarks.spider import SpiderBenchmark
from learnat.benchmarks.types import Database
from learnat.evaluation.exact_match.compare import COMPONENTS, comparable, components
from learnat.evaluation.exact_match.foreign_keys import representatives
from learnat.evaluation.exact_match.metric import ExactMatch
from learnat.evaluation.exact_match.parser import parse
from learnat.evaluation.exact_match.parts import Unreadable
from learnat.evaluation.exact_match.tokens import tokenize
from learnat.evaluation.run import ScoringRun
from learnat.sql.execution import ExecutorPool
from learnat.sql.schema import Column, ForeignKey, Schema, Table
from tests.evaluation.toy import Folder, question

TABLES = {
    "singer": ("id", "name", "age", "country"),
    "concert": ("id", "title", "singer_id", "year"),
    "visit": ("concert_id", "guest"),
}
SCHEMA = Schema(
    tuple(Table(name, tuple(Column(column) for column in columns)) for name, columns in TABLES.items()),
    (ForeignKey("concert", "singer_id", "singer", "id"), ForeignKey("visit", "concert_id", "concert", "id")),
)
POOL = ExecutorPool(workers=1)
"""Nothing is executed: it starts no process."""
COLUMNS = {table: set(columns) for table, columns in TABLES.items()}


class SchemaOnly(Folder):
    """A benchmark of one question about a database that is a schema."""

    def database(self, db_id: str) -> Database:
        return Database(db_id, None, SCHEMA)


def exact_match(predicted: str, gold: str) -> float | None:
    """The metric's value for one question."""
    benchmark = SchemaOnly(Path(), [question(0, gold, db_id="music")], "spider_bag", ())
    [value] = ExactMatch().measure(ScoringRun(benchmark, "dev", {0: predicted}, POOL)).values
    return value


def pairs() -> list[tuple[str, str, str]]:
    text = (Path(__file__).parent / "fixtures/exact_match.txt").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return list(zip(lines[::3], lines[1::3], lines[2::3], strict=True))


@pytest.mark.parametrize(("gold", "predicted", "verdict"), pairs())
def test_official_verdicts_on_pairs(gold: str, predicted: str, verdict: str) -> None:
    assert exact_match(gold, gold) == 1.0
    assert exact_match(predicted, gold) == float(verdict == "=")
    if verdict == "?":
        with pytest.raises(Unreadable):
            parse(predicted, COLUMNS)
    else:
        assert parse(predicted, COLUMNS).select


def test_the_placeholder_for_a_value_is_plugged() -> None:
    assert exact_match("SELECT name FROM singer WHERE age > value", "SELECT name FROM singer WHERE age > 3") == 1.0


def test_a_gold_query_outside_the_subset_gives_no_verdict() -> None:
    assert exact_match("SELECT name FROM singer", "SELECT name FROM singer s") is None


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT a,b FROM t", ["select", "a", ",", "b", "from", "t"]),
        ("a=1 b >= 2", ["a=1", "b", ">=", "2"]),
        ("a ! = 1 <> 2", ["a", "!=", "1", "<", ">", "2"]),
        ("LIMIT 1,2", ["limit", "1,2"]),
        ("count(*)", ["count", "(", "*", ")"]),
        ("x = 'It is' or y = \"No\"", ["x", "=", '"It is"', "or", "y", "=", '"No"']),
        ("x='a'", ["x=__val_0__"]),
        ("t.a = 1.", ["t.a", "=", "1", "."]),
        ("a. b.c d.\n.. e.; f.)g.", ["a", ".", "b.c", "d", ".", "..", "e", ".", ";", "f", ".", ")", "g", "."]),
        ("a > 1. and b = 2.; c = 3. D", ["a", ">", "1.", "and", "b", "=", "2.", ";", "c", "=", "3", ".", "d"]),
        ("a--b ; `c`", ["a", "--", "b", ";", "`", "c", "`"]),
    ],
)
def test_words(sql: str, words: list[str]) -> None:
    assert tokenize(sql) == words


def test_a_column_of_two_groups_of_keys_belongs_to_the_later_one() -> None:
    schema = Schema(
        tuple(Table(name, (Column("id"),)) for name in "abcd"),
        (ForeignKey("b", "id", "a", "id"), ForeignKey("d", "id", "c", "id"), ForeignKey("c", "id", "b", "id")),
    )
    # The last key joins the first group that has one of its ends: {a, b, c}; c stays in {c, d} too.
    assert representatives(schema) == {"a.id": "a.id", "b.id": "a.id", "c.id": "c.id", "d.id": "c.id"}


def test_components_name_what_differs() -> None:
    def read(sql: str) -> object:
        return comparable(parse(sql, COLUMNS), representatives(SCHEMA))

    found = components(
        read("SELECT name FROM singer WHERE age > 1 ORDER BY age"),  # type: ignore[arg-type]
        read("SELECT name FROM singer WHERE age < 1"),  # type: ignore[arg-type]
    )
    assert tuple(found) == COMPONENTS
    assert [name for name, same in found.items() if not same] == ["where", "order", "keywords"]


WORDS = "select from ( ) , * singer name age = 1 'x' and or where by group order limit union in as join on not".split()


@given(st.text(max_size=60) | st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join))
def test_any_text_has_a_verdict(sql: str) -> None:
    assert exact_match(sql, "SELECT name FROM singer") in (0.0, 1.0)


def test_nesting_without_end_is_unreadable() -> None:
    sql = "SELECT name FROM singer WHERE id IN (" * 3000
    assert exact_match(sql, "SELECT name FROM singer") == 0.0


def test_the_metric_takes_the_names_of_the_file(tmp_path: Path, pool: ExecutorPool) -> None:
    with sqlite3.connect(tmp_path / "music.sqlite") as connection:
        connection.execute("CREATE TABLE Singer (ID INTEGER, Name TEXT)")
    connection.close()
    golds = ["SELECT name FROM singer", "SELECT name FROM singer s", "SELECT id FROM singer"]
    examples = [question(i, sql, "", "music") for i, sql in enumerate(golds)]
    run = ScoringRun(
        Folder(tmp_path, examples, "spider_bag", ()),
        "dev",
        {0: "select Name from Singer", 1: "SELECT name FROM singer", 2: "SELECT age FROM singer"},
        pool,
    )
    measured = ExactMatch().measure(run)
    assert measured.values == (1.0, None, 0.0)
    assert (measured.scored, measured.gold_failed) == (2, 1)


@pytest.fixture(scope="module")
def spider(learnat_data: Path) -> SpiderBenchmark:
    return SpiderBenchmark(learnat_data / "spider", samples=0)


def test_all_official_verdicts(spider: SpiderBenchmark, learnat_data: Path, pool: ExecutorPool) -> None:
    official = json.loads((learnat_data / "parity/spider_dev_dail_gpt4.json").read_text())
    run = ScoringRun(spider, "dev", {row["index"]: row["predicted"] for row in official}, pool)
    values = ExactMatch().measure(run).values
    assert len(values) == 1034
    assert [row["index"] for row, value in zip(official, values, strict=True) if value != row["em"]] == []


def test_gold_matches_itself(spider: SpiderBenchmark, pool: ExecutorPool) -> None:
    gold = {example.index: example.gold_sql for example in spider.examples("dev")}
    assert set(ExactMatch().measure(ScoringRun(spider, "dev", gold, pool)).values) == {1.0}
