"""Rewards: in [0, 1], 1 for gold, every right step above every wrong one, a path's coverage never falling."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from learnat.errors import LearnatError
from learnat.sql import Column, Schema, Table, includes, is_final
from learnat.synthesis.reward import AstReward, OutcomeReward, StringReward, reward
from tests.sql.conftest import gold_queries
from tests.sql.gold_edits import deletions, mutations

SCHEMA = Schema(
    (
        Table("singer", tuple(Column(name, "TEXT") for name in ("singer_id", "name", "country", "age"))),
        Table("song", tuple(Column(name, "TEXT") for name in ("song_id", "singer_id", "title"))),
    )
)
GOLD = "SELECT T1.name FROM singer AS T1 JOIN song AS T2 ON T1.singer_id = T2.singer_id WHERE T2.title = 'Sun'"
RIGHT = ["SELECT singer_id FROM song WHERE title = 'Sun'", "SELECT name FROM singer", "SELECT singer_id FROM song"]
WRONG = ["SELECT singer_id FROM song WHERE title = 'Moon'", "SELECT age FROM singer", "SELECT 1"]


def test_gold_is_worth_one_in_any_spelling() -> None:
    assert reward(GOLD, GOLD, SCHEMA) == 1.0
    assert reward(GOLD, GOLD.replace("T1", "a").replace("T2", "B").lower().replace("sun", "Sun"), SCHEMA) == 1.0


def test_right_steps_outrank_wrong_ones() -> None:
    right = [reward(GOLD, step, SCHEMA) for step in RIGHT]
    wrong = [reward(GOLD, step, SCHEMA) for step in WRONG]
    assert 1.0 > min(right) >= 0.5 >= max(wrong) > 0.0
    assert right == sorted(right, reverse=True), "more of gold is worth more"
    assert wrong == sorted(wrong, reverse=True), "a near miss is worth more than nonsense"


def test_the_formula() -> None:
    step = RIGHT[0]
    coverage, alike = (AstReward(coverage_weight=w).score(GOLD, step, SCHEMA) for w in (1.0, 0.0))
    assert coverage == pytest.approx(0.5 + 0.5 * includes(GOLD, step, SCHEMA).coverage)
    assert AstReward().score(GOLD, step, SCHEMA) == pytest.approx(0.7 * coverage + 0.3 * alike)


def test_what_does_not_parse_or_run_is_worth_nothing() -> None:
    assert reward(GOLD, "SELECT FROM", SCHEMA) == 0.0
    assert reward(GOLD, RIGHT[0], SCHEMA, runs=False) == 0.0
    assert StringReward().score(GOLD, "SELECT FROM", SCHEMA) == 0.0
    assert StringReward().score(GOLD, RIGHT[0], SCHEMA, runs=False) == 0.0


def test_the_judge_may_know_better_what_is_final() -> None:
    assert reward(GOLD, WRONG[0], SCHEMA, final=True) == 1.0
    assert OutcomeReward().score(GOLD, WRONG[0], SCHEMA, final=True) == 1.0


def test_string_reward_compares_canonical_texts() -> None:
    alike = StringReward()
    assert alike.score(GOLD, GOLD.lower().replace("sun", "Sun"), SCHEMA) == 1.0
    assert 0.0 < alike.score(GOLD, RIGHT[1], SCHEMA) < alike.score(GOLD, GOLD.replace("Sun", "Moon"), SCHEMA) < 1.0
    assert alike.settle(0.4, solves=True) == 0.4


def test_outcome_reward_waits_for_the_outcome() -> None:
    outcome = OutcomeReward()
    assert outcome.score(GOLD, GOLD, SCHEMA) == 1.0
    assert outcome.score(GOLD, RIGHT[0], SCHEMA) == 0.0
    assert [outcome.settle(0.0, solves) for solves in (True, False)] == [1.0, 0.0]


def test_a_weight_outside_its_range_is_refused() -> None:
    with pytest.raises(LearnatError, match="coverage_weight"):
        AstReward(coverage_weight=1.2)


def test_on_real_gold(learnat_data: Path) -> None:
    """Rewards lie in [0, 1], a step that is not included never outranks an included one, union coverage never falls."""
    queries = list(gold_queries(learnat_data))
    choose = random.Random(0)
    for query in choose.sample(queries, 250):
        steps = [edit.sql for edit in deletions(query.sql, query.schema)]
        mutants = list(mutations(query.sql, query.schema))
        steps += [edit.sql for edit in choose.sample(mutants, min(4, len(mutants)))]
        steps += [choose.choice(queries).sql, query.sql]
        right: list[float] = []
        wrong: list[float] = []
        seen, known = frozenset[int](), 0
        for step in steps:
            verdict = includes(query.sql, step, query.schema)
            value = reward(query.sql, step, query.schema)
            assert 0.0 <= value <= 1.0
            (right if verdict or is_final(query.sql, step, query.schema) else wrong).append(value)
            seen |= verdict.covered
            assert known <= len(seen) <= verdict.total
            known = len(seen)
        assert right[-1] == 1.0
        assert min(right) >= max(wrong, default=0.0)
