"""The losses against their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from learnat.errors import LearnatError
from learnat.training.losses import DpoLoss, IpoLoss, MadpoLoss, Margin, PairLogProbs, PreferenceLoss, SftLoss

CHOSEN, REJECTED = torch.tensor([-3.0, -8.0, -1.0]), torch.tensor([-4.0, -2.0, -1.0])
REF_CHOSEN, REF_REJECTED = torch.tensor([-3.5, -7.0, -1.0]), torch.tensor([-3.0, -2.5, -1.0])
DIFFERENCE = torch.tensor([0.5, 0.2, 0.0])
POLICY, REFERENCE = PairLogProbs(CHOSEN, REJECTED), PairLogProbs(REF_CHOSEN, REF_REJECTED)


def h(beta: float, i: int) -> float:
    return beta * float((CHOSEN[i] - REF_CHOSEN[i]) - (REJECTED[i] - REF_REJECTED[i]))


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


@pytest.mark.parametrize("transform", ["linear", "log", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_madpo_is_its_formula(transform: str, smoothing: float) -> None:
    loss = MadpoLoss(beta=0.3, alpha=2.0, margin=Margin(transform, floor=0.01), label_smoothing=smoothing)
    values = loss(POLICY, REFERENCE, DIFFERENCE)
    for i, difference in enumerate(DIFFERENCE.tolist()):
        m = {"linear": difference, "log": math.log(max(difference, 0.01)), "none": 0.0}[transform]
        expected = (1 - smoothing) * softplus(2 * m - h(0.3, i)) + smoothing * softplus(2 * m + h(0.3, i))
        assert values[i].item() == pytest.approx(expected, rel=1e-5)
    assert torch.isfinite(values).all()


def test_madpo_without_margin_is_dpo() -> None:
    madpo = MadpoLoss(beta=0.2, margin=Margin("none"))(POLICY, REFERENCE, DIFFERENCE)
    torch.testing.assert_close(madpo, DpoLoss(beta=0.2)(POLICY, REFERENCE, DIFFERENCE))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_ipo_is_its_formula(smoothing: float) -> None:
    values = IpoLoss(beta=0.4, label_smoothing=smoothing)(POLICY, REFERENCE, DIFFERENCE)
    for i in range(3):
        # Eq. 17 of Azar et al. 2023: the log-ratio difference is drawn to 1/(2β), or, labels swapped, to its negative.
        right, swapped = (h(1.0, i) - 1 / 0.8) ** 2, (-h(1.0, i) - 1 / 0.8) ** 2
        assert values[i].item() == pytest.approx((1 - smoothing) * right + smoothing * swapped, rel=1e-5)


LOSSES = [
    DpoLoss(label_smoothing=0.1),
    IpoLoss(),
    *(MadpoLoss(alpha=3.0, margin=Margin(transform)) for transform in ("linear", "log", "none")),
]


@pytest.mark.parametrize("loss", LOSSES, ids=["dpo", "ipo", "linear", "log", "none"])
@pytest.mark.parametrize("gap", [0.0, 1e4, -1e4])
def test_ties_and_huge_log_prob_differences_give_finite_values(loss: PreferenceLoss, gap: float) -> None:
    """Equal rewards, equal log-probs, and steps that one side thinks e^10000 times likelier than the other does."""
    chosen = torch.tensor([-2e4 + gap, -2e4, -5.0], requires_grad=True)
    rejected = torch.tensor([-2e4, -2e4 + gap, -5.0], requires_grad=True)
    reference = PairLogProbs(torch.tensor([-2e4, -2e4, -5.0]), torch.tensor([-2e4, -2e4, -5.0]))
    values = loss(PairLogProbs(chosen, rejected), reference, torch.tensor([0.0, 1.0, 0.0]))
    values.sum().backward()
    assert chosen.grad is not None and rejected.grad is not None
    assert torch.isfinite(values).all() and torch.isfinite(chosen.grad).all() and torch.isfinite(rejected.grad).all()
    if gap < 0 and not isinstance(loss, IpoLoss):
        # Winning by far too little, the gradient is β, less what smoothing takes back: saturated, not lost.
        assert chosen.grad[0].item() == pytest.approx(-loss.beta * (1 - loss.label_smoothing))


@pytest.mark.parametrize("transform", ["linear", "log", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_at_the_start_madpo_is_softplus_of_the_margin(transform: str, smoothing: float) -> None:
    """Where reference = policy, h = 0, whichever way the labels are: ln 2 only where no margin is asked."""
    loss = MadpoLoss(beta=0.7, alpha=1.5, margin=Margin(transform, floor=0.01), label_smoothing=smoothing)
    margin = {"linear": DIFFERENCE, "log": DIFFERENCE.clamp_min(0.01).log(), "none": 0 * DIFFERENCE}[transform]
    torch.testing.assert_close(loss(REFERENCE, REFERENCE, DIFFERENCE), torch.nn.functional.softplus(1.5 * margin))


def test_sft_weighs_tokens_by_their_paths() -> None:
    loss = SftLoss()(torch.tensor([-1.0, -2.0, -4.0]), torch.tensor([1.0, 2.0, 0.0]))
    assert loss.item() == 5.0


def test_an_unknown_margin_names_the_nearest() -> None:
    with pytest.raises(LearnatError, match=r"margin.transform='linaer' .* Did you mean 'linear'"):
        Margin("linaer")


def test_without_beta_pairs_teach_nothing() -> None:
    """What a control with ``loss.beta=0`` learns is the SFT term alone."""
    for loss in (DpoLoss(beta=0.0), MadpoLoss(beta=0.0, alpha=2.0)):
        chosen, rejected = (torch.randn(5, dtype=torch.float64, requires_grad=True) for _ in range(2))
        zeros = torch.zeros(5, dtype=torch.float64)
        loss(PairLogProbs(chosen, rejected), PairLogProbs(zeros, zeros), torch.rand(5)).sum().backward()
        for logprobs in (chosen, rejected):
            assert logprobs.grad is not None and not logprobs.grad.any()
