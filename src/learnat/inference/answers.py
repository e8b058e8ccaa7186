"""Answers of a model to all questions of a split, kept on disk as they come so that a stopped run resumes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from learnat.benchmarks.types import Benchmark, Example
from learnat.inference.engines.base import Completion, Decoding, Engine
from learnat.inference.parse import parse_answer
from learnat.inference.prompts import question_prompt
from learnat.synthesis.tree import Step


@dataclass(frozen=True)
class Answer:
    """One question's answer.

    ``guesses``: what the parser had to assume; ``finished``: the text was complete; ``failure``: why there is none.
    ``cached_tokens`` are those of ``prompt_tokens`` that were not computed for this question.
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


def answer_of_sql(index: int, sql: str) -> Answer:
    """Somebody else's prediction: SQL without steps, of unknown cost."""
    return Answer(index, sql, (), (), 0, 0, True)


def token_totals(answers: Sequence[Answer]) -> dict[str, int]:
    """What all ``answers`` cost together: tokens of prompts, those among them that were cached, and of completions."""
    return {
        "prompt": sum(answer.prompt_tokens for answer in answers),
        "cached": sum(answer.cached_tokens for answer in answers),
        "completion": sum(answer.completion_tokens for answer in answers),
    }


def answer_split(
    engine: Engine,
    benchmark: Benchmark,
    split: str,
    decoding: Decoding,
    path: Path,
    advance: Callable[[int], None],
) -> list[Answer]:
    """The answers to ``split``'s questions in its order.

    Each is appended to ``path`` when it is there; what ``path`` holds already is not asked again, unless it was
    another model's answer, to other data, or decoded otherwise: the file's first line says whose answers it holds.
    ``advance`` is told how many questions are done.
    """
    examples = benchmark.examples(split)
    asked = [engine.identity, engine.style.hash, benchmark.fingerprint(split), repr(decoding)]
    key = json.dumps({"answers_of": hashlib.sha256("\n".join(asked).encode()).hexdigest()})
    done = _read(path, key)
    advance(len(done))
    open_examples = [example for example in examples if example.index not in done]
    prompts = [question_prompt(engine.style, benchmark.database(e.db_id), e) for e in open_examples]
    with path.open("a", encoding="utf-8") as file:
        for written in engine.generate(prompts, decoding):
            answer = _answer(open_examples[written.position], written.completion)
            file.write(json.dumps(asdict(answer), ensure_ascii=False) + "\n")
            file.flush()
            done[answer.index] = answer
            advance(1)
    return [done[example.index] for example in examples]


def _answer(example: Example, completion: Completion) -> Answer:
    parsed = parse_answer(completion.text)
    return Answer(
        example.index,
        parsed.sql,
        parsed.steps,
        parsed.guesses,
        completion.prompt_tokens,
        completion.completion_tokens,
        completion.finished,
        completion.cached_tokens,
        completion.failure,
    )


def _read(path: Path, key: str) -> dict[int, Answer]:
    """The answers in ``path`` if they are those of ``key``; otherwise the file is begun anew.

    A last line torn by a kill is cut off, so that the next one starts a line of its own.
    """
    text = path.read_bytes() if path.is_file() else b""
    whole = text[: text.rfind(b"\n") + 1]
    # Not splitlines(): an answer may hold other line separators than the one between rows.
    first, *lines = whole.decode().split("\n")[:-1] or [""]
    if first != key:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(key + "\n", encoding="utf-8")
        return {}
    if len(whole) < len(text):
        path.write_bytes(whole)
    answers = [_from_json(json.loads(line)) for line in lines]
    return {answer.index: answer for answer in answers}


def _from_json(row: dict[str, Any]) -> Answer:
    return Answer(**{**row, "steps": tuple(Step(**step) for step in row["steps"]), "guesses": tuple(row["guesses"])})
