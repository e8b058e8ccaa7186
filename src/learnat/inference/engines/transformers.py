"""The engine that runs a policy in this process, with transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from learnat.errors import LearnatError
from learnat.inference.decoding import Row
from learnat.inference.engines.base import Completion, Decoding, Engine, Prompt, Request, Written
from learnat.inference.engines.chat_encoding import ChatEncoder
from learnat.inference.generate import check_device
from learnat.inference.writer import BatchWriter
from learnat.synthesis.checks import check_count
from learnat.training import models
from learnat.training.models import Policy
from learnat.training.prompts import PromptStyle


@dataclass(frozen=True)
class TransformersSettings:
    """How a policy writes: see ``BatchWriter``, whose ``size`` is ``batch_size``.

    Raises ``LearnatError`` for a value that is not allowed here.
    """

    batch_size: int = 64
    device: str = "auto"
    shared_prefix: bool = True

    def __post_init__(self) -> None:
        check_count("engine.batch_size", self.batch_size)
        check_device("engine.device", self.device)

    def open(self, checkpoint: str | Path | None, style: PromptStyle) -> TransformersEngine:
        if checkpoint is None:
            raise LearnatError(
                "Give what to ask: checkpoint=<run folder>/checkpoints/<stage> (a policy that a run trained), or "
                "engine=openai engine.model=NAME engine.base_url=URL (a server's model)."
            )
        return self.over(models.load(checkpoint))

    def over(self, policy: Policy) -> TransformersEngine:
        """The engine over a policy that is in memory already. Only while it writes is the policy its own."""
        return TransformersEngine(policy, BatchWriter(policy, self.batch_size, self.device, self.shared_prefix))


class TransformersEngine(Engine):
    """Writes batches of texts, prompts that begin alike side by side, and of these the longest first."""

    def __init__(self, policy: Policy, writer: BatchWriter) -> None:
        self.policy = policy
        self.name = policy.name
        self.identity = policy.source
        self.style = policy.style
        self._writer = writer
        self._encoder = ChatEncoder(policy.tokenizer)
        self._sessions, self._was_training = 0, False

    @contextmanager
    def session(self) -> Iterator[None]:
        """The policy is the writer's meanwhile."""
        if not self._sessions:
            self._was_training = self.policy.model.training
        self._sessions += 1
        try:
            if self._sessions == 1:
                self._writer.start()
            yield
        finally:
            self._sessions -= 1
            # Sessions of generators may end in any order.
            if not self._sessions:
                self._writer.release()
                self.policy.model.train(self._was_training)

    def close(self) -> None:
        """The policy stays with whoever gave it."""

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Written]:
        with self.session():
            waiting = self._rows(requests, decoding)
            while waiting:
                batch, waiting = waiting[: self._writer.size], waiting[self._writer.size :]
                completions = self._writer.write([row for _, _, row in batch], decoding)
                for (position, sample, _), completion in zip(batch, completions, strict=True):
                    yield Written(position, sample, completion)

    def stream(self, prompt: Prompt, decoding: Decoding, on_text: Callable[[str], None]) -> Completion:
        def watch(written: Tensor) -> bool:
            tokens = (token for token in written[0].tolist() if token not in end_tokens)
            on_text(self.policy.tokenizer.decode(list(tokens)))
            return False

        end_tokens = self.policy.end_tokens
        [(_, _, row)] = self._rows([Request(prompt)], decoding)
        with self.session():
            [completion] = self._writer.write([row], decoding, watch)
        return completion

    def _rows(self, requests: Sequence[Request], decoding: Decoding) -> list[tuple[int, int, Row]]:
        """What is to be written, in this order: those of a longest prompt first, so that a lack of memory shows."""
        encoded = [self._encoder.encode(request.prompt) for request in requests]
        longest: dict[tuple[int, ...], int] = {}
        for prompt in encoded:
            beginning = prompt.ids[: prompt.shared]
            longest[beginning] = max(longest.get(beginning, 0), len(prompt.ids))

        def key(position: int) -> tuple[int, tuple[int, ...], int]:
            prompt = encoded[position]
            beginning = prompt.ids[: prompt.shared]
            return -longest[beginning], beginning, -len(prompt.ids)

        return [
            (i, sample, Row(encoded[i].ids, decoding.sample_seed(requests[i].prompt, sample), encoded[i].shared))
            for i in sorted(range(len(requests)), key=key)
            for sample in requests[i].samples
        ]
