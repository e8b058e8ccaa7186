"""LoRA over base models that bitsandbytes holds in 4 or 8 bits."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from learnat.errors import LearnatError
from learnat.training import models
from learnat.training.batches import make_batch
from learnat.training.logprobs import causal_lm, node_logprobs, token_logprobs
from learnat.training.preparation import finish_training, prepare_for_training
from learnat.training.prompts import PromptStyle
from learnat.training.quantization import quantization_config
from tests.training.conftest import random_trie
from tests.training.policies import hub_settings, plain_logprobs, save_base, scratch_settings, sft_checkpoint, shake


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("hub") / "base", torch.bfloat16)


@pytest.mark.parametrize("name", ["nf4", "int8"])
def test_an_adapter_over_quantised_weights_trains_and_comes_back(tmp_path: Path, base: Path, name: str) -> None:
    pytest.importorskip("bitsandbytes")
    settings = hub_settings(base, dtype="bfloat16", quantization=name, gradient_checkpointing=True)
    policy = models.load(sft_checkpoint(settings, tmp_path / "sft"))
    assert policy.quantization == name
    projection = causal_lm(policy.model).model.layers[0].self_attn.q_proj.base_layer
    assert projection.weight.dtype == {"nf4": torch.uint8, "int8": torch.int8}[name]
    before = {key: parameter.dtype for key, parameter in policy.model.named_parameters()}

    prepare_for_training(policy, settings, "madpo")
    norm = causal_lm(policy.model).model.norm.weight
    assert norm.dtype == torch.float32 and not norm.requires_grad
    batch = make_batch([random_trie(random.Random(0))], "packed", 0)
    # Not in eval mode: on a CPU bitsandbytes then repacks 4-bit weights into a form without gradients.
    nodes = node_logprobs(token_logprobs(policy.model, batch), batch)
    nodes.sum().backward()
    graded = {key for key, parameter in policy.model.named_parameters() if parameter.grad is not None}
    assert graded and all(".pref." in key for key in graded)
    shake(policy.model)

    finish_training(policy, settings)
    after = {key: parameter.dtype for key, parameter in policy.model.named_parameters() if ".pref." not in key}
    assert after == before
    models.export(policy, settings, tmp_path / "madpo", "madpo")
    manifest = models.read_manifest(tmp_path / "madpo")
    assert (manifest["base_model"], manifest["quantization"]) == (str(base), name)
    tries = [random_trie(random.Random(0))]
    final = plain_logprobs(policy.model, tries)
    how = {"dtype": torch.bfloat16, "quantization_config": quantization_config(name, torch.bfloat16)}
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, **how), tmp_path / "madpo")
    for model in (models.load(tmp_path / "madpo").model, plain):
        assert (plain_logprobs(model, tries) - final).norm() <= 0.01 * final.norm()


def test_full_weights_can_be_held_quantised_under_a_new_adapter(tmp_path: Path, base: Path) -> None:
    pytest.importorskip("bitsandbytes")
    checkpoint = sft_checkpoint(hub_settings(base, lora=False, dtype="bfloat16"), tmp_path / "sft")
    settings = hub_settings(base, dtype="bfloat16", quantization="nf4")
    policy = models.load(checkpoint, "nf4")
    assert policy.source != models.load(checkpoint).source
    prepare_for_training(policy, settings, "madpo")
    finish_training(policy, settings)
    models.export(policy, settings, tmp_path / "madpo", "madpo")
    assert models.read_manifest(tmp_path / "madpo")["base_model"] == str(checkpoint)
    assert models.load(tmp_path / "madpo").quantization == "nf4"


def test_the_config_is_the_paper_s() -> None:
    pytest.importorskip("bitsandbytes")
    nf4, int8 = quantization_config("nf4", torch.bfloat16), quantization_config("int8", torch.bfloat16)
    assert (nf4.load_in_4bit, nf4.bnb_4bit_quant_type, nf4.bnb_4bit_use_double_quant) == (True, "nf4", True)
    assert nf4.bnb_4bit_compute_dtype == torch.bfloat16
    assert int8.load_in_8bit


def test_what_cannot_be_quantised_is_refused(base: Path) -> None:
    refused = [
        (hub_settings(base, quantization="nf5"), r"model\.quantization='nf5' is not known\. Did you mean 'nf4'"),
        (hub_settings(base, lora=False, quantization="nf4"), r"asks to train them all\. Set model\.lora\.enabled=true"),
        (scratch_quantised("int8"), r"model=test is trained from scratch: model\.quantization=int8 is for pre"),
    ]
    for settings, message in refused:
        with pytest.raises(LearnatError, match=message):
            models.check_available(settings)


def scratch_quantised(quantization: str) -> object:
    settings = scratch_settings()
    settings.quantization = quantization
    return settings


def test_without_bitsandbytes_its_installation_is_named(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # An entry of None makes Python look no further: as if nothing were installed.
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(LearnatError, match=r"nf4 weights need bitsandbytes.*`pip install bitsandbytes`"):
        models.check_available(hub_settings(base, quantization="nf4"))
    with pytest.raises(LearnatError, match=r"model\.quantization=null"):
        models.build(hub_settings(base, quantization="int8"), PromptStyle(), [])
