"""What training logs, and how it gets there without a host sync inside a step.

The loggers get one row every ``trainer.log_every_n_steps`` optimiser steps, and one for the steps left at the end; its
``step`` is the number of optimiser steps done. Values are means over the steps since the row before, or since a resume;
the pairs of a step count alike, however it is cut into packs. The stage's name stands before each name
(``sft-train/loss``).

================================  =====================================================================================
``train/loss``                    what is minimised
``train/gradient_norm``           norm of all gradients before clipping; without clipping, of the row's last step
``train/learning_rate``           of the row's last step; under Muon and AdamW together, Muon's
``train/preference_loss``         preference stages: the loss without the SFT term; all rows below too
``train/nll``                     −log π(token), mean over the chosen steps' tokens
``train/rewards/chosen``          β(log π − log π_ref) of the chosen steps; ``…/rejected`` of the rejected ones
``train/rewards/accuracy``        share of the pairs whose chosen step has the higher reward
``train/rewards/ties``            share of the pairs with equal rewards: all of them, up to rounding, at the start
``train/margin/achieved``         chosen less rejected reward
``train/margin/asked``            the margin that the loss asks for, α·m(R_w, R_l)
``train/logprobs/chosen``         log π(step | prompt, earlier steps), summed over its tokens; ``…/rejected`` likewise
``throughput/…``                  see ``rates.Interval.rates``; ``throughput/mfu``: see ``flops``
``memory/…``                      see ``throughput.peak_memory_gib``
================================  =====================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm


class StepMetrics:
    """Metrics of optimiser steps, summed where they were computed until somebody reads them."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps: dict[str, int] = {}

    def add(self, step: Mapping[str, Tensor]) -> None:
        """Count the metrics (scalars) of one optimiser step."""
        for name, value in step.items():
            value = value.detach()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._steps[name] = self._steps.get(name, 0) + 1

    def take(self) -> dict[str, Tensor]:
        """Each metric's mean over the steps that had it since the last call, still on its device."""
        means = {name: value / self._steps[name] for name, value in self._sums.items()}
        self._sums, self._steps = {}, {}
        return means

    def are_finite(self) -> bool:
        """Whether all metrics since ``take`` are finite numbers on this rank; waits for the device."""
        return not self._sums or bool(torch.stack([value.double() for value in self._sums.values()]).isfinite().all())


def is_logged(step: int, every: int) -> bool:
    """Whether the loggers get a row after ``step`` optimiser steps; ``every`` is the trainer's log_every_n_steps."""
    return every > 0 and step % every == 0


def gradient_norm(parameters: Iterable[nn.Parameter], bound: float) -> Tensor:
    """The 2-norm of all gradients together, which are then scaled down to norm ``bound`` (0: left as they are)."""
    trained = [parameter for parameter in parameters if parameter.grad is not None]
    norm = get_total_norm([parameter.grad for parameter in trained if parameter.grad is not None])
    if bound > 0:
        clip_grads_with_norm_(trained, bound, norm)
    # Of a sharded model every rank has a part of the norm, too.
    return norm.full_tensor() if isinstance(norm, DTensor) else norm
