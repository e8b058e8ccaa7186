"""The engine that runs a policy in this process, with transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import StopStringCriteria

from learnat.errors import LearnatError
from learnat.inference.decoding import Row, stop_criteria
from learnat.inference.engines.base import Decoding, Prompt, Written
from learnat.inference.engines.chat_encoding import ChatEncoder
from learnat.inference.generate import check_device, complete, prepare
from learnat.synthesis.checks import check_count
from learnat.training import models
from learnat.training.models import Policy
from learnat.training.prompts import PromptStyle


@dataclass(frozen=True)
class TransformersSettings:
    """Texts are written ``batch_size`` at a time on ``device``: ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``.

    Raises ``LearnatError`` for a value that is not allowed here.
    """

    batch_size: int = 64
    device: str = "auto"

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
        return TransformersEngine(policy, self.batch_size, self.device)


class TransformersEngine:
    """Writes batches of texts, those after the longest prompts first: what has no room shows at once."""

    def __init__(self, policy: Policy, batch_size: int, device: str) -> None:
        self.policy = policy
        self.name = policy.name
        self.identity = policy.source
        self.style = policy.style
        self._batch_size = batch_size
        self._device = device
        self._encoder = ChatEncoder(policy.tokenizer)
        self._stops: dict[str | None, StopStringCriteria | None] = {}

    def close(self) -> None:
        """The policy stays with whoever gave it."""

    def generate(
        self, prompts: Sequence[Prompt], decoding: Decoding, samples: Sequence[int] = (0,)
    ) -> Iterator[Written]:
        was_training = self.policy.model.training
        prepare(self.policy, self._device)
        encoded = [self._encoder.encode(prompt) for prompt in prompts]
        order = sorted(range(len(prompts)), key=lambda i: -len(encoded[i].ids))
        wanted = [(i, sample) for i in order for sample in samples]
        try:
            for start in range(0, len(wanted), self._batch_size):
                batch = wanted[start : start + self._batch_size]
                rows = [Row(encoded[i].ids, decoding.sample_seed(prompts[i], sample)) for i, sample in batch]
                completions = complete(self.policy, rows, decoding, self._stop(decoding.stop))
                for (i, sample), completion in zip(batch, completions, strict=True):
                    yield Written(i, sample, completion)
        finally:
            self.policy.model.train(was_training)

    def _stop(self, stop: str | None) -> StopStringCriteria | None:
        if stop not in self._stops:
            self._stops[stop] = stop_criteria(self.policy.tokenizer, stop)
        return self._stops[stop]
