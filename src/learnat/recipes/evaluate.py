"""evaluate.py: predictions and scores of a checkpoint, or scores of anyone's prediction file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from learnat.benchmarks.types import Benchmark
from learnat.errors import LearnatError
from learnat.evaluation.execution_accuracy import ExecutionAccuracy
from learnat.evaluation.formats import Rows, to_latex, to_markdown, to_terminal
from learnat.evaluation.metric import Measured, Metric
from learnat.evaluation.predictions import read_predictions
from learnat.evaluation.registry import make_metrics
from learnat.evaluation.run import ScoringRun
from learnat.evaluation.scores import Verdict
from learnat.evaluation.significance import PairedComparison, compare_values
from learnat.evaluation.summary import make_scores
from learnat.evaluation.table import feature_rows, metric_names, rows
from learnat.inference.answers import Answer, answer_of_sql, answer_split
from learnat.recipes.provenance import write_provenance
from learnat.recipes.scoring import prediction_rows, progress_bar, write_json, write_jsonl
from learnat.sql.execution import ExecutorPool

console = Console(soft_wrap=True)


@dataclass(frozen=True)
class _Scored:
    """What was measured of one set of predictions."""

    verdicts: Sequence[Verdict]
    measured: Sequence[tuple[Metric, Measured]]

    def values(self) -> dict[str, tuple[float | None, ...]]:
        """By metric, one value per question."""
        return {metric.name: measured.values for metric, measured in self.measured}


def evaluate(cfg: DictConfig) -> None:
    """Score ``checkpoint`` or ``predictions`` on ``data.split``, and compare with ``compare_with`` if that is given.

    Writes predictions.jsonl, metrics.json, table.md, table.tex and, for a comparison, comparison.json.
    Raises ``LearnatError`` unless exactly one of the two is given.
    """
    if (cfg.checkpoint is None) == (cfg.predictions is None):
        raise LearnatError("Give what to score: checkpoint=FOLDER (asks a model) or predictions=FILE, and not both.")
    folder, split = Path(cfg.run_dir), cfg.data.split
    benchmark: Benchmark = instantiate(cfg.data.benchmark)
    names = benchmark.metrics if cfg.metrics is None else cfg.metrics
    metrics = make_metrics(names, cfg.ex_mode, cfg.timing_iterations)
    # Read before a model is asked: a mistake in the file should not cost the answers.
    other = None if cfg.compare_with is None else _read_answers(benchmark, split, Path(cfg.compare_with))
    if cfg.predictions is not None:
        stage, schema_given = Path(cfg.predictions).name, "unknown"
        answers: Sequence[Answer] = _read_answers(benchmark, split, Path(cfg.predictions))
        write_provenance(folder, cfg, data_hash={split: benchmark.fingerprint(split)})
    else:
        stage, schema_given = str(cfg.checkpoint), "full"
        answers = _ask(cfg, benchmark, folder)
    with ExecutorPool(cfg.workers, max_rows=cfg.executor.max_rows) as pool:
        scored = _score(cfg, benchmark, answers, metrics, pool)
        compared = None if other is None else _score(cfg, benchmark, other, metrics, pool)
    scores = make_scores(scored.measured, scored.verdicts, benchmark, cfg.executor.timeout_s, schema_given).as_dict()
    write_jsonl(
        folder / "predictions.jsonl",
        prediction_rows(benchmark, split, stage, answers, scored.verdicts, scored.values()),
    )
    write_json(folder / "metrics.json", scores)
    tables = [rows({stage: {split: scores}}, name) for name in metric_names({stage: {split: scores}})]
    comparison = {} if compared is None else _compare(compared, scored)
    _write_tables(folder, [*tables, feature_rows(scores)], _comparison_lines(comparison, cfg.compare_with, stage))
    if comparison:
        write_json(
            folder / "comparison.json",
            {"with": str(cfg.compare_with)} | {name: asdict(paired) for name, paired in comparison.items()},
        )


def _read_answers(benchmark: Benchmark, split: str, path: Path) -> list[Answer]:
    predictions = read_predictions(path)
    # A missing prediction is reported by the scorer, which knows what else may be wrong with the file.
    return [answer_of_sql(e.index, predictions[e.index]) for e in benchmark.examples(split) if e.index in predictions]


def _ask(cfg: DictConfig, benchmark: Benchmark, folder: Path) -> list[Answer]:
    from learnat.training import models

    models.prompt_style(cfg.checkpoint).check_samples(benchmark)
    policy = models.load(cfg.checkpoint)
    split = cfg.data.split
    write_provenance(folder, cfg, data_hash={split: benchmark.fingerprint(split)}, prompt_hash=policy.style.hash)
    with progress_bar(f"answering {split}", len(benchmark.examples(split)), console) as bar:
        return answer_split(policy, benchmark, split, instantiate(cfg.inference), folder / "answers.jsonl", bar)


def _score(
    cfg: DictConfig, benchmark: Benchmark, answers: Sequence[Answer], metrics: Sequence[Metric], pool: ExecutorPool
) -> _Scored:
    predictions = {answer.index: answer.sql for answer in answers}
    run = ScoringRun(
        benchmark,
        cfg.data.split,
        predictions,
        pool,
        cfg.executor.timeout_s,
        progress=lambda what, total: progress_bar(what, total, console),
    )
    # predictions.jsonl says of every prediction whether it runs and is right, whichever metrics are asked for.
    ex = next((metric for metric in metrics if isinstance(metric, ExecutionAccuracy)), ExecutionAccuracy(cfg.ex_mode))
    verdicts = ex.verdicts(run)
    return _Scored(verdicts, [(metric, metric.measure(run)) for metric in metrics])


def _compare(before: _Scored, after: _Scored) -> dict[str, PairedComparison]:
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


def _comparison_lines(comparison: Mapping[str, PairedComparison], other: str | None, stage: str) -> list[str]:
    return [f"{name}, {Path(str(other)).name} → {stage}: {paired}" for name, paired in comparison.items()]


def _write_tables(folder: Path, tables: Sequence[Rows], lines: Sequence[str]) -> None:
    """Print all tables and lines; write table.md and table.tex."""
    for table in tables:
        console.print(to_terminal(table))
    for line in lines:
        console.print(line, soft_wrap=True)
    page: list[Any] = [f"## {table.title}\n\n{to_markdown(table)}" for table in tables]
    page += ["## Comparison\n\n" + "".join(f"- {line}\n" for line in lines)] if lines else []
    (folder / "table.md").write_text("\n".join(page), encoding="utf-8")
    (folder / "table.tex").write_text("\n".join(map(to_latex, tables)), encoding="utf-8")
