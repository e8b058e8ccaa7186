"""The reference table: every legal cell trains from its own reference and exports itself; all others are refused."""

from __future__ import annotations

import random
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from learnat.errors import LearnatError
from learnat.training import models
from learnat.training.batches import make_batch
from learnat.training.logprobs import node_logprobs, token_logprobs
from learnat.training.losses import MadpoLoss
from learnat.training.models import Policy
from learnat.training.modules import PreferenceModule
from learnat.training.optimizers import adamw, warmup_cosine
from learnat.training.packing import Item, Packing, StepLoader
from learnat.training.preparation import finish_training, prepare_for_training
from learnat.training.prompts import PromptStyle
from learnat.training.reference import LEGAL, REFERENCES, choose_reference, reference_logprobs, with_reference
from learnat.training.tries import TokenTrie
from tests.training.conftest import random_trie
from tests.training.policies import hub_settings, plain_logprobs, save_base, sft_checkpoint
from tests.training.runs import LossPath, read_path

ALPHA = 2.0
CELLS = [(start, lora, kind) for start, row in LEGAL.items() for lora, kind in zip((True, False), row, strict=True)]
SOUND = [(start, lora, kind) for start, lora, kind in CELLS if kind is not None]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("hub") / "base")


@pytest.fixture
def tries() -> list[TokenTrie]:
    rng = random.Random(0)
    return [random_trie(rng) for _ in range(3)]


def fresh(start: str, base: Path, folder: Path, settings: Any) -> Policy:
    """The policy that preference training starts from."""
    if start == "none":
        return models.build(settings, PromptStyle(), [])
    return models.load(sft_checkpoint(hub_settings(base, lora="adapter" in start), folder))


def node_values(model: torch.nn.Module, tries: list[TokenTrie]) -> torch.Tensor:
    """Our own log-probs, over packed tries."""
    batch = make_batch(tries, "packed", 0)
    with torch.no_grad():
        return node_logprobs(token_logprobs(model, batch), batch)


def train(policy: Policy, tries: list[TokenTrie], folder: Path) -> list[float]:
    """The losses of three real optimiser steps, each over all of ``tries``."""
    module = PreferenceModule(
        policy.model,
        MadpoLoss(alpha=ALPHA),
        optimizer=partial(adamw, lr=5e-3),
        schedule=partial(warmup_cosine, warmup=0.1),
        gradient_clip=1.0,
        total_steps=3,
    )
    path = folder / "losses.txt"
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=3, logger=False, callbacks=[LossPath(path)], default_root_dir=folder,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    items = [Item(str(i), trie) for i, trie in enumerate(tries)]
    trainer.fit(module, StepLoader(items, Packing("packed", 16, 8, 10_000), 0, seed=1))
    return [loss for _, loss in read_path(path)]


@pytest.mark.parametrize(("start", "lora", "kind"), SOUND, ids=[f"{s}-lora={x}-{k}" for s, x, k in SOUND])
def test_a_legal_cell_starts_at_its_reference_and_exports_its_policy(
    tmp_path: Path, base: Path, tries: list[TokenTrie], start: str, lora: bool, kind: str
) -> None:
    settings = hub_settings(base, lora)
    policy = fresh(start, base, tmp_path / "sft", settings)
    before = plain_logprobs(policy.model, tries)
    prepare_for_training(policy, settings, "madpo")
    batches = [make_batch([trie], "packed", 0) for trie in tries]
    reference = reference_logprobs(policy.model, batches, "cpu", lambda count: None)
    torch.testing.assert_close(reference, before, rtol=1e-4, atol=1e-4)

    losses = train(policy, with_reference(tries, reference), tmp_path)
    margins = torch.tensor([pair.margin for trie in tries for pair in trie.pairs])
    assert losses[0] == pytest.approx(torch.nn.functional.softplus(ALPHA * margins).mean().item(), rel=1e-4)
    assert losses[-1] < losses[0] - 0.01

    # What the policy was is still there: under its adapter, or in the files it came from.
    model = policy.model
    if kind == "stacked":
        model.base_model.set_adapter("sft")
    if kind == "frozen":
        source = base if start == "none" else tmp_path / "sft"
        model = AutoModelForCausalLM.from_pretrained(source)
    with model.disable_adapter() if kind == "base" else nullcontext():
        again = node_values(policy.model, tries) if lora else plain_logprobs(model, tries)
    torch.testing.assert_close(again, reference, rtol=1e-4, atol=1e-4)
    if kind == "stacked":
        model.base_model.set_adapter(["sft", "pref"])

    after = node_values(policy.model, tries)
    assert (after - reference).abs().max() > 0.05
    finish_training(policy, settings)
    models.export(policy, settings, tmp_path / "madpo", "madpo")
    over = {"none": base, "an SFT adapter": base, "full SFT weights": tmp_path / "sft"}[start]
    assert models.read_manifest(tmp_path / "madpo")["base_model"] == (str(over) if lora else None)
    same = partial(torch.testing.assert_close, expected=after, rtol=1e-4, atol=1e-4)
    same(plain_logprobs(models.load(tmp_path / "madpo").model, tries))
    if lora:
        adapter = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(over), tmp_path / "madpo")
        same(plain_logprobs(adapter, tries))
        adapter.merge_and_unload().save_pretrained(tmp_path / "merged")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / ("merged" if lora else "madpo"))
    same(plain_logprobs(plain, tries))


@pytest.mark.parametrize(("start", "lora", "kind"), CELLS)
def test_any_other_reference_is_refused_and_the_sound_one_named(start: str, lora: bool, kind: str | None) -> None:
    if kind is not None:
        assert choose_reference("auto", start, lora) == choose_reference(kind, start, lora) == kind
    for wanted in {*REFERENCES, "auto"} - ({kind, "auto"} if kind else set()):
        with pytest.raises(
            LearnatError, match=f"must be reference={kind} " if kind else "no sound reference.*=stacked"
        ):
            choose_reference(wanted, start, lora)


def test_an_unknown_reference_is_refused() -> None:
    with pytest.raises(LearnatError, match=r"reference='stacekd' is not known\. Did you mean 'stacked'"):
        choose_reference("stacekd", "none", True)
