"""ask.py: one question to one database, answered by one model or several."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from learnat.benchmarks.single_database import read_database
from learnat.benchmarks.types import Example
from learnat.errors import LearnatError
from learnat.evaluation.agreement import agreeing
from learnat.inference.engines.base import Decoding, EngineSettings
from learnat.inference.prompts import question_prompt
from learnat.inference.streaming import Streamed, stream_answer
from learnat.recipes.provenance import write_provenance
from learnat.recipes.scoring import write_json
from learnat.reporting.results import result_table, size_text, visible
from learnat.sql.execution import Executor, ExecutorPool, Result
from learnat.synthesis.checks import check_count
from learnat.synthesis.tree import Step
from learnat.training.prompts import PromptStyle

log = logging.getLogger(__name__)
console = Console()


@dataclass(frozen=True)
class Answered:
    """What a model, ``name``, answered. ``sql`` is what was run of it, and gave ``result``."""

    name: str
    streamed: Streamed
    sql: str
    result: Result


def ask(cfg: DictConfig) -> bool:
    """Print the answer of every checkpoint, or of a server's model, to ``question``, and write them to answers.json.

    Returns whether the SQL of all of them ran. Raises ``LearnatError`` for a question, database, checkpoint or server
    that there is not.
    """
    check_count("shown_rows", cfg.shown_rows)
    if not str(cfg.question).strip():
        raise LearnatError('Give what is asked: question="…"')
    # Loading a model takes a while: mistakes are to be seen before.
    read_database(cfg.database)
    models = _models(cfg)
    decoding: Decoding = instantiate(cfg.inference)
    write_provenance(Path(cfg.run_dir), cfg, decoding=asdict(decoding))
    with ExecutorPool(1, cfg.executor.timeout_s, cfg.executor.max_rows) as pool:
        answers = [
            _answer(cfg, checkpoint, style, decoding, pool, titled=len(models) > 1) for checkpoint, style in models
        ]
    groups = agreeing([(answer.sql, answer.result) for answer in answers])
    if len(answers) > 1:
        console.print(_summary(answers, groups))
    rows = [_row(answer, group) for answer, group in zip(answers, groups, strict=True)]
    asked = {key: cfg[key] for key in ("database", "question", "evidence")}
    write_json(Path(cfg.run_dir) / "answers.json", {**asked, "answers": rows})
    return all(answer.result.error is None for answer in answers)


def _models(cfg: DictConfig) -> list[tuple[str | None, PromptStyle]]:
    """The checkpoints that are asked, each with its prompts' style; None stands for a server's own model."""
    given = cfg.checkpoint if isinstance(cfg.checkpoint, (ListConfig, list)) else [cfg.checkpoint]
    checkpoints = [str(checkpoint) for checkpoint in given if checkpoint is not None]
    if not checkpoints:
        return [(None, PromptStyle(cfg.schema_style, cfg.samples))]
    from learnat.training.models import prompt_style

    return [(checkpoint, prompt_style(checkpoint)) for checkpoint in checkpoints]


def _answer(
    cfg: DictConfig,
    checkpoint: str | None,
    style: PromptStyle,
    decoding: Decoding,
    pool: ExecutorPool,
    titled: bool,
) -> Answered:
    database = read_database(cfg.database, style.samples)
    executor = Executor(database, cfg.executor.timeout_s, cfg.executor.max_rows, pool)
    example = Example(0, "ask/0", "ask", database.db_id, str(cfg.question), str(cfg.evidence), gold_sql="")
    settings: EngineSettings = instantiate(cfg.engine)
    with closing(settings.open(checkpoint, style)) as engine:
        name = checkpoint or engine.name
        if titled:
            console.print(Rule(name, align="left"))
        printer = _StepPrinter(executor if cfg.explain else None, cfg.shown_rows)
        streamed = stream_answer(engine, question_prompt(style, database, example), decoding, printer)
    if streamed.revised:
        console.print("Read as a whole, the answer has other steps:")
        printer = _StepPrinter(printer.executor, printer.shown_rows)
        for step in streamed.answer.steps:
            printer(step)
    answered = _run(name, streamed, executor)
    _print_answer(answered, decoding, printer)
    return answered


class _StepPrinter:
    """Prints steps as they come, with the results of their own SQL where there is an ``executor``."""

    def __init__(self, executor: Executor | None, shown_rows: int) -> None:
        self.executor = executor
        self.shown_rows = shown_rows
        self.count = 0

    def __call__(self, step: Step) -> None:
        self.count += 1
        console.print(Text(f"Step {self.count}: ", "bold"), visible(step.sub_question), sep="", soft_wrap=True)
        console.print(Text("  "), visible(step.sql), sep="", soft_wrap=True)
        if self.executor is not None:
            _print_result(self.executor.run(step.sql), self.shown_rows)


def _run(name: str, streamed: Streamed, executor: Executor) -> Answered:
    """The answer with its result. What holds no query is run as it stands: its refusal says what is wrong with it."""
    sql = streamed.answer.sql or streamed.completion.text.strip()
    if not sql:
        reason = streamed.completion.failure or "the model wrote nothing"
        return Answered(name, streamed, sql, Result((), [], reason, 0.0, False, False))
    return Answered(name, streamed, sql, executor.run(sql))


def _print_answer(answered: Answered, decoding: Decoding, printer: _StepPrinter) -> None:
    completion, answer = answered.streamed.completion, answered.streamed.answer
    console.print(Text("SQL", "bold"))
    console.print(visible(answered.sql), soft_wrap=True)
    if printer.executor is not None and answer.steps and answered.result.error is None:
        console.print(f"The answer is the result of step {printer.count}.")
    elif answered.result.error is None:
        _print_result(answered.result, printer.shown_rows)
    else:
        log.error("No answer: %s", answered.result.error)
    if not completion.finished and completion.completion_tokens:
        log.warning(
            "The answer was cut at %d tokens; inference.max_new_tokens=%d allows no more, or the model's context.",
            completion.completion_tokens,
            decoding.max_new_tokens,
        )
    if answer.steps and answer.guesses:
        console.print(f"Not in the trained format: {', '.join(answer.guesses)}.", soft_wrap=True)
    cached = f" ({completion.cached_tokens} of them cached)" if completion.cached_tokens else ""
    console.print(f"Tokens: {completion.prompt_tokens} prompt{cached}, {completion.completion_tokens} completion")


def _print_result(result: Result, shown_rows: int) -> None:
    if result.error is None:
        console.print(result_table(result, shown_rows))
    else:
        console.print(Text("  "), visible(result.error), sep="", soft_wrap=True)


def _summary(answers: Sequence[Answered], groups: Sequence[int | None]) -> Table:
    table = Table(title="Agreement", title_justify="left")
    for column in ("", "model", "result", "same result as", "tokens"):
        table.add_column(column, overflow="fold")
    for position, (answer, group) in enumerate(zip(answers, groups, strict=True)):
        others = [str(other + 1) for other, of in enumerate(groups) if of == group and other != position]
        agrees = ", ".join(others) if group is not None and others else "–"
        completion = answer.streamed.completion
        tokens = str(completion.prompt_tokens + completion.completion_tokens)
        table.add_row(str(position + 1), visible(answer.name), visible(size_text(answer.result)), agrees, tokens)
    return table


def _row(answered: Answered, group: int | None) -> dict[str, Any]:
    """An answer in answers.json; ``same_as`` is the position of the first one with the same result."""
    completion, answer, result = answered.streamed.completion, answered.streamed.answer, answered.result
    return {
        "model": answered.name,
        "steps": [asdict(step) for step in answer.steps],
        "sql": answered.sql,
        "guesses": list(answer.guesses),
        "finished": completion.finished,
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": completion.completion_tokens,
        "error": result.error,
        "rows": len(result.rows),
        "truncated": result.truncated,
        "same_as": group,
    }
