"""What a prompt shows of a schema."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from learnat.benchmarks.generated import GeneratedBenchmark
from learnat.benchmarks.types import Example
from learnat.errors import LearnatError
from learnat.inference.schema_filters import FullSchema, GoldSchema, RetrievedSchema, SchemaFilter
from learnat.sql.mentions import mentioned_columns
from learnat.sql.schema import Column, Schema, Table
from tests.inference.music import SCHEMA

EXAMPLE = Example(0, "dev/0", "dev", "music", "Which city has the most seats?", "", "SELECT max(seats) FROM venue")


def tables(shown: Schema) -> set[str]:
    return {table.name for table in shown.tables}


def test_the_gold_schema_is_what_the_gold_query_reads() -> None:
    assert FullSchema().part(EXAMPLE, SCHEMA) is SCHEMA
    (venue,) = GoldSchema().part(EXAMPLE, SCHEMA).tables
    assert [column.name for column in venue.columns] == ["id", "seats"]


def test_a_gold_query_that_is_not_understood_leaves_the_schema_whole(caplog: pytest.LogCaptureFixture) -> None:
    assert GoldSchema().part(replace(EXAMPLE, gold_sql="SELECT ("), SCHEMA) is SCHEMA
    assert "dev/0 gets the full schema" in caplog.text


def test_every_gold_query_runs_on_its_gold_schema(tmp_path: Path) -> None:
    benchmark = GeneratedBenchmark(None, cache_dir=tmp_path, num_databases=2, train_questions=60, dev_questions=30)
    smaller = 0
    for example in benchmark.examples("train"):
        full = benchmark.database(example.db_id).schema
        shown = GoldSchema().part(example, full)
        assert mentioned_columns(example.gold_sql, shown) == mentioned_columns(example.gold_sql, full)
        smaller += len(shown.tables) < len(full.tables)
    assert smaller > 30


def test_the_retrieved_schema_has_what_the_question_is_about() -> None:
    shown = RetrievedSchema(2).part(EXAMPLE, SCHEMA)
    assert [column.name for column in shown.tables[0].columns] == ["id", "city", "seats"] and tables(shown) == {"venue"}
    asked = replace(EXAMPLE, question="What is the name of the singer who gets the highest fee?")
    assert tables(RetrievedSchema(3).part(asked, SCHEMA)) == {"singer", "performs"}
    evidence = replace(EXAMPLE, question="How large is it?", evidence="large refers to venue seats")
    assert tables(RetrievedSchema(1).part(evidence, SCHEMA)) == {"venue"}


def test_descriptions_and_values_are_searched_too() -> None:
    schema = Schema(
        (
            Table("a", (Column("x1", description="the birthday of the person"), Column("x2"))),
            Table("b", (Column("y1", samples=("Lisbon", "Rome")), Column("y2"))),
        )
    )
    for question, table in (("Whose birthday is it?", "a"), ("Who lives in Rome?", "b")):
        assert tables(RetrievedSchema(1).part(replace(EXAMPLE, question=question), schema)) == {table}


@pytest.mark.parametrize("names", [("?!", "--", "#"), ("_", "__", "€")])
def test_names_without_a_letter_or_digit_are_columns_in_their_order(names: tuple[str, ...]) -> None:
    table, first, second = names
    schema = Schema((Table(table, (Column(first), Column(second))),))
    (shown,) = RetrievedSchema(1).part(EXAMPLE, schema).tables
    assert [column.name for column in shown.columns] == [first]
    assert RetrievedSchema(1).part(EXAMPLE, Schema(())) == Schema(())


@pytest.mark.parametrize("chosen", [RetrievedSchema(), RetrievedSchema(100)])
def test_many_columns_are_the_whole_schema(chosen: SchemaFilter) -> None:
    assert chosen.part(EXAMPLE, SCHEMA) == SCHEMA


def test_mistakes() -> None:
    with pytest.raises(LearnatError, match=r"inference\.schema\.columns=0"):
        RetrievedSchema(0)
