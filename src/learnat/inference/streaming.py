"""One answer, read while it is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from learnat.inference.engines.base import Completion, Decoding, Engine, Prompt, StreamingEngine
from learnat.inference.parse import NO_SEMICOLON, Answer, parse_answer
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

    ``revised``: the steps that were told are not those of ``answer``.
    """

    completion: Completion
    answer: Answer
    revised: bool


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
        [written] = engine.generate([prompt], decoding)
        completion = written.completion
    answer = parse_answer(completion.text)
    told = len(reader.steps)
    revised = list(answer.steps[:told]) != reader.steps
    for step in () if revised else answer.steps[told:]:
        on_step(step)
    return Streamed(completion, answer, revised)
