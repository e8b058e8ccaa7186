"""The thread that owns a local model and answers, in batches, what proposers in other threads ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from learnat.errors import LearnatError
from learnat.inference.batcher import Batcher
from learnat.inference.decoding import Row
from learnat.inference.engines.base import Completion, Decoding
from learnat.inference.step_models import Loaded, StepModel
from learnat.inference.writer import BatchWriter
from learnat.synthesis.proposers.base import Request


@dataclass(frozen=True)
class Question:
    """One reply that is wanted. ``content`` is the step model's for ``request``; ``seed`` None: it is greedy."""

    request: Request
    content: Any
    seed: int | None


class ModelThread:
    """Loads ``model`` at the first question and completes batches of at most ``batch_size`` rows.

    Whatever fails, loading included, ends the thread: everyone who asks gets one ``LearnatError``.
    """

    def __init__(self, model: StepModel, decoding: Decoding, batch_size: int, device: str) -> None:
        self._model = model
        self._decoding = decoding
        self._device = device
        self._loaded: Loaded | None = None
        self._writer: BatchWriter | None = None
        # Characters stand for tokens: the tokenizer is the owning thread's.
        self._batcher: Batcher[Question, Completion] = Batcher(self._answer, batch_size, lambda q: len(str(q.content)))

    def ask(self, questions: Sequence[Question]) -> list[Completion]:
        """Completions of ``questions``. Raises ``Closed`` or ``LearnatError``."""
        return self._batcher.ask(questions)

    def close(self) -> None:
        """Fail all who wait with ``Closed``; a batch under way ends at its next token. Then the weights are let go."""
        self._batcher.close()
        self._loaded = self._writer = None

    def _answer(self, questions: Sequence[Question]) -> list[Completion]:
        try:
            loaded = self._loaded = self._loaded or self._load()
            prompts = {id(q.content): loaded.prompt(q.request, q.content) for q in _distinct(questions)}
            rows = [Row(prompts[id(q.content)].ids, q.seed, prompts[id(q.content)].shared) for q in questions]
            return self._write(rows)
        except LearnatError:
            raise
        except Exception as error:
            raise LearnatError(f"The proposer's model failed ({type(error).__name__}: {error}).") from error

    def _load(self) -> Loaded:
        loaded = self._model.load()
        self._writer = BatchWriter(loaded.policy, self._batcher.size, self._device)
        self._writer.start()
        return loaded

    def _write(self, rows: Sequence[Row]) -> list[Completion]:
        assert self._writer is not None, "it comes with the model"
        completions = self._writer.write(rows, self._decoding, lambda _: self._batcher.closed)
        self._batcher.size = self._writer.size
        return completions


def _distinct(questions: Sequence[Question]) -> list[Question]:
    """One question for each content: the rows of a call share it."""
    return list({id(question.content): question for question in questions}.values())
