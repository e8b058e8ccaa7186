"""The losses, each a small module over named log-probabilities.

Notation: ``h = β[(log π(y_w) − log π_ref(y_w)) − (log π(y_l) − log π_ref(y_l))]`` for a chosen step y_w and a rejected
step y_l with the same prefix; log-probs are sums over the step's own tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from learnat.errors import LearnatError, nearest
from learnat.synthesis.checks import check_number, check_positive


@dataclass(frozen=True)
class PairLogProbs:
    """Log-probs [P] of the chosen and rejected steps under one policy."""

    chosen: Tensor
    rejected: Tensor


class SftLoss(nn.Module):
    """Token-mean cross-entropy over the chosen paths; a node on several paths counts once for each of them."""

    name = "sft"

    def forward(self, token_logprobs: Tensor, token_weight: Tensor) -> Tensor:
        """Weighted *sum* of −log π over tokens [T]; the caller divides by the optimiser step's total weight."""
        return -(token_logprobs * token_weight.to(token_logprobs.dtype)).sum()


class Margin(nn.Module):
    """m(R_w, R_l), the margin that MADPO asks the policy to win by, from the reward difference R_w − R_l.

    ``linear`` is the difference itself; ``log`` its logarithm, as in ODPO and the authors' public script (≤ 0 for
    rewards in [0, 1] and −∞ at ties, hence clamped at ``floor`` > 0); ``none`` is 0, which makes MADPO DPO.
    """

    def __init__(self, transform: str = "linear", floor: float = 1e-3) -> None:
        super().__init__()
        known = ("linear", "log", "none")
        if transform not in known:
            raise LearnatError(f"loss.margin.transform={transform!r} is not known. {nearest(str(transform), known)}")
        check_positive("loss.margin.floor", floor)
        self.transform = transform
        self.floor = floor

    def forward(self, difference: Tensor) -> Tensor:
        if self.transform == "linear":
            return difference
        if self.transform == "log":
            return difference.clamp_min(self.floor).log()
        return torch.zeros_like(difference)


class PreferenceLoss(nn.Module):
    """What the preference losses share: β, label smoothing ε (the share of pairs taken to be swapped), the SFT term.

    ``nll_weight`` ≥ 0 scales a token-mean cross-entropy of the chosen steps, added by the training module.
    At β = 0 pairs teach nothing, which leaves the SFT term as a control. Raises ``LearnatError`` unless β ≥ 0 and ε is
    in [0, ½): from ½ on, the rejected step would be learnt.
    """

    name = "preference"

    def __init__(self, beta: float = 0.1, label_smoothing: float = 0.0, nll_weight: float = 0.0) -> None:
        super().__init__()
        check_number("loss.beta", beta, least=0.0)
        check_number("loss.label_smoothing", label_smoothing, least=0.0, below=0.5)
        check_number("loss.nll_weight", nll_weight, least=0.0)
        self.beta = beta
        self.label_smoothing = label_smoothing
        self.nll_weight = nll_weight

    def rewards(self, policy: PairLogProbs, reference: PairLogProbs) -> PairLogProbs:
        """Implicit rewards β(log π − log π_ref) of both sides."""
        return PairLogProbs(
            self.beta * (policy.chosen - reference.chosen), self.beta * (policy.rejected - reference.rejected)
        )

    def asked_margin(self, difference: Tensor) -> Tensor:
        """The margin [P] by which h must be positive, for reward differences R_w − R_l [P]."""
        return torch.zeros_like(difference)

    def forward(self, policy: PairLogProbs, reference: PairLogProbs, difference: Tensor) -> Tensor:
        """Loss of each pair [P]; ``difference`` is R_w − R_l [P]."""
        rewards = self.rewards(policy, reference)
        h = rewards.chosen - rewards.rejected
        margin = self.asked_margin(difference.to(h.dtype))
        return (1 - self.label_smoothing) * self.penalty(h - margin) + self.label_smoothing * self.penalty(-h - margin)

    def penalty(self, advantage: Tensor) -> Tensor:
        """The loss of winning by ``advantage`` [P] more than was asked."""
        return -logsigmoid(advantage)


class DpoLoss(PreferenceLoss):
    """Rafailov et al. 2023: −log σ(h); with label smoothing, conservative DPO."""

    name = "dpo"


class IpoLoss(PreferenceLoss):
    """Azar et al. 2023, eq. 17: (h/β − 1/(2β))², on log-prob sums.

    TRL's ``ipo`` averages each log-ratio over its tokens instead, so that its values and its β are not comparable.
    Raises ``LearnatError`` unless β > 0.
    """

    name = "ipo"

    def __init__(self, beta: float = 0.1, label_smoothing: float = 0.0, nll_weight: float = 0.0) -> None:
        check_positive("loss.beta", beta)
        super().__init__(beta, label_smoothing, nll_weight)

    def penalty(self, advantage: Tensor) -> Tensor:
        return (advantage / self.beta - 1 / (2 * self.beta)) ** 2


class MadpoLoss(PreferenceLoss):
    """Margin-aware DPO (LearNAT, arXiv 2504.02327): −log σ(h − α·m(R_w, R_l)), α ≥ 0."""

    name = "madpo"

    def __init__(
        self,
        beta: float = 0.1,
        alpha: float = 1.0,
        margin: Margin | None = None,
        label_smoothing: float = 0.0,
        nll_weight: float = 0.0,
    ) -> None:
        super().__init__(beta, label_smoothing, nll_weight)
        check_number("loss.alpha", alpha, least=0.0)
        self.alpha = alpha
        self.margin = margin or Margin()

    def asked_margin(self, difference: Tensor) -> Tensor:
        return self.alpha * self.margin(difference)
