"""Execution accuracy (EX): the share of questions whose prediction returns what the gold query returns.

Official definitions: BIRD's ``evaluation.py`` (``bird_set``) and Spider's test-suite-sql-eval on the one plain database
of each question (``spider_bag``); see ``learnat.sql.results``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learnat import __version__
from learnat.benchmarks.types import Benchmark, Example
from learnat.errors import LearnatError
from learnat.evaluation.predictions import check_predictions
from learnat.evaluation.scores import Provenance, Scores, Verdict
from learnat.evaluation.significance import wilson_interval
from learnat.sql.addresses import shown_address
from learnat.sql.execution import Address, ExecutorPool, Query, Result, check_database, check_sqlite
from learnat.sql.gold_results import GoldResults
from learnat.sql.results import check_mode, digest_kind, equal, spider_gold_text, spider_predicted_text

EVALUATOR = f"learnat {__version__}, execution accuracy"


@dataclass(frozen=True)
class Pair:
    """A question's gold query and prediction, as they are executed."""

    gold: Query
    predicted: Query


def score_execution(
    benchmark: Benchmark,
    split: str,
    predictions: Mapping[int, str],
    pool: ExecutorPool,
    timeout_s: float = 30.0,
    on_result: Callable[[], None] | None = None,
    gold_results: GoldResults | None = None,
    execute_on: str | None = None,
) -> list[Verdict]:
    """One verdict per question of ``split``, in its order, in the benchmark's own comparison mode.

    Equal queries on one database run once (Spider asks most of its questions twice).

    Args:
        predictions: SQL by question index; those for no question of the split are ignored.
        pool: its caps hold: results they cut are compared by digest, or, where that cannot be, count as wrong and are
            counted (``Verdict.truncated``).
        on_result: called after each query that was run, from the pool's threads.
        gold_results: where the gold queries' results are kept between runs; None executes them.
        execute_on: a PostgreSQL URL or a DuckDB file to run the queries on instead of the benchmark's SQLite files;
            ``DB_ID`` in it stands for the database's name.

    Raises:
        LearnatError: a prediction is missing, or a database cannot be read.
    """
    check_mode(benchmark.ex_mode)
    examples = benchmark.examples(split)
    check_predictions(predictions, examples, split)
    paths = _addresses(benchmark, sorted({example.db_id for example in examples}), execute_on)
    pairs = [
        executed_pair(paths[example.db_id], example.gold_sql, predictions[example.index], benchmark.ex_mode)
        for example in examples
    ]
    golds = _sorted({pair.gold for pair in pairs})
    kept = gold_results or GoldResults(pool)
    results = dict(zip(golds, kept.map(golds, timeout_s, on_result), strict=True))
    others = _sorted({pair.predicted for pair in pairs} - results.keys())
    results.update(zip(others, pool.map(others, timeout_s, on_result=on_result), strict=True))
    return [
        _verdict(benchmark, example, predictions[example.index], results[pair.gold], results[pair.predicted])
        for example, pair in zip(examples, pairs, strict=True)
    ]


def _sorted(queries: Iterable[Query]) -> list[Query]:
    """One database after the other: its pages are then in the workers' caches."""
    return sorted(queries, key=lambda query: (str(query.path), query.sql))


def executed_pair(path: Address, gold_sql: str, predicted: str, ex_mode: str) -> Pair:
    """The texts that ``ex_mode``'s official evaluator executes."""
    kind = digest_kind(ex_mode, gold_sql)
    if ex_mode == "spider_bag":
        gold_sql, predicted = spider_gold_text(gold_sql), spider_predicted_text(predicted)
    return Pair(Query(path, gold_sql, kind), Query(path, predicted, kind))


def summarize(
    verdicts: Sequence[Verdict],
    benchmark: Benchmark,
    timeout_s: float = 30.0,
    schema_given: str = "unknown",
    execute_on: str | None = None,
) -> dict[str, Any]:
    """``{"ex": {"all": …, "easy": …}, "intervals": …, "questions": …, "provenance": …}`` for the verdicts of one split.

    Raises:
        LearnatError: there is no verdict to make a score of, or they come from several splits.
    """
    return execution_scores(verdicts, benchmark, timeout_s, schema_given, execute_on).as_dict()


def execution_scores(
    verdicts: Sequence[Verdict],
    benchmark: Benchmark,
    timeout_s: float = 30.0,
    schema_given: str = "unknown",
    execute_on: str | None = None,
) -> Scores:
    """``summarize`` as a ``Scores`` object. Levels without a question are left out."""
    splits = sorted({verdict.split for verdict in verdicts})
    if len(splits) != 1:
        raise LearnatError(
            f"{benchmark.name}: no question to score." if not splits else f"One split at a time, not {splits}."
        )
    levels = {"all": list(verdicts)}
    known = dict.fromkeys((*benchmark.difficulties, *sorted({verdict.difficulty for verdict in verdicts})))
    for level in filter(None, known):
        of_level = [verdict for verdict in verdicts if verdict.difficulty == level]
        if of_level:
            levels[level] = of_level
    right = {level: sum(verdict.correct for verdict in group) for level, group in levels.items()}
    questions = {level: len(group) for level, group in levels.items()}
    return Scores(
        metrics={"ex": {level: right[level] / questions[level] for level in levels}},
        intervals={"ex": {level: wilson_interval(right[level], questions[level]) for level in levels}},
        questions=questions,
        provenance=Provenance(
            evaluator=EVALUATOR,
            benchmark=benchmark.name,
            split=splits[0],
            ex_mode=benchmark.ex_mode,
            database_hash=benchmark.fingerprint(splits[0]),
            sqlite_version=sqlite3.sqlite_version,
            timeout_s=timeout_s,
            questions=len(verdicts),
            skipped=benchmark.skipped(splits[0]),
            failed=sum(not verdict.executed for verdict in verdicts),
            timed_out=sum(verdict.timed_out for verdict in verdicts),
            truncated=sum(verdict.truncated for verdict in verdicts),
            gold_failed=sum(verdict.gold_error is not None for verdict in verdicts),
            schema_given=schema_given,
            execute_on=None if execute_on is None else shown_address(execute_on),
        ),
    )


def evaluate_predictions(
    benchmark: Benchmark,
    split: str,
    predictions: Mapping[int, str],
    pool: ExecutorPool,
    timeout_s: float = 30.0,
    schema_given: str = "unknown",
) -> Scores:
    """Scores of anyone's predictions: ``score_execution`` and ``execution_scores`` in one."""
    verdicts = score_execution(benchmark, split, predictions, pool, timeout_s)
    return execution_scores(verdicts, benchmark, timeout_s, schema_given)


def _addresses(benchmark: Benchmark, db_ids: Sequence[str], execute_on: str | None) -> Mapping[str, Address]:
    if execute_on is None:
        return {db_id: _database_file(benchmark, db_id) for db_id in db_ids}
    addresses = {db_id: execute_on.replace("DB_ID", db_id) for db_id in db_ids}
    for address in sorted(set(addresses.values())):
        check_database(address)
    return addresses


def _database_file(benchmark: Benchmark, db_id: str) -> Path:
    path = benchmark.database(db_id).path
    if path is None:
        raise LearnatError(
            f"Database {db_id!r} of {benchmark.name} has no file, so its questions cannot be executed: "
            "get the file, or leave them out with data.missing=skip."
        )
    return check_sqlite(path)


def _verdict(benchmark: Benchmark, example: Example, prediction: str, gold: Result, predicted: Result) -> Verdict:
    return Verdict(
        index=example.index,
        example_id=example.example_id,
        split=example.split,
        db_id=example.db_id,
        difficulty=example.difficulty,
        predicted=prediction,
        correct=equal(gold, predicted, benchmark.ex_mode, example.gold_sql),
        executed=predicted.error is None,
        timed_out=predicted.timed_out or gold.timed_out,
        truncated=predicted.unseen or gold.unseen,
        error=predicted.error,
        gold_error=gold.error,
        seconds=predicted.seconds,
    )
