"""Values out of bounds are refused when the object is built, by the name of their key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from learnat.errors import LearnatError
from learnat.training.losses import DpoLoss, IpoLoss, MadpoLoss, Margin
from learnat.training.optimizers import adamw, muon_adamw, warmup_cosine
from learnat.training.packing import Packing
from learnat.training.selection import PairSelection
from tests.training.conftest import tiny_model

PACKING_COUNTS = ("questions_per_trie", "databases_per_step", "token_budget", "length_bucket")


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        *((Packing, {name: 0}, f"packing.{name}=0 must be a whole number of at least 1") for name in PACKING_COUNTS),
        *((Packing, {name: "8"}, f"packing.{name}=8 must be a whole number") for name in PACKING_COUNTS),
        (Packing, {"layout": 1}, "packing.layout=1 is not known"),
        (DpoLoss, {"label_smoothing": 0.5}, r"loss.label_smoothing=0.5 must be a number in \[0, 0.5\)"),
        (IpoLoss, {"beta": 0.0}, "loss.beta=0.0 must be a number above 0"),
        (MadpoLoss, {"alpha": -1}, "loss.alpha=-1"),
        (MadpoLoss, {"nll_weight": -1}, "loss.nll_weight=-1"),
        (Margin, {"floor": 0}, "loss.margin.floor=0"),
        (PairSelection, {"paths": 0}, "loss.pairs.paths=0"),
        (PairSelection, {"rejected": 1}, "loss.pairs.rejected=1 is not known"),
    ],
)
def test_refused(kind: Callable[..., object], values: dict[str, Any], message: str) -> None:
    with pytest.raises(LearnatError, match=message):
        kind(**values)


@pytest.mark.parametrize(
    ("make", "values", "message"),
    [
        (adamw, {"lr": 0.0}, "optimizer.lr=0.0 must be a number above 0"),
        (adamw, {"lr": {"lora": 1e-4, "full": -1}}, "optimizer.lr.full=-1"),
        (adamw, {"lr": 1e-4, "betas": (0.9, 1.0)}, "optimizer.betas=1.0"),
        (muon_adamw, {"lr": 1e-3, "muon_lr": "x"}, "optimizer.muon_lr=x"),
        (muon_adamw, {"lr": 1e-3, "muon_lr": 1e-3, "weight_decay": -1}, "optimizer.weight_decay=-1"),
    ],
)
def test_an_optimizer_is_refused(make: Callable[..., object], values: dict[str, Any], message: str) -> None:
    with pytest.raises(LearnatError, match=message):
        make(tiny_model(), **values)


@pytest.mark.parametrize("values", [{"warmup": 1.5}, {"floor": -0.1}, {"floor": "x"}])
def test_a_schedule_is_refused(values: dict[str, Any]) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(LearnatError, match=r"schedule\.\w+=.* must be a number from 0 to 1"):
        warmup_cosine(optimizer, total_steps=3, **values)
