"""What holds for any query, written in any way: properties over random queries on the fixture database."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learnat.benchmarks.sqlite_schema import read_schema
from learnat.sql import Schema, canonicalize, includes, is_final

from .conftest import fixture_script
from .random_queries import Spec, Style, smaller, specs
from .random_queries import Test as Condition

SEEDS = st.integers(0, 10_000)
RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.executescript(fixture_script())
    return connection


@given(specs(), SEEDS, SEEDS)
@RELAXED
def test_style_does_not_matter(fixture_schema: Schema, spec: Spec, one: int, other: int) -> None:
    left, right = Style(one).write(spec), Style(other).write(spec)
    assert canonicalize(left, fixture_schema) == canonicalize(right, fixture_schema), f"{left}\n{right}"
    assert is_final(left, right, fixture_schema)
    assert includes(left, right, fixture_schema).coverage == 1.0


@given(specs(), SEEDS)
@RELAXED
def test_canonical_form_is_a_fixed_point_and_returns_the_same(
    fixture_schema: Schema, database: sqlite3.Connection, spec: Spec, seed: int
) -> None:
    sql = Style(seed).write(spec)
    form = canonicalize(sql, fixture_schema)
    assert canonicalize(form, fixture_schema) == form
    assert Counter(database.execute(form)) == Counter(database.execute(sql)), f"{sql}\n{form}"


@given(specs(), specs(), st.sampled_from(("UNION", "UNION ALL", "INTERSECT", "EXCEPT")), SEEDS, SEEDS)
@RELAXED
def test_branches_read_from_a_derived_table_keep_their_columns(
    fixture_schema: Schema, database: sqlite3.Connection, left: Spec, right: Spec, kind: str, one: int, other: int
) -> None:
    """However the branches are sorted and whatever they call their columns."""
    columns = min(len(left.projections), len(right.projections))
    branches = [
        replace(spec, projections=spec.projections[:columns], aggregate=None, having=None, order=())
        for spec in (left, right)
    ]
    forms = set()
    for seed in (one, other):
        written = f" {kind} ".join(Style(seed).write(spec) for spec in branches)
        sql = f"SELECT 1, * FROM ({written}) AS t"
        form = canonicalize(sql, fixture_schema)
        forms.add(form)
        assert canonicalize(form, fixture_schema) == form
        assert Counter(database.execute(form)) == Counter(database.execute(sql)), f"{sql}\n{form}"
    assert len(forms) == 1


@given(specs(), SEEDS)
@RELAXED
def test_a_condition_said_twice_changes_nothing(fixture_schema: Schema, spec: Spec, seed: int) -> None:
    once = canonicalize(Style(seed).write(spec), fixture_schema)
    again = canonicalize(Style(seed).write(replace(spec, tests=spec.tests * 2)), fixture_schema)
    linked = tuple(Condition("=", left, right=right) for left, right in spec.links)
    joined = canonicalize(Style(seed).write(replace(spec, tests=spec.tests + linked)), fixture_schema)
    assert once == again == joined


@given(specs(), SEEDS, SEEDS)
@RELAXED
def test_a_part_of_a_query_is_included_in_any_style(fixture_schema: Schema, spec: Spec, one: int, other: int) -> None:
    step = Style(other).write(smaller(spec, random.Random(one)))
    gold = Style(one).write(spec)
    verdict = includes(gold, step, fixture_schema)
    assert verdict, f"{gold}\n{step}\n{verdict.reason}"


@given(specs(), specs(), SEEDS)
@RELAXED
def test_each_includes_the_other_only_if_they_mean_the_same(
    fixture_schema: Schema, database: sqlite3.Connection, spec: Spec, unlike: Spec, seed: int
) -> None:
    """Two queries that strictly include one another and project alike cannot return different rows."""
    gold, step = Style(seed).write(spec), Style(seed + 1).write(unlike)
    both = includes(gold, step, fixture_schema, mode="strict") and includes(step, gold, fixture_schema, mode="strict")
    if both and len(spec.projections) == len(unlike.projections) == 1 and spec.distinct == unlike.distinct:
        assert Counter(database.execute(gold)) == Counter(database.execute(step)), f"{gold}\n{step}"


def test_random_queries_run_and_many_return_rows(database: sqlite3.Connection) -> None:
    """Without this the properties above could hold because nothing was compared."""
    rows = []

    @given(specs(), SEEDS)
    @settings(max_examples=100, deadline=None, derandomize=True, database=None)
    def run(spec: Spec, seed: int) -> None:
        rows.append(len(database.execute(Style(seed).write(spec)).fetchall()))

    run()
    assert sum(count > 0 for count in rows) > len(rows) / 4


def test_the_fixture_schema_is_the_files(fixture_schema: Schema, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("again") / "again.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(fixture_script())
    assert read_schema(path) == fixture_schema
