"""evaluate.py: predictions and scores of a checkpoint, or scores of anyone's prediction file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from learnat.benchmarks.types import Benchmark
from learnat.errors import LearnatError
from learnat.evaluation.summary import make_scores
from learnat.inference.answers import Answer, answer_split, asking_record
from learnat.inference.candidates import CandidateRunner
from learnat.inference.strategy import Strategy
from learnat.recipes.engines import open_engine
from learnat.recipes.evaluation_folder import ANSWERS_FILE, own_folder
from learnat.recipes.given_predictions import Given, read_given, tell_failures
from learnat.recipes.gold_failures import tell_gold_failures
from learnat.recipes.measuring import ComparedWith, Measuring, compare_scored, report
from learnat.recipes.progress import progress_bar
from learnat.recipes.provenance import changed_settings, keep_settings, write_provenance
from learnat.recipes.results import prediction_rows, write_scores
from learnat.sql.addresses import engine_of, shown_address
from learnat.sql.execution import ExecutorPool
from learnat.synthesis.checks import name_of

console = Console(soft_wrap=True)

FIXED = ("checkpoint", "predictions", "predictions_stage", "engine.model", "data.split", "data_hash")
"""What is scored: the settings that may not differ from those of the scores in a run folder. How it is scored may, how
many of its questions are, and where the same files lie."""
_NEED_CHECKPOINT = ("learnat.inference.engines.transformers.", "learnat.inference.engines.vllm.")
"""The modules of engines that have no model of their own to ask."""


def evaluate(cfg: DictConfig) -> None:
    """Score ``checkpoint``, a server's model or ``predictions`` on ``data.split``, and compare with ``compare_with``.

    Writes predictions.jsonl, metrics.json, table.md, table.tex and, for a comparison, comparison.json.
    Raises ``LearnatError`` unless exactly one of the three is given, and where ``run_dir`` holds the scores of another
    one, or of another split or version of the data, another command's run, or the file that is scored.
    """
    take_names(cfg)
    check_asked(cfg)
    check_execute_on(cfg.data.split, cfg.execute_on)
    with own_folder(cfg) as folder:
        _evaluate(cfg, folder)


def _evaluate(cfg: DictConfig, folder: Path) -> None:
    split = cfg.data.split
    benchmark: Benchmark = instantiate(cfg.data.benchmark)
    measuring = Measuring(cfg, benchmark, console)
    # Read before a model is asked: a mistake in this file should not cost its answers.
    known: dict[str, Any] = {"data_hash": {split: benchmark.fingerprint(split)}}
    others: Given | None = None
    if cfg.compare_with is not None:
        others = read_given(benchmark, split, cfg.compare_with, cfg.compare_with_stage, "compare_with_stage")
        known["compare_with"] = others.record
    strategy: Strategy | None = None
    answers: Sequence[Answer]
    if cfg.predictions is not None:
        given = read_given(benchmark, split, cfg.predictions, cfg.predictions_stage, "predictions_stage")
        stage, answers = given.stage, given.answers
        known["predictions"] = given.record
        _tell_changes(folder, cfg, known)
        write_provenance(folder, cfg, **known)
    else:
        if cfg.checkpoint is not None:
            known["checkpoint"] = _checkpoint_record(Path(cfg.checkpoint))
        _tell_changes(folder, cfg, known)
        stage, strategy, answers = _ask(cfg, benchmark, folder, known)
    with ExecutorPool(cfg.workers, cfg.executor.timeout_s, cfg.executor.max_rows) as pool:
        scored = measuring.score(answers, pool)
        before = None if others is None else measuring.score(others.answers, pool)
    tell_gold_failures(scored.verdicts)
    if cfg.predictions is not None:
        tell_failures(stage, scored.verdicts)
    schema_given = strategy.schema.name if strategy is not None else "unknown"
    scores = make_scores(
        scored.measured, scored.verdicts, benchmark, cfg.executor.timeout_s, schema_given, scored.executed_on
    ).as_dict()
    if strategy is not None:
        scores["provenance"] |= asking_record(answers, strategy, benchmark, split)
    # Not before there are scores: what was refused above is a mistake, and no run to keep to.
    keep_settings(folder, cfg, FIXED, **known)
    lines = prediction_rows(benchmark, split, stage, answers, scored.verdicts, scored.values())
    write_scores(folder, lines, scores)
    comparison = {} if before is None else compare_scored(before, scored)
    report(folder, stage, split, scores, comparison, _compared_with(cfg, others), console)


def take_names(cfg: DictConfig) -> None:
    """Make texts of what names files, folders and the split; raise ``LearnatError`` for what does not."""
    several = "one folder: to score several, start a sweep, -m checkpoint=FOLDER,FOLDER"
    file = "one file or run folder"
    for key, what in (("predictions", file), ("compare_with", file), ("checkpoint", several)):
        if cfg[key] is not None:
            cfg[key] = name_of(key, cfg[key], f"{what}; one that is called so is written {key}=./NAME")
    cfg.data.split = name_of(
        "data.split", cfg.data.split, "one split: to score several, start a sweep, -m data.split=NAME,NAME"
    )


def check_asked(cfg: DictConfig) -> None:
    """Raise ``LearnatError``, before anything is read, unless the config says of one thing to score it."""
    needs_checkpoint = str(cfg.engine._target_).startswith(_NEED_CHECKPOINT)
    if cfg.checkpoint is not None and cfg.predictions is not None:
        raise LearnatError("Give what to score: checkpoint=FOLDER (asks a model) or predictions=FILE, and not both.")
    if cfg.predictions is not None and not needs_checkpoint:
        raise LearnatError(
            "predictions=FILE asks no model: to score the file leave engine=… out, to score a server's model leave "
            "predictions=FILE out."
        )
    if cfg.checkpoint is None and cfg.predictions is None and needs_checkpoint:
        raise LearnatError(
            "Give what to score: predictions=FILE (a prediction file, or the run folder that holds one), "
            "checkpoint=<run folder>/checkpoints/<stage> (a policy that a run trained), or engine=openai "
            "engine.model=NAME engine.base_url=URL (a server's model)."
        )
    for key in ("predictions", "compare_with"):
        if cfg[key] is None and cfg[f"{key}_stage"] is not None:
            raise LearnatError(f"{key}_stage={cfg[f'{key}_stage']} names nothing without {key}: give {key}=FILE, too.")


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


def _compared_with(cfg: DictConfig, others: Given | None) -> ComparedWith | None:
    """How messages and files call what is compared with."""
    if others is None:
        return None
    stage = "" if cfg.compare_with_stage is None else f" ({cfg.compare_with_stage})"
    return ComparedWith(f"{cfg.compare_with}{stage}", others.digest)


def _tell_changes(folder: Path, cfg: DictConfig, known: Mapping[str, Any]) -> None:
    changes = changed_settings(folder, cfg, FIXED, **known)
    if changes:
        console.print(f"This replaces scores made with other settings: {changes}.", markup=False)


def _checkpoint_record(folder: Path) -> str:
    from learnat.training.models import source_of  # scoring a file needs no torch

    return f"{folder.resolve().name}, {source_of(folder)[:12]}"


def _ask(
    cfg: DictConfig, benchmark: Benchmark, folder: Path, known: Mapping[str, Any]
) -> tuple[str, Strategy, list[Answer]]:
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
            **known,
            prompt_hash=engine.style.hash,
            decoding=asdict(strategy.decoding),
        )
        with progress_bar(f"answering {split}", len(benchmark.examples(split)), console) as bar:
            runner = CandidateRunner(pool, mode, cfg.executor.timeout_s, cfg.execute_on)
            answers = answer_split(engine, benchmark, split, strategy, runner, folder / ANSWERS_FILE, bar)
        return str(cfg.checkpoint or engine.name), strategy, answers
