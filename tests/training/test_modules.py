"""Optimiser steps through Lightning: what must not change the loss path, and what resuming gives back."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from learnat.errors import LearnatError
from learnat.training.batches import TokenBatch, make_batch
from learnat.training.callbacks import ResumePoint, resume_file
from learnat.training.losses import MadpoLoss, SftLoss
from learnat.training.modules import PolicyModule, PreferenceModule, SftModule
from learnat.training.optimizers import adamw, muon_adamw, warmup_cosine
from learnat.training.packing import Item, Packing, StepLoader
from learnat.training.reference import reference_logprobs, with_reference
from learnat.training.tries import join
from tests.training.conftest import items, tiny_model

PACKING = Packing("packed", 2, 2, 100)


class Losses(L.Callback):
    """Keeps the loss of every step; stops the run after ``stop`` steps, as a kill would."""

    def __init__(self, stop: int | None = None) -> None:
        self.values: list[float] = []
        self.stop = stop

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        assert isinstance(pl_module, PolicyModule)
        self.values.append(pl_module.step_metrics.take()["loss"].item())
        if trainer.global_step == self.stop:
            trainer.save_checkpoint(Path(trainer.default_root_dir) / "resume.ckpt")
            raise InterruptedError


def run(
    folder: Path,
    preference: bool,
    packing: Packing = PACKING,
    optimizer: Any = None,
    epochs: int = 3,
    stop: int | None = None,
    resume: bool = False,
) -> list[float]:
    """The losses of a training run of a fresh model in float32."""
    model = tiny_model(dtype=torch.float32)
    data = items()
    if preference:
        tries = [item.trie for item in data]
        logprobs = reference_logprobs(model, _batches(data), "cpu", lambda count: None)
        data = [Item(i.db_id, trie) for i, trie in zip(data, with_reference(tries, logprobs), strict=True)]
    kind, loss = (PreferenceModule, MadpoLoss(nll_weight=0.2)) if preference else (SftModule, SftLoss())
    module: PolicyModule = kind(
        model,
        loss,  # type: ignore[arg-type]
        optimizer=optimizer or partial(adamw, lr=1e-3),
        schedule=partial(warmup_cosine, warmup=0.1),
        gradient_clip=1.0,
        total_steps=9,
    )
    losses = Losses(stop)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        callbacks=[losses, ResumePoint()],
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    try:
        trainer.fit(module, StepLoader(data, packing, 0, seed=1), ckpt_path=resume_file(folder) if resume else None)
    except InterruptedError:
        assert stop is not None
    return losses.values


def _batches(data: list[Item]) -> list[TokenBatch]:
    return [make_batch([item.trie], "packed", 0) for item in data]


@pytest.mark.parametrize("preference", [False, True])
def test_layout_and_budget_do_not_change_the_loss_path(tmp_path: Path, preference: bool) -> None:
    expected = run(tmp_path, preference)
    assert len(expected) == 9 and expected[-1] < expected[0]
    for packing in (Packing("padded", 2, 2, 100), Packing("packed", 2, 2, 1), Packing("packed", 2, 2, 10_000)):
        assert run(tmp_path, preference, packing) == pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize("preference", [False, True])
@pytest.mark.parametrize("stop", [1, 4, 6])
def test_a_run_stopped_mid_epoch_resumes_on_the_same_path(tmp_path: Path, preference: bool, stop: int) -> None:
    expected = run(tmp_path / "whole", preference)
    before = run(tmp_path / "cut", preference, stop=stop)
    after = run(tmp_path / "cut", preference, resume=True)
    assert before + after == pytest.approx(expected, rel=1e-6)


def test_muon_resumes_too(tmp_path: Path) -> None:
    optimizer = partial(muon_adamw, muon_lr=5e-3, lr=1e-3)
    expected = run(tmp_path / "whole", False, optimizer=optimizer)
    before = run(tmp_path / "cut", False, optimizer=optimizer, stop=4)
    assert before + run(tmp_path / "cut", False, optimizer=optimizer, resume=True) == pytest.approx(expected, rel=1e-5)


def test_preference_training_starts_at_the_asked_margin(tmp_path: Path) -> None:
    model = tiny_model(dtype=torch.float32)
    data = items()
    logprobs = reference_logprobs(model, _batches(data), "cpu", lambda count: None)
    tries = with_reference([item.trie for item in data], logprobs)
    module = PreferenceModule(
        model,
        MadpoLoss(alpha=2.0),
        optimizer=partial(adamw, lr=1e-3),
        schedule=warmup_cosine,
        gradient_clip=0.0,
        total_steps=1,
    )
    first = join([trie for trie, item in zip(tries, data, strict=True) if item.db_id == "0"])
    batch = make_batch([first], "packed", 0)
    loss, metrics = module.pack_loss(batch, module.step_total([batch]))
    assert loss.item() == pytest.approx(torch.nn.functional.softplus(2 * batch.margin).mean().item(), rel=1e-4)
    assert metrics["margin/achieved"].item() == pytest.approx(0.0, abs=1e-4)


def preference_module(model: torch.nn.Module) -> PreferenceModule:
    return PreferenceModule(
        model, MadpoLoss(), optimizer=partial(adamw, lr=1e-3), schedule=warmup_cosine, gradient_clip=0.0, total_steps=1
    )


def test_a_policy_that_is_not_its_reference_is_refused() -> None:
    model = tiny_model(dtype=torch.float32)
    tries = [item.trie for item in items()]
    logprobs = reference_logprobs(model, _batches(items()), "cpu", lambda count: None)
    module = preference_module(model)
    module.check_start(make_batch(with_reference(tries, logprobs), "packed", 0))
    with pytest.raises(
        LearnatError, match=r"differ from the reference's by 0\.091 .*must be equal\. Dropout must be 0"
    ):
        module.check_start(make_batch(with_reference(tries, logprobs * 1.1), "packed", 0))


def test_a_single_pair_whose_steps_changed_places_is_refused() -> None:
    """Among many steps, a few that are wrong hardly move the mean error: each pair is looked at by itself."""
    model = tiny_model(dtype=torch.float32)
    tries = [item.trie for item in items()] * 20
    batches = [make_batch([trie], "packed", 0) for trie in tries]
    logprobs = reference_logprobs(model, batches, "cpu", lambda count: None)
    batch = make_batch(tries, "packed", 0)
    apart = (logprobs[batch.chosen] - logprobs[batch.rejected]).abs()
    pair = int(apart.argsort()[len(apart) // 2])
    one, other = int(batch.chosen[pair]), int(batch.rejected[pair])
    logprobs[one], logprobs[other] = logprobs[other].clone(), logprobs[one].clone()
    module = preference_module(model)
    with pytest.raises(LearnatError, match=rf"those of \d+ of {len(apart)} step pairs by more than rounding"):
        module.check_start(make_batch(with_reference(tries, logprobs), "packed", 0))


def test_a_resumed_run_is_not_checked_against_its_reference(tmp_path: Path) -> None:
    """By then the policy is not its reference any more."""
    fast = partial(adamw, lr=0.05)
    before = run(tmp_path, True, optimizer=fast, stop=2)
    model = tiny_model(dtype=torch.float32)
    reference = reference_logprobs(model, _batches(items()), "cpu", lambda count: None)
    state = torch.load(resume_file(tmp_path), weights_only=True)["state_dict"]  # type: ignore[arg-type]
    model.load_state_dict({name.removeprefix("model."): value for name, value in state.items()})
    moved = make_batch(with_reference([item.trie for item in items()], reference), "packed", 0)
    with pytest.raises(LearnatError, match="At step 0"):
        preference_module(model).check_start(moved)
    assert len(before + run(tmp_path, True, optimizer=fast, resume=True)) == 9
