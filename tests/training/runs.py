"""Training runs of a tiny model through Lightning, which leave their loss path in a file."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from learnat.training.batches import make_batch
from learnat.training.losses import MadpoLoss, SftLoss
from learnat.training.modules import PolicyModule, PreferenceModule, SftModule
from learnat.training.optimizers import warmup_cosine
from learnat.training.packing import Item, Packing, StepLoader
from learnat.training.reference import reference_logprobs, with_reference
from learnat.training.resume import ResumePoint, resume_file
from tests.training.conftest import items, tiny_model, with_lora

PACKING = Packing("packed", questions_per_trie=2, databases_per_step=2, token_budget=80, length_bucket=8)
EPOCHS, STEPS = 3, 9
"""Of ``items()`` under ``PACKING``."""


def steady_adamw(model: nn.Module) -> Optimizer:
    """AdamW that does not turn rounding into steps.

    The first steps of Adam are lr·g / (|g| + eps): under the usual eps of 1e-8 a gradient that is zero but for float32
    rounding (1e-8 here) moves its weight as far as any other, in a direction that summation order decides.
    """
    trained = (parameter for parameter in model.parameters() if parameter.requires_grad)
    return AdamW(trained, lr=1e-3, eps=1e-6, weight_decay=0.0)


def referenced(model: nn.Module, data: Sequence[Item]) -> list[Item]:
    """``data`` with the reference log-probs of ``model``."""
    batches = (make_batch([item.trie], "packed", 0) for item in data)
    logprobs = reference_logprobs(model, batches, "cpu", lambda count: None)
    tries = with_reference([item.trie for item in data], logprobs)
    return [replace(item, trie=trie) for item, trie in zip(data, tries, strict=True)]


class LossPath(L.Callback):
    """Appends the loss of every step to a file; kills its own process after step ``kill_after``, as kill -9 does."""

    def __init__(self, path: Path, kill_after: int | None = None) -> None:
        self.path = path
        self.kill_after = kill_after

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        assert isinstance(pl_module, PolicyModule)
        loss = pl_module.step_metrics.take()["loss"].item()
        with self.path.open("a") as file:
            file.write(f"{trainer.global_step} {loss!r}\n")
        if trainer.global_step == self.kill_after:
            os.kill(os.getpid(), signal.SIGKILL)


class EveryStep(ResumePoint):
    """Saves after every step, however long that takes."""

    interval_s = 0.0


def read_path(path: Path) -> list[tuple[int, float]]:
    """Steps and losses that ``LossPath`` wrote."""
    return [(int(step), float(loss)) for step, loss in map(str.split, path.read_text().splitlines())]


def run(
    folder: Path,
    preference: bool,
    data: Sequence[Item] | None = None,
    packing: Packing = PACKING,
    optimizer: Callable[[nn.Module], Optimizer] = steady_adamw,
    dropout: float = 0.0,
    kill_after: int | None = None,
    max_steps: int = -1,
) -> list[float]:
    """The losses of a run of a fresh float32 model in ``folder``, which goes on where an earlier one there stopped."""
    folder.mkdir(parents=True, exist_ok=True)
    model = tiny_model(dtype=torch.float32)
    data = list(items() if data is None else data)
    if preference:
        data = referenced(model, data)
    if dropout:
        model = with_lora(model, dropout)
    kind, loss = (PreferenceModule, MadpoLoss(nll_weight=0.2)) if preference else (SftModule, SftLoss())
    module: PolicyModule = kind(
        model,
        loss,  # type: ignore[arg-type]
        optimizer=optimizer,
        schedule=partial(warmup_cosine, warmup=0.1),
        gradient_clip=1.0,
        total_steps=STEPS,
    )
    path = folder / "losses.txt"
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        max_steps=max_steps,
        logger=False,
        callbacks=[LossPath(path, kill_after), EveryStep()],
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, StepLoader(data, packing, 0, seed=1), ckpt_path=resume_file(folder))
    return [loss for _, loss in read_path(path)]
