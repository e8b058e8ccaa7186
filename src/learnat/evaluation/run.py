"""One set of predictions for one split, and what several metrics need of it: each query's result is fetched once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from learnat.benchmarks.types import Benchmark, Example
from learnat.errors import LearnatError
from learnat.evaluation.executed_on import ExecutedOn, addresses_on, executed_on
from learnat.evaluation.predictions import check_predictions
from learnat.sql.execution import Address, ExecutorPool, Query, Result, check_database, check_sqlite
from learnat.sql.gold_results import GoldResults
from learnat.sql.results import digest_kind, spider_gold_text, spider_predicted_text

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


def executed_pair(path: Address, gold_sql: str, predicted: str, mode: str) -> Pair:
    """The texts that the official evaluator of a comparison mode executes."""
    kind = digest_kind(mode, gold_sql)
    if mode == "spider_bag":
        gold_sql, predicted = spider_gold_text(gold_sql), spider_predicted_text(predicted, gold_sql)
    return Pair(Query(path, gold_sql, kind), Query(path, predicted, kind))


class ScoringRun:
    """The predictions to score, with the means to execute them.

    Args:
        predictions: SQL by question index; those for no question of the split are ignored.
        pool: its caps hold: results they cut are compared by digest.
        timeout_s: seconds a statement may take.
        progress: shows how far the execution is.
        gold_results: where the gold queries' results are kept between runs; None executes them.
        execute_on: a PostgreSQL URL or a DuckDB file to run the queries on instead of the benchmark's SQLite files;
            ``DB_ID`` in it stands for the database's name.

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
        gold_results: GoldResults | None = None,
        execute_on: str | None = None,
    ) -> None:
        self.benchmark = benchmark
        self.split = split
        self.predictions = predictions
        self.pool = pool
        self.timeout_s = timeout_s
        self.progress = progress
        self.gold_results = gold_results or GoldResults(pool)
        self.execute_on = execute_on
        self.examples: Sequence[Example] = benchmark.examples(split)
        check_predictions(predictions, self.examples, split)
        self._results: dict[str, list[tuple[Result, Result]]] = {}

    def addresses(self) -> dict[str, Address]:
        """Where the queries on each database run.

        Raises:
            LearnatError: a database has no file, or cannot be read; ``execute_on`` is one file for several databases.
        """
        db_ids = sorted({example.db_id for example in self.examples})
        if self.execute_on is None:
            return {db_id: self._database_file(db_id) for db_id in db_ids}
        found = addresses_on(self.execute_on, db_ids)
        for address in set(found.values()):
            check_database(address)
        return found

    def executed_on(self) -> ExecutedOn | None:
        """What the queries run on; None: the benchmark's SQLite files.

        Raises:
            LearnatError: as ``addresses``.
        """
        return None if self.execute_on is None else executed_on(self.execute_on, self.addresses().values(), self.pool)

    def _database_file(self, db_id: str) -> Path:
        path = self.benchmark.database(db_id).path
        if path is None:
            raise LearnatError(
                f"Database {db_id!r} of {self.benchmark.name} has no file, so its questions cannot be executed: "
                "get the file, or leave them out with data.missing=skip."
            )
        return check_sqlite(path)

    def pairs(self, mode: str) -> list[Pair]:
        """What a comparison mode executes, one pair per question."""
        addresses = self.addresses()
        return [
            executed_pair(addresses[example.db_id], example.gold_sql, self.predictions[example.index], mode)
            for example in self.examples
        ]

    def results(self, mode: str) -> list[tuple[Result, Result]]:
        """The results of gold query and prediction, one pair per question; kept, so that metrics share them.

        Equal queries on one database run once (Spider asks most of its questions twice).
        """
        if mode not in self._results:
            pairs = self.pairs(mode)
            golds = _sorted({pair.gold for pair in pairs})
            others = _sorted({pair.predicted for pair in pairs} - set(golds))
            with self.progress("executing", len(golds) + len(others)) as tick:
                found = self.gold_results.map(golds, self.timeout_s, on_result=lambda: tick(1))
                found += self.pool.map(others, self.timeout_s, on_result=lambda: tick(1))
            by_query = dict(zip([*golds, *others], found, strict=True))
            self._results[mode] = [(by_query[pair.gold], by_query[pair.predicted]) for pair in pairs]
        return self._results[mode]


def _sorted(queries: Iterable[Query]) -> list[Query]:
    """One database after the other: its pages are then in the workers' caches."""
    return sorted(queries, key=lambda query: (str(query.path), query.sql))
