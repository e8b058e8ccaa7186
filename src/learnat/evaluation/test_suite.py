"""Test-suite accuracy (TS): right on every database of the schema's test suite, not by chance on one.

Zhong et al. 2020, "Semantic Evaluation for Text-to-SQL with Distilled Test Suites"; official evaluator:
taoyds/test-suite-sql-eval, without plugged values. Results compare as in ``spider_bag``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from learnat.benchmarks.files import fingerprint
from learnat.errors import LearnatError
from learnat.evaluation.metric import LEARNAT, Measured
from learnat.evaluation.run import ScoringRun, Tick
from learnat.sql.results import digest_kind, equal, same_text, spider_gold_text, spider_predicted_text

MODE = "spider_bag"
GOLDS_TOGETHER = 32
"""Gold queries that one thread takes through a schema's databases: each file is then opened once for all of them."""


@dataclass
class _Gold:
    """A gold query, and the predictions for it that no database has refuted so far; texts as they are executed.

    ``same``: some prediction is this very query.
    """

    sql: str
    text: str
    same: bool = False
    standing: set[str] = field(default_factory=set)
    timed_out: set[str] = field(default_factory=set)
    truncated: set[str] = field(default_factory=set)
    failed: bool = False


@dataclass(frozen=True)
class _Chunk:
    """Gold queries of one schema, and all its databases."""

    golds: Sequence[_Gold]
    files: Sequence[Path]


Golds = Mapping[tuple[str, str], _Gold]
"""By database and gold query."""


class TestSuiteAccuracy:
    """A question whose database has no test suite has no value."""

    __test__ = False  # pytest takes the name for a test class

    name = "ts"
    title = "Test suite"
    evaluator = f"{LEARNAT}, test-suite accuracy of test-suite-sql-eval"
    is_share = True

    def measure(self, run: ScoringRun) -> Measured:
        """Gold and prediction run on one database after the other, up to the first on which they differ.

        Raises:
            LearnatError: the benchmark has no test suite for any of its questions.
        """
        suites = {db_id: run.benchmark.test_suite(db_id) for db_id in sorted({e.db_id for e in run.examples})}
        if not any(suites.values()):
            raise LearnatError(
                f"{run.benchmark.name}: there are no test-suite databases, which the metric ts needs: name the folder "
                "that holds <db_id>/*.sqlite with data.test_suite=FOLDER, or leave ts out of metrics."
            )
        golds = _golds(run)
        chunks = list(_chunks(golds, suites))
        with run.progress("test suite", len(golds)) as tick, ThreadPoolExecutor(run.pool.workers) as threads:
            # list() passes on what a thread raised.
            list(threads.map(lambda chunk: _run_chunk(run, chunk, tick), chunks))
        return _measured(run, golds, suites)


def _golds(run: ScoringRun) -> Golds:
    golds: dict[tuple[str, str], _Gold] = {}
    for example in run.examples:
        key = (example.db_id, example.gold_sql)
        gold = golds.setdefault(key, _Gold(example.gold_sql, spider_gold_text(example.gold_sql)))
        text = spider_predicted_text(run.predictions[example.index], example.gold_sql)
        if _is_gold(text, gold):
            gold.same = True
        else:
            gold.standing.add(text)
    return golds


def _is_gold(text: str, gold: _Gold) -> bool:
    """Whether a prediction is the gold query itself: it then returns what gold does, and need not be executed."""
    return same_text(text) == same_text(gold.text)


def _chunks(golds: Golds, suites: Mapping[str, Sequence[Path]]) -> Iterator[_Chunk]:
    """Pieces of work, the longest first, so that no thread is left with one at the end."""
    by_database: dict[str, list[_Gold]] = {}
    for (db_id, _), gold in golds.items():
        by_database.setdefault(db_id, []).append(gold)
    for db_id in sorted(by_database, key=lambda db_id: -len(by_database[db_id]) * len(suites[db_id])):
        for start in range(0, len(by_database[db_id]), GOLDS_TOGETHER):
            yield _Chunk(by_database[db_id][start : start + GOLDS_TOGETHER], suites[db_id])


def _run_chunk(run: ScoringRun, chunk: _Chunk, tick: Tick) -> None:
    for number, file in enumerate(chunk.files):
        for gold in chunk.golds:
            # A prediction that is the gold query needs one database only, to tell that gold runs at all.
            if gold.standing or (gold.same and number == 0):
                _run_on(run, file, gold)
    tick(len(chunk.golds))


def _run_on(run: ScoringRun, file: Path, gold: _Gold) -> None:
    """Drops the predictions that ``file`` refutes."""
    # Not from the gold results on disk: to look one up takes longer than a query on so small a database.
    kind = digest_kind(MODE, gold.sql)
    expected = run.pool.run(file, gold.text, run.timeout_s, digest=kind)
    if expected.error is not None or expected.unseen:
        gold.failed = True
        gold.timed_out |= gold.standing if expected.timed_out else set()
        gold.truncated |= gold.standing if expected.unseen else set()
        gold.standing.clear()
    for text in sorted(gold.standing):
        found = run.pool.run(file, text, run.timeout_s, digest=kind)
        gold.timed_out |= {text} if found.timed_out else set()
        gold.truncated |= {text} if found.unseen else set()
        if not equal(expected, found, MODE, gold.sql):
            gold.standing.remove(text)


def _measured(run: ScoringRun, golds: Golds, suites: Mapping[str, Sequence[Path]]) -> Measured:
    values: list[float | None] = []
    timed_out = truncated = gold_failed = 0
    for example in run.examples:
        gold = golds[example.db_id, example.gold_sql]
        text = spider_predicted_text(run.predictions[example.index], example.gold_sql)
        right = not gold.failed and (text in gold.standing or _is_gold(text, gold))
        values.append(float(right) if suites[example.db_id] else None)
        timed_out += text in gold.timed_out
        truncated += text in gold.truncated
        gold_failed += gold.failed
    return Measured(
        values=tuple(values),
        comparison=f"{MODE} on {sum(map(len, suites.values()))} databases",
        database_hash=fingerprint(file for files in suites.values() for file in files),
        timed_out=timed_out,
        truncated=truncated,
        gold_failed=gold_failed,
        executes="sqlite",
    )
