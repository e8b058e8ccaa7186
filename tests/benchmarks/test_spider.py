"""The Spider reader: what is kept, how databases are described, and what it says when something is wrong."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import pytest

from learnat.benchmarks import Benchmark, SpiderBenchmark
from learnat.errors import LearnatError

from .conftest import spider_row, write_database, write_json


def test_examples_carry_the_official_index(spider_root: Path) -> None:
    benchmark: Benchmark = SpiderBenchmark(spider_root)
    examples = benchmark.examples("dev")
    assert [example.index for example in examples] == [0, 1, 2]
    assert examples[0].question == "How many customers?"
    assert examples[0].gold_sql == "SELECT count(*) FROM customer"
    assert examples[0].example_id == "dev/0"
    assert examples[0].evidence == ""
    assert [example.difficulty for example in examples] == ["easy", "easy", "easy"]
    assert benchmark.skipped("dev") == 0


def test_train_runs_over_both_files(spider_root: Path) -> None:
    write_database(spider_root / "database" / "garden" / "garden.sqlite", "CREATE TABLE plant (id, planted)")
    benchmark = SpiderBenchmark(spider_root)
    assert [example.index for example in benchmark.examples("train")] == [0, 1, 2, 3, 4]
    assert [example.index for example in benchmark.examples("train_others")] == [0, 1]
    assert benchmark.examples("train")[3].gold_sql == benchmark.examples("train_others")[0].gold_sql


def test_train_without_train_others_says_so(spider_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (spider_root / "train_others.json").unlink()
    with caplog.at_level(logging.WARNING):
        benchmark = SpiderBenchmark(spider_root, missing="skip")
        assert len(benchmark.examples("train")) == 2
        benchmark.fingerprint("train")
    assert caplog.text.count("train_others.json") == 1


def test_missing_database_is_an_error_that_shows_the_ways_out(spider_root: Path) -> None:
    with pytest.raises(LearnatError) as error:
        SpiderBenchmark(spider_root).examples("train")
    message = str(error.value)
    assert "question 1 of split 'train' needs the database 'garden'" in message
    assert str(spider_root / "database" / "garden" / "garden.sqlite") in message
    assert "2 of the 5 questions are about 1 of 2 databases" in message
    assert "data.missing=skip" in message
    assert "data.databases=[shop]" in message


def test_skip_counts_and_keeps_the_official_index(spider_root: Path) -> None:
    benchmark = SpiderBenchmark(spider_root, missing="skip")
    assert [example.index for example in benchmark.examples("train")] == [0, 2, 4]
    assert benchmark.skipped("train") == 2
    assert benchmark.skipped("dev") == 0


def test_schema_keeps_questions_that_cannot_be_executed(spider_root: Path) -> None:
    benchmark = SpiderBenchmark(spider_root, missing="schema")
    assert [example.index for example in benchmark.examples("train")] == [0, 1, 2, 3, 4]
    assert benchmark.skipped("train") == 0
    garden = benchmark.database("garden")
    assert garden.path is None and garden.schema.tables
    assert benchmark.database("shop").path is not None


def test_databases_then_missing_then_limit(spider_root: Path) -> None:
    only = SpiderBenchmark(spider_root, databases=["shop"], limit=2)
    assert [example.index for example in only.examples("train")] == [0, 2]
    assert only.skipped("train") == 0
    assert only.size("train") == SpiderBenchmark(spider_root, missing="skip").size("train") == 5
    # A limit is met by questions that can be run: the first two are 0 and 2, and 1 was passed over on the way.
    limited = SpiderBenchmark(spider_root, limit=2, missing="skip")
    assert [example.index for example in limited.examples("train")] == [0, 2]
    assert limited.skipped("train") == 1
    # A missing database beyond the limit is nobody's concern.
    assert [example.index for example in SpiderBenchmark(spider_root, limit=1).examples("train")] == [0]


def test_callers_cannot_change_what_is_kept(spider_root: Path) -> None:
    benchmark = SpiderBenchmark(spider_root)
    benchmark.examples("dev").clear()
    assert len(benchmark.examples("dev")) == 3


def test_schema_takes_the_best_of_tables_json_and_file(spider_root: Path) -> None:
    database = SpiderBenchmark(spider_root, samples=2).database("shop")
    assert database.path == spider_root / "database" / "shop" / "shop.sqlite"
    customer, order = database.schema.tables
    assert [(column.name, column.type) for column in customer.columns] == [
        ("customer_id", "INTEGER"), ("Full_Name", "VARCHAR(40)"), ("city", "TEXT"), ("note", "BLOB")
    ]  # fmt: skip
    # Descriptions only where the name in words says more than the name.
    assert [column.description for column in customer.columns] == ["", "", "home town", ""]
    assert order.description == "customer order"
    assert customer.description == ""
    # Distinct, without NULLs and blobs, in row order.
    assert [column.samples for column in customer.columns] == [
        ("1", "2"), ("Ada Byron", "Bo O'Neil"), ("Paris", "Rome"), ()
    ]  # fmt: skip
    # tables.json knows the first column of a composite key only.
    assert [column.name for column in order.primary_key] == ["id", "line"]
    key = database.schema.foreign_keys[0]
    assert (key.table, key.column, key.ref_table, key.ref_column) == ("order", "customer_id", "customer", "customer_id")


def test_schema_without_file(spider_root: Path) -> None:
    database = SpiderBenchmark(spider_root).database("garden")
    assert database.path is None
    assert [table.name for table in database.schema.tables] == ["plant"]
    assert [(column.name, column.type) for column in database.schema.tables[0].columns] == [
        ("id", "NUMERIC"), ("planted", "DATETIME")
    ]  # fmt: skip
    assert all(column.samples == () for column in database.schema.tables[0].columns)
    assert [column.name for column in database.schema.tables[0].primary_key] == ["id"]


def test_fingerprint_follows_questions_and_databases(spider_root: Path) -> None:
    first = SpiderBenchmark(spider_root).fingerprint("dev")
    assert first == SpiderBenchmark(spider_root).fingerprint("dev")
    assert first != SpiderBenchmark(spider_root, missing="skip").fingerprint("train")
    write_database(spider_root / "database" / "shop" / "shop.sqlite", "DELETE FROM customer WHERE customer_id = 3")
    second = SpiderBenchmark(spider_root).fingerprint("dev")
    assert second != first
    write_json(spider_root / "dev.json", [spider_row("shop", "SELECT 1")])
    assert SpiderBenchmark(spider_root).fingerprint("dev") != second


def test_test_split_has_its_own_databases(spider_root: Path) -> None:
    write_json(spider_root / "test.json", [spider_row("garden", "SELECT id FROM plant")])
    path = spider_root / "test_database" / "garden" / "garden.sqlite"
    write_database(path, "CREATE TABLE plant (id INTEGER PRIMARY KEY, planted DATE)")
    benchmark = SpiderBenchmark(spider_root)
    assert len(benchmark.examples("test")) == 1
    assert benchmark.database("garden").path == path


@pytest.mark.parametrize(
    ("options", "split", "words"),
    [
        ({"databases": ["shp"]}, "dev", ["'shp'", "data.databases", "Did you mean 'shop'?"]),
        ({"databases": "garden"}, "dev", ["no question of split 'dev'", "[garden]", "is about shop."]),
        ({"databases": ["garden"], "missing": "skip"}, "train", ["nothing is left", "all 2 questions", "yale-lily"]),
        ({}, "dve", ["no split 'dve'", "Did you mean 'dev'?"]),
        ({}, "test", ["test.json", "Splits that are there: dev, train", "yale-lily.github.io/spider"]),
    ],
)
def test_what_is_not_there_is_named(spider_root: Path, options: dict, split: str, words: list[str]) -> None:
    with pytest.raises(LearnatError) as error:
        SpiderBenchmark(spider_root, **options).examples(split)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"missing": "skp"}, ["data.missing='skp'", "Did you mean 'skip'?"]),
        ({"limit": 0}, ["data.limit=0"]),
        ({"samples": -1}, ["data.samples=-1"]),
    ],
)
def test_bad_options_are_refused(spider_root: Path, options: dict, words: list[str]) -> None:
    with pytest.raises(LearnatError) as error:
        SpiderBenchmark(spider_root, **options)
    for word in words:
        assert word in str(error.value)


def test_missing_root_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(LearnatError, match=r"(?s)no folder .*nowhere.*yale-lily.github.io/spider.*LEARNAT_DATA"):
        SpiderBenchmark(tmp_path / "nowhere")


def test_missing_tables_json(spider_root: Path) -> None:
    (spider_root / "tables.json").unlink()
    with pytest.raises(LearnatError, match=r"schema file is missing: .*tables\.json"):
        SpiderBenchmark(spider_root).database("shop")


def test_unknown_database(spider_root: Path) -> None:
    with pytest.raises(LearnatError, match=r"no database 'shopp'.*Did you mean 'shop'\?"):
        SpiderBenchmark(spider_root).database("shopp")


def test_corrupt_json_names_line_and_column(spider_root: Path) -> None:
    path = spider_root / "dev.json"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[3] = lines[3].replace('"', "", 1)
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(LearnatError, match=r"dev\.json is not valid JSON: line 4, column \d+"):
        SpiderBenchmark(spider_root).examples("dev")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'[{"db_id": "shop", "question": "Which?"}]', "row 0 (counted from 0) lacks 'query'; it has db_id, question"),
        (b'[{"db_id": "shop", "question": "Which?", "query": "S"}, 3]', "row 1 (counted from 0) is a int"),
        (b'{"db_id": "shop"}', "must hold a JSON list of objects, not a dict"),
        (b'[{"db_id": "\xff"}]', "is not UTF-8 text: byte 12"),
        (b"[]", "split 'dev' has no questions"),
    ],
)
def test_broken_rows_are_named(spider_root: Path, content: bytes, words: str) -> None:
    (spider_root / "dev.json").write_bytes(content)
    with pytest.raises(LearnatError) as error:
        SpiderBenchmark(spider_root).examples("dev")
    assert words in str(error.value)


def test_contradictory_tables_json(spider_root: Path) -> None:
    path = spider_root / "tables.json"
    path.write_text(path.read_text(encoding="utf-8").replace("7,", "99,"), encoding="utf-8")
    with pytest.raises(LearnatError, match=r"entry of database 'shop' contradicts itself"):
        SpiderBenchmark(spider_root).database("shop")


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"PK\x03\x04 a zip"])
def test_a_file_that_is_not_sqlite_is_named(spider_root: Path, content: bytes) -> None:
    path = spider_root / "database" / "shop" / "shop.sqlite"
    path.write_bytes(content)
    for read in (lambda b: b.examples("dev"), lambda b: b.database("shop")):
        with pytest.raises(LearnatError) as error:
            read(SpiderBenchmark(spider_root))
        assert str(path) in str(error.value)


# The real benchmark.


def test_real_dev(learnat_data: Path) -> None:
    benchmark = SpiderBenchmark(learnat_data / "spider")
    examples = benchmark.examples("dev")
    assert len(examples) == 1034
    assert len({example.db_id for example in examples}) == 20
    # The official levels of dev: 248 easy, 446 medium, 174 hard, 166 extra (taoyds/spider, evaluation.py).
    assert Counter(example.difficulty for example in examples) == {
        "easy": 248,
        "medium": 446,
        "hard": 174,
        "extra": 166,
    }
    for db_id in {example.db_id for example in examples}:
        database = benchmark.database(db_id)
        assert database.path is not None
        assert database.schema.tables
        assert all(column.type for table in database.schema.tables for column in table.columns)


def test_real_train_has_the_official_count(learnat_data: Path) -> None:
    benchmark = SpiderBenchmark(learnat_data / "spider", missing="skip")
    assert len(benchmark.examples("train")) + benchmark.skipped("train") == 8659
    # The gathered copy lacks the files of baseball_1 and soccer_1; a complete one skips nothing.
    assert benchmark.skipped("train") in (0, 96)
    if benchmark.skipped("train"):
        with pytest.raises(LearnatError, match="96 of the 8659 questions are about 2 of 146 databases"):
            SpiderBenchmark(learnat_data / "spider").examples("train")
    assert len(SpiderBenchmark(learnat_data / "spider", limit=500).examples("train")) == 500


def test_real_schemas_agree_with_their_files(learnat_data: Path) -> None:
    """Every column that tables.json names has the type its SQLite file declares: the two spell names alike."""
    from learnat.benchmarks.sqlite_schema import read_schema

    benchmark = SpiderBenchmark(learnat_data / "spider", missing="skip")
    for db_id in {example.db_id for split in ("train", "dev") for example in benchmark.examples(split)}:
        database = benchmark.database(db_id)
        assert database.path is not None
        in_file = read_schema(database.path)
        for table in database.schema.tables:
            known = in_file.table(table.name)
            assert known is not None, (db_id, table.name)
            assert {c.name.casefold() for c in known.columns} == {c.name.casefold() for c in table.columns}, db_id
