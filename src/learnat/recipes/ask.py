"""ask.py: one question to one database, answered by one model or several."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig
from rich.console import Console
from rich.rule import Rule

from learnat.benchmarks.schema_text import STYLES
from learnat.benchmarks.single_database import read_database
from learnat.benchmarks.types import Example
from learnat.errors import LearnatError, nearest
from learnat.evaluation.agreement import agreeing
from learnat.inference.candidates import CandidateRunner
from learnat.inference.engines.base import Engine, EngineSettings
from learnat.inference.strategy import Strategy
from learnat.inference.streaming import Streamed, answer_question
from learnat.recipes.provenance import refuse_other_command, write_provenance
from learnat.recipes.results import write_json
from learnat.reporting.asked import Answered, StepPrinter, agreement_table, print_answer
from learnat.sql.addresses import engine_of, is_duckdb, shown_address
from learnat.sql.execution import Executor, ExecutorPool, Result
from learnat.synthesis.checks import check_count, name_of
from learnat.training.prompts import PromptStyle

console = Console()
VOTES_BY = "bird_set"
"""Samples agree where they return the same rows, in whatever order (see ``learnat.sql.results``)."""


def ask(cfg: DictConfig) -> bool:
    """Print the answer of every checkpoint, or of a server's model, to ``question``, and write them to answers.json.

    Returns whether the SQL of all of them ran. Raises ``LearnatError`` for a question, database, checkpoint or server
    that there is not.
    """
    check_count("shown_rows", cfg.shown_rows)
    check_count("samples", cfg.samples, least=0)
    if not str(cfg.question).strip():
        raise LearnatError('Give what is asked: question="…"')
    if str(cfg.schema_style) not in STYLES:
        known = nearest(str(cfg.schema_style), STYLES)
        raise LearnatError(f"The schema style {cfg.schema_style!r} is not known (schema_style). {known}")
    cfg.database = name_of("database", cfg.database, "one SQLite file")
    _check_engine(cfg.database)
    read_database(cfg.database)  # a model takes a while to load: mistakes are to be seen before
    models = _models(cfg)
    settings: EngineSettings = instantiate(cfg.engine)
    strategy: Strategy = instantiate(cfg.inference)
    if strategy.schema.name == "gold":
        raise LearnatError(
            "inference/schema=gold needs a gold query, and this question has none: use full or retrieved."
        )
    refuse_other_command(Path(cfg.run_dir), "question")
    write_provenance(Path(cfg.run_dir), cfg, decoding=asdict(strategy.decoding))
    answers = []
    with ExecutorPool(1, cfg.executor.timeout_s, cfg.executor.max_rows) as pool:
        for checkpoint, style in models:
            with closing(settings.open(checkpoint, style)) as engine:
                name = checkpoint or engine.name
                if len(models) > 1:
                    console.print(Rule(name, align="left"))
                answers.append(_answer(cfg, strategy, name, engine, pool))
    groups = agreeing([(answer.sql, answer.result) for answer in answers])
    if len(answers) > 1:
        console.print(agreement_table(answers, groups))
    rows = [_row(answer, group) for answer, group in zip(answers, groups, strict=True)]
    asked = {key: cfg[key] for key in ("database", "question", "evidence")}
    write_json(Path(cfg.run_dir) / "answers.json", {**asked, "answers": rows})
    return all(answer.result.error is None for answer in answers)


def _check_engine(database: str) -> None:
    """Raise ``LearnatError`` for a database that is another engine's than SQLite."""
    engine = engine_of(database)
    if engine == "postgresql":
        what = "a PostgreSQL server's"
    elif engine == "duckdb" or is_duckdb(Path(database).expanduser()):
        what = "a DuckDB file"
    else:
        return
    raise LearnatError(
        f"database={shown_address(database)} is {what}: ask.py reads SQLite files only. Copy the tables that are asked "
        "about into one."
    )


def _models(cfg: DictConfig) -> list[tuple[str | None, PromptStyle]]:
    """The checkpoints that are asked, each with its prompts' style; None stands for a server's own model."""
    given = cfg.checkpoint if isinstance(cfg.checkpoint, (ListConfig, list)) else [cfg.checkpoint]
    what = "a folder, or a list of folders, [FOLDER,FOLDER]"
    checkpoints = [name_of("checkpoint", checkpoint, what) for checkpoint in given if checkpoint is not None]
    if not checkpoints:
        return [(None, PromptStyle(cfg.schema_style, cfg.samples))]
    from learnat.training.models import prompt_style

    return [(checkpoint, prompt_style(checkpoint)) for checkpoint in checkpoints]


def _answer(cfg: DictConfig, strategy: Strategy, name: str, engine: Engine, pool: ExecutorPool) -> Answered:
    database = read_database(cfg.database, engine.style.samples)
    executor = Executor(database, cfg.executor.timeout_s, cfg.executor.max_rows, pool)
    example = Example(0, "ask/0", "ask", database.db_id, str(cfg.question), str(cfg.evidence), gold_sql="")
    printer = StepPrinter(console, executor if cfg.explain else None, cfg.shown_rows)
    runner = CandidateRunner(pool, VOTES_BY, cfg.executor.timeout_s)
    streamed = answer_question(strategy, engine, database, example, runner, printer)
    if streamed.revised:
        printer.revise(streamed.answer.steps)
    answered = _run(name, streamed, executor)
    print_answer(answered, printer)
    return answered


def _run(name: str, streamed: Streamed, executor: Executor) -> Answered:
    """The answer with its result. What holds no query is run as it stands: its refusal says what is wrong with it."""
    sql = streamed.answer.sql or streamed.completion.text.strip()
    if not sql:
        reason = streamed.completion.failure or "the model wrote nothing"
        return Answered(name, streamed, sql, Result((), [], reason, 0.0, False, False))
    return Answered(name, streamed, sql, executor.run(sql))


def _row(answered: Answered, group: int | None) -> dict[str, Any]:
    """An answer in answers.json; ``same_as`` is the position of the first one with the same result."""
    answer, cost, result = answered.streamed.answer, answered.streamed.cost, answered.result
    return {
        "model": answered.name,
        "steps": [asdict(step) for step in answer.steps],
        "sql": answered.sql,
        "guesses": list(answer.guesses),
        "samples": answered.streamed.samples,
        "votes": answered.streamed.votes,
        "finished": answered.streamed.completion.finished,
        "calls": cost.calls,
        "prompt_tokens": cost.prompt_tokens,
        "cached_tokens": cost.cached_tokens,
        "completion_tokens": cost.completion_tokens,
        "error": result.error,
        "rows": len(result.rows),
        "truncated": result.truncated,
        "same_as": group,
    }
