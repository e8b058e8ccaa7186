"""A question's answers in a terminal: steps as they come, SQL, result and cost."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from learnat.inference.candidates import Cost
from learnat.inference.streaming import Streamed
from learnat.reporting.results import print_result, size_text, visible
from learnat.sql.execution import Executor, Result
from learnat.synthesis.tree import Step

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answered:
    """What a model, ``name``, answered. ``sql`` is what was run of it, and gave ``result``."""

    name: str
    streamed: Streamed
    sql: str
    result: Result


class StepPrinter:
    """Prints steps as they come, each with the result of its own SQL where there is an ``executor``."""

    def __init__(self, console: Console, executor: Executor | None, shown_rows: int) -> None:
        self.console = console
        self.executor = executor
        self.shown_rows = shown_rows
        self.count = 0

    def __call__(self, step: Step) -> None:
        self.count += 1
        self.console.print(Text(f"Step {self.count}: ", "bold"), visible(step.sub_question), sep="", soft_wrap=True)
        self.console.print("  ", visible(step.sql), sep="", soft_wrap=True)
        if self.executor is not None:
            print_result(self.console, self.executor.run(step.sql), self.shown_rows, indent=2)

    def revise(self, steps: Sequence[Step]) -> None:
        """Print ``steps`` in the place of those that were printed."""
        self.console.print("Read as a whole, the answer has other steps:")
        self.count = 0
        for step in steps:
            self(step)


def print_answer(answered: Answered, printer: StepPrinter) -> None:
    """Print what stands below the steps. What went wrong is logged, as an error where there is no result."""
    console, completion, answer = printer.console, answered.streamed.completion, answered.streamed.answer
    console.print(Text("SQL", "bold"))
    console.print(visible(answered.sql), soft_wrap=True)
    if answered.result.error is not None:
        log.error("No result: %s", visible(answered.result.error))
    elif printer.executor is not None and answer.steps:
        console.print(f"The answer is the result of step {printer.count}.")
    else:
        print_result(console, answered.result, printer.shown_rows)
    if answer.steps and answer.guesses:
        console.print(f"Not in the trained format: {', '.join(answer.guesses)}.", soft_wrap=True)
    if completion.completion_tokens and not completion.finished:
        log.warning(
            "The answer was cut at %d tokens: inference.max_new_tokens, or the model's context, allows no more.",
            completion.completion_tokens,
        )
    if answered.streamed.votes is not None and answered.streamed.samples > 1:
        console.print(f"Votes: {answered.streamed.votes} of {answered.streamed.samples} samples have this result.")
    console.print(f"Tokens: {_tokens(answered.streamed.cost)}")


def _tokens(cost: Cost) -> str:
    if not cost.calls:
        return "none"
    if not cost.prompt_tokens:
        return "not counted by the server"
    cached = f" ({cost.cached_tokens} of them cached)" if cost.cached_tokens else ""
    calls = f", in {cost.calls} calls" if cost.calls > 1 else ""
    return f"{cost.prompt_tokens} prompt{cached}, {cost.completion_tokens} completion{calls}"


def agreement_table(answers: Sequence[Answered], groups: Sequence[int | None]) -> Table:
    """The answers side by side; ``groups`` are those of ``agreeing``."""
    table = Table(title="Agreement", title_justify="left")
    for column in ("", "model", "result", "same result as", "tokens"):
        table.add_column(column, overflow="fold")
    for position, (answer, group) in enumerate(zip(answers, groups, strict=True)):
        others = [str(other + 1) for other, of in enumerate(groups) if of == group and other != position]
        agrees = ", ".join(others) if group is not None and others else "none"
        tokens = str(answer.streamed.cost.prompt_tokens + answer.streamed.cost.completion_tokens)
        table.add_row(str(position + 1), visible(answer.name), visible(size_text(answer.result)), agrees, tokens)
    return table
