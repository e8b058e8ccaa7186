"""Answers → verdicts → predictions.jsonl and metrics.json, for train.py and evaluate.py alike."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from learnat.benchmarks.types import Benchmark
from learnat.errors import LearnatError
from learnat.evaluation.execution_accuracy import score_execution, summarize
from learnat.evaluation.scores import Verdict
from learnat.evaluation.significance import compare
from learnat.evaluation.table import score_latex, score_markdown, score_table
from learnat.inference.answers import Answer, answer_split, asking_record
from learnat.inference.candidates import CandidateRunner
from learnat.inference.strategy import Strategy
from learnat.recipes.gold_failures import tell_gold_failures
from learnat.sql.execution import ExecutorPool
from learnat.sql.gold_results import GoldResults

if TYPE_CHECKING:  # scores of a prediction file need no torch
    from learnat.inference.engines.transformers import TransformersSettings
    from learnat.training.models import Policy

_AS_JSON = "backslashreplace"
"""How half a surrogate pair, which a model may well write and UTF-8 cannot hold, is written: as JSON's own escape."""


def prediction_rows(
    benchmark: Benchmark,
    split: str,
    stage: str,
    answers: Sequence[Answer],
    verdicts: Sequence[Verdict],
    values: Mapping[str, Sequence[float | None]] | None = None,
) -> list[dict[str, Any]]:
    """The lines of predictions.jsonl; ``values`` are those of further metrics, one per question."""
    rows: list[dict[str, Any]] = []
    for example, answer, verdict in zip(benchmark.examples(split), answers, verdicts, strict=True):
        rows.append(
            {
                "index": example.index,
                "question": example.question,
                "db_id": example.db_id,
                "split": split,
                "stage": stage,
                "steps": [asdict(step) for step in answer.steps],
                "predicted": answer.sql,
                "executed": verdict.executed,
                "correct": verdict.correct,
                # Where there is no answer, that SQLite cannot run it says nothing.
                "error": answer.failure or verdict.error,
                "failure": answer.failure,
                "guesses": list(answer.guesses),
                "finished": answer.finished,
                "tokens": answer.prompt_tokens + answer.completion_tokens,
                "prompt_tokens": answer.prompt_tokens,
                "cached_tokens": answer.cached_tokens,
                "completion_tokens": answer.completion_tokens,
                "calls": answer.calls,
                "samples": answer.samples,
                "votes": answer.votes,
                **{name: of_metric[len(rows)] for name, of_metric in (values or {}).items()},
            }
        )
    return rows


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8", _AS_JSON)
    os.replace(partial, path)


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write one row a line, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8", _AS_JSON)
    os.replace(partial, path)


def split_names(given: object) -> list[str]:
    """``data.eval_splits`` as a list; one split may be named without brackets.

    Raises ``LearnatError`` for what are no names.
    """
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise LearnatError(f"data.eval_splits={given} must be names of splits, as in data.eval_splits=[dev].")
    return list(names)


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
            tell_gold_failures(verdicts)
            scores = summarize(verdicts, self.benchmark, self.timeout_s, self.strategy.schema.name)
            scores["provenance"] |= asking_record(answers, self.strategy, self.benchmark, split)
            self.metrics.setdefault(stage, {})[split] = scores
            self._verdicts[stage, split] = verdicts
            self._rows += prediction_rows(self.benchmark, split, stage, answers, verdicts)
            self._console.print(f"{stage}: EX on {split} {scores['ex']['all']:.3f} ({questions} questions)")
        write_jsonl(self.folder / "predictions.jsonl", self._rows)
        write_json(self.folder / "metrics.json", self.metrics)

    def report(self, title: str) -> None:
        """Print the table of all stages and the paired comparison of the last two; write table.md and table.tex."""
        self._console.print(score_table(self.metrics, title=title))
        lines = [score_markdown(self.metrics)]
        if len(self.metrics) > 1:
            before, after = list(self.metrics)[-2:]
            for split in self.splits:
                paired = compare(self._verdicts[before, split], self._verdicts[after, split])
                line = f"{split}, {paired.told(before, after)}"
                self._console.print(line, soft_wrap=True)
                lines.append(line + "\n")
        (self.folder / "table.md").write_text("\n".join(lines), encoding="utf-8")
        (self.folder / "table.tex").write_text(score_latex(self.metrics, title=title), encoding="utf-8")


class Advance(Protocol):
    def __call__(self, count: int, /) -> None: ...


@contextmanager
def progress_bar(label: str, total: int, console: Console) -> Iterator[Advance]:
    """A bar with count and ETA; yields the function that is told of progress. Silent where there is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda count: progress.advance(task, count)
