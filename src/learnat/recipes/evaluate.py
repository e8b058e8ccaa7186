"""evaluate.py: predictions and scores of a checkpoint, or scores of anyone's prediction file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from learnat.benchmarks.types import Benchmark
from learnat.errors import LearnatError
from learnat.evaluation.predictions import check_predictions, read_predictions
from learnat.evaluation.summary import make_scores
from learnat.inference.answers import Answer, answer_of_sql, answer_split, asking_record
from learnat.inference.candidates import CandidateRunner
from learnat.inference.strategy import Strategy
from learnat.recipes.engines import open_engine
from learnat.recipes.measuring import Measuring, compare_scored, report
from learnat.recipes.provenance import write_provenance
from learnat.recipes.scoring import prediction_rows, progress_bar, write_json, write_jsonl
from learnat.sql.addresses import engine_of, shown_address
from learnat.sql.execution import ExecutorPool

_log = logging.getLogger(__name__)
console = Console(soft_wrap=True)


def evaluate(cfg: DictConfig) -> None:
    """Score ``checkpoint``, a server's model or ``predictions`` on ``data.split``, and compare with ``compare_with``.

    Writes predictions.jsonl, metrics.json, table.md, table.tex and, for a comparison, comparison.json.
    Raises ``LearnatError`` unless exactly one of the three is given.
    """
    if cfg.checkpoint is not None and cfg.predictions is not None:
        raise LearnatError("Give what to score: checkpoint=FOLDER (asks a model) or predictions=FILE, and not both.")
    folder, split = Path(cfg.run_dir), cfg.data.split
    check_execute_on(split, cfg.execute_on)
    benchmark: Benchmark = instantiate(cfg.data.benchmark)
    measuring = Measuring(cfg, benchmark, console)
    # Read before a model is asked: a mistake in this file should not cost its answers.
    others = None if cfg.compare_with is None else _read_answers(benchmark, split, Path(cfg.compare_with))
    if cfg.predictions is not None:
        stage, strategy = Path(cfg.predictions).name, None
        answers: Sequence[Answer] = _read_answers(benchmark, split, Path(cfg.predictions))
        write_provenance(folder, cfg, data_hash={split: benchmark.fingerprint(split)})
    else:
        stage, strategy, answers = _ask(cfg, benchmark, folder)
    with ExecutorPool(cfg.workers, cfg.executor.timeout_s, cfg.executor.max_rows) as pool:
        scored = measuring.score(answers, pool)
        before = None if others is None else measuring.score(others, pool)
    schema_given = strategy.schema.name if strategy is not None else "unknown"
    scores = make_scores(
        scored.measured, scored.verdicts, benchmark, cfg.executor.timeout_s, schema_given, cfg.execute_on
    ).as_dict()
    if strategy is not None:
        scores["provenance"] |= asking_record(answers, strategy, benchmark, split)
    lines = prediction_rows(benchmark, split, stage, answers, scored.verdicts, scored.values())
    write_jsonl(folder / "predictions.jsonl", lines)
    write_json(folder / "metrics.json", scores)
    comparison = {} if before is None else compare_scored(before, scored)
    report(folder, stage, split, scores, comparison, cfg.compare_with, console)


def check_execute_on(split: str, execute_on: str | None) -> None:
    """Raise ``LearnatError`` where queries of ``split`` cannot run on ``execute_on``, or it holds a password."""
    if execute_on is None and split.endswith("_postgresql"):
        raise LearnatError(
            f"The queries of split {split!r} are PostgreSQL's: name a server that holds the databases, with "
            "execute_on=postgresql://reader@HOST/DATABASE (DB_ID in it stands for the database's name)."
        )
    if execute_on is not None and engine_of(execute_on) == "sqlite":
        raise LearnatError(
            f"execute_on={execute_on} is neither a PostgreSQL URL (postgresql://…) nor a DuckDB file (….duckdb)."
        )
    if execute_on is not None and shown_address(execute_on) != execute_on:
        raise LearnatError(
            "execute_on holds a password, and would be written into the run folder: leave it out, and put it into "
            "~/.pgpass or the environment variable PGPASSWORD."
        )


def _read_answers(benchmark: Benchmark, split: str, path: Path) -> list[Answer]:
    predictions, examples = read_predictions(path), benchmark.examples(split)
    check_predictions(predictions, examples, split)
    others = len(predictions.keys() - {example.index for example in examples})
    if others:
        # Right where questions were left out on purpose, and all there is to see where the file is another split's.
        _log.warning("%s: %d of its %d predictions are for no question that is scored", path, others, len(predictions))
    return [answer_of_sql(example.index, predictions[example.index]) for example in examples]


def _ask(cfg: DictConfig, benchmark: Benchmark, folder: Path) -> tuple[str, Strategy, list[Answer]]:
    """What is asked, how, and its answers."""
    split, mode = cfg.data.split, cfg.ex_mode or benchmark.ex_mode
    strategy: Strategy = instantiate(cfg.inference)
    strategy.check(benchmark, split)
    if strategy.schema.name == "gold":
        console.print("The prompts show what the gold queries read: scores are of another, easier task.")
    with (
        closing(open_engine(cfg, benchmark)) as engine,
        ExecutorPool(cfg.workers, max_rows=cfg.executor.max_rows) as pool,
    ):
        write_provenance(
            folder,
            cfg,
            data_hash={split: benchmark.fingerprint(split)},
            prompt_hash=engine.style.hash,
            decoding=asdict(strategy.decoding),
        )
        with progress_bar(f"answering {split}", len(benchmark.examples(split)), console) as bar:
            runner = CandidateRunner(pool, mode, cfg.executor.timeout_s, cfg.execute_on)
            answers = answer_split(engine, benchmark, split, strategy, runner, folder / "answers.jsonl", bar)
        return str(cfg.checkpoint or engine.name), strategy, answers
