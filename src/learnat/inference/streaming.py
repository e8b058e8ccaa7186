"""The answer to one question, told step by step while it is written where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from learnat.benchmarks.types import Database, Example
from learnat.inference.candidates import CandidateRunner, Cost, cost_of
from learnat.inference.engines.base import Completion, Decoding, Engine, Prompt, Request, StreamingEngine
from learnat.inference.parse import NO_SEMICOLON, Answer, parse_answer
from learnat.inference.strategy import Strategy
from learnat.synthesis.tree import Step


class StepReader:
    """Finds the steps of an answer that is still being written, each as soon as it is whole.

    ``steps`` are those found so far. What is written later can show that a step was none (the model was still
    thinking, or goes on with SQL in a code fence): the whole answer, once it is there, decides.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def read(self, text: str) -> list[Step]:
        """The steps that are new in ``text``, all that is written so far."""
        # Only whole lines: a literal whose closing quote is still to come would seem to end at a semicolon in it.
        parsed = parse_answer(text[: text.rfind("\n") + 1])
        # A statement that lacks its semicolon is whole once a later one has begun.
        whole = parsed.steps[:-1] if NO_SEMICOLON in parsed.guesses else parsed.steps
        new = list(whole[len(self.steps) :])
        self.steps += new
        return new


@dataclass(frozen=True)
class Streamed:
    """What a model wrote, and what the whole of it says.

    ``cost`` is that of all calls, of which ``completion`` is the answer's own. ``revised``: the steps that were told
    are not those of ``answer``. ``samples`` were drawn, of which ``votes`` have the answer's result; None where nothing
    was executed to choose it.
    """

    completion: Completion
    answer: Answer
    cost: Cost
    revised: bool = False
    samples: int = 1
    votes: int | None = None


def answer_question(
    strategy: Strategy,
    engine: Engine,
    database: Database,
    example: Example,
    runner: CandidateRunner,
    on_step: Callable[[Step], None],
) -> Streamed:
    """The answer that ``strategy`` finds to ``example``; ``on_step`` is told each of its steps.

    One sample is told while it is written; a vote or a repair is told when it is decided.
    """
    if not strategy.executes:
        return stream_answer(engine, strategy.prompt(engine.style, database, example), strategy.decoding, on_step)
    [(_, choice)] = strategy.answer(engine, [database], [example], runner)
    answer = parse_answer(choice.candidate.completion.text)
    for step in answer.steps:
        on_step(step)
    return Streamed(choice.candidate.completion, answer, choice.cost, samples=choice.samples, votes=choice.votes)


def stream_answer(engine: Engine, prompt: Prompt, decoding: Decoding, on_step: Callable[[Step], None]) -> Streamed:
    """The answer to ``prompt``; ``on_step`` is told each step of it as soon as it is whole.

    An engine that cannot be read meanwhile tells them all at its end.
    """
    reader = StepReader()

    def on_text(text: str) -> None:
        for step in reader.read(text):
            on_step(step)

    if isinstance(engine, StreamingEngine):
        completion = engine.stream(prompt, decoding, on_text)
    else:
        [written] = engine.generate([Request(prompt)], decoding)
        completion = written.completion
    answer = parse_answer(completion.text)
    told = len(reader.steps)
    revised = list(answer.steps[:told]) != reader.steps
    for step in () if revised else answer.steps[told:]:
        on_step(step)
    return Streamed(completion, answer, cost_of(completion), revised)
