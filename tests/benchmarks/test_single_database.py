"""Databases that belong to no benchmark."""

from __future__ import annotations

from pathlib import Path

from learnat.benchmarks.generated import GeneratedBenchmark
from learnat.benchmarks.single_database import read_database

from .conftest import SHOP_SQL, write_database


def test_it_is_seen_as_the_benchmark_sees_it(tmp_path: Path) -> None:
    """A checkpoint that is asked about it must be shown what it was trained on."""
    sizes = {"num_databases": 2, "num_unseen_databases": 1, "train_questions": 20, "dev_questions": 20}
    benchmark = GeneratedBenchmark(cache_dir=tmp_path, samples=2, **sizes)
    for db_id in {example.db_id for example in benchmark.examples("dev_seen")}:
        known = benchmark.database(db_id)
        assert known.path is not None and known.schema.tables[0].columns
        assert any(column.description for table in known.schema.tables for column in table.columns)
        assert read_database(known.path, samples=2) == known


def test_it_needs_no_descriptions(tmp_path: Path) -> None:
    write_database(tmp_path / "shop.sqlite", SHOP_SQL)
    database = read_database(str(tmp_path / "shop.sqlite"))
    assert (database.db_id, database.path, database.variants) == ("shop", tmp_path / "shop.sqlite", ())
    assert not any(column.description for table in database.schema.tables for column in table.columns)
