"""The text of a schema, in each style."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnat.benchmarks import BirdBenchmark, SpiderBenchmark
from learnat.benchmarks.schema_text import STYLES, quote_name, serialize
from learnat.benchmarks.sqlite_schema import read_schema
from learnat.errors import LearnatError
from learnat.sql.schema import Column, ForeignKey, Schema, Table

SHOP = Schema(
    (
        Table(
            "customer",
            (
                Column("id", "INTEGER", primary_key=True, samples=("1", "2")),
                Column("home town", "VARCHAR(20)", description="where the\ncustomer lives", samples=("Ys", "L'Aquila")),
                Column("code", "INT", samples=("12", "n/a")),
            ),
        ),
        Table(
            "order",
            (Column("no", "INT", primary_key=True), Column("line", "INT", primary_key=True), Column("who", "")),
            description="what was sold",
        ),
    ),
    (ForeignKey("order", "who", "customer", "id"),),
)


def test_compact() -> None:
    assert serialize(SHOP, "compact", 0) == (
        "customer: id, `home town`, code\n`order`: no, line, who\n`order`.who = customer.id"
    )
    assert serialize(SHOP, "compact", 2).splitlines()[0] == (
        "customer: id (1, 2), `home town` ('Ys', 'L''Aquila'), code (12, 'n/a')"
    )


def test_ddl() -> None:
    assert serialize(SHOP, "ddl", 1) == (
        """CREATE TABLE customer (
  id INTEGER PRIMARY KEY, -- examples: 1
  `home town` VARCHAR(20), -- where the customer lives; examples: 'Ys'
  code INT -- examples: 12
);

CREATE TABLE `order` ( -- what was sold
  no INT,
  line INT,
  who,
  PRIMARY KEY (no, line),
  FOREIGN KEY (who) REFERENCES customer (id)
);"""
    )


def test_m_schema() -> None:
    assert serialize(SHOP, "m_schema", 2, "shop") == (
        """【DB_ID】 shop
【Schema】
# Table: customer
[
(id:INTEGER, Primary Key, Examples: [1, 2]),
(`home town`:VARCHAR, where the customer lives, Examples: [Ys, L'Aquila]),
(code:INT, Examples: [12, n/a])
]
# Table: `order`, what was sold
[
(no:INT, Primary Key),
(line:INT, Primary Key),
(who:TEXT)
]
【Foreign keys】
`order`.who=customer.id"""
    )
    assert serialize(SHOP, "m_schema", 0).startswith("【Schema】\n")


def test_unknown_style() -> None:
    with pytest.raises(LearnatError, match=r"'mschema'.*data\.schema_style.*Did you mean 'm_schema'\?"):
        serialize(SHOP, "mschema", 0)


# Every keyword of sqlite.org/lang_keywords.html, and true and false.
KEYWORDS = """abort action add after all alter always analyze and as asc attach autoincrement before begin between by
cascade case cast check collate column commit conflict constraint create cross current current_date current_time
current_timestamp database default deferrable deferred delete desc detach distinct do drop each else end escape except
exclude exclusive exists explain fail filter first following for foreign from full generated glob group groups having if
ignore immediate in index indexed initially inner insert instead intersect into is isnull join key last left like limit
match materialized natural no not nothing notnull null nulls of offset on or order others outer over partition plan
pragma preceding primary query raise range recursive references regexp reindex release rename replace restrict returning
right rollback row rows savepoint select set table temp temporary then ties to transaction trigger unbounded union
unique update using vacuum values view virtual when where window with without true false"""


@pytest.mark.parametrize(
    "name", [*KEYWORDS.split(), "a b", "2013-14", "Zürich", "per cent (%)", "tick`ed", 'quo"ted', "x$"]
)
def test_quoted_names_mean_themselves(name: str) -> None:
    assert_names_itself(name)


@given(st.text(min_size=1, max_size=12).filter(lambda text: "\0" not in text and text.isprintable()))
def test_any_quoted_name_means_itself(name: str) -> None:
    if not name.casefold().startswith("sqlite_") and name.casefold() not in ("x", "a"):
        assert_names_itself(name)


def assert_names_itself(name: str) -> None:
    quoted = quote_name(name)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE {quoted} ({quoted} TEXT, x TEXT)")
        connection.execute(f"INSERT INTO {quoted} VALUES ('v', 'w')")
        query = (
            f"SELECT a.{quoted}, {quoted} FROM {quoted} AS a WHERE {quoted} = 'v' GROUP BY {quoted} ORDER BY {quoted}"
        )
        assert connection.execute(query).fetchall() == [("v", "v")]
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [(name,)]


def test_ordinary_names_stay_bare() -> None:
    names = ["name", "Full_Name", "date", "year", "type", "id", "City", "count", "text"]
    assert [quote_name(name) for name in names] == names


def shape(schema: Schema) -> object:
    tables = {
        table.name: [(column.name, column.type, column.primary_key) for column in table.columns]
        for table in schema.tables
    }
    keys = {(key.table, key.column.casefold(), key.ref_table, key.ref_column.casefold()) for key in schema.foreign_keys}
    return tables, keys


def check_ddl(schema: Schema, samples: int, folder: Path, name: str) -> None:
    path = folder / f"{name}.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(serialize(schema, "ddl", samples))
    assert shape(read_schema(path)) == shape(schema), name


def test_ddl_builds_the_schema(tmp_path: Path) -> None:
    check_ddl(SHOP, 2, tmp_path, "shop")


def test_ddl_of_real_databases_builds_their_schema(learnat_data: Path, tmp_path: Path) -> None:
    for benchmark in (
        SpiderBenchmark(learnat_data / "spider", missing="skip"),
        BirdBenchmark(learnat_data / "bird", missing="skip"),
    ):
        for db_id in {example.db_id for example in benchmark.examples("dev")}:
            check_ddl(benchmark.database(db_id).schema, 3, tmp_path, db_id)


@pytest.mark.parametrize("style", STYLES)
def test_every_style_names_every_column(style: str, learnat_data: Path) -> None:
    schema = BirdBenchmark(learnat_data / "bird").database("california_schools").schema
    text = serialize(schema, style, 3)
    assert not text.endswith("\n")
    for table in schema.tables:
        assert quote_name(table.name) in text
        assert all(quote_name(column.name) in text for column in table.columns)
