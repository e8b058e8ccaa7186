"""A policy → answers → verdicts → scores, stage after stage; for train.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from learnat.benchmarks.types import Benchmark
from learnat.evaluation.execution_accuracy import score_execution, summarize
from learnat.evaluation.scores import Verdict
from learnat.evaluation.significance import compare
from learnat.evaluation.table import rows
from learnat.inference.answers import answer_split, asking_record
from learnat.inference.candidates import CandidateRunner
from learnat.inference.strategy import Strategy
from learnat.recipes.gold_failures import tell_gold_failures
from learnat.recipes.progress import progress_bar
from learnat.recipes.results import prediction_rows, show_tables, write_scores
from learnat.sql.execution import ExecutorPool
from learnat.sql.gold_results import GoldResults

if TYPE_CHECKING:  # scores of a prediction file need no torch
    from learnat.inference.engines.transformers import TransformersSettings
    from learnat.training.models import Policy


class Scorer:
    """Scores a policy on the splits of a benchmark, stage after stage, and keeps the run folder's files up to date.

    predictions.jsonl and metrics.json hold all stages scored so far; the generated answers are kept in ``answers/``,
    so that a stopped run asks no question twice.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        splits: Sequence[str],
        engines: TransformersSettings,
        strategy: Strategy,
        folder: Path,
        pool: ExecutorPool,
        timeout_s: float,
        gold_results: GoldResults | None = None,
    ) -> None:
        self.benchmark = benchmark
        self.splits = splits
        self.engines = engines
        self.strategy = strategy
        self.folder = folder
        self.pool = pool
        self.timeout_s = timeout_s
        self.gold_results = gold_results
        self.metrics: dict[str, dict[str, Any]] = {}
        self._verdicts: dict[tuple[str, str], list[Verdict]] = {}
        self._rows: list[dict[str, Any]] = []
        self._console = Console()

    def score(self, stage: str, policy: Policy) -> None:
        """Ask ``policy`` every question, execute its answers, and write what came of it."""
        for split in self.splits:
            questions = len(self.benchmark.examples(split))
            path = self.folder / "answers" / f"{stage}-{split}.jsonl"
            with progress_bar(f"{stage}: answering {split}", questions, self._console) as bar:
                engine = self.engines.over(policy)
                runner = CandidateRunner(self.pool, self.benchmark.ex_mode, self.timeout_s)
                answers = answer_split(engine, self.benchmark, split, self.strategy, runner, path, bar)
            predictions = {answer.index: answer.sql for answer in answers}
            verdicts = score_execution(
                self.benchmark, split, predictions, self.pool, self.timeout_s, gold_results=self.gold_results
            )
            if not any(known == split for _, known in self._verdicts):  # every stage meets the same gold queries
                tell_gold_failures(verdicts)
            scores = summarize(verdicts, self.benchmark, self.timeout_s, self.strategy.schema.name)
            scores["provenance"] |= asking_record(answers, self.strategy, self.benchmark, split)
            self.metrics.setdefault(stage, {})[split] = scores
            self._verdicts[stage, split] = verdicts
            self._rows += prediction_rows(self.benchmark, split, stage, answers, verdicts)
            self._console.print(f"{stage}: EX on {split} {scores['ex']['all']:.3f} ({questions} questions)")
        write_scores(self.folder, self._rows, self.metrics)

    def report(self, title: str) -> None:
        """Print the table of all stages and the paired comparison of the last two; write table.md and table.tex."""
        comparisons = []
        if len(self.metrics) > 1:
            before, after = list(self.metrics)[-2:]
            for split in self.splits:
                paired = compare(self._verdicts[before, split], self._verdicts[after, split])
                comparisons.append(f"{split}, {paired.told(before, after)}")
        show_tables(self.folder, [rows(self.metrics, title=title)], comparisons, self._console)
