"""Answers → the metrics that were asked for, their tables, and the comparison with other answers; for evaluate.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from learnat.benchmarks.types import Benchmark
from learnat.errors import LearnatError
from learnat.evaluation.executed_on import ExecutedOn, addresses_on
from learnat.evaluation.execution_accuracy import ExecutionAccuracy
from learnat.evaluation.metric import Measured, Metric
from learnat.evaluation.registry import TITLES, make_metrics
from learnat.evaluation.run import ScoringRun
from learnat.evaluation.scores import Verdict
from learnat.evaluation.significance import PairedComparison, compare_values
from learnat.evaluation.table import feature_rows, metric_names, rows
from learnat.inference.answers import Answer
from learnat.recipes.progress import progress_bar
from learnat.recipes.results import show_tables, write_json
from learnat.sql.execution import ExecutorPool
from learnat.sql.gold_results import GoldResults


@dataclass(frozen=True)
class Scored:
    """What was measured of one set of answers. Verdicts and values stand in the order of the split.

    ``executed_on``: as ``ScoringRun.executed_on`` gives it.
    """

    verdicts: Sequence[Verdict]
    measured: Sequence[tuple[Metric, Measured]]
    executed_on: ExecutedOn | None

    def values(self) -> dict[str, tuple[float | None, ...]]:
        """By metric, one value per question."""
        return {metric.name: measured.values for metric, measured in self.measured}


@dataclass(frozen=True)
class ComparedWith:
    """The predictions that answers are compared with: what they are called, and the digest of their file."""

    name: str
    digest: str


class Measuring:
    """The metrics that ``cfg`` names, execution accuracy first, with the workers to execute queries on.

    Execution accuracy is always among them: predictions.jsonl says of every prediction whether it runs and is right.

    Raises:
        LearnatError: ``metrics``, ``ex_mode`` or ``timing_iterations`` name what there is not; ``execute_on`` is one
            file for several databases.
    """

    def __init__(self, cfg: DictConfig, benchmark: Benchmark, console: Console) -> None:
        asked = benchmark.metrics if cfg.metrics is None else cfg.metrics
        asked = [asked] if isinstance(asked, str) else asked
        if not isinstance(asked, Sequence) or not all(isinstance(name, str) for name in asked):
            raise LearnatError(f"metrics={asked} must be names of metrics, as in metrics=[em,ts].")
        self._ex = ExecutionAccuracy(cfg.ex_mode)
        others = [name for name in asked if name != self._ex.name]
        self._metrics = [self._ex, *make_metrics(others, cfg.timing_iterations)]
        self._benchmark = benchmark
        self._split = cfg.data.split
        self._timeout_s = cfg.executor.timeout_s
        self._cache_dir = Path(cfg.cache_dir)
        self._execute_on = cfg.execute_on
        if cfg.execute_on is not None:
            # Now, and not when a model has answered everything.
            addresses_on(cfg.execute_on, {example.db_id for example in benchmark.examples(self._split)})
        self._console = console

    def score(self, answers: Sequence[Answer], pool: ExecutorPool) -> Scored:
        """Execute and measure ``answers``."""
        run = ScoringRun(
            self._benchmark,
            self._split,
            {answer.index: answer.sql for answer in answers},
            pool,
            self._timeout_s,
            progress=lambda what, total: progress_bar(what, total, self._console),
            gold_results=GoldResults(pool, self._cache_dir),
            execute_on=self._execute_on,
        )
        measured = [(metric, metric.measure(run)) for metric in self._metrics]
        return Scored(self._ex.verdicts(run), measured, run.executed_on())


def compare_scored(before: Scored, after: Scored) -> dict[str, PairedComparison]:
    """By metric, over the questions that it scored."""
    ids = [verdict.example_id for verdict in after.verdicts]
    found = {}
    for (metric, a), (_, b) in zip(before.measured, after.measured, strict=True):
        first, second = _by_question(ids, a.values), _by_question(ids, b.values)
        if first:
            found[metric.name] = compare_values(first, second)
    return found


def _by_question(ids: Sequence[str], values: Sequence[float | None]) -> dict[str, float]:
    return {key: value for key, value in zip(ids, values, strict=True) if value is not None}


def report(
    folder: Path,
    stage: str,
    split: str,
    scores: Mapping[str, Any],
    comparison: Mapping[str, PairedComparison],
    compared_with: ComparedWith | None,
    console: Console,
) -> None:
    """Print and write what was measured (``show_tables``) and, where there is a comparison, comparison.json."""
    metrics = {stage: {split: scores}}
    tables = [*(rows(metrics, name) for name in metric_names(metrics)), feature_rows(scores, f"{stage}, {split}")]
    before = compared_with.name if compared_with is not None else ""
    lines = [f"{TITLES[name]}, {paired.told(before, stage)}" for name, paired in comparison.items()]
    show_tables(folder, tables, lines, console)
    # Left by an earlier run, it would be of other scores.
    (folder / "comparison.json").unlink(missing_ok=True)
    if comparison and compared_with is not None:
        by_metric = {name: asdict(paired) for name, paired in comparison.items()}
        named = {"with": compared_with.name, "with_digest": compared_with.digest}
        write_json(folder / "comparison.json", {**named, **by_metric})
