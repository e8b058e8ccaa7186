"""Our preference losses and TRL's DPOTrainer are the same numbers on the same pairs, gradients included."""

from __future__ import annotations

import copy
import math
import random
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase
from trl import DPOConfig, DPOTrainer

from learnat.training.batches import make_batch
from learnat.training.losses import DpoLoss, MadpoLoss, Margin, PreferenceLoss
from learnat.training.modules import PreferenceModule
from learnat.training.optimizers import adamw, warmup_cosine
from learnat.training.reference import reference_logprobs, with_reference
from learnat.training.tokenizer import train_tokenizer
from learnat.training.tries import TokenTrie
from tests.training.conftest import lora_config, move_adapter, random_trie, tiny_model, use_float64_norms

BETA, EPSILON, NLL_WEIGHT = 0.1, 0.2, 0.3
TOLERANCE = 1e-6
"""Relative. Our reference log-probs are kept in float32, which is 1e-7 of the loss; the rest is float64."""


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(["SELECT name FROM singer;\n"] * 4, 400)


def make_tries(siblings: int) -> list[TokenTrie]:
    """Trees of pairs, whose chosen steps count in the SFT term, as in preference tries of real trees."""
    rng = random.Random(5)
    tries = []
    for _ in range(3):
        trie = random_trie(rng, questions=2, siblings=siblings)
        chosen = {pair.chosen for pair in trie.pairs}
        nodes = [replace(node, weight=float(i in chosen)) for i, node in enumerate(trie.nodes)]
        tries.append(replace(trie, nodes=tuple(nodes)))
    return tries


def ours(policy: nn.Module, tries: list[TokenTrie], loss: PreferenceLoss) -> Tensor:
    """The optimiser step's loss over two packs, with its gradients in the policy; the tries know their reference."""
    module = PreferenceModule(
        policy, loss, optimizer=partial(adamw, lr=1e-3), schedule=warmup_cosine, gradient_clip=0.0, total_steps=1
    )
    packs = [make_batch(tries[:1], "packed", 0, bucket=16), make_batch(tries[1:], "packed", 0, bucket=16)]
    total = module.step_total(packs)
    parts = [module.pack_loss(batch, total)[0] for batch in packs]
    torch.stack(parts).sum().backward()
    return torch.stack(parts).sum().detach()


def trl_trainer(setup: str, folder: Path, tokenizer: PreTrainedTokenizerBase, **config: Any) -> DPOTrainer:
    """TRL's trainer around a float64 policy that has moved away from its reference: weights or the base model."""
    model = tiny_model()
    use_float64_norms(model)
    settings = DPOConfig(
        output_dir=str(folder), beta=BETA, use_cpu=True, bf16=False, gradient_checkpointing=False, report_to="none",
        max_length=None, **config,
    )  # fmt: skip
    # The trainer will not be made without text; the batches it is given below hold our own token ids.
    text = Dataset.from_list([{"prompt": "SELECT", "chosen": " name", "rejected": " singer"}])
    lora = setup == "lora"
    trainer = DPOTrainer(
        model,
        None if lora else copy.deepcopy(model),
        settings,
        train_dataset=text,
        processing_class=tokenizer,
        peft_config=lora_config() if lora else None,
    )
    if lora:
        move_adapter(trainer.model)
    else:
        torch.manual_seed(2)
        for parameter in trainer.model.parameters():
            parameter.data += 0.01 * torch.randn_like(parameter)
    return trainer


def trl_batch(trainer: DPOTrainer, tries: list[TokenTrie]) -> dict[str, Tensor]:
    """Every pair of ``tries`` as two whole sequences, padded by TRL's own collator."""

    def ids(trie: TokenTrie, path: list[int]) -> list[int]:
        return [token for i in path for token in trie.nodes[i].ids]

    examples = [
        {
            "prompt_ids": ids(trie, trie.path(pair.chosen)[:-1]),
            "chosen_ids": ids(trie, [pair.chosen]),
            "rejected_ids": ids(trie, [pair.rejected]),
        }
        for trie in tries
        for pair in trie.pairs
    ]
    assert len(examples) > 5 and len({len(example["prompt_ids"]) for example in examples}) > 3
    return trainer.data_collator(examples)


def assert_parity(trainer: DPOTrainer, loss: PreferenceLoss, siblings: int = 2) -> None:
    policy, tries = trainer.model, make_tries(siblings)
    with policy.disable_adapter() if trainer.ref_model is None else nullcontext():
        batches = [make_batch([trie], "packed", 0) for trie in tries]
        logprobs = reference_logprobs(trainer.ref_model or policy, batches, "cpu", lambda count: None)
    value = ours(policy, with_reference(tries, logprobs), loss)
    trained = {name: parameter for name, parameter in policy.named_parameters() if parameter.requires_grad}
    gradients = {name: parameter.grad.clone() for name, parameter in trained.items()}
    policy.zero_grad()

    theirs = trainer.compute_loss(policy, trl_batch(trainer, tries))
    theirs.backward()
    assert abs(theirs.item() - math.log(2)) > 0.01, "the policy has left its reference"
    assert value.item() == pytest.approx(theirs.item(), rel=TOLERANCE)
    for name, gradient in gradients.items():
        assert (gradient - trained[name].grad).norm() <= TOLERANCE * trained[name].grad.norm(), name


setups = pytest.mark.parametrize("setup", ["full", "lora"])


@setups
@pytest.mark.parametrize("loss", [DpoLoss(BETA), MadpoLoss(BETA, margin=Margin("none"))], ids=["dpo", "madpo"])
def test_dpo(tmp_path: Path, tokenizer: PreTrainedTokenizerBase, setup: str, loss: PreferenceLoss) -> None:
    assert_parity(trl_trainer(setup, tmp_path, tokenizer, loss_type="sigmoid"), loss)


@setups
def test_label_smoothing(tmp_path: Path, tokenizer: PreTrainedTokenizerBase, setup: str) -> None:
    """TRL 1.16 has no conservative DPO, but its terms: with p = −log σ, ``sigmoid`` is p(h) and ``robust``
    ((1 − ε)·p(h) − ε·p(−h)) / (1 − 2ε); 2(1 − ε) of one less (1 − 2ε) of the other is (1 − ε)·p(h) + ε·p(−h).
    """
    loss = DpoLoss(BETA, label_smoothing=EPSILON)
    weights = [2 * (1 - EPSILON), -(1 - 2 * EPSILON)]
    terms = {"loss_type": ["sigmoid", "robust"], "loss_weights": weights, "label_smoothing": EPSILON}
    assert_parity(trl_trainer(setup, tmp_path, tokenizer, **terms), loss)


@setups
def test_the_sft_term(tmp_path: Path, tokenizer: PreTrainedTokenizerBase, setup: str) -> None:
    """With one rejected step to a chosen one: TRL counts a chosen step once for each of its pairs, we count it once."""
    loss = DpoLoss(BETA, nll_weight=NLL_WEIGHT)
    terms = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, NLL_WEIGHT]}
    assert_parity(trl_trainer(setup, tmp_path, tokenizer, **terms), loss, siblings=1)
