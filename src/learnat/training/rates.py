"""What optimiser steps were made of, and the rates that follow from the time they took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from learnat.training.batches import TokenBatch


@dataclass(frozen=True)
class Work:
    """What optimiser steps were made of."""

    tokens: int = 0  # fed to the model
    logical_tokens: int = 0  # of the same paths laid out one by one
    positions: int = 0  # tokens and padding
    pairs: int = 0
    questions: int = 0

    @classmethod
    def of(cls, packs: Sequence[TokenBatch]) -> Work:
        """The work of one optimiser step; looks at shapes only, so that nothing waits for the device."""
        return cls(
            tokens=sum(pack.tokens for pack in packs),
            logical_tokens=sum(pack.logical_tokens for pack in packs),
            positions=sum(pack.input_ids.numel() for pack in packs),
            pairs=sum(len(pack.margin) for pack in packs),
            questions=sum(pack.questions for pack in packs),
        )

    def __add__(self, other: Work) -> Work:
        return Work(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Interval:
    """Optimiser steps between two moments at which the device had caught up with the host."""

    steps: int = 0
    seconds: float = 0.0
    waited_s: float = 0.0  # of these, the training loop stood still for its next batch
    work: Work = Work()  # of all ranks

    def __add__(self, other: Interval) -> Interval:
        return Interval(
            self.steps + other.steps,
            self.seconds + other.seconds,
            self.waited_s + other.waited_s,
            self.work + other.work,
        )

    def rates(self) -> dict[str, float]:
        """By name, where s is ``seconds``; empty for an interval without steps.

        - ``steps_per_s``, ``questions_per_s`` and, in preference stages, ``pairs_per_s``: counts / s
        - ``pairs_per_step``, in preference stages
        - ``tokens_per_s``: tokens fed to the model / s, padding not counted
        - ``logical_tokens_per_s``: tokens of the same paths laid out one by one / s
        - ``padding_share``: 1 − tokens / positions of the forward passes
        - ``waiting_share``: seconds without a next batch at hand / s
        """
        if self.steps == 0:
            return {}
        work = self.work
        pairs = {"pairs_per_s": work.pairs / self.seconds, "pairs_per_step": work.pairs / self.steps}
        return {
            "steps_per_s": self.steps / self.seconds,
            "questions_per_s": work.questions / self.seconds,
            **(pairs if work.pairs else {}),
            "tokens_per_s": work.tokens / self.seconds,
            "logical_tokens_per_s": work.logical_tokens / self.seconds,
            "padding_share": 1 - work.tokens / work.positions,
            "waiting_share": self.waited_s / self.seconds,
        }

    def mfu(self, token_flops: float, peak: float) -> float:
        """Model FLOPs utilisation: FLOPs a token · tokens / s over ``peak``, the rate of all devices in FLOP/s."""
        return token_flops * self.work.tokens / self.seconds / peak
