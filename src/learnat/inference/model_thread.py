"""The thread that owns a local model and answers, in batches, what proposers in other threads ask."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import StopStringCriteria

from learnat.errors import LearnatError
from learnat.inference.batcher import Batcher
from learnat.inference.decoding import Row, stop_criteria
from learnat.inference.engines.base import Completion, Decoding
from learnat.inference.generate import complete, prepare
from learnat.inference.step_models import Loaded, StepModel
from learnat.synthesis.proposers.base import Request

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question:
    """One reply that is wanted. ``content`` is the step model's for ``request``; ``seed`` None: it is greedy."""

    request: Request
    content: Any
    seed: int | None


class ModelThread:
    """Loads ``model`` at the first question and completes batches of at most ``batch_size`` rows.

    A batch that a GPU has no memory for is halved, and so are those after it. Whatever else fails, loading included,
    ends the thread: everyone who asks gets one ``LearnatError``.
    """

    def __init__(self, model: StepModel, decoding: Decoding, batch_size: int, device: str) -> None:
        self._model = model
        self._decoding = decoding
        self._device = device
        self._loaded: Loaded | None = None
        self._stop: StopStringCriteria | None = None
        # Characters stand for tokens: the tokenizer is the owning thread's.
        self._batcher: Batcher[Question, Completion] = Batcher(self._answer, batch_size, lambda q: len(str(q.content)))

    def ask(self, questions: Sequence[Question]) -> list[Completion]:
        """Completions of ``questions``. Raises ``Closed`` or ``LearnatError``."""
        return self._batcher.ask(questions)

    def close(self) -> None:
        """Fail all who wait with ``Closed``; a batch under way ends at its next token. Then the weights are let go."""
        self._batcher.close()
        self._loaded = None

    def _answer(self, questions: Sequence[Question]) -> list[Completion]:
        try:
            loaded = self._loaded = self._loaded or self._load()
            prompts = {id(q.content): loaded.prompt(q.request, q.content) for q in _distinct(questions)}
            return self._complete(loaded, [Row(prompts[id(q.content)], q.seed) for q in questions])
        except LearnatError:
            raise
        except Exception as error:
            raise LearnatError(f"The proposer's model failed ({type(error).__name__}: {error}).") from error

    def _load(self) -> Loaded:
        loaded = self._model.load()
        prepare(loaded.policy, self._device)
        self._stop = stop_criteria(loaded.policy.tokenizer, self._model.stop)
        return loaded

    def _complete(self, loaded: Loaded, rows: Sequence[Row]) -> list[Completion]:
        try:
            return complete(loaded.policy, rows, self._decoding, self._stop, lambda: self._batcher.closed)
        except torch.OutOfMemoryError as error:
            if len(rows) == 1:
                raise LearnatError(
                    f"The GPU has no memory for a single prompt of {len(rows[0].prompt)} tokens: use a smaller model, "
                    "fewer sample values of columns, or proposer.device=cpu."
                ) from error
        # Out of the handler: the error's traceback holds the tensors that there was no memory for.
        torch.cuda.empty_cache()
        half = len(rows) // 2
        self._batcher.size = min(self._batcher.size, half)
        log.warning("The GPU has no memory for %d sequences at once: going on with %d.", len(rows), half)
        return self._complete(loaded, rows[:half]) + self._complete(loaded, rows[half:])


def _distinct(questions: Sequence[Question]) -> list[Question]:
    """One question for each content: the rows of a call share it."""
    return list({id(question.content): question for question in questions}.values())
