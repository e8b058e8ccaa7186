"""What training sets up is gone afterwards, and what it trains is held in the right precision meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from learnat.inference.decoding import Row
from learnat.inference.engines.base import Decoding
from learnat.inference.generate import complete, prepare
from learnat.training import models
from learnat.training.attention import ATTENTION_NAME
from learnat.training.logprobs import causal_lm
from learnat.training.models import Policy
from learnat.training.optimizers import adamw
from learnat.training.preparation import finish_training, prepare_for_training
from learnat.training.prompts import PromptStyle
from tests.training.policies import hub_settings, save_base, shake


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that are bfloat16 where they come from, as most models' are."""
    return save_base(tmp_path_factory.mktemp("hub") / "base", torch.bfloat16)


def state(policy: Policy) -> dict[str, Any]:
    """All of the model that scoring could notice."""
    lm = causal_lm(policy.model)
    tensors = {**dict(policy.model.named_parameters()), **dict(policy.model.named_buffers())}
    return {
        "dtypes": {name: tensor.dtype for name, tensor in tensors.items()},
        "attention": lm.config._attn_implementation,
        "training": [module.training for module in policy.model.modules()],
        "checkpointing": [getattr(module, "gradient_checkpointing", None) for module in policy.model.modules()],
        "compiled": [module._compiled_call_impl for module in policy.model.modules()],
        "hooks": [len(module._forward_hooks) for module in policy.model.modules()],
        "gradients": {name for name, parameter in policy.model.named_parameters() if parameter.grad is not None},
    }


def written(policy: Policy) -> str:
    prepare(policy, "cpu")
    (completion,) = complete(policy, [Row((1, 2, 3, 4))], Decoding(12))
    return completion.text


@pytest.mark.parametrize("lora", [True, False])
def test_after_training_the_model_is_as_it_was(base: Path, lora: bool) -> None:
    settings = hub_settings(base, lora, gradient_checkpointing=True, compile=True, dtype="bfloat16")
    policy = models.build(settings, PromptStyle(), [])
    values = {name: parameter.clone() for name, parameter in policy.model.named_parameters()}
    before, text = state(policy), written(policy)
    # On a GPU the layers are compiled when they are first called; here they never are.
    prepare_for_training(policy, settings, "sft", torch.device("cuda"))
    during = state(policy)
    assert during["attention"] == ATTENTION_NAME and during["training"][0] and True in during["checkpointing"]
    assert sum(compiled is not None for compiled in during["compiled"]) == 2
    finish_training(policy, settings)
    if lora:
        policy.model = policy.model.unload()
    assert state(policy) == before
    assert all(torch.equal(parameter, values[name]) for name, parameter in policy.model.named_parameters())
    assert written(policy) == text


def test_layers_are_compiled_only_where_it_is_asked_for_and_there_is_a_gpu(base: Path) -> None:
    for compiled, device in ((False, "cuda"), (True, "cpu")):
        settings = hub_settings(base, compile=compiled)
        policy = models.build(settings, PromptStyle(), [])
        prepare_for_training(policy, settings, "sft", device)
        assert not any(state(policy)["compiled"])


def test_a_trained_model_scores_without_what_training_set_up(base: Path) -> None:
    settings = hub_settings(base, gradient_checkpointing=True)
    policy = models.build(settings, PromptStyle(), [])
    prepare_for_training(policy, settings, "sft")
    policy.model(input_ids=torch.arange(8)[None]).logits.sum().backward()
    assert state(policy)["gradients"]
    finish_training(policy, settings)
    after = state(policy)
    assert not after["gradients"] and not any(after["training"]) and True not in after["checkpointing"]
    assert after["attention"] == "sdpa"


def test_full_fine_tuning_has_float32_masters_and_the_weights_own_precision_afterwards(
    tmp_path: Path, base: Path
) -> None:
    settings = hub_settings(base, lora=False, dtype="bfloat16")
    policy = models.build(settings, PromptStyle(), [])
    prepare_for_training(policy, settings, "sft")
    assert {parameter.dtype for parameter in policy.model.parameters()} == {torch.float32}
    weight = policy.model.model.layers[0].mlp.up_proj.weight
    # An update far below what bfloat16 can add to a weight of this size.
    with torch.no_grad():
        weight.fill_(1.0)
        for _ in range(64):
            weight.add_(2.0**-12)
    finish_training(policy, settings)
    models.export(policy, settings, tmp_path / "sft", "sft")
    loaded = models.load(tmp_path / "sft").model
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    assert torch.all(loaded.model.layers[0].mlp.up_proj.weight == 1 + 2.0**-6)
    for (name, one), other in zip(policy.model.named_parameters(), loaded.parameters(), strict=True):
        assert torch.equal(one, other), name
    assert policy.model.model.rotary_emb.inv_freq.dtype == torch.float32


@pytest.mark.parametrize(("lora", "rate"), [(True, 2e-4), (False, 1e-5)])
def test_the_learning_rate_is_that_of_what_is_trained(base: Path, lora: bool, rate: float) -> None:
    settings = hub_settings(base, lora)
    policy = models.build(settings, PromptStyle(), [])
    prepare_for_training(policy, settings, "sft")
    assert adamw(policy.model, {"lora": 2e-4, "full": 1e-5}).param_groups[0]["lr"] == rate
    assert adamw(policy.model, 3e-3).param_groups[0]["lr"] == 3e-3


def test_dropout_is_off_in_preference_training_only(base: Path) -> None:
    settings = hub_settings(base)
    settings.lora.dropout = 0.5
    for stage, rates in (("sft", {0.5}), ("madpo", {0.0})):
        policy = models.build(settings, PromptStyle(), [])
        prepare_for_training(policy, settings, stage)
        shake(policy.model)
        assert {m.p for m in policy.model.modules() if isinstance(m, torch.nn.Dropout)} == rates
