"""Canonical form: one text for one meaning, idempotent, and executable with the original's result."""

from __future__ import annotations

import pickle
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from sqlglot import exp

from learnat.sql import Column, Schema, SqlParseError, Table, canonicalize, rewrite
from learnat.sql.canonical import canonical, canonical_ast
from learnat.sql.fingerprint import combine

from .conftest import Case, GoldQuery, read_cases

CASES = [case for case in read_cases("canonical.txt", "form") if case.mark != "form"]
UNRESOLVED = {("spider train_spider", 3153), ("spider train_spider", 4513), ("spider train_spider", 4514)}
"""Gold queries that SQLite refuses too: an unknown column, and ORDER BY within a branch of INTERSECT (twice)."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sql[:60])
def test_fixture(case: Case, fixture_schema: Schema) -> None:
    same = canonicalize(case.sql, fixture_schema) == case.head
    assert same is (case.mark == "="), canonicalize(case.sql, fixture_schema)


@pytest.mark.parametrize("form", sorted({case.head for case in CASES}), ids=lambda form: form[:60])
def test_forms_are_fixed_points(form: str, fixture_schema: Schema) -> None:
    assert canonicalize(form, fixture_schema) == form


@pytest.mark.parametrize("case", [case for case in CASES if case.mark == "="], ids=lambda case: case.sql[:60])
def test_fixtures_return_the_same(case: Case, connection: sqlite3.Connection) -> None:
    assert Counter(connection.execute(case.sql)) == Counter(connection.execute(case.head))


def test_every_real_gold_canonicalises_and_is_qualified(gold: tuple[GoldQuery, ...]) -> None:
    unresolved, changed = set(), []
    for query in gold:
        form = canonical(query.sql, query.schema)
        if not form.qualified:
            unresolved.add((query.split, query.index))
        if canonicalize(form.sql, query.schema) != form.sql:
            changed.append((query.split, query.index))
    assert not changed
    assert unresolved == UNRESOLVED


def test_canonical_sql_returns_what_the_original_returns(gold: tuple[GoldQuery, ...]) -> None:
    """On every query that can be run, in its row order where the query orders."""
    ran, failed, different = Counter[str](), [], []
    path, connection = None, None
    for query in gold:
        if query.database is None:
            continue
        if query.database != path:
            if connection is not None:
                connection.close()
            path, connection = query.database, _open(query.database)
        assert connection is not None
        try:
            expected = connection.execute(query.sql).fetchall()
        except sqlite3.Error:
            failed.append((query.split, query.index))
            continue
        ran[query.split.split()[0]] += 1
        rows = connection.execute(canonicalize(query.sql, query.schema)).fetchall()
        ordered = "order by" in query.sql.lower()
        if rows != expected if ordered else Counter(rows) != Counter(expected):
            different.append((query.split, query.index))
    if connection is not None:
        connection.close()
    assert not different
    assert set(failed) <= UNRESOLVED
    assert ran["spider"] == 9_594, "queries of Spider that can be run"
    assert ran["bird"] >= 129, "BIRD's superhero questions"


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return connection


def test_without_a_schema_a_compared_double_quoted_word_is_a_string() -> None:
    assert canonicalize('SELECT "a b" FROM t WHERE c = "x y"') == "SELECT t.`a b` FROM t WHERE t.c = 'x y'"


def test_without_a_schema_columns_of_joins_stay_unqualified_and_are_counted() -> None:
    form = canonical("SELECT a FROM t JOIN u ON t.i = u.i")
    assert form.unresolved == ("a",)
    assert not form.qualified
    assert form.sql == "SELECT a FROM t JOIN u ON t.i = u.i"


def test_an_unknown_column_stays_unqualified_and_is_counted(fixture_schema: Schema) -> None:
    form = canonical("SELECT nmae, s.agee FROM singer AS s", fixture_schema)
    assert form.unresolved == ("nmae", "s.agee")


def test_a_long_condition_is_combined_once_for_each_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Combined at every AND and OR of the chain, 400 conditions would take seconds."""
    combined = Counter[type]()

    def counted(parts: list[exp.Expr], kind: type[exp.Expr]) -> exp.Expr | None:
        combined[kind] += 1
        return combine(parts, kind)

    monkeypatch.setattr(rewrite, "combine", counted)
    conditions = [f"t.c{place} > {place}" for place in range(400)]
    for connector, kind in (("AND", exp.And), ("OR", exp.Or)):
        start, between = "SELECT t.a FROM t WHERE ", f" {connector} "
        form = canonicalize(start + between.join(conditions))
        assert combined[kind] == 2, "by the rewriting rules and by the sorting that follows new names"
        assert form.startswith(start)
        assert Counter(form.removeprefix(start).split(between)) == Counter(conditions)
        assert canonicalize(start + between.join(conditions[::-1])) == form


def test_the_cached_tree_is_shared_and_errors_are_cached(fixture_schema: Schema) -> None:
    sql = "SELECT name FROM singer"
    assert canonical_ast(sql, fixture_schema) is canonical_ast(sql, fixture_schema)
    for _ in range(2):
        with pytest.raises(SqlParseError):
            canonicalize("SELECT FROM WHERE", fixture_schema)


def test_other_dialects_are_read() -> None:
    assert canonicalize('SELECT "A" FROM t WHERE "B" = 1', dialect="postgres") == "SELECT t.a FROM t WHERE t.b = 1"
    assert canonicalize('SELECT a FROM t WHERE b = "x"', dialect="mysql") == "SELECT t.a FROM t WHERE t.b = 'x'"


def test_a_schema_hashes_once_and_its_hash_stays_in_its_process() -> None:
    schema = Schema((Table("t", (Column("a"),)),))
    assert hash(schema) == hash(Schema((Table("t", (Column("a"),)),)))
    assert "_hash" in vars(schema)
    again = pickle.loads(pickle.dumps(schema))
    assert again == schema
    assert "_hash" not in vars(again)
