"""How next tokens are chosen and where a text ends, for the rows of one batch.

A sampled row draws from a generator of its own, so that what it gets does not depend on the rows beside it. (Padding
changes logits in their last digits: where two tokens are almost equally likely, another may be drawn all the same.)
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedTokenizerBase, StoppingCriteria, StopStringCriteria

from learnat.inference.engines.base import Decoding

FEW = 64
"""Tokens among which the nucleus is looked for first."""

BELOW_ONE = 1 - 2**-24
"""The largest float32 below 1."""


@dataclass(frozen=True)
class Row:
    """One text to be written.

    ``seed`` is that of its draws; None: it is decoded greedily. ``shared``: how many ids of the prompt, not all of
    them, other prompts may begin with too.
    """

    prompt: tuple[int, ...]
    seed: int | None = None
    shared: int = 0


class RowSampler(LogitsProcessor):
    """Leaves each sampled row one token, drawn by inverting the cumulative distribution; greedy rows stay as they are.

    Used with greedy decoding, which then takes the drawn token. One uniform number a row and token is all chance there
    is, whatever the size of the vocabulary; all are drawn beforehand.
    """

    def __init__(self, rows: Sequence[Row], decoding: Decoding, steps: int, device: torch.device) -> None:
        self.decoding = decoding
        self.sampled = torch.tensor([row.seed is not None for row in rows], device=device)[:, None]
        # As text a seed is hashed first: neighbouring numbers would begin alike.
        draws = [random.Random(str(row.seed)) for row in rows]
        uniform = torch.tensor([[draw.random() for _ in range(steps)] for draw in draws], device=device)
        # Rounded to float32 a number just below 1 becomes 1, and would draw the last token, of whatever probability.
        self.uniform = uniform.clamp(max=BELOW_ONE)
        self.step = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [rows, vocabulary] to scores."""
        likely, tokens = self._nucleus((scores / self.decoding.temperature).softmax(-1))
        cumulative = likely.cumsum(-1)
        # On a GPU transformers runs a step or two past the last one before it looks whether all rows have ended.
        uniform = self.uniform[:, min(self.step, self.uniform.shape[1] - 1), None]
        self.step += 1
        place = (cumulative <= uniform * cumulative[:, -1:]).sum(-1, keepdim=True).clamp(max=likely.shape[-1] - 1)
        drawn = place if tokens is None else tokens.gather(-1, place)
        only = torch.full_like(scores, -torch.inf).scatter(-1, drawn, 0.0)
        return torch.where(self.sampled, only, scores)

    def _nucleus(self, probabilities: Tensor) -> tuple[Tensor, Tensor | None]:
        """Probabilities to draw from, 0 outside of the nucleus, and their tokens (None: all, in order).

        Sorting the vocabulary would cost more than a small model's step, and a nucleus seldom has many tokens.
        """
        if self.decoding.top_p == 1.0:
            return probabilities, None
        top, tokens = probabilities.topk(min(FEW, probabilities.shape[-1]))
        if not bool(((top.sum(-1, keepdim=True) >= self.decoding.top_p) | ~self.sampled).all()):
            top, tokens = probabilities.sort(-1, descending=True)
        before = top.cumsum(-1) - top
        return top.where(before < self.decoding.top_p, 0.0), tokens


Watch = Callable[[Tensor], bool]
"""Told, at every token, what all rows have written so far [rows, tokens], in any order of rows; True ends them."""


def go_on(written: Tensor) -> bool:
    """The ``Watch`` that never ends anything."""
    return False


class RowEnds(StoppingCriteria):
    """Ends each row at ``stop`` or when its room is used up, and remembers where; end tokens are transformers' part.

    Args:
        width: of the padded prompts.
        room: tokens that each row may have.
        stop: what finds the end of a text, or None.
        watch: told of every token; all rows end once it says so.
    """

    def __init__(
        self,
        width: int,
        room: Sequence[int],
        stop: StopStringCriteria | None,
        watch: Watch,
        device: torch.device,
    ) -> None:
        self.width = width
        self.limits = torch.tensor(room, device=device)
        self.stop = stop
        self.watch = watch
        self.stopped_at = torch.zeros_like(self.limits)

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: object) -> Tensor:
        """Which rows [rows] have ended."""
        written = input_ids[:, self.width :]
        length = written.shape[1]
        if self.stop is not None:
            # Only what was written counts: prompts end in the stop string of the step before.
            found = self.stop(written, scores) & (self.stopped_at == 0)
            self.stopped_at = torch.where(found, length, self.stopped_at)
        ended = (self.stopped_at > 0) | (self.limits <= length)
        return torch.ones_like(ended) if self.watch(written) else ended

    def lengths(self) -> list[tuple[int, bool]]:
        """For each row how many tokens it may have at most, and whether it ended at the stop string there."""
        stopped = self.stopped_at.tolist()
        return [(at or limit, at > 0) for at, limit in zip(stopped, self.limits.tolist(), strict=True)]


def stop_criteria(tokenizer: PreTrainedTokenizerBase, stop: str | None) -> StopStringCriteria | None:
    """Finds ``stop`` also where it begins or ends inside a token. Make it once: it reads the whole vocabulary."""
    return StopStringCriteria(tokenizer, stop) if stop is not None else None
