"""Which steps are right: fixtures with both verdicts, and what must hold for real gold and for any query."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterator

import pytest

from learnat.sql import Schema, SqlParseError, includes, is_final
from learnat.sql.block_builder import view
from learnat.sql.execution import Executor
from learnat.sql.matching import Matcher

from .conftest import FULL, Case, GoldQuery, read_cases
from .gold_edits import DELETIONS, MUTATIONS, Edit, deletions, mutations

Edits = Callable[[str, Schema, Collection[str]], Iterator[Edit]]

CASES = read_cases("inclusion.txt", "gold")
STEPS = [case for case in CASES if case.mark != "gold"]


def test_there_are_enough_cases() -> None:
    assert len(STEPS) >= 350
    marks = Counter(case.mark for case in STEPS)
    assert min(marks.values()) >= 150


@pytest.mark.parametrize("case", STEPS, ids=lambda case: f"{case.mark} {case.sql[:70]}")
def test_fixture(case: Case, fixture_schema: Schema) -> None:
    verdict = includes(case.head, case.sql, fixture_schema)
    assert bool(verdict) is (case.mark == "+"), f"{case.why}: {verdict.reason}"
    assert 0.0 <= verdict.coverage <= 1.0
    assert bool(verdict.reason) is (case.mark == "-")
    assert verdict.covered <= set(range(verdict.total))


@pytest.mark.parametrize("case", [case for case in CASES if case.mark in "+gold"], ids=lambda case: case.sql[:70])
def test_right_steps_run(case: Case, connection: sqlite3.Connection) -> None:
    connection.execute(case.sql).fetchall()


@pytest.mark.parametrize("case", [case for case in STEPS if case.mark == "-"], ids=lambda case: case.sql[:70])
def test_strict_accepts_nothing_more(case: Case, fixture_schema: Schema) -> None:
    assert not includes(case.head, case.sql, fixture_schema, mode="strict")


GOLD = (
    "SELECT T1.name FROM singer AS T1 JOIN song AS T2 ON T1.singer_id = T2.singer_id "
    "WHERE T2.language = 'en' GROUP BY T1.singer_id HAVING count(*) > 1"
)


@pytest.mark.parametrize(
    ("step", "strict"),
    [
        ("SELECT T1.name FROM singer AS T1 JOIN song AS T2 ON T1.singer_id = T2.singer_id", True),
        ("SELECT name FROM singer", True),
        ("SELECT singer_id FROM song WHERE language = 'en'", False),
        ("SELECT singer_id, count(*) FROM song GROUP BY singer_id", False),
    ],
)
def test_strict_wants_golds_own_projections(step: str, strict: bool, fixture_schema: Schema) -> None:
    assert includes(GOLD, step, fixture_schema)
    assert bool(includes(GOLD, step, fixture_schema, mode="strict")) is strict


def test_text_is_the_published_baseline(fixture_schema: Schema) -> None:
    """It accepts parts that are spelled alike wherever they stand, and refuses what differs in spelling."""
    gold = "SELECT name FROM singer AS T1 WHERE T1.age > 20 AND T1.country = 'USA'"
    accepted = ["SELECT name FROM singer", "SELECT name FROM singer WHERE singer.age > 20", "SELECT singer FROM name"]
    refused = ["SELECT Name FROM singer", "SELECT name FROM singer WHERE age > 20", "SELECT age FROM singer"]
    assert [bool(includes(gold, step, fixture_schema, mode="text")) for step in accepted] == [True] * 3
    assert [bool(includes(gold, step, fixture_schema, mode="text")) for step in refused] == [False] * 3


def test_a_step_that_does_not_parse_covers_nothing(fixture_schema: Schema) -> None:
    verdict = includes(GOLD, "SELECT FROM", fixture_schema)
    assert (bool(verdict), verdict.coverage, verdict.covered) == (False, 0.0, frozenset())
    assert "does not parse" in verdict.reason


def test_what_the_caller_gets_wrong_raises(fixture_schema: Schema) -> None:
    with pytest.raises(SqlParseError):
        includes("SELECT FROM", GOLD, fixture_schema)
    with pytest.raises(ValueError, match="clause, strict or text"):
        includes(GOLD, GOLD, fixture_schema, mode="loose")
    with pytest.raises(ValueError, match="canonical or execution"):
        is_final(GOLD, GOLD, fixture_schema, final="luck")


def test_steps_together_account_for_gold(fixture_schema: Schema) -> None:
    """Coverage of a path is the union of its steps' nodes; it grows to 1 with gold itself."""
    path = ["SELECT singer_id FROM song WHERE language = 'en'", "SELECT name FROM singer", GOLD]
    seen: frozenset[int] = frozenset()
    sizes = []
    for step in path:
        verdict = includes(GOLD, step, fixture_schema)
        seen |= verdict.covered
        sizes.append(len(seen))
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == verdict.total


def test_without_a_schema(fixture_schema: Schema) -> None:
    del fixture_schema
    gold = "SELECT T1.a FROM t AS T1 JOIN u AS T2 ON T1.i = T2.i WHERE T2.b = 'x'"
    assert includes(gold, "SELECT i FROM u WHERE b = 'x'")
    assert includes(gold, "SELECT p.a FROM u q, t p WHERE p.i = q.i")
    assert not includes(gold, "SELECT i FROM u WHERE b = 'y'")


def test_many_instances_of_one_table_are_matched_in_time(fixture_schema: Schema) -> None:
    """Each condition is checked as soon as it can be, so that the search over maps does not explode."""
    tables = ", ".join(f"employee AS e{n}" for n in range(9))
    links = " AND ".join(f"e{n}.manager_id = e{n + 1}.emp_id" for n in range(8))
    gold = f"SELECT e0.name FROM {tables} WHERE {links} AND e8.city = 'Rome'"
    assert includes(gold, f"SELECT e0.name FROM {tables} WHERE {links}", fixture_schema)
    assert not includes(gold, f"SELECT e0.name FROM {tables} WHERE {links} AND e3.city = 'Rome'", fixture_schema)
    assert not includes(gold, f"SELECT e0.name FROM {tables}", fixture_schema)


@pytest.mark.parametrize("operands", [120, 250, 400, 1_000])
def test_deep_nesting_is_a_verdict(operands: int, fixture_schema: Schema) -> None:
    """Whatever the depth at which the recursion ends, the step is refused and nothing is raised."""
    for step in (
        "SELECT " + " || ".join(["name"] * operands) + " FROM singer",
        f"SELECT {'- ' * operands}age FROM singer",
    ):
        verdict = includes("SELECT name, age FROM singer", step, fixture_schema)
        assert not verdict
        assert verdict.reason


# -- final steps ---------------------------------------------------------------------------------------------


def test_final_by_canonical_form(fixture_schema: Schema) -> None:
    gold = "SELECT name FROM singer WHERE age > 20 ORDER BY age"
    assert is_final(gold, "select s.name from singer s where 20 < s.age order by 1 + 0, age", fixture_schema) is False
    assert is_final(gold, "select s.name from singer s where 20 < s.age order by age asc", fixture_schema)
    assert not is_final(gold, "SELECT name FROM singer WHERE age > 20", fixture_schema)
    assert not is_final(gold, "SELECT name FROM", fixture_schema)


def test_final_by_execution(fixture_schema: Schema, fixture_path: object) -> None:
    def final(gold: str, step: str) -> bool:
        return is_final(gold, step, fixture_schema, final="execution", executors=[executor])

    with Executor(fixture_path) as executor:  # type: ignore[arg-type]
        assert final("SELECT max(age) FROM singer", "SELECT age FROM singer ORDER BY age DESC LIMIT 1")
        assert final("SELECT name FROM singer WHERE age > 45", "SELECT name FROM singer WHERE age = 48")
        assert not final("SELECT country FROM singer WHERE age > 40", "SELECT country FROM singer WHERE age < 40")
        ordered = "SELECT name FROM singer WHERE age > 40 ORDER BY age"
        assert not final(ordered, "SELECT name FROM singer WHERE age > 40 ORDER BY age DESC")
        # Empty results and a single row of zeros and NULLs prove nothing.
        assert not final("SELECT name FROM singer WHERE age > 90", "SELECT name FROM singer WHERE age > 91")
        assert not final("SELECT count(*) FROM singer WHERE age > 90", "SELECT count(*) FROM singer WHERE age > 91")
        assert not final("SELECT name FROM singer", "SELECT nmae FROM singer")
    assert not is_final("SELECT 1 + 1", "SELECT 2", fixture_schema, final="execution", executors=[])


# -- real gold -----------------------------------------------------------------------------------------------


def test_every_gold_includes_itself(gold: tuple[GoldQuery, ...]) -> None:
    """Not only because the texts are equal: the map of its blocks accounts for every node."""
    failed = []
    for query in _sample(gold, 3):
        whole = view(query.sql, query.schema)
        match = Matcher(strict=True).root(whole.root, whole.root)
        if match is None or len(match.covered) != len(whole.tree) or not includes(query.sql, query.sql, query.schema):
            failed.append((query.split, query.index))
    assert not failed


def _sample(gold: tuple[GoldQuery, ...], every: int) -> list[GoldQuery]:
    queries = list(gold)
    random.Random(0).shuffle(queries)
    return queries if FULL else queries[::every]


ENOUGH = 2_000
"""Cases tried of each kind of edit; LEARNAT_SWEEP=full tries all."""
RARE = {"having": 503, "table": 739}
"""Deletions that all of real gold has fewer of."""
ESCAPES = {("bird dev", 730), ("bird dev", 738), ("bird mini_dev", 251), ("bird mini_dev", 256)}
"""The only mutations that stay included, since they mean the same: SELECT 1 within EXISTS becomes SELECT 2."""


def _edits(gold: tuple[GoldQuery, ...], make: Edits, least: dict[str, int]) -> Iterator[tuple[GoldQuery, Edit]]:
    counts = Counter(dict.fromkeys(least, 0))
    for query in _sample(gold, 1):
        wanted = [kind for kind in least if FULL or counts[kind] < ENOUGH]
        for edit in make(query.sql, query.schema, wanted) if wanted else ():
            counts[edit.kind] += 1
            yield query, edit
    assert all(counts[kind] >= number for kind, number in least.items()), counts


def test_deleting_a_part_of_gold_stays_included(gold: tuple[GoldQuery, ...]) -> None:
    least = dict.fromkeys(DELETIONS, ENOUGH) | RARE
    assert not [
        (query.split, query.index, edit)
        for query, edit in _edits(gold, deletions, least)
        if not includes(query.sql, edit.sql, query.schema)
    ]


def test_a_mutation_of_gold_is_not_included(gold: tuple[GoldQuery, ...]) -> None:
    least = dict.fromkeys(MUTATIONS, ENOUGH)
    escaped = [
        (query, edit) for query, edit in _edits(gold, mutations, least) if includes(query.sql, edit.sql, query.schema)
    ]
    assert {(query.split, query.index) for query, _ in escaped} <= ESCAPES
    assert all(is_final(query.sql, edit.sql, query.schema) for query, edit in escaped)
