"""The losses against their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from learnat.errors import LearnatError
from learnat.training.losses import DpoLoss, IpoLoss, MadpoLoss, Margin, PairLogProbs, SftLoss

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


def test_ipo_is_its_formula() -> None:
    values = IpoLoss(beta=0.5)(POLICY, REFERENCE, DIFFERENCE)
    for i in range(3):
        assert values[i].item() == pytest.approx((h(1.0, i) - 1.0) ** 2, rel=1e-5)


def test_at_the_start_madpo_asks_for_the_margin() -> None:
    values = MadpoLoss(alpha=1.5)(REFERENCE, REFERENCE, DIFFERENCE)
    torch.testing.assert_close(values, torch.nn.functional.softplus(1.5 * DIFFERENCE))


def test_sft_weighs_tokens_by_their_paths() -> None:
    loss = SftLoss()(torch.tensor([-1.0, -2.0, -4.0]), torch.tensor([1.0, 2.0, 0.0]))
    assert loss.item() == 5.0


def test_an_unknown_margin_names_the_nearest() -> None:
    with pytest.raises(LearnatError, match=r"margin.transform='linaer' .* Did you mean 'linear'"):
        Margin("linaer")
