"""The predictions of a file as answers to a split, with what is to be said of them; for evaluate.py."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from learnat.benchmarks.types import Benchmark
from learnat.evaluation.predictions import check_positions, check_predictions, read_predictions
from learnat.evaluation.scores import Verdict
from learnat.inference.answers import Answer, answer_of_sql

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Given:
    """Whose ``answers`` they are, and what identifies the file: ``digest`` is of the bytes that were read."""

    stage: str
    answers: Sequence[Answer]
    name: str
    digest: str

    @property
    def record(self) -> str:
        """A name and a digest of the content, by which a file is known again."""
        return f"{self.name}, {self.digest}"


def read_given(benchmark: Benchmark, split: str, path: str, stage: str | None, key: str) -> Given:
    """What the file ``path`` holds for ``split``; ``key`` is the setting that ``stage`` comes from.

    Raises ``LearnatError`` for a file that cannot be read, or does not fit ``split``.
    """
    predictions = read_predictions(path, split, None if stage is None else str(stage), key)
    examples = benchmark.examples(split)
    check_positions(predictions, benchmark.size(split), len(examples), split)
    check_predictions(predictions, examples, split)
    others = len(predictions.keys() - {example.index for example in examples})
    if others:
        # Right where questions were left out on purpose, and all there is to see where the file is another split's.
        _log.warning("%s: %d of its %d predictions are for no question that is scored", path, others, len(predictions))
    if predictions.not_text:
        _log.warning(
            "%s: %d of its %d answers are no text (the first is of question %d), and count as wrong",
            path,
            len(predictions.not_text),
            len(predictions),
            predictions.not_text[0],
        )
    answers = [answer_of_sql(example.index, predictions[example.index]) for example in examples]
    name = Path(path).name
    return Given(predictions.stage or name, answers, Path(predictions.source).name, predictions.digest[:12])


def tell_failures(stage: str, verdicts: Sequence[Verdict]) -> None:
    """Warn where that predictions do not run says more about their file than about a model."""
    if verdicts and not any(verdict.executed for verdict in verdicts):
        first = verdicts[0]
        error = textwrap.shorten(first.error or "", 160, placeholder=" …")
        _log.warning("%s: none of the %d predictions ran; question %d: %s", stage, len(verdicts), first.index, error)
    fenced = sum(verdict.predicted.lstrip().startswith("```") for verdict in verdicts)
    if fenced:
        _log.warning(
            "%s: %d of the %d predictions begin with a Markdown fence (```), which is no SQL: take fences off",
            stage,
            fenced,
            len(verdicts),
        )
