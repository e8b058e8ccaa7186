"""Execution accuracy (EX): the share of questions whose prediction returns what the gold query returns.

Official definitions: BIRD's ``evaluation.py`` (``bird_set``) and Spider's test-suite-sql-eval on the one plain database
of each question (``spider_bag``); see ``learnat.sql.results``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from learnat.benchmarks.types import Benchmark, Example
from learnat.evaluation.metric import LEARNAT, Measured
from learnat.evaluation.run import Progress, ScoringRun, silent
from learnat.evaluation.scores import Verdict
from learnat.evaluation.summary import make_scores
from learnat.sql.execution import ExecutorPool, Result
from learnat.sql.gold_results import GoldResults
from learnat.sql.results import check_mode, equal

EVALUATOR = f"{LEARNAT}, execution accuracy"


class ExecutionAccuracy:
    """EX in one comparison mode: the benchmark's own unless ``mode`` names another.

    Raises:
        LearnatError: ``mode`` names no comparison.
    """

    name = "ex"
    title = "EX"
    evaluator = EVALUATOR
    is_share = True

    def __init__(self, mode: str | None = None) -> None:
        if mode is not None:
            check_mode(mode)
        self.mode = mode
        self._known: WeakKeyDictionary[ScoringRun, list[Verdict]] = WeakKeyDictionary()

    def measure(self, run: ScoringRun) -> Measured:
        return measured(self.verdicts(run), run.benchmark, self.mode)

    def verdicts(self, run: ScoringRun) -> list[Verdict]:
        """One verdict per question, in the run's order; made once for each run.

        Raises:
            LearnatError: a database cannot be read.
        """
        if run not in self._known:
            mode = self.mode or run.benchmark.ex_mode
            self._known[run] = [
                _verdict(mode, example, run.predictions[example.index], gold, predicted)
                for example, (gold, predicted) in zip(run.examples, run.results(mode), strict=True)
            ]
        return self._known[run]


def measured(verdicts: Sequence[Verdict], benchmark: Benchmark, mode: str | None = None) -> Measured:
    """Verdicts of one split as the values of a metric."""
    return Measured(
        values=tuple(float(verdict.correct) for verdict in verdicts),
        comparison=mode or benchmark.ex_mode,
        database_hash=benchmark.fingerprint(verdicts[0].split) if verdicts else "",
        timed_out=sum(verdict.timed_out for verdict in verdicts),
        truncated=sum(verdict.truncated for verdict in verdicts),
        gold_failed=sum(verdict.gold_error is not None for verdict in verdicts),
    )


def score_execution(
    benchmark: Benchmark,
    split: str,
    predictions: Mapping[int, str],
    pool: ExecutorPool,
    timeout_s: float = 30.0,
    progress: Progress = silent,
    gold_results: GoldResults | None = None,
) -> list[Verdict]:
    """One verdict per question of ``split``, in its order, in the benchmark's own comparison mode.

    Arguments and errors: ``ScoringRun``. Results that the pool's caps cut are compared by digest, or, where that cannot
    be, count as wrong and are counted (``Verdict.truncated``).
    """
    check_mode(benchmark.ex_mode)
    run = ScoringRun(benchmark, split, predictions, pool, timeout_s, progress, gold_results)
    return ExecutionAccuracy().verdicts(run)


def summarize(
    verdicts: Sequence[Verdict],
    benchmark: Benchmark,
    timeout_s: float = 30.0,
    schema_given: str = "unknown",
) -> dict[str, Any]:
    """The verdicts of one split as metrics.json has them (``Scores.as_dict``): ``{"ex": {"all": …, "easy": …}, …}``.

    Levels without a question are left out.

    Raises:
        LearnatError: there is no verdict to make a score of, or they come from several splits.
    """
    metric = ExecutionAccuracy()
    values = measured(verdicts, benchmark)
    return make_scores([(metric, values)], verdicts, benchmark, timeout_s, schema_given).as_dict()


def _verdict(mode: str, example: Example, prediction: str, gold: Result, predicted: Result) -> Verdict:
    return Verdict(
        index=example.index,
        example_id=example.example_id,
        split=example.split,
        db_id=example.db_id,
        difficulty=example.difficulty,
        predicted=prediction,
        correct=equal(gold, predicted, mode, example.gold_sql),
        executed=predicted.error is None,
        timed_out=predicted.timed_out or gold.timed_out,
        truncated=predicted.unseen or gold.unseen,
        error=predicted.error,
        gold_error=gold.error,
        seconds=predicted.seconds,
    )
