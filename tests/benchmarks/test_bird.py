"""The BIRD reader: its downloads' layouts, evidence, column descriptions, and flat layouts like it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from learnat.benchmarks import Benchmark, BirdBenchmark
from learnat.errors import LearnatError

from .conftest import SHOP_TABLES, bird_row, write_database, write_json


def test_examples_with_evidence_and_difficulty(bird_root: Path) -> None:
    benchmark: Benchmark = BirdBenchmark(bird_root, databases=["shop"])
    examples = benchmark.examples("dev")
    assert [example.index for example in examples] == [1, 2]
    assert [example.difficulty for example in examples] == ["moderate", "challenging"]
    assert [example.evidence for example in examples] == ["town = city", ""]
    assert examples[0].gold_sql == "SELECT city FROM customer"
    assert examples[0].example_id == "dev/1"


def test_skip_counts(bird_root: Path) -> None:
    benchmark = BirdBenchmark(bird_root, missing="skip")
    assert len(benchmark.examples("dev")) == 2
    assert benchmark.skipped("dev") == 1


def test_missing_database_is_named_with_its_path(bird_root: Path) -> None:
    with pytest.raises(LearnatError) as error:
        BirdBenchmark(bird_root).examples("dev")
    message = str(error.value)
    assert "question 0 of split 'dev' needs the database 'garden'" in message
    assert str(bird_root / "dev_20240627" / "dev_databases" / "garden" / "garden.sqlite") in message
    assert "data.missing=skip" in message
    assert "data.databases=[shop]" in message


def test_schema_uses_the_descriptions(bird_root: Path) -> None:
    schema = BirdBenchmark(bird_root).database("shop").schema
    customer, order = schema.tables
    # Windows-1252, a padded name, a note on two lines with BIRD's own label.
    assert customer.columns[2].description == "home town; the town of the customer’s home; • Rome: Italy"
    assert customer.columns[1].description == ""
    # UTF-8 with a byte order mark; a description that repeats the name in words is said once.
    assert order.columns[0].description == "order number; unique"
    assert [column.name for column in order.primary_key] == ["id", "line"]


def test_schema_without_file_keeps_descriptions_and_composite_keys(bird_root: Path) -> None:
    (bird_root / "dev_20240627" / "dev_databases" / "shop" / "shop.sqlite").unlink()
    database = BirdBenchmark(bird_root).database("shop")
    assert database.path is None
    customer, order = database.schema.tables
    assert customer.columns[2].description.startswith("home town")
    assert [column.name for column in order.primary_key] == ["id", "line"]
    assert [column.type for column in order.columns] == ["INTEGER", "INTEGER", "INTEGER", "REAL"]


def test_long_descriptions_are_cut(bird_root: Path) -> None:
    path = bird_root / "dev_20240627" / "dev_databases" / "shop" / "database_description" / "order.csv"
    path.write_text(path.read_text(encoding="utf-8-sig").replace("unique", "code " * 200), encoding="utf-8")
    description = BirdBenchmark(bird_root).database("shop").schema.tables[1].columns[0].description
    assert len(description) <= 240
    assert description.endswith("code…")


@pytest.mark.parametrize("place", ["dev/dev.json", "dev.json"])
def test_other_places_of_dev(bird_root: Path, place: str) -> None:
    home = bird_root / "dev_20240627"
    target = bird_root / Path(place).parent
    if target == bird_root:
        for path in home.iterdir():
            shutil.move(path, bird_root / path.name)
        home.rmdir()
    else:
        home.rename(target)
    benchmark = BirdBenchmark(bird_root, databases=["shop"])
    assert len(benchmark.examples("dev")) == 2
    assert benchmark.database("shop").path == target / "dev_databases" / "shop" / "shop.sqlite"


def test_the_latest_dated_release_counts(bird_root: Path) -> None:
    write_json(bird_root / "dev_20251106" / "dev.json", [bird_row("shop", "SELECT 1")])
    assert [example.gold_sql for example in BirdBenchmark(bird_root).examples("dev")] == ["SELECT 1"]


def test_mini_dev_shares_the_databases_of_dev(bird_root: Path) -> None:
    write_json(
        bird_root / "mini_dev" / "mini_dev_sqlite.json",
        [bird_row("shop", "SELECT 1", question_id=1471, difficulty="simple"), bird_row("garden", "SELECT 2")],
    )
    benchmark = BirdBenchmark(bird_root, missing="skip")
    assert [(example.index, example.example_id) for example in benchmark.examples("mini_dev")] == [(0, "mini_dev/0")]
    assert benchmark.skipped("mini_dev") == 1


def test_train_has_no_difficulty_and_its_own_folder(bird_root: Path) -> None:
    row = bird_row("kiosk", "SELECT 1")
    write_json(bird_root / "train" / "train.json", [row])
    path = bird_root / "train" / "train_databases" / "kiosk" / "kiosk.sqlite"
    with pytest.raises(LearnatError) as error:
        BirdBenchmark(bird_root).examples("train")
    assert str(path) in str(error.value)
    write_database(path)
    descriptions = path.parent / "database_description"
    descriptions.mkdir()
    (descriptions / "customer.csv").write_text(
        "original_column_name,column_name,column_description\ncity,home town,\n", encoding="utf-8"
    )
    benchmark = BirdBenchmark(bird_root)
    assert benchmark.examples("train")[0].difficulty == ""
    # No tables.json names it: the file itself does.
    customer, order = benchmark.database("kiosk").schema.tables
    assert (customer.name, order.name) == ("customer", "order")
    assert [column.description for column in customer.columns] == ["", "", "home town", ""]


def test_flat_layout_with_shared_databases(tmp_path: Path) -> None:
    """What a benchmark made here looks like: one folder of databases for all splits."""
    for split in ("train", "dev_seen"):
        write_json(tmp_path / f"{split}.json", [bird_row("shop", f"SELECT '{split}'", difficulty="simple")])
        write_json(tmp_path / f"{split}_tables.json", [SHOP_TABLES])
    write_database(tmp_path / "databases" / "shop" / "shop.sqlite")
    benchmark = BirdBenchmark(tmp_path)
    assert benchmark.examples("dev_seen")[0].gold_sql == "SELECT 'dev_seen'"
    assert benchmark.database("shop").path == tmp_path / "databases" / "shop" / "shop.sqlite"
    with pytest.raises(LearnatError, match=r"'dev_sen'(?s:.*)Splits that are there: dev_seen, train \("):
        benchmark.examples("dev_sen")


def test_missing_split_names_the_ways_out(bird_root: Path) -> None:
    with pytest.raises(LearnatError) as error:
        BirdBenchmark(bird_root).examples("train")
    message = str(error.value)
    assert str(bird_root / "train" / "train.json") in message
    assert "Splits that are there: dev (data.split, data.train_split, data.eval_splits)" in message
    assert "bird-bench.github.io" in message


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(LearnatError, match=r"(?s)bird: there is no folder .*bird-bench\.github\.io.*LEARNAT_DATA"):
        BirdBenchmark(tmp_path / "bird")


def test_row_without_sql(bird_root: Path) -> None:
    write_json(
        bird_root / "dev_20240627" / "dev.json", [bird_row("shop", "SELECT 1"), {"db_id": "shop", "question": "?"}]
    )
    with pytest.raises(LearnatError, match=r"dev\.json: row 1 \(counted from 0\) lacks 'SQL'"):
        BirdBenchmark(bird_root).examples("dev")


# The real benchmark.


def test_real_counts(learnat_data: Path) -> None:
    root = learnat_data / "bird"
    benchmark = BirdBenchmark(root, missing="skip")
    assert len(benchmark.examples("dev")) + benchmark.skipped("dev") == 1534
    assert len(benchmark.examples("mini_dev")) + benchmark.skipped("mini_dev") == 500
    superhero = BirdBenchmark(root, databases=["superhero"])
    assert len(superhero.examples("dev")) == 129
    assert superhero.skipped("dev") == 0
    assert {example.difficulty for example in superhero.examples("dev")} <= set(superhero.difficulties)


def test_real_descriptions_cover_most_columns(learnat_data: Path) -> None:
    benchmark = BirdBenchmark(learnat_data / "bird", missing="skip")
    columns = [
        column
        for db_id in ("superhero", "european_football_2", "formula_1", "student_club")
        for table in benchmark.database(db_id).schema.tables
        for column in table.columns
    ]
    assert sum(bool(column.description) for column in columns) > 0.6 * len(columns)
    assert not any("\ufffd" in column.description for column in columns)
