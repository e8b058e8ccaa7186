"""One set of predictions for one split, and what several metrics need of it: each query's result is fetched once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from learnat.benchmarks.types import Benchmark, Example
from learnat.errors import LearnatError
from learnat.evaluation.predictions import check_predictions
from learnat.sql.execution import ExecutorPool, Query, Result, check_sqlite
from learnat.sql.results import spider_gold_text, spider_predicted_text

Tick = Callable[[int], None]
Progress = Callable[[str, int], AbstractContextManager[Tick]]
"""``progress(what, total)`` yields the function that is told of each thing done."""


@contextmanager
def silent(_what: str, _total: int) -> Iterator[Tick]:
    yield lambda _count: None


@dataclass(frozen=True)
class Pair:
    """A question's gold query and prediction, as they are executed."""

    gold: Query
    predicted: Query


def executed_pair(path: Path, gold_sql: str, predicted: str, mode: str) -> Pair:
    """The texts that the official evaluator of a comparison mode executes."""
    if mode == "spider_bag":
        gold_sql, predicted = spider_gold_text(gold_sql), spider_predicted_text(predicted, gold_sql)
    return Pair(Query(path, gold_sql), Query(path, predicted))


class ScoringRun:
    """The predictions to score, with the means to execute them.

    Args:
        predictions: SQL by question index; those for no question of the split are ignored.
        pool: its caps hold: a result they cut is not equal to any.
        timeout_s: seconds a statement may take.
        progress: shows how far the execution is.

    Raises:
        LearnatError: a prediction is missing.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        split: str,
        predictions: Mapping[int, str],
        pool: ExecutorPool,
        timeout_s: float = 30.0,
        progress: Progress = silent,
    ) -> None:
        self.benchmark = benchmark
        self.split = split
        self.predictions = predictions
        self.pool = pool
        self.timeout_s = timeout_s
        self.progress = progress
        self.examples: Sequence[Example] = benchmark.examples(split)
        check_predictions(predictions, self.examples, split)
        self._results: dict[bool, list[tuple[Result, Result]]] = {}

    def database_file(self, db_id: str) -> Path:
        """The SQLite file of a database.

        Raises:
            LearnatError: there is none, or it cannot be read.
        """
        path = self.benchmark.database(db_id).path
        if path is None:
            raise LearnatError(
                f"Database {db_id!r} of {self.benchmark.name} has no file, so its questions cannot be executed: "
                "get the file, or leave them out with data.missing=skip."
            )
        return check_sqlite(path)

    def pairs(self, mode: str) -> list[Pair]:
        """What a comparison mode executes, one pair per question."""
        paths = {db_id: self.database_file(db_id) for db_id in sorted({example.db_id for example in self.examples})}
        return [
            executed_pair(paths[example.db_id], example.gold_sql, self.predictions[example.index], mode)
            for example in self.examples
        ]

    def results(self, mode: str) -> list[tuple[Result, Result]]:
        """The results of gold query and prediction, one pair per question; kept, so that metrics share them.

        Equal queries on one database run once (Spider asks most of its questions twice).
        """
        rewritten = mode == "spider_bag"
        if rewritten not in self._results:
            pairs = self.pairs(mode)
            # One database after the other: its pages are then in the workers' caches.
            queries = sorted(
                {query for pair in pairs for query in (pair.gold, pair.predicted)}, key=lambda q: (q.path, q.sql)
            )
            with self.progress("executing", len(queries)) as tick:
                found = self.pool.map(queries, self.timeout_s, on_result=lambda: tick(1))
            by_query = dict(zip(queries, found, strict=True))
            self._results[rewritten] = [(by_query[pair.gold], by_query[pair.predicted]) for pair in pairs]
        return self._results[rewritten]
