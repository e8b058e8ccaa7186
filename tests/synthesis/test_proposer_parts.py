"""What the ast proposer is made of: cutting gold into steps, wording them, and mutating words of them."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from learnat.errors import LearnatError
from learnat.sql.schema import Column, Schema, Table
from learnat.synthesis.proposers.binding import bind, render
from learnat.synthesis.proposers.chain import ORDERS, Cut, cuts, shorten
from learnat.synthesis.proposers.mutations import MUTATIONS, Mutator
from learnat.synthesis.proposers.wording import sub_question, words
from tests.synthesis.conftest import QUESTIONS, SCHEMA

CUTS = {
    "SELECT count(*) FROM singer": [],
    'SELECT name FROM singer WHERE country = "France" ORDER BY age': [
        "SELECT name FROM singer WHERE country = 'France'",
    ],
    QUESTIONS[3][1]: ["SELECT T3.concert_id FROM concert AS T3 WHERE T3.year = 2014"],
    QUESTIONS[4][1]: [
        "SELECT T1.singer_id FROM singer AS T1 WHERE T1.age > 30",
        "SELECT T1.singer_id, T1.name FROM singer AS T1 JOIN performs AS T2 ON T1.singer_id = T2.singer_id "
        "WHERE T1.age > 30",
        "SELECT T1.name, COUNT(*) FROM singer AS T1 JOIN performs AS T2 ON T1.singer_id = T2.singer_id "
        "WHERE T1.age > 30 GROUP BY T1.singer_id",
    ],
    QUESTIONS[5][1]: ["SELECT AVG(age) FROM singer"],
    QUESTIONS[6][1]: ["SELECT singer_id FROM performs WHERE fee > 50"],
    QUESTIONS[7][1]: ["SELECT country FROM singer WHERE age > 40", "SELECT country FROM singer WHERE age < 35"],
    QUESTIONS[9][1]: ["SELECT concert_id FROM performs WHERE fee > 90"],
    # Correlated: the inner block cannot stand alone.
    QUESTIONS[10][1]: [],
    # The inner block of a correlated one can.
    "SELECT name FROM singer AS s WHERE EXISTS (SELECT 1 FROM performs AS p WHERE p.singer_id = s.singer_id "
    "AND p.concert_id IN (SELECT concert_id FROM concert WHERE year = 2014))": [
        "SELECT concert_id FROM concert WHERE year = 2014",
    ],
    "SELECT name FROM singer WHERE country NOT IN (SELECT country FROM singer WHERE age IS NOT NULL) ORDER BY name": [
        "SELECT country FROM singer WHERE age IS NOT NULL",
        "SELECT name FROM singer WHERE country NOT IN (SELECT country FROM singer WHERE age IS NOT NULL)",
    ],
    "WITH a AS (SELECT * FROM singer WHERE age > 40), b AS (SELECT name FROM a) SELECT count(*) FROM b": [
        "SELECT * FROM singer WHERE age > 40",
        "WITH a AS (SELECT * FROM singer WHERE age > 40) SELECT name FROM a",
    ],
}


@pytest.mark.parametrize("gold", CUTS)
def test_gold_is_cut_in_the_order_of_its_evaluation(gold: str) -> None:
    assert [render(cut.query) for cut in cuts(bind(gold, SCHEMA), SCHEMA)] == CUTS[gold]


def test_granularity_block_keeps_whole_blocks_only() -> None:
    for _, gold in QUESTIONS:
        blocks = [render(cut.query) for cut in cuts(bind(gold, SCHEMA), SCHEMA, "block")]
        assert len(blocks) == {QUESTIONS[5][1]: 1, QUESTIONS[6][1]: 1, QUESTIONS[7][1]: 2, QUESTIONS[9][1]: 1}.get(
            gold, 0
        )
    with pytest.raises(LearnatError, match="'block'"):
        cuts(bind(QUESTIONS[0][1], SCHEMA), SCHEMA, "blok")


def test_orders_differ_where_there_is_a_choice() -> None:
    gold = bind(QUESTIONS[7][1], SCHEMA)
    assert len({tuple(render(c.query) for c in cuts(gold, SCHEMA, order=order)) for order in ORDERS}) == 2


def test_long_chains_lose_nested_clauses_first() -> None:
    steps = [Cut(bind(f"SELECT {i}", SCHEMA), rank) for i, rank in enumerate([0, 2, 1, 0, 2, 1])]
    assert [cut.rank for cut in shorten(steps, 3)] == [2, 1, 2]
    assert shorten(steps, 0) == []


@pytest.mark.parametrize(
    ("sql", "question"),
    [
        ("SELECT count(*) FROM singer WHERE age >= 30", "How many singer are there where age is at least 30?"),
        ("SELECT AVG(age) FROM singer", "Find the average age of singer."),
        ("SELECT country FROM singer WHERE name LIKE 'A%'", "Find the home country of singer where name is like 'A%'."),
        ("SELECT fee FROM performs WHERE NOT fee IS NULL", "Find the fee of performs where fee is not missing."),
        (
            "SELECT T1.name FROM singer AS T1 JOIN performs AS T2 ON T1.singer_id = T2.singer_id WHERE T2.fee > 9",
            "Find the singer name of singer with performs where performs fee is greater than 9.",
        ),
    ],
)
def test_wording(sql: str, question: str) -> None:
    assert sub_question(bind(sql, SCHEMA), SCHEMA) == question


def test_words() -> None:
    assert words("countryOfOrigin") == words("Country_of_Origin") == "country of origin"


def test_mutants_change_one_place_and_keep_the_rest_as_written() -> None:
    weights = dict.fromkeys(MUTATIONS, 1.0)
    kinds = set()
    for _, gold in QUESTIONS:
        for mutant in Mutator(SCHEMA, weights).mutants(gold, random.Random(0)):
            assert mutant.sql != gold
            kinds.add(mutant.kind)
            start = next(i for i, (a, b) in enumerate(zip(gold + "\0", mutant.sql + "\0", strict=False)) if a != b)
            tail = 0
            while gold[-1 - tail] == mutant.sql[-1 - tail] and tail < min(len(gold), len(mutant.sql)) - start - 1:
                tail += 1
            assert len(mutant.sql) - start - tail < 40, (gold, mutant.sql)
    assert kinds == set(MUTATIONS)


def test_most_mutants_run(music: Path) -> None:
    connection = sqlite3.connect(music)
    runs = []
    for _, gold in QUESTIONS:
        for mutant in Mutator(SCHEMA, {kind: 1.0 for kind in MUTATIONS if kind != "table"}).mutants(
            gold, random.Random(1)
        ):
            try:
                connection.execute(mutant.sql).fetchall()
                runs.append(True)
            except sqlite3.OperationalError:
                runs.append(False)
    connection.close()
    assert sum(runs) / len(runs) > 0.95


def test_a_mutation_that_does_not_exist_is_named() -> None:
    with pytest.raises(LearnatError, match="'operator'"):
        Mutator(SCHEMA, {"operater": 1.0})


def test_mutants_quote_names_where_sqlite_needs_it() -> None:
    columns = (Column("id", "INTEGER"), Column("group", "INTEGER"), Column("unit price", "REAL"), Column("2nd", "REAL"))
    schema = Schema((Table("order", columns), Table("left over", columns)), ())
    connection = sqlite3.connect(":memory:")
    for table in schema.tables:
        connection.execute(f'CREATE TABLE "{table.name}" (id, "group", "unit price", "2nd")')
    found = set()
    for seed in range(5):
        mutator = Mutator(schema, {"column": 1.0, "table": 1.0, "condition": 1.0})
        for mutant in mutator.mutants("SELECT id FROM `order` WHERE id > 3", random.Random(seed)):
            connection.execute(mutant.sql)
            found |= {name for name in ("`group`", "`unit price`", "`2nd`", "`left over`") if name in mutant.sql}
    connection.close()
    assert found == {"`group`", "`unit price`", "`2nd`", "`left over`"}
