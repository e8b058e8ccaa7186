"""Who writes a batch of texts with a policy in memory, by the fastest way that the model and the memory allow."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from transformers import StopStringCriteria

from learnat.errors import LearnatError
from learnat.inference import prefix_attention
from learnat.inference.decoding import Row, Watch, go_on, stop_criteria
from learnat.inference.engines.base import Completion, Decoding
from learnat.inference.generate import complete, prepare
from learnat.inference.prefix_cache import PrefixCache
from learnat.inference.prefix_decoding import complete_sharing
from learnat.training.logprobs import causal_lm
from learnat.training.models import Policy

log = logging.getLogger(__name__)


class BatchWriter:
    """Completes batches of rows. The policy is the writer's own from ``start`` to ``release``.

    A batch that a GPU has no memory for is halved, and ``size`` with it.

    Args:
        size: rows of a batch, at most; whoever makes batches is to look at it each time.
        device: ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``.
        shared_prefix: whether keys and values of what rows begin with are shared, where the model is of a family for
            which that is known to be exact; otherwise every row is computed whole, by transformers' ``generate``.
    """

    def __init__(self, policy: Policy, size: int, device: str, shared_prefix: bool = True) -> None:
        self.size = size
        self._policy = policy
        self._device = device
        self._shares = shared_prefix and prefix_attention.is_supported(policy.model)
        self._prefixes = PrefixCache()
        self._stops: dict[str | None, StopStringCriteria | None] = {}

    def start(self) -> None:
        """Move the policy to the device and make it ready to write."""
        prepare(self._policy, self._device)
        if self._shares:
            prefix_attention.register()
            causal_lm(self._policy.model).set_attn_implementation(prefix_attention.ATTENTION_NAME)

    def release(self) -> None:
        """Leave the policy to others, who may change its weights."""
        self._prefixes.clear()
        causal_lm(self._policy.model).set_attn_implementation(self._policy.attention)

    def write(self, rows: Sequence[Row], decoding: Decoding, watch: Watch = go_on) -> list[Completion]:
        """The completions of ``rows``; see ``generate.complete``.

        Raises ``LearnatError`` when there is no memory for a single row.
        """
        try:
            return self._complete(rows, decoding, watch)
        except torch.OutOfMemoryError as error:
            if len(rows) == 1:
                raise LearnatError(
                    f"The GPU has no memory for a single prompt of {len(rows[0].prompt)} tokens: use a smaller model, "
                    "fewer sample values of columns, or device=cpu."
                ) from error
        # Out of the handler: the error's traceback holds the tensors that there was no memory for.
        self._prefixes.clear()
        torch.cuda.empty_cache()
        half = len(rows) // 2
        self.size = min(self.size, half)
        log.warning("The GPU has no memory for %d sequences at once: going on with %d.", len(rows), half)
        return self.write(rows[:half], decoding, watch) + self.write(rows[half:], decoding, watch)

    def _complete(self, rows: Sequence[Row], decoding: Decoding, watch: Watch) -> list[Completion]:
        if decoding.stop not in self._stops:
            self._stops[decoding.stop] = stop_criteria(self._policy.tokenizer, decoding.stop)
        stop = self._stops[decoding.stop]
        if self._shares:
            return complete_sharing(self._policy, rows, decoding, self._prefixes, stop, watch)
        return complete(self._policy, rows, decoding, stop, watch)
