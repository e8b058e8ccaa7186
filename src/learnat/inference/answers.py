"""Answers of a model to all questions of a split."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learnat.benchmarks.types import Benchmark
from learnat.inference.candidates import CandidateRunner
from learnat.inference.engines.base import Engine
from learnat.inference.recorded import RecordedEngine
from learnat.inference.strategy import Choice, Strategy
from learnat.synthesis.tree import Step

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """One question's answer.

    ``guesses``: what the parser had to assume; ``finished``: the text was complete; ``failure``: why there is none.
    Tokens are those of all ``calls``, prompts that the model never read not among them; ``cached_tokens`` are those of
    ``prompt_tokens`` that were not computed for this question. ``samples`` of the calls were first answers (the others
    repaired them), and ``votes`` of them agree with the answer (None: no vote was taken).
    """

    index: int
    sql: str
    steps: tuple[Step, ...]
    guesses: tuple[str, ...]
    prompt_tokens: int
    completion_tokens: int
    finished: bool
    cached_tokens: int = 0
    failure: str | None = None
    calls: int = 1
    samples: int = 1
    votes: int | None = None


def answer_of_sql(index: int, sql: str) -> Answer:
    """Somebody else's prediction: SQL without steps, of unknown cost."""
    return Answer(index, sql, (), (), 0, 0, True, calls=0, samples=0)


def token_totals(answers: Sequence[Answer]) -> dict[str, int]:
    """What all ``answers`` cost together: calls, tokens of prompts, those among them cached, and of completions."""
    return {
        "calls": sum(answer.calls for answer in answers),
        "prompt": sum(answer.prompt_tokens for answer in answers),
        "cached": sum(answer.cached_tokens for answer in answers),
        "completion": sum(answer.completion_tokens for answer in answers),
    }


def asking_record(answers: Sequence[Answer], strategy: Strategy, benchmark: Benchmark, split: str) -> dict[str, Any]:
    """What a score's provenance says of how its ``answers`` were got.

    ``tokens``: what they cost. ``unanswered``: how many questions have none, which count as wrong, and are no statement
    about the model (``Answer.failure``). ``demonstrations``: which solved questions prompts showed; None: none.
    """
    shown = strategy.demonstrations
    return {
        "tokens": token_totals(answers),
        "unanswered": sum(answer.failure is not None for answer in answers),
        "demonstrations": shown.record(benchmark, split) if shown is not None else None,
    }


def answer_split(
    engine: Engine,
    benchmark: Benchmark,
    split: str,
    strategy: Strategy,
    runner: CandidateRunner,
    path: Path,
    advance: Callable[[int], None],
) -> list[Answer]:
    """The answers to ``split``'s questions in its order.

    Args:
        runner: what executes the SQL that ``strategy`` chooses from.
        path: a file that keeps what the model writes: what it holds is not asked again, see ``RecordedEngine``.
        advance: told how many questions are done.

    Whether ``strategy`` may ask ``split`` (``Strategy.check``) is to be seen before a model is loaded, hence by the
    caller. Raises ``LearnatError`` where the engine cannot go on.
    """
    examples = benchmark.examples(split)
    done: dict[int, Answer] = {}
    databases = [benchmark.database(example.db_id) for example in examples]
    for place, choice in strategy.answer(RecordedEngine(engine, path), databases, examples, runner):
        done[place] = _answer(examples[place].index, choice)
        advance(1)
    _tell_failures(split, done.values())
    return [done[place] for place in range(len(examples))]


def _tell_failures(split: str, answers: Collection[Answer]) -> None:
    reasons = Counter(answer.failure for answer in answers if answer.failure is not None)
    if reasons:
        told = ", ".join(f"{reason}: {count}" for reason, count in reasons.most_common())
        log.warning(
            "%d of %d questions of %r have no answer (%s), and count as wrong.",
            reasons.total(),
            len(answers),
            split,
            told,
        )


def _answer(index: int, choice: Choice) -> Answer:
    candidate = choice.candidate
    return Answer(
        index,
        candidate.sql,
        candidate.steps,
        candidate.guesses,
        choice.cost.prompt_tokens,
        choice.cost.completion_tokens,
        candidate.completion.finished,
        choice.cost.cached_tokens,
        candidate.completion.failure,
        choice.cost.calls,
        choice.samples,
        choice.votes,
    )
